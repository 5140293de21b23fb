//! The steps of scripts: containers, and what runs in them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{join, relative};
use crate::base::seconds;
use crate::model::event::Phase;
use crate::model::image::{ImageReference, Platform};
use crate::model::manifest::{
    BuilderImage, BuilderUser, Mount, PluginItem, ReportPattern, SecretSource,
};
use crate::model::source::GitMount;

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
impl ContainerStep {
    pub(super) fn describe(&self, folder: &Path) -> String {
        let source = if self.in_place {
            relative(&self.source, folder)
        } else {
            "the source".to_owned()
        };
        let mut text = format!("{} with {source} at {}", self.image, self.workdir);
        if let Some(platform) = &self.platform {
            text.push_str(&format!(" for {platform}"));
        }
        text
    }
}

impl SidecarsStep {
    pub(super) fn describe(&self) -> String {
        let containers = self.containers.iter();
        join(containers.map(|it| format!("{} ({})", it.name, it.image)))
    }
}

impl PluginStep {
    pub(super) fn describe(&self) -> String {
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
