//! What the configuration of an image says: its labels.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::host::Host;
use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError};
use crate::image::{Digest, ImageReference, Labels, PublishedImage};

/// The media types of an image's configuration: Docker's and OCI's. Others belong to artifacts.
const CONFIGURATIONS: [&str; 2] = [
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
];

/// How much of a media type is shown: anybody may have written it.
const SHOWN: usize = 80;

/// What an image manifest, or an index of several, names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
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
    platform: Option<Platform>,
}

impl Manifest {
    /// Returns the type of the artifact that it describes, where it is not an image.
    fn artifact(&self) -> Option<&str> {
        let configuration = self.config.as_ref()?.media_type.as_deref()?;
        // An older image may say nothing, and some tools leave it empty.
        let is_image = configuration.is_empty() || CONFIGURATIONS.contains(&configuration);
        let artifact = self.artifact_type.as_deref().filter(|it| !it.is_empty());
        artifact.or((!is_image).then_some(configuration))
    }
}

impl Descriptor {
    /// Returns whether an index lists it as an image: BuildKit lists what it knows of how an image was made as an
    /// image for no system.
    fn is_image(&self) -> bool {
        let system = self.platform.as_ref().map(|platform| &platform.os);
        system.is_none_or(|system| system != "unknown")
    }
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
    /// Describes an image that is named by its digest: two requests, and for an image of several platforms one more,
    /// and one for each platform. Then it is described by the first one, as xp labels
    /// all of them alike.
    ///
    /// # Errors
    ///
    /// Everything but a clear answer of the registry itself; what is not an image; and an index of which the
    /// registry lacks a part.
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
                    what: match listed.is_empty() {
                        true => "an index that lists nothing".to_owned(),
                        false => "an index of attestations alone".to_owned(),
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
            .map_err(|_| host.unexpected("an image's configuration cannot be read"))?;
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
            .map_err(|_| host.unexpected("an image's manifest cannot be read"))
    }
}

/// Reads an answer as everything that it may be.
#[cfg(fuzzing)]
pub(super) fn read_for_fuzzing(bytes: &[u8]) {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        _ = manifest.artifact().map(str::len);
        let listed = manifest.manifests.into_iter().flatten();
        for descriptor in listed.chain(manifest.config) {
            _ = descriptor.is_image();
            _ = descriptor.digest.parse::<Digest>();
        }
    }
    _ = serde_json::from_slice::<Configuration>(bytes);
}

fn digest(host: &Host, descriptor: &Descriptor) -> Result<Digest, RegistryError> {
    let digest = descriptor.digest.parse();
    digest.map_err(|_| host.unexpected("an image's manifest has an invalid digest"))
}
