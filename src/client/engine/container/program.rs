//! Interactive programs in a builder container, with a terminal or pipes, and signals.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;

use crate::client::engine::connect::raw::{OUTPUT_CAPACITY, ProgramInput};
use crate::client::engine::container::builder::BuilderContainer;
use crate::client::engine::{Engine, EngineError};

/// A script that starts a program: it prints its process id, changes to the folder, and executes the program.
///
/// With a terminal, it first waits until the size of the terminal is set, which programs read at their start.
///
/// Its arguments are whether to wait, the folder, the error message if that cannot be entered, the error message if
/// the program does not exist, and the program with its arguments.
const LAUNCHER: &str = r#"echo $$
[ -z "$1" ] || read -r _
cd "$2" 2> /dev/null || { printf '%s\n' "$3" >&2; exit 126; }
missing=$4; shift 4
command -v "$1" > /dev/null 2>&1 || { printf '%s\n' "$missing" >&2; exit 127; }
exec "$@""#;

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters per row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct ProgramSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The working folder in the container.
    pub dir: String,
    /// Further variables, which override the container's own.
    pub env: Vec<(String, String)>,
    /// The size of its terminal; `None` for pipes.
    pub terminal: Option<TerminalSize>,
    /// The message on standard error if the folder cannot be entered.
    pub no_dir: String,
    /// The message on standard error if the program does not exist.
    pub no_program: String,
}

/// A chunk of a program's output.
#[derive(Debug)]
pub enum OutputChunk {
    /// From standard output, or the terminal.
    Output(Bytes),
    /// From standard error.
    Error(Bytes),
}

/// A running program.
#[derive(Debug, Clone)]
pub struct ContainerProgram {
    engine: Engine,
    exec: String,
    name: String,
    /// Its process id in the container; it leads its own process group and session.
    process: String,
}

/// The output of a program.
pub type ProgramOutput = Pin<Box<dyn Stream<Item = Result<OutputChunk, EngineError>> + Send>>;

/// The target of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalTarget {
    /// Only the program, like `kill`.
    Program,
    /// The program and its children, like Ctrl-C in a terminal.
    Group,
}

impl BuilderContainer {
    /// Starts a program as the user that runs scripts.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, or the container ended.
    pub async fn start_program(
        &self,
        spec: &ProgramSpec,
    ) -> Result<(ContainerProgram, ProgramInput, ProgramOutput), EngineError> {
        let name = spec.command.first().cloned().unwrap_or_default();
        let failed = program_error(&name);
        let engine = self.engine.without_timeout();
        let (uid, gid) = self.user;
        let launcher = ["/bin/sh", "-c", LAUNCHER, "xp"].map(str::to_owned);
        let waits = spec.terminal.map_or("", |_| "wait").to_owned();
        let parameters = [&waits, &spec.dir, &spec.no_dir, &spec.no_program].map(String::clone);
        let env = spec.env.iter();
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(spec.terminal.is_some()),
            // Disable the engine's detach keys.
            detach_keys: Some("ctrl-@,ctrl-@,ctrl-@,ctrl-@".to_owned()),
            env: Some(env.map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some([&launcher[..], &parameters[..], &spec.command[..]].concat()),
            user: Some(format!("{uid}:{gid}")),
            ..Default::default()
        };
        let exec = engine
            .create_exec(&self.id, config)
            .await
            .map_err(&failed)?;
        let (mut input, mut chunks) = self.connect(&exec.id, &name, spec).await?;
        let mut early = Vec::new();
        let (process, mut rest) = first_line(&mut chunks, Bytes::new(), &mut early).await?;
        if process.parse::<u32>().is_err() {
            // The engine prints an error message if it cannot start a process.
            return Err(EngineError::NotStarted(process));
        }
        let program = ContainerProgram {
            engine: self.engine.clone(),
            exec: exec.id,
            name,
            process,
        };
        if let Some(size) = spec.terminal {
            program.resize(size).await;
            _ = input.write_all(b"\n").await;
            _ = input.flush().await;
            // Skip the echo of the terminal.
            (_, rest) = first_line(&mut chunks, rest, &mut early).await?;
        }
        early.extend((!rest.is_empty()).then_some(OutputChunk::Output(rest)));
        let early = futures_util::stream::iter(early.into_iter().map(Ok));
        let output = early.chain(chunks);
        Ok((program, input, Box::pin(output)))
    }

