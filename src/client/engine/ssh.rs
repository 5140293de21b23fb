//! An engine behind ssh: the system's OpenSSH runs `docker system dial-stdio` on the engine's machine, as
//! docker itself does it, once for each connection.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, oneshot};

use crate::client::last_words::LastWords;
use crate::shell::quoted;

/// How long ssh may take to say its last words, once its output has ended.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many logins are under way at once: a server drops some of them where there are ten.
static LOGINS: Semaphore = Semaphore::const_new(6);

/// How long a login may keep others waiting. A connection that nothing is asked on says nothing.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to log in as, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SshHost {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// The engine's socket over there, where it is not the usual one.
    socket: Option<String>,
}

impl SshHost {
    /// Reads `[user@]host[:port][/path]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (place, path) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, ""),
        };
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, place),
        };
        // A password in the address would be one that everybody can read.
        if user
            .as_ref()
            .is_some_and(|user| user.is_empty() || user.contains(':'))
        {
            return None;
        }
        let after_name = place.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match place[after_name..].rfind(':') {
            Some(colon) => {
                let (host, port) = place.split_at(after_name + colon);
                (host, Some(port[1..].parse().ok()?))
            }
            None => (place, None),
        };
        let host = host.trim_matches(['[', ']']);
        (!host.is_empty() && !path.contains(['?', '#'])).then(|| Self {
            user,
            host: host.to_owned(),
            port,
            socket: (!matches!(path, "" | "/")).then(|| path.to_owned()),
        })
    }

    /// Returns the engine's socket over there, where it is not the usual one.
    pub(super) fn socket(&self) -> Option<&str> {
        self.socket.as_deref()
    }

    fn arguments(&self) -> Vec<String> {
        // Many connections beside progress bars cannot ask for passphrases; agents can.
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
        // What follows is never an option, whatever it starts with.
        arguments.extend(["--".to_owned(), self.host.clone(), remote]);
        arguments
    }

    /// Starts ssh, once few enough others log in.
    pub(super) async fn connect(&self) -> io::Result<SshStream> {
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

    /// Starts ssh. Whether it reaches the engine is known from the first byte that comes.
    fn spawn(&self) -> io::Result<SshStream> {
        let mut child = Command::new("ssh")
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is xp's, which has work left to do with the engine.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                let why = format!("`ssh` cannot be run: {error}");
                io::Error::new(error.kind(), why)
            })?;
        let missing = || io::Error::other("ssh has no pipes");
        let mut words = LastWords::of(child.stderr.take());
        Ok(SshStream {
            output: child.stdout.take().ok_or_else(missing)?,
            input: child.stdin.take(),
            farewell: Some(Box::pin(
                async move { last_words(&words.wait(FAREWELL).await) },
            )),
            logged_in: None,
            _child: child,
        })
    }
}

/// A connection through a running ssh, which is killed when it is dropped.
pub(super) struct SshStream {
    output: ChildStdout,
    /// None once the connection was closed in this direction.
    input: Option<ChildStdin>,
    /// Says why ssh ended; none as soon as the engine has said something.
    farewell: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    /// Dropped once the engine has said something, or the connection ends: the next one may log in then.
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
            self.farewell = None;
            self.logged_in = None;
        } else if let Some(farewell) = &mut self.farewell {
            let words = ready!(farewell.as_mut().poll(cx));
            self.farewell = None;
            return Poll::Ready(Err(io::Error::other(words)));
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
            // Its last words, which are read, tell more than that it is gone.
            Err(_) if self.farewell.is_some() => Poll::Ready(Ok(bytes.len())),
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
        // Closing the pipe is what tells the other end.
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Warning: Permanently added"))
        .collect();
    match lines.is_empty() {
        true => "ssh ended without a word".to_owned(),
        false => lines[lines.len().saturating_sub(3)..].join("; "),
    }
}

/// Returns what to do about the last words of ssh, or of docker behind it.
pub(super) fn hint(address: &str, words: &str) -> String {
    let parsed = address.strip_prefix("ssh://").and_then(SshHost::parse);
    let Some(host) = parsed else {
        return "write it as ssh://user@host".to_owned();
    };
    let lower = words.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
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
    if says(&["`ssh` cannot be run"]) {
        return "install OpenSSH's client".to_owned();
    }
    if says(&["remote host identification has changed"]) {
        let name = match host.port {
            Some(port) => format!("'[{}]:{port}'", host.host),
            None => host.host.clone(),
        };
        return format!(
            "if that machine really has a new key, remove the old one with `ssh-keygen -R {name}`"
        );
    }
    if says(&["host key verification failed", "host key is known for"]) {
        return format!(
            "`{login}` shows the key to compare and accept; on a runner, `ssh-keyscan {port}{} >> ~/.ssh/known_hosts` trusts it unseen",
            host.host
        );
    }
    if says(&["permission denied ("]) || says(&["too many authentication failures"]) {
        return format!(
            "`{login} true` must work without a question: `ssh-add` loads a key that has a passphrase"
        );
    }
    if says(&[
        "docker: command not found",
        "docker: not found",
        "docker: no such file",
        "unknown command: docker",
    ]) {
        return format!(
            "install docker's client on {}, whose ssh server must find it on its PATH",
            host.host
        );
    }
    if says(&[
        "permission denied while trying to connect",
        "dial unix",
        "connect: permission denied",
    ]) && says(&["permission denied"])
    {
        return format!(
            "the user of `{login}` may not use the engine there: add it to the group of the engine's socket"
        );
    }
    if says(&[
        "cannot connect to the docker daemon",
        "no such file or directory",
        "is the docker daemon running",
    ]) {
        return format!(
            "start the engine on {}, or name its socket: ssh://{user}{}/path/docker.sock",
            host.host, host.host
        );
    }
    format!("`{login} docker version` must work without a question")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_what_docker_would_run() {
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
        for wrong in ["", "bob:secret@h", "@h", "h:x", "h/x?y"] {
            assert_eq!(SshHost::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn last_words_have_an_answer() {
        let check = |words: &str, expected: &str| {
            let hint = hint("ssh://bob@h:2222", words);
            assert!(hint.contains(expected), "{words}: {hint}");
        };
        check("Host key verification failed.", "ssh-keyscan -p 2222 h");
        check("bob@h: Permission denied (publickey).", "ssh-add");
        check(
            "bash: line 1: docker: command not found",
            "install docker's client on h",
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
            "ssh ended without a word",
            "`ssh -p 2222 bob@h docker version`",
        );
    }
}
