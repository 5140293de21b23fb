//! What several commands take.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::values::{jobs, service_reference, variable};
use crate::image::Tag;
use crate::manifest::ServiceName;
use crate::source::{GitReference, RefName};

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
#[derive(Debug, Default, Clone, Args)]
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
    /// Move branch tags and further tags only once every service succeeded
    ///
    /// Images are pushed by the tags of their commits as soon as they are built. The tags that move, those of
    /// branches, of `docker.tags` and of `--tag`, stay where they are unless the whole run succeeds.
    #[arg(long, hide_short_help = true)]
    pub all_or_nothing: bool,
    /// A further tag for each image; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<Tag>,
}

/// How a result is printed
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
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

/// How what happens is told
#[derive(Debug, Clone, Copy, Default, Args)]
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
    /// By default one more than there are processors, and 16 for `xp sync`.
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<u16>,
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
