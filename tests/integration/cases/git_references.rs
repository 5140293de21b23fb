//! How a service's reference is resolved, and the errors if it cannot be.

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::world::GitServerKind;

pub const CASES: &[Case] = cases![
    every_kind_of_reference_is_built,
    a_missing_reference_has_suggestions,
    a_suggestion_is_never_ambiguous,
    an_empty_repository_is_an_error,
    a_branch_is_used_where_it_exists,
    tags_of_images_follow_the_branch,
    a_deleted_branch_is_an_error_until_the_manifest_changes,
    a_moved_tag_is_followed,
    one_working_copy_serves_two_services,
];

fn every_kind_of_reference_is_built(t: &Context) {
    let remote = t.built_repo("zbackend");
    let old = remote.head();
    remote.tag("light");
    remote.commit(&[("file", "2\n")], "Second");
    let tag_object = remote.annotated_tag("annotated", "A release");
    let annotated = remote.head();
    remote.branch("feature/TASK-981");
    let feature = remote.commit(&[("file", "3\n")], "Third");
    remote.branch("v1");
    let branch_v1 = remote.commit(&[("file", "4\n")], "A branch that is called like a tag");
    remote.switch("master");
    remote.tag("v1");
    let rewritten_tag = remote.head();
    remote.branch("fix/ü-#1");
    let unicode = remote.commit(&[("file", "u\n")], "Unicode");
    remote.switch("master");
    // A tag need not point to a commit.
    remote.git(&["tag", "blob", "HEAD:file"]);
    remote.git(&["push", "--quiet", "origin", "refs/tags/blob"]);
    // As in a merge request: a commit that no branch or tag contains.
    remote.git(&["checkout", "--quiet", "--detach"]);
    remote.write(&[("file", "5\n")]);
    remote.git(&["commit", "--quiet", "--all", "--message", "Request"]);
    let request = remote.head();
    remote.git(&[
        "push",
        "--quiet",
        "origin",
        "HEAD:refs/merge-requests/1/head",
    ]);
    remote.switch("master");
    let unadvertised = remote.commit(&[("file", "6\n")], "Taken back");
    let rewritten = remote.rewrite(&[("file", "7\n")], "Taken back, again");
    assert_ne!(tag_object, annotated);

    let expected = [
        ("default", None, &rewritten),
        ("branch", Some("master"), &rewritten),
        ("origin", Some("origin/master"), &rewritten),
        ("slashes", Some("origin/feature/TASK-981"), &feature),
        ("light", Some("light"), &old),
        ("annotated", Some("annotated"), &annotated),
        ("full-branch", Some("refs/heads/master"), &rewritten),
        ("full-tag", Some("refs/tags/annotated"), &annotated),
        ("branch-or-tag", Some("v1"), &branch_v1),
        ("tags", Some("tags/v1"), &rewritten_tag),
        ("heads", Some("heads/v1"), &branch_v1),
        ("remotes", Some("remotes/origin/v1"), &branch_v1),
        ("short-request", Some("merge-requests/1/head"), &request),
        ("request", Some("refs/merge-requests/1/head"), &request),
        ("sha", Some(old.as_str()), &old),
        ("request-sha", Some(request.as_str()), &request),
        ("head", Some("HEAD"), &rewritten),
        ("unicode", Some("origin/fix/ü-#1"), &unicode),
    ];
    let mut services = Vec::new();
    for (transport, url) in [("http", remote.url_http()), ("file", remote.url_file())] {
        for (name, reference, _) in &expected {
            let service = Service::new(&format!("{transport}-{name}"), &url);
            services.push(match reference {
                Some(reference) => service.reference(reference),
                None => service,
            });
        }
    }
    t.platform(&services);
    t.xp(["build"]).success();
    for transport in ["http", "file"] {
        for (name, _, commit) in &expected {
            t.assert_built(&format!("{transport}-{name}"), commit);
        }
    }
    let content = |name: &str, commit: &str| {
        let image = format!("{}:{commit}", t.image(name));
        t.engine().run(&image, ["cat", "/files/file"])
    };
    assert_eq!(content("http-request", &request), "5");
    assert_eq!(content("http-sha", &old), "1");
    let git = |name: &str, arguments: &[&str]| t.git(&format!("src/{name}"), arguments);
    assert_eq!(
        git("http-slashes", &["status", "--porcelain", "--branch"]),
        "## feature/TASK-981...origin/feature/TASK-981"
    );
    assert_eq!(git("http-annotated", &["describe"]), "annotated");
    assert_eq!(git("http-sha", &["rev-parse", "HEAD"]), old);

    t.platform(&[Service::new("blob", remote.url_http()).reference("blob")]);
    t.xp(["sync"]).failure(3).stderr_contains("error: blob: ");

    // Unreachable commits are only served by a server configured to do so, and by file remotes.
    let gone = |url: &str| [Service::new("gone", url).reference(&unadvertised)];
    t.platform(&gone(&remote.url_http()));
    t.xp(["build"])
        .failure(3)
        .stderr_contains(&format!("does not serve the commit {unadvertised}"))
        .stderr_contains("uploadpack.allowAnySHA1InWant");
    assert!(!t.exists("src/gone"));
    remote.server_git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    t.xp(["build"]).success();
    t.assert_built("gone", &unadvertised);
    t.platform(&gone(&remote.url_file()).map(|service| service.dir("src/file-gone")));
    t.xp(["sync"]).success();
    assert_eq!(git("file-gone", &["rev-parse", "HEAD"]), unadvertised);
    git("file-gone", &["fsck", "--strict"]);
}

