//! The transfer of one blob.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Client, Method, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::CopyProgress;
use super::content::Part;
use crate::client::registry::host::RegistryHost;
use crate::client::registry::push_check::{cancel, push_refusal};
use crate::client::registry::resource::{Access, Resource};
use crate::client::registry::response::RegistryResponse;
use crate::client::registry::{RegistryClient, RegistryError};
use crate::client::retry::{TransientFailure, is_transient, is_transient_status, retry_after};
use crate::model::image::ImageRepository;

/// The copy of a blob from one repository to another.
pub(super) struct BlobCopy<'a> {
    pub client: &'a RegistryClient,
    pub from: &'a ImageRepository,
    pub to: &'a ImageRepository,
    pub blob: &'a Part,
    pub progress: &'a CopyProgress<'a>,
}

/// The result of one attempt, and the failure if it is transient.
type Attempt = (Result<(), RegistryError>, Option<TransientFailure>);

impl BlobCopy<'_> {
    /// Copies the blob unless the repository has it. `owner` is a repository of the same registry that has it.
    pub async fn run(&self, owner: Option<&ImageRepository>) -> Result<(), RegistryError> {
        let (from, to) = (self.from, self.to);
        let source = self.client.host_of_repository(from).await?;
        let target = self.client.host_of_repository(to).await?;
        let blob = Resource::Blob(to, &self.blob.digest);
        let found = target.send(Method::HEAD, blob, Access::Pull, None).await?;
        match found.status {
            StatusCode::OK => {
                self.progress.add(self.blob.size);
                return Ok(());
            }
            StatusCode::NOT_FOUND => {}
            _ => return Err(target.refusal(None, &found)),
        }
        let _permit = target.uploads.acquire().await;
        if let Some(owner) = owner
            && self.mount(&target, owner).await?
        {
            self.progress.add(self.blob.size);
            return Ok(());
        }
        let uploader = self.client.upload_client(&target).await?;
        let retries = target.http.retries();
        let attempts = retries.begin(target.registry.as_str(), format!("an upload to {to}"));
        attempts
            .run(|| self.attempt(&source, &target, &uploader))
            .await
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

    async fn attempt(
        &self,
        source: &RegistryHost,
        target: &RegistryHost,
        uploader: &Client,
    ) -> Attempt {
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
        let content = match self.open(source).await {
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

    /// Opens the blob in the source.
    async fn open(&self, source: &RegistryHost) -> Result<Response, Attempt> {
        let blob = Resource::Blob(self.from, &self.blob.digest);
        let request = source.client.get(source.url(blob)).header(ACCEPT, "*/*");
        let request = source.authorized(request, self.from, Access::Pull).await;
        let request = request.map_err(|error| (Err(error), None))?;
        let name = blob.request(&Method::GET);
        let response = request.send().await;
        let response = response.map_err(|error| source.unreachable(&name, error))?;
        let status = response.status();
        if status == StatusCode::OK {
            let length = response.content_length();
            if self.blob.size > 0 && length.is_some_and(|length| length != self.blob.size) {
                let error = source.unexpected("a layer does not have the size in its manifest");
                return Err((Err(error), None));
            }
            return Ok(response);
        }
        let reply = RegistryResponse::read(&name, response).await;
        let reply = reply.map_err(|error| source.unreachable(&name, error))?;
        let failure = is_transient_status(status.as_u16()).then(|| TransientFailure {
            why: status.to_string(),
            retry_after: retry_after(&reply.headers),
        });
        // A token may have expired since the manifest was read.
        let failure = failure.or_else(|| {
            (status == StatusCode::UNAUTHORIZED && source.forget_tokens(self.from))
                .then(|| TransientFailure::new("the token expired"))
        });
        let error = if status == StatusCode::NOT_FOUND {
            RegistryError::MissingBlob {
                registry: source.registry.clone(),
                repository: self.from.to_string(),
                digest: self.blob.digest.to_string(),
            }
        } else {
            source.refusal(None, &reply)
        };
        Err((Err(error), failure))
    }

    /// Sends the blob and completes the upload.
    async fn send(
        &self,
        target: &RegistryHost,
        uploader: &Client,
        upload: &Url,
        content: Response,
    ) -> Attempt {
        let size = content.content_length().unwrap_or(self.blob.size);
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let mut url = upload.clone();
        url.query_pairs_mut()
            .append_pair("digest", self.blob.digest.as_str());
        let digest = self.blob.digest.as_str().to_owned();
        let body = Body::wrap_stream(verified(content, size, digest, counted));
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
        let mut idle = std::time::Duration::ZERO;
        let tick = std::time::Duration::from_millis(200);
        let answer = loop {
            if let Ok(answer) = tokio::time::timeout(tick, &mut answer).await {
                break answer;
            }
            let now = sent.load(Ordering::Relaxed);
            idle = if now == reported {
                idle + tick
            } else {
                Default::default()
            };
            self.progress.add(now.saturating_sub(reported));
            reported = now;
            if idle >= limit {
                let why = format!("no progress for {} s", limit.as_secs());
                let error = target.unexpected(&format!("an upload made {why}"));
                return (Err(error), Some(TransientFailure::new(why)));
            }
        };
        self.progress
            .add(sent.load(Ordering::Relaxed).saturating_sub(reported));
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
    fn unreachable<T>(
        &self,
        request: &str,
        error: reqwest::Error,
    ) -> (Result<T, RegistryError>, Option<TransientFailure>) {
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
fn location(reply: &RegistryResponse) -> Option<Url> {
    let location = reply.header(LOCATION.as_str())?;
    reply.url.join(location).ok()
}

/// Returns the content of a blob; ends with an error if it does not match the digest, so that the upload fails.
fn verified(
    content: Response,
    size: u64,
    digest: String,
    sent: Arc<AtomicU64>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let mut hasher = Sha256::new();
    content.bytes_stream().map(move |chunk| {
        let chunk = chunk
            .map_err(|error| io::Error::new(io::ErrorKind::ConnectionReset, error.without_url()))?;
        hasher.update(&chunk);
        let count = sent.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
        if count == size && digest.starts_with("sha256:") {
            let found = format!("sha256:{}", hex::encode(hasher.finalize_reset()));
            if found != digest {
                let what = "the source's content does not match its digest";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(chunk)
    })
}
