//! Arguments shared by several commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::values::{duration, jobs, service_reference, variable};
use crate::model::image::Tag;
use crate::model::manifest::ServiceName;
use crate::model::shard::Shard;
use crate::model::source::{GitReference, RefName};

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

/// Which services
#[derive(Debug, Default, Args)]
pub struct Selection {
    /// Services: a, 'z*', a+ (dependents), +a (needs) [default: all]
    #[arg(value_name = "SERVICE")]
    pub names: Vec<String>,
    /// Services, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub services: Vec<String>,
}

impl Selection {
    /// Returns all names and patterns, from both the arguments and the list.
    pub fn patterns(&self) -> Vec<&str> {
        // A space after a comma is not part of the name.
        let listed = self.services.iter().map(|name| name.trim());
        let named = self.names.iter().flat_map(|names| names.split(','));
        named.map(str::trim).chain(listed).collect()
    }
}

/// Which commits
#[derive(Debug, Default, Clone, Args)]
pub struct References {
    /// Use this branch in every repository that has it
    ///
    /// Services whose repository has no such branch are built from the reference in the manifest.
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<RefName>,
    /// Use this branch, tag or commit for one service; can be repeated
    #[arg(
        long = "reference", value_name = "SERVICE=REF", value_parser = service_reference,
        hide_short_help = true
    )]
    pub references: Vec<(ServiceName, GitReference)>,
}

impl References {
    /// Returns whether the manifest selects all commits.
    pub fn is_empty(&self) -> bool {
        self.branch.is_none() && self.references.is_empty()
    }
}

/// Whether to use the lock, and which one
#[derive(Debug, Default, Args)]
pub struct LockedArgs {
    /// Use exactly the commits and images of the lock
    ///
    /// Fails if one of them is no longer available.
    #[arg(long, conflicts_with_all = ["branch", "references"])]
    pub locked: bool,
    /// The lock file [default: x-platform.lock next to the manifest]
    #[arg(
        long, value_name = "FILE", value_hint = ValueHint::FilePath,
        requires = "locked", hide_short_help = true
    )]
    pub lock_file: Option<PathBuf>,
}

/// Options for building, pulling and pushing images
#[derive(Debug, Default, Args)]
pub struct ImageArgs {
    /// Build selected services even if their images exist
    #[arg(long, conflicts_with = "locked")]
    pub force: bool,
    /// Build selected services again, without the engine's layer cache
    ///
    /// Implies `--force`. Needed services that are not selected, and builder images, are not built again.
    #[arg(long, conflicts_with = "locked", hide_short_help = true)]
    pub no_cache: bool,
    /// Pull base images again, and build selected services whose base images moved
    ///
    /// Base images are those in the Dockerfile and external builder images. An image that does not record its base
    /// images is built. Images of other services are never pulled instead of those in the plan.
    #[arg(long, conflicts_with_all = ["locked", "trust_commit"], hide_short_help = true)]
    pub refresh_bases: bool,
    /// Do not pull images that exist only in the registry
    #[arg(long, hide_short_help = true)]
    pub no_pull: bool,
    /// Do not push
    #[arg(long)]
    pub no_push: bool,
    /// Reuse images of the same commit, whatever else they were built from
    #[arg(long, hide_short_help = true)]
    pub trust_commit: bool,
    /// Skip `scripts.test` and `scripts.verify`
    #[arg(long)]
    pub no_test: bool,
    /// Run all phases with `inputs`, even if their results are known
    ///
    /// Their results are saved. `--force` and `--no-cache` imply it for the selected services.
    #[arg(long, hide_short_help = true)]
    pub no_restore: bool,
    /// Update branch tags and additional tags only if all services succeed
    ///
    /// Images are pushed with their commit tags as soon as they are built. Tags that move (branch tags, `docker.tags`
    /// and `--tag`) are updated only after the whole run has succeeded.
    #[arg(long, hide_short_help = true)]
    pub all_or_nothing: bool,
    /// Additional tag for each image; can be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<Tag>,
}

/// Output format
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Human-readable text
    #[default]
    Text,
    /// JSON
    Json,
}

/// What to build, and from which commits
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which services
    #[command(flatten)]
    pub selection: Selection,
    /// Which commits
    #[command(flatten)]
    pub references: References,
    /// Use of the lock
    #[command(flatten)]
    pub locked: LockedArgs,
    /// Options for images
    #[command(flatten)]
    pub images: ImageArgs,
    /// Which part, if other machines build the others
    #[command(flatten)]
    pub part: PartArgs,
    /// Build in Jobs of this fleet, a Kubernetes cluster in the manifest
    ///
    /// The images are pushed from there. This machine needs kubectl, and no container engine.
    #[arg(long, value_name = "FLEET", conflicts_with_all = ["local", "no_push"], hide_short_help = true)]
    pub fleet: Option<String>,
    /// Build working copies with local changes; do not push
    ///
    /// They are mounted in place, so incremental compilation works.
    #[arg(long, conflicts_with = "locked")]
    pub local: bool,
    /// Also list services that are up to date
    ///
    /// This is the default if standard output is not a terminal.
    #[arg(long, hide_short_help = true)]
    pub all: bool,
}

/// Which part, if other machines build the others
#[derive(Debug, Args)]
pub struct PartArgs {
    /// Build the K-th of N parts; other machines build the others
    ///
    /// Services that need each other stay together where they fit. An image of another part is not built, but awaited
    /// in the registry.
    #[arg(
        long, value_name = "K/N", value_hint = ValueHint::Other, conflicts_with_all = ["local", "only"],
        hide_short_help = true
    )]
    pub shard: Option<Shard>,
    /// Balance parts by the durations in this file of `--metadata-file`; can be repeated
    ///
    /// Or an object with a number of seconds for each service. All parts must be given the same files. A service
    /// without a duration counts as much as the median.
    #[arg(
        long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true
    )]
    pub shard_times: Vec<PathBuf>,
    /// Do not build needed services that are not given; wait until other machines have pushed them
    #[arg(long, conflicts_with = "local", hide_short_help = true)]
    pub only: bool,
    /// How long to wait for an image that another machine builds
    #[arg(
        long, value_name = "DURATION", value_parser = duration, default_value = "1h",
        value_hint = ValueHint::Other, hide_short_help = true
    )]
    pub shard_wait: Duration,
}

/// Output format of a command with progress
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputArgs {
    /// Output format: `text` or `json`
    ///
    /// `json` prints one event per line.
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        hide_possible_values = true
    )]
    pub format: Format,
}

/// Concurrency
#[derive(Debug, Args)]
pub struct Jobs {
    /// Number of services to process concurrently
    ///
    /// Defaults to the number of processors plus one, to 16 for `xp sync`, and to 4 for `xp copy`.
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<u16>,
}

/// Options for a command in a container
#[derive(Debug, Args)]
pub struct ContainerArgs {
    /// Set an environment variable, or pass through its current value; can be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]", value_hint = ValueHint::Other, value_parser = variable)]
    pub env: Vec<(String, Option<String>)>,
    /// Working directory in the container [default: matches the current folder, or that of the scripts]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::Other)]
    pub workdir: Option<String>,
    /// Allocate a terminal even if standard input or output is not one
    #[arg(short, long)]
    pub terminal: bool,
    /// Do not allocate a terminal
    #[arg(short = 'T', long, conflicts_with = "terminal")]
    pub no_terminal: bool,
}
