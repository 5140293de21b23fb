//! Images of the engine: named, pulled and pushed.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::{ErrorDetail, ProgressDetail};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use futures_util::{Stream, StreamExt as _};

use super::messages::to_the_end;
use super::{Engine, EngineError};
use crate::client::registry::Credentials;
use crate::image::ImageReference;

/// Who is told how a push or a pull goes on.
#[derive(Clone, Copy)]
pub struct Watcher<'a> {
    /// Is called with bytes done and bytes in all.
    pub progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    /// Is called with the seconds after which the engine tries again, by itself.
    pub retrying: &'a (dyn Fn(u64) + Send + Sync),
    /// How long the engine may say nothing: what hangs at the registry hangs for ever.
    pub silence: Duration,
}

/// How far a push or a pull is.
#[derive(Debug, Clone, Default)]
struct Transfer {
    /// Bytes moved and bytes in all, by layer.
    layers: BTreeMap<String, (u64, u64)>,
    /// The seconds until the engine tries again, as it said last.
    countdown: u64,
}

impl Transfer {
    /// Reads `Retrying in 5 seconds`, which the engine says once a second; returns where a countdown
    /// begins.
    fn retrying(&mut self, status: Option<&str>) -> Option<u64> {
        let seconds = status?.strip_prefix("Retrying in ")?;
        let seconds = seconds.split(' ').next()?.parse().ok()?;
        let before = std::mem::replace(&mut self.countdown, seconds);
        (seconds > before).then_some(seconds)
    }

    fn update(
        &mut self,
        layer: Option<String>,
        detail: Option<ProgressDetail>,
    ) -> Option<(u64, u64)> {
        let detail = detail?;
        let number = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
        let (current, total) = (number(detail.current), number(detail.total));
        if total == 0 {
            return None;
        }
        // The engine counts the archive's padding too, and may go past the total.
        self.layers.insert(layer?, (current.min(total), total));
        let sum = self
            .layers
            .values()
            .fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        Some(sum)
    }
}

impl Engine {
    /// Gives an image, which is meant by its name or its id, a further name.
    ///
    /// # Errors
    ///
    /// Where the engine does not have the image.
    pub async fn tag(&self, image: &str, name: &ImageReference) -> Result<(), EngineError> {
        let mut options = TagImageOptionsBuilder::default().repo(&name.repository().to_string());
        if let Some(tag) = name.tag() {
            options = options.tag(tag.as_str());
        }
        self.docker
            .tag_image(image, Some(options.build()))
            .await
            .map_err(|error| EngineError::new(format!("tag {image} as {name}"), error))
    }

    /// Removes a name of an image that has other ones.
    ///
    /// # Errors
    ///
    /// Where the engine does not have the name, or refuses.
    pub async fn remove_name(&self, name: &ImageReference) -> Result<(), EngineError> {
        let named = name.to_string();
        let options = None::<RemoveImageOptions>;
        let removed = self.docker.remove_image(&named, options, None).await;
        removed
            .map(drop)
            .map_err(|error| EngineError::new(format!("remove the name {name}"), error))
    }

    /// Pulls an image.
    ///
    /// # Errors
    ///
    /// Where the engine or the registry refuses, errors inside the stream included.
    pub async fn pull(
        &self,
        image: &ImageReference,
        credentials: Option<Credentials>,
        watcher: Watcher<'_>,
    ) -> Result<(), EngineError> {
        let mut options =
            CreateImageOptionsBuilder::default().from_image(&image.repository().to_string());
        let tag = match (image.tag(), image.digest()) {
            (_, Some(digest)) => digest.as_str(),
            (Some(tag), None) => tag.as_str(),
            // Without a tag the engine would pull all of them.
            (None, None) => "latest",
        };
        options = options.tag(tag);
        let engine = self.patient();
        let messages = engine.create_image(Some(options.build()), None, credentials.map(to_engine));
        let messages = to_the_end(messages).map(|message| {
            message.map(|message| Message {
                // What is unpacked was counted when it came.
                layer: message
                    .id
                    .filter(|_| message.status.as_deref() == Some("Downloading")),
                status: message.status,
                detail: message.progress_detail,
                refusal: message.error_detail,
            })
        });
        follow(format!("pull {image}"), messages, watcher).await
    }

    /// Pushes an image.
    ///
    /// # Errors
    ///
    /// Where the engine or the registry refuses, errors inside the stream included.
    pub async fn push(
        &self,
        image: &ImageReference,
        credentials: Option<Credentials>,
        watcher: Watcher<'_>,
    ) -> Result<(), EngineError> {
        let mut options = PushImageOptionsBuilder::default();
        if let Some(tag) = image.tag() {
            options = options.tag(tag.as_str());
        }
        let engine = self.patient();
        let messages = engine.push_image(
            &image.repository().to_string(),
            Some(options.build()),
            credentials.map(to_engine),
        );
        let messages = to_the_end(messages).map(|message| {
            message.map(|message| Message {
                // The client library leaves out which layer is meant; layers differ by their size.
                layer: message
                    .progress_detail
                    .as_ref()
                    .and_then(|detail| detail.total)
                    .map(|total| total.to_string()),
                status: message.status,
                detail: message.progress_detail,
                refusal: message.error_detail,
            })
        });
        follow(format!("push {image}"), messages, watcher).await
    }
}

/// What the engine says of a push or a pull.
struct Message {
    /// Which layer it is about.
    layer: Option<String>,
    status: Option<String>,
    detail: Option<ProgressDetail>,
    refusal: Option<ErrorDetail>,
}

/// Follows a push or a pull to its end; the status of the answer says nothing of it.
async fn follow(
    action: String,
    messages: impl Stream<Item = Result<Message, bollard::errors::Error>>,
    watcher: Watcher<'_>,
) -> Result<(), EngineError> {
    let mut messages = std::pin::pin!(messages);
    let mut transfer = Transfer::default();
    loop {
        let message = match tokio::time::timeout(watcher.silence, messages.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            // The engine ends what it does when the request for it ends.
            Err(_) => {
                return Err(EngineError::Stalled {
                    action,
                    seconds: watcher.silence.as_secs(),
                });
            }
        };
        let message = message.map_err(|error| EngineError::new(&action, error))?;
        if let Some(detail) = message.refusal {
            return Err(EngineError::refused(action, detail));
        }
        if let Some(seconds) = transfer.retrying(message.status.as_deref()) {
            (watcher.retrying)(seconds);
        }
        if let Some((done, total)) = transfer.update(message.layer, message.detail) {
            (watcher.progress)(done, total);
        }
    }
}

/// Credentials as the engine takes them.
pub(super) fn to_engine(credentials: Credentials) -> DockerCredentials {
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