fn a_missing_reference_has_suggestions(t: &Context) {
    let remote = t.git_repo("zbackend");
    let commit = remote.commit(&[], "First");
    remote.tag("v1.0");
    remote.branch("feature/TASK-981");
    let abbreviated = &commit[..10];
    for (reference, message) in [
        (
            "origin/mastre",
            "has no branch or tag `origin/mastre`\nhint: did you mean `master` instead of `origin/mastre`?",
        ),
        (
            "task-981",
            "has no branch or tag `task-981`\nhint: did you mean `feature/TASK-981` instead of `task-981`?",
        ),
        (
            "v1.1",
            "has no branch or tag `v1.1`\nhint: did you mean `v1.0` instead of `v1.1`?",
        ),
        (
            "refs/heads/mastre",
            "has no branch or tag `refs/heads/mastre`\nhint: did you mean `master` instead of `refs/heads/mastre`?",
        ),
        (
            abbreviated,
            "hint: to specify a commit, use the full 40-digit SHA-1",
        ),
    ] {
        for url in [remote.url_http(), remote.url_file(), remote.url_ssh()] {
            t.platform(&[Service::new("zbackend", &url).reference(reference)]);
            for command in ["plan", "sync"] {
                t.xp([command])
                    .failure(2)
                    .stderr_contains(&format!(
                        "error: zbackend cannot be resolved: {url} has no branch or tag `{reference}`"
                    ))
                    .stderr_contains(message);
            }
        }
    }
    // All errors are reported.
    let missing = t.git_repo("other");
    t.platform(&[
        Service::new("a", remote.url_http()).reference("nowhere"),
        Service::new("b", missing.url_http()),
        Service::new("c", remote.url_http()),
    ]);
    t.xp(["plan"])
        .failure(3)
        .stderr_contains("error: a cannot be resolved: ")
        .stderr_contains("error: b cannot be resolved: ")
        .does_not_contain("c cannot be resolved");
    let unknown = "0123456789abcdef0123456789abcdef01234567";
    for url in [remote.url_http(), remote.url_file()] {
        t.platform(&[Service::new("zbackend", &url)]);
        t.xp(["sync", "--reference", &format!("zbackend={unknown}")])
            .failure(3)
            .stderr_contains(&format!("does not serve the commit {unknown}"))
            .does_not_contain("object not found");
        assert!(!t.exists("src/zbackend"));
    }
}

