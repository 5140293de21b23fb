//! The pull, push and tag steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::ExecuteContext;
use super::identity::{CommitTag, Publication, ROUNDS};
use super::platforms::{push_index, remove_names};
use super::refused_transfer::RefusedTransfer;
use super::state::{Published, UnitState};
use super::step_error::{StepError, Stop};
use super::used_images::UsedImages;
use crate::base::units;
use crate::client::engine::{Engine, EngineError, TransferWatcher};
use crate::client::registry::{Credentials, RegistryError};
use crate::client::retry::TransientFailure;
use crate::execute::retry;
use crate::model::event::{Event, Measure, Phase, Unit};
use crate::model::image::{Digest, ImageReference, Platform, Registry, Tag};
use crate::model::plan::{IndexStep, PushStep, TransferRefusal};

/// The time limit of the check before a push. After that, the push itself reports what is wrong with the registry.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// The time limit of the check after a rejected push: an unresponsive registry has already cost enough time.
pub const RECHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The delay before the engine's last attempt to push a layer, in seconds.
const LAST_COUNTDOWN: u64 = 20;

/// How often an unexplained failure is retried.
const UNKNOWN_RETRIES: u32 = 2;

/// The direction of a transfer.
#[derive(Clone, Copy)]
enum TransferDirection<'a> {
    Pull {
        /// The platform to pull; `None` for the engine's own.
        platform: Option<&'a Platform>,
    },
    /// Replaces the registry's image of that tag, if there is one.
    Push { replaces: Option<&'a Digest> },
}

/// Returns whether the engine has an image.
pub async fn has(context: &ExecuteContext, image: &ImageReference) -> Result<bool, Stop> {
    let found = context.engine.image(image).await;
    Ok(found.map_err(StepError::from)?.is_some())
}

/// Pulls an image into the engine; with a digest, exactly that one, even if the tag has moved.
pub async fn pull(
    context: &ExecuteContext,
    unit: &Unit,
    image: &ImageReference,
    digest: Option<&Digest>,
) -> Result<(), Stop> {
    let Some(digest) = digest else {
        return pull_named(context, unit, image).await;
    };
    let facts = context.engine.facts().await.map_err(StepError::from)?;
    if facts.containerd_store && pull_by_tag(context, unit, image, digest).await? {
        return Ok(());
    }
    let found = image.repository().with_digest(digest.clone());
    pull_named(context, unit, &found).await?;
    tag_engine(context, &found, std::slice::from_ref(image)).await
}

async fn pull_named(
    context: &ExecuteContext,
    unit: &Unit,
    image: &ImageReference,
) -> Result<(), Stop> {
    let direction = TransferDirection::Pull { platform: None };
    transfer(context, unit, &context.engine, image, direction).await
}

/// Pulls the image of a platform.
pub async fn pull_for(
    context: &ExecuteContext,
    unit: &Unit,
    image: &ImageReference,
    platform: &Platform,
) -> Result<(), Stop> {
    let platform = Some(platform);
    let direction = TransferDirection::Pull { platform };
    transfer(context, unit, &context.engine, image, direction).await
}

