//! The command line. The doc comments are the help text.

mod examples;
mod foreign;
mod help;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum, ValueHint};

use crate::image::{RegistryPrefix, Tag};
use crate::manifest::ServiceName;
use crate::source::{GitReference, RefName};

pub use help::EXIT_CODES;
pub use usage::{Answer, Help, WrongUsage};

/// Build the container images of a product that lives in many git repositories
#[derive(Debug, Parser)]
#[command(
    name = "xp",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Global options
    #[command(flatten)]
    pub global: Global,
    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Run as if started in this folder
    #[arg(short = 'C', value_name = "DIR", value_hint = ValueHint::DirPath, global = true)]
    pub directory: Option<PathBuf>,
    /// The manifest; else x-platform.yml here or in a folder above
    #[arg(short = 'f', long = "file", value_name = "FILE", value_hint = ValueHint::FilePath, global = true)]
    pub file: Option<PathBuf>,
    /// When to use colours
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        hide_short_help = true
    )]
    pub color: ColorChoice,
    /// Say only what failed
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: the output of every step, and times
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// What stands before a line of output [default: service; with -v: time, where there are no bars]
    #[arg(long, value_name = "WHAT", global = true, hide_short_help = true)]
    pub log_prefix: Option<LogPrefixChoice>,
}

/// What stands before each line of a service's output
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogPrefixChoice {
    /// The service's name
    Service,
    /// The time in UTC, and the service's name
    Time,
    /// Nothing
    None,
}

/// When to use colours
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a manifest from what is here
    ///
    /// It reads working copies, compose files and the manifests of other tools.
    Init(InitArgs),
    /// Check what a build takes: engine, registries, remotes, folders
    Doctor(DoctorArgs),
    /// Show what `xp build` would do, and why; change nothing
    Plan(ShowPlanArgs),
    /// Build, tag and push the images that do not exist yet
    Build(BuildArgs),
    /// Tell why a service is built, input by input
    ///
    /// It tells what the image that exists had of each input, and what follows.
    Why(WhyArgs),
    /// Show working copy, commit and image of each service
    Status(StatusArgs),
    /// Clone, fetch and fast-forward; never touch your own work
    Sync(SyncArgs),
    /// Run a command in a service's builder, on the working copy
    Run(RunArgs),
    /// Open a shell in a service's builder, on the working copy
    Shell(ShellArgs),
    /// Show the logs of a run
    Logs(LogsArgs),
    /// Make a page of a run, with timeline and logs, or JUnit's XML
    Report(ReportArgs),
    /// Show which service needs which, and how each stands
    Graph(GraphArgs),
    /// Write down the commits and images that belong together
    Lock(LockArgs),
    /// Show what changed between two locks, with the commits
    Diff(DiffArgs),
    /// List or build the builder images
    #[command(subcommand)]
    Builder(BuilderCommand),
    /// Print the JSON Schema of the manifest, or of what xp prints
    Schema {
        /// Of what
        #[arg(value_enum, default_value = "manifest", value_name = "WHAT")]
        of: SchemaOf,
    },
    /// Print the script that makes a shell complete xp
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print a manual page, or write all of them
    Man(ManArgs),
    /// Answer a shell's script about a line that is being typed
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
        /// What was typed, in the way of the shell's script
        #[arg(last = true)]
        typed: Vec<OsString>,
    },
}

/// A shell
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Arguments of `xp man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command that the page is about, such as `build`; else xp itself
    #[arg(value_name = "COMMAND", value_hint = ValueHint::Other, conflicts_with = "out")]
    pub page: Vec<String>,
    /// Write a file for each page to this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

impl Command {
    /// Whether events are printed, a line of JSON each.
    pub fn prints_events(&self) -> bool {
        let told = match self {
            Self::Build(args) => args.told,
            Self::Sync(args) => args.told,
            Self::Builder(BuilderCommand::Update { told, .. }) => *told,
            _ => return false,
        };
        told.format == Format::Json
    }
}

/// Arguments of `xp init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Which services, and what they need
    #[command(flatten)]
    pub selection: Selection,
    /// One source alone: a file of compose, Skaffold, west or repo, .gitmodules, or a folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub from: Option<PathBuf>,
    /// Where images are pushed, such as harbour.example.com/x
    #[arg(long, value_name = "PREFIX", value_hint = ValueHint::Other)]
    pub registry: Option<RegistryPrefix>,
    /// Where to write it, `-` for standard output [default: x-platform.yml]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "dry_run")]
    pub output: Option<PathBuf>,
    /// Print it, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write it although there is one, which is kept as x-platform.yml.old
    #[arg(long)]
    pub force: bool,
    /// Ask nothing
    #[arg(short, long)]
    pub yes: bool,
}

