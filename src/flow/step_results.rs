//! Looks for results of phases with `inputs`: on this machine, and in the registries of the services' images.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::spawn_blocking;

use super::failure::manifest_failure;
use super::session::{Clients, Session};
use super::sources::input_files;
use super::survey;
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::base::task::joined;
use crate::client::registry::RegistryClient;
use crate::model::event::Event;
use crate::model::image::{Digest, ImageReference};
use crate::model::manifest::{ScriptPhase, ServiceName};
use crate::model::plan::{
    Decided, FoundResult, InputsQuery, Presence, ResultQuery, StagedInputs, StepResults,
};
use crate::model::step_result::{STEP_ARTIFACT, StepResult};
use crate::store::claim::FolderLock;
use crate::store::step_results::{KEPT_RESULT_BYTES, StepStore};

/// Results with larger archives are not fetched.
const LARGEST_ARCHIVE: u64 = 4 * 1024 * 1024 * 1024;

/// Results with more content are not fetched, so that a damaged one cannot fill the disk.
const LARGEST_CONTENT: u64 = 32 * 1024 * 1024 * 1024;

/// How long a registry may take: without a response, a phase runs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the results of the latest images may take: they only explain what changed.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of concurrent requests; each registry has its own limit, too.
const CONCURRENCY: usize = 64;

/// Returns the store of this machine.
pub fn store(session: &Session) -> StepStore {
    StepStore::open(&session.layout, KEPT_RESULT_BYTES)
}

/// Decides which phases run, and which results are restored. `lock` is the lock of `cacheDir` if the caller holds it.
pub async fn add(
    session: &Session,
    decided: &mut Decided<'_>,
    clients: &Clients,
    lock: Option<&FolderLock>,
    is_on_fleet: bool,
) -> Result<(), Failure> {
    let queries = decided.inputs_queries();
    if queries.is_empty() {
        return Ok(());
    }
    let (files, digests, facts) = tokio::join!(
        input_files::list(session, &clients.git, lock, &queries),
        digests(&clients.registry, decided.undetermined_images()),
        clients.engine.facts(),
    );
    let (files, present) = files;
    let inputs = StagedInputs {
        files,
        present,
        digests,
        platform: format!("linux/{}", facts?.architecture),
    };
    for query in &queries {
        warn_of_unmatched(session, query, &inputs);
    }
    let wanted = decided
        .add_phases(&inputs)
        .map_err(|error| manifest_failure(session, &error))?;
    let phases = count_of(wanted.len(), "phase");
    session
        .events
        .emit(Event::stage(format!("looking for results of {phases}")));
    let store = Arc::new(store(session));
    let mut results = find(store, &clients.registry, wanted.clone(), is_on_fleet).await;
    let explained = explained(session, &clients.registry, &wanted, &results);
    if let Ok(found) = tokio::time::timeout(EXPLANATION_TIMEOUT, explained).await {
        results.previous.extend(found);
    }
    session.events.emit(Event::StageFinished);
    decided.add_results(results);
    Ok(())
}

/// Returns the digests of external images in their registries.
async fn digests(
    registry: &RegistryClient,
    images: Vec<ImageReference>,
) -> BTreeMap<ImageReference, Option<Digest>> {
    if images.is_empty() {
        return BTreeMap::new();
    }
    let all = images.clone().into_iter().map(|image| (image, None));
    let mut digests: BTreeMap<_, _> = all.collect();
    let found = tokio::time::timeout(TIMEOUT, survey::registries(registry, images)).await;
    for (image, presence) in found.unwrap_or_default() {
        if let Presence::Present(digest) = presence {
            digests.insert(image, Some(digest));
        }
    }
    digests
}

/// Patterns without files are probably mistakes, but another branch may have the files.
fn warn_of_unmatched(session: &Session, query: &InputsQuery, inputs: &StagedInputs) {
    for (phase, _) in &query.phases {
        let name = (query.service.clone(), *phase);
        let Some(Ok(files)) = inputs.files.get(&name) else {
            continue;
        };
        for pattern in files.unmatched(query.patterns(*phase)) {
            session.events.emit(Event::warning(format!(
                "{}: the input `{pattern}` of `{}` matches no file of {}",
                query.service,
                phase.as_str(),
                query.commit.short()
            )));
        }
    }
}

