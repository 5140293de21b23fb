//! The steps of a plan, with everything needed to run them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AwaitStep, ConcurrentPush, IndexStep, KeepStep, PlaceStep, ProvenanceStep, RestoreStep,
    SbomStep, SignStep, StageStep, ToolchainStep,
};
use crate::base::seconds;
use crate::model::event::Phase;
use crate::model::image::{Digest, ImageReference, Platform, Tag};
use crate::model::manifest::{
    BuilderImage, BuilderUser, Mount, PluginItem, ReportPattern, SecretSource, ServiceName,
};
use crate::model::source::{
    CommitId, GitMount, GitUrl, PathSelection, ResolvedReference, exposed_url,
};

/// One step of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Fetch the commit into the working copy's object store.
    Sync(SyncStep),
    /// Check the commit out into its export.
    Export(ExportStep),
    /// Have a plugin write the commit's files to its export.
    Fetch(Box<FetchStep>),
    /// Provide an image that the following scripts for another platform run in.
    Toolchain(Box<ToolchainStep>),
    /// Start the builder container for the following scripts.
    Container(Box<ContainerStep>),
    /// Start the containers beside the following scripts, and wait until they are ready.
    Sidecars(Box<SidecarsStep>),
    /// Run one item of a script list.
    Script(ScriptStep),
    /// Run a plugin.
    Plugin(Box<PluginStep>),
    /// Check the inputs of a phase out into its own folder.
    Stage(Box<StageStep>),
    /// Save the outputs of a phase.
    Keep(Box<KeepStep>),
    /// Restore the outputs of a phase instead of running it.
    Restore(Box<RestoreStep>),
    /// Add the outputs of phases to the export.
    Place(PlaceStep),
    /// Build an image.
    Image(Box<ImageStep>),
    /// Give the image that was built its names, after it was verified.
    NameImage {
        /// The names; the first one has the commit's or content's tag.
        names: Vec<ImageReference>,
    },
    /// Give an image in the engine additional names.
    EngineTag {
        /// The existing image.
        image: ImageReference,
        /// Its additional names.
        names: Vec<ImageReference>,
    },
    /// Push an image from the engine.
    Push(Box<PushStep>),
    /// Attach a bill of materials to the image that was pushed.
    Sbom(Box<SbomStep>),
    /// Attach provenance to the image that was pushed.
    Provenance(Box<ProvenanceStep>),
    /// Sign the image that was pushed.
    Sign(SignStep),
    /// Give an image in a registry additional tags, without transferring layers. After a push, it is the image that
    /// was pushed, or the one that was used instead.
    RegistryTag {
        /// The existing image, by digest if known.
        image: ImageReference,
        /// Its additional tags.
        tags: Vec<Tag>,
    },
    /// Wait until another run has pushed an image, which is then pulled.
    Await(Box<AwaitStep>),
    /// Pull an image into the engine.
    Pull {
        image: ImageReference,
        /// The digest of the image that was compared; `None` if only the name is known.
        digest: Option<Digest>,
        /// Whether an image that the engine has is used, whatever it is.
        #[serde(default)]
        if_missing: bool,
    },
}

/// See [`Step::Sync`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncStep {
    /// The working copy.
    pub dir: PathBuf,
    /// The URL to clone from.
    #[serde(with = "exposed_url")]
    #[schemars(with = "String")]
    pub remote: GitUrl,
    /// The reference to fetch.
    pub resolved: ResolvedReference,
    /// The commit to build: that of the reference, or an earlier one.
    pub commit: CommitId,
    /// Whether its files may be updated too: no if a service is built in place there.
    pub moves: bool,
}

