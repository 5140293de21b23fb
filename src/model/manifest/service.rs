//! The validated services of a manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::{BuilderName, ServiceName, SidecarName};
use super::script::{ScriptItem, Scripts};
use super::sidecar::{ScriptPhase, Sidecar, SidecarSettings};
use super::source::Source;
use super::source_path::SourcePath;
use super::supply::ServiceSupply;
use super::template::Template;
use crate::model::image::{ImageReference, ImageRepository, Platform};

/// One service: its source, and how its image is built.
#[derive(Debug, Clone)]
pub struct Service {
    /// The name, which is the key in `services`.
    pub name: ServiceName,
    /// The working copy, relative to the manifest's folder, without `..`; `.` for the folder itself.
    pub dir: PathBuf,
    /// Where the source comes from.
    pub source: Source,
    /// The container that its scripts run in; always set if there are scripts.
    pub builder: Option<Builder>,
    /// The combined timeout for scripts and image build.
    pub timeout: Option<Duration>,
    /// The image.
    pub docker: Docker,
    pub scripts: Scripts,
    /// The containers that run beside the scripts.
    pub sidecars: BTreeMap<SidecarName, Sidecar>,
    /// How the container of the service's own image is started for `scripts.verify`.
    pub verify: SidecarSettings,
    /// What is attached to its image.
    pub supply: ServiceSupply,
    /// The services whose images must exist first: those in `needs` and in `${{ services.… }}` placeholders.
    pub needs: BTreeSet<ServiceName>,
}

impl Service {
    /// Returns whether the scripts that write the files of the image run once for each of its platforms.
    pub fn has_scripts_per_platform(&self) -> bool {
        let mut phases = self.scripts.phases().into_iter();
        !self.docker.platforms.is_empty()
            && !self.scripts.once
            && phases.any(|(phase, items)| phase != ScriptPhase::Verify && !items.is_empty())
    }

    /// Returns the images that some of the items run in, without duplicates; the builder's comes first.
    pub fn images_of<'s>(
        &'s self,
        items: impl IntoIterator<Item = &'s ScriptItem>,
    ) -> Vec<&'s BuilderImage> {
        let items: Vec<&ScriptItem> = items.into_iter().collect();
        let builder = self.builder.as_ref();
        let builder = builder.filter(|builder| {
            // Without a shell, the owner of a plugin's files cannot be changed.
            let is_other = builder.user != BuilderUser::Caller;
            items.iter().any(|item| match item {
                ScriptItem::Line(_) => true,
                ScriptItem::Run(_) => false,
                ScriptItem::Plugin(_) => is_other,
            })
        });
        let mut images: Vec<&BuilderImage> = Vec::new();
        let named = items.iter().filter_map(|item| item.image());
        for image in builder
            .and_then(|it| it.image.as_ref())
            .into_iter()
            .chain(named)
        {
            if !images.contains(&image) {
                images.push(image);
            }
        }
        images
    }

    /// Returns the images of all scripts, sidecars and the plugin that reads the source, without duplicates; the
    /// builder's comes first.
    pub fn used_images(&self) -> Vec<&BuilderImage> {
        let mut images = self.images_of(self.scripts.items());
        let beside = self.sidecar_images().map(|(_, image)| image);
        for image in beside.chain(self.source.plugin().map(|plugin| &plugin.image)) {
            if !images.contains(&image) {
                images.push(image);
            }
        }
        images
    }

    /// Returns the images of [`Self::used_images`], and that of the builder even if nothing runs in it.
    pub fn images(&self) -> Vec<&BuilderImage> {
        let builder = self.builder.iter().filter_map(|it| it.image.as_ref());
        let mut images: Vec<&BuilderImage> = builder.collect();
        for image in self.used_images() {
            if !images.contains(&image) {
                images.push(image);
            }
        }
        images
    }
}

/// The default mount point of the source.
pub(super) const DEFAULT_WORKDIR: &str = "/workspace";

/// The container that a service's scripts run in.
#[derive(Debug, Clone)]
pub struct Builder {
    /// The image of shell lines; `None` if every item of the scripts names its own.
    pub image: Option<BuilderImage>,
    /// Where the source is mounted: an absolute path in the container.
    pub workdir: String,
    /// Variables of the scripts.
    pub env: BTreeMap<String, Template>,
    /// The user that runs the scripts.
    pub user: BuilderUser,
    /// The network mode; `None` for the engine's default.
    pub network: Option<String>,
    /// Absolute paths in the container that persist between builds.
    pub cache: Vec<String>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Whether the ssh agent is forwarded.
    pub ssh: bool,
    /// Whether the engine's socket is mounted.
    pub socket: bool,
    /// The memory limit in bytes.
    pub memory: Option<u64>,
    /// The CPU limit in billionths of a CPU, the engine's unit (`NanoCpus`).
    pub cpus: Option<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            image: None,
            workdir: DEFAULT_WORKDIR.to_owned(),
            env: BTreeMap::new(),
            user: BuilderUser::Caller,
            network: None,
            cache: Vec::new(),
            mounts: Vec::new(),
            ssh: false,
            socket: false,
            memory: None,
            cpus: None,
        }
    }
}

/// The image of a builder container or of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuilderImage {
    /// A folder in `builders.dir`, which xp builds.
    Folder(BuilderName),
    /// Any other image, pulled if it is missing. The registry prefix is not applied.
    External(ImageReference),
}

impl fmt::Display for BuilderImage {
    /// Writes the image as in the manifest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(name) => write!(f, "builders/{name}"),
            Self::External(image) => write!(f, "{image}"),
        }
    }
}

/// The user that runs the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuilderUser {
    /// The user who runs xp.
    Caller,
    /// The superuser.
    Root,
    /// A numeric user and group.
    Ids {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mount {
    /// The path on the host: absolute, `~`, or starting with `~/`, which is expanded when it is mounted.
    pub source: String,
    /// The absolute path in the container.
    pub target: String,
    /// Whether the mount is read-only.
    pub read_only: bool,
}

/// How the image of a service is built and named.
#[derive(Debug, Clone)]
pub struct Docker {
    /// The repository, prefixed with the manifest's registry if it has no registry host.
    pub image: ImageRepository,
    /// The Dockerfile.
    pub file: SourcePath,
    /// The build context.
    pub context: SourcePath,
    /// The stage to build; `None` for the last.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, Template>,
    /// Build secrets by id, which never become part of the image.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Whether the ssh agent is forwarded to the build.
    pub ssh: bool,
    /// Additional tags, rendered by `Manifest::render_tag`.
    pub tags: Vec<Template>,
    /// Whether moved base images cause a build.
    pub bases: BaseTracking,
    /// Whether layers of earlier images in the registry are reused.
    pub cache: bool,
    /// The platforms that the image is for; empty for that of the engine.
    pub platforms: Vec<Platform>,
}

/// What moved base images mean for a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BaseTracking {
    /// They are only reported.
    #[default]
    Ignore,
    /// The service is built.
    Track,
}

/// The source of a build secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the caller. The template is its placeholder, with its position.
    Environment {
        /// The variable's name.
        name: String,
        /// The placeholder for the value.
        value: Template,
    },
    /// A file: absolute, starting with `~/`, or relative to the manifest's folder.
    File(String),
}

/// Only files can be written: a document must not refer to the environment of another machine.
impl Serialize for SecretSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => serializer.serialize_str(path),
            Self::Environment { name, .. } => Err(serde::ser::Error::custom(format!(
                "the secret is in the variable {name}"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::File)
    }
}