async fn find(
    store: Arc<StepStore>,
    registry: &RegistryClient,
    queries: Vec<ResultQuery>,
    is_on_fleet: bool,
) -> StepResults {
    let stored = {
        let (store, queries) = (Arc::clone(&store), queries.clone());
        spawn_blocking(move || {
            // The machines of a fleet do not have them.
            let stored = queries
                .iter()
                .map(|query| store.get(&query.key).filter(|_| !is_on_fleet));
            (stored.collect::<Vec<_>>(), store.list())
        })
    };
    let (stored, all) = joined(stored.await);
    let requests = queries
        .into_iter()
        .zip(stored)
        .map(|(query, stored)| async move {
            let published = match &query.artifact {
                Some(artifact) if stored.is_none() || query.is_published => {
                    published(registry, &query, artifact).await
                }
                _ => Published::Unknown,
            };
            (query, stored, published)
        });
    let responses: Vec<_> = futures_util::stream::iter(requests)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    let mut results = StepResults::default();
    for (query, stored, published) in responses {
        let name = (query.service.clone(), query.phase);
        let found = match (stored, published) {
            (Some(result), published) => Some(FoundResult {
                result,
                is_stored: true,
                // If it is unknown, it is not pushed.
                is_published: !matches!(published, Published::Absent),
            }),
            (None, Published::Found(result)) => Some(FoundResult {
                result: *result,
                is_stored: false,
                is_published: true,
            }),
            (None, _) => None,
        };
        match found {
            Some(found) => _ = results.found.insert(name, found),
            None => {
                let is_previous = |result: &&StepResult| {
                    result.service == query.service.as_str() && result.phase == query.phase.as_str()
                };
                let previous = all.iter().filter(is_previous).max_by_key(|it| it.saved_at);
                results
                    .previous
                    .extend(previous.map(|result| (name, result.clone())));
            }
        }
    }
    results
}

/// Returns the results of the latest images of services, for phases without results on this machine.
async fn explained(
    session: &Session,
    registry: &RegistryClient,
    queries: &[ResultQuery],
    results: &StepResults,
) -> BTreeMap<(ServiceName, ScriptPhase), StepResult> {
    let name = |query: &ResultQuery| (query.service.clone(), query.phase);
    let is_open = |query: &&ResultQuery| {
        let name = name(query);
        !results.found.contains_key(&name) && !results.previous.contains_key(&name)
    };
    let open: Vec<&ResultQuery> = queries.iter().filter(is_open).collect();
    let latest: BTreeSet<_> = open.iter().filter_map(|it| it.latest.clone()).collect();
    let labels = survey::labels(registry, &session.layout, latest.into_iter().collect()).await;
    let requests = open.into_iter().filter_map(|query| {
        let artifact = query.earlier(labels.get(query.latest.as_ref()?)?)?;
        Some(async move {
            let tag = artifact.tag()?;
            let request = registry.artifact(artifact.repository(), tag, STEP_ARTIFACT);
            let result = StepResult::from_json(&request.await.ok()??.document)?;
            let is_of_phase = result.phase == query.phase.as_str();
            is_of_phase.then(|| (name(query), result))
        })
    });
    let found = futures_util::stream::iter(requests).buffer_unordered(CONCURRENCY);
    let found: Vec<_> = found.collect().await;
    found.into_iter().flatten().collect()
}

/// What a registry has for a key.
enum Published {
    Found(Box<StepResult>),
    Absent,
    /// It did not respond, or has something else under this tag.
    Unknown,
}

async fn published(
    registry: &RegistryClient,
    query: &ResultQuery,
    artifact: &ImageReference,
) -> Published {
    let Some(tag) = artifact.tag() else {
        return Published::Unknown;
    };
    let request = registry.artifact(artifact.repository(), tag, STEP_ARTIFACT);
    let found = match tokio::time::timeout(TIMEOUT, request).await {
        Ok(Ok(Some(found))) => found,
        Ok(Ok(None)) => return Published::Absent,
        Ok(Err(_)) | Err(_) => return Published::Unknown,
    };
    let result = StepResult::from_json(&found.document);
    let is_consistent = |result: &StepResult| {
        let blob = result.outputs.as_ref();
        let described = blob.map(|blob| (blob.digest.clone(), blob.bytes));
        let is_small = blob.is_none_or(|blob| {
            blob.bytes <= LARGEST_ARCHIVE && blob.unpacked_bytes <= LARGEST_CONTENT
        });
        result.key == query.key && described == found.blob && is_small
    };
    match result.filter(is_consistent) {
        Some(result) => Published::Found(Box::new(result)),
        None => Published::Unknown,
    }
}
