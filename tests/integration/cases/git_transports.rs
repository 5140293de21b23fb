//! Access to git remotes with every transport, and the errors if it fails.

use std::path::Path;
use std::process::Command;

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::process::{self, Background};
use crate::repository::GitRepository;
use crate::world::{GitServerKind, PASSWORD, USER};

pub const CASES: &[Case] = cases![
    every_transport_clones_and_fetches,
    git_daemons_are_supported,
    urls_are_replaced_by_instead_of,
    old_servers_are_supported,
    unreachable_remotes_are_named,
    remotes_that_look_like_options_are_rejected,
    resolving_takes_one_request_per_remote,
];

fn every_transport_clones_and_fetches(t: &Context) {
    let remote = t.built_repo("zbackend");
    let first = remote.head();
    let urls = [
        ("path", remote.path().display().to_string()),
        ("file", remote.url_file()),
        ("http", remote.url_http()),
        ("http-login", remote.url_http_login()),
        ("http-moved", remote.url_http_moved()),
        ("https", remote.url_https()),
        ("ssh", remote.url_ssh()),
        ("scp", remote.url_scp()),
    ];
    let services: Vec<Service> = urls
        .iter()
        .map(|(name, url)| Service::new(name, url))
        .collect();
    t.platform(&services);
    let xp = |arguments: [&str; 1]| t.xp(arguments).env("SSL_CERT_FILE", t.ca_certificate());

    xp(["sync"]).success().does_not_contain(PASSWORD);
    for (name, url) in &urls {
        let git = |arguments: &[&str]| t.git(&format!("src/{name}"), arguments);
        assert_eq!(git(&["rev-parse", "HEAD"]), first, "{name}");
        let status = git(&["status", "--porcelain", "--branch"]);
        assert_eq!(status, "## master...origin/master", "{name}");
        let kept = url.replace(&format!(":{PASSWORD}@"), "@");
        assert_eq!(git(&["remote", "get-url", "origin"]), kept);
        git(&["fsck", "--strict"]);
    }

    let second = remote.commit(&[("file", "2\n")], "Second");
    xp(["build"]).success().does_not_contain(PASSWORD);
    for (name, _) in &urls {
        t.assert_built(name, &second);
        let head = t.git(&format!("src/{name}"), &["rev-parse", "HEAD"]);
        assert_eq!(head, second, "{name}");
    }
    t.assert_secret_is_nowhere(PASSWORD);
}

fn git_daemons_are_supported(t: &Context) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    let port = t.closed_port();
    let program = process::succeed(Command::new("git").arg("--exec-path"));
    let mut daemon = Command::new(Path::new(&program).join("git-daemon"));
    daemon.args(["--export-all", "--listen=127.0.0.1"]);
    daemon.arg(format!("--port={port}"));
    daemon.arg(format!(
        "--base-path={}",
        remote.path().parent().expect("a folder").display()
    ));
    let is_ready = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let daemon = Background::start(&mut daemon, is_ready);

    let url = format!("git://127.0.0.1:{port}/zbackend.git");
    t.platform(&[Service::new("zbackend", &url)]);
    t.xp(["sync"]).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
    let second = remote.commit(&[], "Second");
    t.xp(["sync"]).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), second);

    t.platform(&[Service::new(
        "none",
        format!("git://127.0.0.1:{port}/none.git"),
    )]);
    t.xp(["sync"]).failure(3).stderr_contains("/none.git");
    drop(daemon);
    t.platform(&[Service::new("zbackend", &url)]);
    t.xp(["sync"])
        .failure(3)
        .stderr_contains(&format!("cannot reach 127.0.0.1:{port} for {url}"));
}

fn urls_are_replaced_by_instead_of(t: &Context) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    let (base, _) = remote
        .url_http()
        .rsplit_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("a path");
    let key = format!("url.{base}/.insteadOf");
    t.git("", &["config", "--global", &key, "git@git.example.com:x/"]);
    t.platform(&[Service::new(
        "zbackend",
        "git@git.example.com:x/zbackend.git",
    )]);
    t.xp(["sync"]).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
    // git replaces it, too.
    let config = ["config", "remote.origin.url"];
    assert_eq!(
        t.git("src/zbackend", &config),
        "git@git.example.com:x/zbackend.git"
    );
    t.git("src/zbackend", &["fetch", "--quiet"]);
    let second = remote.commit(&[], "Second");
    t.xp(["sync"]).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), second);

    // As in CI: credentials for all remotes of a host, in the configuration or the environment.
    let bare = remote.url_http_auth();
    let (host, _) = bare.split_once("/xp-test").expect("the prefix");
    let with_login = host.replace("://", &format!("://{USER}:{PASSWORD}@"));
    t.platform(&[Service::new("ci", &bare)]);
    t.xp(["sync"])
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", format!("url.{with_login}.insteadOf"))
        .env("GIT_CONFIG_VALUE_0", host)
        .success()
        .does_not_contain(PASSWORD);
    assert_eq!(t.git("src/ci", &["rev-parse", "HEAD"]), second);
    assert_eq!(t.git("src/ci", &["config", "remote.origin.url"]), bare);
    t.write(
        "../elsewhere.gitconfig",
        &format!("[url \"{with_login}\"]\n  insteadOf = {host}\n"),
    );
    let third = remote.commit(&[], "Third");
    t.xp(["sync"]).failure(3);
    t.xp(["sync"])
        .env("GIT_CONFIG_GLOBAL", t.folder().join("elsewhere.gitconfig"))
        .success()
        .does_not_contain(PASSWORD);
    assert_eq!(t.git("src/ci", &["rev-parse", "HEAD"]), third);
    t.assert_secret_is_nowhere(PASSWORD);
}