fn a_suggestion_is_never_ambiguous(t: &Context) {
    let remote = t.git_repo("zbackend");
    remote.commit(&[], "First");
    remote.tag("v1");
    remote.commit(&[("two", "2\n")], "Second");
    remote.branch("v1");
    remote.branch("main");
    remote.server_git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    remote.delete_branch("master");
    for (reference, hint) in [
        ("tags/v2", "did you mean `tags/v1` instead of `tags/v2`?"),
        (
            "refs/tags/v2",
            "did you mean `tags/v1` instead of `refs/tags/v2`?",
        ),
        ("heads/v2", "did you mean `v1` instead of `heads/v2`?"),
        ("v2", "did you mean `v1` or `tags/v1` instead of `v2`?"),
        ("master", "did you mean `main` instead of `master`?"),
        (
            "origin/master",
            "did you mean `main` instead of `origin/master`?",
        ),
        ("pull/7/head", "`git ls-remote` lists all references"),
    ] {
        for url in [remote.url_http(), remote.url_file()] {
            t.platform(&[Service::new("zbackend", &url).reference(reference)]);
            t.xp(["sync"]).failure(2).stderr_contains(hint);
        }
    }
}

fn an_empty_repository_is_an_error(t: &Context) {
    let remote = t.git_repo("empty");
    for url in [remote.url_http(), remote.url_file(), remote.url_ssh()] {
        for reference in [None, Some("master")] {
            let service = Service::new("zbackend", &url);
            t.platform(&[match reference {
                Some(reference) => service.reference(reference),
                None => service,
            }]);
            t.xp(["sync"])
                .failure(3)
                .stderr_contains(&format!("the repository {url} is empty"))
                .stderr_contains("hint: push a first commit");
        }
    }
    // A default branch that does not exist is a different problem.
    remote.commit(&[], "First");
    remote.server_git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    for url in [remote.url_http(), remote.url_file()] {
        t.platform(&[Service::new("zbackend", &url)]);
        t.xp(["sync"])
            .failure(3)
            .stderr_contains("has no default branch")
            .stderr_contains("set `git.reference` to a branch");
    }
}

fn a_branch_is_used_where_it_exists(t: &Context) {
    let (with, without) = (t.built_repo("with"), t.built_repo("without"));
    without.tag("v1");
    let tagged = without.head();
    without.commit(&[("file", "2\n")], "Second");
    let master = with.head();
    with.branch("TASK-981");
    let task = with.commit(&[("file", "task\n")], "Task");
    t.platform(&[
        Service::new("with", with.url_http()),
        Service::new("without", without.url_http()).reference("v1"),
        Service::new("pinned", with.url_http()).reference(&master),
        Service::new("overruled", with.url_http()),
    ]);
    let build = t.xp([
        "build",
        "--branch",
        "TASK-981",
        "--reference",
        "overruled=master",
    ]);
    build.success();
    t.assert_built("with", &task);
    t.assert_built("without", &tagged);
    // A branch with that name takes precedence over what the manifest pins.
    t.assert_built("pinned", &task);
    t.assert_built("overruled", &master);
    assert_eq!(
        t.git("src/with", &["symbolic-ref", "--short", "HEAD"]),
        "TASK-981"
    );

    // Without the option, the working copy stays on the branch, and the manifest's reference is built.
    t.xp(["build", "with"]).success();
    t.assert_built("with", &master);
    assert_eq!(
        t.git("src/with", &["symbolic-ref", "--short", "HEAD"]),
        "TASK-981"
    );

    for arguments in [["--reference", "nobody=master"], ["--branch", "a..b"]] {
        let [option, value] = arguments;
        t.xp(["plan", option, value]).failure(2);
    }
}

