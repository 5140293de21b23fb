//! Labels of images, from their configuration.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::host::RegistryHost;
use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError};
use crate::model::image::{
    Digest, ImageReference, Labels, Platform, PlatformImage, PublishedImage,
};

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
        let system = self.platform.as_ref().and_then(|it| it.os.as_deref());
        system != Some("unknown")
    }
}

#[derive(Debug, Deserialize)]
struct ManifestPlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl ManifestPlatform {
    fn platform(&self) -> Option<Platform> {
        let variant = self.variant.as_deref().unwrap_or_default();
        Platform::new(self.os.as_deref()?, self.architecture.as_deref()?, variant)
    }
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<ContainerConfiguration>,
    #[serde(flatten)]
    platform: ManifestPlatform,
}

#[derive(Debug, Deserialize)]
struct ContainerConfiguration {
    #[serde(default, rename = "Labels")]
    labels: Option<Labels>,
}

impl RegistryClient {
    /// Describes an image given by digest, with two requests. An index takes one more, and two per platform.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself; anything that is not an image; and an index with
    /// manifests that the registry does not have.
    pub async fn describe(&self, image: &ImageReference) -> Result<PublishedImage, RegistryError> {
        let host = self.host(image).await?;
        let mut manifest = self.image_manifest(&host, image).await?;
        match manifest.manifests.take() {
            Some(listed) => self.describe_index(&host, image, &listed).await,
            None => self.describe_image(&host, image, manifest).await,
        }
    }

    /// Returns the platforms of an image with the digests of their images, with one request for an index and up to three
    /// for other images.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself; anything that is not an image.
    pub async fn platform_digests(
        &self,
        image: &ImageReference,
    ) -> Result<Vec<(Platform, Digest)>, RegistryError> {
        let host = self.host(image).await?;
        let mut manifest = self.image_manifest(&host, image).await?;
        if let Some(listed) = manifest.manifests.take() {
            let mut images = Vec::new();
            for descriptor in listed.iter().filter(|it| it.is_image()) {
                let platform = descriptor.platform.as_ref().and_then(|it| it.platform());
                if let Some(platform) = platform {
                    images.push((platform, digest(&host, descriptor)?));
                }
            }
            return Ok(images);
        }
        let found = self.describe_image(&host, image, manifest).await?;
        let digest = match image.digest() {
            Some(digest) => Some(digest.clone()),
            None => self.digest(image).await?,
        };
        Ok(found.platform.zip(digest).into_iter().collect())
    }

    /// Describes an index by its first image, with what distinguishes the others.
    async fn describe_index(
        &self,
        host: &RegistryHost,
        index: &ImageReference,
        listed: &[Descriptor],
    ) -> Result<PublishedImage, RegistryError> {
        let mut described: Option<PublishedImage> = None;
        let mut images = Vec::new();
        for descriptor in listed.iter().filter(|it| it.is_image()) {
            let digest = digest(host, descriptor)?;
            let image = index.repository().with_digest(digest.clone());
            let manifest = self.image_manifest(host, &image).await;
            if manifest.is_err() && self.digest(&image).await?.is_none() {
                return Err(RegistryError::Incomplete {
                    image: index.to_string(),
                    part: digest.to_string(),
                });
            }
            let found = match self.describe_image(host, &image, manifest?).await {
                // Other tools list what belongs to the images, too.
                Err(RegistryError::NotAnImage { .. }) if described.is_some() => continue,
                found => found?,
            };
            let platform = descriptor.platform.as_ref();
            let platform = platform.and_then(ManifestPlatform::platform);
            images.extend(
                platform
                    .or(found.platform.clone())
                    .map(|platform| PlatformImage {
                        platform,
                        digest,
                        config: found.config.clone(),
                        labels: found.labels.clone(),
                    }),
            );
            described.get_or_insert(found);
        }
        match described {
            Some(first) => Ok(PublishedImage {
                platform: None,
                images,
                ..first
            }),
            None => Err(RegistryError::NotAnImage {
                image: index.to_string(),
                what: if listed.is_empty() {
                    "an empty index".to_owned()
                } else {
                    "an index with only attestations".to_owned()
                },
            }),
        }
    }

    async fn describe_image(
        &self,
        host: &RegistryHost,
        image: &ImageReference,
        manifest: RegistryManifest,
    ) -> Result<PublishedImage, RegistryError> {
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
        let blob = digest(host, &descriptor)?;
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
            platform: configuration.platform.platform(),
            images: Vec::new(),
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