/// See [`Step::Export`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportStep {
    /// The working copy with the object store.
    pub dir: PathBuf,
    pub commit: CommitId,
    /// The files of it that the build sees.
    pub selection: PathSelection,
    /// Whether submodules are checked out too.
    pub submodules: bool,
    /// The folder with the object stores of submodules.
    pub modules: PathBuf,
    /// The folder with Git LFS files.
    pub lfs: PathBuf,
    /// The branch that it is built from.
    pub branch: Option<String>,
    /// The remote, in case a script queries it.
    #[serde(with = "exposed_url")]
    #[schemars(with = "String")]
    pub remote: GitUrl,
    /// The folder for the commit's files.
    pub export: PathBuf,
    /// The folder for the builder's git directory.
    pub git_dir: PathBuf,
    /// Whether the files are older than any output of a phase.
    pub is_old: bool,
}

/// See [`Step::Fetch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FetchStep {
    pub call: PluginCall,
    pub commit: CommitId,
    /// The repository, for display.
    pub url: String,
    /// The folder for the commit's files.
    pub export: PathBuf,
}

/// A plugin and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginCall {
    /// The plugin, as in the manifest.
    pub plugin: BuilderImage,
    /// The image in the engine.
    pub image: ImageReference,
    /// Where the manifest sets it, such as `x-platform.yml:12`.
    pub location: String,
    /// The network mode; `None` for the engine's default.
    pub network: Option<String>,
    /// Its settings.
    pub with: serde_json::Map<String, serde_json::Value>,
    /// The sources of the files in `/run/secrets`, by name; never the values.
    #[schemars(with = "BTreeMap<String, String>")]
    pub secrets: BTreeMap<String, SecretSource>,
}

/// See [`Step::Container`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerStep {
    /// The image to run.
    pub image: ImageReference,
    /// The platform that it runs for; `None` for the own one of the engine that runs everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The folder mounted at `workdir`.
    pub source: PathBuf,
    /// Whether that is the working copy rather than an export.
    pub in_place: bool,
    /// Whether it has only the inputs of a phase: then nothing that differs between commits is in the environment.
    pub is_staged: bool,
    /// The read-only mounts that make git work there.
    pub git: Vec<GitMount>,
    /// The mount point of the source.
    pub workdir: String,
    /// The working directory of the scripts: `workdir`, or the service's folder below it.
    pub script_dir: String,
    /// The environment, without variables that are known only after the commit is fetched.
    pub env: BTreeMap<String, String>,
    /// For variables that come from the caller's environment, shell text that refers to them by name: the values may be
    /// secret and are not shown.
    pub env_for_shell: BTreeMap<String, String>,
    /// The user that runs the scripts.
    pub user: BuilderUser,
    /// The network mode; `None` for the engine's default.
    pub network: Option<String>,
    /// Folders of `cacheDir`, and their mount points.
    pub caches: Vec<(PathBuf, String)>,
    /// Additional mounts.
    pub mounts: Vec<Mount>,
    /// Whether the ssh agent is forwarded.
    pub ssh: bool,
    /// Whether the engine's socket is mounted.
    pub socket: bool,
    /// Whether the scripts reach sidecars.
    pub has_sidecars: bool,
    /// The memory limit, in bytes.
    pub memory: Option<u64>,
    /// The CPU limit, in billionths of a CPU.
    pub nano_cpus: Option<u64>,
    /// The settings of a plugin, as JSON.
    pub config: Option<String>,
    /// The sources of a plugin's secrets, by ID; never the values.
    #[schemars(with = "BTreeMap<String, String>")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// The test reports to keep, relative to `script_dir`.
    pub reports: Vec<ReportPattern>,
    /// Whether the scripts should write such files: not if tests are skipped.
    pub expects_reports: bool,
}

/// See [`Step::Sidecars`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SidecarsStep {
    /// The platform whose engine runs them; `None` for the engine that runs everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    pub containers: Vec<PlannedSidecar>,
}

/// A container beside the scripts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedSidecar {
    /// Its host name: that of a sidecar or, for the image that was built, of the service.
    pub name: String,
    pub image: PlannedImage,
    /// Variables in addition to those of the image; the values may be secret.
    pub env: BTreeMap<String, String>,
    /// The arguments of the entrypoint; `None` for those of the image.
    pub command: Option<Vec<String>>,
    /// The command that shows whether it is ready; `None` for the HEALTHCHECK of the image.
    pub ready: Option<Vec<String>>,
    /// How long it may take until it is ready.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub timeout: Duration,
}

