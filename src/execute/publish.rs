//! Pull, push and tags.

use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use super::rival::{LOOK, LOOK_AGAIN, adopt};
use super::stop::{StepError, Stop};
use super::{Context, again};
use crate::client::engine::{EngineError, Watcher};
use crate::client::registry::Credentials;
use crate::client::retry::Trouble;
use crate::error::{Diagnostic, Exit};
use crate::event::{Event, Phase, Unit};
use crate::image::{Digest, ImageReference, Registry, Tag};
use crate::plan::Rival;
use crate::record::Measure;

/// Which way an image goes.
#[derive(Clone, Copy)]
enum Direction<'a> {
    Pull,
    /// The registry's image by that tag is replaced, where it has one.
    Push {
        replaces: Option<&'a Digest>,
    },
}

/// Pulls an image into the engine: with a digest that very one, whatever its tag names by now.
pub async fn pull(
    context: &Context,
    unit: &Unit,
    image: &ImageReference,
    digest: Option<&Digest>,
) -> Result<(), Stop> {
    let Some(digest) = digest else {
        return transfer(context, unit, image, Direction::Pull).await;
    };
    let found = image.repository().with_digest(digest.clone());
    transfer(context, unit, &found, Direction::Pull).await?;
    tag_engine(context, &found, std::slice::from_ref(image)).await
}

/// Pushes an image of the engine; what the registry has already is not sent again.
///
/// `replaces` is what the registry has by the same tag. Where it has the image of a rival by now, that one is
/// taken, and nothing is pushed.
pub async fn push(
    context: &Context,
    unit: &Unit,
    image: &ImageReference,
    replaces: Option<&Digest>,
    rival: &Rival,
) -> Result<(), Stop> {
    let adopt = |limit| adopt(context, unit, image, replaces, rival, limit);
    if adopt(LOOK).await? {
        return Ok(());
    }
    let pushed = transfer(context, unit, image, Direction::Push { replaces }).await;
    match pushed {
        // A registry that lets no tag be overwritten may have refused what came second.
        Err(Stop::Failed(_)) if adopt(LOOK_AGAIN).await? => Ok(()),
        pushed => pushed,
    }
}

/// Gives an image of the engine further names.
pub async fn tag_engine(
    context: &Context,
    image: &ImageReference,
    names: &[ImageReference],
) -> Result<(), Stop> {
    for name in names {
        context
            .engine
            .tag(&image.to_string(), name)
            .await
            .map_err(StepError::from)?;
    }
    Ok(())
}

/// Gives an image of a registry further tags.
pub async fn tag_registry(
    context: &Context,
    image: &ImageReference,
    tags: &[Tag],
) -> Result<(), Stop> {
    tokio::select! {
        result = context.registry.set_tags(image, tags) => Ok(result.map_err(StepError::from)?),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    }
}

/// Returns the credentials for the registry of an image.
async fn credentials(
    context: &Context,
    image: &ImageReference,
) -> Result<Option<Credentials>, StepError> {
    match image.repository().registry() {
        Some(registry) => credentials_of(context, registry).await,
        None => credentials_of(context, &Registry::docker_hub()).await,
    }
}

/// Returns the credentials for a registry.
pub async fn credentials_of(
    context: &Context,
    registry: &Registry,
) -> Result<Option<Credentials>, StepError> {
    match context.registry.credentials(registry).await {
        // Most of what Docker Hub has is there for everybody, and may be in the engine already.
        Err(error) if registry.is_docker_hub() => {
            context.events.emit(Event::Warning(format!(
                "{error}; {registry} is asked without a login"
            )));
            Ok(None)
        }
        result => Ok(result?),
    }
}

