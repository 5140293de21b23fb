//! Services in a part of a repository: which commit they are built from, and which files are available.

use std::fs;
use std::process::Command;

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::process;
use crate::repository::GitRepository;
use crate::working_copy::{Snapshot, User};
use crate::world::GitServerKind;

pub const CASES: &[Case] = cases![
    each_service_uses_the_last_commit_that_touched_it,
    a_build_has_only_its_own_folders,
    git_in_the_builder_reports_a_clean_tree,
    a_plan_changes_no_files,
    cached_results_need_no_history,
    a_missing_path_is_reported,
    services_of_a_remote_share_one_clone,
    a_shallow_working_copy_is_completed,
    lost_history_is_fetched_again,
    an_earlier_commit_can_be_selected,
    a_branch_that_touches_another_service_has_no_effect,
    a_status_shows_only_local_knowledge,
];

/// A repository with the services `a` and `b`, a library, and files at the top level.
fn mono(t: &Context) -> GitRepository {
    let remote = t.git_repo("mono");
    let dockerfile = format!("FROM {}\nCOPY . /files\n", t.engine().busybox());
    remote.commit(
        &[
            ("services/a/Dockerfile", &dockerfile),
            ("services/a/file", "a1\n"),
            ("services/b/Dockerfile", &dockerfile),
            ("services/b/file", "b1\n"),
            ("libs/common/lib", "l1\n"),
            ("libs/other/lib", "o1\n"),
            ("go.mod", "m1\n"),
            ("README", "r1\n"),
        ],
        "First",
    );
    remote
}

fn service(name: &str, url: &str, more: &str) -> Service {
    Service::new(name, url)
        .dir("src/mono")
        .git(&format!("path: services/{name}{more}"))
}

fn commits(t: &Context, names: &[&str]) -> Vec<String> {
    let plan = t.xp(["plan"]).success().stdout;
    let of = |name: &&str| {
        let line = plan
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {plan}"));
        line.split_whitespace().nth(1).expect("a commit").to_owned()
    };
    names.iter().map(of).collect()
}

fn each_service_uses_the_last_commit_that_touched_it(t: &Context) {
    let remote = mono(t);
    let url = remote.url_http();
    let services = || {
        [
            service("a", &url, ""),
            service("b", &url, ", include: [libs/common, go.mod]"),
        ]
    };
    t.platform(&services());
    let short = |commit: &str| commit[..8].to_owned();
    let first = short(&remote.head());
    assert_eq!(commits(t, &["a", "b"]), [first.clone(), first.clone()]);

    remote.commit(
        &[("README", "r2\n"), ("libs/other/lib", "o2\n")],
        "Beside both",
    );
    assert_eq!(commits(t, &["a", "b"]), [first.clone(), first.clone()]);
    let lib = short(&remote.commit(&[("libs/common/lib", "l2\n")], "A library"));
    assert_eq!(commits(t, &["a", "b"]), [first, lib.clone()]);
    let a = short(&remote.commit(&[("services/a/file", "a2\n")], "The service"));
    assert_eq!(commits(t, &["a", "b"]), [a.clone(), lib]);
    let module = short(&remote.commit(&[("go.mod", "m2\n")], "A file at the top"));
    assert_eq!(commits(t, &["a", "b"]), [a.clone(), module.clone()]);

    // A merge that only brings in a branch's change is not the commit that made it.
    remote.branch("feature");
    let feature = short(&remote.commit(&[("services/a/file", "a3\n")], "On a branch"));
    remote.switch("master");
    remote.commit(&[("README", "r3\n")], "Meanwhile");
    remote.git(&[
        "merge",
        "--quiet",
        "--no-ff",
        "--message",
        "Merge",
        "feature",
    ]);
    remote.commit(&[], "Empty");
    assert_eq!(commits(t, &["a", "b"]), [feature.clone(), module.clone()]);
    // Move a file into the service.
    remote.git(&["mv", "libs/other/lib", "services/a/moved"]);
    let moved = short(&remote.commit(&[], "Move"));
    assert_eq!(commits(t, &["a", "b"]), [moved.clone(), module.clone()]);

    // The planned commit is built, tagged and labeled.
    t.xp(["build"]).success();
    let full = remote.git(&["rev-parse", &moved]);
    t.assert_built("a", &full);
    t.assert_built("b", &remote.git(&["rev-parse", &module]));
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // The working copy follows the branch.
    assert_eq!(t.git("src/mono", &["rev-parse", "HEAD"]), remote.head());
}