fn tags_of_images_follow_the_branch(t: &Context) {
    let remote = t.built_repo("zbackend");
    let master = remote.head();
    remote.tag("v1.0");
    remote.branch("feature/TASK-981");
    let feature = remote.commit(&[("file", "2\n")], "Second");
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    let id = |tag: &str| {
        let image = t.engine().image(&format!("{}:{tag}", t.image("zbackend")));
        image.map(|image| image["Id"].to_string())
    };
    t.xp(["build"]).success();
    assert!(id(&master).is_some());
    assert_eq!(id("master"), id(&master));
    t.xp(["build", "--branch", "feature/TASK-981"]).success();
    let digest = sha1_hex(t, "feature/TASK-981");
    assert_eq!(
        id(&format!("feature-TASK-981-{}", &digest[..8])),
        id(&feature)
    );
    assert_ne!(id("master"), id(&feature));
    let newer = {
        remote.switch("master");
        remote.commit(&[("file", "3\n")], "Third")
    };
    t.xp(["build"]).success();
    assert_eq!(id("master"), id(&newer));
    assert_ne!(id("master"), id(&master));
}

fn sha1_hex(t: &Context, text: &str) -> String {
    let script = format!("printf %s '{text}' | sha1sum");
    t.program("sh", ["-c", &script]).success().stdout
}

fn a_deleted_branch_is_an_error_until_the_manifest_changes(t: &Context) {
    let remote = t.built_repo("zbackend");
    remote.branch("feature");
    let feature = remote.commit(&[("file", "2\n")], "Second");
    remote.switch("master");
    let master = remote.commit(&[("file", "3\n")], "Third");
    let service =
        |reference: &str| [Service::new("zbackend", remote.url_http()).reference(reference)];
    t.platform(&service("feature"));
    t.xp(["build"]).success();
    t.assert_built("zbackend", &feature);
    remote.delete_branch("feature");
    t.xp(["build"])
        .failure(2)
        .stderr_contains("has no branch or tag `feature`");
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), feature);

    t.platform(&service("master"));
    t.xp(["build"])
        .success()
        .stderr_contains("was not updated: branch `feature` is checked out");
    t.assert_built("zbackend", &master);
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), feature);

    // Add a branch with a name that is a folder of the deleted branch's name.
    remote.git(&["branch", "--quiet", "--delete", "--force", "feature"]);
    remote.branch("feature/more");
    let more = remote.commit(&[("file", "4\n")], "Fourth");
    t.platform(&service("feature/more"));
    t.xp(["build"]).success();
    t.assert_built("zbackend", &more);
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), feature);
}

fn a_moved_tag_is_followed(t: &Context) {
    let remote = t.built_repo("zbackend");
    remote.tag("nightly");
    let first = remote.head();
    t.platform(&[Service::new("zbackend", remote.url_http()).reference("nightly")]);
    t.xp(["build"]).success();
    t.assert_built("zbackend", &first);
    let second = remote.commit(&[("file", "2\n")], "Second");
    remote.git(&["tag", "--force", "nightly"]);
    remote.git(&["push", "--quiet", "--force", "origin", "refs/tags/nightly"]);
    t.xp(["build"]).success();
    t.assert_built("zbackend", &second);
    // xp detached it, so it may move it.
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), second);
}

fn one_working_copy_serves_two_services(t: &Context) {
    let remote = t.built_repo("shared");
    let first = remote.head();
    t.platform(&[
        Service::new("one", remote.url_http()).dir("src/shared"),
        Service::new("two", remote.url_http()).dir("src/shared"),
    ]);
    let mark = t.git_server(GitServerKind::Open).mark();
    t.xp(["build"]).success();
    t.assert_built("one", &first);
    t.assert_built("two", &first);
    let second = remote.commit(&[("file", "2\n")], "Second");
    t.xp(["build"]).success();
    t.assert_built("one", &second);
    t.assert_built("two", &second);
    assert_eq!(t.git("src/shared", &["rev-parse", "HEAD"]), second);
    assert_eq!(t.git("src/shared", &["status", "--porcelain"]), "");
    let requests = remote.requests_since(GitServerKind::Open, mark);
    // For each build, one request to resolve and two to fetch.
    assert_eq!(requests.len(), 6, "{requests:?}");
    let mark = t.git_server(GitServerKind::Open).mark();
    t.xp(["sync"]).success();
    let requests = remote.requests_since(GitServerKind::Open, mark);
    assert_eq!(requests.len(), 1, "{requests:?}");
}
