//! Git LFS files, which the real `git-lfs` program fetches from a server with its protocol.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::process;
use crate::repository::{GitRepository, write_file};
use crate::world::{Gateway, GitServerKind, Incoming, PASSWORD, Reply, USER};

pub const CASES: &[Case] = cases![
    files_are_fetched_and_cached,
    logins_work_like_in_git,
    a_missing_program_prevents_the_build,
    a_file_missing_on_the_server_is_reported,
    settings_that_skip_files_are_ignored,
    local_remotes_are_supported,
    only_needed_files_are_fetched,
    files_of_submodules_are_fetched,
    other_files_are_unchanged,
];

const ATTRIBUTES: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\n";

/// The media type of Git LFS.
const LFS_JSON: &str = "application/vnd.git-lfs+json";

fn digest(content: &str) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the pointer that git stores for a Git LFS file.
fn pointer(content: &str) -> String {
    format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
        digest(content),
        content.len()
    )
}

/// Serves these files with the Git LFS protocol, and passes all other requests to the git server; with
/// authentication if a login is given.
fn server(t: &Context, contents: &[&str], login: Option<(&str, &str)>) -> Gateway {
    let files: BTreeMap<String, String> = contents
        .iter()
        .map(|content| (digest(content), (*content).to_owned()))
        .collect();
    let login = login.map(|(user, password)| {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {encoded}")
    });
    let url = t.git_server(GitServerKind::Open).url("", "");
    let upstream = url.trim_start_matches("http://").trim_end_matches('/');
    Gateway::before(upstream, move |incoming: &Incoming| {
        if let Some(file) = incoming.path.strip_prefix("/lfs-files/") {
            return match files.get(file) {
                Some(content) => Reply::Response(200, Vec::new(), content.clone()),
                None => Reply::status(404),
            };
        }
        if !incoming.path.ends_with("/info/lfs/objects/batch") {
            return Reply::Forward;
        }
        if login.is_some() && incoming.header("authorization") != login.as_deref() {
            let ask = vec![("WWW-Authenticate", "Basic realm=\"lfs\"".to_owned())];
            return Reply::Response(401, ask, r#"{"message":"credentials needed"}"#.to_owned());
        }
        let asked: Value = serde_json::from_str(&incoming.body).expect("a batch request");
        let host = incoming.header("host").expect("a host");
        let objects = asked["objects"]
            .as_array()
            .expect("objects")
            .iter()
            .map(|object| {
                let oid = object["oid"].as_str().expect("an id");
                match files.contains_key(oid) {
                    true => {
                        json!({"oid": oid, "size": object["size"], "authenticated": true, "actions":
                    {"download": {"href": format!("http://{host}/lfs-files/{oid}")}}})
                    }
                    false => json!({"oid": oid, "size": object["size"],
                    "error": {"code": 404, "message": "Object does not exist on the server"}}),
                }
            });
        let answer = json!({"transfer": "basic", "objects": objects.collect::<Vec<_>>()});
        let media_type = vec![("Content-Type", LFS_JSON.to_owned())];
        Reply::Response(200, media_type, answer.to_string())
    })
}

/// Returns the URL of a repository behind such a server.
fn url(gateway: &Gateway, remote: &GitRepository, login: &str) -> String {
    let path = remote.url_http();
    let path = path.trim_start_matches("http://");
    let (_, path) = path.split_once('/').expect("a path");
    format!("http://{login}{}/{path}", gateway.host())
}

fn lfs_requests(gateway: &Gateway) -> usize {
    let requests = gateway.requests();
    let of_lfs = |path: &str| path.contains("/info/lfs/") || path.starts_with("/lfs-files/");
    requests
        .iter()
        .filter(|request| of_lfs(&request.path))
        .count()
}

fn image(t: &Context, commit: &str) -> String {
    t.assert_built("zbackend", commit);
    format!("{}:{commit}", t.image("zbackend"))
}

fn files_are_fetched_and_cached(t: &Context) {
    let remote = t.built_repo("zbackend");
    let large = "0123456789abcdef".repeat(20_000);
    let contents = ["one\n", "#!/bin/sh\necho two\n", large.as_str(), "crlf\r\n"];
    let gateway = server(t, &contents, None);
    remote.write(&[
        (".gitattributes", ATTRIBUTES),
        ("one.bin", &pointer(contents[0])),
        ("tools/two 2.bin", &pointer(contents[1])),
        ("ünï/large.bin", &pointer(contents[2])),
        ("same.bin", &pointer(contents[0])),
        ("empty.bin", ""),
        ("text.bin", &pointer(contents[3])),
    ]);
    remote.git(&["add", "--all"]);
    remote.git(&["update-index", "--chmod=+x", "tools/two 2.bin"]);
    remote.git(&["commit", "--quiet", "--message", "Large files"]);
    remote.git(&["push", "--quiet", "origin", "HEAD"]);
    let commit = remote.head();
    remote.git(&["reset", "--quiet", "--hard"]);

    let builder = t.git_builder();
    let script = "git status --porcelain > /tmp/said; git describe --always --dirty >> /tmp/said; \
        './tools/two 2.bin' >> /tmp/said; mv /tmp/said said";
    t.platform(&[Service::new("zbackend", url(&gateway, &remote, "")).script(&builder, script)]);
    let build = |t: &Context| {
        t.program("sh", ["-c", "umask 077; exec \"$0\" build --force"])
            .arg(env!("CARGO_BIN_EXE_xp"))
            .success();
        let image = image(t, &commit);
        let list = "cd /files; cat one.bin same.bin text.bin empty.bin said; sha256sum < 'ünï/large.bin'; \
            stat -c %a one.bin 'tools/two 2.bin'";
        let text = t.engine().run(&image, ["sh", "-c", list]);
        let expected = format!(
            "one\none\ncrlf\r\n{}\ntwo\n{}  -\n644\n755",
            &commit[..7],
            digest(&large)
        );
        assert_eq!(text, expected);
    };
    build(t);
    assert!(lfs_requests(&gateway) >= 5, "{:?}", gateway.requests());
    let batches = gateway
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("batch"))
        .count();
    assert_eq!(batches, 1, "all files at once");
    // Fetched files are cached, even for another clone of the repository.
    let before = lfs_requests(&gateway);
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    build(t);
    assert_eq!(lfs_requests(&gateway), before);
}