fn a_build_has_only_its_own_folders(t: &Context) {
    let remote = mono(t);
    remote.commit(
        &[
            (".gitattributes", "*.dos eol=crlf\n"),
            ("services/a/x.dos", "1\n"),
            ("services/a*/trap", "not a pattern\n"),
            ("services/ab/trap", "a longer name\n"),
        ],
        "More",
    );
    let url = remote.url_http();
    let busybox = t.engine().busybox();
    let script = "pwd; cd ../..; find . -name .git -prune -o -type f -print | sort; echo made > services/a/made";
    t.platform(&[service("a", &url, ", include: [libs/common, go.mod]").script(busybox, script)]);
    let output = t.xp(["build"]).success();
    let output = output.stderr_contains("/workspace/services/a\n");
    let seen: Vec<&str> = output
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("a | ./"))
        .collect();
    let expected = [
        "go.mod",
        "libs/common/lib",
        "services/a/Dockerfile",
        "services/a/file",
        "services/a/x.dos",
    ];
    assert_eq!(seen, expected, "{output}");
    // The image context is the service's folder, and attributes of parent folders apply.
    let image = format!("{}:{}", t.image("a"), remote.head());
    let list = "cd /files; find . -type f | sort; cat x.dos";
    let text = t.engine().run(&image, ["sh", "-c", list]);
    assert_eq!(text, "./Dockerfile\n./file\n./made\n./x.dos\n1\r");
}

fn git_in_the_builder_reports_a_clean_tree(t: &Context) {
    let remote = mono(t);
    remote.annotated_tag("v1", "One");
    let commit = remote.commit(
        &[("services/a/file", "a2\n"), ("libs/other/x", "1\n")],
        "Second",
    );
    let builder = t.git_builder();
    let script = "cd ../..; { git describe --dirty; git status --porcelain; git log -1 --format=%H -- services/a; \
        git ls-files -t | cut -c 1 | sort | uniq -c; } > /tmp/said; mv /tmp/said services/a/said";
    t.platform(&[service("a", &remote.url_http(), ", include: [go.mod]").script(&builder, script)]);
    t.xp(["build", "--verbose"]).success();
    let image = format!("{}:{commit}", t.image("a"));
    let said = t.engine().run(&image, ["cat", "/files/said"]);
    let expected = format!("v1-1-g{}\n{commit}\n      3 H\n      6 S", &commit[..7]);
    assert_eq!(said, expected);
}

fn a_plan_changes_no_files(t: &Context) {
    let remote = mono(t);
    t.platform(&[service("a", &remote.url_http(), "")]);
    // No other object store exists, so the first plan clones the repository and prints a note.
    t.xp(["plan"])
        .success()
        .stderr_contains("cloned http://")
        .stderr_contains("src/mono");
    let user = User::new(t, "mono");
    user.write("services/a/file", "mine\n");
    user.write("new", "mine\n");
    let before = Snapshot::of(&user);
    let commit = remote.commit(&[("services/a/file", "a2\n")], "Second");
    let plan = t.xp(["plan"]).success();
    plan.stdout_contains(&commit[..8]);
    assert_eq!(Snapshot::of(&user), before);
    // The objects exist, and nothing happened beyond what `git fetch` does.
    assert_eq!(user.git(&["rev-parse", "origin/master"]), commit);
    t.xp(["build"]).success();
    t.assert_built("a", &commit);
    assert_eq!(Snapshot::of(&user), before);
    // Working copies that `xp sync` would update are updated although a plan fetched first.
    user.git(&["checkout", "--quiet", "--", "."]);
    fs::remove_file(user.dir.join("new")).expect("it is there");
    let third = remote.commit(&[("README", "r2\n")], "Third");
    t.xp(["plan"]).success();
    t.xp(["sync"]).success();
    assert_eq!(user.head(), third);
}