/// Transfers an image, and begins again where it broke off: the layers that arrived are there.
async fn transfer(
    context: &Context,
    unit: &Unit,
    image: &ImageReference,
    direction: Direction<'_>,
) -> Result<(), Stop> {
    let credentials = tokio::select! {
        found = credentials(context, image) => found?,
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    let phase = match direction {
        Direction::Pull => Phase::Pull,
        Direction::Push { .. } => Phase::Push,
    };
    let say = |line: String| {
        context.events.emit(Event::Output {
            unit: unit.clone(),
            phase,
            bytes: line.into(),
        });
    };
    let progress = |done, total| {
        context.events.emit(Event::Progress {
            unit: unit.clone(),
            phase,
            measure: Measure::Bytes,
            done,
            total,
            bytes: done,
        });
    };
    // The engine tries a layer five times within a minute. What fails then fails for long.
    let engine_tried = AtomicBool::new(false);
    let retrying = |seconds| {
        engine_tried.store(true, Ordering::Relaxed);
        say(format!(
            "it broke off: the engine tries again in {seconds} s\n"
        ));
    };
    let watcher = Watcher {
        progress: &progress,
        retrying: &retrying,
        silence: context.transfer_timeout,
    };
    let host = image.repository().registry();
    let host = host.map_or_else(|| Registry::docker_hub().to_string(), ToString::to_string);
    let mut attempts = context.transfers.begin(host, format!("{phase} of {image}"));
    let mut login_refused = false;
    loop {
        let credentials = credentials.clone();
        let attempted = async {
            match direction {
                Direction::Pull => context.engine.pull(image, credentials, watcher).await,
                Direction::Push { .. } => context.engine.push(image, credentials, watcher).await,
            }
        };
        let result = tokio::select! {
            result = attempted => result,
            () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        let Err(error) = result else {
            attempts.answered();
            return Ok(());
        };
        // A token may have run out in the middle of it. The engine then takes a new one, once.
        let has_run_out = !login_refused && is_login(&error);
        login_refused |= has_run_out;
        let passes = (may_pass(&error) || has_run_out) && !engine_tried.load(Ordering::Relaxed);
        let trouble = passes.then(|| Trouble::new(error.to_string()));
        let Some(retrying) = trouble.and_then(|it| attempts.after(it)) else {
            if let Direction::Push { replaces: Some(old) } = direction
                && let Some(message) = refused_for_good(&error)
                // Still the same: it was not somebody else who was faster.
                && context.registry.digest(image).await.ok().flatten().as_ref() == Some(old)
            {
                let refused = NotOverwritten {
                    image: image.clone(),
                    message: message.to_owned(),
                    hints: error.hints(),
                };
                return Err(StepError::from(refused).into());
            }
            return Err(StepError::from(error).into());
        };
        again::wait(context, unit, phase, retrying).await?;
    }
}

/// The registry has an image by the same tag, and keeps it.
#[derive(Debug, Error)]
#[error("the registry does not let {image} be overwritten: {message}")]
struct NotOverwritten {
    image: ImageReference,
    message: String,
    /// What would help where it was for lack of rights.
    hints: Vec<String>,
}

impl Diagnostic for NotOverwritten {
    fn exit(&self) -> Exit {
        Exit::ServiceFailed
    }

    fn hints(&self) -> Vec<String> {
        let ways_out = [
            "`--trust-commit` goes on with the image that is there, whatever it was built from"
                .to_owned(),
            "or build under another tag: a new commit gets one, even an empty one".to_owned(),
        ];
        ways_out.into_iter().chain(self.hints.clone()).collect()
    }
}

/// Returns what a registry said that refuses an image itself, and not whoever brings it.
fn refused_for_good(error: &EngineError) -> Option<&str> {
    let EngineError::Refused { message, .. } = error else {
        return None;
    };
    let lower = message.to_lowercase();
    let other = [
        "unauthorized",
        "authentication required",
        "no basic auth",
        "toomanyrequests",
        "http status: 5",
        "no such host",
        "connection refused",
        "timeout",
    ];
    (!other.iter().any(|word| lower.contains(word))).then_some(message)
}

/// Tells whether the registry does not know who asks: a right that somebody lacks is lacking for good.
fn is_login(error: &EngineError) -> bool {
    let EngineError::Refused { message, .. } = error else {
        return false;
    };
    let message = message.to_lowercase();
    message.contains("unauthorized") || message.contains("authentication required")
}

/// A refusal for lack of rights, or of an image, does not pass by itself.
fn may_pass(error: &EngineError) -> bool {
    if let EngineError::Stalled { .. } = error {
        return true;
    }
    let EngineError::Refused {
        message, status, ..
    } = error
    else {
        return false;
    };
    let message = message.to_lowercase();
    let lasting = [
        "not found",
        "manifest unknown",
        "does not exist",
        "no such image",
        "unsupported",
        "gave http response",
        "redirects",
        "x509",
    ];
    error.exit() != Exit::Outside
        && !matches!(status, Some(400..=499))
        && !lasting.iter().any(|word| message.contains(word))
}
