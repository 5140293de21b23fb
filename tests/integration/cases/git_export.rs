//! The files available to a build: exactly those of the commit, with a `.git` that git can read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::process;
use crate::repository::GitRepository;

pub const CASES: &[Case] = cases![
    an_image_has_exactly_the_files_of_the_commit,
    an_export_is_recreated_for_each_build,
    git_works_in_the_builder,
    a_commit_without_files_is_built,
];

/// Prints everything that distinguishes two file trees, in the same format on every system.
const DIGEST: &str = "export LC_ALL=C; \
    list() { find . -name .git -prune -o \"$@\" -print0 | sort -z; }; \
    list ! -name . | sha1sum; \
    list -type f -perm -100 | sha1sum; \
    list -type f ! -perm -100 | sha1sum; \
    list -type f | xargs -0 cat | sha1sum; \
    list -type l | xargs -0 -n 1 readlink";

fn repository_with_odd_files(t: &Context) -> GitRepository {
    let remote = t.built_repo("zbackend");
    let files = [
        (".dockerignore", "**/.git\n"),
        (".gitignore", "*.log\n.env\n"),
        (
            ".gitattributes",
            "*.dos eol=crlf\n*.unix eol=lf\n*.bin -text\n*.auto text=auto\n*.id ident\n",
        ),
        ("!early.dos", "1\n2\n"),
        ("late.unix", "1\n2\n"),
        ("both.bin", "1\r\n2\n"),
        ("some.auto", "1\n2\n"),
        ("source.id", "$Id$\n"),
        ("run.sh", "#!/bin/sh\necho run\n"),
        ("with space/a file", "1\n"),
        ("ünïcödé/日本語", "2\n"),
        ("line\nbreak", "3\n"),
        ("tab\tand\"quote\"\\", "4\n"),
        ("*glob?[x]", "5\n"),
        ("-option", "6\n"),
        ("deep/a/b/c/d/e/f/g/h/i/j/file", "7\n"),
        ("UPPER", "8\n"),
        ("upper", "9\n"),
        ("empty", ""),
    ];
    remote.write(&files);
    let clone = remote.clone_path();
    let latin = OsStr::from_bytes(b"latin-\xe9");
    fs::write(clone.join(latin), "10\n").expect("a name that is not UTF-8");
    symlink("run.sh", clone.join("link")).expect("a link");
    symlink("/nowhere/at/all", clone.join("dangling")).expect("a link");
    symlink("with space", clone.join("folder link")).expect("a link");
    // Tracked, although a pattern ignores it.
    remote.write(&[("forced.log", "11\n")]);
    remote.git(&["add", "--force", "forced.log"]);
    remote.commit(&[], "Odd files");
    remote
}

fn an_image_has_exactly_the_files_of_the_commit(t: &Context) {
    let remote = repository_with_odd_files(t);
    // No user configuration may change what is built.
    for (key, value) in [
        ("core.autocrlf", "true"),
        ("core.eol", "crlf"),
        ("core.symlinks", "false"),
        ("core.fileMode", "false"),
        ("core.ignoreCase", "true"),
    ] {
        t.git("", &["config", "--global", key, value]);
    }
    t.write("../home/.config/git/attributes", "* text eol=crlf\n");
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    t.program("sh", ["-c", "umask 077; exec \"$0\" build"])
        .arg(env!("CARGO_BIN_EXE_xp"))
        .success();
    let image = t.assert_built("zbackend", &remote.head());
    let reference = t.folder().join("reference");
    process::succeed(
        crate::repository::git_command(t.folder(), t.folder())
            .args(["clone", "--quiet", &remote.url_http()])
            .arg(&reference),
    );
    let expected = process::succeed(
        Command::new("sh")
            .args(["-c", DIGEST])
            .current_dir(&reference),
    );
    let name = image["RepoTags"][0].as_str().expect("a name");
    let script = format!("cd /files; {DIGEST}");
    assert_eq!(t.engine().run(name, ["sh", "-c", &script]), expected);
    assert!(expected.contains("/nowhere/at/all"), "{expected}");
    let modes = "stat -c %a /files/empty /files/run.sh /files/deep/a";
    assert_eq!(t.engine().run(name, ["sh", "-c", modes]), "644\n755\n755");
    let text = t.engine().run(name, ["cat", "/files/!early.dos"]);
    assert_eq!(text, "1\r\n2\r");
}

