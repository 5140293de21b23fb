//! Copies what describes a manifest: what names it as its subject, such as provenance, and what cosign stores in tags.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::content::Content;
use super::{CopyProgress, ImageCopier};
use crate::client::registry::RegistryError;
use crate::client::registry::attachment::layers_of;
use crate::client::registry::manifest::RawManifest;
use crate::model::image::{Digest, ImageReference, ImageRepository};
use crate::model::supply::cosign_tag;

/// The tags of cosign: of signatures, attestations, and bills of materials.
const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// The depth of descriptions of descriptions, such as the signature of a bill of materials.
const DEEPEST: usize = 3;

impl ImageCopier {
    /// Copies what describes a manifest, the manifests that it lists, and the copied descriptions. The manifest itself
    /// was copied before.
    pub(super) fn copy_descriptions<'a>(
        &'a self,
        from: &'a ImageReference,
        to: &'a ImageRepository,
        depth: usize,
        progress: &'a CopyProgress<'a>,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        async move {
            let Some(digest) = from.digest() else {
                return Ok(());
            };
            let mut described = self.children(from).await?;
            let listed = self.client.listed_referrers(from.repository(), digest);
            for referrer in listed.await? {
                let referrer = from.repository().with_digest(referrer);
                if self.copy_referrer(&referrer, digest, to, progress).await? {
                    described.extend(referrer.digest().cloned());
                }
            }
            for suffix in SUFFIXES {
                self.copy_tag(from.repository(), digest, suffix, to, progress)
                    .await?;
            }
            if depth == DEEPEST {
                return Ok(());
            }
            for digest in described {
                let name = from.repository().with_digest(digest);
                self.copy_descriptions(&name, to, depth + 1, progress)
                    .await?;
            }
            Ok(())
        }
        .boxed()
    }

    /// Returns the manifests that an index lists.
    async fn children(&self, index: &ImageReference) -> Result<Vec<Digest>, RegistryError> {
        let manifest = self.client.manifest(index).await?;
        let content = Content::parse(&manifest.bytes);
        let children = content.into_iter().flat_map(|content| content.manifests);
        Ok(children.map(|child| child.digest).collect())
    }

    /// Copies a manifest that describes another one. Returns whether it does so: anything can be listed.
    async fn copy_referrer(
        &self,
        from: &ImageReference,
        subject: &Digest,
        to: &ImageRepository,
        progress: &CopyProgress<'_>,
    ) -> Result<bool, RegistryError> {
        let source = self.client.host(from).await?;
        // It may have been deleted.
        let Some(manifest) = source.find_manifest(from).await? else {
            return Ok(false);
        };
        let content: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
        if content["subject"]["digest"] != subject.as_str() {
            return Ok(false);
        }
        self.copy_manifest(from, to, progress).await?;
        self.client.list_referrer(to, subject, &manifest).await?;
        Ok(true)
    }

    /// Copies what cosign stores in a tag; keeps what the target has in it.
    async fn copy_tag(
        &self,
        from: &ImageRepository,
        subject: &Digest,
        suffix: &str,
        to: &ImageRepository,
        progress: &CopyProgress<'_>,
    ) -> Result<(), RegistryError> {
        let Some(tag) = cosign_tag(subject, suffix) else {
            return Ok(());
        };
        let source = self.client.host_of_repository(from).await?;
        let name = from.tagged(tag.clone());
        let Some(manifest) = source.find_manifest(&name).await? else {
            return Ok(());
        };
        let RawManifest {
            digest,
            media_type,
            bytes,
        } = manifest;
        let target = self.client.host_of_repository(to).await?;
        let copy = to.tagged(tag.clone());
        match self.client.digest(&copy).await? {
            Some(existing) if existing == digest => Ok(()),
            Some(_) => {
                let content = Content::parse(&bytes);
                for blob in content.into_iter().flat_map(|content| content.blobs) {
                    self.copy_blob(from, to, &blob, progress).await?;
                }
                let layers = layers_of(&source, &name, &bytes)?;
                self.client.add_layers(to, &tag, layers).await
            }
            None => {
                let image = from.with_digest(digest);
                self.copy_manifest(&image, to, progress).await?;
                target.put_manifest(&copy, &media_type, bytes).await?;
                Ok(())
            }
        }
    }
}
