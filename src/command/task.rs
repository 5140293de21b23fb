//! A program for a person, from its start to its end in a builder container.

use super::session::Session;
use super::workbench::Workbench;
use crate::cli::Surroundings;
use crate::client::engine::ProgramSpec;
use crate::console::{Connection, Signals, attach};
use crate::error::{Exit, Failure, hint_lines};
use crate::event::{Phase, Unit};
use crate::execute::session::Session as Container;
use crate::execute::{StepError, Stop};
use crate::manifest::Service;
use crate::plan::ContainerStep;

/// What is run.
pub struct Task {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables that the manifest and the caller may overrule.
    pub env: Vec<(String, String)>,
    /// The folder of the container, where `--workdir` names none.
    pub dir: String,
    pub connection: Connection,
}

/// Returns how a program is to be tied to what xp was started with.
pub fn connection(surroundings: &Surroundings) -> Connection {
    let wanted = match (surroundings.terminal, surroundings.no_terminal) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    Connection::of_the_caller(wanted)
}

/// Runs a program from its start to its end, in a container of its own; its exit code is that of xp.
pub async fn carry_out(
    session: &Session,
    service: &Service,
    bench: Workbench,
    task: Task,
    surroundings: &Surroundings,
) -> Result<(), Failure> {
    let Workbench {
        context,
        step,
        state,
    } = bench;
    let image = step.image.to_string();
    let dir = surroundings.workdir.clone().unwrap_or(task.dir);
    let dir = absolute(dir, &step.script_dir);
    let spec = ProgramSpec {
        no_dir: format!("error: there is no folder {dir} in the container that you may enter"),
        no_program: no_program(&task.command, &image),
        env: variables(session, &step, task.env, surroundings)?,
        command: task.command,
        dir,
        terminal: task.connection.terminal(),
    };
    let unit = Unit::Service(service.name.clone());
    let stopped = async {
        session.cancel.cancelled().await;
        Stop::Cancelled
    };
    let opened = Container::open(&context, &unit, &step, &state, stopped).await;
    let container = opened.map_err(|stop| match stop {
        Stop::Cancelled => Failure::silent(Exit::Interrupted),
        Stop::Failed(error) => failed(&unit, error),
    })?;
    // Nothing of xp's own stands in the terminal from here on, and signals are the program's.
    session.reporter.finish();
    let code = match Signals::listen() {
        Ok(mut signals) => {
            session.hand_signals_over();
            let running = container.container();
            tokio::select! {
                started = running.start_program(&spec) => match started {
                    Ok(started) => attach(running, started, signals, task.connection).await.map_err(Failure::from),
                    Err(error) => Err(error.into()),
                },
                code = signals.ending() => Ok(code.into()),
            }
        }
        Err(error) => Err(Failure::outside(format!(
            "signals cannot be received: {error}"
        ))),
    };
    let ended = container.end(&context).await;
    ended.map_err(|error| failed(&unit, error))?;
    match u8::try_from(code?).unwrap_or(u8::MAX) {
        0 => Ok(()),
        code => Err(Failure::silent(Exit::Program(code))),
    }
}

fn failed(unit: &Unit, error: StepError) -> Failure {
    let failed = error.in_phase(Phase::Container, None);
    let exit = if failed.outside {
        Exit::Outside
    } else {
        Exit::ServiceFailed
    };
    let hints = hint_lines(&failed.hints);
    Failure::rendered(exit, format!("error: {unit}: {}{hints}", failed.message))
}

/// Returns a folder of the container; one that is relative starts from that of the scripts.
fn absolute(dir: String, script_dir: &str) -> String {
    match dir.starts_with('/') {
        true => dir,
        false => format!("{}/{dir}", script_dir.trim_end_matches('/')),
    }
}

fn no_program(command: &[String], image: &str) -> String {
    let name = command.first().map_or("", String::as_str);
    let hint = match name.contains(char::is_whitespace) {
        true => format!("a line of the shell takes one: `-- sh -c '{name}'`"),
        false => "what the builder image has, its Dockerfile says".to_owned(),
    };
    format!(
        "error: there is no program `{name}` in {image}, or it may not be executed\nhint: {hint}"
    )
}

/// Returns the variables of a program, the caller's last: those of the manifest are the container's own.
fn variables(
    session: &Session,
    step: &ContainerStep,
    usual: Vec<(String, String)>,
    surroundings: &Surroundings,
) -> Result<Vec<(String, String)>, Failure> {
    let usual = usual.into_iter();
    let mut variables: Vec<(String, String)> = usual
        .filter(|(name, _)| !step.env.contains_key(name))
        .collect();
    for (name, value) in &surroundings.env {
        let value = value.clone().or_else(|| session.variable(name));
        let Some(value) = value else {
            return Err(Failure::usage(format!(
                "`--env {name}`: you have no variable of that name\n\
                 hint: write `--env {name}=VALUE`, or export it"
            )));
        };
        variables.push((name.clone(), value));
    }
    Ok(variables)
}

/// Returns what a terminal's programs want to know of the caller's.
pub fn terminal_variables(session: &Session, connection: Connection) -> Vec<(String, String)> {
    if connection.terminal().is_none() {
        return Vec::new();
    }
    let names = ["TERM", "COLORTERM", "LANG", "NO_COLOR"];
    let found = names.map(|name| Some((name.to_owned(), session.variable(name)?)));
    found.into_iter().flatten().collect()
}