fn cached_results_need_no_history(t: &Context) {
    let remote = mono(t);
    let url = remote.url_http();
    t.platform(&[service("a", &url, ""), service("b", &url, "")]);
    let first = t.xp(["plan"]).success().stdout;
    // If the result is cached, nothing is opened, cloned or fetched: the working copy may even be gone.
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    let mark = t.git_server(GitServerKind::Open).mark();
    assert_eq!(t.xp(["plan"]).success().stdout, first);
    assert!(!t.exists("src"));
    let requests = remote.requests_since(GitServerKind::Open, mark);
    assert!(
        requests.len() <= 2,
        "only the tips are asked for: {requests:?}"
    );
    // A damaged file is recreated.
    let folder = t.dir().join(".xp/history");
    for file in fs::read_dir(&folder).expect("what is known") {
        fs::write(file.expect("a file").path(), "nonsense").expect("a damaged file");
    }
    assert_eq!(t.xp(["plan"]).success().stdout, first);
    assert!(t.exists("src/mono/.git"));
    let text = fs::read_dir(&folder)
        .expect("what is known")
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("text"));
    let text: Vec<String> = text.collect();
    assert!(
        text.len() == 1 && text[0].contains("services/a"),
        "{text:?}"
    );
    // A build needs the commit itself.
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    t.xp(["build"]).success();
    t.assert_built("a", &remote.head());
}

fn a_missing_path_is_reported(t: &Context) {
    let remote = mono(t);
    let url = remote.url_http();
    t.platform(&[
        Service::new("a", &url)
            .dir("src/mono")
            .git("path: service/a"),
        Service::new("b", &url)
            .dir("src/mono")
            .git("path: services/bb, include: [libs/nothing]"),
        Service::new("c", &url).dir("src/mono").git("path: go.mod"),
    ]);
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("service `a`: `service/a` does not exist in master (")
        .stderr_contains(&format!(") of {url}"))
        .stderr_contains("did you mean `services`?")
        .stderr_contains("`services/bb` does not exist")
        .stderr_contains("did you mean `services/b`?")
        .stderr_contains("`libs/nothing` does not exist")
        .stderr_contains("service `c`: `go.mod` is a file, but `git.path` must be a folder")
        .stderr_contains("x-platform.yml:4:");
    // A path that existed earlier.
    t.platform(&[service("a", &url, ""), service("b", &url, "")]);
    t.xp(["build"]).success();
    remote.git(&["rm", "--quiet", "-r", "services/b"]);
    let removed = remote.commit(&[], "Retire b");
    remote.commit(&[("README", "r2\n")], "Later");
    let user = User::new(t, "mono");
    user.write("services/b/file", "mine\n");
    let before = Snapshot::of(&user);
    t.xp(["build"])
        .failure(2)
        .stderr_contains("service `b`: `services/b` does not exist in master")
        .stderr_contains(&format!("commit {} removed it: Retire b", &removed[..8]));
    assert_eq!(Snapshot::of(&user), before, "nothing of the user's is lost");
    // The other service is built as usual, and so is this one from an earlier commit.
    t.xp(["build", "a"]).success();
    let reference = format!("b={removed}~1");
    t.xp(["build", "b", "--reference", &reference]).failure(2);
    let earlier = format!("b={}", remote.git(&["rev-parse", &format!("{removed}~1")]));
    t.xp(["plan", "b", "--reference", &earlier]).success();
}