fn an_export_is_recreated_for_each_build(t: &Context) {
    let remote = t.built_repo("zbackend");
    remote.commit(
        &[(".dockerignore", ".git\n"), (".gitignore", "left\n.env\n")],
        "Second",
    );
    let builder = t.builder("box", &format!("FROM {}\n", t.engine().busybox()), &[]);
    // Leftover files, a read-only folder, a modified and a deleted file of the commit.
    let script = "[ ! -e left ] && [ ! -e .env ] && [ \"$(cat file)\" = 1 ] && \
        mkdir -p left/deep && touch left/deep/x && chmod -R a-w left && \
        ln -s /etc left-link && echo changed > file && rm .gitignore";
    let service = || Service::new("zbackend", remote.url_http()).script(&builder, script);
    t.platform(&[service()]);
    t.xp(["build"]).success();
    t.write("src/zbackend/.env", "secret");
    t.write("src/zbackend/file", "mine\n");
    for _ in 0..2 {
        t.xp(["build", "--force"]).success();
        let image = t.assert_built("zbackend", &remote.head());
        let name = image["RepoTags"][0].as_str().expect("a name");
        let list = "cat /files/file; ls -A /files | sort | tr '\\n' ' '";
        assert_eq!(
            t.engine().run(name, ["sh", "-c", list]),
            "changed\n.dockerignore Dockerfile file left left-link "
        );
    }
    assert!(
        t.read("../product/src/zbackend/file") == "mine\n" && Path::new("/etc/passwd").exists()
    );
}

fn git_works_in_the_builder(t: &Context) {
    let remote = t.built_repo("zbackend");
    remote.annotated_tag("v1.0", "One");
    let files = [
        (".dockerignore", ".git\n"),
        (".gitattributes", "*.dos eol=crlf\n"),
        ("x.dos", "1\n"),
    ];
    let commit = remote.commit(&files, "Second");
    let builder = t.git_builder();
    let script = "{ git describe --dirty; git status --porcelain --ignored; git rev-parse HEAD master origin/master; \
        git log --format=%s; git branch --show-current; git remote get-url origin; \
        git diff --stat HEAD~ HEAD | tail -1; git fsck --connectivity-only; \
        touch .git/x || echo read-only; touch .git/objects/x || echo read-only; } > /tmp/said 2> /tmp/errors; \
        cat /tmp/said > said; cat /tmp/errors >&2";
    let url = remote.url_http().replace("http://", "http://T0KEN@");
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
    t.git("", &["clone", "--quiet", &remote.url_http(), "src/main"]);
    t.git(
        "src/main",
        &["worktree", "add", "--quiet", "--detach", "../worktree"],
    );
    for dir in ["borrowing", "main"] {
        t.git(
            &format!("src/{dir}"),
            &["remote", "set-url", "origin", &remote.url_http()],
        );
    }
    let names = ["cloned", "borrowing", "worktree"];
    t.platform(&names.map(|name| Service::new(name, &url).script(&builder, script)));
    let build = t
        .xp(["build", "--verbose"])
        .success()
        .does_not_contain("T0KEN");
    let expected = format!(
        "v1.0-1-g{}\n{commit}\n{commit}\n{commit}\nSecond\nFirst\n{}\n 3 files changed, 3 insertions(+)\nread-only\nread-only",
        &commit[..7],
        remote.url_http()
    );
    for name in names {
        t.assert_built(name, &commit);
        let image = format!("{}:{commit}", t.image(name));
        let said = t.engine().run(&image, ["cat", "/files/said"]);
        assert_eq!(said, expected, "{name}: {build}");
    }

    // A tag that is created after the commit was fetched.
    remote.tag("v2.0");
    remote.annotated_tag("v2.0-release", "Two");
    let describe = "git describe --dirty > said";
    t.platform(&[Service::new("cloned", &url).script(&builder, describe)]);
    t.xp([
        "build",
        "cloned",
        "--force",
        "--reference",
        "cloned=v2.0-release",
    ])
    .success();
    let image = format!("{}:{commit}", t.image("cloned"));
    let said = t.engine().run(&image, ["cat", "/files/said"]);
    assert_eq!(said, "v2.0-release");
}

fn a_commit_without_files_is_built(t: &Context) {
    let remote = t.git_repo("zbackend");
    let commit = remote.commit(&[], "Nothing");
    let busybox = t.engine().busybox();
    let builder = t.builder("box", &format!("FROM {busybox}\n"), &[]);
    let script = format!("ls -A; printf 'FROM {busybox}\\nLABEL made=here\\n' > Dockerfile");
    t.platform(&[Service::new("zbackend", remote.url_http()).script(&builder, &script)]);
    t.xp(["build"]).success();
    let image = t.assert_built("zbackend", &commit);
    assert_eq!(image["Config"]["Labels"]["made"], "here");
    assert_eq!(t.git("src/zbackend", &["status", "--porcelain"]), "");
}
