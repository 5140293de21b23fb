//! Runs `docker compose`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::ComposeError;

/// How long compose may take to stop if it is cancelled.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to keep reading after it exited: a child may have inherited its outputs.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// The number of lines of standard error to keep.
const MAX_LINES: usize = 20_000;

/// The number of lines in an error.
const MAX_SHOWN: usize = 12;

/// A line of its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComposeLine<'l> {
    /// Progress, such as `Container web-1  Started`, or an error.
    Text(&'l str),
    Warning(&'l str),
}

/// Receives each line of its standard error.
pub type LineHandler<'h> = &'h (dyn Fn(ComposeLine<'_>) + Send + Sync);

/// Its exit code and output.
#[derive(Debug)]
pub(super) struct ProgramOutput {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<String>,
}

impl ProgramOutput {
    pub(super) fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Returns its standard output.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns the lines of standard error.
    pub(super) fn lines(self) -> Vec<String> {
        self.stderr
    }

    /// Returns the last lines of standard error without progress and warnings.
    pub(super) fn errors(&self) -> Vec<String> {
        let is_error = |line: &&String| !is_progress(line) && warning(line).is_none();
        let lines = self.stderr.iter().filter(is_error);
        let mut lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
        lines.dedup();
        let excess = lines.len().saturating_sub(MAX_SHOWN);
        lines.drain(..excess);
        if lines.is_empty() {
            lines.push(format!("it ended with {}", self.status));
        }
        lines
    }
}

/// Runs it, and kills it when the future is dropped.
pub(super) async fn run(
    program: &Path,
    arguments: &[OsString],
    variables: &[(&str, &str)],
    folder: &Path,
    on_line: LineHandler<'_>,
    cancel: Option<&CancellationToken>,
) -> Result<ProgramOutput, ComposeError> {
    let failed = |source| ComposeError::NotRun {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        // Its menu and its colors are for terminals.
        .env("COMPOSE_MENU", "false")
        .env("NO_COLOR", "1")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = {
        let read = async {
            tokio::join!(
                read_all(output, &mut stdout),
                read_lines(errors, &mut stderr, on_line)
            );
        };
        tokio::pin!(read);
        let ended = ended(&mut child, cancel);
        tokio::pin!(ended);
        let mut is_read = false;
        let status = loop {
            tokio::select! {
                status = &mut ended => break status,
                () = &mut read, if !is_read => is_read = true,
            }
        };
        if !is_read {
            _ = tokio::time::timeout(EXIT_GRACE, &mut read).await;
        }
        status.map_err(failed)?
    };
    Ok(ProgramOutput {
        status,
        stdout,
        stderr,
    })
}

/// Waits for it to exit; asks it to stop if cancelled.
async fn ended(
    child: &mut Child,
    cancel: Option<&CancellationToken>,
) -> std::io::Result<ExitStatus> {
    let Some(cancel) = cancel else {
        return child.wait().await;
    };
    tokio::select! {
        status = child.wait() => return status,
        () = cancel.cancelled() => {}
    }
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let pid = pid.and_then(Pid::from_raw);
    if let Some(pid) = pid {
        _ = kill_process(pid, Signal::TERM);
    }
    match tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.kill().await?;
            child.wait().await
        }
    }
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(mut pipe) = pipe {
        _ = pipe.read_to_end(into).await;
    }
}

async fn read_lines(
    pipe: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<String>,
    on_line: LineHandler<'_>,
) {
    let Some(pipe) = pipe else { return };
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = pipe.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.trim().is_empty() {
            match warning(text) {
                Some(text) => on_line(ComposeLine::Warning(&text)),
                None => on_line(ComposeLine::Text(text)),
            }
            into.push(text.to_owned());
            if into.len() > MAX_LINES {
                into.remove(0);
            }
        }
        line.clear();
    }
}

/// Returns whether a line shows progress, such as ` Container web-1  Started`.
fn is_progress(line: &str) -> bool {
    line.starts_with(' ')
}

/// Returns the message of a warning: `time="…" level=warning msg="…"`.
fn warning(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("level=warning msg=")?;
    // A Go string literal, whose escapes are those of JSON in practice.
    Some(serde_json::from_str(rest.trim()).unwrap_or_else(|_| rest.trim_matches('"').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        let line =
            r#"time="2026-11-29T19:24:57Z" level=warning msg="The \"X\" variable is not set.""#;
        assert_eq!(
            warning(line).as_deref(),
            Some(r#"The "X" variable is not set."#)
        );
        assert_eq!(warning("no configuration file provided"), None);
    }

    #[test]
    fn errors_are_what_is_left() {
        use std::os::unix::process::ExitStatusExt as _;
        let output = ProgramOutput {
            status: ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: vec![
                " Container a  Starting".to_owned(),
                "time=\"x\" level=warning msg=\"y\"".to_owned(),
                "Error response from daemon: no such image".to_owned(),
            ],
        };
        assert_eq!(
            output.errors(),
            ["Error response from daemon: no such image"]
        );
        let silent = ProgramOutput {
            stderr: Vec::new(),
            ..output
        };
        assert_eq!(silent.errors(), ["it ended with exit status: 1"]);
    }
}
