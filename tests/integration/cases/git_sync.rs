//! Working copies: how they are cloned, updated, and left unchanged.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use walkdir::WalkDir;

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::process;
use crate::repository::write_file;
use crate::working_copy::{Snapshot, User, files};

pub const CASES: &[Case] = cases![
    a_clone_matches_git_clone,
    a_head_detached_by_xp_is_updated,
    a_rewritten_history_is_followed_if_nothing_is_lost,
    other_folders_are_not_touched,
    a_killed_clone_is_repeated,
    a_working_copy_of_another_remote_is_not_changed,
    working_copies_of_every_kind_are_built,
    unwritable_files_do_not_stop_a_build,
];

fn a_clone_matches_git_clone(t: &Context) {
    let remote = t.built_repo("zbackend");
    remote.annotated_tag("v1", "One");
    remote.branch("feature");
    remote.commit(&[("dos.txt", "1\n2\n")], "Second");
    remote.switch("master");
    // Hooks and templates that git would run in or copy into each clone.
    let ran = t.folder().join("ran");
    let hook = format!("#!/bin/sh\ntouch '{}'\n", ran.display());
    for hooks in ["hooks", "template/hooks"] {
        for name in [
            "post-checkout",
            "post-merge",
            "reference-transaction",
            "pre-auto-gc",
        ] {
            write_file(&t.home().join(hooks).join(name), &hook);
        }
    }
    let global = |key: &str, value: &Path| {
        t.git(
            "",
            &["config", "--global", key, &value.display().to_string()],
        );
    };
    global("core.hooksPath", &t.home().join("hooks"));
    global("init.templateDir", &t.home().join("template"));
    t.git("", &["config", "--global", "core.autocrlf", "true"]);

    t.platform(&[Service::new("zbackend", remote.url_http_login())]);
    t.xp(["sync"]).success();
    assert!(!ran.exists());
    assert!(!t.exists("src/zbackend/.git/hooks/post-checkout"));
    // Same as with the user's git.
    t.git("", &["config", "--global", "--unset", "core.hooksPath"]);
    assert_eq!(t.read("src/zbackend/file"), "1\r\n");

    let mut clone = t.git_command("");
    clone.args([
        "clone",
        "--quiet",
        "--template=",
        &remote.url_http_login(),
        "src/reference",
    ]);
    process::succeed(&mut clone);
    for arguments in [
        &["status", "--porcelain=v2", "--branch"][..],
        &["for-each-ref"],
        &["ls-files", "--stage", "--eol"],
        &[
            "config",
            "--local",
            "--get-regexp",
            "^(branch|remote.origin.fetch)",
        ],
        &["remote", "show"],
        &["stash", "list"],
    ] {
        let of = |dir: &str| t.git(dir, arguments);
        assert_eq!(of("src/zbackend"), of("src/reference"), "{arguments:?}");
    }
    t.git("src/zbackend", &["fsck", "--strict"]);
    let configuration = t.read("src/zbackend/.git/config");
    assert!(
        !configuration.contains(crate::world::PASSWORD),
        "{configuration}"
    );
    let modes = |dir: &str| -> Vec<u32> {
        files(&t.dir().join(dir))
            .keys()
            .map(|path| fs::metadata(path).expect("a file").permissions().mode())
            .collect()
    };
    assert_eq!(modes("src/zbackend"), modes("src/reference"));

    // A hook in the working copy belongs to the user, too.
    for name in ["post-checkout", "post-merge", "reference-transaction"] {
        let path = t.dir().join("src/zbackend/.git/hooks").join(name);
        write_file(&path, &hook);
    }
    let second = remote.commit(&[("file", "2\n")], "Second");
    t.xp(["build"]).success();
    let image = format!("{}:{second}", t.image("zbackend"));
    assert_eq!(t.engine().run(&image, ["cat", "/files/file"]), "2");
    assert_eq!(
        User::new(t, "zbackend").read_git("HEAD"),
        "ref: refs/heads/master\n"
    );
    assert!(!ran.exists());
    // The image has the commit's line endings.
    assert_eq!(
        t.engine().run(&image, ["wc", "-c", "/files/file"]),
        "2 /files/file"
    );
}

