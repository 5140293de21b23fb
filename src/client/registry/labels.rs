//! Labels of images, from their configuration.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::host::RegistryHost;
use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageReference, Labels, PublishedImage};

/// The media types of image configurations: Docker's and OCI's. Others belong to artifacts.
const CONFIGURATIONS: [&str; 2] = [
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
];

/// The maximum length of a media type in messages: it is untrusted input.
const SHOWN: usize = 80;

/// An image manifest, or an index of several.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistryManifest {
    config: Option<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
    artifact_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    platform: Option<ManifestPlatform>,
}

impl RegistryManifest {
    /// Returns the artifact type if this is not an image.
    fn artifact(&self) -> Option<&str> {
        let configuration = self.config.as_ref()?.media_type.as_deref()?;
        // It is missing in older images, and some tools leave it empty.
        let is_image = configuration.is_empty() || CONFIGURATIONS.contains(&configuration);
        let artifact = self.artifact_type.as_deref().filter(|it| !it.is_empty());
        artifact.or((!is_image).then_some(configuration))
    }
}

impl Descriptor {
    /// Returns whether an index entry is an image: BuildKit lists attestations as images for an unknown OS.
    fn is_image(&self) -> bool {
        let system = self.platform.as_ref().map(|platform| &platform.os);
        system.is_none_or(|system| system != "unknown")
    }
}

#[derive(Debug, Deserialize)]
struct ManifestPlatform {
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
    /// Describes an image given by digest, with two requests. A multi-platform image takes one more, and one per
    /// platform; it is described by its first platform, because xp labels all of them alike.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself; anything that is not an image; and an index with
    /// manifests that the registry does not have.
    pub async fn describe(&self, image: &ImageReference) -> Result<PublishedImage, RegistryError> {
        let host = self.host(image).await?;
        let mut manifest = self.image_manifest(&host, image).await?;
        if let Some(listed) = manifest.manifests.take() {
            let images = listed.iter().filter(|it| it.is_image());
            let images = images.map(|it| digest(&host, it));
            let images: Vec<Digest> = images.collect::<Result<_, _>>()?;
            let Some(first) = images.first() else {
                return Err(RegistryError::NotAnImage {
                    image: image.to_string(),
                    what: if listed.is_empty() {
                        "an empty index".to_owned()
                    } else {
                        "an index with only attestations".to_owned()
                    },
                });
            };
            for part in &images {
                let part = image.repository().with_digest(part.clone());
                if self.digest(&part).await?.is_none() {
                    return Err(RegistryError::Incomplete {
                        image: image.to_string(),
                        part: part.digest().map(ToString::to_string).unwrap_or_default(),
                    });
                }
            }
            let one = image.repository().with_digest(first.clone());
            manifest = self.image_manifest(&host, &one).await?;
        }
        if let Some(artifact) = manifest.artifact() {
            let shown: String = artifact.chars().take(SHOWN).collect();
            return Err(RegistryError::NotAnImage {
                image: image.to_string(),
                what: format!("an artifact of type {}", shown.escape_debug()),
            });
        }
        // Schema 1 has no configuration.
        let Some(descriptor) = manifest.config else {
            return Ok(PublishedImage::default());
        };
        let blob = digest(&host, &descriptor)?;
        let resource = Resource::Configuration(image.repository(), &blob);
        let response = host.send(Method::GET, resource, Access::Pull, None).await?;
        if response.status != StatusCode::OK {
            return Err(host.refusal(None, &response));
        }
        let bytes = host.body(&response)?;
        let configuration: Configuration = serde_json::from_slice(&bytes)
            .map_err(|_| host.unexpected("invalid image configuration"))?;
        let labels = configuration.config.and_then(|config| config.labels);
        Ok(PublishedImage {
            labels: labels.unwrap_or_default(),
            config: Some(blob),
        })
    }

    async fn image_manifest(
        &self,
        host: &RegistryHost,
        image: &ImageReference,
    ) -> Result<RegistryManifest, RegistryError> {
        let manifest = self.manifest(image).await?;
        serde_json::from_slice(&manifest.bytes)
            .map_err(|_| host.unexpected("invalid image manifest"))
    }
}

/// Parses a response as each type that it may be.
#[cfg(any(fuzzing, test))]
pub(super) fn read_for_fuzzing(bytes: &[u8]) {
    if let Ok(manifest) = serde_json::from_slice::<RegistryManifest>(bytes) {
        _ = manifest.artifact().map(str::len);
        let listed = manifest.manifests.into_iter().flatten();
        for descriptor in listed.chain(manifest.config) {
            _ = descriptor.is_image();
            _ = descriptor.digest.parse::<Digest>();
        }
    }
    _ = serde_json::from_slice::<Configuration>(bytes);
}

fn digest(host: &RegistryHost, descriptor: &Descriptor) -> Result<Digest, RegistryError> {
    let digest = descriptor.digest.parse();
    digest.map_err(|_| host.unexpected("invalid digest in an image manifest"))
}
