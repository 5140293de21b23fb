//! Malicious input: text from a remote, commit, manifest or server is data, never a command, a path to
//! elsewhere, or terminal control. docs/trust.md lists these tests and related ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::platform::Service;
use crate::process;
use crate::repository::GitRepository;
use crate::world::{Gateway, GitServerKind, Reply};

pub const CASES: &[Case] = cases![
    git_names_in_a_tree_are_rejected,
    a_name_that_is_both_link_and_folder_is_rejected,
    links_of_a_commit_are_not_followed,
    endless_files_are_not_read,
    a_submodule_name_is_not_a_path,
    shell_code_in_a_branch_name_is_not_executed,
    a_service_name_is_not_a_path,
    terminal_control_sequences_are_removed,
    registry_messages_are_escaped,
    git_server_messages_are_escaped,
    a_redirect_does_not_leak_credentials,
    teamcity_commands_in_commits_are_escaped,
];

/// Creates a commit of a file with a name that `git add` would reject, and a branch for it.
fn commit_of_name(remote: &GitRepository, branch: &str, name: &str) -> String {
    let blob = object(remote, "blob", b"#!/bin/sh\ntouch ran\n");
    let mut names = name.split('/').rev();
    let file = names.next().expect("a name");
    let mut tree = tree(remote, &[("100755", file, &blob)]);
    for folder in names {
        tree = self::tree(remote, &[("40000", folder, &tree)]);
    }
    commit_of_tree(remote, branch, &tree)
}

fn commit_of_tree(remote: &GitRepository, branch: &str, tree: &str) -> String {
    let commit = remote.server_git(&["commit-tree", "-m", branch, tree]);
    remote.server_git(&["update-ref", &format!("refs/heads/{branch}"), &commit]);
    commit
}

fn tree(remote: &GitRepository, entries: &[(&str, &str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend(format!("{mode} {name}\0").bytes());
        let digits = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).expect("an id");
        bytes.extend((0..id.len()).step_by(2).map(digits));
    }
    object(remote, "tree", &bytes)
}

/// Writes an object without git's checks.
fn object(remote: &GitRepository, kind: &str, content: &[u8]) -> String {
    let file = remote.clone_path().join("object");
    fs::write(&file, content).expect("a file");
    let file = file.display().to_string();
    remote.server_git(&["hash-object", "-t", kind, "-w", "--literally", &file])
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(walkdir::DirEntry::into_path).collect();
    files.sort();
    files
}

fn git_names_in_a_tree_are_rejected(t: &Context) {
    let remote = t.built_repo("zbackend");
    t.platform(&[Service::new("zbackend", remote.url_http()).reference("odd")]);
    for name in [
        ".git/hooks/post-checkout",
        "a/.git/hooks/post-checkout",
        ".GIT/hooks/post-checkout",
        ".giT/config",
        "git~1/hooks/post-checkout",
        "GIT~1/config",
        ".git /config",
        ".git./config",
        ".git\u{200c}/config",
        ".g\u{200d}it/config",
        ".git::$INDEX_ALLOCATION/config",
        "../outside",
        "..",
        ".",
        "a/../../outside",
        "a\\..\\..\\outside",
    ] {
        let commit = commit_of_name(&remote, "odd", name);
        let output = t.xp(["build"]).run();
        let code = output.status.code();
        // A name that only another file system would treat as git's own is an ordinary name here.
        let is_plain_here = name.contains(['~', '\\', ':', '\u{200c}', '\u{200d}'])
            || [".git /config", ".git./config"].contains(&name);
        if is_plain_here {
            assert!(matches!(code, Some(1 | 3)), "{name}: {output}");
        } else {
            assert_eq!(code, Some(3), "{name}: {output}");
            let output = output.stderr_contains("error: zbackend: ");
            let output = output.stderr_contains("path");
            let is_folder = name == "." || name == "..";
            assert!(
                is_folder || !t.exists(&format!(".xp/build/zbackend/{name}")),
                "{output}"
            );
        }
        assert!(
            t.engine()
                .image(&format!("{}:{commit}", t.image("zbackend")))
                .is_none()
        );
        for folder in [t.dir(), t.folder().to_owned()] {
            assert!(!folder.join("outside").exists() && !folder.join("ran").exists());
        }
        for own in files_below(&t.dir())
            .iter()
            .filter(|path| path.ends_with("post-checkout"))
        {
            let path = own.display().to_string();
            assert!(path.contains("git~1"), "{path} was written");
        }
    }
}

