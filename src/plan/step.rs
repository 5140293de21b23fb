//! The steps of a plan: everything that carrying one out needs to know.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Rival;
use crate::event::Phase;
use crate::image::{Digest, ImageReference, Tag};
use crate::manifest::{BuilderUser, Mount, SecretSource, ServiceName};
use crate::source::{CommitId, GitMount, GitUrl, ResolvedReference};

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
    Push(Box<PushStep>),
    /// Give an image of a registry further tags, without moving a layer. After a push it is the image that was
    /// pushed, or the one that was taken instead.
    RegistryTag {
        /// The image that is there, by its digest where that is known.
        image: ImageReference,
        /// Its further tags.
        tags: Vec<Tag>,
    },
    /// Pull an image into the engine.
    Pull {
        /// Which.
        image: ImageReference,
        /// What was found and compared; none where the name is all that is known.
        digest: Option<Digest>,
    },
}

/// See [`Step::Sync`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncStep {
    /// The working copy.
    pub dir: PathBuf,
    /// Where it is cloned from.
    pub remote: GitUrl,
    /// What is wanted of it.
    pub resolved: ResolvedReference,
    /// What is built: the same commit, or an earlier one.
    pub commit: CommitId,
    /// Whether its files may be moved along: not where a service is built in place there.
    pub moves: bool,
}

/// See [`Step::Export`].
#[derive(Debug, Clone, PartialEq)]
pub struct ExportStep {
    /// The working copy with the object store.
    pub dir: PathBuf,
    /// The commit.
    pub commit: CommitId,
    /// The folders and files of it that the build sees; none for all.
    pub paths: Vec<String>,
    /// Whether submodules are checked out too.
    pub submodules: bool,
    /// The folder that keeps the objects of submodules.
    pub modules: PathBuf,
    /// The folder that keeps the files of Git LFS.
    pub lfs: PathBuf,
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
    /// Whether that is the working copy, and not an export.
    pub in_place: bool,
    /// What is mounted, read-only, so that git works there.
    pub git: Vec<GitMount>,
    /// Where the source is mounted.
    pub workdir: String,
    /// Where the scripts run: `workdir`, or the service's folder below it.
    pub script_dir: String,
    /// Variables, without those that are known only when the commit is there.
    pub env: BTreeMap<String, String>,
    /// The values, as a shell reads them, of those that come from the caller's own environment: they may
    /// be secret, and are shown by the names of their variables alone.
    pub env_by_hand: BTreeMap<String, String>,
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
    /// The folder of the service's or the builder's files; nothing outside of it is read.
    pub root: PathBuf,
    /// The folder whose files the Dockerfile may copy.
    pub context: PathBuf,
    /// A folder of xp's own in it, which is left out.
    pub left_out: Option<PathBuf>,
    /// The Dockerfile; it may lie outside the context.
    pub dockerfile: PathBuf,
    /// The stage, the last one where there is none.
    pub target: Option<String>,
    /// The build arguments.
    pub args: BTreeMap<String, String>,
    /// As [`ContainerStep::env_by_hand`].
    pub args_by_hand: BTreeMap<String, String>,
    /// Where the secrets come from that instructions may mount, by id: no value of them is here.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Whether instructions may use the ssh agent.
    pub ssh: bool,
    /// The labels, without those that are known only when the commit is there.
    pub labels: BTreeMap<String, String>,
    /// The commit's time where no step before learns it, in seconds since 1970.
    pub commit_time: Option<i64>,
    /// Whether nothing of the engine's build cache is used.
    pub fresh: bool,
    /// The names of the image, the first one by its commit or content.
    pub names: Vec<ImageReference>,
    /// The images of needed services, which the Dockerfile may start from or copy from.
    pub needs: Vec<NeededImage>,
}

/// The image of a needed service, as a build takes it from the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededImage {
    /// The service.
    pub service: ServiceName,
    /// The name by which the engine has the image.
    pub image: ImageReference,
    /// The identity tag in the registry. What it names counts: it is looked at again before anything is built upon
    /// it, and before that is pushed. `None` where nothing is pushed.
    pub identity: Option<ImageReference>,
}

/// See [`Step::Push`].
#[derive(Debug, Clone, PartialEq)]
pub struct PushStep {
    /// The image, by its commit or content.
    pub image: ImageReference,
    /// What the registry has by the same tag.
    pub replaces: Option<Digest>,
    /// The tag that never moves; `None` for a builder image, whose own tag does not.
    pub identity: Option<ImageReference>,
    /// An image that the registry has by the identity tag, and that was built from other needed images than those
    /// that count.
    pub inconsistent: Option<Digest>,
    /// Whether the image takes the place of whatever the registry has by the identity tag: `--force`.
    pub force: bool,
    /// What is taken instead, where it is there by then.
    pub rival: Rival,
    /// The images of needed services, which the image was built from.
    pub needs: Vec<NeededImage>,
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
            Self::Push(_) => Phase::Push,
            Self::Pull { .. } => Phase::Pull,
        }
    }
}

impl Step {
    /// Returns the step in words: what `xp plan` prints, and `xp build` while it runs. Paths are
    /// relative to `folder`, that of the manifest.
    ///
    /// Values of variables and build arguments are left out, as they may be secret.
    pub fn in_words(&self, folder: &Path) -> String {
        let below = |path: &Path| {
            path.strip_prefix(folder)
                .unwrap_or(path)
                .display()
                .to_string()
        };
        match self {
            Self::Sync(step) => {
                let name = step.resolved.short_name().unwrap_or("the commit");
                format!("{name} of {}", step.remote)
            }
            Self::Export(step) => {
                let mut words = step.commit.short();
                if !step.paths.is_empty() {
                    words.push_str(&format!(", {} alone,", step.paths.join(", ")));
                }
                if step.submodules {
                    words.push_str(" with submodules");
                }
                format!("{words} into {}", below(&step.export))
            }
            Self::Container(step) => {
                let source = match step.in_place {
                    true => below(&step.source),
                    false => "the source".to_owned(),
                };
                format!("{} with {source} at {}", step.image, step.workdir)
            }
            Self::Script(step) => step.text.trim_end().to_owned(),
            Self::Image(step) => {
                let mut words = vec!["docker build".to_owned()];
                if step.dockerfile != step.context.join("Dockerfile") {
                    words.push(format!("--file {}", below(&step.dockerfile)));
                }
                if step.fresh {
                    words.push("--no-cache".to_owned());
                }
                words.extend(
                    step.target
                        .iter()
                        .map(|target| format!("--target {target}")),
                );
                words.extend(step.args.keys().map(|name| format!("--build-arg {name}")));
                words.extend(step.secrets.keys().map(|id| format!("--secret id={id}")));
                words.extend(step.ssh.then(|| "--ssh default".to_owned()));
                words.push(below(&step.context));
                words.join(" ")
            }
            Self::EngineTag { names, .. } => {
                format!(
                    "{} in the engine",
                    join(names.iter().filter_map(ImageReference::tag))
                )
            }
            Self::RegistryTag { tags, .. } => format!("{} in the registry", join(tags)),
            Self::Push(step) => step.image.to_string(),
            Self::Pull { image, .. } => image.to_string(),
        }
    }
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