/// Which services
#[derive(Debug, Args)]
pub struct Selection {
    /// Services, by name or pattern ('z*'); all where none is named
    #[arg(value_name = "SERVICE")]
    pub names: Vec<String>,
    /// Services, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub services: Vec<String>,
}

impl Selection {
    /// Returns the names and patterns, however they were given.
    pub fn patterns(&self) -> Vec<&str> {
        // In a list, a space after a comma is no part of a name.
        let listed = self.services.iter().map(|name| name.trim());
        let named = self.names.iter().map(String::as_str);
        named.chain(listed).collect()
    }
}

/// Which commits
#[derive(Debug, Clone, Args)]
pub struct References {
    /// A topic train: this branch where a repository has it
    ///
    /// Where a repository has no such branch, the service is built from what the manifest says.
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<RefName>,
    /// Another branch, tag or commit for one service; may be repeated
    #[arg(
        long = "reference", value_name = "SERVICE=REF", value_parser = service_reference,
        hide_short_help = true
    )]
    pub references: Vec<(ServiceName, GitReference)>,
}

/// What is taken from the lock
#[derive(Debug, Default, Args)]
pub struct LockedArgs {
    /// Take commits and images from the lock, or fail
    ///
    /// Nothing else is taken where they cannot be had.
    #[arg(long, conflicts_with_all = ["branch", "references"])]
    pub locked: bool,
    /// The lock; else x-platform.lock beside the manifest
    #[arg(
        long, value_name = "FILE", value_hint = ValueHint::FilePath,
        requires = "locked", hide_short_help = true
    )]
    pub lock_file: Option<PathBuf>,
}

/// What to do with images
#[derive(Debug, Default, Args)]
pub struct ImageArgs {
    /// Build what is selected even where its image exists
    #[arg(long, conflicts_with = "locked")]
    pub force: bool,
    /// Do not pull what the registry alone has
    #[arg(long)]
    pub no_pull: bool,
    /// Push nothing
    #[arg(long)]
    pub no_push: bool,
    /// Take an image by its commit alone, whatever else it was built from
    #[arg(long, hide_short_help = true)]
    pub trust_commit: bool,
    /// Leave out `scripts.test`
    #[arg(long)]
    pub no_test: bool,
    /// A further tag for each image; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<Tag>,
}

/// What a schema is of
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// x-platform.yml
    Manifest,
    /// The output of `xp plan --format json`
    Plan,
    /// The output of `xp doctor --format json`
    Doctor,
    /// A line of the output of `xp build --format json`
    Events,
}

/// How a result is printed
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Arguments of `xp plan`
#[derive(Debug, Args)]
pub struct ShowPlanArgs {
    /// What is planned
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
    /// Exit with 10 where there is work to do
    ///
    /// That is where something would be built, pushed or tagged.
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `xp why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// Compare with another image of the service: a tag, a branch, a commit, a digest or a whole name
    #[arg(long, value_name = "REF")]
    pub against: Option<String>,
    /// Which commit
    #[command(flatten)]
    pub references: References,
}

/// What is planned
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// What is taken from the lock
    #[command(flatten)]
    pub locked: LockedArgs,
    /// What to do with images
    #[command(flatten)]
    pub images: ImageArgs,
    /// Build working copies as they stand; push nothing
    ///
    /// They are mounted in place, so that compilers stay incremental.
    #[arg(long, conflicts_with = "locked")]
    pub local: bool,
}

/// Arguments of `xp build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// What is planned
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How much at once
    #[command(flatten)]
    pub jobs: Jobs,
    /// Stop everything at the first failure, not only what depends on it
    #[arg(long, hide_short_help = true)]
    pub fail_fast: bool,
    /// How what happens is told
    #[command(flatten)]
    pub told: Told,
}

/// How what happens is told
#[derive(Debug, Clone, Copy, Args)]
pub struct Told {
    /// How what happens is told: `json` prints an event a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
}

/// How much at once
#[derive(Debug, Args)]
pub struct Jobs {
    /// How many services at once
    ///
    /// By default as many as there are processors, and 16 for `xp sync`.
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<u16>,
}

