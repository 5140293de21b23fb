//! Lists what describes a manifest, such as signatures.

use std::collections::HashSet;

use reqwest::StatusCode;
use serde::Deserialize;

use super::page::next_page;
use super::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageRepository};

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
}
