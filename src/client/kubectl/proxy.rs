//! A running `kubectl proxy`: logs in to a cluster, with all kinds of credentials that kubectl supports, and passes
//! requests on that arrive at a socket only this user can open.
//!
//! One process serves a whole run, and is started again if it ends. It ends with xp, even if xp is killed: a shell in
//! between waits for the end of its standard input, which only xp holds open.

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
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::{Cluster, KubectlError};
use crate::base::error::chain;
use crate::base::redact::SharedRedactor;

/// How long kubectl may take to open the socket. It does not log in before the first request.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is started again during a run.
const MAX_RESTARTS: u32 = 5;

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
    /// Starts it again.
    _supervisor: AbortOnDropHandle<()>,
    /// Why it no longer runs, once it cannot be started again.
    ended: watch::Receiver<Option<String>>,
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
        let folder = settings.folder.to_owned();
        // The socket of a run that was killed.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(not_run(error)),
            _ => {}
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(not_run)?;
        let opened = rustix::fs::open(&folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| not_run(error.into()))?;
        let socket = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()));
        let program = ProxyProgram {
            kubectl: settings.kubectl.to_owned(),
            context: settings.cluster.context.to_owned(),
            kubeconfig: settings.kubeconfig.map(str::to_owned),
            folder: folder.clone(),
            socket: socket.clone(),
            on_line: Arc::clone(&settings.on_line),
            secrets: settings.secrets.clone(),
        };
        let process = program.start().await?;
        let (sender, ended) = watch::channel(None);
        let supervisor = tokio::spawn(async move {
            let why = program.keep_running(process).await;
            sender.send_replace(Some(why));
        });
        Ok(Self {
            _supervisor: AbortOnDropHandle::new(supervisor),
            ended,
            folder,
            _opened: opened,
            socket,
        })
    }

    /// Returns why it no longer runs, if it could not be started again.
    pub fn ended(&self) -> Option<String> {
        self.ended.borrow().clone()
    }
}

impl Drop for KubectlProxy {
    fn drop(&mut self) {
        // The next run removes what is left.
        _ = fs::remove_dir_all(&self.folder);
    }
}

fn not_run(source: io::Error) -> KubectlError {
    KubectlError::NotRun {
        name: "kubectl",
        source,
    }
}

/// The program with its arguments and environment.
struct ProxyProgram {
    kubectl: PathBuf,
    context: String,
    kubeconfig: Option<String>,
    folder: PathBuf,
    socket: PathBuf,
    on_line: Arc<dyn Fn(&str) + Send + Sync>,
    secrets: SharedRedactor,
}

struct ProxyProcess {
    child: Child,
    /// Closing it ends the process.
    _input: Option<ChildStdin>,
}

impl ProxyProgram {
    /// Starts the process again whenever it ends, and returns why that failed.
    async fn keep_running(&self, mut process: ProxyProcess) -> String {
        for _ in 0..MAX_RESTARTS {
            _ = process.child.wait().await;
            (self.on_line)("`kubectl proxy` exited; starting it again");
            process = match self.start().await {
                Ok(process) => process,
                Err(error) => return chain(&error),
            };
        }
        _ = process.child.wait().await;
        format!("`kubectl proxy` exited {} times", MAX_RESTARTS + 1)
    }

    async fn start(&self) -> Result<ProxyProcess, KubectlError> {
        let path = self.folder.join(SOCKET);
        // It would accept no connections, but look as if it did.
        _ = fs::remove_file(&path);
        let mut command = Command::new("sh");
        command
            .args(["-c", ATTACHED, "sh"])
            .arg(&self.kubectl)
            .args(["proxy", "--unix-socket", SOCKET])
            .args(["--context", &self.context])
            .env("LC_ALL", "C")
            .env("LANGUAGE", "C")
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        // Ctrl-C must not end it before the Jobs are removed.
        command.process_group(0);
        let mut child = command.spawn().map_err(not_run)?;
        // Waiting for the child would close it.
        let input = child.stdin.take();
        let errors = self.report_errors(child.stderr.take());
        let start = Instant::now();
        loop {
            let is_open = fs::metadata(&path).is_ok_and(|it| it.file_type().is_socket());
            if is_open && tokio::net::UnixStream::connect(&self.socket).await.is_ok() {
                break;
            }
            let ended = child.try_wait().map_err(not_run)?;
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
        Ok(ProxyProcess {
            child,
            _input: input,
        })
    }

    /// Reports standard error, and returns its first lines.
    fn report_errors(&self, errors: Option<ChildStderr>) -> JoinHandle<Vec<String>> {
        let (tell, secrets) = (Arc::clone(&self.on_line), self.secrets.clone());
        tokio::spawn(async move {
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
        })
    }
}
