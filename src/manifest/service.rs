//! A service of the manifest, as validated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::name::{BuilderName, ServiceName};
use super::template::Template;
use crate::image::{ImageReference, ImageRepository};
use crate::source::{GitReference, GitUrl};

/// One service: where its source comes from, and how it becomes an image.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name, the key in `services`.
    pub name: ServiceName,
    /// The working copy, relative to the manifest's folder, without `..`; `.` for the folder itself.
    pub dir: PathBuf,
    /// Where the source comes from.
    pub git: Git,
    /// The container that its scripts run in; there where it has scripts.
    pub builder: Option<Builder>,
    /// The time that scripts and image build may take together.
    pub timeout: Option<Duration>,
    /// The image.
    pub docker: Docker,
    /// The scripts.
    pub scripts: Scripts,
    /// The services whose image must exist first: those of `needs`, and those that a
    /// `${{ services.… }}` names.
    pub needs: BTreeSet<ServiceName>,
}

/// Where a service's source comes from.
#[derive(Debug, Clone)]
pub struct Git {
    /// The remote.
    pub remote: GitUrl,
    /// What to build of it.
    pub reference: GitReference,
    /// The folder of a shared repository that is the service, without `..`.
    pub path: Option<String>,
    /// Further folders and files of the repository that the build sees, sorted; none without `path`.
    pub include: Vec<String>,
    /// Whether submodules are checked out too.
    pub submodules: bool,
}

impl Git {
    /// Returns the folders and files that the service is made of, `path` first; none for the whole
    /// repository.
    pub fn paths(&self) -> Vec<String> {
        self.path.iter().chain(&self.include).cloned().collect()
    }
}

/// The container that a service's scripts run in.
#[derive(Debug, Clone)]
pub struct Builder {
    /// Its image.
    pub image: BuilderImage,
    /// Where the source is mounted: an absolute path in the container.
    pub workdir: String,
    /// Variables of the scripts.
    pub env: BTreeMap<String, Template>,
    /// Who runs the scripts.
    pub user: BuilderUser,
    /// The network mode; none for the engine's default.
    pub network: Option<String>,
    /// Absolute paths in the container that persist between builds.
    pub cache: Vec<String>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Whether the ssh agent is forwarded.
    pub ssh: bool,
    /// Whether the engine's socket is mounted.
    pub socket: bool,
    /// The limit of memory in bytes.
    pub memory: Option<u64>,
    /// The limit of processors in billionths of one, which is the engine's unit (`NanoCpus`).
    pub cpus: Option<u64>,
}

/// The image of a builder container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuilderImage {
    /// A folder of `builders.dir`, which xp builds.
    Folder(BuilderName),
    /// An image of the engine, pulled where it is missing. No registry prefix is applied.
    External(ImageReference),
}

/// Who runs the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuilderUser {
    /// The user who runs xp.
    Caller,
    /// The superuser.
    Root,
    /// Any user and group.
    Ids {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The path on the host: absolute, or `~`, or below `~/`, which whoever mounts it expands.
    pub source: String,
    /// The absolute path in the container.
    pub target: String,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

/// How the image of a service is built and named.
#[derive(Debug, Clone)]
pub struct Docker {
    /// The repository, below the manifest's registry where it names none itself.
    pub image: ImageRepository,
    /// The Dockerfile, relative to the source.
    pub file: String,
    /// The build context, relative to the source.
    pub context: String,
    /// The stage to build; none for the last.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, Template>,
    /// What its instructions may mount as secrets, by id: never part of the image.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Whether its instructions may use the ssh agent.
    pub ssh: bool,
    /// Tags beside those of commit and branch; render them by `Manifest::render_tag`.
    pub tags: Vec<Template>,
}

/// Where the value of a build secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the caller's environment. The template is its placeholder, and tells where it stands.
    Environment {
        /// The variable's name.
        name: String,
        /// What is replaced by the value.
        value: Template,
    },
    /// A file: absolute, below `~/`, or relative to the manifest's folder.
    File(String),
}

/// The scripts of a service, run in this order.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    /// What must be there before the build.
    pub prepare: Vec<ScriptLine>,
    /// The build.
    pub build: Vec<ScriptLine>,
    /// The tests.
    pub test: Vec<ScriptLine>,
}

impl Scripts {
    /// Tells whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.prepare.is_empty() && self.build.is_empty() && self.test.is_empty()
    }
}

/// One item of a script: a line for the shell, or a block of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptLine {
    /// What the shell gets.
    pub text: String,
    /// The line of the manifest in which the text starts, from one.
    pub line: usize,
}
