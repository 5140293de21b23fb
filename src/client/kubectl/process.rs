//! Running a program, here or in a container.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::KubectlError;
use crate::client::engine::{BuilderContainer, EngineError, Printed, ProgramSpec};

/// A program, and what it is told.
pub(super) struct Call<'a> {
    pub name: &'static str,
    pub arguments: &'a [&'a str],
    pub input: Option<&'a str>,
    pub variables: &'a [(&'a str, &'a str)],
    pub folder: &'a Path,
    /// Gets what is said on standard error by a program that then goes on without a word.
    pub told: &'a (dyn Fn(&str) + Send + Sync),
}

/// How long a program is silent before what it said is told: it waits for somebody, say.
const SILENCE: Duration = Duration::from_millis(1500);

/// How long is read after the end of a program: it may have left another one with its outputs.
const REST: Duration = Duration::from_secs(2);

/// Gets each line of standard output as it comes.
pub(super) type Lines<'l> = &'l mut (dyn FnMut(&str) + Send);

/// How a program ended.
pub(super) struct Finished {
    pub code: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// What was printed, and its last line as far as it came.
struct Printing<'l> {
    stdout: Vec<u8>,
    told: usize,
    lines: Option<Lines<'l>>,
}

impl Printing<'_> {
    fn add(&mut self, bytes: &[u8]) {
        self.stdout.extend_from_slice(bytes);
        let Some(lines) = &mut self.lines else { return };
        while let Some(length) = self.stdout[self.told..].iter().position(|it| *it == b'\n') {
            let end = self.told + length;
            lines(&String::from_utf8_lossy(&self.stdout[self.told..end]));
            self.told = end + 1;
        }
    }
}

/// What was said on standard error, and as far as it was told.
struct Said<'t> {
    text: Vec<u8>,
    told: usize,
    tell: &'t (dyn Fn(&str) + Send + Sync),
}

impl<'t> Said<'t> {
    fn new(tell: &'t (dyn Fn(&str) + Send + Sync)) -> Self {
        Self {
            text: Vec::new(),
            told: 0,
            tell,
        }
    }

    fn is_told(&self) -> bool {
        self.told == self.text.len()
    }

    fn tell(&mut self) {
        (self.tell)(&String::from_utf8_lossy(&self.text[self.told..]));
        self.told = self.text.len();
    }
}

/// Runs a program of this machine; it ends when the future is dropped.
pub(super) async fn on_host(
    program: &Path,
    call: &Call<'_>,
    lines: Option<Lines<'_>>,
) -> Result<Finished, KubectlError> {
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
            // A program that ends early says itself why.
            _ = input.write_all(text.as_bytes()).await;
            _ = input.shutdown().await;
        }
    };
    let mut printing = Printing {
        stdout: Vec::new(),
        told: 0,
        lines,
    };
    let read = async {
        let mut chunk = vec![0; 16 * 1024];
        if let Some(mut output) = output {
            loop {
                match output.read(&mut chunk).await? {
                    0 => break,
                    length => printing.add(&chunk[..length]),
                }
            }
        }
        Ok(())
    };
    let mut said = Said::new(call.told);
    let hear = async {
        let mut chunk = vec![0; 16 * 1024];
        let Some(mut errors) = errors else {
            return Ok(());
        };
        loop {
            // Reading can be given up at any time without losing anything.
            let length = match tokio::time::timeout(SILENCE, errors.read(&mut chunk)).await {
                Ok(length) => length?,
                Err(_) if said.is_told() => errors.read(&mut chunk).await?,
                Err(_) => {
                    said.tell();
                    continue;
                }
            };
            match length {
                0 => return Ok(()),
                length => said.text.extend_from_slice(&chunk[..length]),
            }
        }
    };
    let talk = async {
        let ((), read, heard) = tokio::join!(write, read, hear);
        read.and(heard)
    };
    let status = {
        let mut talk = std::pin::pin!(talk);
        tokio::select! {
            talked = &mut talk => {
                talked.map_err(failed)?;
                child.wait().await
            }
            status = child.wait() => {
                if let Ok(talked) = tokio::time::timeout(REST, &mut talk).await {
                    talked.map_err(failed)?;
                }
                status
            }
        }
    };
    let status = status.map_err(failed)?;
    Ok(Finished {
        code: status.code().map_or(-1, i64::from),
        stdout: printing.stdout,
        stderr: said.text,
    })
}

/// Runs a program of a container, whose paths are those of this machine. It ends with the container.
pub(super) async fn in_container(
    container: &BuilderContainer,
    call: &Call<'_>,
    lines: Option<Lines<'_>>,
) -> Result<Finished, KubectlError> {
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
        no_dir: format!(
            "there is no folder {} in the container",
            call.folder.display()
        ),
        no_program: format!("the builder image has no `{}`", call.name),
    };
    let (program, mut input, mut output) = container.start_program(&spec).await.map_err(failed)?;
    let write = async {
        if let Some(text) = call.input {
            _ = input.write_all(text.as_bytes()).await;
        }
        _ = input.shutdown().await;
    };
    let mut printing = Printing {
        stdout: Vec::new(),
        told: 0,
        lines,
    };
    let mut said = Said::new(call.told);
    let read = async {
        loop {
            let printed = match tokio::time::timeout(SILENCE, output.next()).await {
                Ok(printed) => printed,
                Err(_) if said.is_told() => output.next().await,
                Err(_) => {
                    said.tell();
                    continue;
                }
            };
            match printed {
                None => return Ok(()),
                Some(printed) => match printed? {
                    Printed::Output(bytes) => printing.add(&bytes),
                    Printed::Error(bytes) => said.text.extend_from_slice(&bytes),
                },
            }
        }
    };
    let ((), read) = tokio::join!(write, read);
    read.map_err(failed)?;
    let code = container.exit_code(&program).await.map_err(failed)?;
    Ok(Finished {
        code,
        stdout: printing.stdout,
        stderr: said.text,
    })
}