/// Arguments of `xp logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Services and builders, by name or pattern ('z*'); all where none is named
    #[arg(value_name = "SERVICE")]
    pub names: Vec<String>,
    /// Which run, by its number; else the last one that has such a log
    #[arg(long, value_name = "RUN", value_parser = run_number)]
    pub run: Option<u64>,
    /// Only of this phase, such as `build`, `test` or `image`
    #[arg(long, value_name = "PHASE")]
    pub phase: Option<String>,
    /// Go on with what the run that is under way writes
    #[arg(short = 'f', long, conflicts_with = "run")]
    pub follow: bool,
    /// The manifest; else x-platform.yml here or in a folder above
    // The global option without its short form, which everybody expects to follow logs.
    #[arg(
        id = "file",
        long = "file",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Global options"
    )]
    pub file: Option<PathBuf>,
    /// Print the names of the files
    #[arg(long, conflicts_with = "follow")]
    pub path: bool,
    /// List the runs that are kept
    #[arg(long, conflicts_with_all = ["names", "run", "phase", "follow", "path"])]
    pub list: bool,
}

/// Arguments of `xp report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Which run, by its number; else the last one
    #[arg(long, value_name = "RUN", value_parser = run_number)]
    pub run: Option<u64>,
    /// What is made
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "html")]
    pub format: ReportFormat,
    /// Where it is written; `-` is standard output
    ///
    /// Without it a page goes into a file beside the logs of the run, and JUnit's XML to standard output.
    /// The name of the file is printed.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Show the page in the browser
    #[arg(long)]
    pub open: bool,
}

/// What a report is
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A page that needs no network
    Html,
    /// JUnit's XML, for the dashboards of CI systems
    Junit,
}

/// Arguments of `xp status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Ask no git remote and no registry: show what is known here
    #[arg(long)]
    pub offline: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
}

/// Arguments of `xp doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Which services; what they need comes along
    #[command(flatten)]
    pub selection: Selection,
    /// Ask no git remote and no registry
    #[arg(long)]
    pub offline: bool,
    /// How long each answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = seconds)]
    pub timeout: u64,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
}

/// Arguments of `xp graph`
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Which services; what they need comes along
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Show the graph alone, and ask no server
    #[arg(long, conflicts_with_all = ["branch", "references"])]
    pub no_state: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: GraphFormat,
}

/// How a graph is printed
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A tree, for people
    Text,
    /// The language of Graphviz
    Dot,
    /// The language of Mermaid
    Mermaid,
    /// For programs
    Json,
}

/// Arguments of `xp sync`
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// What is taken from the lock
    #[command(flatten)]
    pub locked: LockedArgs,
    /// How much at once
    #[command(flatten)]
    pub jobs: Jobs,
    /// How what happens is told
    #[command(flatten)]
    pub told: Told,
}

/// Arguments of `xp run`
#[derive(Debug, Args)]
#[command(
    override_usage = "xp run [OPTIONS] [SERVICE] -- COMMAND...",
    after_help = "Exit code: the command's own, 128 and the signal's number where a signal ended it"
)]
pub struct RunArgs {
    /// The service; else the one whose folder is the current one, or holds it
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::Other)]
    pub command: Vec<String>,
    /// In which surroundings
    #[command(flatten)]
    pub surroundings: Surroundings,
}

/// Arguments of `xp shell`
#[derive(Debug, Args)]
#[command(after_help = "Exit code: the shell's own")]
pub struct ShellArgs {
    /// The service; else the one whose folder is the current one, or holds it
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Where the service's last build failed: its files, variables and folder
    ///
    /// Without a service, that of the last run, where one alone failed.
    #[arg(long)]
    pub failed: bool,
    /// In which surroundings
    #[command(flatten)]
    pub surroundings: Surroundings,
}

/// The surroundings of a command in a container
#[derive(Debug, Args)]
pub struct Surroundings {
    /// Set a variable, or hand on your own; may be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]", value_hint = ValueHint::Other, value_parser = variable)]
    pub env: Vec<(String, Option<String>)>,
    /// The folder of the container to start in [default: that of your current folder, or of the scripts]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::Other)]
    pub workdir: Option<String>,
    /// Have a terminal in the container, whatever standard input and output are
    #[arg(short, long)]
    pub terminal: bool,
    /// Have no terminal in the container
    #[arg(short = 'T', long, conflicts_with = "terminal")]
    pub no_terminal: bool,
}

/// Arguments of `xp lock`
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Write nothing; fail where the lock is out of date
    #[arg(long)]
    pub check: bool,
    /// Lock images that were built without `scripts.test` as well
    #[arg(long)]
    pub no_test: bool,
    /// Lock what is tagged with the commit, whatever else it was built from
    #[arg(long)]
    pub trust_commit: bool,
    /// The lock; else x-platform.lock beside the manifest
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock_file: Option<PathBuf>,
}