fn logins_work_like_in_git(t: &Context) {
    let remote = t.built_repo("zbackend");
    let gateway = server(t, &["one\n"], Some((USER, PASSWORD)));
    let files = [
        (".gitattributes", ATTRIBUTES),
        ("one.bin", &pointer("one\n")),
    ];
    let commit = remote.commit(&files, "Large");
    t.platform(&[Service::new("zbackend", url(&gateway, &remote, ""))]);
    t.xp(["build"])
        .failure(3)
        .stderr_contains("error: zbackend: export: cannot fetch `one.bin` from Git LFS of http://")
        .stderr_contains("hint: git-lfs uses the same logins as git");
    let in_url = format!("{USER}:{PASSWORD}@");
    let helper = t.home().join("helper");
    let netrc = t.home().join(".netrc");
    let ways: [(&str, &dyn Fn()); 3] = [
        (&in_url, &|| ()),
        ("", &|| {
            let line = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
            fs::write(&netrc, line).expect("a file of the home folder");
        }),
        ("", &|| {
            fs::remove_file(&netrc).expect("it is there");
            let script = format!(
                "#!/bin/sh\n[ \"$1\" != get ] || printf 'username={USER}\\npassword={PASSWORD}\\n'\n"
            );
            write_file(&helper, &script);
            let helper = helper.display().to_string();
            t.git("", &["config", "--global", "credential.helper", &helper]);
        }),
    ];
    for (login, prepare) in ways {
        prepare();
        fs::remove_dir_all(t.dir().join(".xp/lfs")).ok();
        t.platform(&[Service::new("zbackend", url(&gateway, &remote, login))]);
        t.xp(["build", "--force", "--verbose"])
            .success()
            .does_not_contain(PASSWORD);
        let text = t
            .engine()
            .run(&image(t, &commit), ["cat", "/files/one.bin"]);
        assert_eq!(text, "one");
        t.assert_secret_is_nowhere(PASSWORD);
    }
    // A wrong password is not shown either.
    fs::remove_dir_all(t.dir().join(".xp/lfs")).expect("what was fetched");
    t.git("", &["config", "--global", "--unset", "credential.helper"]);
    t.platform(&[Service::new(
        "zbackend",
        url(&gateway, &remote, "xp:wr0ng@"),
    )]);
    let refused = t.xp(["build", "--force", "--verbose"]).failure(3);
    refused
        .stderr_contains("from Git LFS of ")
        .does_not_contain("wr0ng");
    t.assert_secret_is_nowhere("wr0ng");
}

