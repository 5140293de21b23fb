//! The subcommands: each reads like a paragraph, and wires the stages.

mod ahead;
mod build;
mod builder;
mod commits;
mod completions;
mod deploy;
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

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{self, Answer, Cli, Command, Format, Global, Told};
use crate::console::client;
use crate::error::{Exit, Failure};
use crate::report::{Style, paint, print_finished};
use crate::settings::Settings;
use crate::words::many;
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
    let global = &cli.global;
    match cli.command {
        // What needs no manifest, and no server.
        Command::Schema { of } => schema::run(of),
        Command::Completions { shell } => completions::script(shell),
        Command::Man(args) => man::run(&args),
        Command::Complete { shell, typed } => completions::answer(global, shell, &typed),
        // What has something to say where there is no manifest.
        Command::Init(args) => with_settings(global, async |it| init::run(&it, &args).await),
        Command::Doctor(args) => with_settings(global, async |it| doctor::run(&it, &args).await),
        // What tells of its work by events.
        Command::Build(args) => {
            let told = args.told;
            working(global, told, async |it| build::run(it, &args).await)
        }
        Command::Sync(args) => working(global, args.told, async |it| sync::run(it, &args).await),
        Command::Builder(command) => {
            let told = command.told();
            working(global, told, async |it| builder::run(it, &command).await)
        }
        Command::Deploy(args) => {
            let told = args.told;
            working(global, told, async |it| deploy::run(it, &args).await)
        }
        Command::Plan(args) => in_session(global, async |it| plan::run(it, &args).await),
        Command::Why(args) => in_session(global, async |it| why::run(it, &args).await),
        Command::Status(args) => in_session(global, async |it| status::run(it, &args).await),
        Command::Graph(args) => in_session(global, async |it| graph::run(it, &args).await),
        Command::Lock(args) => in_session(global, async |it| lock::run(it, &args).await),
        Command::Diff(args) => in_session(global, async |it| diff::run(it, &args).await),
        Command::Run(args) => in_session(global, async |it| run::run(it, &args).await),
        Command::Shell(args) => in_session(global, async |it| shell::run(it, &args).await),
        Command::Logs(args) => in_session(global, async |it| logs::run(it, &args).await),
        Command::Report(args) => in_session(global, async |it| report::run(it, &args)),
    }
}

/// Does what a command is for on the platform, and tells people of it.
fn in_session(
    global: &Global,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_settings(global, async |settings| opened(settings, command).await)
}

/// Like [`in_session`], but what happens is told as the caller wants it.
fn working(
    global: &Global,
    told: Told,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_settings(global, async |mut settings| {
        if told.format == Format::Json {
            settings.report.style = Style::Json;
        }
        opened(settings, command).await
    })
}

async fn opened(
    settings: Settings,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let style = settings.report.style;
    let session = Session::open(settings).inspect_err(|failure| {
        if style == Style::Json {
            print_finished(failure.exit, failure.message());
        }
    })?;
    let result = command(&session).await;
    // Whatever happened, the terminal is left as it was found.
    session.reporter.finish();
    let failure = result.as_ref().err();
    let exit = failure.map_or(Exit::Done, |failure| failure.exit);
    let message = failure.and_then(Failure::message);
    session.reporter.conclude(exit, message);
    result
}

/// Does what a command is for, with threads to do it on.
fn with_settings(
    global: &Global,
    command: impl AsyncFnOnce(Settings) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let settings = Settings::read(global)
        .map_err(|error| Failure::usage(format!("the current folder cannot be used: {error}")))?;
    if let Some(pipe) = settings.client.clone() {
        client::end_with(pipe);
    }
    let color = settings.report.color;
    let threads = std::thread::available_parallelism().map_or(2, |it| it.get().clamp(2, 8));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::outside(format!("no threads can be started: {error}")))?;
    let result = runtime.block_on(command(settings));
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
