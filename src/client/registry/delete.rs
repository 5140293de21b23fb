//! Deletes manifests and tags.

use reqwest::{Method, StatusCode};

use super::error::is_not_found_message;
use super::host::RegistryHost;
use super::push_check::write_refusal;
use super::resource::{Access, Resource};
use super::response::RegistryResponse;
use super::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};

/// What a registry did with the removal of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagDeletion {
    /// It accepted it, or does not have the tag.
    Accepted,
    /// It can only delete manifests.
    Unsupported,
}

impl RegistryClient {
    /// Deletes a manifest with all of its tags. Returns whether the registry had it.
    ///
    /// # Errors
    ///
    /// [`RegistryError::DeletionDisabled`], [`RegistryError::Denied`], or any other refusal.
    pub async fn delete_manifest(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let image = repository.with_digest(digest.clone());
        let (host, reply) = self.delete(&image).await?;
        match reply.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND if is_not_found_message(&reply.text()) => Ok(false),
            // Registries that only serve, such as mirrors, do not know the method.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Err(RegistryError::DeletionDisabled {
                    registry: host.registry.clone(),
                    status: reply.status,
                })
            }
            _ => Err(refusal(&host, repository, &reply)),
        }
    }

    /// Removes a tag. Some registries delete its manifest with it, so the caller looks whether that still exists.
    ///
    /// # Errors
    ///
    /// Any refusal other than that the registry does not support it.
    pub async fn delete_tag(
        &self,
        repository: &ImageRepository,
        tag: &Tag,
    ) -> Result<TagDeletion, RegistryError> {
        let image = repository.tagged(tag.clone());
        let (host, reply) = self.delete(&image).await?;
        match reply.status {
            status if status.is_success() => Ok(TagDeletion::Accepted),
            StatusCode::NOT_FOUND if is_not_found_message(&reply.text()) => {
                Ok(TagDeletion::Accepted)
            }
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => Ok(TagDeletion::Unsupported),
            _ => Err(refusal(&host, repository, &reply)),
        }
    }

    async fn delete(
        &self,
        image: &ImageReference,
    ) -> Result<(std::sync::Arc<RegistryHost>, RegistryResponse), RegistryError> {
        let host = self.host(image).await?;
        let resource = Resource::Manifest(image);
        let reply = host.send(Method::DELETE, resource, Access::Delete, None);
        let reply = reply.await?;
        Ok((host, reply))
    }
}

/// Returns the error for a refused deletion.
fn refusal(
    host: &RegistryHost,
    repository: &ImageRepository,
    reply: &RegistryResponse,
) -> RegistryError {
    write_refusal(host, &format!("delete images of {repository}"), reply)
}
