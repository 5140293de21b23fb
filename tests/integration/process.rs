//! Running the command-line tools that the harness relies on.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Returns a command with an environment of only `PATH`.
pub fn in_clean_environment(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs a command, asserts success, and returns its standard output without the final newline.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{} failed: {}\n{}{}",
        display(command),
        output.status,
        text(&output.stdout),
        text(&output.stderr),
    );
    text(&output.stdout).trim_end_matches('\n').to_owned()
}

/// Runs a command that may fail.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; bin/test installs it", display(command)))
}

/// Runs a command with the given standard input and asserts success.
#[track_caller]
pub fn succeed_with_input(command: &mut Command, input: &[u8]) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; bin/test installs it", display(command)));
    // The command may exit without reading everything; its exit code is checked.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{} failed: {status}", display(command));
}

/// Runs a command that may fail, with the given standard input.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; bin/test installs it", display(command)));
    // The command may exit without reading everything; its exit code is checked.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("a child can be waited for")
}

/// Returns the command line, roughly quoted.
pub fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Converts output to text, lossily.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that is killed on drop.
pub struct Background(Child);

impl Background {
    /// Starts it without output and waits until it is ready.
    pub fn start(command: &mut Command, is_ready: impl Fn() -> bool) -> Self {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Self(quiet.spawn().expect("a program that bin/test installs"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_ready() {
            assert!(Instant::now() < deadline, "{command:?} does not start");
            thread::sleep(Duration::from_millis(10));
        }
        started
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
