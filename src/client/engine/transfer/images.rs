//! Tags, pulls and pushes images.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::BollardRequest;
use bollard::auth::DockerCredentials;
use bollard::models::{ErrorDetail, ProgressDetail};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use futures_util::stream::{self, Stream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::messages::ignore_trailing_bytes;
use crate::client::engine::{Engine, EngineError};
use crate::client::registry::Credentials;
use crate::model::image::{ImageReference, Platform};

/// Callbacks for the progress of a push or a pull.
#[derive(Clone, Copy)]
pub struct TransferWatcher<'a> {
    /// Called with the transferred bytes and the total.
    pub progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    /// Called with the seconds until the engine itself retries.
    pub retrying: &'a (dyn Fn(u64) + Send + Sync),
    /// The timeout without progress: if the registry hangs, the engine waits forever.
    pub silence: Duration,
}

/// The progress of a push or a pull.
#[derive(Debug, Clone, Default)]
struct TransferProgress {
    /// Transferred and total bytes, by layer.
    layers: BTreeMap<String, (u64, u64)>,
    /// The last reported number of seconds until the engine retries.
    countdown: u64,
    /// The last message, by layer.
    last: HashMap<Option<String>, (Option<String>, Option<ProgressDetail>)>,
}

impl TransferProgress {
    /// Returns whether a message differs from the last one about its layer.
    ///
    /// Some engines repeat the state of each layer twenty times a second.
    fn is_new(&mut self, message: &TransferMessage) -> bool {
        let state = (message.status.clone(), message.detail.clone());
        let before = self.last.insert(message.layer.clone(), state.clone());
        before != Some(state)
    }

    /// Parses `Retrying in 5 seconds`, which the engine reports once a second. Returns the seconds only at the start of
    /// a countdown.
    fn retrying(&mut self, status: Option<&str>) -> Option<u64> {
        let seconds = status?.strip_prefix("Retrying in ")?;
        let seconds = seconds.split(' ').next()?.parse().ok()?;
        let before = std::mem::replace(&mut self.countdown, seconds);
        (seconds > before).then_some(seconds)
    }

    fn update(
        &mut self,
        layer: Option<String>,
        status: Option<&str>,
        detail: Option<ProgressDetail>,
    ) -> Option<(u64, u64)> {
        let detail = detail?;
        let number = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
        let (current, total) = (number(detail.current), number(detail.total));
        // Extracted layers were counted when they were downloaded.
        if total == 0 || status == Some("Extracting") {
            return None;
        }
        // The engine also counts the padding of the archive, which may exceed the total.
        self.layers.insert(layer?, (current.min(total), total));
        let sum = self
            .layers
            .values()
            .fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        Some(sum)
    }
}

/// The number of attempts to set a tag that another process sets at the same moment.
const TAG_ATTEMPTS: u32 = 10;

/// The pause after the first of them; it grows with each one.
const TAG_PAUSE: Duration = Duration::from_millis(20);

impl Engine {
    /// Adds a name to an image, which is given by name or id.
    ///
    /// # Errors
    ///
    /// If the engine does not have the image.
    pub async fn tag(&self, image: &str, name: &ImageReference) -> Result<(), EngineError> {
        let mut options = TagImageOptionsBuilder::default().repo(&name.repository().to_string());
        if let Some(tag) = name.tag() {
            options = options.tag(tag.as_str());
        }
        let options = options.build();
        let mut attempt = 1;
        loop {
            let tagged = self.docker.tag_image(image, Some(options.clone())).await;
            let tagged =
                tagged.map_err(|error| EngineError::new(format!("tag {image} as {name}"), error));
            match tagged {
                Err(error) if error.is_concurrent_tag() && attempt < TAG_ATTEMPTS => {
                    tokio::time::sleep(TAG_PAUSE * attempt).await;
                    attempt += 1;
                }
                tagged => return tagged,
            }
        }
    }

    /// Removes one of several names of an image.
    ///
    /// # Errors
    ///
    /// If the engine does not have the name, or rejects the request.
    pub async fn remove_name(&self, name: &ImageReference) -> Result<(), EngineError> {
        let named = name.to_string();
        let options = None::<RemoveImageOptions>;
        let removed = self.docker.remove_image(&named, options, None).await;
        removed
            .map(drop)
            .map_err(|error| EngineError::new(format!("untag {name}"), error))
    }

    /// Pulls an image: that of a platform, or else that of the engine's own.
    ///
    /// # Errors
    ///
    /// If the engine or the registry rejects the request, including errors inside the stream.
    pub async fn pull(
        &self,
        image: &ImageReference,
        platform: Option<&Platform>,
        credentials: Option<Credentials>,
        watcher: TransferWatcher<'_>,
    ) -> Result<(), EngineError> {
        let mut options =
            CreateImageOptionsBuilder::default().from_image(&image.repository().to_string());
        if let Some(platform) = platform {
            options = options.platform(&platform.to_string());
        }
        let tag = match (image.tag(), image.digest()) {
            (_, Some(digest)) => digest.as_str(),
            (Some(tag), None) => tag.as_str(),
            // Without a tag, the engine would pull all tags.
            (None, None) => "latest",
        };
        options = options.tag(tag);
        let engine = self.without_timeout();
        let messages = engine.create_image(Some(options.build()), None, credentials.map(to_engine));
        let action = format!("pull {image}");
        let messages = ignore_trailing_bytes(messages)
            .map_ok(|message| TransferMessage {
                layer: message.id,
                status: message.status,
                detail: message.progress_detail,
                refusal: message.error_detail,
            })
            .map_err(|error| EngineError::new(&action, error));
        follow(&action, messages, watcher).await
    }

