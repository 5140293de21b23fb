//! The steps of a plan: everything that carrying one out needs to know.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::event::Phase;
use crate::image::{ImageReference, Tag};
use crate::manifest::{BuilderUser, Mount};
use crate::source::{CommitId, GitUrl, ResolvedReference};

/// One step of the work on a unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Bring the commit into the working copy's object store.
    Sync(SyncStep),
    /// Check the commit out into its export.
    Export(ExportStep),
    /// Start the builder container; the scripts that follow run in it.
    Container(Box<ContainerStep>),
    /// Run one line of a script.
    Script(ScriptStep),
    /// Build an image.
    Image(Box<ImageStep>),
    /// Give an image of the engine further names.
    EngineTag {
        /// The image that is there.
        image: ImageReference,
        /// Its further names.
        names: Vec<ImageReference>,
    },
    /// Push an image of the engine.
    Push {
        /// Which.
        image: ImageReference,
    },
    /// Give an image of a registry further tags, without moving a layer.
    RegistryTag {
        /// The image that is there.
        image: ImageReference,
        /// Its further tags.
        tags: Vec<Tag>,
    },
    /// Pull an image into the engine.
    Pull {
        /// Which.
        image: ImageReference,
    },
}

/// See [`Step::Sync`].
#[derive(Debug, Clone, PartialEq)]
pub struct SyncStep {
    /// The working copy.
    pub dir: PathBuf,
    /// Where it is cloned from.
    pub remote: GitUrl,
    /// What is wanted of it.
    pub resolved: ResolvedReference,
}

/// See [`Step::Export`].
#[derive(Debug, Clone, PartialEq)]
pub struct ExportStep {
    /// The working copy with the object store.
    pub dir: PathBuf,
    /// The commit.
    pub commit: CommitId,
    /// The branch that it is built from.
    pub branch: Option<String>,
    /// The remote, which a script may ask for.
    pub remote: GitUrl,
    /// Where the commit's files go.
    pub export: PathBuf,
    /// Where the git directory for the builder goes.
    pub git_dir: PathBuf,
}

/// See [`Step::Container`].
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStep {
    /// The image that it runs.
    pub image: ImageReference,
    /// The folder mounted at `workdir`.
    pub source: PathBuf,
    /// The git directory mounted, read-only, at `.git` below it.
    pub git_dir: PathBuf,
    /// Where the source is mounted.
    pub workdir: String,
    /// Where the scripts run: `workdir`, or the service's folder below it.
    pub script_dir: String,
    /// Variables, without those that are known only when the commit is there.
    pub env: BTreeMap<String, String>,
    /// Who runs the scripts.
    pub user: BuilderUser,
    /// The network mode; the engine's default where there is none.
    pub network: Option<String>,
    /// Folders of `cacheDir`, and where they are mounted.
    pub caches: Vec<(PathBuf, String)>,
    /// Further mounts.
    pub mounts: Vec<Mount>,
    /// Whether the ssh agent is forwarded.
    pub ssh: bool,
    /// Whether the engine's socket is mounted.
    pub socket: bool,
    /// The limit of memory, in bytes.
    pub memory: Option<u64>,
    /// The limit of processors, in billionths.
    pub nano_cpus: Option<u64>,
}

/// See [`Step::Script`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStep {
    /// Which list of the manifest it stands in.
    pub phase: Phase,
    /// The shell line.
    pub text: String,
    /// Where it stands in the manifest.
    pub line: usize,
}

/// See [`Step::Image`].
#[derive(Debug, Clone, PartialEq)]
pub struct ImageStep {
    /// The folder whose files the Dockerfile may copy.
    pub context: PathBuf,
    /// The Dockerfile; it may lie outside the context.
    pub dockerfile: PathBuf,
    /// The stage, the last one where there is none.
    pub target: Option<String>,
    /// The build arguments.
    pub args: BTreeMap<String, String>,
    /// The labels, without those that are known only when the commit is there.
    pub labels: BTreeMap<String, String>,
    /// Whether nothing of the engine's build cache is used.
    pub fresh: bool,
    /// The names of the image, the first one by its commit or content.
    pub names: Vec<ImageReference>,
}

impl Step {
    /// Returns the phase, whose log the step's output goes to.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Sync(_) => Phase::Sync,
            Self::Export(_) => Phase::Export,
            Self::Container(_) => Phase::Container,
            Self::Script(script) => script.phase,
            Self::Image(_) => Phase::Image,
            Self::EngineTag { .. } | Self::RegistryTag { .. } => Phase::Tag,
            Self::Push { .. } => Phase::Push,
            Self::Pull { .. } => Phase::Pull,
        }
    }
}

/// The step in words: what `xp plan` prints, and `xp build` while it runs.
///
/// Values of variables and build arguments are left out, as they may be secret.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync(step) => {
                let name = step.resolved.name.as_deref().unwrap_or("the commit");
                write!(f, "{name} of {}", step.remote)
            }
            Self::Export(step) => {
                write!(f, "{} into {}", step.commit.short(), step.export.display())
            }
            Self::Container(step) => {
                write!(f, "{} with the source at {}", step.image, step.workdir)
            }
            Self::Script(step) => f.write_str(step.text.trim_end()),
            Self::Image(step) => {
                write!(f, "docker build --file {}", step.dockerfile.display())?;
                if let Some(target) = &step.target {
                    write!(f, " --target {target}")?;
                }
                step.args
                    .keys()
                    .try_for_each(|name| write!(f, " --build-arg {name}"))?;
                write!(f, " {}", step.context.display())
            }
            Self::EngineTag { names, .. } => {
                write!(f, "{} in the engine", join(names))
            }
            Self::RegistryTag { tags, .. } => write!(f, "{} in the registry", join(tags)),
            Self::Push { image } | Self::Pull { image } => image.fmt(f),
        }
    }
}

fn join<T: fmt::Display>(items: &[T]) -> String {
    items
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
