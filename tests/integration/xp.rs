//! Runs the `xp` program.

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

/// Timeout of one run.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the output of an exited process may stay open, held by a child process.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// An `xp` command, run by [`Xp::success`], [`Xp::failure`], [`Xp::run`], [`Xp::spawn`] or
/// [`Xp::in_terminal`].
#[must_use = "it must be run"]
pub struct Xp {
    command: Command,
    input: Option<Vec<u8>>,
    timeout: Duration,
    record: PathBuf,
}

impl Xp {
    /// Wraps a command; its output is also written to `<record>.stdout` and `.stderr`.
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

    /// Sets an environment variable. Only a few are set by default.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it in another folder than the manifest's.
    pub fn dir(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Sets its standard input, which is empty by default.
    pub fn stdin(mut self, text: &str) -> Self {
        self.input = Some(text.as_bytes().to_owned());
        self
    }

    /// Sets the timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it and asserts exit code 0.
    #[track_caller]
    pub fn success(self) -> Output {
        self.failure(0)
    }

    /// Runs it and asserts an exit code.
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

    /// Runs it, and accepts any exit code.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(mut self) -> RunningXp {
        // In its own process group, so that its children can be killed as well.
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
            // xp need not read all of it.
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

    /// Starts it in a terminal of this size, with colors.
    pub fn in_terminal(mut self, columns: u16, rows: u16) -> Terminal {
        self.command
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color");
        Terminal::start(&self.command, columns, rows, self.timeout)
    }
}

/// A running `xp`; killed on drop.
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
    /// Returns its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has printed a text, on either stream.
    #[track_caller]
    pub fn wait_for_output(&mut self, text: &str) {
        let deadline = self.started + self.timeout;
        while !self.printed.contains(text) {
            let ended = self
                .child
                .try_wait()
                .expect("a child can be waited for")
                .is_some();
            // Its last output may arrive after it exits.
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

    /// Returns its output so far.
    pub fn printed(&self) -> String {
        let text = self.printed.text.lock().expect("not poisoned");
        format!(
            "{}{}",
            process::text(&text.stdout),
            process::text(&text.stderr)
        )
    }

    /// Sends a signal to it, but not to its children.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("xp still runs");
    }

    /// Sends a signal to it, but not to its children, if it is still running.
    pub fn signal_if_running(&self, signal: Signal) {
        // Its process ID is not reused before we wait for it.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Sends a signal to its process group, like a terminal.
    pub fn signal_group(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Kills it with SIGKILL, without its children, and returns its output.
    pub fn kill(mut self) -> Output {
        self.child.kill().expect("xp still runs");
        let status = self.child.wait().expect("a child can be waited for");
        self.output(status)
    }

    /// Waits for it to exit.
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
        // The record is for debugging failed tests.
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

/// Returns the peak memory of a process in bytes; 0 if it has exited.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
