//! Lists what describes a manifest, such as signatures.
//!
//! Registries do this by the referrers API of OCI 1.1. Where it is missing, clients keep an index with the tag
//! `sha256-<digits>`.

use std::collections::HashSet;

use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::host::RegistryHost;
use super::index::INDEX;
use super::manifest::RawManifest;
use super::page::next_page;
use super::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};

/// How often an index or manifest that others write too is read and written.
pub(super) const ROUNDS: usize = 5;

/// The largest number of descriptions of a manifest that are read.
const MOST: usize = 200;

#[derive(Deserialize)]
struct ReferrerPage {
    manifests: Vec<Referrer>,
}

#[derive(Deserialize)]
struct Referrer {
    digest: Digest,
}

impl RegistryClient {
    /// Returns the digests of the manifests that describe another one; `None` if the registry has no API for it. Then
    /// they are in an index with the tag `sha256-<digits>`.
    ///
    /// # Errors
    ///
    /// Any other unclear response.
    pub async fn referrers(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Option<Vec<Digest>>, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let path = host.repository(repository);
        let list = format!("/v2/{path}/referrers/{digest}");
        let request = format!("GET of the referrers of {repository}@{digest}");
        let mut url = format!("{}{list}", host.base);
        let mut seen = HashSet::from([url.clone()]);
        let mut found = Vec::new();
        loop {
            let reply = host.page(&url, &path, &request).await?;
            match reply.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED
                    if found.is_empty() =>
                {
                    return Ok(None);
                }
                _ => return Err(host.refusal(None, &reply)),
            }
            let body = host.body(&reply)?;
            let page: ReferrerPage = serde_json::from_slice(&body).map_err(|_| {
                host.unexpected(&format!("invalid list of the referrers of {repository}"))
            })?;
            found.extend(page.manifests.into_iter().map(|it| it.digest));
            match next_page(&host, &reply, &list)? {
                Some(next) if seen.insert(next.clone()) => url = next,
                Some(_) => {
                    let what = format!("the list of the referrers of {repository} does not end");
                    return Err(host.unexpected(&what));
                }
                None => return Ok(Some(found)),
            }
        }
    }

    /// Returns the digests of what describes a manifest, by the API or the tag. Anyone who can push can list anything by
    /// the tag, so the caller compares the subject of each.
    pub(super) async fn listed_referrers(
        &self,
        repository: &ImageRepository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let mut listed = match self.referrers(repository, subject).await? {
            Some(listed) => listed,
            None => {
                let Some(tag) = referrers_tag(subject) else {
                    return Ok(Vec::new());
                };
                let index = self.stored(&repository.tagged(tag)).await?;
                let children = index.into_iter().flat_map(|index| index.children);
                children.map(|child| child.digest).collect()
            }
        };
        listed.truncate(MOST);
        Ok(listed)
    }

    /// Makes a manifest known as a description of its subject, unless the registry has seen that itself.
    pub(super) async fn list_referrer(
        &self,
        repository: &ImageRepository,
        subject: &Digest,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        let listed = self.referrers(repository, subject).await?;
        if listed.is_some_and(|listed| listed.contains(&manifest.digest)) {
            return Ok(());
        }
        let host = self.host_of_repository(repository).await?;
        let tag = referrers_tag(subject);
        let tag = tag.ok_or_else(|| host.unexpected("its digest is invalid"))?;
        add_to_index(&host, &repository.tagged(tag), entry(manifest)).await
    }
}

/// Returns the tag of the index that lists what describes a manifest.
fn referrers_tag(subject: &Digest) -> Option<Tag> {
    let (algorithm, digits) = subject.as_str().split_once(':')?;
    format!("{algorithm}-{digits}").parse().ok()
}

/// Returns the entry of a description in an index.
fn entry(manifest: &RawManifest) -> Value {
    let content: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let kind = match &content["artifactType"] {
        Value::String(kind) if !kind.is_empty() => kind,
        _ => content["config"]["mediaType"].as_str().unwrap_or_default(),
    };
    let mut entry = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.bytes.len(),
        "artifactType": kind,
    });
    if content["annotations"].is_object() {
        entry["annotations"] = content["annotations"].clone();
    }
    entry
}

/// Adds an entry to the index of a tag, and looks again afterwards: another run may have replaced it.
async fn add_to_index(
    host: &RegistryHost,
    name: &ImageReference,
    entry: Value,
) -> Result<(), RegistryError> {
    for _ in 0..ROUNDS {
        let mut index = match host.find_manifest(name).await? {
            Some(found) => serde_json::from_slice(&found.bytes).unwrap_or_default(),
            None => json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }),
        };
        let Some(manifests) = index["manifests"].as_array_mut() else {
            return Err(host.unexpected(&format!("{name} is not an index")));
        };
        if manifests.iter().any(|it| it["digest"] == entry["digest"]) {
            return Ok(());
        }
        manifests.push(entry.clone());
        let bytes = Bytes::from(index.to_string());
        host.put_manifest(name, INDEX, bytes).await?;
    }
    Err(host.unexpected(&format!("{name} was replaced each time it was written")))
}
