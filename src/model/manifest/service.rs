//! The validated services of a manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::name::{BuilderName, ServiceName};
use super::report_pattern::ReportPattern;
use super::source::Source;
use super::source_path::SourcePath;
use super::template::Template;
use crate::model::image::{ImageReference, ImageRepository};

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
    /// The services whose images must exist first: those in `needs` and in `${{ services.… }}` placeholders.
    pub needs: BTreeSet<ServiceName>,
}

/// The container that a service's scripts run in.
#[derive(Debug, Clone)]
pub struct Builder {
    pub image: BuilderImage,
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

/// The image of a builder container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuilderImage {
    /// A folder in `builders.dir`, which xp builds.
    Folder(BuilderName),
    /// Any other image, pulled if it is missing. The registry prefix is not applied.
    External(ImageReference),
}

/// The user that runs the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The scripts of a service, run in this order.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    /// Preparation, such as installing dependencies.
    pub prepare: Vec<ScriptLine>,
    pub build: Vec<ScriptLine>,
    pub test: Vec<ScriptLine>,
    /// The JUnit XML files that they write.
    pub reports: Vec<ReportPattern>,
}

impl Scripts {
    /// Returns whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.prepare.is_empty() && self.build.is_empty() && self.test.is_empty()
    }
}

/// One item of a script: a single line or a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptLine {
    /// The text passed to the shell.
    pub text: String,
    /// The 1-based line of the manifest where the text starts.
    pub line: usize,
}
