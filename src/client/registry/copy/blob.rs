//! The transfer of one blob.

use std::io;

use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode};

use super::CopyProgress;
use super::content::Part;
use crate::client::registry::host::RegistryHost;
use crate::client::registry::push_check::cancel;
use crate::client::registry::resource::{Access, Resource};
use crate::client::registry::upload::{Attempt, BlobContent, BlobUpload, location};
use crate::client::registry::{RegistryClient, RegistryError};
use crate::model::image::ImageRepository;

/// The copy of a blob from one repository to another.
pub(super) struct BlobCopy<'a> {
    pub client: &'a RegistryClient,
    pub from: &'a ImageRepository,
    pub to: &'a ImageRepository,
    pub blob: &'a Part,
    pub progress: &'a CopyProgress<'a>,
}

impl BlobCopy<'_> {
    /// Copies the blob unless the repository has it. `owner` is a repository of the same registry that has it.
    pub async fn run(&self, owner: Option<&ImageRepository>) -> Result<(), RegistryError> {
        let source = self.client.host_of_repository(self.from).await?;
        let target = self.client.host_of_repository(self.to).await?;
        let upload = BlobUpload {
            client: self.client,
            to: self.to,
            digest: &self.blob.digest,
            on_progress: &|bytes| self.progress.add(bytes),
        };
        if upload.exists(&target).await? {
            self.progress.add(self.blob.size);
            return Ok(());
        }
        let _permit = target.uploads.acquire().await;
        if let Some(owner) = owner
            && self.mount(&target, owner).await?
        {
            self.progress.add(self.blob.size);
            return Ok(());
        }
        upload.run(&target, || self.open(&source)).await
    }

    /// Mounts the blob from another repository of the registry; returns whether that worked.
    async fn mount(
        &self,
        target: &RegistryHost,
        owner: &ImageRepository,
    ) -> Result<bool, RegistryError> {
        let mount = Resource::Mount {
            repository: self.to,
            digest: &self.blob.digest,
            from: owner,
        };
        let reply = target.send(Method::POST, mount, Access::Push, None).await?;
        match reply.status {
            StatusCode::CREATED => Ok(true),
            // It opened an upload instead.
            StatusCode::ACCEPTED => {
                if let Some(upload) = location(&reply) {
                    _ = cancel(target, self.to, &upload).await;
                }
                Ok(false)
            }
            // The upload reports what is wrong.
            _ => Ok(false),
        }
    }

    /// Opens the blob in the source.
    async fn open(&self, source: &RegistryHost) -> Result<BlobContent, Attempt<()>> {
        let response = source.open_blob(self.from, &self.blob.digest).await?;
        let length = response.content_length();
        if self.blob.size > 0 && length.is_some_and(|length| length != self.blob.size) {
            let error = source.unexpected("a layer does not have the size in its manifest");
            return Err((Err(error), None));
        }
        let reset = |error: reqwest::Error| {
            io::Error::new(io::ErrorKind::ConnectionReset, error.without_url())
        };
        let stream = response.bytes_stream();
        Ok(BlobContent {
            size: length.unwrap_or(self.blob.size),
            stream: stream.map(move |chunk| chunk.map_err(reset)).boxed(),
        })
    }
}
