//! User changes in working copies: they are never touched, and the service is built anyway.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::repository::GitRepository;
use crate::working_copy::{Snapshot, User};

pub const CASES: &[Case] = cases![user_work_is_never_touched];

/// A user's change in a working copy, and the expected result of a sync.
struct Situation {
    name: &'static str,
    /// Done before the remote moves.
    before: fn(&User),
    /// Done after the user fetched the remote's new commit; if this is not set, it is not fetched.
    after_fetch: Option<fn(&User)>,
    /// The reason given by `xp sync`; `moved` if it updates the files.
    result: &'static str,
}

const fn situation(name: &'static str, before: fn(&User), result: &'static str) -> Situation {
    Situation {
        name,
        before,
        after_fetch: None,
        result,
    }
}

const fn fetched(name: &'static str, after_fetch: fn(&User), result: &'static str) -> Situation {
    Situation {
        name,
        before: |_| {},
        after_fetch: Some(after_fetch),
        result,
    }
}

const MOVED: &str = "moved from";

const SITUATIONS: &[Situation] = &[
    situation("clean", |_| {}, MOVED),
    situation("untracked", |user| user.write("mine", "mine"), MOVED),
    situation(
        "untracked-in-deleted",
        |user| user.write("leaving/mine", "mine"),
        MOVED,
    ),
    situation(
        "ignored",
        |user| user.write("build/mine.log", "mine"),
        MOVED,
    ),
    situation(
        "ignored-beside",
        |user| user.write("arriving/mine.log", "mine"),
        MOVED,
    ),
    situation(
        "stashed",
        |user| {
            user.write("file", "mine\n");
            user.git(&["stash"]);
        },
        MOVED,
    ),
    situation(
        "modified",
        |user| user.write("file", "mine\n"),
        "modified files: file",
    ),
    situation(
        "modified-elsewhere",
        |user| user.write("other", "mine\n"),
        "modified files: other",
    ),
    situation(
        "deleted",
        |user| user.remove("other"),
        "modified files: other",
    ),
    situation(
        "mode",
        |user| {
            let path = user.dir.join("other");
            fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a file's mode");
        },
        "modified files: other",
    ),
    situation(
        "staged",
        |user| {
            user.write("other", "mine\n");
            user.git(&["add", "other"]);
        },
        "staged changes: other",
    ),
    situation(
        "staged-and-modified",
        |user| {
            user.write("other", "staged\n");
            user.git(&["add", "other"]);
            user.write("other", "modified\n");
        },
        "staged changes: other",
    ),
    situation(
        "intent-to-add",
        |user| {
            user.write("new", "mine");
            user.git(&["add", "--intent-to-add", "new"]);
        },
        ": new",
    ),
    situation(
        "assume-unchanged",
        |user| {
            user.git(&["update-index", "--assume-unchanged", "file"]);
            user.write("file", "mine\n");
        },
        "in the way: file",
    ),
    situation(
        "skip-worktree",
        |user| {
            user.git(&["update-index", "--skip-worktree", "file"]);
            user.write("file", "mine\n");
        },
        "in the way: file",
    ),
    situation(
        "untracked-in-the-way",
        |user| user.write("new", "mine"),
        "in the way: new",
    ),
    situation(
        "ignored-in-the-way",
        |user| user.write("forced.log", "mine"),
        "in the way: forced.log",
    ),
    situation(
        "file-for-folder",
        |user| user.write("arriving", "mine"),
        "in the way: arriving",
    ),
    situation(
        "folder-for-file",
        |user| user.write("new/mine", "mine"),
        "in the way: new",
    ),
    situation(
        "ignored-folder-for-file",
        |user| user.write("turning/mine.log", "mine"),
        "in the way: turning",
    ),
    situation(
        "link-for-folder",
        |user| {
            user.write("../elsewhere/mine", "mine");
            symlink("../elsewhere", user.dir.join("arriving")).expect("a link");
        },
        "in the way: arriving",
    ),
    situation(
        "unpushed",
        |user| user.commit("mine", "mine"),
        "diverged: 1 commit ahead, 1 commit behind",
    ),
    situation(
        "other-branch",
        |user| {
            user.git(&["switch", "--quiet", "--create", "feature"]);
        },
        "branch `feature` is checked out",
    ),
    situation(
        "detached",
        |user| {
            user.git(&["checkout", "--quiet", "--detach"]);
        },
        "HEAD is detached",
    ),
    situation(
        "locked",
        |user| user.write(".git/index.lock", ""),
        "index.lock",
    ),
    fetched(
        "diverged",
        |user| user.commit("file", "mine\n"),
        "diverged: 1 commit ahead, 1 commit behind",
    ),
    fetched(
        "merge",
        |user| {
            user.commit("file", "mine\n");
            user.git_conflicts(&["merge", "origin/master"]);
        },
        "a merge is in progress",
    ),
    fetched(
        "rebase",
        |user| {
            user.commit("file", "mine\n");
            user.git_conflicts(&["rebase", "origin/master"]);
        },
        "a rebase is in progress",
    ),
    fetched(
        "cherry-pick",
        |user| {
            user.commit("file", "mine\n");
            user.git_conflicts(&["cherry-pick", "origin/master"]);
        },
        "a cherry-pick is in progress",
    ),
    fetched(
        "bisect",
        |user| {
            user.git(&["bisect", "start"]);
        },
        "a bisect is in progress",
    ),
];

