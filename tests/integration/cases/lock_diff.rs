//! Differences between two locks.

use std::fs;

use serde_json::Value;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::working_copy::{Snapshot, User};
use crate::world::GitServerKind;

pub const CASES: &[Case] = cases![
    changes_are_printed_in_three_formats,
    revisions_of_the_platform_are_compared,
    downgrades_and_rewritten_histories_are_reported,
    unavailable_commits_are_reported,
    hostile_commits_are_harmless,
    only_commits_of_the_path_are_listed,
    a_shallow_clone_is_not_mistaken_for_full_history,
];

/// Writes a manifest with these services and without a registry.
fn platform(t: &Context, repositories: &[(&str, &GitRepository)]) {
    let services = repositories
        .iter()
        .map(|(name, repository)| small::service(t, name, &repository.url_http(), "", ""));
    small::manifest(t, "", &services.collect::<String>());
}

/// Locks everything, and saves the lock under another name.
fn lock_as(t: &Context, name: &str) {
    t.xp(["lock"]).success();
    t.write(name, &t.read("x-platform.lock"));
}

fn short(commit: &str) -> &str {
    &commit[..8]
}

fn json(t: &Context, from: &str, to: &str) -> Value {
    let output = t.xp(["diff", from, to, "--format", "json"]).success();
    serde_json::from_str(&output.stdout).expect("JSON")
}

fn changes_are_printed_in_three_formats(t: &Context) {
    let [moved, removed, added, same] =
        ["moved", "removed", "added", "same"].map(|name| small::repository(t, name));
    let start = moved.head();
    platform(
        t,
        &[("moved", &moved), ("removed", &removed), ("same", &same)],
    );
    lock_as(t, "old.lock");
    let second = moved.commit(&[("content", "2")], "Add a thing");
    let third = moved.commit(&[("content", "3")], "Mend the thing\n\nIn detail.");
    platform(t, &[("moved", &moved), ("added", &added), ("same", &same)]);
    lock_as(t, "new.lock");

    // No working copies exist yet: only those that are needed are cloned.
    let output = t.xp(["diff", "old.lock", "new.lock"]).success();
    assert_eq!(
        output.stdout,
        format!(
            "added    added    {}
moved    moved    {}..{}  2 commits
  {}  2023-11-14  An Author  Mend the thing
  {}  2023-11-14  An Author  Add a thing
removed  removed  {}
1 service unchanged
",
            short(&added.head()),
            short(&start),
            short(&third),
            short(&third),
            short(&second),
            short(&removed.head()),
        )
    );
    assert!(t.exists("src/moved/.git") && !t.exists("src/added"));
    // The lock next to the manifest is the default for the second one.
    assert_eq!(t.xp(["diff", "old.lock"]).success().stdout, output.stdout);

    let markdown = t.xp(["diff", "old.lock", "--format", "markdown"]).success();
    markdown
        .stdout_contains(&format!(
            "## moved\n\n`{}..{}`, 2 commits\n\n",
            short(&start),
            short(&third)
        ))
        .stdout_contains(&format!(
            "- Add a thing (`{}`, An Author, 2023-11-14)\n",
            short(&second)
        ))
        .stdout_contains("## removed\n\nRemoved; it was at")
        .does_not_contain("author@example.com")
        .does_not_contain("In detail");

    let json = json(t, "old.lock", "new.lock");
    assert_eq!(json["version"], 1);
    assert_eq!(
        (&json["from"], &json["to"]),
        (&"old.lock".into(), &"new.lock".into())
    );
    assert_eq!(json["unchanged"], 1);
    let change = &json["services"]["moved"];
    assert_eq!(change["change"], "moved");
    assert_eq!(change["from"]["commit"], start);
    assert_eq!(change["to"]["commit"], third);
    assert_eq!(change["commits"][0]["commit"], third);
    assert_eq!(change["commits"][1]["subject"], "Add a thing");
    assert_eq!(change["commits"][1]["author"], "An Author");
    assert_eq!(json["services"]["added"]["from"], Value::Null);
    t.xp(["diff", "new.lock"])
        .success()
        .stdout_contains("new.lock and x-platform.lock are identical");

    // Commits that exist locally need no request.
    let mark = t.git_server(GitServerKind::Open).mark();
    t.xp(["diff", "old.lock", "--no-fetch"])
        .success()
        .stdout_contains("2 commits");
    t.xp(["diff", "old.lock"]).success();
    assert!(moved.requests_since(GitServerKind::Open, mark).is_empty());
}