fn a_name_that_is_both_link_and_folder_is_rejected(t: &Context) {
    let remote = t.built_repo("zbackend");
    let outside = t.folder().join("outside");
    fs::create_dir(&outside).expect("a folder");
    let link = object(&remote, "blob", outside.display().to_string().as_bytes());
    let dockerfile = object(&remote, "blob", b"FROM scratch\nCOPY . /\n");
    let blob = object(&remote, "blob", b"evil");
    let inner = tree(&remote, &[("100644", "file", &blob)]);
    // A tree lists each name once, and git's own writer ensures that. This one does not, in both orders, and
    // in two spellings that a file system may consider equal.
    for entries in [
        [
            ("120000", "a", link.as_str()),
            ("40000", "a", inner.as_str()),
        ],
        [
            ("40000", "a", inner.as_str()),
            ("120000", "a", link.as_str()),
        ],
        [
            ("120000", "A", link.as_str()),
            ("40000", "a", inner.as_str()),
        ],
    ] {
        let all = [
            &[("100644", "Dockerfile", dockerfile.as_str())],
            &entries[..],
        ]
        .concat();
        let whole = tree(&remote, &all);
        commit_of_tree(&remote, "odd", &whole);
        t.platform(&[Service::new("zbackend", remote.url_http()).reference("odd")]);
        let output = t.xp(["build"]).run();
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output}");
        assert_eq!(files_below(&outside), [outside.as_path()], "{output}");
        let sync = t.xp(["sync"]).run();
        assert_eq!(files_below(&outside), [outside.as_path()], "{sync}");
        fs::remove_dir_all(t.dir().join("src")).ok();
    }
}

fn links_of_a_commit_are_not_followed(t: &Context) {
    let outside = t.folder().join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("secret"), "c4nary").expect("a file");
    // Files that xp itself reads from a commit, as links to files that only this machine has.
    for name in [
        ".dockerignore",
        "Dockerfile",
        ".gitattributes",
        ".lfsconfig",
        ".gitmodules",
    ] {
        let remote = t.built_repo(&format!("z{}", name.trim_start_matches('.').to_lowercase()));
        // Written directly, because git refuses to add a `.gitmodules` that is a link.
        let target = outside.join("secret").display().to_string();
        let link = object(&remote, "blob", target.as_bytes());
        let dockerfile = remote.server_git(&["rev-parse", "master:Dockerfile"]);
        let mut entries = vec![
            ("120000", name, link.as_str()),
            ("100644", "Dockerfile", &dockerfile),
        ];
        entries.dedup_by_key(|entry| entry.1);
        entries.sort_by_key(|entry| entry.1);
        let whole = tree(&remote, &entries);
        commit_of_tree(&remote, "odd", &whole);
        let service = Service::new("zbackend", remote.url_http()).reference("odd");
        t.platform(&[service.git("submodules: true")]);
        let output = t.xp(["build", "-v"]).run();
        let is_needed = name == "Dockerfile" || name == ".dockerignore";
        let code = output.status.code();
        assert!(
            code == Some(0) && !is_needed || matches!(code, Some(1 | 3)),
            "{name}: {output}"
        );
        output.does_not_contain("c4nary");
        fs::remove_dir_all(t.dir().join("src")).ok();
    }
    t.assert_secret_is_nowhere("c4nary");
}

