//! Connects to an engine over ssh: like docker, runs `docker system dial-stdio` on the engine's machine with the
//! system's OpenSSH, once per connection.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, oneshot};

use crate::base::shell::quoted;
use crate::client::output_tail::OutputTail;

/// How long to wait for the error message of ssh after its output has ended.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Limits concurrent logins: a server drops some if there are ten.
static LOGINS: Semaphore = Semaphore::const_new(6);

/// How long a login may block others. The end of a login is only noticed if data arrives, which an idle connection
/// never does.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The user and host to log in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHost {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The engine's socket on the host, if it is not the default one.
    socket: Option<String>,
}

impl SshHost {
    /// Parses `[user@]host[:port][/path]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (authority, path) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, ""),
        };
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, authority),
        };
        // Reject passwords: an address is not a secret.
        if user
            .as_ref()
            .is_some_and(|user| user.is_empty() || user.contains(':'))
        {
            return None;
        }
        let after_name = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[after_name..].rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_name + colon);
                (host, Some(port[1..].parse().ok()?))
            }
            None => (authority, None),
        };
        let host = host.trim_matches(['[', ']']);
        (!host.is_empty() && !path.contains(['?', '#'])).then(|| Self {
            user,
            host: host.to_owned(),
            port,
            socket: (!matches!(path, "" | "/")).then(|| path.to_owned()),
        })
    }

    /// Returns the engine's socket on the host, if it is not the default one.
    pub fn socket(&self) -> Option<&str> {
        self.socket.as_deref()
    }

    fn arguments(&self) -> Vec<String> {
        // Concurrent connections next to progress bars cannot prompt for passphrases; agents can.
        let mut arguments = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(["-o", "ServerAliveInterval=20", "-T"].map(str::to_owned));
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        let host = match &self.socket {
            Some(path) => format!(" --host {}", quoted(&format!("unix://{path}"))),
            None => String::new(),
        };
        let remote = format!("docker{host} system dial-stdio");
        // After `--`, a host that starts with a dash is not an option.
        arguments.extend(["--".to_owned(), self.host.clone(), remote]);
        arguments
    }

    /// Starts ssh as soon as few enough logins are in progress.
    pub async fn connect(&self) -> io::Result<SshStream> {
        let permit = LOGINS.acquire().await.map_err(io::Error::other)?;
        let mut stream = self.spawn()?;
        let (logged_in, login) = oneshot::channel::<()>();
        stream.logged_in = Some(logged_in);
        tokio::spawn(async move {
            _ = tokio::time::timeout(LOGIN_TIMEOUT, login).await;
            drop(permit);
        });
        Ok(stream)
    }

    /// Starts ssh. Only the first byte that arrives shows that it has reached the engine.
    fn spawn(&self) -> io::Result<SshStream> {
        let mut child = Command::new("ssh")
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Keep ssh alive on Ctrl-C: xp still needs the engine to clean up.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let why = format!("failed to run `ssh`: {error}");
                io::Error::new(error.kind(), why)
            })?;
        let missing = || io::Error::other("cannot open pipes to ssh");
        let mut stderr = OutputTail::of(child.stderr.take());
        Ok(SshStream {
            output: child.stdout.take().ok_or_else(missing)?,
            input: child.stdin.take(),
            exit_message: Some(Box::pin(async move {
                exit_message(&stderr.wait(SHUTDOWN_GRACE).await)
            })),
            logged_in: None,
            _child: child,
        })
    }
}

