//! The subcommands: each reads like a paragraph, and wires the stages.

mod build;
mod builder;
mod commits;
mod completions;
mod diff;
mod doctor;
mod failed;
mod failure;
mod graph;
mod here;
mod in_place;
mod init;
mod lock;
mod locked;
mod logs;
mod man;
mod plan;
mod report;
mod run;
mod runs;
mod schema;
mod session;
mod shell;
mod stages;
mod status;
mod sync;
mod task;
mod unbuilt;
mod why;
mod workbench;
mod write;

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{self, Answer, Cli, Command};
use crate::error::{Exit, Failure};
use crate::report::{Style, paint, print_finished};
use crate::settings::Settings;
use session::Session;

/// Runs the command that the process's arguments name.
pub fn run() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(Answer::Help(help)) => {
            help.print();
            return ExitCode::from(help.exit().code());
        }
        Err(Answer::Wrong(wrong)) => {
            let failure = Failure::from(wrong);
            let color = Settings::automatic_color();
            return ended(Err(failure.map_message(|message| paint(&message, color))));
        }
    };
    ended(dispatch(cli))
}

/// Says what went wrong, and returns with what the process exits.
fn ended(result: Result<(), Failure>) -> ExitCode {
    let exit = match result {
        Ok(()) => Exit::Done,
        Err(failure) => {
            if let Some(message) = failure.message() {
                _ = writeln!(std::io::stderr().lock(), "{message}");
            }
            failure.exit
        }
    };
    ExitCode::from(exit.code())
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    // What needs no manifest, and no server.
    match &cli.command {
        Command::Schema { of } => return schema::run(*of),
        Command::Completions { shell } => return completions::script(*shell),
        Command::Man(args) => return man::run(args),
        Command::Complete { shell, typed } => {
            return completions::answer(&cli.global, *shell, typed);
        }
        _ => {}
    }
    let prints_events = cli.command.prints_events();
    let mut settings = Settings::read(&cli.global)
        .map_err(|error| Failure::usage(format!("the current folder cannot be used: {error}")))?;
    if prints_events {
        settings.report.style = Style::Json;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(
            std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8)),
        )
        .enable_all()
        .build()
        .map_err(|error| Failure::outside(format!("no threads can be started: {error}")))?;
    let color = settings.report.color;
    let result = runtime.block_on(async {
        if let Command::Init(args) = &cli.command {
            return init::run(&settings, args).await;
        }
        if let Command::Doctor(args) = &cli.command {
            // It has something to say where there is no manifest to open a session with.
            return doctor::run(&settings, args).await;
        }
        let session = Session::open(settings).inspect_err(|failure| {
            if prints_events {
                print_finished(failure.exit, failure.message());
            }
        })?;
        let result = match cli.command {
            Command::Build(args) => build::run(&session, &args).await,
            Command::Plan(args) => plan::run(&session, &args).await,
            Command::Why(args) => why::run(&session, &args).await,
            Command::Status(args) => status::run(&session, &args).await,
            Command::Graph(args) => graph::run(&session, &args).await,
            Command::Sync(args) => sync::run(&session, &args).await,
            Command::Lock(args) => lock::run(&session, &args).await,
            Command::Diff(args) => diff::run(&session, &args).await,
            Command::Run(args) => run::run(&session, &args).await,
            Command::Shell(args) => shell::run(&session, &args).await,
            Command::Logs(args) => logs::run(&session, &args).await,
            Command::Report(args) => report::run(&session, &args),
            Command::Builder(command) => builder::run(&session, &command).await,
            Command::Init(_)
            | Command::Doctor(_)
            | Command::Schema { .. }
            | Command::Completions { .. }
            | Command::Man(_)
            | Command::Complete { .. } => Ok(()),
        };
        // Whatever happened, the terminal is left as it was found.
        session.reporter.finish();
        let failure = result.as_ref().err();
        let exit = failure.map_or(Exit::Done, |failure| failure.exit);
        session
            .reporter
            .conclude(exit, failure.and_then(Failure::message));
        result
    });
    // A thread that still waits for a credential helper or a DNS answer must not hold up the end.
    runtime.shutdown_background();
    result.map_err(|failure| failure.map_message(|message| paint(&message, color)))
}

/// Prints a result for programs.
fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Prints a result; a reader that has gone away is no failure, a full disk is one.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::outside(
            format!("the result cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Returns a count and its noun.
fn many(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