    /// Starts a prepared program and connects to it.
    async fn connect(
        &self,
        exec: &str,
        name: &str,
        spec: &ProgramSpec,
    ) -> Result<(ProgramInput, ProgramOutput), EngineError> {
        if spec.terminal.is_some() {
            let action = format!("run `{name}`");
            let (input, shown) = self.engine.start_in_terminal(exec, &action).await?;
            return Ok((input, Box::pin(shown.map(|it| it.map(OutputChunk::Output)))));
        }
        let start = StartExecOptions {
            detach: false,
            tty: false,
            output_capacity: Some(OUTPUT_CAPACITY),
        };
        let started = self
            .engine
            .without_timeout()
            .start_exec(exec, Some(start))
            .await;
        let StartExecResults::Attached { output, input } = started.map_err(program_error(name))?
        else {
            return Err(EngineError::ContainerGone);
        };
        let failed = program_error(name);
        let (engine, exec) = (self.engine.clone(), exec.to_owned());
        let chunks = output.filter_map(move |chunk| {
            let chunk = chunk.map_err(|error| (is_reset(&error), failed(error)));
            let (engine, exec) = (engine.clone(), exec.clone());
            async move {
                match chunk {
                    Ok(chunk) => printed(chunk).map(Ok),
                    // Podman resets the connection of a program that ends without reading all of its input.
                    Err((true, _)) if has_ended(&engine, &exec).await => None,
                    Err((_, error)) => Some(Err(error)),
                }
            }
        });
        Ok((input, Box::pin(chunks)))
    }

    /// Sends a signal, such as `TERM`. Errors do not matter: the program has ended then.
    pub async fn signal(&self, program: &ContainerProgram, signal: &str, addressee: SignalTarget) {
        let group = match addressee {
            SignalTarget::Program => "",
            SignalTarget::Group => "-",
        };
        let line = format!("{signal} {group}{}\n", program.process);
        let mut input = self.input.lock().await;
        _ = input.write_all(line.as_bytes()).await;
        _ = input.flush().await;
    }

    /// Returns the exit code of a program after its output has ended. If a signal ended it, this is 128 plus the
    /// signal's number.
    ///
    /// # Errors
    ///
    /// If the container ended before the program.
    pub async fn exit_code(&self, program: &ContainerProgram) -> Result<i64, EngineError> {
        let state = self.engine.exit_state(&program.exec).await;
        let state = state.map_err(program_error(&program.name))?;
        match (state.running, state.exit_code) {
            (Some(true), _) | (_, None) => Err(EngineError::ContainerGone),
            (_, Some(code)) => Ok(code),
        }
    }
}

impl ContainerProgram {
    /// Sets the size of the program's terminal. Errors do not matter: the program has ended then.
    pub async fn resize(&self, size: TerminalSize) {
        let options = ResizeExecOptions {
            height: size.rows,
            width: size.columns,
        };
        _ = self.engine.docker.resize_exec(&self.exec, options).await;
    }
}

/// Returns a conversion for errors of running a program.
fn program_error(name: &str) -> impl Fn(bollard::errors::Error) -> EngineError + use<> {
    let action = format!("run `{name}`");
    move |error| match EngineError::new(&action, error) {
        // The container is removed as soon as it ends.
        error if matches!(error.status(), Some(404 | 409)) => EngineError::ContainerGone,
        error => error,
    }
}

fn printed(chunk: LogOutput) -> Option<OutputChunk> {
    match chunk {
        LogOutput::StdIn { .. } => None,
        LogOutput::StdErr { message } => Some(OutputChunk::Error(message)),
        LogOutput::StdOut { message } | LogOutput::Console { message } => {
            Some(OutputChunk::Output(message))
        }
    }
}

fn is_reset(error: &bollard::errors::Error) -> bool {
    match error {
        bollard::errors::Error::IOError { err } => {
            err.kind() == std::io::ErrorKind::ConnectionReset
        }
        _ => false,
    }
}

async fn has_ended(engine: &Engine, exec: &str) -> bool {
    let state = engine.exit_state(exec).await;
    state.is_ok_and(|state| state.running == Some(false))
}

/// Reads the first line of standard output, and also returns the bytes that were read after it. `early` receives the
/// standard error until then, as the two streams have no common order.
async fn first_line(
    chunks: &mut ProgramOutput,
    read: Bytes,
    early: &mut Vec<OutputChunk>,
) -> Result<(String, Bytes), EngineError> {
    let mut read = Vec::from(read);
    loop {
        if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&read[..end]).trim().to_owned();
            return Ok((line, Bytes::from(read.split_off(end + 1))));
        }
        match chunks.next().await {
            Some(chunk) => match chunk? {
                OutputChunk::Output(bytes) => read.extend_from_slice(&bytes),
                error @ OutputChunk::Error(_) => early.push(error),
            },
            None if read.is_empty() => return Err(EngineError::ContainerGone),
            None => {
                let message = String::from_utf8_lossy(&read).trim().to_owned();
                return Err(EngineError::NotStarted(message));
            }
        }
    }
}
