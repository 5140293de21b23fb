//! Arguments of the commands that change something: init, build, sync, deploy and others.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};

use super::shared::{
    ContainerArgs, Format, Jobs, LockedArgs, OutputArgs, PlanArgs, References, Selection,
};
use super::values::duration;
use crate::model::image::RegistryPrefix;

/// Arguments of `xp init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Which services; their dependencies are included
    #[command(flatten)]
    pub selection: Selection,
    /// Read only this source: a compose, Skaffold, west or repo file, .gitmodules, or a folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub from: Option<PathBuf>,
    /// Registry prefix for images, such as harbour.example.com/x
    #[arg(long, value_name = "PREFIX", value_hint = ValueHint::Other)]
    pub registry: Option<RegistryPrefix>,
    /// Write to this file; `-` is standard output [default: x-platform.yml]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "dry_run")]
    pub output: Option<PathBuf>,
    /// Print the manifest without writing it
    #[arg(long)]
    pub dry_run: bool,
    /// Replace an existing manifest, keeping it as x-platform.yml.old
    #[arg(long)]
    pub force: bool,
    /// Do not prompt
    #[arg(short, long)]
    pub yes: bool,
}

/// Arguments of `xp build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// What to build
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Build what failed or was not started in the last run
    #[arg(long, conflicts_with_all = ["names", "services", "locked", "shard", "only"])]
    pub failed: bool,
    /// Concurrency
    #[command(flatten)]
    pub jobs: Jobs,
    /// Stop all services at the first failure, not only its dependents
    #[arg(long, hide_short_help = true)]
    pub fail_fast: bool,
    /// Write the image, digest and tags of each service to this file, as JSON
    ///
    /// The file is replaced at the end of the run, also if services failed.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub metadata_file: Option<PathBuf>,
    /// Build again whenever files change, until Ctrl-C
    ///
    /// Only changed content causes a build. Files that git ignores do not count. A running build is finished first.
    #[arg(long, requires = "local", conflicts_with = "failed")]
    pub watch: bool,
    /// With `--watch`: deploy to this environment, a compose project, after each build that succeeds
    #[arg(long, value_name = "ENV", requires = "watch", hide_short_help = true)]
    pub deploy: Option<String>,
    /// Output format
    #[command(flatten)]
    pub output: OutputArgs,
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
    /// Use of the lock
    #[command(flatten)]
    pub locked: LockedArgs,
    /// Concurrency
    #[command(flatten)]
    pub jobs: Jobs,
    /// Output format
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `xp run`
#[derive(Debug, Args)]
#[command(
    override_usage = "xp run [OPTIONS] [SERVICE] -- COMMAND...",
    after_help = "Exit code: the command's, or 128 plus the signal number if it was killed by a signal"
)]
pub struct RunArgs {
    /// The service [default: the one in the current folder]
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::Other)]
    pub command: Vec<String>,
    /// Options for the container
    #[command(flatten)]
    pub container: ContainerArgs,
}

/// Arguments of `xp shell`
#[derive(Debug, Args)]
#[command(after_help = "Exit code: the shell's")]
pub struct ShellArgs {
    /// The service [default: the one in the current folder]
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Open the shell where the last build failed, with its files and variables
    ///
    /// Without SERVICE, it is the service that failed in the last run, if there was only one.
    #[arg(long)]
    pub failed: bool,
    /// Options for the container
    #[command(flatten)]
    pub container: ContainerArgs,
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
    /// Only check; fail if the lock is out of date
    #[arg(long)]
    pub check: bool,
    /// Accept images that were built without tests
    #[arg(long)]
    pub no_test: bool,
    /// Accept images tagged with the commit, whatever else they were built from
    #[arg(long)]
    pub trust_commit: bool,
    /// The lock file [default: x-platform.lock next to the manifest]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock_file: Option<PathBuf>,
}