fn services_of_a_remote_share_one_clone(t: &Context) {
    let remote = t.git_repo("mono");
    let dockerfile = format!("FROM {}\nCOPY . /files\n", t.engine().busybox());
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let paths: Vec<String> = names
        .iter()
        .map(|name| format!("services/{name}/Dockerfile"))
        .collect();
    for path in &paths {
        remote.commit(&[(path, &dockerfile)], path);
    }
    let url = remote.url_http();
    let services: Vec<Service> = names.iter().map(|name| service(name, &url, "")).collect();
    t.platform(&services);
    let mark = t.git_server(GitServerKind::Open).mark();
    t.xp(["build"]).success();
    let packs = |mark| {
        let mut requests = remote.requests_since(GitServerKind::Open, mark);
        // One POST requests the references, another one the objects.
        requests.retain(|request| request.method == "POST");
        requests.len()
    };
    assert!(
        packs(mark) <= 3,
        "{:?}",
        remote.requests_since(GitServerKind::Open, mark)
    );
    for (number, name) in names.iter().enumerate() {
        let back = names.len() - 1 - number;
        t.assert_built(name, &remote.git(&["rev-parse", &format!("HEAD~{back}")]));
    }
    // If each has a separate working copy, one of them is used for all.
    let apart: Vec<Service> = names
        .iter()
        .map(|name| service(name, &url, "").dir(&format!("src/{name}")))
        .collect();
    t.platform(&apart);
    fs::remove_dir_all(t.dir().join(".xp/history")).expect("what is known");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    let clones = fs::read_dir(t.dir().join("src"))
        .expect("the working copies")
        .count();
    assert_eq!(clones, 2, "the old one, and one of the new ones");
}

fn a_shallow_working_copy_is_completed(t: &Context) {
    let remote = mono(t);
    let first = remote.head();
    for number in 0..5 {
        remote.commit(&[("README", &format!("{number}\n"))], "Later");
    }
    let url = remote.url_http();
    let clone = ["clone", "--quiet", "--depth", "2"];
    t.git("", &[&clone[..], &[&url, "src/mono"]].concat());
    t.platform(&[service("a", &url, "")]);
    t.xp(["plan"]).success().stdout_contains(&first[..8]);
    assert_eq!(
        t.git("src/mono", &["rev-parse", "--is-shallow-repository"]),
        "false"
    );
    t.git("src/mono", &["fsck", "--strict"]);
    t.xp(["build"]).success();
    t.assert_built("a", &first);

    // A local remote does not support partial fetches; the error says so, and what to do.
    fs::remove_dir_all(t.dir().join("src/mono")).expect("the working copy");
    fs::remove_dir_all(t.dir().join(".xp/history")).expect("what is known");
    let url = remote.url_file();
    t.git("", &[&clone[..], &[&url, "src/mono"]].concat());
    t.platform(&[service("a", &url, "")]);
    let refused = t.xp(["plan"]).failure(3);
    refused
        .stderr_contains("needed by a")
        .stderr_contains("is a shallow clone")
        .stderr_contains("fetch --unshallow` fetches the rest");
    t.git("src/mono", &["fetch", "--quiet", "--unshallow"]);
    t.xp(["plan"]).success().stdout_contains(&first[..8]);
}

fn lost_history_is_fetched_again(t: &Context) {
    let remote = mono(t);
    let first = remote.head();
    remote.commit(&[("README", "r2\n")], "Second");
    let url = remote.url_http();
    t.platform(&[service("a", &url, "")]);
    t.xp(["plan"]).success();
    // The result is cached, but the build now uses another object store.
    fs::remove_dir_all(t.dir().join("src/mono")).expect("the working copy");
    t.git("", &["clone", "--quiet", "--depth", "1", &url, "src/mono"]);
    t.xp(["build"]).success();
    t.assert_built("a", &first);
}