fn endless_files_are_not_read(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    for (script, what) in [
        (
            "rm -f .dockerignore; mkfifo .dockerignore",
            ".dockerignore is not a file",
        ),
        ("mkdir .dockerignore", ".dockerignore is not a file"),
        (
            "ln -s /dev/zero .dockerignore",
            ".dockerignore is a symbolic link that points outside",
        ),
        ("rm Dockerfile; mkfifo Dockerfile", "no Dockerfile"),
        (
            "rm Dockerfile; ln -s /dev/zero Dockerfile",
            "Dockerfile is a symbolic link that points outside",
        ),
        ("rm Dockerfile; mkdir Dockerfile", "no Dockerfile"),
    ] {
        app.set_scripts("", &[script]);
        app.build().failure(1).stderr_contains(what);
    }
    // Files that the Dockerfile can copy are different: they are skipped or reported.
    app.set_scripts("", &["mkfifo pipe"]);
    let build = app.build().run();
    assert!(matches!(build.status.code(), Some(0 | 1)), "{build}");
}

fn a_submodule_name_is_not_a_path(t: &Context) {
    let (lib, remote) = (t.git_repo("lib"), t.built_repo("zbackend"));
    let commit = lib.commit(&[("x", "1\n")], "First");
    for name in [
        "../../../../outside",
        "a/../../../../outside",
        "/outside",
        ".",
        "x\\..\\..\\y",
    ] {
        remote.add_submodule("lib", "../lib.git", &commit);
        let modules = format!(
            "[submodule \"{}\"]\n\tpath = lib\n\turl = ../lib.git\n",
            name.replace('\\', "\\\\")
        );
        let head = remote.commit(&[(".gitmodules", &modules)], name);
        t.platform(&[Service::new("zbackend", remote.url_http()).git("submodules: true")]);
        let build = t.xp(["build"]).run();
        // A name that git allows does not matter to xp, because fetched submodules are stored by URL.
        let image = format!("{}:{head}", t.image("zbackend"));
        if build.status.success() {
            assert_eq!(t.engine().run(&image, ["cat", "/files/lib/x"]), "1");
        } else {
            assert_eq!(build.status.code(), Some(3), "{build}");
            build.stderr_contains("invalid value for submodule name");
        }
        for folder in [t.dir(), t.folder().to_owned(), PathBuf::from("/")] {
            assert!(!folder.join("outside").exists(), "{name}");
        }
    }
}

fn shell_code_in_a_branch_name_is_not_executed(t: &Context) {
    let app = App::with_scripts(
        t,
        "env: {BRANCH: '${{ service.branch }}'}",
        &["printf '%s\\n' \"$XP_BRANCH\" \"$BRANCH\" > branch"],
    );
    let mark = t.folder().join("ran");
    let code = format!("touch${{IFS}}{}", mark.display());
    for branch in [
        format!("x;{code};"),
        format!("$({code})"),
        format!("`{code}`"),
        format!("'{code}'"),
        format!("\"|{code}&"),
        "--upload-pack=x".to_owned(),
        "a&&b>c".to_owned(),
    ] {
        // Git itself would not create one that starts with a dash.
        let tree = app.repository.server_git(&["rev-parse", "master^{tree}"]);
        commit_of_tree(&app.repository, &branch, &tree);
        let build = t
            .xp(["build", "--force", "--verbose"])
            .arg(format!("--branch={branch}"));
        let build = build.run();
        if branch.starts_with('-') {
            let build = build.stderr_contains("must not start with `-`");
            assert_eq!(build.status.code(), Some(2), "{build}");
            continue;
        }
        assert!(build.status.success(), "{build}");
        assert_eq!(app.read("branch"), format!("{branch}\n{branch}\n"));
        // If it fails, the command to copy has it as one word, too.
        app.set_scripts("env: {BRANCH: '${{ service.branch }}'}", &["exit 3"]);
        let failed = t
            .xp(["build", "--force", "-v"])
            .arg(format!("--branch={branch}"))
            .failure(1);
        let by_hand = failed.stderr_contains("debug with:\n").stderr;
        let line = by_hand
            .split("debug with:\n")
            .nth(1)
            .expect("it was found")
            .to_owned();
        let words = line
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .replace("docker run", "printf '%s\\n'");
        let printed = process::run(Command::new("sh").args(["-c", &words]));
        let printed = process::text(&printed.stdout);
        assert!(printed.contains(&branch), "{branch}: {printed}\n{words}");
        app.set_scripts(
            "env: {BRANCH: '${{ service.branch }}'}",
            &["printf '%s\\n' \"$XP_BRANCH\" \"$BRANCH\" > branch"],
        );
        for command in ["plan", "status", "sync", "lock"] {
            t.xp([command]).arg(format!("--branch={branch}")).run();
        }
        assert!(!mark.exists(), "{branch} was run");
    }
}

