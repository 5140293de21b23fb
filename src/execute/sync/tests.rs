//! Tests of the rules for working copies, on real repositories. The remote is made, and the user's actions are
//! run, with the git command, so that xp is checked against git itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::client::git::export;
use crate::client::git::{
    Export, GitEnvironment, GitError, GitErrorKind, Opened, OperationInProgress, WorkingCopy,
    remove_tree,
};
use crate::client::http::Http;
use crate::flow::sources::resolve::{RequestedRemote, ResolveRequest, resolve};
use crate::model::source::PathSelection;

/// A remote with two commits, a path for a working copy, and a client.
struct SyncWorld {
    folder: TempDir,
    runtime: Runtime,
    client: GitClient,
    cancel: CancellationToken,
}

impl SyncWorld {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let http = Http::for_tests();
        let client =
            GitClient::new(http, GitEnvironment::default(), runtime.handle().clone()).unwrap();
        let world = Self {
            folder,
            runtime,
            client,
            cancel: CancellationToken::new(),
        };
        world.git_in(world.path(""), &["init", "-q", "-b", "master", "upstream"]);
        world.commit("one", "first");
        world.commit("two", "second");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn copy(&self) -> PathBuf {
        self.path("copy")
    }

    fn git_in(&self, folder: PathBuf, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args([
                "-c",
                "user.name=T",
                "-c",
                "user.email=t@example.com",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs git in the remote.
    fn upstream(&self, arguments: &[&str]) -> String {
        self.git_in(self.path("upstream"), arguments)
    }

    /// Runs git in the working copy.
    fn user(&self, arguments: &[&str]) -> String {
        self.git_in(self.copy(), arguments)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Commits a file in the remote.
    fn commit(&self, file: &str, text: &str) -> CommitId {
        self.write(&format!("upstream/{file}"), text);
        self.upstream(&["add", "-A"]);
        self.upstream(&["commit", "-q", "-m", text]);
        self.upstream(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    fn url(&self) -> GitUrl {
        self.path("upstream").to_str().unwrap().parse().unwrap()
    }

    fn resolve(&self, reference: &str) -> ResolvedReference {
        let request = ResolveRequest {
            service: "x".to_owned(),
            remote: RequestedRemote::Git(self.url()),
            reference: reference.parse().unwrap(),
            preferred_branch: None,
            manifest_reference: None,
        };
        self.runtime
            .block_on(resolve(&self.client, vec![request]))
            .unwrap()
            .remove("x")
            .unwrap()
            .reference
    }

    fn sync_to(
        &self,
        url: &GitUrl,
        resolved: &ResolvedReference,
    ) -> Result<SyncOutcome, SyncError> {
        let request = SyncRequest {
            dir: &self.copy(),
            staging_dir: &self.path("staging"),
            url,
            resolved,
            commit: resolved.commit,
            moves: true,
        };
        let progress = |_| {};
        let outcome = sync(
            &self.client,
            &request,
            &OperationContext {
                progress: &progress,
                cancel: &self.cancel,
            },
        );
        if outcome.is_ok() {
            let held = self.user(&["cat-file", "-t", &resolved.commit.to_string()]);
            assert_eq!(held, "commit");
        }
        outcome
    }

    fn sync(&self, reference: &str) -> SyncOutcome {
        self.sync_to(&self.url(), &self.resolve(reference)).unwrap()
    }

    fn open(&self) -> WorkingCopy {
        match WorkingCopy::open(&self.copy()).unwrap() {
            Opened::WorkingCopy(copy) => copy,
            _ => panic!("no working copy"),
        }
    }

    fn head(&self) -> CommitId {
        self.user(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// Records a move to a commit as an xp that was killed in the middle of it.
    fn begin_move(&self, to: CommitId) {
        let from = self.head().to_string();
        self.user(&["update-ref", "refs/worktree/xp/moving-from", &from]);
        self.user(&["update-ref", "refs/worktree/xp/moving", &to.to_string()]);
    }

    /// Syncs, checks that the files are unchanged, and returns the reason.
    fn left_alone(&self) -> NotUpdatedReason {
        let (head, status) = (self.head(), self.user(&["status", "--porcelain"]));
        let SyncOutcome::NotUpdated(reason) = self.sync("master") else {
            panic!("it was updated")
        };
        assert_eq!(self.head(), head);
        assert_eq!(self.user(&["status", "--porcelain"]), status);
        reason
    }
}

#[test]
fn a_clone_matches_git_clone() {
    let world = SyncWorld::new();
    world.upstream(&["tag", "-a", "-m", "v1", "v1"]);
    world.upstream(&["branch", "other"]);
    assert_eq!(world.sync("origin/master"), SyncOutcome::Cloned);
    assert_eq!(
        world.user(&["status", "--porcelain", "--branch"]),
        "## master...origin/master"
    );
    assert_eq!(
        world.user(&["remote", "get-url", "origin"]),
        world.url().to_string()
    );
    assert_eq!(world.user(&["tag"]), "v1");
    assert_eq!(
        world.user(&["branch", "-r"]),
        "origin/HEAD -> origin/master\n  origin/master\n  origin/other"
    );
    assert_eq!(world.user(&["fsck", "--strict"]), "");
    assert_eq!(world.user(&["pull", "--ff-only", "-q"]), "");
    assert_eq!(fs::read_dir(world.path("staging")).unwrap().count(), 0);
    assert_eq!(world.sync("origin/master"), SyncOutcome::UpToDate);
}

#[test]
fn a_clean_working_copy_is_updated() {
    let world = SyncWorld::new();
    world.sync("master");
    let from = world.head();
    // Untracked and ignored files that are not in the way stay.
    world.write("copy/untracked", "mine");
    let to = world.commit("sub", "third");
    world.upstream(&["tag", "v3"]);
    assert_eq!(
        world.sync("master"),
        SyncOutcome::FastForwarded { from, to }
    );
    assert_eq!(world.head(), to);
    assert_eq!(world.read("copy/untracked"), "mine");
    assert_eq!(
        world.user(&["status", "--porcelain", "--branch"]),
        "## master...origin/master\n?? untracked"
    );
    assert_eq!(world.user(&["tag"]), "v3");
    assert_eq!(world.user(&["for-each-ref", "refs/xp"]), "");
}

#[test]
fn user_work_is_not_touched() {
    let world = SyncWorld::new();
    world.sync("master");
    world.commit("one", "changed upstream");

    world.write("copy/one", "mine");
    assert_eq!(
        world.left_alone(),
        NotUpdatedReason::Modified(vec!["one".to_owned()])
    );
    world.user(&["add", "one"]);
    assert_eq!(
        world.left_alone(),
        NotUpdatedReason::Staged(vec!["one".to_owned()])
    );
    world.user(&["commit", "-q", "-m", "mine"]);
    assert_eq!(
        world.left_alone(),
        NotUpdatedReason::Diverged {
            ahead: 1,
            behind: 1
        }
    );
    assert_eq!(world.read("copy/one"), "mine");

    world.user(&["reset", "-q", "--hard", "HEAD~"]);
    fs::remove_file(world.path("copy/two")).unwrap();
    assert_eq!(
        world.left_alone(),
        NotUpdatedReason::Modified(vec!["two".to_owned()])
    );
    world.user(&["checkout", "-q", "two"]);

    world.user(&["checkout", "-q", "-b", "feature"]);
    assert_eq!(
        world.left_alone(),
        NotUpdatedReason::OtherBranch {
            current: "feature".to_owned()
        }
    );
    world.user(&["checkout", "-q", "--detach"]);
    assert_eq!(world.left_alone(), NotUpdatedReason::Detached);
    world.user(&["checkout", "-q", "master"]);

    fs::write(world.path("copy/.git/index.lock"), "").unwrap();
    assert_eq!(world.left_alone(), NotUpdatedReason::Locked);
    fs::remove_file(world.path("copy/.git/index.lock")).unwrap();
    assert!(matches!(
        world.sync("master"),
        SyncOutcome::FastForwarded { .. }
    ));
}

#[test]
fn unpushed_commits_are_left_alone() {
    let world = SyncWorld::new();
    world.sync("master");
    world.write("copy/mine", "mine");
    world.user(&["add", "mine"]);
    world.user(&["commit", "-q", "-m", "mine"]);
    assert_eq!(world.left_alone(), NotUpdatedReason::Unpushed(1));
}

#[test]
fn a_merge_or_rebase_in_progress_is_left_alone() {
    let world = SyncWorld::new();
    world.sync("master");
    world.commit("one", "changed upstream");
    world.user(&["fetch", "-q"]);
    world.write("copy/one", "mine");
    world.user(&["commit", "-q", "-a", "-m", "mine"]);
    for (start, abort, operation) in [
        ("merge", "merge", OperationInProgress::Merge),
        ("rebase", "rebase", OperationInProgress::Rebase),
        (
            "cherry-pick",
            "cherry-pick",
            OperationInProgress::CherryPick,
        ),
    ] {
        let run = Command::new("git")
            .args([
                "-C",
                world.copy().to_str().unwrap(),
                "-c",
                "user.name=T",
                "-c",
                "user.email=t@x",
                start,
                "origin/master",
            ])
            .output()
            .unwrap();
        assert!(!run.status.success(), "there is a conflict");
        assert_eq!(world.left_alone(), NotUpdatedReason::InProgress(operation));
        world.user(&[abort, "--abort"]);
    }
}

#[test]
fn untracked_and_ignored_files_are_never_overwritten() {
    let world = SyncWorld::new();
    world.commit(".gitignore", "*.log");
    world.sync("master");
    world.write("copy/new", "mine");
    world.commit("new", "theirs");
    assert_eq!(
        world.left_alone(),
        NotUpdatedReason::InTheWay(vec!["new".to_owned()])
    );
    assert_eq!(world.read("copy/new"), "mine");
    fs::remove_file(world.path("copy/new")).unwrap();
    world.write("copy/x.log", "mine");
    world.write("upstream/x.log", "theirs");
    world.upstream(&["add", "-f", "x.log"]);
    world.upstream(&["commit", "-q", "-m", "log"]);
    assert_eq!(
        world.left_alone(),
        NotUpdatedReason::InTheWay(vec!["x.log".to_owned()])
    );
    assert_eq!(world.read("copy/x.log"), "mine");
    assert_eq!(world.user(&["for-each-ref", "refs/xp"]), "");
    // A folder of the user in the place of a new file.
    fs::remove_file(world.path("copy/x.log")).unwrap();
    fs::create_dir(world.path("copy/x.log")).unwrap();
    world.write("copy/x.log/inside", "mine");
    world.left_alone();
    assert_eq!(world.read("copy/x.log/inside"), "mine");
}

#[test]
fn a_rewritten_history_is_followed_only_without_local_commits() {
    let world = SyncWorld::new();
    world.sync("master");
    let from = world.head();
    world.upstream(&["reset", "-q", "--hard", "HEAD~"]);
    let to = world.commit("two", "rewritten");
    assert_eq!(
        world.sync("master"),
        SyncOutcome::FollowedRewrite { from, to }
    );
    assert_eq!(world.head(), to);
    assert_eq!(
        world.user(&["rev-parse", "refs/xp/before-rewrite/master"]),
        from.to_string()
    );

    // Reset: the remote's branch is now an ancestor of its former commit.
    world.upstream(&["reset", "-q", "--hard", "HEAD~"]);
    let first = world.upstream(&["rev-parse", "HEAD"]).parse().unwrap();
    assert_eq!(
        world.sync("master"),
        SyncOutcome::FollowedRewrite {
            from: to,
            to: first
        }
    );

    world.write("copy/mine", "mine");
    world.user(&["add", "mine"]);
    world.user(&["commit", "-q", "-m", "mine"]);
    world.upstream(&["commit", "-q", "--amend", "-m", "another root"]);
    assert!(matches!(
        world.left_alone(),
        NotUpdatedReason::Diverged { .. }
    ));
}

#[test]
fn a_concurrently_pulled_branch_is_not_moved_back() {
    let world = SyncWorld::new();
    world.sync("master");
    let resolved = world.resolve("master");
    let newer = world.commit("three", "third");
    world.user(&["pull", "-q", "--ff-only"]);
    assert_eq!(
        world.sync_to(&world.url(), &resolved).unwrap(),
        SyncOutcome::UpToDate
    );
    assert_eq!(world.head(), newer);
}

#[test]
fn tags_and_commits_are_checked_out_detached_and_updated() {
    let world = SyncWorld::new();
    world.upstream(&["tag", "-a", "-m", "v1", "v1"]);
    let first = world.upstream(&["rev-parse", "HEAD"]);
    let second = world.commit("three", "third").to_string();
    assert_eq!(world.sync("v1"), SyncOutcome::Cloned);
    assert_eq!(world.head().to_string(), first);
    assert_eq!(world.sync("v1"), SyncOutcome::UpToDate);
    // Detached by xp, so it may move: to a commit, then to a branch.
    assert!(matches!(
        world.sync(&second),
        SyncOutcome::FastForwarded { .. }
    ));
    assert_eq!(world.head().to_string(), second);
    assert!(matches!(
        world.sync(&first),
        SyncOutcome::FastForwarded { .. }
    ));
    assert!(matches!(
        world.sync("master"),
        SyncOutcome::FastForwarded { .. }
    ));
    assert_eq!(
        world.user(&["status", "--porcelain", "--branch"]),
        "## master...origin/master"
    );
    // The user is on a branch.
    assert_eq!(
        world.sync("v1"),
        SyncOutcome::NotUpdated(NotUpdatedReason::OtherBranch {
            current: "master".to_owned()
        })
    );
    // Detached by the user.
    world.user(&["checkout", "-q", "--detach", "HEAD~"]);
    world.commit("four", "fourth");
    assert_eq!(world.left_alone(), NotUpdatedReason::Detached);
}

#[test]
fn commits_on_no_branch_are_fetched_by_name_or_sha() {
    let world = SyncWorld::new();
    world.sync("master");
    world.upstream(&["checkout", "-q", "--detach"]);
    let hidden = world.commit("hidden", "hidden");
    world.upstream(&["update-ref", "refs/pull/1/head", &hidden.to_string()]);
    world.upstream(&["checkout", "-q", "master"]);
    let master = world.head();
    assert!(matches!(
        world.sync("refs/pull/1/head"),
        SyncOutcome::NotUpdated(NotUpdatedReason::OtherBranch { .. })
    ));
    assert_eq!(world.head(), master);

    world.upstream(&["checkout", "-q", "--detach"]);
    let nameless = world.commit("nameless", "nameless");
    world.upstream(&["checkout", "-q", "master"]);
    let resolved = ResolvedReference {
        commit: nameless,
        name: None,
    };
    assert!(matches!(
        world.sync_to(&world.url(), &resolved).unwrap(),
        SyncOutcome::NotUpdated(_)
    ));

    let nowhere = ResolvedReference {
        commit: "1".repeat(40).parse().unwrap(),
        name: None,
    };
    let error = world.sync_to(&world.url(), &nowhere).unwrap_err();
    assert!(
        matches!(error, SyncError::MissingCommit { .. }),
        "{error:?}"
    );
    fs::remove_dir_all(world.copy()).unwrap();
    world.sync_to(&world.url(), &nowhere).unwrap_err();
    assert!(!world.copy().exists());
}

#[test]
fn a_deleted_branch_can_become_a_folder_of_branches() {
    let world = SyncWorld::new();
    world.upstream(&["branch", "a"]);
    world.sync("master");
    world.upstream(&["branch", "-D", "a"]);
    world.upstream(&["checkout", "-q", "-b", "a/b"]);
    world.commit("three", "third");
    world.upstream(&["checkout", "-q", "master"]);
    assert_eq!(
        world.sync("a/b"),
        SyncOutcome::NotUpdated(NotUpdatedReason::OtherBranch {
            current: "master".to_owned()
        })
    );
    assert_eq!(
        world.user(&["rev-parse", "origin/a/b"]),
        world.upstream(&["rev-parse", "a/b"])
    );
}

#[test]
fn other_folders_and_files_are_not_touched() {
    let world = SyncWorld::new();
    let attempt = || {
        world
            .sync_to(&world.url(), &world.resolve("master"))
            .unwrap_err()
    };
    fs::create_dir(world.copy()).unwrap();
    world.write("copy/notes", "mine");
    assert!(matches!(attempt(), SyncError::OtherFiles { .. }));
    fs::create_dir(world.path("copy/.git")).unwrap();
    assert!(attempt().hint().unwrap().contains("interrupted clone"));
    fs::remove_dir(world.path("copy/.git")).unwrap();
    world.git_in(world.copy(), &["init", "-q"]);
    assert!(matches!(attempt(), SyncError::NoCommits { .. }));
    assert_eq!(world.read("copy/notes"), "mine");
    fs::remove_dir_all(world.copy()).unwrap();
    world.write("copy", "a file");
    assert!(matches!(attempt(), SyncError::NotAFolder { .. }));
    fs::remove_file(world.copy()).unwrap();
    // An empty folder is fine.
    fs::create_dir(world.copy()).unwrap();
    assert_eq!(world.sync("master"), SyncOutcome::Cloned);
}

#[test]
fn a_working_copy_with_another_url_keeps_its_configuration() {
    let world = SyncWorld::new();
    world.git_in(world.path(""), &["clone", "-q", "upstream", "fork"]);
    world.git_in(world.path(""), &["clone", "-q", "fork", "copy"]);
    let config = world.read("copy/.git/config");
    let newer = world.commit("three", "third");
    assert_eq!(world.left_alone(), NotUpdatedReason::OtherRemote);
    assert_eq!(world.read("copy/.git/config"), config);
    assert_eq!(
        world.user(&["rev-parse", "refs/xp/remotes/master"]),
        newer.to_string()
    );
    assert_ne!(
        world.user(&["rev-parse", "origin/master"]),
        newer.to_string()
    );
}

#[test]
fn leftovers_of_a_killed_run_are_removed_or_completed() {
    let world = SyncWorld::new();
    fs::create_dir_all(world.path("staging/clone-0123/clone/.git")).unwrap();
    fs::create_dir_all(world.path("staging/other")).unwrap();
    world.sync("master");
    assert!(!world.path("staging/clone-0123").exists());
    assert!(world.path("staging/other").exists());

    // Killed during an update: one file is the new commit's, one is not written yet.
    world.write("upstream/new", "new");
    let to = world.commit("one", "changed upstream");
    world.user(&["fetch", "-q"]);
    world.begin_move(to);
    world.write("copy/one", "changed upstream");
    assert_eq!(world.sync("master"), SyncOutcome::UpToDate);
    assert_eq!(world.head(), to);
    assert_eq!(world.user(&["status", "--porcelain"]), "");
    assert_eq!(
        world.user(&["for-each-ref", "refs/xp", "refs/worktree"]),
        ""
    );

    // Killed while writing a file, which is partial or empty.
    for begun in ["changed on", ""] {
        let to = world.commit("one", &format!("changed once more\nnot {begun}\n"));
        world.user(&["fetch", "-q"]);
        world.begin_move(to);
        world.write("copy/one", begun);
        assert_eq!(world.sync("master"), SyncOutcome::UpToDate);
        assert_eq!(world.head(), to);
        assert_eq!(world.user(&["status", "--porcelain"]), "");
    }

    // With a change of the user among them, it is not updated.
    let to = world.commit("one", "changed again");
    world.user(&["fetch", "-q"]);
    world.begin_move(to);
    world.write("copy/one", "changed again");
    world.write("copy/two", "mine");
    assert!(matches!(world.left_alone(), NotUpdatedReason::Modified(_)));
    assert_eq!(world.read("copy/two"), "mine");
}

#[test]
fn commits_after_an_interrupted_move_are_kept() {
    for is_reset in [true, false] {
        let world = SyncWorld::new();
        world.sync("master");
        let to = world.commit("one", "changed upstream");
        world.user(&["fetch", "-q"]);
        world.begin_move(to);
        world.write("copy/one", "changed upstream");
        if is_reset {
            world.user(&["reset", "-q", "--hard"]);
        }
        world.write("copy/two", "mine");
        world.user(&["commit", "-q", "-m", "Mine", "two"]);
        world.left_alone();
        assert_eq!(world.read("copy/two"), "mine");
        assert_eq!(world.user(&["for-each-ref", "refs/worktree"]), "");
    }
}

#[test]
fn a_kill_after_head_was_detached_is_noticed() {
    let world = SyncWorld::new();
    world.sync("master");
    let to = world.commit("one", "changed upstream");
    world.user(&["fetch", "-q"]);
    world.begin_move(to);
    world.user(&["checkout", "-q", "--detach", &to.to_string()]);
    assert_eq!(world.sync("master"), SyncOutcome::UpToDate);
    let newer = world.commit("one", "changed again");
    world.sync("master");
    assert_eq!(world.head(), newer);
    assert_eq!(world.user(&["symbolic-ref", "HEAD"]), "refs/heads/master");
    assert_eq!(world.user(&["for-each-ref", "refs/worktree"]), "");
}

#[test]
fn an_interrupted_move_to_an_older_commit_leaves_the_branch() {
    let world = SyncWorld::new();
    let older = world.commit("one", "before");
    let newer = world.commit("one", "after");
    world.sync("master");
    world.begin_move(older);
    world.write("copy/one", "before");
    assert_eq!(
        world.sync("master"),
        SyncOutcome::FastForwarded {
            from: older,
            to: newer
        }
    );
    assert_eq!(world.user(&["symbolic-ref", "HEAD"]), "refs/heads/master");
    assert_eq!(world.head(), newer);
    let moves = world.user(&["reflog", "refs/heads/master"]);
    assert!(!moves.contains(&older.to_string()[..7]), "{moves}");
    assert_eq!(world.user(&["status", "--porcelain"]), "");
}

#[test]
fn linked_worktrees_have_their_own_state() {
    let world = SyncWorld::new();
    world.sync("master");
    let to = world.commit("one", "changed upstream");
    world.user(&["fetch", "-q"]);
    let linked = world.path("linked");
    let linked = linked.to_str().unwrap();
    world.user(&["worktree", "add", "-q", "-b", "release", linked]);
    world.begin_move(to);
    let Opened::WorkingCopy(copy) = WorkingCopy::open(&world.path("linked")).unwrap() else {
        panic!()
    };
    assert_eq!(copy.interrupted_move().unwrap(), None);
    let Opened::WorkingCopy(copy) = WorkingCopy::open(&world.copy()).unwrap() else {
        panic!()
    };
    assert_eq!(copy.interrupted_move().unwrap(), Some(to));
}

#[test]
fn an_interruption_leaves_nothing_behind() {
    let world = SyncWorld::new();
    let resolved = world.resolve("master");
    world.cancel.cancel();
    let SyncError::Git(error) = world.sync_to(&world.url(), &resolved).unwrap_err() else {
        panic!()
    };
    assert_eq!(error.kind(), GitErrorKind::Cancelled);
    assert!(!world.copy().exists());
    assert_eq!(fs::read_dir(world.path("staging")).unwrap().count(), 0);
}

#[test]
fn hooks_are_not_run() {
    let world = SyncWorld::new();
    world.sync("master");
    for hook in ["post-checkout", "post-merge", "reference-transaction"] {
        let path = world.path("copy/.git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            &path,
            format!("#!/bin/sh\ntouch {}\n", world.path("ran").display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.commit("three", "third");
    assert!(matches!(
        world.sync("master"),
        SyncOutcome::FastForwarded { .. }
    ));
    assert!(!world.path("ran").exists());
}

fn export_of(world: &SyncWorld, commit: CommitId) -> Result<PathBuf, GitError> {
    let Opened::WorkingCopy(copy) = WorkingCopy::open(&world.copy()).unwrap() else {
        panic!()
    };
    let (files, git_dir) = (world.path("export"), world.path("export.git"));
    let what = Export {
        commit,
        selection: &PathSelection::default(),
        submodules: None,
        lfs: &world.path("lfs"),
        branch: Some("master"),
        url: &world.url(),
        files: &files,
        git_dir: &git_dir,
        modified: None,
    };
    let progress = |_| {};
    let exported = export(
        &world.client,
        &copy,
        &what,
        &OperationContext {
            progress: &progress,
            cancel: &world.cancel,
        },
    )?;
    assert_eq!(
        fs::read_dir(git_dir.join("objects")).unwrap().count(),
        0,
        "the object store is mounted there"
    );
    assert!(exported.borrowed_objects.is_empty());
    // Simulates the bind mounts.
    fs::remove_dir(git_dir.join("objects")).unwrap();
    symlink(exported.objects, git_dir.join("objects")).unwrap();
    symlink(&git_dir, files.join(".git")).unwrap();
    Ok(files)
}

#[test]
fn an_export_is_exactly_the_commit_and_git_works_in_it() {
    let world = SyncWorld::new();
    world.write("upstream/run.sh", "#!/bin/sh\n");
    fs::set_permissions(
        world.path("upstream/run.sh"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    symlink("run.sh", world.path("upstream/link")).unwrap();
    symlink("/nowhere/at/all", world.path("upstream/dangling")).unwrap();
    world.write("upstream/.gitattributes", "*.dos eol=crlf\n");
    world.write("upstream/!early.dos", "line\n");
    world.upstream(&["add", "-A"]);
    world.upstream(&["commit", "-q", "-m", "attributes"]);
    world.upstream(&["tag", "-a", "-m", "v1", "v1"]);
    let commit = world.commit("three", "third");
    world.sync("master");
    world.write("copy/one", "an edit that is not committed");
    world.write("copy/.env", "ignored");

    let files = export_of(&world, commit).unwrap();
    let git = |arguments: &[&str]| world.git_in(files.clone(), arguments);
    assert_eq!(
        git(&["describe", "--dirty", "--tags"]),
        format!("v1-1-g{}", &commit.to_string()[..7])
    );
    assert_eq!(git(&["status", "--porcelain", "--ignored"]), "");
    assert_eq!(
        git(&["rev-parse", "HEAD", "origin/master", "master"]),
        [commit.to_string().as_str(); 3].join("\n")
    );
    assert_eq!(git(&["log", "--oneline"]).lines().count(), 4);
    assert_eq!(
        git(&["remote", "get-url", "origin"]),
        world.url().to_string()
    );
    assert_eq!(world.read("export/one"), "first");
    assert_eq!(world.read("export/!early.dos"), "line\r\n");
    assert_eq!(
        fs::read_link(files.join("link")).unwrap(),
        Path::new("run.sh")
    );
    assert_eq!(
        fs::metadata(files.join("run.sh"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    assert_eq!(
        fs::metadata(files.join("one"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o644
    );

    // All leftovers of a build are removed, including read-only folders and symlinks to other places.
    fs::remove_file(files.join(".git")).unwrap();
    fs::remove_file(world.path("export.git/objects")).unwrap();
    world.write("precious", "keep");
    symlink(world.path("precious"), files.join("to-precious")).unwrap();
    fs::create_dir_all(files.join("pkg/mod")).unwrap();
    fs::write(files.join("pkg/mod/file"), "").unwrap();
    symlink(world.copy(), files.join("pkg/mod/to-copy")).unwrap();
    for folder in ["pkg/mod", "pkg"] {
        fs::set_permissions(files.join(folder), fs::Permissions::from_mode(0o555)).unwrap();
    }
    fs::write(files.join("one"), "overwritten").unwrap();
    let files = export_of(&world, commit).unwrap();
    assert_eq!(
        world.git_in(files.clone(), &["status", "--porcelain", "--ignored"]),
        ""
    );
    assert!(!files.join("pkg").exists());
    assert_eq!(world.read("precious"), "keep");
    assert_eq!(world.read("copy/one"), "an edit that is not committed");
}

#[test]
fn object_stores_of_worktrees_and_alternates_are_found() {
    let world = SyncWorld::new();
    world.git_in(
        world.path(""),
        &["clone", "-q", "--shared", "upstream", "shared"],
    );
    world.git_in(
        world.path("shared"),
        &["worktree", "add", "-q", "--detach", "../copy"],
    );
    let Opened::WorkingCopy(copy) = WorkingCopy::open(&world.copy()).unwrap() else {
        panic!()
    };
    let real = |name: &str| world.path(name).canonicalize().unwrap();
    assert_eq!(
        copy.object_folders(),
        [real("shared/.git/objects"), real("upstream/.git/objects")]
    );
}

/// Creates a commit whose tree has a file name that must not be checked out.
fn hostile_commit(world: &SyncWorld, name: &str) -> CommitId {
    let upstream = git2::Repository::open(world.path("upstream")).unwrap();
    let blob = upstream.blob(b"evil").unwrap();
    let odb = upstream.odb().unwrap();
    let tree = |name: &str, mode: &str, id: git2::Oid| {
        let mut bytes = format!("{mode} {name}\0").into_bytes();
        bytes.extend_from_slice(id.as_bytes());
        odb.write(git2::ObjectType::Tree, &bytes).unwrap()
    };
    let mut names = name.split('/').rev();
    let mut id = tree(names.next().unwrap(), "100644", blob);
    for folder in names {
        id = tree(folder, "40000", id);
    }
    let commit = world.upstream(&["commit-tree", "-m", "evil", &id.to_string()]);
    world.upstream(&["update-ref", "refs/heads/evil", &commit]);
    commit.parse().unwrap()
}

#[test]
fn hostile_names_are_refused() {
    let world = SyncWorld::new();
    for name in [
        ".git/hooks/post-checkout",
        "../outside",
        "..",
        ".GIT/config",
        "a/../../outside",
        "git~1/config",
    ] {
        let commit = hostile_commit(&world, name);
        let _ = remove_tree(&world.copy());
        world.sync("master");
        let Opened::WorkingCopy(copy) = WorkingCopy::open(&world.copy()).unwrap() else {
            panic!()
        };
        assert!(copy.has_commit(commit));
        let refused = export_of(&world, commit);
        if name != "git~1/config" {
            assert!(refused.is_err(), "{name}");
        }
        assert!(!world.path("outside").exists());
        assert!(!world.path("export.git/hooks").exists());
        remove_tree(&world.copy()).unwrap();
        let resolved = world.resolve("evil");
        if name != "git~1/config" {
            world.sync_to(&world.url(), &resolved).unwrap_err();
            assert!(!world.copy().exists(), "{name}");
        }
    }
}

/// Returns git's view of a working copy: its files, the index, and the status.
fn git_view(world: &SyncWorld, folder: &str) -> [String; 3] {
    let git = |arguments: &[&str]| world.git_in(world.path(folder), arguments);
    let mut files: Vec<String> = walkdir::WalkDir::new(world.path(folder))
        .into_iter()
        .filter_entry(|entry| entry.file_name() != ".git")
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .strip_prefix(world.path(folder))
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    files.sort();
    [
        files.join("\n"),
        git(&["ls-files", "-t", "--stage"]),
        git(&["status", "--porcelain"]),
    ]
}

#[test]
fn sparse_checkouts_are_updated_as_by_git_pull() {
    for (kind, set) in [
        ("cone", &["set", "--cone", "in"][..]),
        (
            "patterns",
            &["set", "--no-cone", "/in/", "*.md", "!out/no.md"],
        ),
        ("sparse-index", &["set", "--cone", "--sparse-index", "in"]),
    ] {
        let world = SyncWorld::new();
        for folder in ["in", "out", "out/deep"] {
            fs::create_dir_all(world.path("upstream").join(folder)).unwrap();
        }
        for file in [
            "in/a",
            "in/b",
            "out/a",
            "out/b",
            "out/deep/c",
            "out/x.md",
            "out/no.md",
        ] {
            world.write(&format!("upstream/{file}"), "1");
        }
        let from = world.commit("three", "third");
        for copy in ["copy", "git"] {
            let upstream = format!("file://{}", world.path("upstream").display());
            world.git_in(
                world.path(""),
                &["clone", "-q", "--sparse", &upstream, copy],
            );
            world.git_in(world.path(copy), &[&["sparse-checkout"][..], set].concat());
        }
        world.user(&["remote", "set-url", "origin", &world.url().to_string()]);
        let copy = world.open();
        assert_eq!(copy.changes().unwrap(), Default::default(), "{kind}");
        assert_eq!(copy.count_changes().unwrap().modified, 0, "{kind}");
        assert_eq!(
            copy.tree_changes(&PathSelection::of(vec!["in".to_owned()]))
                .unwrap(),
            None,
            "{kind}"
        );
        let whole = copy
            .tree_changes(&PathSelection::default())
            .unwrap()
            .unwrap();
        assert_eq!(whole.excluded, whole.count, "{kind}: {whole}");
        assert_eq!(world.sync("master"), SyncOutcome::UpToDate, "{kind}");

        for file in [
            "in/a",
            "in/new",
            "out/a",
            "out/new",
            "out/deep/new",
            "new.md",
            "out/y.md",
            "other/z",
        ] {
            fs::create_dir_all(world.path("upstream/other")).unwrap();
            world.write(&format!("upstream/{file}"), "2");
        }
        fs::remove_file(world.path("upstream/in/b")).unwrap();
        fs::remove_file(world.path("upstream/out/b")).unwrap();
        let to = world.commit("four", "fourth");
        assert_eq!(
            world.sync("master"),
            SyncOutcome::FastForwarded { from, to },
            "{kind}"
        );
        world.git_in(world.path("git"), &["pull", "-q", "--ff-only"]);
        assert_eq!(git_view(&world, "copy"), git_view(&world, "git"), "{kind}");
        world.user(&["fsck"]);

        // Only files outside the sparse set change.
        world.write("upstream/out/a", "3");
        let (from, to) = (to, world.commit("out/deep/c", "fifth"));
        assert_eq!(
            world.sync("master"),
            SyncOutcome::FastForwarded { from, to },
            "{kind}"
        );
        world.git_in(world.path("git"), &["pull", "-q", "--ff-only"]);
        assert_eq!(git_view(&world, "copy"), git_view(&world, "git"), "{kind}");

        // Existing files outside the sparse set that differ are modified for git, too.
        fs::create_dir_all(world.path("copy/out")).unwrap();
        world.write("copy/out/a", "mine");
        world.write("copy/in/a", "mine");
        let counted = world.open().count_changes().unwrap();
        let listed = world.user(&["status", "--porcelain"]);
        assert_eq!(counted.modified, listed.lines().count(), "{kind}: {listed}");
        world.commit("in/a", "sixth");
        assert!(
            matches!(world.left_alone(), NotUpdatedReason::Modified(_)),
            "{kind}"
        );
    }
}

#[test]
fn modified_files_match_git_status() {
    let world = SyncWorld::new();
    world.sync("master");
    let counted = |what: &str| {
        let counts = world.open().count_changes().unwrap();
        let listed = world.git_in(world.copy(), &["status", "--porcelain"]);
        let untracked = listed.lines().filter(|line| line.starts_with("??")).count();
        assert_eq!(
            counts.modified,
            listed.lines().count() - untracked,
            "{what}: {listed}"
        );
        assert_eq!(counts.untracked, untracked, "{what}: {listed}");
        counts.modified
    };
    assert_eq!(counted("clean"), 0);
    for mark in ["assume-unchanged", "skip-worktree"] {
        world.user(&["update-index", &format!("--{mark}"), "one"]);
        world.write("copy/one", "changed");
        assert_eq!(counted(mark), 0);
        fs::remove_file(world.path("copy/one")).unwrap();
        assert_eq!(counted(mark), 0);
        world.user(&["update-index", &format!("--no-{mark}"), "one"]);
        assert_eq!(counted(mark), 1);
        world.user(&["checkout", "-q", "one"]);
    }
    world.write("copy/new", "x");
    assert_eq!(counted("untracked"), 0);
    world.user(&["add", "--intent-to-add", "new"]);
    assert_eq!(counted("intent-to-add"), 1);
    world.user(&["rm", "-q", "-f", "--cached", "new"]);
    fs::remove_file(world.path("copy/new")).unwrap();

    world.user(&["config", "core.fileMode", "false"]);
    fs::set_permissions(world.path("copy/one"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(counted("fileMode=false"), 0);
    world.user(&["config", "core.fileMode", "true"]);
    assert_eq!(counted("fileMode=true"), 1);
    fs::set_permissions(world.path("copy/one"), fs::Permissions::from_mode(0o644)).unwrap();

    world.user(&["config", "core.untrackedCache", "true"]);
    world.user(&["update-index", "--untracked-cache"]);
    world.write("copy/untracked", "x");
    assert_eq!(counted("untracked cache"), 0);
    fs::remove_file(world.path("copy/untracked")).unwrap();

    // Same length, and same time as the index.
    for text in ["onE", "oNe", "One"] {
        world.write("copy/one", text);
        world.user(&["add", "one"]);
        world.write("copy/one", "xxx");
        assert_eq!(counted("racy"), 1);
        world.user(&["reset", "-q", "--hard"]);
    }

    // Submodules, by their `ignore` setting.
    world.git_in(world.path(""), &["init", "-q", "-b", "master", "library"]);
    world.write("library/f", "1");
    world.git_in(world.path("library"), &["add", "-A"]);
    world.git_in(world.path("library"), &["commit", "-q", "-m", "first"]);
    let library = world.path("library").display().to_string();
    world.user(&["submodule", "--quiet", "add", &library, "lib"]);
    world.user(&["commit", "-q", "-m", "submodule"]);
    assert_eq!(counted("submodule"), 0);
    world.write("copy/lib/f", "2");
    assert_eq!(counted("modified submodule"), 1);
    assert!(
        world
            .open()
            .tree_changes(&PathSelection::default())
            .unwrap()
            .is_some()
    );
    for (key, ignore) in [
        ("submodule.lib.ignore", "dirty"),
        ("submodule.lib.ignore", "all"),
        ("diff.ignoreSubmodules", "dirty"),
        ("diff.ignoreSubmodules", "all"),
    ] {
        world.user(&["config", key, ignore]);
        assert_eq!(counted(ignore), 0);
        // A build in place uses the changed file anyway.
        assert!(
            world
                .open()
                .tree_changes(&PathSelection::default())
                .unwrap()
                .is_some(),
            "{ignore}"
        );
        world.user(&["config", "--unset", key]);
        assert_eq!(counted("modified submodule again"), 1);
    }
    world.user(&["-C", "lib", "checkout", "-q", "f"]);
    world.write("copy/lib/untracked", "x");
    assert_eq!(counted("untracked file in a submodule"), 1);
    world.user(&["config", "submodule.lib.ignore", "untracked"]);
    assert_eq!(counted("ignored untracked file in a submodule"), 0);
}