/// A connection through a running ssh, which is killed when it is dropped.
pub struct SshStream {
    output: ChildStdout,
    /// `None` after this direction was closed.
    input: Option<ChildStdin>,
    /// Resolves to the reason why ssh exited; `None` after the first byte from the engine.
    exit_message: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    /// Dropped after the first byte from the engine, or at the end of the connection, so that the next login may start.
    logged_in: Option<oneshot::Sender<()>>,
    _child: Child,
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.exit_message = None;
            self.logged_in = None;
        } else if let Some(exit_message) = &mut self.exit_message {
            let message = ready!(exit_message.as_mut().poll(cx));
            self.exit_message = None;
            return Poll::Ready(Err(io::Error::other(message)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(input) = &mut self.input else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match ready!(Pin::new(input).poll_write(cx, bytes)) {
            // The read side reports the error message of ssh, which is more informative than "broken pipe".
            Err(_) if self.exit_message.is_some() => Poll::Ready(Ok(bytes.len())),
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Closing the pipe signals the end of the data.
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

/// Returns the last lines of standard error, without warnings.
fn exit_message(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Warning: Permanently added"))
        .collect();
    if lines.is_empty() {
        "ssh exited without an error message".to_owned()
    } else {
        lines[lines.len().saturating_sub(3)..].join("; ")
    }
}

/// Returns a hint for an error message of ssh, or of docker on the host.
pub fn hint(address: &str, message: &str) -> String {
    let parsed = address.strip_prefix("ssh://").and_then(SshHost::parse);
    let Some(host) = parsed else {
        return "use the form ssh://user@host".to_owned();
    };
    let lower = message.to_lowercase();
    let contains = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let port = host
        .port
        .map(|port| format!("-p {port} "))
        .unwrap_or_default();
    let user = host
        .user
        .as_ref()
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    let login = format!("ssh {port}{user}{}", host.host);
    if contains(&["failed to run `ssh`"]) {
        return "install the OpenSSH client".to_owned();
    }
    if contains(&["remote host identification has changed"]) {
        let name = match host.port {
            Some(port) => format!("'[{}]:{port}'", host.host),
            None => host.host.clone(),
        };
        return format!(
            "if the machine's key was changed intentionally, remove the old one with `ssh-keygen -R {name}`"
        );
    }
    if contains(&["host key verification failed", "host key is known for"]) {
        return format!(
            "run `{login}` to compare and accept the key; on a CI runner, `ssh-keyscan {port}{} >> ~/.ssh/known_hosts` accepts it unverified",
            host.host
        );
    }
    if contains(&["permission denied ("]) || contains(&["too many authentication failures"]) {
        return format!(
            "`{login} true` must work without a prompt: load a key that has a passphrase with `ssh-add`"
        );
    }
    if contains(&[
        "docker: command not found",
        "docker: not found",
        "docker: no such file",
        "unknown command: docker",
    ]) {
        return format!(
            "install the docker client on {}, on the PATH of its ssh server",
            host.host
        );
    }
    if contains(&[
        "permission denied while trying to connect",
        "dial unix",
        "connect: permission denied",
    ]) && contains(&["permission denied"])
    {
        return format!("add the user of `{login}` to the group of the engine's socket there");
    }
    if contains(&[
        "cannot connect to the docker daemon",
        "no such file or directory",
        "is the docker daemon running",
    ]) {
        return format!(
            "start the engine on {}, or specify the path of its socket: ssh://{user}{}/path/docker.sock",
            host.host, host.host
        );
    }
    format!("`{login} docker version` must work without a prompt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_the_same_as_docker_s() {
        let line = |text: &str| SshHost::parse(text).unwrap().arguments().join(" ");
        assert_eq!(
            line("bob@h:2222"),
            "-o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=20 -T -l bob -p 2222 -- h docker system dial-stdio"
        );
        assert!(
            line("h/run/it's.sock")
                .ends_with("-- h docker --host 'unix:///run/it'\\''s.sock' system dial-stdio")
        );
        assert!(line("[::1]:22/").ends_with("-p 22 -- ::1 docker system dial-stdio"));
        for invalid in ["", "bob:secret@h", "@h", "h:x", "h/x?y"] {
            assert_eq!(SshHost::parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn error_messages_have_hints() {
        let check = |message: &str, expected: &str| {
            let hint = hint("ssh://bob@h:2222", message);
            assert!(hint.contains(expected), "{message}: {hint}");
        };
        check("Host key verification failed.", "ssh-keyscan -p 2222 h");
        check("bob@h: Permission denied (publickey).", "ssh-add");
        check(
            "bash: line 1: docker: command not found",
            "install the docker client on h",
        );
        check(
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: dial unix",
            "group of the engine's socket",
        );
        check(
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            "start the engine on h",
        );
        check(
            "ssh exited without an error message",
            "`ssh -p 2222 bob@h docker version`",
        );
    }
}
