//! Manifests as they are stored: whatever a tag or digest refers to.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageReference, ImageRepository, Labels};

/// A manifest of any kind.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    pub digest: Digest,
    /// Its configuration: that of an image, or the document of an artifact.
    pub config: Option<StoredBlob>,
    pub layers: Vec<StoredBlob>,
    /// The manifests that an index lists.
    pub children: Vec<ListedManifest>,
    /// The manifest that it describes.
    pub subject: Option<Digest>,
    /// The type of an artifact.
    pub artifact_type: Option<String>,
}

/// A blob of a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredBlob {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    #[serde(default)]
    pub size: u64,
    /// The content in base64.
    #[serde(default)]
    data: Option<String>,
}

impl StoredBlob {
    /// Returns the content if the manifest contains it.
    pub fn content(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(self.data.as_ref()?).ok()
    }
}

/// A manifest in an index.
#[derive(Debug, Clone)]
pub struct ListedManifest {
    pub digest: Digest,
    /// Whether it is an image, and not an attestation.
    pub is_image: bool,
}

/// The configuration of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredConfiguration {
    pub labels: Labels,
    /// When the image was created, in RFC 3339.
    pub created: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Option<StoredBlob>,
    #[serde(default)]
    layers: Vec<StoredBlob>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: Digest,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    config: Option<ContainerConfiguration>,
}

#[derive(Deserialize)]
struct ContainerConfiguration {
    #[serde(default, rename = "Labels")]
    labels: Option<Labels>,
}

impl RegistryClient {
    /// Returns the manifest of a tag or digest, with one request; `None` if the registry reports that it does not have it.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself.
    pub async fn stored(
        &self,
        image: &ImageReference,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let host = self.host(image).await?;
        let Some(found) = host.find_manifest(image).await? else {
            return Ok(None);
        };
        let manifest: Manifest = serde_json::from_slice(&found.bytes)
            .map_err(|_| host.unexpected(&format!("invalid manifest of {image}")))?;
        let children = manifest.manifests.into_iter().map(|it| ListedManifest {
            is_image: it.platform.is_none_or(|platform| platform.os != "unknown"),
            digest: it.digest,
        });
        Ok(Some(StoredManifest {
            digest: found.digest,
            config: manifest.config,
            layers: manifest.layers,
            children: children.collect(),
            subject: manifest.subject.map(|it| it.digest),
            artifact_type: manifest.artifact_type.filter(|it| !it.is_empty()),
        }))
    }

    /// Returns an image's configuration; `None` if the registry does not have it, or it is not one.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself.
    pub async fn configuration(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Option<StoredConfiguration>, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let resource = Resource::Configuration(repository, digest);
        let reply = host.send(Method::GET, resource, Access::Pull, None).await?;
        match reply.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(host.refusal(None, &reply)),
        }
        let bytes = host.body(&reply)?;
        let Ok(configuration) = serde_json::from_slice::<Configuration>(&bytes) else {
            return Ok(None);
        };
        let labels = configuration.config.and_then(|config| config.labels);
        Ok(Some(StoredConfiguration {
            labels: labels.unwrap_or_default(),
            created: configuration.created,
        }))
    }
}