/// The image of a container beside the scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlannedImage {
    Named(ImageReference),
    /// The one that the unit has built, which has no name yet.
    Built,
}

impl fmt::Display for PlannedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(image) => image.fmt(f),
            Self::Built => f.write_str("the new image"),
        }
    }
}

/// See [`Step::Script`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScriptStep {
    /// The phase, which is the script list in the manifest.
    pub phase: Phase,
    /// The image of the container that it runs in; `None` for the service's builder.
    pub image: Option<ImageReference>,
    /// The shell line.
    pub text: String,
    /// The file name of the manifest.
    pub file: String,
    /// Its line in the manifest.
    pub line: usize,
}

/// See [`Step::Plugin`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginStep {
    /// The phase, which is the script list in the manifest.
    pub phase: Phase,
    /// The item of the manifest.
    pub item: PluginItem,
    /// The container, set up like that of the service's builder, but with the plugin's image.
    pub container: ContainerStep,
    /// The position of the item in the manifest, such as `scripts.build[0]`.
    pub key: String,
    /// The file name of the manifest.
    pub file: String,
}

/// How an image build uses its base images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaseUse {
    /// Those that the engine has; missing ones are pulled.
    Unrecorded,
    /// The same, with their digests in a label if all are known.
    Recorded,
    /// Those that their registries have, or the engine's if a registry does not respond.
    Tracked,
    /// Those that their registries have.
    Refreshed,
}

/// See [`Step::Image`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageStep {
    /// The folder with all files of the source; nothing outside of it is read.
    pub root: PathBuf,
    /// The folder of the service or builder, which is in `root`.
    pub folder: PathBuf,
    /// The build context.
    pub context: PathBuf,
    /// The files in `root` that are sent if they are in the context; the Dockerfile always is.
    pub selected: PathSelection,
    /// xp's own folder, if it is in the context; it is excluded.
    pub excluded: Option<PathBuf>,
    /// The Dockerfile; it may be outside the context.
    pub dockerfile: PathBuf,
    /// The target stage; `None` for the last one.
    pub target: Option<String>,
    /// The build arguments.
    pub args: BTreeMap<String, String>,
    /// Like [`ContainerStep::env_for_shell`].
    pub args_for_shell: BTreeMap<String, String>,
    /// The sources of build secrets, by ID; never the values.
    #[schemars(with = "BTreeMap<String, String>")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Whether the build may use the ssh agent.
    pub ssh: bool,
    /// The platform to build for; `None` for the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The docker context of the engine that builds it, instead of the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The labels, without those that are known only after the commit is fetched.
    pub labels: BTreeMap<String, String>,
    /// The commit's Unix time, if no earlier step determines it.
    pub commit_time: Option<i64>,
    /// Whether to build without the engine's build cache.
    pub fresh: bool,
    /// With `docker.cache`, the images in the registry whose layers are reused; the new image will offer its own.
    pub layers: Option<Vec<ImageReference>>,
    /// Which base images to build from, and whether to record them.
    pub bases: BaseUse,
    /// The external images of the scripts, which are recorded with the base images.
    pub builders: Vec<ImageReference>,
    /// The names of the image; the first one has the commit's or content's tag.
    pub names: Vec<ImageReference>,
    /// Whether the image is verified before [`Step::NameImage`] gives it the names.
    pub is_verified: bool,
    /// The images of needed services, which the Dockerfile may use.
    pub needs: Vec<NeededImage>,
}

/// The image of a needed service, as the build uses it from the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NeededImage {
    pub service: ServiceName,
    /// Its name in the engine.
    pub image: ImageReference,
    /// The identity tag in the registry. It is checked again before the dependent is built and before it is pushed, in
    /// case another run pushed a different image. `None` if nothing is pushed.
    pub identity: Option<ImageReference>,
}

