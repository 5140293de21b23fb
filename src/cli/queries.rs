//! Arguments of the commands that only read: plan, why, status, logs and others.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::shared::{Format, PlanArgs, References, Selection};
use super::values::{run_number, seconds};
use crate::model::shard::MAX_SHARDS;

/// Arguments of `xp man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command to describe, such as `build` [default: xp itself]
    #[arg(value_name = "COMMAND", value_hint = ValueHint::Other, conflicts_with = "out")]
    pub page: Vec<String>,
    /// Write all pages to this folder, one file each
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

/// The available schemas
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// x-platform.yml, with the settings of plugins in the builders folder
    Platform,
    /// x-platform.yml of any platform
    Manifest,
    /// The output of `xp plan --format json`
    Plan,
    /// The output of `xp doctor --format json`
    Doctor,
    /// The output of `xp check --format json`
    Check,
    /// The output of `xp clean --format json`
    Clean,
    /// The output of `xp verify --format json`
    Verify,
    /// One line of the output of `xp build --format json`
    Events,
    /// The file of `xp build --metadata-file`
    Metadata,
    /// The unit that `xp build --fleet` sends to a Job
    Unit,
}

/// The generated pages of the documentation
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReferencePage {
    /// docs/reference.md
    Commands,
    /// docs/environment.md
    Environment,
}

/// Arguments of `xp plan`
#[derive(Debug, Args)]
pub struct ShowPlanArgs {
    /// What to plan
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: PlanFormat,
    /// With `--format github` or `gitlab`: a job for each of N parts, instead of for each service
    ///
    /// The parts are those of `xp build --shard K/N` with the same `--shard-times`.
    #[arg(
        long, value_name = "N", conflicts_with_all = ["shard", "local"], hide_short_help = true,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SHARDS))
    )]
    pub shards: Option<u16>,
    /// Exit with code 10 if there is work to do
    ///
    /// There is work to do if an image would be built, pushed or tagged.
    #[arg(long)]
    pub exit_code: bool,
}

/// Output format of `xp plan`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// Human-readable text
    #[default]
    Text,
    /// JSON
    Json,
    /// A matrix for GitHub Actions, as JSON in one line
    Github,
    /// A child pipeline for GitLab
    Gitlab,
}

/// Arguments of `xp why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The service [default: the one whose folder you are in, else a line for each one to be built]
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Compare with another image of the service: a tag, branch, commit, digest or full image name
    #[arg(long, value_name = "REF")]
    pub against: Option<String>,
    /// Also compare the base images with those in their registries
    #[arg(long, conflicts_with = "against")]
    pub refresh_bases: bool,
    /// Which commit to use
    #[command(flatten)]
    pub references: References,
}

/// Arguments of `xp logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Services and builders, by name or pattern ('z*') [default: all, or the one whose folder you are in]
    #[arg(value_name = "SERVICE")]
    pub names: Vec<String>,
    /// The number of the run [default: the last one with a matching log]
    #[arg(long, value_name = "RUN", value_parser = run_number)]
    pub run: Option<u64>,
    /// Show only this phase, such as `build`, `test` or `image`
    #[arg(long, value_name = "PHASE")]
    pub phase: Option<String>,
    /// Follow the logs of the run in progress
    #[arg(short = 'f', long, conflicts_with = "run")]
    pub follow: bool,
    /// Manifest file [default: x-platform.yml in this folder or a parent]
    // The global option without its short form: users expect `-f` to follow logs.
    #[arg(
        id = "file",
        long = "file",
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Global options"
    )]
    pub file: Option<PathBuf>,
    /// Print the paths of the log files instead
    #[arg(long, conflicts_with = "follow")]
    pub path: bool,
    /// List recorded runs
    #[arg(long, conflicts_with_all = ["names", "run", "phase", "follow", "path"])]
    pub list: bool,
}

/// Arguments of `xp report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The number of the run [default: the last one]
    #[arg(long, value_name = "RUN", value_parser = run_number)]
    pub run: Option<u64>,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "html")]
    pub format: ReportFormat,
    /// Write to this file; `-` is standard output
    ///
    /// By default, an HTML page is written next to the logs of the run and its path is printed; the
    /// other formats go to standard output.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Open the page in the browser
    #[arg(long)]
    pub open: bool,
}

/// Format of a report
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A self-contained HTML page
    Html,
    /// JUnit XML, for CI systems
    Junit,
    /// GitHub-flavored Markdown, for job summaries and comments
    Markdown,
    /// An OpenTelemetry trace, as OTLP JSON
    Otlp,
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
    /// Show only what is known locally, without contacting git remotes or registries
    #[arg(long)]
    pub offline: bool,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
}

/// Arguments of `xp doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Which services; their dependencies are included
    #[command(flatten)]
    pub selection: Selection,
    /// Also check from inside a pod of this fleet: engine, registries and git remotes
    ///
    /// A Job is started for it, and removed afterwards.
    #[arg(long, value_name = "FLEET", conflicts_with = "offline")]
    pub fleet: Option<String>,
    /// Do not contact git remotes or registries
    #[arg(long)]
    pub offline: bool,
    /// Time limit for each check
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = seconds)]
    pub timeout: u64,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
}

/// Arguments of `xp check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The lock file [default: x-platform.lock next to the manifest, if it exists]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock_file: Option<PathBuf>,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
}

/// Arguments of `xp graph`
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Which services; their dependencies are included
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Show what needs each service instead of what it needs
    ///
    /// Selected services are shown with their dependents.
    #[arg(long)]
    pub reverse: bool,
    /// Show only the graph, without contacting any server
    #[arg(long, conflicts_with_all = ["branch", "references"])]
    pub no_state: bool,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: GraphFormat,
}

/// Format of a graph
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A tree
    Text,
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
    /// JSON
    Json,
}

/// Arguments of `xp verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Services, by name or pattern ('z*'); or a lock file; or an environment [default: all services]
    #[arg(value_name = "TARGET")]
    pub names: Vec<String>,
    /// Services, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub services: Vec<String>,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: Format,
}

/// Arguments of `xp diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The old state: a lock, a deployment environment or a git revision [default: HEAD]
    #[arg(value_name = "A", value_hint = ValueHint::AnyPath)]
    pub from: Option<String>,
    /// The new state: a lock, an environment or a git revision [default: x-platform.lock]
    #[arg(value_name = "B", value_hint = ValueHint::AnyPath)]
    pub to: Option<String>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ChangesFormat,
    /// Do not fetch; list only commits that the working copies have
    #[arg(long)]
    pub no_fetch: bool,
    /// The lock file [default: x-platform.lock next to the manifest]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock_file: Option<PathBuf>,
}

/// Format of a list of changes
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChangesFormat {
    /// Plain text
    Text,
    /// Release notes
    Markdown,
    /// JSON
    Json,
}