fn revisions_of_the_platform_are_compared(t: &Context) {
    let service = small::repository(t, "zbackend");
    platform(t, &[("zbackend", &service)]);
    t.xp(["diff"])
        .failure(2)
        .stderr_contains("is not in a git repository");
    t.git("", &["init", "--quiet", "--initial-branch=main"]);
    t.xp(["diff"])
        .failure(2)
        .stderr_contains("revision `HEAD` not found")
        .stderr_contains("hint: pass two arguments");
    t.git("", &["add", "x-platform.yml"]);
    t.git("", &["commit", "--quiet", "--message", "Begin"]);
    t.xp(["diff"])
        .failure(2)
        .stderr_contains("x-platform.lock does not exist in `HEAD`");

    let first = service.head();
    t.xp(["lock"]).success();
    t.git("", &["add", "x-platform.lock"]);
    t.git("", &["commit", "--quiet", "--message", "Lock"]);
    t.git("", &["tag", "v1.0"]);
    t.xp(["diff"])
        .success()
        .stdout_contains("HEAD:x-platform.lock and x-platform.lock are identical");
    let second = service.commit(&[("content", "2")], "Second");
    t.xp(["lock"]).success();
    let range = format!("{}..{}", short(&first), short(&second));
    t.xp(["diff"])
        .success()
        .stdout_contains(&range)
        .stdout_contains("1 commit");
    t.xp(["diff"])
        .dir(t.dir().join("src/zbackend"))
        .success()
        .stdout_contains(&range);
    t.git(
        "",
        &["commit", "--quiet", "--all", "--message", "Lock again"],
    );
    let third = service.commit(&[("content", "3")], "Third");
    t.xp(["lock"]).success();
    t.git(
        "",
        &["commit", "--quiet", "--all", "--message", "Lock once more"],
    );
    t.xp(["diff", "v1.0", "HEAD~1"])
        .success()
        .stdout_contains(&range);
    let range = format!("{}..{}", short(&first), short(&third));
    t.xp(["diff", "v1.0"]).success().stdout_contains(&range);
    t.xp(["diff", "v1.0", "main"])
        .success()
        .stdout_contains(&range);
    // A file takes precedence over a revision with that name.
    t.write("v1.0", &t.read("x-platform.lock"));
    t.xp(["diff", "v1.0"])
        .success()
        .stdout_contains("are identical");

    t.xp(["diff", "v2.0"])
        .failure(2)
        .stderr_contains("`v2.0` is neither a file nor a revision")
        .stderr_contains("hint: did you mean `v1.0`?");
    t.xp(["diff", "x-platfrom.lock"])
        .failure(2)
        .stderr_contains("hint: did you mean `x-platform.lock`?");
    t.xp(["diff", "main..HEAD"])
        .failure(2)
        .stderr_contains("hint: pass two revisions as separate arguments: `xp diff main HEAD`");
    t.xp(["diff", "HEAD~9"])
        .failure(2)
        .stderr_contains("no such branch, tag or commit");
    for argument in [":(", ":", "HEAD^{/[}", "^"] {
        t.xp(["diff", argument])
            .failure(2)
            .stderr_contains(&format!("`{argument}` is neither a file nor a revision"));
    }
    t.xp(["diff", "."])
        .failure(2)
        .stderr_contains("`.` is a folder")
        .stderr_contains("hint: pass the lock in it, such as `./x-platform.lock`");
    // The names it prints are names it accepts.
    t.xp(["diff", "v1.0:x-platform.lock", "HEAD~1:x-platform.lock"])
        .success()
        .stdout_contains(&format!("{}..{}", short(&first), short(&second)));
    t.xp(["diff", "HEAD:old/x-platform.lock"])
        .failure(2)
        .stderr_contains("old/x-platform.lock does not exist in `HEAD`");
    t.xp(["diff", "HEAD:x-platform.yml"])
        .failure(2)
        .stderr_contains("HEAD:x-platform.yml");
    t.xp(["diff", "HEAD~2"]).success();
    // A damaged lock is quoted from the revision.
    t.write("x-platform.lock", "version: 1\n");
    t.git("", &["commit", "--quiet", "--all", "--message", "Damage"]);
    t.xp(["diff", "HEAD", "HEAD~1"])
        .failure(2)
        .stderr_contains("HEAD:x-platform.lock")
        .stderr_contains("the lock has no `services`");
}

