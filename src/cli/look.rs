//! What the commands take that show something.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::shared::{Format, PlanArgs, References, Selection};
use super::values::{run_number, seconds};

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

/// Arguments of `xp diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// What was before: a lock, an environment that is deployed to, or a git revision [default: HEAD]
    #[arg(value_name = "A", value_hint = ValueHint::AnyPath)]
    pub from: Option<String>,
    /// What is after: a lock, an environment, or a git revision [default: x-platform.lock]
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
