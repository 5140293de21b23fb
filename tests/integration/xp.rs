//! Running the `xp` program as its users do.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::output::Output;
use crate::printed::Printed;
use crate::process;
use crate::terminal::Terminal;

/// How long one run may take before it is ended and the test fails.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a process that has ended may leave its output open: until then a child of it lives.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// An `xp` command to be run, by [`Xp::success`], [`Xp::failure`], [`Xp::run`], [`Xp::spawn`] or
/// [`Xp::in_terminal`].
#[must_use = "it must be run"]
pub struct Xp {
    command: Command,
    input: Option<Vec<u8>>,
    timeout: Duration,
    record: PathBuf,
}

impl Xp {
    /// Wraps a command; what it prints is also written to `<record>.stdout` and `.stderr`.
    pub fn new(command: Command, record: PathBuf) -> Self {
        Self {
            command,
            input: None,
            timeout: DEFAULT_TIMEOUT,
            record,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable. Hardly any is set by default.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it in another folder than that of the manifest.
    pub fn dir(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Gives it a standard input other than an empty one.
    pub fn stdin(mut self, text: &str) -> Self {
        self.input = Some(text.as_bytes().to_owned());
        self
    }

    /// Sets the time after which it is ended and the test fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end, which must be exit code 0.
    #[track_caller]
    pub fn success(self) -> Output {
        self.failure(0)
    }

    /// Runs it to its end, which must be this exit code.
    #[track_caller]
    pub fn failure(self, code: i32) -> Output {
        let output = self.run();
        assert_eq!(
            output.status.code(),
            Some(code),
            "the exit code of {output}"
        );
        output
    }

    /// Runs it to its end, whatever that is.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(mut self) -> RunningXp {
        // A group of its own, so that what it started can be ended with it.
        self.command.process_group(0);
        let input = if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        self.command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = self.command.spawn().expect("xp can be started");
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), self.input) {
            // Whether xp reads it all is its own business.
            thread::spawn(move || stdin.write_all(&text));
        }
        let printed = Arc::new(Printed::default());
        printed.collect(child.stdout.take().expect("a pipe"), |text| {
            &mut text.stdout
        });
        printed.collect(child.stderr.take().expect("a pipe"), |text| {
            &mut text.stderr
        });
        let command = process::display(&self.command);
        RunningXp {
            command,
            child,
            printed,
            started,
            timeout: self.timeout,
            record: self.record,
            peak_memory: 0,
        }
    }

    /// Starts it in a terminal of that size, with colours.
    pub fn in_terminal(mut self, columns: u16, rows: u16) -> Terminal {
        self.command
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color");
        Terminal::start(&self.command, columns, rows, self.timeout)
    }
}

/// An `xp` that may still run. It is ended when this is dropped.
pub struct RunningXp {
    command: String,
    child: Child,
    printed: Arc<Printed>,
    started: Instant,
    timeout: Duration,
    record: PathBuf,
    peak_memory: u64,
}

impl RunningXp {
    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has printed that text, on either stream.
    #[track_caller]
    pub fn wait_for_output(&mut self, text: &str) {
        let deadline = self.started + self.timeout;
        while !self.printed.contains(text) {
            let ended = self
                .child
                .try_wait()
                .expect("a child can be waited for")
                .is_some();
            // What it printed last may arrive after its end.
            if (ended && self.printed.is_complete() && !self.printed.contains(text))
                || Instant::now() > deadline
            {
                self.kill_group();
                let output = self.output(ExitStatus::default());
                panic!("{text:?} was not printed by {output}");
            }
            self.printed.wait_for_change();
        }
    }

    /// Returns what it has printed so far.
    pub fn printed(&self) -> String {
        let text = self.printed.text.lock().expect("not poisoned");
        format!(
            "{}{}",
            process::text(&text.stdout),
            process::text(&text.stderr)
        )
    }

    /// Sends a signal to it alone, not to what it started.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("xp still runs");
    }

    /// Sends a signal to it alone, where it has not ended yet.
    pub fn signal_if_running(&self, signal: Signal) {
        // Its number is not given to another process while this has not waited for it.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Sends a signal to it and to what it started, as a terminal does.
    pub fn signal_group(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Ends it by SIGKILL, alone, and returns what it printed. What it started is left as it is.
    pub fn kill(mut self) -> Output {
        self.child.kill().expect("xp still runs");
        let status = self.child.wait().expect("a child can be waited for");
        self.output(status)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let deadline = self.started + self.timeout;
        let status = loop {
            self.peak_memory = self.peak_memory.max(peak_memory(self.pid()));
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                self.kill_group();
                let output = self.output(ExitStatus::default());
                panic!("not ended after {:?}: {output}", self.timeout);
            }
            thread::sleep(POLL_INTERVAL);
        };
        let deadline = Instant::now() + OUTPUT_TIMEOUT;
        while !self.printed.is_complete() {
            if Instant::now() > deadline {
                self.kill_group();
                panic!("a process of it still runs after {}", self.output(status));
            }
            self.printed.wait_for_change();
        }
        self.output(status)
    }

    fn output(&self, status: ExitStatus) -> Output {
        let text = self.printed.text.lock().expect("not poisoned");
        let output = Output {
            command: self.command.clone(),
            status,
            stdout: process::text(&text.stdout),
            stderr: process::text(&text.stderr),
            elapsed: self.started.elapsed(),
            peak_memory: self.peak_memory,
        };
        // The record is for a person who looks at a failed test's folder.
        let _ = fs::write(self.record.with_extension("stdout"), &text.stdout);
        let _ = fs::write(self.record.with_extension("stderr"), &text.stderr);
        let _ = fs::write(self.record.with_extension("command"), &self.command);
        output
    }

    fn kill_group(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for RunningXp {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill_group();
        }
    }
}

/// Returns the most memory, in bytes, that a process had at any time; 0 if it has ended.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
