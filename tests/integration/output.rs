//! Exit status and output of a run, with assertions.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Exit status and output of a run.
pub struct Output {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
    /// Peak memory in bytes.
    pub peak_memory: u64,
}

impl Output {
    /// Asserts that a text is on standard output.
    #[track_caller]
    pub fn stdout_contains(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "{text:?} is not in the standard output of {self}"
        );
        self
    }

    /// Asserts that a text is on standard error.
    #[track_caller]
    pub fn stderr_contains(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{text:?} is not in the standard error of {self}"
        );
        self
    }

    /// Returns the line of a service in the final table.
    #[track_caller]
    pub fn row(&self, service: &str) -> &str {
        let mut rows = self.stdout.lines();
        rows.find(|row| row.split_whitespace().next() == Some(service))
            .unwrap_or_else(|| panic!("{service} is not in the table of {self}"))
    }

    /// Asserts that a text, such as a password, is on neither stream.
    #[track_caller]
    pub fn does_not_contain(self, text: &str) -> Self {
        let printed = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(!printed, "{text:?} is in the output of {self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
            elapsed,
            ..
        } = self;
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        writeln!(
            formatter,
            "`{command}` ({end}, {:.1} s)",
            elapsed.as_secs_f64()
        )?;
        writeln!(formatter, "--- standard output\n{}", stdout.trim_end())?;
        writeln!(formatter, "--- standard error\n{}", stderr.trim_end())?;
        write!(formatter, "---")
    }
}
