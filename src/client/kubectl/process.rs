//! Runs a program on this machine or in a container.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::KubectlError;
use crate::client::engine::{BuilderContainer, EngineError, OutputChunk, ProgramSpec};

/// A program, its arguments and its environment.
pub(super) struct ProgramCall<'a> {
    pub name: &'static str,
    pub arguments: &'a [&'a str],
    pub input: Option<&'a str>,
    pub variables: &'a [(&'a str, &'a str)],
    pub folder: &'a Path,
    /// Receives standard error while the program is still running but silent, such as a prompt.
    pub on_stderr: &'a (dyn Fn(&str) + Send + Sync),
}

/// How long a program must be silent before its standard error is reported: it may be waiting for the user.
const SILENCE: Duration = Duration::from_millis(1500);

/// How long to keep reading after a program exits: a child may have inherited its outputs.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// Called for each line of standard output as it arrives.
pub(super) type LineHandler<'l> = &'l mut (dyn FnMut(&str) + Send);

/// The exit code and output of a program.
pub(super) struct ProgramResult {
    pub code: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// The standard output, and the position after the last line that was handed on.
struct StdoutBuffer<'l> {
    bytes: Vec<u8>,
    reported: usize,
    lines: Option<LineHandler<'l>>,
}

impl StdoutBuffer<'_> {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let Some(lines) = &mut self.lines else { return };
        while let Some(length) = self.bytes[self.reported..]
            .iter()
            .position(|it| *it == b'\n')
        {
            let end = self.reported + length;
            lines(&String::from_utf8_lossy(&self.bytes[self.reported..end]));
            self.reported = end + 1;
        }
    }
}

/// The standard error, and the position up to which it was reported.
struct StderrRelay<'t> {
    text: Vec<u8>,
    reported: usize,
    tell: &'t (dyn Fn(&str) + Send + Sync),
}

impl<'t> StderrRelay<'t> {
    fn new(tell: &'t (dyn Fn(&str) + Send + Sync)) -> Self {
        Self {
            text: Vec::new(),
            reported: 0,
            tell,
        }
    }

    fn is_reported(&self) -> bool {
        self.reported == self.text.len()
    }

    fn report(&mut self) {
        (self.tell)(&String::from_utf8_lossy(&self.text[self.reported..]));
        self.reported = self.text.len();
    }
}

/// Runs a program on this machine. It is killed when the future is dropped.
pub(super) async fn on_host(
    program: &Path,
    call: &ProgramCall<'_>,
    lines: Option<LineHandler<'_>>,
) -> Result<ProgramResult, KubectlError> {
    let failed = |source| KubectlError::NotRun {
        name: call.name,
        source,
    };
    let mut child = Command::new(program)
        .args(call.arguments)
        .envs(call.variables.iter().copied())
        .current_dir(call.folder)
        .stdin(match call.input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let (Some(mut input), Some(text)) = (input, call.input) {
            // A program that exits early reports the reason itself.
            _ = input.write_all(text.as_bytes()).await;
            _ = input.shutdown().await;
        }
    };
    let mut stdout = StdoutBuffer {
        bytes: Vec::new(),
        reported: 0,
        lines,
    };
    let read = async {
        let mut chunk = vec![0; 16 * 1024];
        if let Some(mut output) = output {
            loop {
                match output.read(&mut chunk).await? {
                    0 => break,
                    length => stdout.add(&chunk[..length]),
                }
            }
        }
        Ok(())
    };
    let mut stderr = StderrRelay::new(call.on_stderr);
    let read_stderr = async {
        let mut chunk = vec![0; 16 * 1024];
        let Some(mut errors) = errors else {
            return Ok(());
        };
        loop {
            // Reads are cancel-safe: a timeout loses no data.
            let length = match tokio::time::timeout(SILENCE, errors.read(&mut chunk)).await {
                Ok(length) => length?,
                Err(_) if stderr.is_reported() => errors.read(&mut chunk).await?,
                Err(_) => {
                    stderr.report();
                    continue;
                }
            };
            match length {
                0 => return Ok(()),
                length => stderr.text.extend_from_slice(&chunk[..length]),
            }
        }
    };
    let transfer = async {
        let ((), read, stderr_read) = tokio::join!(write, read, read_stderr);
        read.and(stderr_read)
    };
    let status = {
        let mut transfer = std::pin::pin!(transfer);
        tokio::select! {
            transferred = &mut transfer => {
                transferred.map_err(failed)?;
                child.wait().await
            }
            status = child.wait() => {
                if let Ok(transferred) = tokio::time::timeout(EXIT_GRACE, &mut transfer).await {
                    transferred.map_err(failed)?;
                }
                status
            }
        }
    };
    let status = status.map_err(failed)?;
    Ok(ProgramResult {
        code: status.code().map_or(-1, i64::from),
        stdout: stdout.bytes,
        stderr: stderr.text,
    })
}

/// Runs a program in a container that has the same paths as this machine. It ends with the container.
pub(super) async fn in_container(
    container: &BuilderContainer,
    call: &ProgramCall<'_>,
    lines: Option<LineHandler<'_>>,
) -> Result<ProgramResult, KubectlError> {
    let failed = |source: EngineError| KubectlError::Container {
        name: call.name,
        source: Box::new(source),
    };
    let variables = call.variables.iter();
    let arguments = call.arguments.iter().map(|it| (*it).to_owned());
    let spec = ProgramSpec {
        command: [call.name.to_owned()]
            .into_iter()
            .chain(arguments)
            .collect(),
        dir: call.folder.display().to_string(),
        env: variables
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        terminal: None,
        no_dir: format!("the container has no folder {}", call.folder.display()),
        no_program: format!("the builder image has no `{}`", call.name),
    };
    let (program, mut input, mut output) = container.start_program(&spec).await.map_err(failed)?;
    let write = async {
        if let Some(text) = call.input {
            _ = input.write_all(text.as_bytes()).await;
        }
        _ = input.shutdown().await;
    };
    let mut stdout = StdoutBuffer {
        bytes: Vec::new(),
        reported: 0,
        lines,
    };
    let mut stderr = StderrRelay::new(call.on_stderr);
    let read = async {
        loop {
            let printed = match tokio::time::timeout(SILENCE, output.next()).await {
                Ok(printed) => printed,
                Err(_) if stderr.is_reported() => output.next().await,
                Err(_) => {
                    stderr.report();
                    continue;
                }
            };
            match printed {
                None => return Ok(()),
                Some(printed) => match printed? {
                    OutputChunk::Output(bytes) => stdout.add(&bytes),
                    OutputChunk::Error(bytes) => stderr.text.extend_from_slice(&bytes),
                },
            }
        }
    };
    let ((), read) = tokio::join!(write, read);
    read.map_err(failed)?;
    let code = container.exit_code(&program).await.map_err(failed)?;
    Ok(ProgramResult {
        code,
        stdout: stdout.bytes,
        stderr: stderr.text,
    })
}