/// Creates a folder with links to some of this machine's programs.
fn programs(t: &Context, names: &[&str]) -> PathBuf {
    let folder = t.folder().join("programs");
    fs::create_dir_all(&folder).expect("a folder");
    for name in names {
        let path = process::succeed(Command::new("sh").args(["-c", &format!("command -v {name}")]));
        symlink(path, folder.join(name)).expect("a link");
    }
    folder
}

fn a_missing_program_prevents_the_build(t: &Context) {
    let remote = t.built_repo("zbackend");
    let gateway = server(t, &["one\n"], None);
    let files = [
        (".gitattributes", ATTRIBUTES),
        ("assets/one.bin", &pointer("one\n")),
        ("assets/two.bin", &pointer("two\n")),
    ];
    let commit = remote.commit(&files, "Large");
    t.platform(&[Service::new("zbackend", url(&gateway, &remote, ""))]);
    let reference = format!("{}:{commit}", t.image("zbackend"));
    t.xp(["build"])
        .env("PATH", programs(t, &["git"]))
        .failure(3)
        .stderr_contains("error: zbackend: export: cannot run `git-lfs` to fetch `assets/one.bin` and 1 more from Git LFS")
        .stderr_contains("hint: install git-lfs");
    assert_eq!(t.engine().image(&reference), None);
    // Git LFS does not work without git.
    fs::remove_dir_all(t.folder().join("programs")).expect("the folder");
    t.xp(["build"])
        .env("PATH", programs(t, &["git-lfs"]))
        .failure(3)
        .stderr_contains("`assets/one.bin`")
        .stderr_contains("hint: git-lfs needs git;");
    assert_eq!(t.engine().image(&reference), None);
}

fn a_file_missing_on_the_server_is_reported(t: &Context) {
    let remote = t.built_repo("zbackend");
    let gateway = server(t, &["one\n"], None);
    let files = [
        (".gitattributes", ATTRIBUTES),
        ("a.bin", &pointer("one\n")),
        ("b.bin", &pointer("never pushed\n")),
    ];
    let commit = remote.commit(&files, "Large");
    t.platform(&[Service::new("zbackend", url(&gateway, &remote, ""))]);
    t.xp(["build"])
        .failure(3)
        .stderr_contains("cannot fetch `b.bin` from Git LFS")
        .stderr_contains("Object does not exist on the server")
        .stderr_contains("hint: the file was committed but not pushed to Git LFS");
    let reference = format!("{}:{commit}", t.image("zbackend"));
    assert_eq!(t.engine().image(&reference), None);
    // A server without Git LFS support.
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    t.xp(["build"])
        .failure(3)
        .stderr_contains("from Git LFS of ");
    assert_eq!(t.engine().image(&reference), None);
}

fn settings_that_skip_files_are_ignored(t: &Context) {
    let remote = t.built_repo("zbackend");
    let gateway = server(t, &["one\n"], None);
    let files = [
        (".gitattributes", ATTRIBUTES),
        (".lfsconfig", "[lfs]\n\tfetchexclude = *\n"),
        ("one.bin", &pointer("one\n")),
    ];
    let commit = remote.commit(&files, "Large");
    for (key, value) in [
        ("lfs.fetchinclude", "nothing"),
        ("filter.lfs.smudge", "git-lfs smudge --skip -- %f"),
    ] {
        t.git("", &["config", "--global", key, value]);
    }
    t.platform(&[Service::new("zbackend", url(&gateway, &remote, ""))]);
    t.xp(["build"]).env("GIT_LFS_SKIP_SMUDGE", "1").success();
    assert_eq!(
        t.engine()
            .run(&image(t, &commit), ["cat", "/files/one.bin"]),
        "one"
    );
}