fn a_service_name_is_not_a_path(t: &Context) {
    let remote = t.built_repo("zbackend");
    for name in [
        "../outside",
        "..",
        ".",
        "a/b",
        "/outside",
        ".git",
        "-rf",
        "a\\b",
        "a b",
        "a\nb",
        "a\u{1b}[2J",
        "${{ service.name }}",
        "$(id)",
        "ünïcode",
        "",
    ] {
        let service = json!({
            "dir": "src/x",
            "git": {"remote": remote.url_http()},
            "docker": {"image": t.image("x")},
        });
        let mut services = serde_json::Map::new();
        services.insert(name.to_owned(), service);
        t.manifest(&json!({ "services": services }).to_string());
        let output = t
            .xp(["build"])
            .failure(2)
            .stderr_contains("x-platform.yml:1:");
        assert!(!output.to_string().contains('\x1b'), "{output}");
        assert!(!t.exists("src") && !t.exists(".xp/build"), "{output}");
        assert!(!t.folder().join("outside").exists(), "{output}");
        // On the command line, it does not match any service.
        let named = t.xp(["logs", "--"]).arg(name).run();
        assert!(matches!(named.status.code(), Some(2)), "{named}");
    }
}

/// Escape sequences that set the title, clear the screen, and inject typed text.
const ESCAPES: &str = "\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[6n\u{9b}31m\r\u{202e}txet";

#[track_caller]
fn is_still(output: &Output) {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}')
    };
    let text = format!("{}{}", output.stdout, output.stderr);
    let found = text.lines().find(|line| line.contains(steers));
    assert!(found.is_none(), "{found:?} in {output}");
}

fn terminal_control_sequences_are_removed(t: &Context) {
    let app = App::with_scripts(
        t,
        "",
        &[
            "printf \"$(cat title)\"; cat title",
            "cat title >&2; exit 1",
        ],
    );
    app.repository.commit(
        &[("title", ESCAPES), (&format!("name{ESCAPES}"), "1")],
        ESCAPES,
    );
    app.repository.git(&["config", "user.name", ESCAPES]);
    for arguments in [
        &["plan"][..],
        &["build", "-v"],
        &["logs"],
        &["sync"],
        &["status", "-v"],
        &["why", "app"],
        &["lock", "-v"],
        &["runs"],
        &["graph"],
    ] {
        let mut xp = t.xp([]);
        for argument in arguments {
            xp = xp.arg(argument);
        }
        let output = xp.run();
        // Without a terminal, the log is printed byte for byte, as by `cat`.
        if arguments != ["logs"] {
            is_still(&output);
        }
    }
    // Files of a working copy are named when differences are listed.
    let file = t.dir().join("src/app").join(format!("new{ESCAPES}"));
    fs::write(file, "1").expect("a file");
    for arguments in [
        ["status", "-v"],
        ["plan", "--local"],
        ["build", "--local"],
        ["sync", "-v"],
    ] {
        is_still(&t.xp(arguments).run());
    }
    // Errors quote the manifest's text.
    for (key, value) in [
        ("dirr", "x"),
        ("dir", ESCAPES),
        (ESCAPES, "x"),
        ("timeout", ESCAPES),
    ] {
        let service = json!({ key: value, "git": {"remote": ESCAPES, "reference": ESCAPES} });
        t.manifest(&json!({ "services": { "app": service } }).to_string());
        is_still(&t.xp(["plan"]).failure(2));
    }
    t.manifest(&format!("services: {{app: {ESCAPES}}}\n"));
    is_still(&t.xp(["plan"]).failure(2));
    is_still(&t.xp(["plan"]).arg(ESCAPES).failure(2));
    is_still(&t.xp(["plan", "-f"]).arg(ESCAPES).failure(2));
    is_still(&t.xp(["plan"]).arg(format!("--branch={ESCAPES}")).failure(2));
}

