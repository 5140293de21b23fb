//! Copies images between repositories, without an engine, with what describes them, such as signatures.
//!
//! Manifests are sent byte for byte, so that digests stay the same. A blob is skipped if the repository has it, mounted
//! if another repository of the same registry has it, and otherwise streamed from one registry to the other.

mod blob;
mod content;
mod descriptions;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageReference, ImageRepository};
use blob::BlobCopy;
use content::{Content, Part};

/// The number of blobs of one image that are copied concurrently.
const CONCURRENT_BLOBS: usize = 4;

/// Copies several images; what they share is transferred once per registry.
pub struct ImageCopier {
    client: RegistryClient,
    blobs: Mutex<HashMap<Digest, Arc<CopiedBlob>>>,
}

/// The repositories that are known to have a blob. Locked during a transfer, so that other images wait for it.
type CopiedBlob = tokio::sync::Mutex<Vec<ImageRepository>>;

/// The progress of one image, in bytes.
struct CopyProgress<'p> {
    done: AtomicU64,
    total: AtomicU64,
    report: &'p (dyn Fn(u64, u64) + Send + Sync),
}

impl CopyProgress<'_> {
    fn add_total(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.add(0);
    }

    fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // A blob that is sent again is counted again.
        let total = self.total.load(Ordering::Relaxed).max(done);
        (self.report)(done, total);
    }
}

impl ImageCopier {
    /// Returns a copier that uses the client's connections and credentials.
    pub fn new(client: RegistryClient) -> Self {
        Self {
            client,
            blobs: Mutex::default(),
        }
    }

    /// Copies an image, given by its digest, with everything that it refers to and everything that describes it. Sets
    /// no tags, except for those of signatures.
    ///
    /// `report` is called with the transferred bytes and the total.
    ///
    /// # Errors
    ///
    /// Either registry refuses a request, or the source lacks a part of the image.
    pub async fn copy(
        &self,
        from: &ImageReference,
        to: &ImageRepository,
        report: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let progress = CopyProgress {
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            report,
        };
        self.copy_manifest(from, to, &progress).await?;
        self.copy_descriptions(from, to, 0, &progress).await
    }

    /// Copies a manifest after everything that it refers to.
    fn copy_manifest<'a>(
        &'a self,
        from: &'a ImageReference,
        to: &'a ImageRepository,
        progress: &'a CopyProgress<'a>,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        async move {
            let host = self.client.host(from).await?;
            let unreadable = || host.unexpected("invalid image manifest");
            let digest = from.digest().cloned().ok_or_else(unreadable)?;
            let manifest = self.client.manifest(from).await?;
            let content = Content::parse(&manifest.bytes).ok_or_else(unreadable)?;
            let incomplete = |part: &Digest| RegistryError::Incomplete {
                image: from.to_string(),
                part: part.to_string(),
            };
            for child in &content.manifests {
                let child = from.repository().with_digest(child.digest.clone());
                if self.client.digest(&child).await?.is_none() {
                    return Err(child.digest().map_or_else(unreadable, incomplete));
                }
                self.copy_manifest(&child, to, progress).await?;
            }
            let copy = to.with_digest(digest.clone());
            // A registry accepts an image only with its blobs, but an index without some of its images.
            if content.manifests.is_empty() && self.client.digest(&copy).await?.is_some() {
                return Ok(());
            }
            progress.add_total(content.blobs.iter().map(|blob| blob.size).sum());
            let failed = &AtomicBool::new(false);
            let blobs = content.blobs.into_iter().map(|blob| async move {
                // Transfers in progress are completed, so that no upload stays open.
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let copied = self.copy_blob(from.repository(), to, &blob, progress).await;
                failed.fetch_or(copied.is_err(), Ordering::Relaxed);
                copied
            });
            let copied = futures_util::stream::iter(blobs).buffer_unordered(CONCURRENT_BLOBS);
            let copied: Vec<Result<(), RegistryError>> = copied.collect().await;
            copied.into_iter().collect::<Result<(), _>>()?;
            let target = self.client.host(&copy).await?;
            target
                .put_manifest(&copy, &manifest.media_type, manifest.bytes)
                .await?;
            Ok(())
        }
        .boxed()
    }

    async fn copy_blob(
        &self,
        from: &ImageRepository,
        to: &ImageRepository,
        blob: &Part,
        progress: &CopyProgress<'_>,
    ) -> Result<(), RegistryError> {
        let state = {
            let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
            blobs.entry(blob.digest.clone()).or_default().clone()
        };
        let mut owners = state.lock().await;
        if owners.contains(to) {
            progress.add(blob.size);
            return Ok(());
        }
        let owner = std::iter::once(from).chain(owners.iter());
        let mut owner = owner.filter(|owner| owner.registry() == to.registry());
        let copy = BlobCopy {
            client: &self.client,
            from,
            to,
            blob,
            progress,
        };
        copy.run(owner.next()).await?;
        owners.push(to.clone());
        Ok(())
    }
}
