//! Looks up images: only the ones that matter, never all that the engine has.
//!
//! An engine with the classic store inspects an image in a few milliseconds, so each image is inspected, several at
//! once. With the containerd store, inspecting one image reads the records of all images, and listing all images takes
//! about 12 ms for each, because the engine computes sizes. There, xp lists by name, some names at a time: the cost
//! depends on the number of names, not on what else the engine has.

use std::collections::HashMap;

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::ListImagesOptions;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::client::engine::connect::endpoint::EngineEndpoint;
use crate::client::engine::{Engine, EngineError};
use crate::model::image::{
    EngineImage, EngineImages, ImageIds, ImageQuery, ImageReference, Labels, Platform,
};
use crate::model::recipe::LABEL_RECIPE;

/// The number of concurrent requests.
const CONCURRENCY: usize = 16;

/// The number of concurrent requests over ssh, where each connection is a login.
const SSH_CONCURRENCY: usize = 4;

/// The number of names in one list request: more would make the requests uneven and the URL long.
const NAMES_PER_LIST: usize = 16;

/// The number of patterns in one list request: the URL must not exceed 64 KiB.
const PATTERNS_PER_LIST: usize = 500;

/// The registry that Podman gives to images which were built on its own command line.
const LOCALHOST: &str = "localhost";

