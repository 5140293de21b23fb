//! ssh through the system's OpenSSH, so that keys, agents, `known_hosts`, jump hosts and `~/.ssh/config` work
//! like with git.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::client::git::error::{GitErrorKind, address};
use crate::client::git::{GitClient, GitError};
use crate::client::output_tail::OutputTail;
use crate::model::source::GitUrl;

/// A running ssh process, killed on drop.
pub(in crate::client::git) struct SshProcess {
    child: Child,
    stderr: OutputTail,
}

/// Starts ssh, which runs `git-upload-pack` on the server.
pub(super) fn spawn(
    client: &GitClient,
    url: &GitUrl,
    version2: bool,
) -> Result<(SshProcess, ChildStdout, ChildStdin), GitError> {
    let _runtime = client.shared.runtime.enter();
    let program = SshProgram::of(client);
    let mut command = program.command(url, version2);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| {
            GitError::new(
                GitErrorKind::Local,
                format!("cannot run `{}` for {url}", program.text),
            )
            .because(cause)
            .with_hint("install the OpenSSH client, or use an https URL")
        })?;
    let missing = || {
        GitError::new(
            GitErrorKind::Local,
            format!("cannot open pipes to ssh for {url}"),
        )
    };
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stdin = child.stdin.take().ok_or_else(missing)?;
    let stderr = OutputTail::of(child.stderr.take());
    Ok((SshProcess { child, stderr }, stdout, stdin))
}

impl SshProcess {
    /// Waits for ssh to exit.
    pub(super) async fn wait(&mut self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.child.wait()).await;
    }

    /// Returns the error for an ssh that exited, from its stderr.
    pub(super) async fn explain(&mut self, url: &GitUrl) -> GitError {
        self.wait(Duration::from_secs(2)).await;
        let stderr = self.stderr.wait(Duration::from_millis(500)).await;
        explain(url, &stderr)
    }
}

/// The ssh program that git would run, and the syntax of its options.
struct SshProgram {
    text: String,
    is_shell_line: bool,
    variant: Variant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    OpenSsh,
    Plink,
    Tortoise,
    Simple,
}

impl SshProgram {
    fn of(client: &GitClient) -> Self {
        let environment = &client.shared.environment;
        let configuration = &client.shared.configuration;
        let line = environment
            .ssh_command
            .as_ref()
            .or(configuration.ssh_command.as_ref());
        let (text, is_shell_line) = match (line, &environment.ssh_program) {
            (Some(line), _) => (line.clone(), true),
            (None, Some(program)) => (program.clone(), false),
            (None, None) => ("ssh".to_owned(), false),
        };
        let named = environment
            .ssh_variant
            .as_deref()
            .or(configuration.ssh_variant.as_deref());
        let variant = variant(named, &text, is_shell_line);
        Self {
            text,
            is_shell_line,
            variant,
        }
    }

    fn command(&self, url: &GitUrl, version2: bool) -> Command {
        let mut command = if self.is_shell_line {
            let mut shell = Command::new("sh");
            shell
                .arg("-c")
                .arg(format!("{} \"$@\"", self.text))
                .arg(&self.text);
            shell
        } else {
            Command::new(&self.text)
        };
        command.args(arguments(self.variant, url, version2));
        if version2 {
            command.env("GIT_PROTOCOL", "version=2");
        } else {
            command.env_remove("GIT_PROTOCOL");
        }
        command
    }
}

fn variant(named: Option<&str>, text: &str, is_shell_line: bool) -> Variant {
    let program = if is_shell_line {
        // Variables may precede the program: `SSH_AUTH_SOCK=… ssh -i key`.
        let mut words = text
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']));
        words
            .find(|word| !word.contains('=') && *word != "env" && *word != "exec")
            .unwrap_or("ssh")
    } else {
        text
    };
    let name = Path::new(program)
        .file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let name = match named {
        None | Some("auto") => name,
        Some(named) => named,
    };
    match name.to_ascii_lowercase().as_str() {
        "plink" | "putty" => Variant::Plink,
        "tortoiseplink" => Variant::Tortoise,
        "simple" => Variant::Simple,
        // A script with another name nearly always passes its arguments on to OpenSSH.
        _ => Variant::OpenSsh,
    }
}

