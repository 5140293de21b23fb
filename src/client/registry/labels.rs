//! What the configuration of an image says: its labels.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::host::Host;
use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError};
use crate::image::{Digest, ImageReference, Labels, PublishedImage};

/// What an image manifest, or an index of several, names.
#[derive(Debug, Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<ContainerConfiguration>,
}

#[derive(Debug, Deserialize)]
struct ContainerConfiguration {
    #[serde(default, rename = "Labels")]
    labels: Option<Labels>,
}

impl RegistryClient {
    /// Returns the labels and the configuration's digest of an image that is named by its digest: two requests, and one more where
    /// the image is there for several platforms. Then they are those of the first one, as xp labels
    /// all of them alike.
    ///
    /// # Errors
    ///
    /// Everything but a clear answer of the registry itself.
    pub async fn describe(&self, image: &ImageReference) -> Result<PublishedImage, RegistryError> {
        let host = self.host(image).await?;
        let mut manifest = self.image_manifest(&host, image).await?;
        if let Some(platforms) = manifest.manifests.take() {
            // BuildKit lists what it knows of how an image was made as an image for no system.
            let is_image = |descriptor: &Descriptor| {
                let os = descriptor.platform.as_ref().map(|platform| &platform.os);
                os.is_none_or(|os| os != "unknown")
            };
            let Some(first) = platforms.into_iter().find(is_image) else {
                return Ok(PublishedImage::default());
            };
            let one = image.repository().with_digest(digest(&host, &first)?);
            manifest = self.image_manifest(&host, &one).await?;
        }
        // The first version of the format has no configuration.
        let Some(descriptor) = manifest.config else {
            return Ok(PublishedImage::default());
        };
        let blob = digest(&host, &descriptor)?;
        let resource = Resource::Configuration(image.repository(), &blob);
        let answer = host.send(Method::GET, resource, Access::Pull, None).await?;
        if answer.status != StatusCode::OK {
            return Err(host.refusal(None, &answer));
        }
        let bytes = host.whole(&answer)?;
        let configuration: Configuration = serde_json::from_slice(&bytes)
            .map_err(|_| host.unexpected("an image's configuration is none"))?;
        let labels = configuration.config.and_then(|config| config.labels);
        Ok(PublishedImage {
            labels: labels.unwrap_or_default(),
            config: Some(blob),
        })
    }

    async fn image_manifest(
        &self,
        host: &Host,
        image: &ImageReference,
    ) -> Result<Manifest, RegistryError> {
        let (manifest, _) = self.manifest(image).await?;
        serde_json::from_slice(&manifest.bytes)
            .map_err(|_| host.unexpected("an image's manifest is none"))
    }
}

/// Reads an answer as everything that it may be.
#[cfg(fuzzing)]
pub(super) fn read_for_fuzzing(bytes: &[u8]) {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        let listed = manifest.manifests.into_iter().flatten();
        for descriptor in listed.chain(manifest.config) {
            _ = descriptor.digest.parse::<Digest>();
        }
    }
    _ = serde_json::from_slice::<Configuration>(bytes);
}

fn digest(host: &Host, descriptor: &Descriptor) -> Result<Digest, RegistryError> {
    let digest = descriptor.digest.parse();
    digest.map_err(|_| host.unexpected("a digest in an image's manifest is none"))
}