/// The content of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContent {
    /// The engine's id of the image.
    pub id: String,
    /// The digests of its layers, uncompressed, the lowest one first.
    pub layers: Vec<String>,
    /// Its digests in registries, as `repository@digest`.
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
    /// Returns the images that the engine has, by each of their names.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn images(
        &self,
        queries: impl IntoIterator<Item = ImageQuery>,
    ) -> Result<EngineImages, EngineError> {
        let queries: Vec<ImageQuery> = queries.into_iter().collect();
        if queries.is_empty() {
            return Ok(EngineImages::new());
        }
        if !self.lists_labels() || !self.facts().await?.containerd_store {
            return self.inspect_images(queries).await;
        }
        // An image that has only a tag can be inspected by its digest, but not listed by it.
        let has_digest = |query: &ImageQuery| query.name.digest().is_some();
        let (with_digest, without) = queries.into_iter().partition(has_digest);
        let (mut images, inspected) =
            tokio::try_join!(self.list_images(without), self.inspect_images(with_digest))?;
        images.extend(inspected);
        Ok(images)
    }

    /// Inspects each image. The response has the further names of the image.
    async fn inspect_images(&self, queries: Vec<ImageQuery>) -> Result<EngineImages, EngineError> {
        let requests = queries.into_iter().map(|query| self.inspect(query.name));
        let mut responses =
            futures_util::stream::iter(requests).buffer_unordered(self.concurrency());
        let mut by_name = EngineImages::new();
        while let Some(response) = responses.try_next().await? {
            let Some(image) = response else { continue };
            let names = [&image.repo_tags, &image.repo_digests];
            let names: Vec<String> = names.into_iter().flatten().flatten().cloned().collect();
            let found = engine_image(image);
            by_name.extend(names.into_iter().map(|name| (name, found.clone())));
        }
        Ok(by_name)
    }

    /// Lists images by name. An entry of the response has only the requested names, and their digests.
    async fn list_images(&self, queries: Vec<ImageQuery>) -> Result<EngineImages, EngineError> {
        let names = queries.into_iter().flat_map(ImageQuery::into_names);
        let names: Vec<String> = names.map(|name| name.familiar_name()).collect();
        let names: Vec<Vec<String>> = names.chunks(NAMES_PER_LIST).map(<[_]>::to_vec).collect();
        let requests = names
            .into_iter()
            .map(|names| self.list(HashMap::from([("reference".to_owned(), names)])));
        let mut responses =
            futures_util::stream::iter(requests).buffer_unordered(self.concurrency());
        let mut by_name = EngineImages::new();
        while let Some(response) = responses.try_next().await? {
            by_name.extend(response);
        }
        Ok(by_name)
    }

    /// Sends one list request.
    async fn list(
        &self,
        filters: HashMap<String, Vec<String>>,
    ) -> Result<EngineImages, EngineError> {
        let options = ListImagesOptions {
            filters: Some(filters),
            ..ListImagesOptions::default()
        };
        let images = self.docker.list_images(Some(options)).await;
        let images = images.map_err(|error| EngineError::new("look up images", error))?;
        let mut by_name = EngineImages::new();
        for image in images {
            let ImageSummary {
                id,
                labels,
                repo_tags,
                repo_digests,
                ..
            } = image;
            let found = EngineImage {
                id,
                labels: labels.into_iter().collect(),
            };
            let names = repo_tags.into_iter().chain(repo_digests);
            by_name.extend(names.map(|name| (name, found.clone())));
        }
        Ok(by_name)
    }

    /// Returns the images with names that match patterns, in the syntax of the filter `reference`: `*` matches any
    /// text without a slash. Podman has other patterns, so there, the result has all images built by xp.
    ///
    /// Only names are compared, so this costs little even if the engine has many images.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn images_like(
        &self,
        patterns: impl IntoIterator<Item = String>,
    ) -> Result<EngineImages, EngineError> {
        let patterns: Vec<String> = patterns.into_iter().collect();
        let mut found = EngineImages::new();
        for patterns in patterns.chunks(PATTERNS_PER_LIST) {
            let filter = if self.is_podman {
                ("label".to_owned(), vec![LABEL_RECIPE.to_owned()])
            } else {
                ("reference".to_owned(), patterns.to_vec())
            };
            found.extend(self.list(HashMap::from([filter])).await?);
            if self.is_podman {
                break;
            }
        }
        if self.lists_labels() || found.is_empty() || !self.facts().await?.containerd_store {
            return Ok(found);
        }
        let names = found
            .into_keys()
            .filter_map(|name| name.parse::<ImageReference>().ok());
        self.inspect_images(names.map(ImageQuery::from).collect())
            .await
    }

    /// Returns whether lists of images have labels: with the containerd store, not before API 1.44.
    fn lists_labels(&self) -> bool {
        self.docker.client_version().minor_version >= 44
    }

    fn concurrency(&self) -> usize {
        match self.endpoint {
            EngineEndpoint::Ssh(_) => SSH_CONCURRENCY,
            _ => CONCURRENCY,
        }
    }

    /// Returns an image; `None` if the engine does not have it.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn image(&self, name: &ImageReference) -> Result<Option<EngineImage>, EngineError> {
        Ok(self.inspect(name.clone()).await?.map(engine_image))
    }

    /// Returns the content of an image by its name; `None` if the engine does not have it.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn content(
        &self,
        image: &ImageReference,
    ) -> Result<Option<ImageContent>, EngineError> {
        Ok(self.inspect(image.clone()).await?.map(content))
    }

    /// Returns the content of an image by its id; `None` if the engine does not have it.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn content_of_id(&self, id: &str) -> Result<Option<ImageContent>, EngineError> {
        Ok(self.inspect_named(id).await?.map(content))
    }

    /// Returns the labels of an image and whether it has an entrypoint; `None` if the engine does not have it.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn entrypoint(
        &self,
        image: &ImageReference,
    ) -> Result<Option<(Labels, bool)>, EngineError> {
        let Some(found) = self.inspect(image.clone()).await? else {
            return Ok(None);
        };
        let entrypoint = found.config.as_ref().and_then(|it| it.entrypoint.as_ref());
        let has_entrypoint = entrypoint.is_some_and(|it| !it.is_empty());
        Ok(Some((engine_image(found).labels, has_entrypoint)))
    }

    /// Returns the platform of an image by its id; `None` if the engine does not have it.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn platform_of_id(&self, id: &str) -> Result<Option<Platform>, EngineError> {
        let Some(found) = self.inspect_named(id).await? else {
            return Ok(None);
        };
        let (system, architecture) = (found.os.unwrap_or_default(), found.architecture);
        let variant = found.variant.unwrap_or_default();
        Ok(Platform::new(
            &system,
            &architecture.unwrap_or_default(),
            &variant,
        ))
    }

    async fn inspect(&self, name: ImageReference) -> Result<Option<ImageInspect>, EngineError> {
        let has_registry = name.repository().registry().is_some();
        let name = name.to_string();
        let found = self.inspect_named(&name).await?;
        if found.is_some() || has_registry || !self.is_podman {
            return Ok(found);
        }
        // Podman resolves a name without a registry to Docker Hub.
        self.inspect_named(&format!("{LOCALHOST}/{name}")).await
    }

    pub(super) async fn inspect_named(
        &self,
        name: &str,
    ) -> Result<Option<ImageInspect>, EngineError> {
        match self.docker.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) => match EngineError::new(format!("look up {name}"), error) {
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
