//! Whether an image may be pushed to a repository: an upload is opened, and cancelled at once.
//!
//! Nothing else tells: a registry may let everybody read, know the user, and still refuse the first
//! layer after a build of half an hour. No byte is uploaded.

use std::time::Duration;

use reqwest::header::{LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::oneshot;

use super::answer::Answer;
use super::host::Host;
use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError};
use crate::error::innermost;
use crate::image::{ImageRepository, Registry};

/// The answer of a registry that lets its user push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushCheck {
    /// Why the upload that was opened could not be cancelled; registries remove such ones after a while.
    pub left_over: Option<String>,
}

impl RegistryClient {
    /// Asks whether an image may be pushed to a repository.
    ///
    /// The upload is cancelled even where nobody waits for the answer any more;
    /// [`RegistryClient::close_uploads`] waits for that.
    ///
    /// # Errors
    ///
    /// Everything but the registry's consent: [`RegistryError::Unauthorized`] where it does not know
    /// the user, [`RegistryError::Denied`] where it does.
    pub async fn check_push(
        &self,
        repository: &ImageRepository,
    ) -> Result<PushCheck, RegistryError> {
        let Some(registry) = repository.registry() else {
            return Err(RegistryError::NoRegistry(repository.to_string()));
        };
        let host = self.host_of(registry).await?;
        let (answer, result) = oneshot::channel();
        let repository = repository.clone();
        // A task of its own goes on where the caller gives up between opening and cancelling.
        self.shared.uploads.spawn(async move {
            let _permit = host.uploads.acquire().await;
            if !answer.is_closed() {
                _ = answer.send(open_and_cancel(&host, &repository).await);
            }
        });
        let unanswered = || RegistryError::Unexpected {
            registry: registry.clone(),
            what: "the question was given up".to_owned(),
        };
        result.await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Waits until each upload that was opened to ask is cancelled, for so long at most.
    pub async fn close_uploads(&self, limit: Duration) {
        self.shared.uploads.close();
        _ = tokio::time::timeout(limit, self.shared.uploads.wait()).await;
        self.shared.uploads.reopen();
    }
}

async fn open_and_cancel(
    host: &Host,
    repository: &ImageRepository,
) -> Result<PushCheck, RegistryError> {
    let uploads = Resource::Uploads(repository);
    let opened = host.send(Method::POST, uploads, Access::Push, None).await?;
    match opened.status {
        // The second one is what some registries answer in its place.
        StatusCode::ACCEPTED | StatusCode::CREATED => {}
        status if status.is_success() => {
            let what =
                format!("it answers the opening of an upload with {status}, as no registry does");
            return Err(host.unexpected(&what));
        }
        _ => return Err(refusal(host, repository, &opened)),
    }
    let location = opened.header(LOCATION.as_str());
    let location = location.and_then(|location| opened.url.join(location).ok());
    let left_over = match location {
        Some(location) => cancel(host, repository, &location).await.err(),
        None => Some("the registry does not say where the upload is".to_owned()),
    };
    Ok(PushCheck { left_over })
}

/// Cancels an upload; says why it could not.
async fn cancel(host: &Host, repository: &ImageRepository, upload: &Url) -> Result<(), String> {
    let is_own = host
        .base
        .parse()
        .is_ok_and(|base: Url| base.origin() == upload.origin());
    let path = host.repository(repository);
    let status = if is_own {
        let delete = |access| host.send_to(Method::DELETE, upload.as_str(), &path, access);
        let failed = |error: RegistryError| error.to_string();
        match delete(Access::Push).await.map_err(failed)?.status {
            // With tokens it takes another right in some registries.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                delete(Access::Delete).await.map_err(failed)?.status
            }
            status => status,
        }
    } else {
        // Another server gets no credentials: the address itself is what lets somebody upload.
        let answer = host.client.delete(upload.clone()).send().await;
        let failed = |error: reqwest::Error| innermost(&error.without_url()).to_string();
        let status = answer.map_err(failed).map(|answer| answer.status());
        // A proxy that does not tell the registry by which address it is asked is found by this.
        let elsewhere = |why: &dyn std::fmt::Display| {
            let origin = upload.origin().ascii_serialization();
            format!(
                "the registry is asked at {}, and says that the upload is at {origin}, which answers: {why}",
                host.base
            )
        };
        match status {
            Err(why) => return Err(elsewhere(&why)),
            Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => status,
            Ok(status) => return Err(elsewhere(&status)),
        }
    };
    // Where it is gone already, nothing is left either.
    if status.is_success() || status == StatusCode::NOT_FOUND {
        Ok(())
    } else {
        Err(format!(
            "the registry answers its cancellation with {status}"
        ))
    }
}

fn refusal(host: &Host, repository: &ImageRepository, answer: &Answer) -> RegistryError {
    // A token that was given out without the right to push: the user is known all the same.
    let challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    let lacks_right = challenges
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("insufficient_scope"));
    match host.refusal(None, answer) {
        RegistryError::Unauthorized {
            registry,
            who,
            message,
        } if lacks_right => denied(repository, registry, who, message),
        RegistryError::Denied {
            registry,
            who,
            message,
            ..
        } => denied(repository, registry, who, message),
        error => error,
    }
}

fn denied(
    repository: &ImageRepository,
    registry: Registry,
    who: String,
    message: String,
) -> RegistryError {
    RegistryError::Denied {
        registry,
        who,
        action: format!("push to {repository}"),
        message,
    }
}
