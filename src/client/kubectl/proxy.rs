//! A running `kubectl proxy`: logs in to a cluster, with all kinds of credentials that kubectl supports, and passes
//! requests on that arrive at a socket only this user can open.
//!
//! One process serves a whole run. It ends with xp, even if xp is killed: a shell in between waits for the end of its
//! standard input, which only xp holds open.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Cluster, KubectlError};
use crate::base::redact::SharedRedactor;

/// How long kubectl may take to open the socket. It does not log in before the first request.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The name of the socket.
const SOCKET: &str = "socket";

/// Starts a program that ends with standard input.
const ATTACHED: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null & program=$!
( read -r _ <&3; kill "$program" 2>/dev/null ) & reader=$!
wait "$program"; code=$?
kill "$reader" 2>/dev/null
exit "$code"
"#;

/// A running `kubectl proxy`.
pub(super) struct KubectlProxy {
    /// The process; its standard input ends it.
    _child: Child,
    /// The folder of the socket.
    folder: PathBuf,
    /// Keeps the folder open: its path may be too long for a socket.
    _opened: OwnedFd,
    /// The path of the socket.
    pub socket: PathBuf,
}

/// How to start it.
pub struct ProxySettings<'a> {
    /// The program.
    pub kubectl: &'a Path,
    /// The cluster; requests for other namespaces are possible, but not made.
    pub cluster: Cluster<'a>,
    /// The absolute paths of kubeconfig files; if `None`, those of the caller's environment.
    pub kubeconfig: Option<&'a str>,
    /// A folder for the socket, which is created.
    pub folder: &'a Path,
    /// Receives standard error, such as a prompt to log in.
    pub on_line: Arc<dyn Fn(&str) + Send + Sync>,
    /// The secrets that are removed from standard error.
    pub secrets: SharedRedactor,
}

impl KubectlProxy {
    /// Starts the program, and waits until it accepts connections.
    pub async fn start(settings: &ProxySettings<'_>) -> Result<Self, KubectlError> {
        let failed = |source: io::Error| KubectlError::NotRun {
            name: "kubectl",
            source,
        };
        let folder = settings.folder.to_owned();
        // The socket of a run that was killed.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed)?;
        let opened = rustix::fs::open(&folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        let socket = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()));
        let mut command = Command::new("sh");
        command
            .args(["-c", ATTACHED, "sh"])
            .arg(settings.kubectl)
            .args(["proxy", "--unix-socket", SOCKET])
            .args(["--context", settings.cluster.context])
            .env("LC_ALL", "C")
            .env("LANGUAGE", "C")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(kubeconfig) = settings.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        // Ctrl-C must not end it before the Jobs are removed.
        command.process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let errors = child.stderr.take();
        let (tell, secrets) = (Arc::clone(&settings.on_line), settings.secrets.clone());
        let errors = tokio::spawn(async move {
            let mut lines = Vec::new();
            let Some(errors) = errors else { return lines };
            let mut errors = BufReader::new(errors).lines();
            while let Ok(Some(line)) = errors.next_line().await {
                let line = secrets.text(&line);
                // Failed requests are reported by their responses.
                if !line.contains("Error while proxying request")
                    && !line.contains("proxy_server.go")
                {
                    tell(&line);
                }
                if lines.len() < 20 {
                    lines.push(line);
                }
            }
            lines
        });
        let start = Instant::now();
        let path = folder.join(SOCKET);
        loop {
            let is_open = fs::metadata(&path).is_ok_and(|it| it.file_type().is_socket());
            if is_open && tokio::net::UnixStream::connect(&socket).await.is_ok() {
                break;
            }
            let ended = child.try_wait().map_err(failed)?;
            if ended.is_some() || start.elapsed() > START_TIMEOUT {
                let mut lines = match ended {
                    Some(_) => errors.await.unwrap_or_default(),
                    None => Vec::new(),
                };
                if lines.is_empty() {
                    lines.push("no response".to_owned());
                }
                return Err(KubectlError::Failed {
                    action: "run `kubectl proxy`".to_owned(),
                    lines: super::stderr::cleaned(&lines.join("\n")),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            _child: child,
            folder,
            _opened: opened,
            socket,
        })
    }
}

impl Drop for KubectlProxy {
    fn drop(&mut self) {
        // The next run removes what is left.
        _ = fs::remove_dir_all(&self.folder);
    }
}