fn a_head_detached_by_xp_is_updated(t: &Context) {
    let remote = t.built_repo("zbackend");
    let first = remote.head();
    let second = remote.commit(&[("file", "2\n")], "Second");
    remote.annotated_tag("v2", "Two");
    let third = remote.commit(&[("file", "3\n")], "Third");
    let user = User::new(t, "zbackend");
    for (reference, commit) in [
        (first.as_str(), &first),
        ("v2", &second),
        (&third, &third),
        (&first, &first),
    ] {
        t.platform(&[Service::new("zbackend", remote.url_http()).reference(reference)]);
        t.xp(["build"]).success();
        t.assert_built("zbackend", commit);
        // The last one is already checked out, so the build does not change the working copy.
        t.xp(["sync"]).success();
        assert_eq!(user.head(), *commit, "{reference}");
        assert_eq!(user.git(&["status", "--porcelain"]), "");
        assert_eq!(user.read_git("HEAD").trim(), *commit, "it is detached");
    }
    // With a user's change, it stays, as it does once the user has moved it.
    user.write("file", "mine\n");
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    t.xp(["sync"])
        .success()
        .stdout_contains("modified files: file");
    assert_eq!(t.read("src/zbackend/file"), "mine\n");
    user.git(&["checkout", "--quiet", "--force", "--detach", &second]);
    t.xp(["sync"]).success().stdout_contains("HEAD is detached");
    assert_eq!(user.head(), second);
    // Back where xp left it, it follows the branch again.
    user.git(&["checkout", "--quiet", "--detach", &first]);
    t.xp(["sync"]).success();
    let status = user.git(&["status", "--porcelain", "--branch"]);
    assert_eq!(status, "## master...origin/master");
    assert_eq!(user.head(), third);
}

fn a_rewritten_history_is_followed_if_nothing_is_lost(t: &Context) {
    let remote = t.built_repo("zbackend");
    let old = remote.commit(&[("file", "2\n")], "Second");
    let names = ["clean", "changed", "own"];
    t.platform(&names.map(|name| Service::new(name, remote.url_http())));
    t.xp(["sync"]).success();
    let users = names.map(|name| User::new(t, name));
    users[1].write("file", "mine\n");
    users[2].commit("mine", "mine");
    let own = users[2].head();
    let new = remote.rewrite(&[("file", "3\n")], "Second, again");
    t.xp(["build"]).success();
    for name in names {
        t.assert_built(name, &new);
    }
    let sync = t.xp(["sync"]).success();
    assert_eq!(users[0].head(), new);
    assert_eq!(
        users[0].git(&["rev-parse", "refs/xp/before-rewrite/master"]),
        old
    );
    assert_eq!(
        users[0].git(&["status", "--porcelain", "--branch"]),
        "## master...origin/master"
    );
    assert_eq!(users[1].head(), old);
    assert_eq!(t.read("src/changed/file"), "mine\n");
    assert_eq!(users[2].head(), own);
    assert_eq!(t.read("src/own/mine"), "mine");
    sync.stdout_contains(
        "fetched; working copy not moved: diverged: 2 commits ahead, 1 commit behind",
    )
    .stdout_contains("fetched; working copy not moved: modified files: file");
}

fn other_folders_are_not_touched(t: &Context) {
    let remote = t.built_repo("zbackend");
    let names = [
        "folder",
        "file",
        "no-repository",
        "no-commit",
        "bare",
        "empty-folder",
    ];
    t.platform(&names.map(|name| Service::new(name, remote.url_http())));
    t.write("src/folder/notes", "mine");
    t.write("src/file", "mine");
    t.write("src/no-repository/notes", "mine");
    fs::create_dir(t.dir().join("src/no-repository/.git")).expect("a folder");
    t.git("", &["init", "--quiet", "src/no-commit"]);
    t.write("src/no-commit/notes", "mine");
    t.git("", &["init", "--quiet", "--bare", "src/bare"]);
    fs::create_dir(t.dir().join("src/empty-folder")).expect("a folder");
    let before = files(&t.dir().join("src"));

    // A single failure counts, and the others are updated regardless.
    let sync = t.xp(["sync"]).failure(3);
    for (name, message) in [
        (
            "folder",
            "src/folder is not a git repository and is not empty",
        ),
        ("file", "src/file is not a folder"),
        (
            "no-repository",
            "src/no-repository is not a valid git repository",
        ),
        ("no-commit", "src/no-commit has no commit checked out"),
        ("bare", "src/bare"),
    ] {
        let line = sync
            .stderr
            .lines()
            .find(|line| line.starts_with(&format!("error: {name}: ")));
        assert!(
            line.is_some_and(|line| line.contains(message)),
            "{name}: {line:?} in {sync}"
        );
    }
    let head = t.git("src/empty-folder", &["rev-parse", "HEAD"]);
    assert_eq!(head, remote.head());
    let after = files(&t.dir().join("src"));
    for (path, content) in before {
        assert_eq!(after.get(&path), Some(&content), "{}", path.display());
    }
    t.xp(["build", "folder"])
        .failure(3)
        .stderr_contains("hint: move it elsewhere, or set another `dir` for the service");
}