/// Arguments of `xp diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The lock before: a file, or a git revision of this platform [default: HEAD]
    #[arg(value_name = "A", value_hint = ValueHint::AnyPath)]
    pub from: Option<String>,
    /// The lock after: a file, or a git revision of this platform [default: x-platform.lock]
    #[arg(value_name = "B", value_hint = ValueHint::AnyPath)]
    pub to: Option<String>,
    /// How the changes are shown
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ChangesFormat,
    /// Fetch nothing: list the commits that the working copies have
    #[arg(long)]
    pub no_fetch: bool,
    /// The lock; else x-platform.lock beside the manifest
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock_file: Option<PathBuf>,
}

/// How changes are shown
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChangesFormat {
    /// Lines
    Text,
    /// Release notes
    Markdown,
    /// For programs
    Json,
}

/// The commands of `xp builder`
#[derive(Debug, Subcommand)]
pub enum BuilderCommand {
    /// List the builder images, and where they exist
    List,
    /// Build builder images again without the engine's cache, and push them
    Update {
        /// Builders, by the name of their folder; all where none is named
        #[arg(value_name = "BUILDER")]
        names: Vec<String>,
        /// How much at once
        #[command(flatten)]
        jobs: Jobs,
        /// Push nothing
        #[arg(long)]
        no_push: bool,
        /// How what happens is told
        #[command(flatten)]
        told: Told,
    },
}

/// Returns the definition of the command line, with what the help of each command ends with.
pub fn command() -> clap::Command {
    help::complete(<Cli as clap::CommandFactory>::command())
}

/// Returns what help and manual page of a command tell by example: a command line, and what it is for.
pub fn examples(command: &str) -> &'static [(&'static str, &'static str)] {
    examples::of(command)
}

/// Reads a command line.
///
/// # Errors
///
/// It is wrong, or asks for help or the version.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Answer> {
    let words: Vec<OsString> = words.into_iter().collect();
    let mut definition = command();
    let matches = definition.try_get_matches_from_mut(&words);
    matches
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| usage::answer(&mut definition, &words, error))
}

/// Reads a number of things at once.
fn jobs(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("write a number from 1 to {}", u16::MAX)),
        Ok(count) => Ok(count),
    }
}

fn run_number(text: &str) -> Result<u64, String> {
    let wrong = |_| "write the number of a run; `xp logs --list` lists them".to_owned();
    text.parse().map_err(wrong)
}

fn seconds(text: &str) -> Result<u64, String> {
    let found = text.parse().ok().filter(|count| (1..=3600).contains(count));
    found.ok_or_else(|| "write a number of seconds from 1 to 3600".to_owned())
}

fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    match name.is_empty() {
        true => Err("write `--env NAME` or `--env NAME=VALUE`".to_owned()),
        false => Ok((name.to_owned(), value)),
    }
}

fn service_reference(text: &str) -> Result<(ServiceName, GitReference), String> {
    let Some((service, reference)) = text.split_once('=') else {
        return Err("write SERVICE=REF, such as zbackend=origin/main".to_owned());
    };
    let service = service.parse().map_err(|error| format!("{error}"))?;
    let reference = reference.parse().map_err(|error| format!("{error}"))?;
    Ok((service, reference))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn logs_are_followed_by_the_short_option_of_the_manifest() {
        let cli = Cli::try_parse_from(["xp", "-f", "a.yml", "logs", "-f", "zbackend"]).unwrap();
        assert_eq!(cli.global.file, Some("a.yml".into()));
        let cli = Cli::try_parse_from(["xp", "logs", "-f", "--file", "a.yml"]).unwrap();
        assert_eq!(cli.global.file, Some("a.yml".into()));
        let Command::Logs(logs) = cli.command else {
            panic!("not logs")
        };
        assert!(logs.follow && logs.names.is_empty());
    }

    #[test]
    fn services_come_as_arguments_and_as_a_list() {
        let cli = Cli::try_parse_from([
            "xp",
            "build",
            "a",
            "--services",
            "b,c",
            "--reference",
            "a=v1",
        ])
        .unwrap();
        let Command::Build(build) = cli.command else {
            panic!("not a build")
        };
        assert_eq!(build.plan.selection.names, ["a"]);
        assert_eq!(build.plan.selection.services, ["b", "c"]);
        assert_eq!(build.plan.references.references.len(), 1);
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in [
            &["xp", "build", "--jobs", "0"][..],
            &["xp", "build", "--tag", "-x"],
            &["xp", "build", "--branch", "a..b"],
            &["xp", "build", "--reference", "a"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
