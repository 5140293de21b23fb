//! Lists the tags of a repository, page by page.

use std::collections::{BTreeSet, HashSet};

use reqwest::StatusCode;
use serde::Deserialize;

use super::error::is_not_found_message;
use super::page::next_page;
use super::{RegistryClient, RegistryError};
use crate::model::image::{ImageRepository, Tag};

/// The number of tags that are requested at once. Registries may send fewer, or all.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct TagPage {
    /// Some registries send `null` for an empty repository.
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// Returns all tags of a repository; none if the registry reports that the repository does not exist.
    ///
    /// # Errors
    ///
    /// A page is missing or unclear. Then no tags are returned, because the others could be anywhere.
    pub async fn tags(&self, repository: &ImageRepository) -> Result<BTreeSet<Tag>, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let path = host.repository(repository);
        let first = format!("/v2/{path}/tags/list");
        let request = format!("GET of the tags of {repository}");
        let mut url = format!("{}{first}?n={PAGE}", host.base);
        let mut seen = HashSet::from([url.clone()]);
        let mut tags = BTreeSet::new();
        loop {
            let reply = host.page(&url, &path, &request).await?;
            match reply.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND if seen.len() == 1 && is_not_found_message(&reply.text()) => {
                    return Ok(tags);
                }
                StatusCode::NOT_FOUND => {
                    let what = format!("404 for a page of the tags of {repository}");
                    return Err(host.unexpected(&what));
                }
                _ => return Err(host.refusal(None, &reply)),
            }
            let body = host.body(&reply)?;
            let page: TagPage = serde_json::from_slice(&body).map_err(|_| {
                host.unexpected(&format!("invalid list of the tags of {repository}"))
            })?;
            let page = page.tags.unwrap_or_default();
            let (count, before) = (page.len(), tags.len());
            let last = page.last().cloned();
            for tag in page {
                let tag = tag
                    .parse()
                    .map_err(|error| host.unexpected(&format!("{error}")))?;
                tags.insert(tag);
            }
            let is_full = count == PAGE && tags.len() > before;
            url = match (next_page(&host, &reply, &first)?, last) {
                (Some(next), _) => next,
                // A registry may forget the header.
                (None, Some(last)) if is_full => {
                    format!("{}{first}?n={PAGE}&last={last}", host.base)
                }
                (None, _) => return Ok(tags),
            };
            if !seen.insert(url.clone()) {
                let what = format!("the list of the tags of {repository} does not end");
                return Err(host.unexpected(&what));
            }
        }
    }
}