/// See [`Step::Push`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PushStep {
    /// The image, tagged with its commit or content.
    pub image: ImageReference,
    /// The digest that the registry has for the same tag.
    pub replaces: Option<Digest>,
    /// The identity tag, which never moves; `None` for a builder image, which has a tag that never moves.
    pub identity: Option<ImageReference>,
    /// The image that the registry has for the identity tag, if it was built from needed images that are not the
    /// current ones.
    pub inconsistent: Option<Digest>,
    /// Whether to replace any image that the registry has for the identity tag: `--force`.
    pub force: bool,
    /// The images in the registry that do not verify, and are never used instead.
    pub rejected: Vec<Digest>,
    /// The index to push; `None` for an image of one platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexStep>,
    /// How to handle an image that another run has pushed in the meantime.
    pub concurrent: ConcurrentPush,
    /// The images of needed services that the image was built from.
    pub needs: Vec<NeededImage>,
}

impl Step {
    /// Returns whether the step only fetches the source.
    pub fn fetches_source(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::Export(_) | Self::Fetch(_))
    }

    /// Returns the container that the step starts.
    pub fn container(&self) -> Option<&ContainerStep> {
        match self {
            Self::Container(container) => Some(container),
            Self::Plugin(plugin) => Some(&plugin.container),
            _ => None,
        }
    }

    /// Returns the container for changes; see [`Self::container`].
    pub(super) fn container_mut(&mut self) -> Option<&mut ContainerStep> {
        match self {
            Self::Container(container) => Some(container),
            Self::Plugin(plugin) => Some(&mut plugin.container),
            _ => None,
        }
    }

    /// Returns the platform whose engine runs the step; `None` for the usual engine.
    pub fn platform(&self) -> Option<&Platform> {
        match self {
            Self::Toolchain(step) => Some(&step.platform),
            Self::Image(step) => step.platform.as_ref(),
            Self::Sidecars(step) => step.platform.as_ref(),
            step => step.container()?.platform.as_ref(),
        }
    }

    /// Returns the image that an item of the scripts names, instead of running in the service's builder.
    pub fn other_image(&self) -> Option<&ImageReference> {
        match self {
            Self::Script(script) => script.image.as_ref(),
            Self::Plugin(plugin) => Some(&plugin.container.image),
            _ => None,
        }
    }

    /// Returns whether the step is part of the scripts, which share containers.
    pub fn is_of_scripts(&self) -> bool {
        matches!(
            self,
            Self::Container(_) | Self::Sidecars(_) | Self::Script(_) | Self::Plugin(_)
        )
    }

    /// Returns the phase, which also selects the log for the step's output.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Sync(_) => Phase::Sync,
            Self::Export(_) => Phase::Export,
            Self::Fetch(_) => Phase::Fetch,
            Self::Toolchain(step) if step.build.is_none() => Phase::Pull,
            Self::Toolchain(_) | Self::Container(_) => Phase::Container,
            Self::Sidecars(_) => Phase::Sidecars,
            Self::Script(script) => script.phase,
            Self::Plugin(plugin) => plugin.phase,
            Self::Stage(step) => step.phase,
            Self::Keep(step) => step.phase,
            Self::Restore(step) => step.phase,
            Self::Place(_) => Phase::Export,
            Self::Image(_) => Phase::Image,
            Self::NameImage { .. } | Self::EngineTag { .. } | Self::RegistryTag { .. } => {
                Phase::Tag
            }
            Self::Push(_) => Phase::Push,
            Self::Sbom(_) | Self::Provenance(_) | Self::Sign(_) => Phase::Attest,
            Self::Await(_) | Self::Pull { .. } => Phase::Pull,
        }
    }
}