fn a_killed_clone_is_repeated(t: &Context) {
    let remote = t.built_repo("zbackend");
    // Random data, which does not compress and takes time to send.
    let mut noise = Command::new("head");
    noise.args(["--bytes=40M", "/dev/urandom"]);
    let noise = process::run(&mut noise).stdout;
    fs::write(remote.clone_path().join("noise"), noise).expect("a large file");
    remote.git(&["config", "core.compression", "0"]);
    remote.server_git(&["config", "core.compression", "0"]);
    let commit = remote.commit(&[], "Noise");
    t.platform(&[Service::new("zbackend", remote.url_http())]);

    let staging = t.dir().join(".xp/clone");
    let arrived = || {
        let files = WalkDir::new(&staging).into_iter().flatten();
        let sizes = files.filter_map(|file| file.metadata().ok().filter(|file| file.is_file()));
        sizes.map(|file| file.len()).sum::<u64>()
    };
    let cloning = || {
        let running = t.xp(["sync"]).spawn();
        let deadline = Instant::now() + Duration::from_secs(60);
        while arrived() < 1 << 20 {
            assert!(Instant::now() < deadline, "{}", running.printed());
            thread::sleep(Duration::from_millis(2));
        }
        running
    };
    let interrupted = cloning();
    interrupted.signal(Signal::INT);
    assert_eq!(interrupted.wait().status.code(), Some(130));
    assert!(!t.exists("src/zbackend"));
    assert_eq!(arrived(), 0, "an interrupted run tidies up");

    cloning().kill();
    assert!(
        !t.exists("src/zbackend"),
        "a clone appears when it is complete"
    );
    assert!(arrived() > 0, "the killed run could not tidy up");

    t.xp(["sync"]).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), commit);
    t.git("src/zbackend", &["fsck", "--strict"]);
    assert_eq!(t.git("src/zbackend", &["status", "--porcelain"]), "");
    assert_eq!(fs::read_dir(&staging).expect("a folder of xp's").count(), 0);
}

fn a_working_copy_of_another_remote_is_not_changed(t: &Context) {
    let (remote, other) = (t.built_repo("zbackend"), t.built_repo("other"));
    let theirs = other.commit(&[("file", "theirs\n")], "Theirs");
    t.git("", &["clone", "--quiet", &other.url_http(), "src/zbackend"]);
    let user = User::new(t, "zbackend");
    let references = user.git(&["for-each-ref", "refs/heads", "refs/remotes", "refs/tags"]);
    let before = Snapshot::of(&user);
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    for _ in 0..2 {
        let commit = remote.commit(&[], "Next");
        t.xp(["build"])
            .success()
            .stderr_contains("its origin is a different URL");
        t.assert_built("zbackend", &commit);
    }
    assert_eq!(Snapshot::of(&user), before);
    assert_eq!(
        user.git(&["for-each-ref", "refs/heads", "refs/remotes", "refs/tags"]),
        references
    );
    assert_eq!(user.head(), theirs);

    // A user's fork with the manifest's remote as a second remote.
    user.git(&["remote", "add", "upstream", &remote.url_http()]);
    t.xp(["sync"]).success();
    assert_eq!(user.git(&["rev-parse", "upstream/master"]), remote.head());
    assert_eq!(user.head(), theirs);
}