fn downgrades_and_rewritten_histories_are_reported(t: &Context) {
    let service = small::repository(t, "zbackend");
    platform(t, &[("zbackend", &service)]);
    t.xp(["sync"]).success();
    lock_as(t, "1.lock");
    service.commit(&[("content", "2")], "Second");
    lock_as(t, "2.lock");
    t.xp(["sync"]).success();
    let rewritten = service.rewrite(&[("content", "3")], "Second, rewritten");
    lock_as(t, "3.lock");
    t.xp(["sync"]).success();
    service.git(&["checkout", "--quiet", "-b", "side", "HEAD~1"]);
    let side = service.commit(&[("side", "x")], "Aside");
    service.switch("master");
    service.git(&[
        "merge",
        "--quiet",
        "--no-ff",
        "--message",
        "Merge side",
        "side",
    ]);
    service.git(&["push", "--quiet", "origin", "master"]);
    lock_as(t, "4.lock");
    let user = User::new(t, "zbackend");
    let before = Snapshot::of(&user);

    t.xp(["diff", "3.lock", "1.lock"])
        .success()
        .stdout_contains("back by 1 commit")
        .stdout_contains(&format!("  - {}  ", short(&rewritten)));
    let json = json(t, "3.lock", "4.lock");
    let commits = json["services"]["zbackend"]["commits"]
        .as_array()
        .expect("commits")
        .clone();
    assert_eq!(commits.len(), 2);
    assert_eq!(
        (&commits[0]["merge"], &commits[1]["merge"]),
        (&true.into(), &false.into())
    );
    assert_eq!(commits[1]["commit"], side);
    let listed: Vec<String> = commits
        .iter()
        .map(|it| it["commit"].as_str().unwrap().to_owned())
        .collect();
    let git = service.git(&["log", "--format=%H", &format!("{rewritten}..master")]);
    assert_eq!(listed, git.lines().collect::<Vec<_>>(), "as git lists them");

    // The working copy still has what the remote has removed.
    t.xp(["diff", "2.lock", "3.lock"])
        .success()
        .stdout_contains("1 commit, 1 dropped")
        .stdout_contains("Second, rewritten");
    assert_eq!(Snapshot::of(&user), before, "no file and no branch moved");
}

fn unavailable_commits_are_reported(t: &Context) {
    let service = small::repository(t, "zbackend");
    platform(t, &[("zbackend", &service)]);
    lock_as(t, "1.lock");
    service.commit(&[("content", "2")], "Second");
    lock_as(t, "2.lock");
    t.xp(["diff", "1.lock", "2.lock", "--no-fetch"])
        .success()
        .stdout_contains("commits unknown")
        .stdout_contains("no working copy at ");
    assert!(!t.exists("src"));
    let fake = t
        .read("1.lock")
        .replace(&service.git(&["rev-parse", "HEAD~1"]), &"ab".repeat(20));
    t.write("fake.lock", &fake);
    let output = t.xp(["diff", "fake.lock", "2.lock"]).failure(3);
    output
        .stdout_contains("abababab..")
        .stdout_contains("commits unknown")
        .stderr_contains("some commits between the two locks are unknown")
        .stderr_contains("does not serve the commit abababab")
        .stderr_contains("`--no-fetch` lists only commits that are available locally");
    let json = t
        .xp(["diff", "fake.lock", "2.lock", "--no-fetch", "--format=json"])
        .success();
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["services"]["zbackend"]["commits"], Value::Null);
    assert!(json["services"]["zbackend"]["problem"].is_string());
    // A service in both locks that the manifest no longer has.
    let other = small::repository(t, "other");
    platform(t, &[("other", &other)]);
    t.xp(["diff", "1.lock", "2.lock"])
        .failure(3)
        .stderr_contains("it is not in the manifest");
    t.xp(["diff", "missing.lock"])
        .failure(2)
        .stderr_contains("missing.lock");
}

fn hostile_commits_are_harmless(t: &Context) {
    let service = small::repository(t, "zbackend");
    platform(t, &[("zbackend", &service)]);
    lock_as(t, "1.lock");
    service.git(&["config", "user.name", "Mallory"]);
    service.write(&[("content", "2")]);
    service.git(&["add", "--all"]);
    let subject = "\u{1b}[2J\u{1b}]0;pwned\u{7} <script>alert(1)</script> `x` | [a](javascript:b) \u{202e}txt";
    service.git(&[
        "commit",
        "--quiet",
        "--author",
        "\u{1b}[31mM|allory <m@example.com>",
        "--message",
        subject,
    ]);
    service.git(&["push", "--quiet", "origin", "master"]);
    lock_as(t, "2.lock");
    for format in ["text", "markdown", "json"] {
        let output = t
            .xp(["diff", "1.lock", "2.lock", "--format", format])
            .success();
        let controls = output
            .stdout
            .chars()
            .filter(|c| c.is_control() && *c != '\n');
        assert_eq!(controls.count(), 0, "{format}: {output}");
        assert!(!output.stdout.contains('\u{202e}'), "{format}");
        assert!(output.stdout.contains("alert(1)"), "{format}");
        if format == "markdown" {
            assert!(!output.stdout.contains("<script>"), "{output}");
            assert!(
                output.stdout.contains("\\`x\\` \\| \\[a\\](javascript:b)"),
                "{output}"
            );
        }
    }
}

