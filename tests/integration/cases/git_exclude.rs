//! `git.exclude`: the last commit that changed anything else, and builds that do not see the excluded files.

use std::fs;

use serde_json::Value;

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::platform::Service;
use crate::repository::GitRepository;
use crate::working_copy::User;

pub const CASES: &[Case] = cases![
    commits_that_change_only_excluded_files_build_nothing,
    a_merge_with_the_files_of_the_branch_has_its_image,
    builds_do_not_see_excluded_files,
    modified_excluded_files_are_not_local_changes,
    a_branch_with_documentation_only_has_no_effect,
    locks_and_release_notes_leave_out_excluded_commits,
    a_shallow_clone_is_completed_for_excluded_files,
    a_repository_without_other_files_is_an_error,
];

const EXCLUDE: &str = "exclude: [docs, '*.md']";

/// A repository with sources and documentation.
fn project(t: &Context, name: &str) -> GitRepository {
    let remote = t.git_repo(name);
    let dockerfile = format!("FROM {}\nCOPY . /files\n", t.engine().busybox());
    remote.commit(
        &[
            ("Dockerfile", &dockerfile),
            ("main", "1\n"),
            ("README.md", "1\n"),
            ("docs/guide/one", "1\n"),
            ("svc/a/Dockerfile", &dockerfile),
            ("svc/a/main", "1\n"),
            ("svc/a/docs/one", "1\n"),
            ("svc/a/NOTES.md", "1\n"),
        ],
        "First",
    );
    remote
}

fn service(remote: &GitRepository, git: &str) -> Service {
    Service::new("a", remote.url_http()).git(git)
}

/// Returns the planned commit.
fn planned(t: &Context) -> String {
    commit_in(t.xp(["plan", "--format", "json"]).success())
}

fn commit_in(planned: Output) -> String {
    let plan: Value = serde_json::from_str(&planned.stdout).expect("JSON");
    let commit = plan["units"][0]["commit"].as_str();
    commit.unwrap_or_else(|| panic!("{plan}")).to_owned()
}

fn files_in(t: &Context, image: &str) -> Vec<String> {
    let list = "cd /files; find . -type f | sort";
    let text = t.engine().run(image, ["sh", "-c", list]);
    text.lines().map(str::to_owned).collect()
}

fn commits_that_change_only_excluded_files_build_nothing(t: &Context) {
    let remote = project(t, "a");
    let first = remote.head();
    t.platform(&[service(&remote, EXCLUDE)]);
    t.xp(["build"]).success();
    t.assert_built("a", &first);
    remote.commit(&[("docs/guide/one", "2\n"), ("README.md", "2\n")], "Docs");
    remote.commit(&[("svc/a/docs.md", "new\n")], "A new file");
    remote.commit(&[], "Nothing");
    assert_eq!(planned(t), first);
    t.xp(["build"]).success().does_not_contain("docker build");
    t.xp(["why", "a"]).success().stdout_contains(&format!(
        "{}, the last one that changed anything but docs, *.md",
        &first[..8]
    ));
    t.xp(["status"]).success().stdout_contains("verified");
    // The working copy still follows the branch.
    t.xp(["sync"]).success();
    assert_eq!(t.git("src/a", &["rev-parse", "HEAD"]), remote.head());

    let both = remote.commit(&[("docs/guide/one", "3\n"), ("main", "2\n")], "Both");
    remote.commit(&[("README.md", "3\n")], "More docs");
    assert_eq!(planned(t), both);
    t.xp(["build"]).success();
    t.assert_built("a", &both);
    // A result without the patterns is another one.
    t.platform(&[service(&remote, "submodules: false")]);
    assert_eq!(planned(t), remote.head());
    t.platform(&[service(&remote, EXCLUDE)]);
    assert_eq!(planned(t), both);
    // A move out of the excluded folder counts.
    remote.git(&["mv", "docs/guide", "guide"]);
    let moved = remote.commit(&[], "Move");
    assert_eq!(planned(t), moved);

    // Together with a folder.
    let folder = "path: svc/a, include: [main], exclude: [svc/a/docs, '*.md']";
    t.platform(&[service(&remote, folder)]);
    assert_eq!(planned(t), both);
    let own = remote.commit(&[("svc/a/main", "2\n")], "The service");
    remote.commit(&[("svc/a/docs/one", "2\n"), ("svc/a/NOTES.md", "2\n")], "D");
    assert_eq!(planned(t), own);
    t.xp(["build"]).success();
    let image = format!("{}:{own}", t.image("a"));
    assert_eq!(files_in(t, &image), ["./Dockerfile", "./main"]);
}

fn a_merge_with_the_files_of_the_branch_has_its_image(t: &Context) {
    let remote = project(t, "a");
    t.platform(&[service(&remote, EXCLUDE)]);
    remote.branch("topic");
    let topic = remote.commit(&[("main", "2\n")], "On the branch");
    t.xp(["build", "--branch", "topic"]).success();
    remote.switch("master");
    remote.commit(&[("docs/guide/one", "2\n")], "Meanwhile");
    let merge = ["merge", "--quiet", "--no-ff", "--message", "Merge", "topic"];
    remote.git(&merge);
    remote.commit(&[], "Empty");
    assert_eq!(planned(t), topic);
    t.xp(["build"]).success().does_not_contain("docker build");
    t.assert_built("a", &topic);
}