fn old_servers_are_supported(t: &Context) {
    let remote = t.git_repo("old-protocol");
    let first = remote.commit(&[], "First");
    remote.annotated_tag("v1", "One");
    let second = remote.commit(&[], "Second");
    let mut greeting = process::in_clean_environment("curl");
    greeting.args([
        "--silent",
        "--noproxy",
        "*",
        "--header",
        "Git-Protocol: version=2",
    ]);
    let greeting = process::succeed(greeting.arg(format!(
        "{}/info/refs?service=git-upload-pack",
        remote.url_http()
    )));
    assert!(
        greeting.contains(&second),
        "the server speaks the old protocol: {greeting}"
    );

    let tagged = Service::new("tagged", remote.url_http()).reference("v1");
    t.platform(&[Service::new("default", remote.url_http()), tagged]);
    t.xp(["sync"]).success();
    assert_eq!(t.git("src/default", &["rev-parse", "HEAD"]), second);
    assert_eq!(
        t.git("src/default", &["symbolic-ref", "HEAD"]),
        "refs/heads/master"
    );
    assert_eq!(t.git("src/tagged", &["rev-parse", "HEAD"]), first);
}

fn unreachable_remotes_are_named(t: &Context) {
    let port = t.closed_port();
    let address = format!("127.0.0.1:{port}");
    for url in [
        format!("http://{address}/x.git"),
        format!("https://{address}/x.git"),
        format!("git://{address}/x.git"),
        format!("ssh://git@{address}/x.git"),
    ] {
        t.platform(&[Service::new("zbackend", &url)]);
        t.xp(["sync"])
            .env("GIT_SSH_COMMAND", "ssh -F none")
            .failure(3)
            .stderr_contains("error: zbackend cannot be resolved")
            .stderr_contains(&format!("cannot reach {address} for {url}"));
    }
    for command in ["plan", "build"] {
        t.xp([command])
            .env("GIT_SSH_COMMAND", "ssh -F none")
            .failure(3)
            .stderr_contains(&format!("cannot reach {address} for ssh://"));
    }
    let missing = t.folder().join("missing.git").display().to_string();
    let server = t.git_repo("there");
    for url in [
        missing.clone(),
        format!("file://{missing}"),
        server.url_http().replace("there", "missing"),
        server.url_ssh().replace("there", "missing"),
    ] {
        t.platform(&[Service::new("zbackend", &url)]);
        t.xp(["sync"])
            .failure(3)
            .stderr_contains(&format!("no git repository at {url}"));
    }
    assert!(!t.exists("src"));
}

fn remotes_that_look_like_options_are_rejected(t: &Context) {
    let mark = t.folder().join("executed");
    for url in [
        format!("--upload-pack=touch {}", mark.display()),
        format!("ext::sh -c 'touch {}'", mark.display()),
        format!("ssh://-oProxyCommand=touch${{IFS}}{}/x", mark.display()),
        format!(
            "ssh://-oProxyCommand=touch${{IFS}}{}@host/x",
            mark.display()
        ),
        format!("-oProxyCommand=touch${{IFS}}{}:x", mark.display()),
        format!("git@-oProxyCommand=touch${{IFS}}{}:x", mark.display()),
        "host:-x".to_owned(),
    ] {
        t.platform(&[Service::new("zbackend", &url)]);
        t.xp(["sync"])
            .failure(2)
            .stderr_contains("x-platform.yml")
            .stderr_contains("git remote");
    }
    for reference in ["--upload-pack=id", "-x"] {
        let service = Service::new("zbackend", "git@h:x").reference(reference);
        t.platform(&[service]);
        t.xp(["sync"])
            .failure(2)
            .stderr_contains("must not start with `-`");
    }
    assert!(!mark.exists() && !t.exists("src"));
}

fn resolving_takes_one_request_per_remote(t: &Context) {
    let remotes: Vec<GitRepository> = (0..5).map(|n| t.git_repo(&format!("r{n}"))).collect();
    let mut services = Vec::new();
    for (n, remote) in remotes.iter().enumerate() {
        remote.commit(&[], "First");
        remote.tag("v1");
        remote.branch("feature");
        if n == 0 {
            remote.branch("rare");
        }
        for (name, reference) in [
            ("default", None),
            ("tag", Some("v1")),
            ("branch", Some("origin/feature")),
            ("full", Some("refs/heads/master")),
        ] {
            // Another spelling of the same remote makes no difference.
            let url = remote.url_http();
            let url = if name == "tag" {
                url.trim_end_matches(".git")
            } else {
                &url
            };
            let mut service = Service::new(&format!("{name}{n}"), url);
            if let Some(reference) = reference {
                service = service.reference(reference);
            }
            services.push(service);
        }
    }
    t.platform(&services);
    let server = t.git_server(GitServerKind::Open);
    for arguments in [&[][..], &["--branch", "feature"], &["--branch", "rare"]] {
        let mark = server.mark();
        let mut plan = t.xp(["plan"]);
        for argument in arguments {
            plan = plan.arg(argument);
        }
        let plan = plan.success();
        assert!(
            (0..5).all(|n| plan.stdout.contains(&format!("full{n}"))),
            "{plan}"
        );
        let requests = t.own_requests(server.requests_since(mark));
        assert_eq!(requests.len(), 5, "{requests:?}");
        for request in requests {
            assert_eq!((request.method.as_str(), request.status), ("POST", 200));
        }
    }
    // All branches are requested only if no repository has the branch.
    let mark = server.mark();
    t.xp(["plan", "--branch", "nowhere"]).failure(2);
    let requests = t.own_requests(server.requests_since(mark));
    assert_eq!(requests.len(), 10, "{requests:?}");
    assert!(!t.exists("src"), "nothing is cloned");
}
