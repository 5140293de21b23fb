//! Lists and removes images, for clean-up.

use std::collections::{BTreeMap, HashMap};

use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptions, RemoveImageOptionsBuilder,
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::client::engine::{Engine, EngineError};
use crate::model::image::Labels;

/// The number of patterns of one request.
const PATTERNS: usize = 500;

/// The number of images that are inspected at once.
const CONCURRENCY: usize = 4;

/// An image of the engine with all of its names.
#[derive(Debug, Clone)]
pub struct ListedImage {
    pub id: String,
    /// `repository:tag`
    pub names: Vec<String>,
    /// `repository@digest`
    pub digests: Vec<String>,
    pub labels: Labels,
    /// When it was created, in seconds since 1970.
    pub created: Option<i64>,
    /// The size in bytes, including layers of other images.
    pub size: u64,
}

impl Engine {
    /// Returns the images with a name in one of the repositories, as the engine writes them.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn images_in(
        &self,
        repositories: impl IntoIterator<Item = String>,
    ) -> Result<Vec<ListedImage>, EngineError> {
        let patterns: Vec<String> = repositories.into_iter().collect();
        let mut ids = Vec::new();
        for patterns in patterns.chunks(PATTERNS) {
            let options = ListImagesOptions {
                filters: Some(HashMap::from([("reference".to_owned(), patterns.to_vec())])),
                ..ListImagesOptions::default()
            };
            let images = self.docker.list_images(Some(options)).await;
            let images = images.map_err(|error| EngineError::new("list images", error))?;
            ids.extend(images.into_iter().map(|image| image.id));
        }
        ids.sort();
        ids.dedup();
        let requests = ids.into_iter().map(|id| async move {
            let found = self.inspect_named(&id).await?;
            Ok::<_, EngineError>(found.map(|image| listed(id, image)))
        });
        let found = futures_util::stream::iter(requests).buffer_unordered(CONCURRENCY);
        let found: Vec<Option<ListedImage>> = found.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Returns the IDs of the images of all containers, running or not, with the name of one container.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn images_of_containers(&self) -> Result<BTreeMap<String, String>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let found = self.docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| EngineError::new("list containers", error))?;
        let used = found.into_iter().filter_map(|container| {
            let names = container.names.into_iter().flatten().next();
            let name = names.unwrap_or_default().trim_start_matches('/').to_owned();
            Some((container.image_id?, name))
        });
        Ok(used.collect())
    }

    /// Removes a name of an image, and the image if it was the last one. Returns whether the engine had it.
    ///
    /// # Errors
    ///
    /// If the engine does not respond, or a container uses the image.
    pub async fn remove_image_name(&self, name: &str) -> Result<bool, EngineError> {
        let options = RemoveImageOptionsBuilder::default().force(false).build();
        let removed = self.docker.remove_image(name, Some(options), None).await;
        match removed.map_err(|error| EngineError::new(format!("remove {name}"), error)) {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn listed(id: String, image: ImageInspect) -> ListedImage {
    let labels = image.config.and_then(|config| config.labels);
    ListedImage {
        id,
        names: image.repo_tags.unwrap_or_default(),
        digests: image.repo_digests.unwrap_or_default(),
        labels: labels.into_iter().flatten().collect(),
        created: image.created.map(|created| created.unix_timestamp()),
        size: image
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
    }
}
