//! How git remotes are reached: every transport, every kind of login, and what is said when it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::platform::Service;
use crate::process;
use crate::repository::{GitRepository, write_file};
use crate::world::{GitServerKind, PASSWORD, USER};
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    every_transport_clones_and_fetches,
    a_login_comes_from_netrc,
    a_credential_helper_is_asked_once,
    a_wrong_login_is_said_as_such,
    a_token_is_shown_nowhere,
    a_private_certificate_authority_is_trusted_when_named,
    ssh_takes_the_users_configuration,
    ssh_takes_a_key_of_the_agent,
    ssh_takes_a_key_of_the_command_line,
    an_unknown_host_key_is_refused_with_a_hint,
    git_daemons_are_spoken_to,
    urls_are_replaced_by_instead_of,
    old_servers_are_spoken_to,
    unreachable_remotes_are_named,
    remotes_that_would_be_options_are_refused,
    resolving_takes_one_request_a_remote,
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
    assert_secret_is_nowhere(t, PASSWORD);
}

fn a_login_comes_from_netrc(t: &Context) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    t.platform(&[Service::new("zbackend", remote.url_http_auth())]);
    t.xp(["sync"])
        .failure(3)
        .stderr_contains("the server asks for a user and a password for http://127.0.0.1:")
        .stderr_contains("hint: add them to ~/.netrc or to a git credential helper");
    let netrc = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
    fs::write(t.home().join(".netrc"), netrc).expect("a file of the home folder");
    t.xp(["sync"]).success().does_not_contain(PASSWORD);
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}

/// Writes a credential helper that notes what it is asked, and returns the file with the notes.
fn credential_helper(t: &Context, password: &str) -> PathBuf {
    let (helper, notes) = (t.home().join("helper"), t.home().join("notes"));
    let script = format!(
        "#!/bin/sh\n\
         echo \"$1\" >>'{}'\n\
         [ \"$1\" != get ] || printf 'username={USER}\\npassword={password}\\n'\n",
        notes.display()
    );
    write_file(&helper, &script);
    let helper = helper.display().to_string();
    t.git("", &["config", "--global", "credential.helper", &helper]);
    notes
}

fn a_credential_helper_is_asked_once(t: &Context) {
    let remotes: Vec<GitRepository> = (0..6).map(|n| t.git_repo(&format!("r{n}"))).collect();
    let services = remotes.iter().enumerate().map(|(n, remote)| {
        remote.commit(&[], "First");
        Service::new(&format!("s{n}"), remote.url_http_auth())
    });
    t.platform(&services.collect::<Vec<_>>());
    let notes = credential_helper(t, PASSWORD);
    t.xp(["sync"]).success().does_not_contain(PASSWORD);
    for n in 0..6 {
        t.git(&format!("src/s{n}"), &["rev-parse", "--verify", "HEAD"]);
    }
    assert_eq!(fs::read_to_string(notes).expect("notes"), "get\nstore\n");
    assert_secret_is_nowhere(t, PASSWORD);
}

fn a_wrong_login_is_said_as_such(t: &Context) {
    let remote = t.git_repo("zbackend");
    remote.commit(&[], "First");
    let refused = |output: Output| {
        output
            .stderr_contains(&format!("the server refused the user `{USER}` for http://"))
            .stderr_contains("hint: check the password or token")
            .does_not_contain("wr0ng");
        assert!(!t.exists("src"), "nothing is cloned");
    };
    t.platform(&[Service::new(
        "zbackend",
        remote.url_http_login_as(USER, "wr0ng"),
    )]);
    refused(t.xp(["sync"]).failure(3));
    refused(t.xp(["plan"]).failure(3));

    t.platform(&[Service::new("zbackend", remote.url_http_auth())]);
    let netrc = format!("machine 127.0.0.1 login {USER} password wr0ng\n");
    fs::write(t.home().join(".netrc"), netrc).expect("a file of the home folder");
    refused(t.xp(["sync"]).failure(3));

    fs::remove_file(t.home().join(".netrc")).expect("it was there");
    let notes = credential_helper(t, "wr0ng");
    refused(t.xp(["sync"]).failure(3));
    assert_eq!(fs::read_to_string(notes).expect("notes"), "get\nerase\n");
}