/// Pulls an image by tag if the tag points at that digest; returns whether the engine then has it by that tag.
///
/// In the containerd image store, a pull by digest adds the name `repository@digest`. It stays after all tags are
/// removed, `docker image prune` keeps the image because of it, and removing it removes the repository's tags too.
async fn pull_by_tag(
    context: &ExecuteContext,
    unit: &Unit,
    image: &ImageReference,
    digest: &Digest,
) -> Result<bool, Stop> {
    let named = tokio::select! {
        named = context.registry.digest(image) => named.ok().flatten(),
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    if named.as_ref() != Some(digest) {
        return Ok(false);
    }
    pull_named(context, unit, image).await?;
    let pulled = context.engine.image(image).await.map_err(StepError::from)?;
    // The tag may have moved meanwhile. In that store, the image id is the digest of the manifest.
    Ok(pulled.is_some_and(|pulled| pulled.id == digest.as_str()))
}

/// Pushes an image of the engine. If the registry has an equivalent image by now, adopts that one instead; if not,
/// calls `on_upload` before anything is sent.
pub async fn push(
    context: &ExecuteContext,
    unit: &Unit,
    step: &PushStep,
    state: &mut UnitState,
    on_upload: &(dyn Fn() + Sync),
) -> Result<(), Stop> {
    let used = match state.used.take() {
        Some(used) => used,
        None => UsedImages::present(context, &step.needs).await?,
    };
    let known = [&step.replaces, &step.inconsistent];
    let mut replaced: Vec<Digest> = known.into_iter().flatten().cloned().collect();
    if let (true, Some(identity)) = (step.force, &step.identity) {
        let found = context.registry.digest(identity).await;
        replaced.extend(found.map_err(StepError::from)?);
    }
    replaced.extend(step.rejected.iter().cloned());
    let is_adopted = AtomicBool::new(false);
    let publication = Publication {
        context,
        unit,
        step,
        used: &used,
        replaced: &replaced,
        is_adopted: &is_adopted,
        on_upload,
    };
    let pushed = tokio::select! {
        pushed = publish(publication) => pushed,
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    };
    state.used = Some(used);
    let (published, commit_tag) = pushed?;
    state.published = published;
    state.is_commit_tag_refused = commit_tag == CommitTag::Refused;
    Ok(())
}

/// Returns the authoritative image, unless it is unknown.
async fn publish(it: Publication<'_>) -> Result<(Option<Published>, CommitTag), Stop> {
    let (context, step) = (it.context, it.step);
    if let Some(error) = it.used.moved(context).await {
        return Err(error.superseded().into());
    }
    let Some(identity) = &step.identity else {
        let digest = push_by_content(it).await?;
        let published = digest.map(|digest| Published {
            identity: None,
            digest,
            is_adopted: it.is_adopted.load(Ordering::Relaxed),
        });
        return Ok((published, CommitTag::Set));
    };
    let check = async {
        let by_identity = it.find(identity).await;
        match by_identity {
            Some(digest) => Some(digest),
            None => it.find(&step.image).await,
        }
    };
    let found = tokio::time::timeout(CHECK_TIMEOUT, check)
        .await
        .ok()
        .flatten();
    let pushed = match (found, &step.index) {
        (Some(found), _) => {
            it.adopt(&found).await?;
            found
        }
        (None, Some(index)) => push_parts(it, identity, index).await?,
        (None, None) => {
            (it.on_upload)();
            push_by_commit(it, identity).await?
        }
    };
    if let Some(error) = it.used.moved(context).await {
        return Err(error.superseded().into());
    }
    let (digest, commit_tag) = it.move_commit_tag(identity, pushed).await?;
    if let Some(index) = &step.index {
        it.provide(&digest).await?;
        remove_names(context, index).await;
    }
    let published = Published {
        identity: Some(identity.clone()),
        digest,
        is_adopted: it.is_adopted.load(Ordering::Relaxed),
    };
    Ok((Some(published), commit_tag))
}

/// Pushes an index with its images, and returns its digest; or that of the index that another run pushed meanwhile.
async fn push_parts(
    it: Publication<'_>,
    identity: &ImageReference,
    index: &IndexStep,
) -> Result<Digest, Stop> {
    let pushed = push_index(it, index).await;
    or_existing(pushed, adopt_existing(it, identity, RECHECK_TIMEOUT)).await
}

/// Returns what was pushed. If the push failed, returns what the registry has already: one with immutable tags rejects
/// the second push of an image.
pub async fn or_existing<T>(
    pushed: Result<T, Stop>,
    existing: impl Future<Output = Result<Option<T>, Stop>>,
) -> Result<T, Stop> {
    match pushed {
        Err(Stop::Failed(error)) => existing.await?.ok_or(Stop::Failed(error)),
        pushed => pushed,
    }
}

/// Adopts an equivalent image that the registry has with that name, and returns its digest.
async fn adopt_existing(
    it: Publication<'_>,
    image: &ImageReference,
    limit: Duration,
) -> Result<Option<Digest>, Stop> {
    let found = tokio::time::timeout(limit, it.find(image)).await;
    let Some(found) = found.ok().flatten() else {
        return Ok(None);
    };
    it.adopt(&found).await?;
    Ok(Some(found))
}

/// Pushes a builder image and returns its digest, if the registry reports it. Its tag is a content hash, so an image that
/// another run pushed first is equivalent.
async fn push_by_content(it: Publication<'_>) -> Result<Option<Digest>, Stop> {
    let image = &it.step.image;
    if let Some(found) = adopt_existing(it, image, CHECK_TIMEOUT).await? {
        return Ok(Some(found));
    }
    (it.on_upload)();
    let pushed = transfer_push(it).await.map(|()| None);
    let existing = async { Ok(adopt_existing(it, image, RECHECK_TIMEOUT).await?.map(Some)) };
    if let Some(adopted) = or_existing(pushed, existing).await? {
        return Ok(Some(adopted));
    }
    let found = it.context.registry.digest(image);
    let found = tokio::time::timeout(RECHECK_TIMEOUT, found).await;
    Ok(found.ok().and_then(Result::ok).flatten())
}

/// Pushes an image with its commit tag, or with its identity tag if the registry does not allow moving the former.
/// Returns its digest in the registry.
async fn push_by_commit(it: Publication<'_>, identity: &ImageReference) -> Result<Digest, Stop> {
    match transfer_push(it).await {
        Ok(()) => it.own_digest(&it.step.image).await,
        Err(Stop::Failed(error)) => {
            let found = tokio::time::timeout(RECHECK_TIMEOUT, it.find(&it.step.image)).await;
            if let Some(found) = found.ok().flatten() {
                it.adopt(&found).await?;
                return Ok(found);
            }
            let registry = &it.context.registry;
            let has_tag = async || matches!(registry.digest(&it.step.image).await, Ok(Some(_)));
            if !error.may_refuse_tag_move() || !has_tag().await {
                return Err(error.into());
            }
            match it.push_as(identity).await {
                Ok(()) => it.own_digest(identity).await,
                // The tag was not the reason.
                Err(Stop::Failed(_)) => Err(error.into()),
                Err(stop) => Err(stop),
            }
        }
        Err(stop) => Err(stop),
    }
}

async fn transfer_push(it: Publication<'_>) -> Result<(), Stop> {
    let direction = TransferDirection::Push {
        replaces: it.step.replaces.as_ref(),
    };
    let engine = &it.context.engine;
    transfer(it.context, it.unit, engine, &it.step.image, direction).await
}

/// Pushes an image of an engine with another of its names, which is new to the registry.
pub async fn transfer_as(
    context: &ExecuteContext,
    unit: &Unit,
    engine: &Engine,
    name: &ImageReference,
) -> Result<(), Stop> {
    let direction = TransferDirection::Push { replaces: None };
    transfer(context, unit, engine, name, direction).await
}

/// Returns whether a registry may have rejected only moving the commit tag, so that another tag would be accepted.
pub fn may_refuse_tag_move(error: &RegistryError) -> bool {
    error.status().is_some_and(|(status, message)| {
        matches!(
            TransferRefusal::of(Some(status), message),
            TransferRefusal::ImmutableTag | TransferRefusal::Rights | TransferRefusal::Unknown
        )
    })
}

/// Tags an image in the engine.
pub async fn tag_engine(
    context: &ExecuteContext,
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

/// Tags an image in the registry: the one just pushed, if there is one.
pub async fn tag_registry(
    context: &ExecuteContext,
    unit: &Unit,
    image: &ImageReference,
    tags: &[Tag],
    state: &mut UnitState,
) -> Result<(), Stop> {
    let set = async |image: &ImageReference| set_tags(context, unit, image, tags).await;
    let Some(published) = &mut state.published else {
        state.is_commit_tag_refused |= set(image).await? == CommitTag::Refused;
        return Ok(());
    };
    for _ in 0..ROUNDS {
        let digest = &mut published.digest;
        let image = image.repository().with_digest(digest.clone());
        state.is_commit_tag_refused |= set(&image).await? == CommitTag::Refused;
        let Some(identity) = &published.identity else {
            break;
        };
        // Another run may have replaced the image and set the tags meanwhile.
        let found = tokio::select! {
            found = context.registry.digest(identity) => found.map_err(StepError::from)?,
            () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        match found {
            Some(found) if found != *digest => *digest = found,
            _ => break,
        }
    }
    Ok(())
}

/// Sets tags of an image in the registry. A refused commit tag is only a note.
async fn set_tags(
    context: &ExecuteContext,
    unit: &Unit,
    image: &ImageReference,
    tags: &[Tag],
) -> Result<CommitTag, Stop> {
    let (of_commit, moving): (Vec<Tag>, Vec<Tag>) = tags
        .iter()
        .cloned()
        .partition(|tag| tag.named_commit().is_some());
    let set = async {
        let commit_tag = match context.registry.set_tags(image, &of_commit).await {
            // The image is still reachable by its identity tag.
            Err(error) if may_refuse_tag_move(&error) => {
                context.events.emit(Event::note(format!(
                    "{unit}: the registry does not allow moving a tag of {}; the image is {image}",
                    image.repository()
                )));
                CommitTag::Refused
            }
            set => set.map(|()| CommitTag::Set)?,
        };
        context.registry.set_tags(image, &moving).await?;
        Ok::<_, RegistryError>(commit_tag)
    };
    tokio::select! {
        result = set => Ok(result.map_err(StepError::from)?),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    }
}

/// Returns the credentials for the registry of an image.
async fn credentials(
    context: &ExecuteContext,
    image: &ImageReference,
) -> Result<Option<Credentials>, StepError> {
    match image.repository().registry() {
        Some(registry) => credentials_of(context, registry).await,
        None => credentials_of(context, &Registry::docker_hub()).await,
    }
}

/// Returns the credentials for a registry.
pub async fn credentials_of(
    context: &ExecuteContext,
    registry: &Registry,
) -> Result<Option<Credentials>, StepError> {
    match context.registry.credentials(registry).await {
        // Most images on Docker Hub are public, and may be in the engine already.
        Err(error) if registry.is_docker_hub() => {
            context.events.emit(Event::warning(format!(
                "{error}; continuing without a login to {registry}"
            )));
            Ok(None)
        }
        result => Ok(result?),
    }
}

/// Transfers an image, with retries; complete layers are not sent again.
async fn transfer(
    context: &ExecuteContext,
    unit: &Unit,
    engine: &Engine,
    image: &ImageReference,
    direction: TransferDirection<'_>,
) -> Result<(), Stop> {
    let credentials = tokio::select! {
        found = credentials(context, image) => found?,
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    let phase = match direction {
        TransferDirection::Pull { .. } => Phase::Pull,
        TransferDirection::Push { .. } => Phase::Push,
    };
    let print = |line: String| {
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
            total: Some(total).filter(|total| *total > 0),
            bytes: done,
        });
    };
    // An engine with the classic image store tries a layer five times within a minute: more retries would not help.
    let engine_tried = AtomicBool::new(false);
    let retrying = |seconds| {
        engine_tried.store(seconds >= LAST_COUNTDOWN, Ordering::Relaxed);
        let wait = units::limit(Duration::from_secs(seconds));
        print(format!(
            "transfer interrupted: the engine retries in {wait}\n"
        ));
    };
    let watcher = TransferWatcher {
        progress: &progress,
        retrying: &retrying,
        silence: context.transfer_timeout,
    };
    let host = image.repository().registry();
    let host = host.map_or_else(|| Registry::docker_hub().to_string(), ToString::to_string);
    let mut attempts = context.transfers.begin(host, format!("{phase} of {image}"));
    let (mut login_refused, mut unknown) = (false, 0);
    loop {
        let credentials = credentials.clone();
        let attempt = async {
            match direction {
                TransferDirection::Pull { platform } => {
                    engine.pull(image, platform, credentials, watcher).await
                }
                TransferDirection::Push { .. } => engine.push(image, credentials, watcher).await,
            }
        };
        let result = tokio::select! {
            result = attempt => result,
            () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        let Err(error) = result else {
            attempts.record_success();
            return Ok(());
        };
        let stalled = matches!(error, EngineError::Stalled { .. });
        let is_push = matches!(direction, TransferDirection::Push { .. });
        let refused = tokio::select! {
            refused = RefusedTransfer::of(context, image, is_push, error) => refused,
            () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        let (is_transient, failure) = match &refused {
            Ok(refused) => {
                let is_transient = match refused.refusal {
                    // A token may have expired during the transfer: let the engine get a new one, once.
                    TransferRefusal::Login => !std::mem::replace(&mut login_refused, true),
                    TransferRefusal::Unknown => {
                        unknown += 1;
                        unknown <= UNKNOWN_RETRIES
                    }
                    refusal => refusal.is_temporary(),
                };
                let failure = TransientFailure {
                    why: refused.to_string(),
                    retry_after: refused.retry_after(),
                };
                (is_transient, failure)
            }
            Err(error) => (stalled, TransientFailure::new(error.to_string())),
        };
        let retries = is_transient && !engine_tried.swap(false, Ordering::Relaxed);
        let Some(retrying) = retries.then(|| attempts.record_failure(failure)).flatten() else {
            return Err(match (refused, direction) {
                (
                    Ok(refused),
                    TransferDirection::Push {
                        replaces: Some(old),
                    },
                ) => StepError::from(refused.replacing(context, old).await),
                (Ok(refused), _) => StepError::from(refused),
                (Err(error), _) => StepError::from(error),
            }
            .into());
        };
        retry::wait(context, unit, phase, retrying).await?;
    }
}