fn builds_do_not_see_excluded_files(t: &Context) {
    let remote = project(t, "a");
    remote.annotated_tag("v1", "One");
    let builder = t.git_builder();
    let script = "git describe --dirty > made; git status --porcelain > /tmp/status; cat /tmp/status >> made; \
        find . -name .git -prune -o -type f -print | sort; cat README.md || true";
    t.platform(&[service(&remote, EXCLUDE).script(&builder, script)]);
    let output = t.xp(["build", "--verbose"]).success();
    output
        .stderr_contains("./svc/a/main")
        .does_not_contain("./docs/")
        .does_not_contain("NOTES.md");
    let image = format!("{}:{}", t.image("a"), remote.head());
    assert_eq!(
        files_in(t, &image),
        [
            "./Dockerfile",
            "./made",
            "./main",
            "./svc/a/Dockerfile",
            "./svc/a/docs/one",
            "./svc/a/main"
        ]
    );
    let made = t.engine().run(&image, ["cat", "/files/made"]);
    assert_eq!(made, "v1\n?? made", "git reports no deleted files");
}

fn modified_excluded_files_are_not_local_changes(t: &Context) {
    let remote = project(t, "a");
    let first = remote.head();
    remote.commit(&[("README.md", "2\n")], "Docs");
    t.platform(&[service(&remote, EXCLUDE)]);
    t.xp(["sync"]).success();
    let user = User::new(t, "a");
    user.write("README.md", "mine\n");
    user.write("docs/new", "mine\n");
    t.xp(["build", "--local"]).success();
    let image = format!("{}:{first}", t.image("a"));
    let files = files_in(t, &image);
    assert!(!files.iter().any(|it| it.ends_with(".md")), "{files:?}");
    assert!(!files.iter().any(|it| it.contains("./docs/")), "{files:?}");
    assert!(files.contains(&"./svc/a/docs/one".to_owned()), "{files:?}");
    t.xp(["plan", "--local"])
        .success()
        .stdout_contains("Nothing to do");
    user.write("main", "mine\n");
    t.xp(["plan", "--local"])
        .success()
        .stdout_contains("changed: main")
        .does_not_contain("README.md");
    // Only changes that a build would contain are mentioned.
    user.git(&["checkout", "--quiet", "main"]);
    t.xp(["build"]).success().does_not_contain("modified file");
}

fn a_branch_with_documentation_only_has_no_effect(t: &Context) {
    let remote = project(t, "a");
    t.platform(&[service(&remote, EXCLUDE)]);
    t.xp(["build"]).success();
    remote.branch("TASK-1");
    remote.commit(&[("docs/guide/one", "2\n")], "Only docs");
    t.xp(["build", "--branch", "TASK-1"])
        .success()
        .does_not_contain("docker build");
    let code = remote.commit(&[("main", "2\n")], "Code");
    let plan = t.xp(["plan", "--format", "json", "--branch", "TASK-1"]);
    assert_eq!(commit_in(plan.success()), code);
}

fn locks_and_release_notes_leave_out_excluded_commits(t: &Context) {
    let remote = project(t, "a");
    t.platform(&[service(&remote, EXCLUDE)]);
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    let before = fs::read_to_string(t.dir().join("x-platform.lock")).expect("the lock");
    remote.commit(&[("README.md", "2\n")], "Only docs");
    t.xp(["lock"]).success();
    let after = fs::read_to_string(t.dir().join("x-platform.lock")).expect("the lock");
    assert_eq!(after, before);
    fs::write(t.dir().join("old.lock"), before).expect("a copy");
    let code = remote.commit(&[("main", "2\n")], "Some code");
    remote.commit(&[("docs/guide/one", "2\n")], "More docs");
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    t.xp(["build", "--locked"])
        .success()
        .does_not_contain("docker build");
    t.xp(["diff", "old.lock", "x-platform.lock"])
        .success()
        .stdout_contains("Some code")
        .stdout_contains("1 commit")
        .does_not_contain("Only docs");
    t.xp(["sync", "--locked"]).success();
    assert_eq!(t.git("src/a", &["rev-parse", "HEAD"]), code);
    // Other patterns are another build.
    t.platform(&[service(&remote, "exclude: [docs]")]);
    t.xp(["build", "--locked"])
        .failure(2)
        .stderr_contains("its build inputs differ from the locked ones");
}

fn a_shallow_clone_is_completed_for_excluded_files(t: &Context) {
    let remote = project(t, "a");
    let first = remote.head();
    for number in 0..5 {
        remote.commit(&[("README.md", &format!("{number}\n"))], "Docs");
    }
    let url = remote.url_http();
    t.git("", &["clone", "--quiet", "--depth", "2", &url, "src/a"]);
    t.platform(&[service(&remote, EXCLUDE)]);
    assert_eq!(planned(t), first);
    // The result is cached: nothing is opened or fetched.
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    assert_eq!(planned(t), first);
    assert!(!t.exists("src"));
    t.xp(["build"]).success();
    t.assert_built("a", &first);
}

fn a_repository_without_other_files_is_an_error(t: &Context) {
    let remote = t.git_repo("a");
    remote.commit(&[("README.md", "1\n"), ("docs/one", "1\n")], "First");
    t.platform(&[service(&remote, EXCLUDE)]);
    t.xp(["plan"])
        .failure(2)
        .stderr_contains("service `a`: `git.exclude` leaves no file of master (")
        .stderr_contains("x-platform.yml:");
}
