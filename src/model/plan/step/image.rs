//! The steps that build and push an image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::relative;
use crate::model::image::{Digest, ImageReference, Platform};
use crate::model::manifest::{SecretSource, ServiceName};
use crate::model::plan::{ConcurrentPush, IndexStep};
use crate::model::source::PathSelection;

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
    /// Like [`ContainerStep::env_for_shell`](super::ContainerStep::env_for_shell).
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
    /// Whether the image is verified before [`Step::NameImage`](super::Step::NameImage) gives it the names.
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
impl ImageStep {
    /// Returns the command that builds about the same, without values.
    pub(super) fn describe(&self, folder: &Path) -> String {
        let mut command = vec!["docker".to_owned()];
        let engine = self.engine.iter();
        command.extend(engine.map(|engine| format!("--context {engine}")));
        command.push("build".to_owned());
        if self.dockerfile != self.context.join("Dockerfile") {
            command.push(format!("--file {}", relative(&self.dockerfile, folder)));
        }
        let platform = self.platform.iter();
        command.extend(platform.map(|platform| format!("--platform {platform}")));
        if self.fresh {
            command.push("--no-cache".to_owned());
        }
        if matches!(self.bases, BaseUse::Tracked | BaseUse::Refreshed) {
            command.push("--pull".to_owned());
        }
        let layers = self.layers.iter().flatten();
        command.extend(layers.map(|image| format!("--cache-from {image}")));
        let target = self.target.iter();
        command.extend(target.map(|target| format!("--target {target}")));
        command.extend(self.args.keys().map(|name| format!("--build-arg {name}")));
        command.extend(self.secrets.keys().map(|id| format!("--secret id={id}")));
        command.extend(self.ssh.then(|| "--ssh default".to_owned()));
        command.push(relative(&self.context, folder));
        command.join(" ")
    }
}

impl PushStep {
    pub(super) fn describe(&self) -> String {
        match &self.index {
            Some(index) => format!("{} for {}", self.image, index.describe()),
            None => self.image.to_string(),
        }
    }
}
