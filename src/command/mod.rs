//! The subcommands. Each module connects the stages of its command and prints the result.

mod build;
mod builder;
mod check;
mod clean;
mod completions;
mod container_task;
mod copy;
mod deploy;
mod diff;
mod doctor;
mod graph;
mod init;
mod lock;
mod logs;
mod man;
mod plan;
mod report;
mod request;
mod run;
mod schema;
mod shell;
mod status;
mod sync;
mod watch;
mod why;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

use crate::base::error::{Exit, Failure};
use crate::base::plural::count_of;
use crate::cli::{
    self, BuilderCommand, Cli, Command, Format, Global, OutputArgs, ParseError, SchemaName,
};
use crate::flow::interrupts::Interrupts;
use crate::flow::session::Session;
use crate::host::console::client;
use crate::host::settings::Settings;
use crate::report::{OutputStyle, paint, print, print_finished};

/// Runs the command given by the process's arguments.
pub fn run() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(ParseError::Help(help)) => {
            help.print();
            return ExitCode::from(help.exit().code());
        }
        Err(ParseError::Usage(error)) => {
            let failure = Failure::from(error);
            let color = Settings::automatic_color();
            return conclude(Err(failure.map_message(|message| paint(&message, color))));
        }
    };
    conclude(dispatch(cli))
}

/// Prints the error, if any, and returns the exit code.
fn conclude(result: Result<(), Failure>) -> ExitCode {
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
        // These require neither a manifest nor a server.
        Command::Schema {
            of: SchemaName::Platform,
        } => with_settings(global, async |it| schema::of_platform(&it)),
        Command::Schema { of } => schema::run(of),
        Command::Completions { shell } => completions::script(shell),
        Command::Man(args) => man::run(&args),
        Command::Reference { page } => print(&cli::reference::page(page)),
        Command::Worker { file } => with_settings(global, async |it| worker::run(&it, &file).await),
        Command::Complete { shell, typed } => completions::print_candidates(global, shell, &typed),
        // These open no session: they work without a manifest, or report what is wrong with it.
        Command::Init(args) => with_settings(global, async |it| init::run(&it, &args).await),
        Command::Check(args) => with_settings(global, async |it| check::run(&it, &args)),
        Command::Doctor(args) => with_settings(global, async |it| doctor::run(&it, &args).await),
        // These emit events and have `--format`.
        Command::Build(args) if args.watch => {
            let output = args.output;
            with_output_settings(global, output, true, async |it| watch::run(it, &args).await)
        }
        Command::Build(args) => {
            let output = args.output;
            with_summary(global, output, async |it| build::run(it, &args).await)
        }
        Command::Sync(args) => {
            with_progress(global, args.output, async |it| sync::run(it, &args).await)
        }
        Command::Copy(args) => {
            with_progress(global, args.output, async |it| copy::run(it, &args).await)
        }
        Command::Builder(command @ BuilderCommand::List) => {
            in_session(global, async |it| builder::run(it, &command).await)
        }
        Command::Builder(command) => {
            let output = command.output();
            with_summary(global, output, async |it| builder::run(it, &command).await)
        }
        Command::Deploy(args) if args.render || args.dry_run => {
            with_progress(global, args.output, async |it| deploy::run(it, &args).await)
        }
        Command::Deploy(args) => {
            let output = args.output;
            with_summary(global, output, async |it| deploy::run(it, &args).await)
        }
        Command::Clean(args) => in_session(global, async |it| clean::run(it, &args).await),
        Command::Plan(args) => in_session(global, async |it| plan::run(it, &args).await),
        Command::Why(args) => in_session(global, async |it| why::run(it, &args).await),
        Command::Status(args) => in_session(global, async |it| status::run(it, &args).await),
        Command::Graph(args) => in_session(global, async |it| graph::run(it, &args).await),
        Command::Lock(args) => in_session(global, async |it| lock::run(it, &args).await),
        Command::Diff(args) => in_session(global, async |it| diff::run(it, &args).await),
        Command::Run(args) => in_session(global, async |it| run::run(it, &args).await),
        Command::Shell(args) => in_session(global, async |it| shell::run(it, &args).await),
        Command::Logs(args) => of_past_runs(global, async |it| logs::run(it, &args).await),
        Command::Report(args) => of_past_runs(global, async |it| report::run(it, &args)),
    }
}

/// Runs a command in a session, with text output.
fn in_session(
    global: &Global,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_progress(global, OutputArgs::default(), command)
}

/// Like [`in_session`], for a command that works even if the manifest has become invalid.
fn of_past_runs(
    global: &Global,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_settings(global, async |settings| {
        run_session(settings, Session::of_past_runs, command).await
    })
}

/// Like [`in_session`], with the requested output format.
fn with_progress(
    global: &Global,
    output: OutputArgs,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_output(global, output, false, command)
}

/// Like [`with_progress`], for a run: it is recorded, and its result is shown in the CI system.
fn with_summary(
    global: &Global,
    output: OutputArgs,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_output(global, output, true, command)
}

fn with_output(
    global: &Global,
    output: OutputArgs,
    is_run: bool,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_output_settings(global, output, is_run, async |settings| {
        run_session(settings, Session::open, command).await
    })
}

/// Runs a command that opens its sessions itself.
fn with_output_settings(
    global: &Global,
    output: OutputArgs,
    is_run: bool,
    command: impl AsyncFnOnce(Settings) -> Result<(), Failure>,
) -> Result<(), Failure> {
    with_settings(global, async |mut settings| {
        settings.report.is_run = is_run;
        if output.format == Format::Json {
            settings.report.style = OutputStyle::Json;
        }
        command(settings).await
    })
}

async fn run_session(
    settings: Settings,
    open: impl FnOnce(Settings, Interrupts) -> Result<Session, Failure>,
    command: impl AsyncFnOnce(&Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let style = settings.report.style;
    let session = Interrupts::listen().and_then(|interrupts| open(settings, interrupts));
    let session = session.inspect_err(|failure| {
        if style == OutputStyle::Json {
            print_finished(failure.exit, failure.message());
        }
    })?;
    let result = command(&session).await;
    // Restores the terminal, also after a failure.
    session.reporter.finish();
    let failure = result.as_ref().err();
    let exit = failure.map_or(Exit::Done, |failure| failure.exit);
    let message = failure.and_then(Failure::message);
    session.reporter.conclude(exit, message);
    session.reporter.display_result();
    result
}

/// Reads the settings and runs a command on a new async runtime.
fn with_settings(
    global: &Global,
    command: impl AsyncFnOnce(Settings) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let settings = Settings::read(global)
        .map_err(|error| Failure::usage(format!("cannot use the current folder: {error}")))?;
    if let Some(pipe) = settings.client.clone() {
        client::end_with(pipe);
    }
    let color = settings.report.color;
    let threads = std::thread::available_parallelism().map_or(2, |it| it.get().clamp(2, 8));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::outside(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(command(settings));
    // A thread that is still waiting for a credential helper or a DNS response must not delay the exit.
    runtime.shutdown_background();
    result.map_err(|failure| failure.map_message(|message| paint(&message, color)))
}

/// Prints a result as JSON.
fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}