/// A remote tracked by a working copy in each situation.
fn remote_that_moves(t: &Context) -> GitRepository {
    let remote = t.built_repo("zbackend");
    let files = [
        ("other", "1\n"),
        (".gitignore", "*.log\n"),
        (".dockerignore", ".git\n"),
        ("leaving/file", "1\n"),
        ("turning/file", "1\n"),
    ];
    remote.commit(&files, "Second");
    remote
}

/// Changes, adds and deletes files; a folder becomes a file.
fn move_remote(remote: &GitRepository) -> String {
    remote.git(&["rm", "--quiet", "-r", "leaving", "turning"]);
    remote.write(&[("forced.log", "2\n")]);
    remote.git(&["add", "--force", "forced.log"]);
    let files = [
        ("file", "2\n"),
        ("new", "2\n"),
        ("turning", "2\n"),
        ("arriving/new", "2\n"),
    ];
    remote.commit(&files, "Third")
}

fn user_work_is_never_touched(t: &Context) {
    let remote = remote_that_moves(t);
    let first = remote.head();
    let services: Vec<Service> = SITUATIONS
        .iter()
        .map(|situation| Service::new(situation.name, remote.url_http()))
        .collect();
    t.platform(&services);
    t.xp(["sync"]).success();
    for situation in SITUATIONS {
        (situation.before)(&User::new(t, situation.name));
    }
    let second = move_remote(&remote);
    for situation in SITUATIONS {
        let user = User::new(t, situation.name);
        if let Some(after_fetch) = situation.after_fetch {
            user.git(&["fetch", "--quiet"]);
            after_fetch(&user);
        }
    }
    let snapshots: Vec<Snapshot> = SITUATIONS
        .iter()
        .map(|situation| Snapshot::of(&User::new(t, situation.name)))
        .collect();

    // Sequentially: two concurrent builds may each create the layer, with different times.
    let build = t.xp(["build", "--jobs", "1"]).success();
    let sync = t.xp(["sync"]).success();
    let clean = t.assert_built("clean", &second);
    assert_eq!(
        t.engine().run(
            &format!("{}:{second}", t.image("clean")),
            ["cat", "/files/file", "/files/turning"]
        ),
        "2\n2"
    );
    for (situation, before) in SITUATIONS.iter().zip(snapshots) {
        let Situation { name, result, .. } = situation;
        let user = User::new(t, name);
        if *result == MOVED {
            assert_eq!(user.head(), second, "{name}: {build}");
            let status = user.git(&["status", "--porcelain", "--branch"]);
            let left: Vec<&str> = status.lines().skip(1).collect();
            assert!(
                left.iter().all(|line| line.starts_with("?? ")),
                "{name}: {status}"
            );
            assert!(status.starts_with("## master...origin/master\n") || left.is_empty());
            let after = Snapshot::of(&user);
            assert_eq!(after.stash, before.stash, "{name}");
            for (path, content) in before.files {
                if content.ends_with("mine") {
                    assert_eq!(after.files.get(&path), Some(&content), "{name}");
                }
            }
        } else {
            assert_eq!(Snapshot::of(&user), before, "{name}: {build}");
            let row = sync
                .stdout
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let row = row.unwrap_or_else(|| panic!("{name} is not in {sync}"));
            assert!(row.contains(result), "{name}: {row:?}");
            let note = format!("{name} | {} was not updated: ", user.dir.display());
            let note = build.stderr.lines().find(|line| line.starts_with(&note));
            assert!(
                note.is_some_and(|note| note.contains(result)),
                "{name}: {note:?} in {build}"
            );
        }
        // The same files result in the same layers.
        let image = t.assert_built(name, &second);
        assert_eq!(image["RootFS"], clean["RootFS"], "{name}");
    }
    let elsewhere = t.dir().join("src/elsewhere/mine");
    assert_eq!(
        fs::read_to_string(elsewhere).expect("it was not removed"),
        "mine"
    );
    assert_ne!(first, second);
}
