//! Checks push permission: opens an upload and cancels it at once.
//!
//! No other request is reliable: a registry may allow reads, accept the login, and still reject the first layer after a
//! long build. No content is uploaded.

use std::time::Duration;

use reqwest::header::{LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::oneshot;

use super::host::RegistryHost;
use super::resource::{Access, Resource};
use super::response::RegistryResponse;
use super::{RegistryClient, RegistryError};
use crate::base::error::innermost;
use crate::model::image::ImageRepository;

/// The result of a successful check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushCheck {
    /// Why the upload could not be canceled; registries remove abandoned uploads after a while.
    pub cancel_error: Option<String>,
}

impl RegistryClient {
    /// Checks whether images can be pushed to a repository.
    ///
    /// The upload is canceled even if the caller no longer waits; [`RegistryClient::close_uploads`] waits for that.
    ///
    /// # Errors
    ///
    /// Any result other than permission: [`RegistryError::Unauthorized`] if it does not know the user,
    /// [`RegistryError::Denied`] if it does.
    pub async fn check_push(
        &self,
        repository: &ImageRepository,
    ) -> Result<PushCheck, RegistryError> {
        let Some(registry) = repository.registry() else {
            return Err(RegistryError::NoRegistry(repository.to_string()));
        };
        let host = self.host_of(registry).await?;
        let (reply, result) = oneshot::channel();
        let repository = repository.clone();
        // A separate task, so that the upload is canceled even if the caller gives up.
        self.shared.uploads.spawn(async move {
            let _permit = host.uploads.acquire().await;
            if !reply.is_closed() {
                _ = reply.send(open_and_cancel(&host, &repository).await);
            }
        });
        let dropped = || RegistryError::Unexpected {
            registry: registry.clone(),
            what: "the request was canceled".to_owned(),
        };
        result.await.unwrap_or_else(|_| Err(dropped()))
    }

    /// Waits until all uploads of checks are canceled, at most `limit`.
    pub async fn close_uploads(&self, limit: Duration) {
        self.shared.uploads.close();
        _ = tokio::time::timeout(limit, self.shared.uploads.wait()).await;
        self.shared.uploads.reopen();
    }
}

async fn open_and_cancel(
    host: &RegistryHost,
    repository: &ImageRepository,
) -> Result<PushCheck, RegistryError> {
    let uploads = Resource::Uploads(repository);
    let opened = host.send(Method::POST, uploads, Access::Push, None).await?;
    match opened.status {
        // Some registries return 201 instead.
        StatusCode::ACCEPTED | StatusCode::CREATED => {}
        status if status.is_success() => {
            let what = format!("unexpected status {status} for a new upload");
            return Err(host.unexpected(&what));
        }
        _ => return Err(push_refusal(host, repository, &opened)),
    }
    let location = opened.header(LOCATION.as_str());
    let location = location.and_then(|location| opened.url.join(location).ok());
    let cancel_error = match location {
        Some(location) => cancel(host, repository, &location).await.err(),
        None => Some("the registry did not return the URL of the upload".to_owned()),
    };
    Ok(PushCheck { cancel_error })
}

/// Cancels an upload.
pub(super) async fn cancel(
    host: &RegistryHost,
    repository: &ImageRepository,
    upload: &Url,
) -> Result<(), String> {
    let is_own = host.is_own_url(upload);
    let path = host.repository(repository);
    let status = if is_own {
        let delete = |access| host.send_to(Method::DELETE, upload.as_str(), &path, access);
        let failed = |error: RegistryError| error.to_string();
        match delete(Access::Push).await.map_err(failed)?.status {
            // In some registries, this needs another permission of the token.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                delete(Access::Delete).await.map_err(failed)?.status
            }
            status => status,
        }
    } else {
        // Another server gets no credentials: the URL itself grants access.
        let reply = host.client.delete(upload.clone()).send().await;
        let failed = |error: reqwest::Error| innermost(&error.without_url()).to_string();
        let status = reply.map_err(failed).map(|reply| reply.status());
        // This detects a proxy that does not forward the external address to the registry.
        let elsewhere = |why: &dyn std::fmt::Display| {
            let origin = upload.origin().ascii_serialization();
            format!(
                "the registry is at {}, but the URL it returned for the upload is at {origin}, which failed: {why}",
                host.base
            )
        };
        match status {
            Err(why) => return Err(elsewhere(&why)),
            Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => status,
            Ok(status) => return Err(elsewhere(&status)),
        }
    };
    // 404: it no longer exists, which is just as good.
    if status.is_success() || status == StatusCode::NOT_FOUND {
        Ok(())
    } else {
        Err(format!(
            "the registry returned {status} for its cancellation"
        ))
    }
}

/// Returns the error for a refused upload.
pub(super) fn push_refusal(
    host: &RegistryHost,
    repository: &ImageRepository,
    reply: &RegistryResponse,
) -> RegistryError {
    write_refusal(host, &format!("push to {repository}"), reply)
}

/// Returns the error for a refused change, such as `push to h/a`.
pub(super) fn write_refusal(
    host: &RegistryHost,
    refused: &str,
    reply: &RegistryResponse,
) -> RegistryError {
    // The token lacks the permission, so the user is known.
    let challenges = reply.headers.get_all(WWW_AUTHENTICATE).iter();
    let lacks_permission = challenges
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("insufficient_scope"));
    let denied = |registry, who, message| RegistryError::Denied {
        registry,
        who,
        action: refused.to_owned(),
        message,
    };
    match host.refusal(None, reply) {
        RegistryError::Unauthorized {
            registry,
            who,
            message,
        } if lacks_permission => denied(registry, who, message),
        RegistryError::Denied {
            registry,
            who,
            message,
            ..
        } => denied(registry, who, message),
        error => error,
    }
}
