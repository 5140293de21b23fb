//! The command line. The doc comments of arguments and commands are the help texts.

mod actions;
pub mod complete;
mod examples;
mod foreign;
mod help;
pub mod man;
mod queries;
pub mod reference;
mod shared;
mod usage;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum, ValueHint};

pub use actions::*;
pub use queries::*;
pub use shared::*;
pub use usage::ParseError;

/// Build the container images of a product that lives in many git repositories
#[derive(Debug, Parser)]
#[command(
    name = "xp",
    version = env!("XP_VERSION"),
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Global options
    #[command(flatten)]
    pub global: Global,
    /// The subcommand
    #[command(subcommand)]
    pub command: Command,
}

/// Options shared by all commands
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Run as if started in this folder
    #[arg(short = 'C', value_name = "DIR", value_hint = ValueHint::DirPath, global = true)]
    pub directory: Option<PathBuf>,
    /// Manifest file [default: x-platform.yml in this folder or a parent]
    #[arg(short = 'f', long = "file", value_name = "FILE", value_hint = ValueHint::FilePath, global = true)]
    pub file: Option<PathBuf>,
    /// When to use colors
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        hide_short_help = true
    )]
    pub color: ColorChoice,
    /// Print only failures
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print the output of every step, and times
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Prefix of output lines [default: service, or time with -v and no progress bars]
    #[arg(long, value_name = "PREFIX", global = true, hide_short_help = true)]
    pub log_prefix: Option<LogPrefixChoice>,
}

/// Prefix of each line of a service's output
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogPrefixChoice {
    /// The service's name
    Service,
    /// The time in UTC and the service's name
    Time,
    /// No prefix
    None,
}

/// When to use colors
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The subcommands
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Generate a manifest from the files in this folder
    ///
    /// Reads working copies, compose files and the manifests of other tools.
    Init(InitArgs),
    /// Validate the manifest and the files it names, without any server
    Check(CheckArgs),
    /// Check what a build needs: engine, registries, remotes, folders
    Doctor(DoctorArgs),
    /// Show what `xp build` would do and why, without changing anything
    Plan(ShowPlanArgs),
    /// Build, tag and push the images that do not exist yet
    Build(BuildArgs),
    /// Explain why a service is built, input by input
    ///
    /// Compares each input with what the existing image was built from.
    Why(WhyArgs),
    /// Show the working copy, commit and image of each service
    Status(StatusArgs),
    /// Clone or update working copies, preserving local changes
    Sync(SyncArgs),
    /// Run a command in a service's builder, on the working copy
    Run(RunArgs),
    /// Open a shell in a service's builder, on the working copy
    Shell(ShellArgs),
    /// Show the logs of a run
    Logs(LogsArgs),
    /// Export a run as an HTML page, Markdown, JUnit XML or a trace
    Report(ReportArgs),
    /// Show the dependency graph and the state of each service
    Graph(GraphArgs),
    /// Record the commits and images of all services in a lock file
    Lock(LockArgs),
    /// Show the changes between two locks, with their commits
    Diff(DiffArgs),
    /// Copy images from another registry, after a move
    ///
    /// Copies the images of the current commits that `xp build` would accept, with their commit and identity tags.
    /// Branch tags are not moved.
    Copy(CopyArgs),
    /// Remove images, tags and cached files that nothing needs
    ///
    /// Shows what would be removed, with a reason for each item. Kept is whatever locks, deploys, running containers and
    /// branches use, and what is recent; see `clean` in the manifest. Without `--registry`, `--engine` or `--cache`, all of
    /// them are cleaned. If a cluster, registry or remote does not respond, nothing is removed.
    Clean(CleanArgs),
    /// Deploy images to a cluster or compose project
    ///
    /// xp wraps your overlay or compose file in one that pins the images by digest. A record in the cluster or engine
    /// keeps track of what is deployed, so you can deploy single services and roll back.
    Deploy(DeployArgs),
    /// List or build the builder images
    #[command(subcommand)]
    Builder(BuilderCommand),
    /// Print the JSON Schema of the manifest or of xp's JSON output
    Schema {
        /// Which schema
        #[arg(value_enum, default_value = "platform", value_name = "SCHEMA")]
        of: SchemaName,
    },
    /// Print the completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print a manual page, or write all of them to a folder
    Man(ManArgs),
    /// Print a generated page of the documentation
    #[command(name = "__reference", hide = true)]
    Reference {
        /// Which page
        #[arg(value_enum)]
        page: ReferencePage,
    },
    /// Run one unit of `xp build --fleet` (called in the pod of its Job)
    #[command(name = "__worker", hide = true)]
    Worker {
        /// The unit document
        file: PathBuf,
    },
    /// Complete a partial command line (called by the completion scripts)
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
        /// The words typed so far, as passed by the shell's completion script
        #[arg(last = true)]
        typed: Vec<OsString>,
    },
}

/// Returns the definition of the command line, with examples and exit codes added to the help.
pub fn command() -> clap::Command {
    help::complete(<Cli as clap::CommandFactory>::command())
}

/// Returns the examples for a command's help and manual page: pairs of a command line and its description.
pub fn examples(command: &str) -> &'static [(&'static str, &'static str)] {
    examples::of(command)
}

/// Parses a command line.
///
/// # Errors
///
/// The command line is invalid, or requests help or the version.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, ParseError> {
    let words: Vec<OsString> = words.into_iter().collect();
    let mut definition = command();
    let matches = definition.try_get_matches_from_mut(&words);
    matches
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| usage::parse_error(&mut definition, &words, error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_short_option_f_means_follow_after_logs() {
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
    fn services_can_be_arguments_or_a_list() {
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
    fn invalid_values_are_rejected() {
        for words in [
            &["xp", "build", "--jobs", "0"][..],
            &["xp", "build", "--tag", "-x"],
            &["xp", "build", "--branch", "a..b"],
            &["xp", "build", "--reference", "a"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