fn a_token_is_shown_nowhere(t: &Context) {
    let remote = t.built_repo("zbackend");
    let first = remote.head();
    for credentials in ["T0KEN", "T0KEN:x-oauth-basic", "T0KEN:"] {
        t.platform(&[Service::new("zbackend", remote.url_http_with(credentials))]);
        t.xp(["sync", "--verbose"])
            .failure(3)
            .stderr_contains("http://***@127.0.0.1:")
            .does_not_contain("T0KEN");
    }
    // A server that wants no login takes any.
    let url = remote.url_http().replace("http://", "http://T0KEN@");
    t.platform(&[Service::new("zbackend", url)]);
    t.xp(["build", "--verbose"])
        .success()
        .stderr_contains("http://***@127.0.0.1:")
        .does_not_contain("T0KEN");
    let image = t.assert_built("zbackend", &first);
    assert!(!image.to_string().contains("T0KEN"));
    assert_eq!(
        t.git("src/zbackend", &["remote", "get-url", "origin"]),
        remote.url_http()
    );
    assert_secret_is_nowhere(t, "T0KEN");
}

fn a_private_certificate_authority_is_trusted_when_named(t: &Context) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    t.platform(&[Service::new("zbackend", remote.url_https())]);
    t.xp(["sync"])
        .failure(3)
        .stderr_contains("the certificate of 127.0.0.1:")
        .stderr_contains("hint: SSL_CERT_FILE");
    t.xp(["sync"])
        .env("SSL_CERT_FILE", t.ca_certificate())
        .success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}

/// Writes a configuration of ssh that has everything but the key.
fn ssh_configuration(t: &Context, more: &str) -> String {
    let sshd = t.sshd();
    let user = process::succeed(Command::new("id").arg("--user").arg("--name"));
    format!(
        "Host git.example.com\n  HostName 127.0.0.1\n  Port {}\n  User {user}\n\
         \x20 UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n{more}",
        sshd.port(),
        sshd.known_hosts().display(),
    )
}

/// Returns a service whose remote is on the ssh server as `git.example.com`.
fn ssh_service(t: &Context) -> (Service, String) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    let url = format!("git.example.com:{}", remote.path().display());
    (Service::new("zbackend", url), first)
}

/// Returns `xp sync` with that configuration of ssh.
fn sync_with_ssh(t: &Context, configuration: &str) -> Xp {
    let path = t.home().join("ssh_config");
    fs::write(&path, configuration).expect("a file of the home folder");
    t.xp(["sync"])
        .env("GIT_SSH_COMMAND", format!("ssh -F '{}'", path.display()))
}

fn ssh_takes_the_users_configuration(t: &Context) {
    let (service, first) = ssh_service(t);
    t.platform(&[service]);
    let key = format!("  IdentityFile {}\n", t.sshd().client_key().display());
    let configuration = ssh_configuration(t, &key);
    write_file(&t.home().join(".ssh/config"), &configuration);
    // ssh asks the system for the home folder, whatever HOME is: so xp runs where the system says
    // that the user's home folder is that of the test.
    let passwd = fs::read_to_string("/etc/passwd").expect("the system's users");
    let uid = process::succeed(Command::new("id").arg("--user"));
    let lines = passwd.lines().map(|line| {
        let mut fields: Vec<&str> = line.split(':').collect();
        let home = t.home().display().to_string();
        if fields.get(2) == Some(&uid.as_str()) {
            fields[5] = &home;
        }
        fields.join(":")
    });
    let users = t.home().join("passwd");
    fs::write(&users, lines.collect::<Vec<_>>().join("\n") + "\n").expect("other users");
    let mut unshare = vec!["--mount"];
    if !rustix::process::geteuid().is_root() {
        unshare.extend(["--user", "--map-current-user", "--keep-caps"]);
    }
    let script = format!(
        "mount --bind '{}' /etc/passwd && exec '{}' sync",
        users.display(),
        env!("CARGO_BIN_EXE_xp")
    );
    let mut run = t.program("unshare", []).env_remove("GIT_SSH_COMMAND");
    for argument in unshare {
        run = run.arg(argument);
    }
    run.arg("sh").arg("-c").arg(script).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}

fn ssh_takes_a_key_of_the_agent(t: &Context) {
    let (service, first) = ssh_service(t);
    t.platform(&[service]);
    let configuration = ssh_configuration(t, "  IdentityFile none\n");
    sync_with_ssh(t, &configuration)
        .failure(3)
        .stderr_contains("git.example.com refused the ssh keys: git.example.com:")
        .stderr_contains("`ssh -T git.example.com` must work without a question");

    let socket = t.home().join("agent");
    let _agent = Running::start(
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket),
        || socket.exists(),
    );
    let mut add = process::in_clean_environment("ssh-add");
    add.env("SSH_AUTH_SOCK", &socket).arg("-q");
    process::succeed(add.arg(t.sshd().client_key()));
    sync_with_ssh(t, &configuration)
        .env("SSH_AUTH_SOCK", &socket)
        .success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}

