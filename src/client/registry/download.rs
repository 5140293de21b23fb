//! Downloads of blobs.

use std::fs::File;
use std::io::{self, Seek as _};

use reqwest::header::ACCEPT;
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::auth::Challenge;
use super::host::RegistryHost;
use super::resource::{Access, Resource};
use super::response::RegistryResponse;
use super::upload::Attempt;
use super::{RegistryClient, RegistryError};
use crate::client::retry::{TransientFailure, is_transient_status, retry_after};
use crate::model::image::{Digest, ImageRepository};

impl RegistryClient {
    /// Downloads a blob to a file, at most `max_bytes`, and verifies its digest. Replaces what is in the file.
    ///
    /// # Errors
    ///
    /// The registry does not have it, refuses, or sends something else; or the file cannot be written.
    pub async fn fetch_blob(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
        max_bytes: u64,
        to: &mut File,
    ) -> Result<(), RegistryError> {
        let host = &*self.host_of_repository(repository).await?;
        let digits = digest.as_str().strip_prefix("sha256:");
        let digits = digits.ok_or_else(|| host.unexpected("a blob has an unsupported digest"))?;
        let to = &*to;
        let attempts = host.http.retries().begin(
            host.registry.as_str(),
            format!("a download from {repository}"),
        );
        let attempt = || async {
            let mut response = match host.open_blob(repository, digest).await {
                Ok(response) => response,
                Err(failed) => return failed,
            };
            let too_large = || (Err(host.unexpected("a blob is larger than declared")), None);
            if response.content_length().is_some_and(|it| it > max_bytes) {
                return too_large();
            }
            let mut file = match emptied(to) {
                Ok(file) => file,
                Err(error) => return (Err(RegistryError::File(error)), None),
            };
            let (mut hasher, mut bytes) = (Sha256::new(), 0);
            loop {
                let chunk = match response.chunk().await {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break,
                    Err(error) => return host.unreachable("GET of a blob", error),
                };
                bytes += chunk.len() as u64;
                if bytes > max_bytes {
                    return too_large();
                }
                hasher.update(&chunk);
                if let Err(error) = file.write_all(&chunk).await {
                    return (Err(RegistryError::File(error)), None);
                }
            }
            if let Err(error) = file.flush().await {
                return (Err(RegistryError::File(error)), None);
            }
            if hex::encode(hasher.finalize()) == digits {
                return (Ok(()), None);
            }
            // Possibly corrupted on the way.
            let what = "a blob does not match its digest";
            (
                Err(host.unexpected(what)),
                Some(TransientFailure::new(what)),
            )
        };
        attempts.run(attempt).await
    }
}

impl RegistryHost {
    /// Opens a blob. The error has the failure if it is transient.
    pub(super) async fn open_blob<T>(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Response, Attempt<T>> {
        let blob = Resource::Blob(repository, digest);
        let challenge = self.challenge();
        let request = self.client.get(self.url(blob)).header(ACCEPT, "*/*");
        let request = self.authorized(request, repository, Access::Pull).await;
        let request = request.map_err(|error| (Err(error), None))?;
        let name = blob.request(&Method::GET);
        let response = self.http.send(request).await;
        let response = response.map_err(|error| self.unreachable(&name, error))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let reply = RegistryResponse::read(&name, response).await;
        let reply = reply.map_err(|error| self.unreachable(&name, error))?;
        let failure = is_transient_status(status.as_u16()).then(|| TransientFailure {
            why: status.to_string(),
            retry_after: retry_after(&reply.headers),
        });
        let failure = failure.or_else(|| {
            let is_login_needed = status == StatusCode::UNAUTHORIZED;
            // A token may have expired since the manifest was read.
            if is_login_needed && self.forget_tokens(repository) {
                return Some(TransientFailure::new("the token expired"));
            }
            // Some registries allow anonymous access to `/v2/` and send their challenge only here.
            let required = Challenge::read(&reply.headers);
            let is_new = required != Challenge::None && required != challenge;
            (is_login_needed && is_new).then(|| {
                self.set_challenge(required);
                TransientFailure::new("a login is required")
            })
        });
        let error = if status == StatusCode::NOT_FOUND {
            RegistryError::MissingBlob {
                registry: self.registry.clone(),
                repository: repository.to_string(),
                digest: digest.to_string(),
            }
        } else {
            self.refusal(None, &reply)
        };
        Err((Err(error), failure))
    }
}

/// Returns the empty file, to be written without blocking the runtime.
fn emptied(mut file: &File) -> io::Result<tokio::fs::File> {
    file.set_len(0)?;
    file.rewind()?;
    Ok(tokio::fs::File::from_std(file.try_clone()?))
}