impl Step {
    /// Returns the step as text, for `xp plan` and the progress of `xp build`. Paths are relative to `folder`, the
    /// manifest's.
    ///
    /// Omits values of variables and build arguments, because they may be secret.
    pub fn describe(&self, folder: &Path) -> String {
        let relative = |path: &Path| {
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
                let mut text = step.commit.short();
                let PathSelection { paths, .. } = &step.selection;
                if !paths.is_empty() {
                    text.push_str(&format!(", {} only,", paths.join(", ")));
                }
                if let Some(patterns) = step.selection.excluded_text() {
                    text.push_str(&format!(" without {patterns}"));
                }
                if step.submodules {
                    text.push_str(" with submodules");
                }
                format!("{text} into {}", relative(&step.export))
            }
            Self::Fetch(step) => format!(
                "{} of {} with {} into {}",
                step.commit.short(),
                step.url,
                step.call.plugin,
                relative(&step.export)
            ),
            Self::Toolchain(step) => step.describe(),
            Self::Container(step) => {
                let source = if step.in_place {
                    relative(&step.source)
                } else {
                    "the source".to_owned()
                };
                let mut text = format!("{} with {source} at {}", step.image, step.workdir);
                if let Some(platform) = &step.platform {
                    text.push_str(&format!(" for {platform}"));
                }
                text
            }
            Self::Sidecars(step) => {
                let containers = step.containers.iter();
                join(containers.map(|it| format!("{} ({})", it.name, it.image)))
            }
            Self::Script(step) => step.text.trim_end().to_owned(),
            Self::Plugin(step) => step.describe(),
            Self::Stage(step) => step.describe(),
            Self::Keep(step) => step.describe(),
            Self::Restore(step) => step.describe(),
            Self::Place(step) => {
                format!(
                    "{} into {}",
                    step.outputs.join(", "),
                    relative(&step.export)
                )
            }
            Self::Image(step) => {
                let mut command = vec!["docker".to_owned()];
                command.extend(
                    step.engine
                        .iter()
                        .map(|engine| format!("--context {engine}")),
                );
                command.push("build".to_owned());
                if step.dockerfile != step.context.join("Dockerfile") {
                    command.push(format!("--file {}", relative(&step.dockerfile)));
                }
                let platform = step.platform.iter();
                command.extend(platform.map(|platform| format!("--platform {platform}")));
                if step.fresh {
                    command.push("--no-cache".to_owned());
                }
                if matches!(step.bases, BaseUse::Tracked | BaseUse::Refreshed) {
                    command.push("--pull".to_owned());
                }
                let layers = step.layers.iter().flatten();
                command.extend(layers.map(|image| format!("--cache-from {image}")));
                command.extend(
                    step.target
                        .iter()
                        .map(|target| format!("--target {target}")),
                );
                command.extend(step.args.keys().map(|name| format!("--build-arg {name}")));
                command.extend(step.secrets.keys().map(|id| format!("--secret id={id}")));
                command.extend(step.ssh.then(|| "--ssh default".to_owned()));
                command.push(relative(&step.context));
                command.join(" ")
            }
            Self::NameImage { names } | Self::EngineTag { names, .. } => {
                format!(
                    "{} in the engine",
                    join(names.iter().filter_map(ImageReference::tag))
                )
            }
            Self::RegistryTag { tags, .. } => format!("{} in the registry", join(tags)),
            Self::Push(step) => match &step.index {
                Some(index) => format!("{} for {}", step.image, index.describe()),
                None => step.image.to_string(),
            },
            Self::Sbom(step) => format!("attach a bill of materials of {}", step.call.plugin),
            Self::Provenance(step) => match &step.keys {
                Some(keys) => format!("attach provenance, signed with {}", keys.key),
                None => "attach provenance".to_owned(),
            },
            Self::Sign(step) => format!("sign with {}", step.keys.key),
            Self::Await(step) => step.describe(),
            Self::Pull { image, .. } => image.to_string(),
        }
    }
}

impl PluginStep {
    fn describe(&self) -> String {
        let entries = self.item.with.entries.iter();
        let settings = entries.map(|entry| entry.name.clone());
        let secrets = self.container.secrets.keys();
        let secrets = secrets.map(|name| format!("secret {name}"));
        let names = join(settings.chain(secrets));
        let names = match names.as_str() {
            "" => names,
            _ => format!(" ({names})"),
        };
        format!("plugin {}{names}", self.container.image)
    }
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
