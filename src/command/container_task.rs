//! Runs an interactive program in a builder container.

use crate::base::error::{Exit, Failure, hint_lines};
use crate::cli::ContainerArgs;
use crate::client::engine::ProgramSpec;
use crate::execute::session::ContainerSession as Container;
use crate::execute::{StepError, Stop};
use crate::flow::session::Session;
use crate::flow::workbench::Workbench;
use crate::host::console::{Connection, Signals, attach};
use crate::model::environment::{COLORTERM, LANG, NO_COLOR, TERM};
use crate::model::event::{Event, Phase, Unit};
use crate::model::manifest::Service;
use crate::model::plan::ContainerStep;

/// A program to run.
pub struct ContainerTask {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Default variables, which the manifest and the user can override.
    pub env: Vec<(String, String)>,
    /// The working directory in the container if `--workdir` is not given.
    pub dir: String,
    pub connection: Connection,
}

/// Returns how to connect a program to the standard streams and terminal of xp.
pub fn connection(args: &ContainerArgs) -> Connection {
    let wanted = match (args.terminal, args.no_terminal) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    Connection::for_caller(wanted)
}

/// Runs a program in a new container. Its exit code becomes that of xp.
pub async fn carry_out(
    session: &Session,
    service: &Service,
    bench: Workbench,
    task: ContainerTask,
    args: &ContainerArgs,
) -> Result<(), Failure> {
    let Workbench {
        context,
        step,
        sidecars,
        state,
    } = bench;
    let image = step.image.to_string();
    let dir = args.workdir.clone().unwrap_or(task.dir);
    let dir = absolute(dir, &step.script_dir);
    let spec = ProgramSpec {
        no_dir: format!(
            "error: the folder {dir} does not exist in the container or is not accessible"
        ),
        no_program: no_program(&task.command, &image),
        env: variables(session, &step, task.env, args)?,
        command: task.command,
        dir,
        terminal: task.connection.terminal(),
    };
    let unit = Unit::Service(service.name.clone());
    let stopped = async {
        session.cancel.cancelled().await;
        Stop::Cancelled
    };
    let opened = Container::open(&context, &unit, &step, sidecars.as_ref(), &state, stopped).await;
    let container = opened.map_err(|stop| match stop {
        Stop::Cancelled => Failure::silent(Exit::Interrupted),
        Stop::Failed(error) => failed(&unit, error),
    })?;
    // From here on the terminal and the signals belong to the program.
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
        Err(error) => Err(Failure::outside(format!("cannot receive signals: {error}"))),
    };
    if let Some(error) = container.ended_sidecar() {
        session.events.emit(Event::warning(error.message()));
    }
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

/// Makes a path in the container absolute; relative paths start from the scripts' folder.
fn absolute(dir: String, script_dir: &str) -> String {
    if dir.starts_with('/') {
        dir
    } else {
        format!("{}/{dir}", script_dir.trim_end_matches('/'))
    }
}

fn no_program(command: &[String], image: &str) -> String {
    let name = command.first().map_or("", String::as_str);
    let hint = if name.contains(char::is_whitespace) {
        format!("shell syntax requires a shell: `-- sh -c '{name}'`")
    } else {
        "the builder's Dockerfile defines what is installed".to_owned()
    };
    format!("error: `{name}` was not found in {image}, or is not executable\nhint: {hint}")
}

/// Returns the variables of a program. The user's come last; the manifest's are already set in the container.
fn variables(
    session: &Session,
    step: &ContainerStep,
    usual: Vec<(String, String)>,
    args: &ContainerArgs,
) -> Result<Vec<(String, String)>, Failure> {
    let usual = usual.into_iter();
    let mut variables: Vec<(String, String)> = usual
        .filter(|(name, _)| !step.env.contains_key(name))
        .collect();
    for (name, value) in &args.env {
        let value = value.clone().or_else(|| session.variable(name));
        let Some(value) = value else {
            return Err(Failure::usage(format!(
                "`--env {name}`: the variable is not set\n\
                 hint: write `--env {name}=VALUE`, or export it"
            )));
        };
        variables.push((name.clone(), value));
    }
    Ok(variables)
}

/// Returns the user's terminal-related variables.
pub fn terminal_variables(session: &Session, connection: Connection) -> Vec<(String, String)> {
    if connection.terminal().is_none() {
        return Vec::new();
    }
    let names = [TERM, COLORTERM, LANG, NO_COLOR].map(|variable| variable.name);
    let found = names.map(|name| Some((name.to_owned(), session.variable(name)?)));
    found.into_iter().flatten().collect()
}
