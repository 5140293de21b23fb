//! Uploads of blobs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Client, Method, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::host::RegistryHost;
use super::push_check::{cancel, push_refusal};
use super::resource::{Access, Resource};
use super::response::RegistryResponse;
use super::{RegistryClient, RegistryError};
use crate::base::units;
use crate::client::retry::{TransientFailure, is_transient, is_transient_status, retry_after};
use crate::model::image::{Digest, ImageRepository};

/// An upload of a blob to a repository.
pub(super) struct BlobUpload<'a> {
    pub client: &'a RegistryClient,
    pub to: &'a ImageRepository,
    pub digest: &'a Digest,
    /// Called with the number of bytes that were sent since the last call.
    pub on_progress: &'a (dyn Fn(u64) + Send + Sync),
}

/// The content of a blob.
pub(super) struct BlobContent {
    pub size: u64,
    pub stream: BoxStream<'static, io::Result<Bytes>>,
}

/// The result of one attempt, and the failure if it is transient.
pub(super) type Attempt<T> = (Result<T, RegistryError>, Option<TransientFailure>);

impl BlobUpload<'_> {
    /// Returns whether the repository has the blob.
    pub async fn exists(&self, target: &RegistryHost) -> Result<bool, RegistryError> {
        let blob = Resource::Blob(self.to, self.digest);
        let found = target.send(Method::HEAD, blob, Access::Pull, None).await?;
        match found.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(target.refusal(None, &found)),
        }
    }

    /// Sends the blob. `open` is called for each attempt.
    pub async fn run<F>(
        &self,
        target: &RegistryHost,
        open: impl Fn() -> F,
    ) -> Result<(), RegistryError>
    where
        F: Future<Output = Result<BlobContent, Attempt<()>>>,
    {
        let uploader = self.client.upload_client(target).await?;
        let retries = target.http.retries();
        let attempts = retries.begin(
            target.registry.as_str(),
            format!("an upload to {}", self.to),
        );
        attempts
            .run(|| self.attempt(target, &uploader, &open))
            .await
    }

    async fn attempt<F>(
        &self,
        target: &RegistryHost,
        uploader: &Client,
        open: &impl Fn() -> F,
    ) -> Attempt<()>
    where
        F: Future<Output = Result<BlobContent, Attempt<()>>>,
    {
        let opened = Resource::Uploads(self.to);
        // It has retries of its own.
        let opened = match target.send(Method::POST, opened, Access::Push, None).await {
            Ok(opened) => opened,
            Err(error) => return (Err(error), None),
        };
        if opened.status != StatusCode::ACCEPTED {
            return (Err(push_refusal(target, self.to, &opened)), None);
        }
        let Some(upload) = location(&opened) else {
            let error = target.unexpected("it did not return the URL of the upload");
            return (Err(error), None);
        };
        let content = match open().await {
            Ok(content) => content,
            Err(failed) => {
                _ = cancel(target, self.to, &upload).await;
                return failed;
            }
        };
        let sent = self.send(target, uploader, &upload, content).await;
        if sent.0.is_err() {
            _ = cancel(target, self.to, &upload).await;
        }
        sent
    }

    /// Sends the blob and completes the upload.
    async fn send(
        &self,
        target: &RegistryHost,
        uploader: &Client,
        upload: &Url,
        content: BlobContent,
    ) -> Attempt<()> {
        let size = content.size;
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let mut url = upload.clone();
        url.query_pairs_mut()
            .append_pair("digest", self.digest.as_str());
        let digest = self.digest.as_str().to_owned();
        let body = Body::wrap_stream(verified(content, digest, counted));
        let request = uploader
            .put(url)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, size)
            .body(body);
        // Another server gets no credentials: the URL itself grants access.
        let request = if target.is_own_url(upload) {
            target.authorized(request, self.to, Access::Push).await
        } else {
            Ok(request)
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return (Err(error), None),
        };
        let name = format!("PUT of an upload to {}", self.to);
        let limit = target.http.timeouts().transfer;
        let mut answer = std::pin::pin!(request.send());
        let mut reported = 0;
        let mut idle = Duration::ZERO;
        let tick = Duration::from_millis(200);
        let answer = loop {
            if let Ok(answer) = tokio::time::timeout(tick, &mut answer).await {
                break answer;
            }
            let now = sent.load(Ordering::Relaxed);
            idle = if now == reported {
                idle + tick
            } else {
                Duration::ZERO
            };
            (self.on_progress)(now.saturating_sub(reported));
            reported = now;
            if idle >= limit {
                let why = format!("no progress for {}", units::limit(limit));
                let error = target.unexpected(&format!("an upload made {why}"));
                return (Err(error), Some(TransientFailure::new(why)));
            }
        };
        (self.on_progress)(sent.load(Ordering::Relaxed).saturating_sub(reported));
        let reply = match answer {
            Ok(response) => RegistryResponse::read(&name, response).await,
            Err(error) => Err(error),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return target.unreachable(&name, error),
        };
        let status = reply.status;
        if status.is_success() {
            return (Ok(()), None);
        }
        let failure = is_transient_status(status.as_u16()).then(|| TransientFailure {
            why: status.to_string(),
            retry_after: retry_after(&reply.headers),
        });
        (Err(push_refusal(target, self.to, &reply)), failure)
    }
}

impl RegistryHost {
    /// Returns the error for a request without a complete response.
    pub(super) fn unreachable<T>(&self, request: &str, error: reqwest::Error) -> Attempt<T> {
        let why = error.without_url();
        let reason = self.http.reason(&why);
        let failure = is_transient(&why).then(|| TransientFailure::new(reason.clone()));
        let error = RegistryError::Unreachable {
            registry: self.registry.clone(),
            request: request.to_owned(),
            reason,
            why,
        };
        (Err(error), failure)
    }
}

/// Returns the URL of an upload.
pub(super) fn location(reply: &RegistryResponse) -> Option<Url> {
    let location = reply.header(LOCATION.as_str())?;
    reply.url.join(location).ok()
}

/// Returns the content of a blob; ends with an error if it does not match the digest, so that the upload fails.
fn verified(
    content: BlobContent,
    digest: String,
    sent: Arc<AtomicU64>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let mut hasher = Sha256::new();
    content.stream.map(move |chunk| {
        let chunk = chunk?;
        hasher.update(&chunk);
        let count = sent.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
        if count == content.size && digest.starts_with("sha256:") {
            let found = format!("sha256:{}", hex::encode(hasher.finalize_reset()));
            if found != digest {
                let what = "the source's content does not match its digest";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(chunk)
    })
}