fn only_commits_of_the_path_are_listed(t: &Context) {
    let repository = small::repository(t, "zbackend");
    platform(t, &[("zbackend", &repository)]);
    let first = repository.commit(&[("one/file", "1"), ("two/file", "1")], "Begin");
    lock_as(t, "1.lock");
    repository.commit(&[("one/file", "2")], "One");
    repository.commit(&[("two/file", "2")], "Two");
    repository.git(&["switch", "--quiet", "--create", "side", &first]);
    repository.commit(&[("one/side", "x")], "One aside");
    repository.switch("master");
    repository.git(&["merge", "--quiet", "--no-ff", "--message", "Merge", "side"]);
    repository.git(&["push", "--quiet", "origin", "master"]);
    repository.commit(&[("two/file", "3")], "Two again");
    lock_as(t, "2.lock");
    for path in ["one", "two"] {
        for name in ["1.lock", "2.lock"] {
            let text = t.read(name);
            let text = text.replace("    commit:", &format!("    path: {path}\n    commit:"));
            t.write(&format!("{path}-{name}"), &text);
        }
        let (from, to) = (format!("{path}-1.lock"), format!("{path}-2.lock"));
        let json = json(t, &from, &to);
        let commits = json["services"]["zbackend"]["commits"]
            .as_array()
            .expect("commits")
            .clone();
        let listed: Vec<&str> = commits
            .iter()
            .filter_map(|it| it["commit"].as_str())
            .collect();
        let range = format!("{first}..master");
        let git = repository.git(&["log", "--format=%H", &range, "--", path]);
        assert_eq!(listed, git.lines().collect::<Vec<_>>(), "{path}");
    }
}

fn a_shallow_clone_is_not_mistaken_for_full_history(t: &Context) {
    let service = small::repository(t, "zbackend");
    platform(t, &[("zbackend", &service)]);
    lock_as(t, "1.lock");
    service.commit(&[("content", "2")], "Second");
    service.commit(&[("content", "3")], "Third");
    lock_as(t, "2.lock");
    let url = service.url_http();
    t.git("", &["clone", "--quiet", "--depth=1", &url, "src/zbackend"]);
    let here = || t.xp(["diff", "1.lock", "2.lock", "--no-fetch"]).success();
    here()
        .stdout_contains("commits unknown")
        .stdout_contains("does not have the commit");
    // The older commit exists locally, but not those in between.
    let [first, last] = ["HEAD~2", "HEAD"].map(|name| service.git(&["rev-parse", name]));
    service.server_git(&["branch", "old", &first]);
    let more = ["fetch", "--quiet", "--depth=1", "origin", "old"];
    t.git("src/zbackend", &more);
    let cut_off = format!("src/zbackend is a shallow clone without the commits before {last}");
    here().stdout_contains(&cut_off);
    // A local remote does not support fetching the rest.
    small::manifest(
        t,
        "",
        &small::service(t, "zbackend", &service.url_file(), "", ""),
    );
    t.xp(["diff", "1.lock", "2.lock"])
        .failure(3)
        .stderr_contains("is a shallow clone")
        .stderr_contains("fetch --unshallow` fetches the rest");
    platform(t, &[("zbackend", &service)]);
    let whole = || t.xp(["diff", "1.lock", "2.lock"]).success();
    whole().stdout_contains("2 commits");

    service.server_git(&["branch", "-D", "old"]);
    // The older commit does not exist locally either, and the server does not serve it by ID.
    fs::remove_dir_all(t.dir().join("src")).expect("the working copies");
    t.git("", &["clone", "--quiet", "--depth=1", &url, "src/zbackend"]);
    whole().stdout_contains("2 commits");
    let status = || t.git("src/zbackend", &["status", "--porcelain", "--branch"]);
    assert_eq!(status(), "## master...origin/master");
    fs::remove_dir_all(t.dir().join("src")).expect("the working copies");
    t.git("", &["clone", "--quiet", "--depth=1", &url, "src/zbackend"]);
    t.xp(["sync", "--locked", "--lock-file", "1.lock"])
        .success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
    assert_eq!(status(), "## HEAD (no branch)");
}
