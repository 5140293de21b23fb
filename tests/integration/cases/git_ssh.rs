//! Git over the system's ssh: its configuration, agent and known hosts.

use std::fs;
use std::process::Command;

use crate::case::Case;
use crate::context::Context;
use crate::platform::Service;
use crate::process::{self, Background};
use crate::repository::write_file;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    ssh_uses_the_users_configuration,
    ssh_uses_a_key_from_the_agent,
    ssh_uses_a_key_from_git_ssh_command,
    an_unknown_host_key_is_rejected_with_a_hint,
];

/// Writes an ssh configuration without the key.
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

/// Returns a service with a remote on the ssh server, named `git.example.com`.
fn ssh_service(t: &Context) -> (Service, String) {
    let remote = t.git_repo("zbackend");
    let first = remote.commit(&[], "First");
    let url = format!("git.example.com:{}", remote.path().display());
    (Service::new("zbackend", url), first)
}

/// Returns `xp sync` with that ssh configuration.
fn sync_with_ssh(t: &Context, configuration: &str) -> Xp {
    let path = t.home().join("ssh_config");
    fs::write(&path, configuration).expect("a file of the home folder");
    t.xp(["sync"])
        .env("GIT_SSH_COMMAND", format!("ssh -F '{}'", path.display()))
}

fn ssh_uses_the_users_configuration(t: &Context) {
    let (service, first) = ssh_service(t);
    t.platform(&[service]);
    let key = format!("  IdentityFile {}\n", t.sshd().client_key().display());
    let configuration = ssh_configuration(t, &key);
    write_file(&t.home().join(".ssh/config"), &configuration);
    // ssh gets the home folder from the system and ignores HOME, so xp runs where the system reports the
    // test's folder as the user's home.
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

fn ssh_uses_a_key_from_the_agent(t: &Context) {
    let (service, first) = ssh_service(t);
    t.platform(&[service]);
    let configuration = ssh_configuration(t, "  IdentityFile none\n");
    sync_with_ssh(t, &configuration)
        .failure(3)
        .stderr_contains("git.example.com refused the ssh keys: git.example.com:")
        .stderr_contains("`ssh -T git.example.com` must work without prompting");

    let socket = t.home().join("agent");
    let _agent = Background::start(
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

fn ssh_uses_a_key_from_git_ssh_command(t: &Context) {
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

    // git's configuration has lower precedence.
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy");
    t.git("", &["config", "--global", "core.sshCommand", &command]);
    t.xp(["sync"]).env_remove("GIT_SSH_COMMAND").success();
    assert_eq!(t.git("src/zbackend", &["rev-parse", "HEAD"]), first);
}

fn an_unknown_host_key_is_rejected_with_a_hint(t: &Context) {
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
        .stderr_contains(&format!("the ssh host key of 127.0.0.1:{port} is unknown"))
        .stderr_contains(&format!(
            "ssh-keyscan -p {port} 127.0.0.1 >> ~/.ssh/known_hosts"
        ));
    assert!(!known.exists() && !t.exists("src"), "nothing was accepted");

    // The host is known with another key.
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
        .stderr_contains("has changed, for ")
        .stderr_contains(&format!("ssh-keygen -R '[127.0.0.1]:{port}'"));
}