fn local_remotes_are_supported(t: &Context) {
    let remote = t.built_repo("zbackend");
    let files = [
        (".gitattributes", ATTRIBUTES),
        ("one.bin", &pointer("one\n")),
    ];
    let commit = remote.commit(&files, "Large");
    let id = digest("one\n");
    let stored = format!("lfs/objects/{}/{}/{id}", &id[..2], &id[2..4]);
    write_file(&remote.path().join(stored), "one\n");
    for url in [remote.url_file(), remote.path().display().to_string()] {
        fs::remove_dir_all(t.dir().join(".xp/lfs")).ok();
        t.platform(&[Service::new("zbackend", url)]);
        t.xp(["build", "--force"]).success();
        assert_eq!(
            t.engine()
                .run(&image(t, &commit), ["cat", "/files/one.bin"]),
            "one"
        );
    }
}

fn only_needed_files_are_fetched(t: &Context) {
    let remote = t.git_repo("zbackend");
    let gateway = server(t, &["one\n"], None);
    let dockerfile = format!("FROM {}\nCOPY . /files\n", t.engine().busybox());
    let files = [
        (".gitattributes", ATTRIBUTES),
        (".lfsconfig", "[lfs]\n\tconcurrenttransfers = 2\n"),
        ("svc/Dockerfile", dockerfile.as_str()),
        ("svc/one.bin", &pointer("one\n")),
        ("other/large.bin", &pointer("not on the server\n")),
    ];
    let commit = remote.commit(&files, "Large");
    t.platform(&[Service::new("zbackend", url(&gateway, &remote, "")).git("path: svc")]);
    t.xp(["build"]).success();
    assert_eq!(
        t.engine()
            .run(&image(t, &commit), ["cat", "/files/one.bin"]),
        "one"
    );
}

fn files_of_submodules_are_fetched(t: &Context) {
    let (remote, lib) = (t.built_repo("zbackend"), t.git_repo("lib"));
    let gateway = server(t, &["one\n", "two\n"], None);
    let lib_commit = lib.commit(
        &[
            (".gitattributes", ATTRIBUTES),
            ("two.bin", &pointer("two\n")),
        ],
        "Large",
    );
    let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n";
    remote.write(&[
        (".gitmodules", modules),
        (".gitattributes", ATTRIBUTES),
        ("one.bin", &pointer("one\n")),
    ]);
    remote.git(&["add", "--all"]);
    remote.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{lib_commit},lib"),
    ]);
    remote.git(&["commit", "--quiet", "--message", "Both"]);
    remote.git(&["push", "--quiet", "origin", "HEAD"]);
    t.platform(&[Service::new("zbackend", url(&gateway, &remote, "")).git("submodules: true")]);
    t.xp(["build"]).success();
    let text = t.engine().run(
        &image(t, &remote.head()),
        ["cat", "/files/one.bin", "/files/lib/two.bin"],
    );
    assert_eq!(text, "one\ntwo");
}

fn other_files_are_unchanged(t: &Context) {
    let remote = t.built_repo("zbackend");
    // A file with the attribute that was committed without a pointer, and a pointer without the attribute.
    let files = [
        (".gitattributes", ATTRIBUTES),
        ("assets/.gitattributes", "* -filter\n"),
        ("assets/sample.bin", &pointer("anything")),
        ("real.bin", "the file itself"),
    ];
    let commit = remote.commit(&files, "No large files");
    t.platform(&[Service::new("zbackend", remote.url_http())]);
    // The program is not even required.
    t.xp(["build"]).env("PATH", programs(t, &["git"])).success();
    let text = t
        .engine()
        .run(&image(t, &commit), ["cat", "/files/real.bin"]);
    assert_eq!(text, "the file itself");
    // By an attribute that the repository defines.
    let attributes = "[attr]large filter=lfs\nassets/* large\n";
    remote.commit(
        &[
            (".gitattributes", attributes),
            ("assets/.gitattributes", ""),
        ],
        "A macro",
    );
    t.xp(["build"])
        .failure(3)
        .stderr_contains("cannot fetch `assets/sample.bin` from Git LFS");
}