    /// Pushes an image: exactly this one, with all of its platforms.
    ///
    /// # Errors
    ///
    /// If the engine or the registry rejects the request, including errors inside the stream, or if the engine has only
    /// a part of the image.
    pub async fn push(
        &self,
        image: &ImageReference,
        credentials: Option<Credentials>,
        watcher: TransferWatcher<'_>,
    ) -> Result<(), EngineError> {
        let action = format!("push {image}");
        if self.is_partial(image).await? {
            let image = image.clone();
            return Err(EngineError::PartialImage { action, image });
        }
        let credentials = credentials.map(to_engine).unwrap_or_default();
        let messages = self.push_messages(image, credentials, &action);
        let messages = stream::once(messages).try_flatten().map(|message| {
            let message = message?;
            // This is reported before the tag is set: aborting the request prevents that.
            if let Some(digest) = message.pushed_instead() {
                return Err(EngineError::PushedInstead {
                    image: image.clone(),
                    digest: digest.to_owned(),
                });
            }
            Ok(TransferMessage {
                layer: message.id,
                status: message.status,
                detail: message.progress_detail,
                refusal: message.error_detail,
            })
        });
        match follow(&action, messages, watcher).await {
            Err(error) if error.is_missing_content() => {
                let image = image.clone();
                Err(EngineError::PartialImage { action, image })
            }
            pushed => pushed,
        }
    }

    /// Returns whether the engine has only some platforms of a multi-platform image: it would push one of them instead
    /// of the image.
    ///
    /// Engines with an older API either reject such a push or report that they push another image.
    async fn is_partial(&self, image: &ImageReference) -> Result<bool, EngineError> {
        let version = self.docker.client_version();
        if (version.major_version, version.minor_version) < MANIFESTS_API {
            return Ok(false);
        }
        // The client library does not support this option.
        let engine = self.docker.clone().with_request_modifier(with_manifests);
        match engine.inspect_image(&image.to_string()).await {
            Ok(found) => {
                let manifests = found.manifests.unwrap_or_default();
                Ok(manifests.iter().any(|manifest| !manifest.available))
            }
            Err(error) => Err(EngineError::new(format!("look up {image}"), error)),
        }
    }
}

/// The first API that lists the manifests of an image.
const MANIFESTS_API: (usize, usize) = (1, 48);

/// Requests the manifests of an image.
fn with_manifests(mut request: BollardRequest) -> BollardRequest {
    let uri = format!("{}?manifests=true", request.uri());
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// A message about a push or a pull.
struct TransferMessage {
    /// The layer.
    layer: Option<String>,
    status: Option<String>,
    detail: Option<ProgressDetail>,
    refusal: Option<ErrorDetail>,
}

/// Follows a push or a pull to its end. Errors are reported in the stream, not by the HTTP status.
async fn follow(
    action: &str,
    messages: impl Stream<Item = Result<TransferMessage, EngineError>>,
    watcher: TransferWatcher<'_>,
) -> Result<(), EngineError> {
    let mut messages = std::pin::pin!(messages);
    let mut transfer = TransferProgress::default();
    let mut last_progress = Instant::now();
    loop {
        let deadline = last_progress + watcher.silence;
        let message = match tokio::time::timeout_at(deadline, messages.next()).await {
            Ok(Some(message)) => message?,
            Ok(None) => return Ok(()),
            // Dropping the request cancels the transfer in the engine.
            Err(_) => {
                return Err(EngineError::Stalled {
                    action: action.to_owned(),
                    limit: watcher.silence,
                });
            }
        };
        if let Some(detail) = message.refusal {
            return Err(EngineError::refused(action, detail));
        }
        if transfer.is_new(&message) {
            last_progress = Instant::now();
        }
        let status = message.status.as_deref();
        if let Some(seconds) = transfer.retrying(status) {
            (watcher.retrying)(seconds);
        }
        if let Some((done, total)) = transfer.update(message.layer, status, message.detail) {
            (watcher.progress)(done, total);
        }
    }
}

/// Converts credentials for the engine.
pub fn to_engine(credentials: Credentials) -> DockerCredentials {
    match credentials {
        Credentials::Password { user, password } => DockerCredentials {
            username: Some(user),
            password: Some(password),
            ..Default::default()
        },
        Credentials::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token),
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushing(layer: &str, current: i64) -> TransferMessage {
        TransferMessage {
            layer: Some(layer.to_owned()),
            status: Some("Pushing".to_owned()),
            detail: Some(ProgressDetail {
                current: Some(current),
                total: Some(100),
            }),
            refusal: None,
        }
    }

    #[test]
    fn only_new_messages_are_progress() {
        let mut transfer = TransferProgress::default();
        let mut is_new = |layer, current| transfer.is_new(&pushing(layer, current));
        assert!(is_new("a", 10) && is_new("b", 50));
        // An engine with the containerd image store reports each layer twenty times a second.
        assert!(!is_new("a", 10) && !is_new("b", 50) && !is_new("a", 10));
        assert!(is_new("a", 11) && !is_new("b", 50));
        // The layer was restarted.
        assert!(is_new("a", 0) && is_new("a", 10));
    }

    #[tokio::test]
    async fn repeated_messages_do_not_hide_a_stall() {
        let repeated = stream::unfold(0, |count| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some((Ok(pushing("a", count.min(40))), count + 1))
        });
        let watcher = TransferWatcher {
            progress: &|_, _| {},
            retrying: &|_| {},
            silence: Duration::from_millis(300),
        };
        let start = Instant::now();
        let followed =
            tokio::time::timeout(Duration::from_secs(20), follow("push x", repeated, watcher));
        let error = followed.await.unwrap().unwrap_err();
        assert!(matches!(error, EngineError::Stalled { .. }), "{error}");
        // There was progress at first, for longer than the timeout.
        assert!(start.elapsed() > Duration::from_millis(600));
    }
}