fn an_earlier_commit_can_be_selected(t: &Context) {
    let remote = mono(t);
    let first = remote.head();
    let second = remote.commit(&[("README", "r2\n")], "Second");
    remote.commit(&[("services/a/file", "a2\n")], "Third");
    t.platform(&[service("a", &remote.url_http(), "")]);
    let reference = format!("a={second}");
    t.xp(["build", "--reference", &reference]).success();
    t.assert_built("a", &first);
    let environment = "env | grep ^XP_";
    let busybox = t.engine().busybox();
    t.platform(&[service("a", &remote.url_http(), "").script(busybox, environment)]);
    let output = t.xp(["build", "--force", "--verbose", "--reference", &reference]);
    output
        .success()
        .stderr_contains(&format!("XP_COMMIT={first}"));
    let mut git = Command::new("git");
    git.args(["cat-file", "-t", &first])
        .current_dir(t.dir().join("src/mono"));
    assert_eq!(process::succeed(&mut git), "commit");
}

fn a_branch_that_touches_another_service_has_no_effect(t: &Context) {
    let remote = mono(t);
    let first = remote.head();
    let url = remote.url_http();
    t.platform(&[service("a", &url, ""), service("b", &url, "")]);
    t.xp(["build"]).success();
    remote.branch("TASK-1");
    let task = remote.commit(&[("services/a/file", "a2\n")], "On the branch");
    // A service that the branch adds.
    let dockerfile = format!("FROM {}\nCOPY . /files\n", t.engine().busybox());
    let new = remote.commit(&[("services/c/Dockerfile", &dockerfile)], "A new one");
    remote.switch("master");
    remote.commit(&[("README", "r2\n")], "Meanwhile");
    t.platform(&[
        service("a", &url, ""),
        service("b", &url, ""),
        service("c", &url, ""),
    ]);
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("service `c`: `services/c` does not exist in master");
    let plan = t.xp(["plan", "--branch", "TASK-1"]).success().stdout;
    let line = |name: &str| {
        let line = plan
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {plan}"))
            .to_owned()
    };
    for (name, commit, decision) in [
        ("a", &task, "build"),
        ("b", &first, "tag"),
        ("c", &new, "build"),
    ] {
        let line = line(name);
        assert!(
            line.contains(&commit[..8]) && line.contains(decision),
            "{line}"
        );
    }
    // The branch results in the same image as the manifest's reference.
    t.xp(["build", "--branch", "TASK-1"]).success();
    t.assert_built("a", &task);
    t.assert_built("c", &new);
    let id = |tag: &str| {
        t.engine()
            .image(&format!("{}:{tag}", t.image("b")))
            .expect("an image")["Id"]
            .clone()
    };
    assert_eq!(id("TASK-1"), id(&first));
}

fn a_status_shows_only_local_knowledge(t: &Context) {
    let remote = mono(t);
    let first = remote.head();
    remote.commit(&[("README", "r2\n")], "Second");
    t.platform(&[service("a", &remote.url_http(), "")]);
    // A status neither clones nor fetches.
    t.xp(["status"])
        .failure(3)
        .stderr_contains("the last commit of a is not known locally")
        .stderr_contains("hint: `xp plan` and `xp sync` fetch it");
    assert!(!t.exists("src"));
    t.xp(["build"]).success();
    t.xp(["status"]).success().stdout_contains(&first[..8]);
    t.xp(["status", "--offline"])
        .success()
        .stdout_contains(&first[..8]);
    fs::remove_dir_all(t.dir().join(".xp/history")).expect("what is known");
    t.xp(["status"]).success().stdout_contains(&first[..8]);
    remote.commit(&[("README", "r3\n")], "Third");
    t.xp(["status"])
        .failure(3)
        .stderr_contains("the last commit of a is not known locally");
    t.xp(["plan"]).success();
    t.xp(["status"]).success().stdout_contains(&first[..8]);
}