fn ssh_takes_a_key_of_the_command_line(t: &Context) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    t.platform(&[Service::new("zbackend", remote.url_ssh())]);
    let command = format!(
        "ssh -F none -o IdentityAgent=none -o UserKnownHostsFile='{}' -i '{}'",
        t.sshd().known_hosts().display(),
        t.sshd().client_key().display()
    );
    t.xp(["sync"]).env("GIT_SSH_COMMAND", &command).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);

    // The configuration of git has the second word.
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    t.git("", &["config", "--global", "core.sshCommand", &command]);
    t.xp(["sync"]).env_remove("GIT_SSH_COMMAND").success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}

fn an_unknown_host_key_is_refused_with_a_hint(t: &Context) {
    let remote = t.git_repo("zbackend");
    remote.commit(&[], "First");
    t.platform(&[Service::new("zbackend", remote.url_ssh())]);
    let port = t.sshd().port();
    let known = t.home().join("known_hosts");
    let command = format!(
        "ssh -F none -o UserKnownHostsFile='{}' -o GlobalKnownHostsFile=none -i '{}'",
        known.display(),
        t.sshd().client_key().display()
    );
    let sync = || t.xp(["sync"]).env("GIT_SSH_COMMAND", &command).failure(3);
    sync()
        .stderr_contains(&format!("the ssh key of 127.0.0.1:{port} is unknown"))
        .stderr_contains(&format!(
            "ssh-keyscan -p {port} 127.0.0.1 >> ~/.ssh/known_hosts"
        ));
    assert!(!known.exists() && !t.exists("src"), "nothing was accepted");

    // The host is known by another key.
    let mut keygen = Command::new("ssh-keygen");
    let key = t.home().join("other");
    process::succeed(
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key),
    );
    let other = fs::read_to_string(key.with_extension("pub")).expect("the other key");
    fs::write(&known, format!("[127.0.0.1]:{port} {other}")).expect("known hosts");
    sync()
        .stderr_contains("is another one than before")
        .stderr_contains(&format!("ssh-keygen -R '[127.0.0.1]:{port}'"));
}

fn git_daemons_are_spoken_to(t: &Context) {
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
    let daemon = Running::start(&mut daemon, is_ready);

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
    // git itself replaces it, too.
    let config = ["config", "remote.origin.url"];
    assert_eq!(
        t.git("src/zbackend", &config),
        "git@git.example.com:x/zbackend.git"
    );
    t.git("src/zbackend", &["fetch", "--quiet"]);
    let second = remote.commit(&[], "Second");
    t.xp(["sync"]).success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), second);
}

fn old_servers_are_spoken_to(t: &Context) {
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
            .stderr_contains(&format!("there is no git repository at {url}"));
    }
    assert!(!t.exists("src"));
}

fn remotes_that_would_be_options_are_refused(t: &Context) {
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
        t.xp(["sync"]).failure(2).stderr_contains("starts with `-`");
    }
    assert!(!mark.exists() && !t.exists("src"));
}

fn resolving_takes_one_request_a_remote(t: &Context) {
    let remotes: Vec<GitRepository> = (0..5).map(|n| t.git_repo(&format!("r{n}"))).collect();
    let mut services = Vec::new();
    for (n, remote) in remotes.iter().enumerate() {
        remote.commit(&[], "First");
        remote.tag("v1");
        remote.branch("feature");
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
    for arguments in [&[][..], &["--branch", "feature"], &["--branch", "nowhere"]] {
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
    assert!(!t.exists("src"), "nothing is cloned");
}

/// Demands that no file that xp wrote has a text: logs, configurations, reflogs, exports.
#[track_caller]
fn assert_secret_is_nowhere(t: &Context, secret: &str) {
    let mut grep = Command::new("grep");
    grep.args([
        "--recursive",
        "--text",
        "--files-with-matches",
        "--fixed-strings",
    ]);
    grep.args(["--exclude=x-platform.yml", "--", secret]);
    let found = process::run(grep.arg(t.dir()));
    assert_eq!(process::text(&found.stdout), "", "{secret} was written");
}

/// A process that is ended when this is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, is_ready: impl Fn() -> bool) -> Self {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Self(quiet.spawn().expect("a program that bin/test installs"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_ready() {
            assert!(Instant::now() < deadline, "{command:?} does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