/// Arguments of `xp copy`
#[derive(Debug, Args)]
pub struct CopyArgs {
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// The registry prefix to copy from; for one service, also its whole repository
    #[arg(long, value_name = "PREFIX", value_hint = ValueHint::Other)]
    pub from: RegistryPrefix,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Use of the lock
    #[command(flatten)]
    pub locked: LockedArgs,
    /// Show what would be copied
    #[arg(long)]
    pub dry_run: bool,
    /// Accept images that were built without tests
    #[arg(long, hide_short_help = true)]
    pub no_test: bool,
    /// Concurrency
    #[command(flatten)]
    pub jobs: Jobs,
    /// Output format
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `xp clean`
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Clean the registries
    #[arg(long)]
    pub registry: bool,
    /// Clean the engine of this machine, and those of `engines`
    #[arg(long)]
    pub engine: bool,
    /// Clean the cache folder of this machine
    #[arg(long)]
    pub cache: bool,
    /// Remove what is shown
    #[arg(long)]
    pub delete: bool,
    /// Remove nothing if there is more to remove than N items
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    pub max_delete: Option<usize>,
    /// Write the plan to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "delete")]
    pub save: Option<PathBuf>,
    /// Remove exactly what a saved plan removes
    ///
    /// If one of its images is used by now, nothing is removed. What was removed since is skipped.
    #[arg(
        long = "use", value_name = "FILE", value_hint = ValueHint::FilePath,
        conflicts_with_all = ["registry", "engine", "cache", "delete", "save"]
    )]
    pub use_file: Option<PathBuf>,
    /// Output format
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        hide_possible_values = true
    )]
    pub format: Format,
}

/// Arguments of `xp deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// An environment from `deploy.environments` in the manifest; without it, they are listed
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Deploy exactly the images of this lock
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["branch", "references"])]
    pub lock: Option<PathBuf>,
    /// Deploy the images of x-platform.lock next to the manifest
    #[arg(long, conflicts_with_all = ["branch", "references", "lock"], hide_short_help = true)]
    pub locked: bool,
    /// Roll back to the previous deployment
    #[arg(long, conflicts_with_all = ["branch", "references", "lock", "locked", "names", "services"])]
    pub rollback: bool,
    /// Build missing images first
    #[arg(long, conflicts_with_all = ["lock", "locked", "rollback", "render", "dry_run"])]
    pub build: bool,
    /// Deploy the images of working copies, built with `xp build --local`, to a compose project
    #[arg(long, conflicts_with_all = ["branch", "lock", "locked", "rollback"], hide_short_help = true)]
    pub local: bool,
    /// Print the YAML to be applied, without cluster access
    #[arg(long, conflicts_with_all = ["dry_run", "rollback"])]
    pub render: bool,
    /// Show what would be deployed
    ///
    /// Without `--rollback`, a cluster is not accessed; for a compose project, it is compared with the containers.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not prompt
    #[arg(short, long, hide_short_help = true)]
    pub yes: bool,
    /// Time limit for the rollout, such as `10m` [default: from the manifest]
    #[arg(long, value_name = "TIME", value_hint = ValueHint::Other, value_parser = duration, hide_short_help = true)]
    pub timeout: Option<Duration>,
    /// Accept images of the same commit, whatever else they were built from
    #[arg(long, hide_short_help = true)]
    pub trust_commit: bool,
    /// Take over fields managed by others
    #[arg(long, hide_short_help = true)]
    pub force_conflicts: bool,
    /// Continue even if another deploy seems to be running
    #[arg(long, hide_short_help = true)]
    pub take_over: bool,
    /// Output format
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The subcommands of `xp builder`
#[derive(Debug, Subcommand)]
pub enum BuilderCommand {
    /// List the builder images and where they exist
    List,
    /// Rebuild builder images without the engine's cache, and push them
    Update {
        /// Builders, by folder name [default: all]
        #[arg(value_name = "BUILDER")]
        names: Vec<String>,
        /// Concurrency
        #[command(flatten)]
        jobs: Jobs,
        /// Do not push
        #[arg(long)]
        no_push: bool,
        /// Pull the base images of the Dockerfiles again
        #[arg(long)]
        refresh_bases: bool,
        /// Output format
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl BuilderCommand {
    /// Returns the output format.
    pub fn output(&self) -> OutputArgs {
        match self {
            Self::List => OutputArgs::default(),
            Self::Update { output, .. } => *output,
        }
    }
}
