//! The command line. The doc comments are the help text.

mod examples;
mod foreign;
mod help;
mod look;
mod shared;
mod usage;
mod values;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum, ValueHint};

pub use help::EXIT_CODES;
pub use look::*;
pub use shared::*;
pub use usage::{Answer, Help, WrongUsage};
pub use work::*;

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
    /// Deploy a set of images to a Kubernetes cluster
    ///
    /// The images are named by their digests in an overlay around yours. A record in the cluster says what is
    /// deployed, so that a part of it can be deployed, and that there is a way back.
    Deploy(DeployArgs),
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