fn arguments(variant: Variant, url: &GitUrl, version2: bool) -> Vec<String> {
    let mut arguments = Vec::new();
    if variant == Variant::OpenSsh {
        if version2 {
            arguments.extend(["-o", "SendEnv=GIT_PROTOCOL"].map(str::to_owned));
        }
        // Concurrent connections below progress bars cannot prompt for passphrases; agents can.
        arguments.extend(["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"].map(str::to_owned));
        arguments.extend(["-o", "ServerAliveInterval=20"].map(str::to_owned));
    }
    if variant == Variant::Tortoise {
        arguments.push("-batch".to_owned());
    }
    if let Some(port) = url.port() {
        match variant {
            Variant::OpenSsh => arguments.extend(["-p".to_owned(), port.to_string()]),
            Variant::Plink | Variant::Tortoise => {
                arguments.extend(["-P".to_owned(), port.to_string()])
            }
            Variant::Simple => {}
        }
    }
    if variant == Variant::OpenSsh {
        // The following arguments are never options, even with a leading `-`.
        arguments.push("--".to_owned());
    }
    arguments.push(match url.user() {
        Some(user) => format!("{user}@{}", url.host()),
        None => url.host().to_owned(),
    });
    arguments.push(format!("git-upload-pack {}", quote(repository_path(url))));
    arguments
}

/// Returns the path to pass to the server's shell.
fn repository_path(url: &GitUrl) -> &str {
    let is_url = url.expose().contains("://");
    match url.path().strip_prefix('/') {
        // `ssh://host/~user/x` is a path in a home folder.
        Some(rest) if is_url && rest.starts_with('~') => rest,
        _ => url.path(),
    }
}

