//! Manifests of any kind, byte for byte.

use bytes::Bytes;
use reqwest::{Method, StatusCode};

use super::error::is_not_found_message;
use super::host::RegistryHost;
use super::resource::{Access, Resource};
use super::response::RegistryResponse;
use super::{RegistryClient, RegistryError, sha256};
use crate::model::image::{Digest, ImageReference, Tag};

/// A manifest as the registry stores it: its digest covers exactly these bytes.
#[derive(Debug, Clone)]
pub(super) struct RawManifest {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
}

impl RegistryHost {
    /// Returns a manifest; `None` if the registry itself reports that it does not have it.
    pub(super) async fn find_manifest(
        &self,
        image: &ImageReference,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let reply = self.get_manifest(image).await?;
        match reply.status {
            StatusCode::NOT_FOUND if is_not_found_message(&reply.text()) => Ok(None),
            StatusCode::NOT_FOUND => {
                let what = "the 404 does not come from a registry, perhaps from a proxy";
                Err(self.unexpected(what))
            }
            _ => self.read_manifest(&reply).map(Some),
        }
    }

    /// Returns a manifest that the registry should have.
    pub(super) async fn manifest(
        &self,
        image: &ImageReference,
    ) -> Result<RawManifest, RegistryError> {
        let reply = self.get_manifest(image).await?;
        self.read_manifest(&reply)
    }

    async fn get_manifest(
        &self,
        image: &ImageReference,
    ) -> Result<RegistryResponse, RegistryError> {
        let resource = Resource::Manifest(image);
        self.send(Method::GET, resource, Access::Pull, None).await
    }

    fn read_manifest(&self, reply: &RegistryResponse) -> Result<RawManifest, RegistryError> {
        if reply.status != StatusCode::OK {
            return Err(self.refusal(None, reply));
        }
        let bytes = self.body(reply)?;
        // The header is optional.
        let digest = match reply.header("docker-content-digest") {
            Some(stated) => stated.parse(),
            None => sha256(&bytes).parse(),
        };
        Ok(RawManifest {
            digest: digest.map_err(|_| self.unexpected("it returned an invalid digest"))?,
            media_type: reply.header("content-type").unwrap_or_default().to_owned(),
            bytes,
        })
    }

    /// Stores a manifest under a tag or its digest.
    pub(super) async fn put_manifest(
        &self,
        name: &ImageReference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<RegistryResponse, RegistryError> {
        let (resource, digest) = (Resource::Manifest(name), sha256(&bytes));
        let body = Some((media_type, bytes));
        let reply = self.send(Method::PUT, resource, Access::Push, body).await?;
        if !reply.status.is_success() {
            return Err(self.refusal(Some(name), &reply));
        }
        let stored = reply.header("docker-content-digest");
        if stored.is_some_and(|stored| stored.starts_with("sha256:") && stored != digest) {
            return Err(self.unexpected("it stored the manifest under another digest"));
        }
        Ok(reply)
    }
}

impl RegistryClient {
    /// Returns a manifest that the registry should have.
    pub(super) async fn manifest(
        &self,
        image: &ImageReference,
    ) -> Result<RawManifest, RegistryError> {
        self.host(image).await?.manifest(image).await
    }

    /// Adds tags to an image that the registry has; transfers no layers.
    ///
    /// # Errors
    ///
    /// If the registry does not have the image, or refuses.
    pub async fn set_tags(
        &self,
        image: &ImageReference,
        tags: &[Tag],
    ) -> Result<(), RegistryError> {
        if tags.is_empty() {
            return Ok(());
        }
        let host = self.host(image).await?;
        let manifest = host.manifest(image).await?;
        for tag in tags {
            let name = image.repository().tagged(tag.clone());
            let bytes = manifest.bytes.clone();
            host.put_manifest(&name, &manifest.media_type, bytes)
                .await?;
        }
        Ok(())
    }
}
