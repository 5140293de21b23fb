//! A server process, started by `bin/world`.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The script that runs the servers.
pub const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bin/world");

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running server; stopped on drop.
pub struct Server {
    directory: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// Runs `bin/world <kind> <directory> <arguments>` and waits until `is_ready`.
    pub fn start(
        starter: &Starter,
        kind: &str,
        directory: &Path,
        arguments: &[String],
        is_ready: impl Fn() -> bool,
    ) -> Result<Self, String> {
        let describe = |problem: String| format!("the test world has no {kind}: {problem}");
        fs::create_dir_all(directory).map_err(|error| describe(error.to_string()))?;
        let log_path = directory.join("log");
        let log = File::create(&log_path).map_err(|error| describe(error.to_string()))?;

        let mut command = Command::new(PROGRAM);
        command.arg(kind).arg(directory).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // In its own process group, because Ctrl-C would stop it before the tests.
        command.process_group(0);
        let child = starter
            .spawn(command)
            .map_err(|error| describe(error.to_string()))?;
        let server = Self {
            directory: directory.to_owned(),
            child: Mutex::new(Some(child)),
        };

        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let ready = is_ready();
            // Check last that it still runs: another process may have taken the port.
            let problem = match server.has_exited() {
                true => "it did not start",
                false if ready => return Ok(server),
                false if Instant::now() > deadline => "it did not start in time",
                false => {
                    thread::sleep(POLL_INTERVAL);
                    continue;
                }
            };
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            return Err(describe(format!(
                "{problem} (bin/test installs what it needs)\n{log}"
            )));
        }
    }

    /// Starts a server on a free port, which is passed as the first argument. If the port is taken in the meantime,
    /// another one is tried.
    pub fn start_on_port(
        starter: &Starter,
        kind: &str,
        directory: &Path,
        arguments: &[String],
    ) -> Result<(Self, u16), String> {
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let port = closed_port();
            let arguments = [&[port.to_string()], arguments].concat();
            let is_ready = || TcpStream::connect(("127.0.0.1", port)).is_ok();
            match Self::start(starter, kind, directory, &arguments, is_ready) {
                Ok(server) => return Ok((server, port)),
                Err(message) if attempts == 0 => return Err(message),
                Err(_) => {}
            }
        }
    }

    /// Stops the server and waits for it to exit. Idempotent.
    pub fn stop(&self) {
        let Some(mut child) = self.child.lock().expect("not poisoned").take() else {
            return;
        };
        // An error means that it has already exited.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                let _ = Command::new(PROGRAM)
                    .arg("clean")
                    .arg(&self.directory)
                    .status();
                break;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits for the server to exit after it was stopped by something else.
    pub fn wait(&self) {
        if let Some(mut child) = self.child.lock().expect("not poisoned").take() {
            let _ = child.wait();
        }
    }

    /// Kills the server, like a crash.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().expect("not poisoned").take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn has_exited(&self) -> bool {
        let mut child = self.child.lock().expect("not poisoned");
        child
            .as_mut()
            .is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns a local port on which nothing listens.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// Starts processes from one thread that lives as long as the test run. The kernel kills a server
/// when the *thread* that started it exits, and test threads are short-lived.
pub struct Starter {
    requests: mpsc::Sender<(Command, mpsc::Sender<std::io::Result<Child>>)>,
}

impl Starter {
    /// Starts the thread.
    pub fn new() -> Self {
        let (requests, incoming) = mpsc::channel();
        thread::spawn(move || {
            for (mut command, answer) in incoming {
                let command: &mut Command = &mut command;
                let answer: mpsc::Sender<_> = answer;
                let _ = answer.send(command.spawn());
            }
        });
        Self { requests }
    }

    fn spawn(&self, command: Command) -> std::io::Result<Child> {
        let (answer, result) = mpsc::channel();
        self.requests
            .send((command, answer))
            .expect("the thread lives as long as this");
        result.recv().expect("each request is answered")
    }
}
