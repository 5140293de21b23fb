//! Questions about images: the engine is asked for the ones that matter, and never for all it has.
//!
//! A list of all images costs an engine with the containerd image store about 12 ms an image, because it
//! computes sizes. One image by its name costs 2 to 7 ms, and such questions run concurrently.

use bollard::models::ImageInspect;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::way::Way;
use super::{Engine, EngineError};
use crate::image::{EngineImage, EngineImages, ImageIds, ImageReference};

/// How many images are asked for at once.
const AT_ONCE: usize = 16;

/// How many by ssh, where each connection is a login.
const AT_ONCE_BY_SSH: usize = 4;

/// The registry that Podman gives to images which were built on its own command line.
const LOCALHOST: &str = "localhost";

/// What an image of the engine consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContent {
    /// The engine's id of the image.
    pub id: String,
    /// The digests of its layers, uncompressed, the lowest one first.
    pub layers: Vec<String>,
    /// The digests by which registries have it, as `repository@digest`.
    pub digests: Vec<String>,
}

impl ImageContent {
    /// Returns the ids by which the image is known.
    pub fn ids(&self) -> ImageIds {
        let digests = self.digests.iter().filter_map(|name| name.split_once('@'));
        let digests = digests.map(|(_, digest)| digest);
        ImageIds::new(std::iter::once(self.id.as_str()).chain(digests))
    }
}

impl Engine {
    /// Returns those of these images that the engine has, by each of the names that it knows them by.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn images(
        &self,
        asked: impl IntoIterator<Item = ImageReference>,
    ) -> Result<EngineImages, EngineError> {
        let at_once = match self.way {
            Way::Ssh(_) => AT_ONCE_BY_SSH,
            _ => AT_ONCE,
        };
        let asked = asked.into_iter().map(|name| self.inspect(name));
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(at_once);
        let mut by_name = EngineImages::new();
        while let Some(answer) = answers.try_next().await? {
            let Some(image) = answer else { continue };
            let names = [&image.repo_tags, &image.repo_digests];
            let names: Vec<String> = names.into_iter().flatten().flatten().cloned().collect();
            let found = engine_image(image);
            by_name.extend(names.into_iter().map(|name| (name, found.clone())));
        }
        Ok(by_name)
    }

    /// Returns an image, where the engine has it.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn image(&self, name: &ImageReference) -> Result<Option<EngineImage>, EngineError> {
        Ok(self.inspect(name.clone()).await?.map(engine_image))
    }

    /// Returns what an image consists of, by its name; `None` where the engine does not have it.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn content(
        &self,
        image: &ImageReference,
    ) -> Result<Option<ImageContent>, EngineError> {
        Ok(self.inspect(image.clone()).await?.map(content))
    }

    /// Returns what an image consists of, by its id; `None` where the engine does not have it.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn content_of_id(&self, id: &str) -> Result<Option<ImageContent>, EngineError> {
        Ok(self.inspect_named(id).await?.map(content))
    }

    async fn inspect(&self, name: ImageReference) -> Result<Option<ImageInspect>, EngineError> {
        let has_registry = name.repository().registry().is_some();
        let name = name.to_string();
        let found = self.inspect_named(&name).await?;
        if found.is_some() || has_registry || !self.is_podman {
            return Ok(found);
        }
        // Podman takes a name without a registry for one of Docker Hub's.
        self.inspect_named(&format!("{LOCALHOST}/{name}")).await
    }

    async fn inspect_named(&self, name: &str) -> Result<Option<ImageInspect>, EngineError> {
        match self.docker.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) => match EngineError::new(format!("look for {name}"), error) {
                error if error.status() == Some(404) => Ok(None),
                error => Err(error),
            },
        }
    }
}

fn engine_image(image: ImageInspect) -> EngineImage {
    EngineImage {
        id: image.id.unwrap_or_default(),
        labels: image
            .config
            .and_then(|it| it.labels)
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn content(image: ImageInspect) -> ImageContent {
    ImageContent {
        id: image.id.unwrap_or_default(),
        layers: image.root_fs.and_then(|it| it.layers).unwrap_or_default(),
        digests: image.repo_digests.unwrap_or_default(),
    }
}