/// Quotes like git does, as the restricted shells of git servers expect.
fn quote(text: &str) -> String {
    let mut quoted = String::from("'");
    for character in text.chars() {
        match character {
            '\'' | '!' => {
                quoted.push_str("'\\");
                quoted.push(character);
                quoted.push('\'');
            }
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// Returns the error for the stderr of ssh, which includes that of the server.
fn explain(url: &GitUrl, stderr: &str) -> GitError {
    let lower = stderr.to_ascii_lowercase();
    let contains_any = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let cause = last_lines(stderr);
    let host = url.host();
    let destination = match (url.user(), url.port()) {
        (Some(user), Some(port)) => format!("-p {port} {user}@{host}"),
        (Some(user), None) => format!("{user}@{host}"),
        (None, Some(port)) => format!("-p {port} {host}"),
        (None, None) => host.to_owned(),
    };
    if contains_any(&["remote host identification has changed"]) {
        return GitError::new(
            GitErrorKind::HostKey,
            format!(
                "the ssh host key of {} has changed, for {url}",
                address(url)
            ),
        )
        .because("Host key verification failed.")
        .with_hint(format!(
            "if the server really has a new key, remove the old one with `ssh-keygen -R {}`",
            known_hosts_name(url)
        ));
    }
    if contains_any(&["host key verification failed", "host key is known for"]) {
        let port = url
            .port()
            .map(|port| format!("-p {port} "))
            .unwrap_or_default();
        return GitError::new(
            GitErrorKind::HostKey,
            format!("the ssh host key of {} is unknown, for {url}", address(url)),
        )
        .because(cause)
        .with_hint(format!(
            "run `ssh {destination}` to compare and accept the key; on a CI runner, `ssh-keyscan {port}{host} >> ~/.ssh/known_hosts` accepts it without verification"
        ));
    }
    if contains_any(&[
        "permission denied (",
        "too many authentication failures",
        "no supported authentication methods",
    ]) {
        let user = url
            .user()
            .map(|user| format!(" for the user `{user}`"))
            .unwrap_or_default();
        return GitError::new(
            GitErrorKind::Authentication,
            format!("{} refused the ssh keys{user}: {url}", address(url)),
        )
        .because(cause)
        .with_hint(format!(
            "`ssh -T {destination}` must work without prompting; `ssh-add` loads a key that has a passphrase"
        ));
    }
    // Retry only if the name server itself was unavailable, not if the name does not exist.
    if contains_any(&["could not resolve hostname"]) && !contains_any(&["temporary failure"]) {
        return GitError::unreachable(url).because(cause);
    }
    if contains_any(&[
        "could not resolve hostname",
        "connection timed out",
        "operation timed out",
        "no route to host",
        "network is unreachable",
        "connection refused",
        "connection reset",
        "kex_exchange_identification",
        "connection closed by",
    ]) {
        return GitError::unreachable(url).because(cause).transient();
    }
    if cause.is_empty() {
        return GitError::unreachable(url).because("ssh exited without an error message");
    }
    GitError::from_server(url, &cause)
}

/// Returns the name of a host in `known_hosts`.
fn known_hosts_name(url: &GitUrl) -> String {
    match url.port() {
        Some(port) if port != 22 => format!("'[{}]:{port}'", url.host()),
        _ => url.host().to_owned(),
    }
}

fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Warning: Permanently added"))
        .collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn the_command_line_is_that_of_git() {
        let line = |variant, text: &str| arguments(variant, &url(text), true).join(" ");
        assert_eq!(
            line(Variant::OpenSsh, "ssh://git@h:2222/x/it's.git"),
            "-o SendEnv=GIT_PROTOCOL -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=20 -p 2222 -- \
             git@h git-upload-pack '/x/it'\\''s.git'"
        );
        assert!(line(Variant::OpenSsh, "h:x/y.git").ends_with("-- h git-upload-pack 'x/y.git'"));
        assert!(line(Variant::OpenSsh, "ssh://h/~bob/a%20b").ends_with("'~bob/a b'"));
        assert_eq!(
            line(Variant::Plink, "ssh://h:22/x"),
            "-P 22 h git-upload-pack '/x'"
        );
        assert_eq!(
            line(Variant::Simple, "ssh://h:22/x"),
            "h git-upload-pack '/x'"
        );
    }

    #[test]
    fn variants_are_detected_by_name() {
        assert_eq!(variant(None, "ssh -i key", true), Variant::OpenSsh);
        assert_eq!(
            variant(None, "SSH_AUTH_SOCK=/x /usr/bin/plink -x", true),
            Variant::Plink
        );
        assert_eq!(
            variant(None, "C:/TortoisePlink.exe", false),
            Variant::Tortoise
        );
        assert_eq!(variant(Some("simple"), "ssh", false), Variant::Simple);
        assert_eq!(
            variant(Some("auto"), "/opt/my-ssh", false),
            Variant::OpenSsh
        );
    }

    #[test]
    fn stderr_of_ssh_is_classified() {
        let remote = url("ssh://git@git.example.com:2222/x.git");
        let check = |stderr: &str, kind: GitErrorKind, hint: &str| {
            let error = explain(&remote, stderr);
            assert_eq!(error.kind(), kind, "{stderr}");
            assert!(
                error.hint().unwrap_or("").contains(hint),
                "{:?}",
                error.hint()
            );
            assert!(error.to_string().contains("git.example.com"), "{error}");
        };
        check(
            "Host key verification failed.\r\n",
            GitErrorKind::HostKey,
            "ssh-keyscan -p 2222 git.example.com",
        );
        check(
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            GitErrorKind::HostKey,
            "ssh-keygen -R '[git.example.com]:2222'",
        );
        check(
            "git@h: Permission denied (publickey).",
            GitErrorKind::Authentication,
            "ssh-add",
        );
        check(
            "ssh: connect to host h port 22: Connection refused",
            GitErrorKind::Unreachable,
            "",
        );
        check(
            "ERROR: Repository not found.\nfatal: Could not read",
            GitErrorKind::NotFound,
            "",
        );
        check(
            "fatal: '/x' does not appear to be a git repository",
            GitErrorKind::NotFound,
            "",
        );
        check("", GitErrorKind::Unreachable, "");
        assert!(
            explain(&remote, "Connection closed by 1.2.3.4")
                .transient_failure()
                .is_some()
        );
    }
}
