//! What the commands take that do something.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

use super::shared::{Jobs, LockedArgs, PlanArgs, References, Selection, Surroundings, Told};
use super::values::duration;
use crate::image::RegistryPrefix;

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

/// Arguments of `xp deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The environment, as `deploy.environments` of the manifest names it
    #[arg(value_name = "ENV")]
    pub environment: String,
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Deploy what this lock says, and nothing else
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["branch", "references"])]
    pub lock: Option<PathBuf>,
    /// Deploy what x-platform.lock beside the manifest says
    #[arg(long, conflicts_with_all = ["branch", "references", "lock"], hide_short_help = true)]
    pub locked: bool,
    /// Go back to what was deployed before
    #[arg(long, conflicts_with_all = ["branch", "references", "lock", "locked", "names", "services"])]
    pub rollback: bool,
    /// Build what is missing first
    #[arg(long, conflicts_with_all = ["lock", "locked", "rollback", "render", "dry_run"])]
    pub build: bool,
    /// Print what would be applied as YAML; reach no cluster
    #[arg(long, conflicts_with_all = ["dry_run", "rollback"])]
    pub render: bool,
    /// Show what would be deployed; reach no cluster
    #[arg(long, conflicts_with = "rollback")]
    pub dry_run: bool,
    /// Ask nothing
    #[arg(short, long, hide_short_help = true)]
    pub yes: bool,
    /// How long the rollout may take, such as `10m`; else what the manifest says
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other, value_parser = duration, hide_short_help = true)]
    pub timeout: Option<Duration>,
    /// Take images by their commits alone, whatever else they were built from
    #[arg(long, hide_short_help = true)]
    pub trust_commit: bool,
    /// Take over fields of objects that somebody else has applied
    #[arg(long, hide_short_help = true)]
    pub force_conflicts: bool,
    /// Go on although another deploy seems to be under way
    #[arg(long, hide_short_help = true)]
    pub take_over: bool,
    /// How what happens is told
    #[command(flatten)]
    pub told: Told,
}

impl DeployArgs {
    /// Returns the arguments of a command that names an environment and nothing else.
    pub fn of(environment: &str) -> Self {
        Self {
            environment: environment.to_owned(),
            selection: Selection::default(),
            references: References::default(),
            lock: None,
            locked: false,
            rollback: false,
            build: false,
            render: false,
            dry_run: false,
            yes: false,
            timeout: None,
            trust_commit: false,
            force_conflicts: false,
            take_over: false,
            told: Told::default(),
        }
    }
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

impl BuilderCommand {
    /// How what happens is told.
    pub fn told(&self) -> Told {
        match self {
            Self::List => Told::default(),
            Self::Update { told, .. } => *told,
        }
    }
}