fn working_copies_of_every_kind_are_built(t: &Context) {
    let remote = t.built_repo("zbackend");
    remote.commit(&[("file", "2\n")], "Second");
    remote.server_git(&["config", "uploadpack.allowFilter", "true"]);
    let url = remote.url_http();
    for (name, options) in [
        ("shallow", &["--depth", "1"][..]),
        ("single-branch", &["--single-branch"]),
        ("no-checkout", &["--no-checkout"]),
        ("partial", &["--filter=blob:none"]),
        ("sparse", &["--sparse"]),
        ("mirror-names", &["--origin", "gitlab"]),
        ("split-index", &[]),
        ("index-4", &[]),
        ("many-files", &["--config", "feature.manyFiles=true"]),
    ] {
        let dir = format!("src/{name}");
        let mut arguments = vec!["clone", "--quiet"];
        arguments.extend(options);
        arguments.extend([url.as_str(), &dir]);
        t.git("", &arguments);
    }
    let missing = ["rev-list", "--objects", "--missing=print", "HEAD"];
    assert!(t.git("src/partial", &missing).contains("\n?"));
    assert_eq!(t.git("src/shallow", &["rev-list", "--count", "HEAD"]), "1");
    t.git("src/split-index", &["update-index", "--split-index"]);
    t.git("src/index-4", &["update-index", "--index-version", "4"]);
    t.git(
        "src/many-files",
        &["worktree", "add", "--quiet", "--detach", "../worktree"],
    );
    t.git(
        "",
        &[
            "clone",
            "--quiet",
            "--shared",
            &remote.path().display().to_string(),
            "src/borrowing",
        ],
    );
    t.git("src/borrowing", &["remote", "set-url", "origin", &url]);
    let names = [
        "shallow",
        "single-branch",
        "no-checkout",
        "partial",
        "sparse",
        "mirror-names",
        "split-index",
        "index-4",
        "many-files",
        "worktree",
        "borrowing",
    ];
    let dirs: Vec<User> = names.iter().map(|name| User::new(t, name)).collect();
    for user in &dirs {
        user.write("untracked", "mine");
    }
    let commit = remote.commit(&[("file", "3\n"), ("new", "3\n")], "Third");
    t.platform(&names.map(|name| Service::new(name, &url)));
    let build = t.xp(["build"]).success();
    for user in &dirs {
        let name = user.name.strip_prefix("src/").expect("a prefix");
        t.assert_built(name, &commit);
        assert_eq!(t.read(&format!("src/{name}/untracked")), "mine", "{build}");
        user.git(&["status", "--porcelain"]);
        user.git(&["fsck"]);
    }
    for name in [
        "shallow",
        "single-branch",
        "mirror-names",
        "index-4",
        "borrowing",
    ] {
        assert_eq!(User::new(t, name).head(), commit, "{name} in {build}");
    }
}

fn unwritable_files_do_not_stop_a_build(t: &Context) {
    let remote = t.built_repo("zbackend");
    remote.commit(
        &[
            ("a-first", "1\n"),
            ("folder/file", "1\n"),
            ("z-last", "1\n"),
        ],
        "Second",
    );
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    t.xp(["sync"]).success();
    let user = User::new(t, "zbackend");
    let before = user.head();
    let commit = remote.commit(
        &[
            ("a-first", "2\n"),
            ("a-new", "2\n"),
            ("folder/new", "2\n"),
            ("z-last", "2\n"),
        ],
        "Third",
    );
    // Root can write everywhere, so xp runs as another user, who can use the engine.
    let root = rustix::process::geteuid().is_root();
    let as_user = |arguments: &[&str]| {
        let mut run = if root {
            let socket = t.engine().host().trim_start_matches("unix://").to_owned();
            let group = fs::metadata(socket).expect("the engine's socket");
            let group = group.gid();
            t.program("setpriv", ["--reuid=65534", "--clear-groups"])
                .arg(format!("--regid={group}"))
                .arg(env!("CARGO_BIN_EXE_xp"))
        } else {
            t.xp([])
        };
        for argument in arguments {
            run = run.arg(argument);
        }
        run
    };
    if root {
        process::succeed(Command::new("chown").arg("-R").arg("65534").arg(t.folder()));
        t.git("", &["config", "--global", "--add", "safe.directory", "*"]);
    }
    let folder = user.dir.join("folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).expect("its mode");
    let kept = files(&user.dir);

    let build = as_user(&["build"]).success();
    t.assert_built("zbackend", &commit);
    let build = build.stderr_contains("src/zbackend was not updated: cannot check ");
    assert_eq!(user.head(), before, "{build}");
    assert_eq!(
        files(&user.dir),
        kept,
        "what was written is taken back: {build}"
    );
    assert_eq!(user.git(&["status", "--porcelain"]), "");
    let own = user.git(&["for-each-ref", "refs/worktree/xp/moving"]);
    assert_eq!(own, "");

    // Nothing can be added to a read-only object store.
    let objects = user.dir.join(".git/objects");
    let last = remote.commit(&[("file", "4\n")], "Fourth");
    let folders: Vec<PathBuf> = WalkDir::new(&objects)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_dir())
        .map(|entry| entry.into_path())
        .collect();
    let set = |mode: u32| {
        for folder in &folders {
            fs::set_permissions(folder, Permissions::from_mode(mode)).expect("its mode");
        }
    };
    set(0o555);
    as_user(&["sync"])
        .failure(3)
        .stderr_contains("cannot fetch from ")
        .stderr_contains("src/zbackend/.git/");
    set(0o755);
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("its mode");
    as_user(&["sync"]).success();
    assert_eq!(user.head(), last);
    assert_eq!(
        user.git(&["status", "--porcelain", "--branch"]),
        "## master...origin/master"
    );
}