fn registry_messages_are_escaped(t: &Context) {
    for status in [400, 401, 403, 404, 418, 500] {
        let gateway = Gateway::alone(move |incoming| {
            let body =
                json!({"errors": [{"code": "X", "message": format!("{ESCAPES}\nhint: rm -rf /")}]});
            match incoming.path.as_str() {
                "/v2/" => Reply::json(200, "{}"),
                _ => Reply::json(status, &body.to_string()),
            }
        });
        let repository = crate::cases::small::repository(t, &format!("z{status}"));
        crate::cases::small::platform(t, gateway.host(), &[("zbackend", &repository)]);
        let plan = t.xp(["plan", "-v"]).run();
        is_still(&plan);
        // Its text never looks like a line printed by xp.
        assert!(!plan.stderr.contains("\nhint: rm"), "{plan}");
    }
}

fn git_server_messages_are_escaped(t: &Context) {
    let words = format!("ERR {ESCAPES}");
    let packet = format!("{:04x}{words}", words.len() + 4);
    let answers = [
        (200, packet),
        (200, format!("<html>{ESCAPES}</html>")),
        (500, ESCAPES.to_owned()),
        (403, ESCAPES.to_owned()),
    ];
    for (status, body) in answers {
        let gateway = Gateway::alone(move |_| {
            let kind = "application/x-git-upload-pack-advertisement".to_owned();
            Reply::Response(status, vec![("Content-Type", kind)], body.clone())
        });
        t.platform(&[Service::new(
            "zbackend",
            format!("http://{}/x.git", gateway.host()),
        )]);
        is_still(&t.xp(["plan", "-v"]).failure(3));
    }
}

fn a_redirect_does_not_leak_credentials(t: &Context) {
    let remote = t.built_repo("zbackend");
    let real = t.git_server(GitServerKind::Open).url("", "");
    for target in [
        format!("{real}{}", "x.git/info/refs?service=git-upload-pack"),
        format!(
            "file://{}/info/refs?service=git-upload-pack",
            remote.path().display()
        ),
        "ssh://-oProxyCommand=id/x/info/refs?service=git-upload-pack".to_owned(),
        "ext::sh/info/refs?service=git-upload-pack".to_owned(),
    ] {
        let heard = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let notes = heard.clone();
        let thief = Gateway::alone(move |incoming| {
            let header = incoming.header("authorization").unwrap_or_default();
            notes.lock().expect("not poisoned").push_str(header);
            Reply::status(404)
        });
        let target = target.replace(
            real.trim_end_matches('/'),
            &format!("http://{}", thief.host()),
        );
        let server = Gateway::alone(move |incoming| match incoming.method.as_str() {
            "GET" => Reply::Response(302, vec![("Location", target.clone())], String::new()),
            _ => Reply::status(404),
        });
        let url = format!("http://user:c4nary@{}/x.git", server.host());
        t.platform(&[Service::new("zbackend", url)]);
        t.xp(["sync", "-v"]).failure(3).does_not_contain("c4nary");
        assert_eq!(*heard.lock().expect("not poisoned"), "");
        assert!(!t.exists("src"));
    }
}

fn teamcity_commands_in_commits_are_escaped(t: &Context) {
    let evil = "##teamcity[setParameter name='x' value='y']";
    let app = App::with_scripts(t, "", &["cat title", "cat title >&2; exit 1"]);
    app.repository
        .commit(&[("title", &format!("{evil}\n  {evil}\nx{evil}\n"))], evil);
    let build = app.build().env("TEAMCITY_VERSION", "2024.1").failure(1);
    let text = format!("{}{}", build.stdout, build.stderr);
    assert!(!text.contains("##teamcity[setParameter"), "{build}");
}
