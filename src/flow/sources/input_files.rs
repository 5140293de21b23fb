//! Lists the files that phases read, by git's object IDs. Missing commits are fetched, even for `xp plan`: as for
//! [`history`](super::history), there is no other object store than that of the working copy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures_util::StreamExt as _;
use tokio::task::spawn_blocking;

use crate::base::error::chain;
use crate::base::plural::count_of;
use crate::base::task::joined;
use crate::client::git::{GitClient, Opened, OperationContext, WorkingCopy};
use crate::execute::sync::{SyncRequest, fetch_missing};
use crate::flow::session::Session;
use crate::model::event::Event;
use crate::model::manifest::{ScriptPhase, ServiceName};
use crate::model::plan::InputsQuery;
use crate::model::source::{InputFiles, PathSelection};
use crate::store::claim::{self, FolderLock};

/// The number of working copies to process concurrently.
const JOBS: usize = 16;

/// The name of a phase.
type PhaseName = (ServiceName, ScriptPhase);

/// The files of each phase, or why they are unknown.
type FilesByPhase = BTreeMap<(ServiceName, ScriptPhase), Result<InputFiles, String>>;

/// Lists the files of phases, and the phases whose outputs are in working copies that are built. `lock` is the lock of
/// `cacheDir` if the caller holds it.
pub async fn list(
    session: &Session,
    git: &GitClient,
    lock: Option<&FolderLock>,
    queries: &[InputsQuery],
) -> (FilesByPhase, BTreeSet<PhaseName>) {
    let mut by_dir: BTreeMap<PathBuf, Vec<InputsQuery>> = BTreeMap::new();
    for query in queries {
        by_dir
            .entry(query.dir.clone())
            .or_default()
            .push(query.clone());
    }
    let groups: Vec<Vec<InputsQuery>> = by_dir.into_values().collect();
    let found = {
        let groups = groups.clone();
        spawn_blocking(move || {
            groups
                .iter()
                .map(|group| missing(group))
                .collect::<Vec<_>>()
        })
    };
    let missing: Vec<bool> = joined(found.await);
    let count = missing.iter().filter(|it| **it).count();
    let mut unavailable = None;
    let mut own_lock = None;
    if count > 0 {
        let text = format!("fetching the commits of {}", count_of(count, "repository"));
        session.events.emit(Event::stage(text));
        if lock.is_none() {
            match claim::lock(&session.layout.lock(), &session.events).await {
                Ok(lock) => own_lock = Some(lock),
                Err(error) => unavailable = Some(chain(&error)),
            }
        }
    }
    let explains = own_lock.is_some();
    let work = groups.into_iter().zip(missing).map(|(group, is_missing)| {
        let unavailable = unavailable.clone().filter(|_| is_missing);
        let fetches = is_missing && unavailable.is_none();
        async move {
            match unavailable {
                Some(why) => unknown(&group, &why),
                None => list_group(session, git, group, fetches, explains).await,
            }
        }
    });
    let found: Vec<FilesByPhase> = futures_util::stream::iter(work)
        .buffer_unordered(JOBS)
        .collect()
        .await;
    drop(own_lock);
    if count > 0 {
        session.events.emit(Event::StageFinished);
    }
    let present = queries.iter().flat_map(present).collect();
    (found.into_iter().flatten().collect(), present)
}

/// Returns the phases whose outputs are in a working copy that is built.
fn present(query: &InputsQuery) -> Vec<PhaseName> {
    let phases = query.outputs.iter().flatten();
    let is_present = |outputs: &[String]| {
        let mut paths = outputs.iter().map(|output| query.dir.join(output));
        paths.any(|path| path.symlink_metadata().is_ok())
    };
    let present = phases.filter(|(_, outputs)| is_present(outputs));
    present
        .map(|(phase, _)| (query.service.clone(), *phase))
        .collect()
}

/// Returns whether a commit of services in the same working copy is missing.
fn missing(group: &[InputsQuery]) -> bool {
    let Some(first) = group.first() else {
        return false;
    };
    match WorkingCopy::open(&first.dir) {
        Ok(Opened::WorkingCopy(copy)) => group.iter().any(|it| !copy.has_commit(it.commit)),
        _ => true,
    }
}

/// Lists the files of services in the same working copy.
async fn list_group(
    session: &Session,
    git: &GitClient,
    group: Vec<InputsQuery>,
    fetches: bool,
    explains: bool,
) -> FilesByPhase {
    let (git, cancel) = (git.clone(), session.cancel.clone());
    let (staging_dir, events) = (session.layout.clones(), session.events.clone());
    let listed = spawn_blocking(move || {
        let watch = OperationContext {
            progress: &|_| (),
            cancel: &cancel,
        };
        let mut all = FilesByPhase::new();
        for query in &group {
            let is_new = !query.dir.exists();
            let request = SyncRequest {
                dir: &query.dir,
                staging_dir: &staging_dir,
                url: &query.remote,
                resolved: &query.resolved,
                commit: query.commit,
                moves: false,
            };
            if fetches && let Err(error) = fetch_missing(&git, &request, &watch) {
                let why = chain(&error).replace("\n  cause: ", ": ");
                all.extend(unknown(std::slice::from_ref(query), &why));
                continue;
            }
            if explains && is_new && query.dir.exists() {
                events.emit(Event::note(format!(
                    "cloned {} into {}: the IDs of its files show which phases have to run",
                    query.remote,
                    query.dir.display()
                )));
            }
            match files(query) {
                Ok(found) => all.extend(found),
                Err(why) => all.extend(unknown(std::slice::from_ref(query), &why)),
            }
        }
        all
    });
    joined(listed.await)
}

fn files(query: &InputsQuery) -> Result<FilesByPhase, String> {
    let why = |error| chain(&error).replace("\n  cause: ", ": ");
    let Opened::WorkingCopy(copy) = WorkingCopy::open(&query.dir).map_err(why)? else {
        return Err(format!("{} is not a working copy", query.dir.display()));
    };
    let selections: Vec<&PathSelection> = query.phases.iter().map(|(_, it)| it).collect();
    let found = copy.input_files(query.commit, &selections).map_err(why)?;
    let mut by_phase = FilesByPhase::new();
    for ((phase, selection), files) in query.phases.iter().zip(found) {
        let is_local = query.outputs.is_some();
        let files = match is_local.then(|| copy.tree_changes(selection)).transpose() {
            Ok(None | Some(None)) => Ok(files),
            Ok(Some(Some(changes))) => Err(format!("modified: {changes}")),
            Err(error) => Err(why(error)),
        };
        by_phase.insert((query.service.clone(), *phase), files);
    }
    Ok(by_phase)
}

fn unknown(queries: &[InputsQuery], why: &str) -> FilesByPhase {
    let phases = queries.iter().flat_map(|query| {
        let phases = query.phases.iter();
        phases.map(|(phase, _)| (query.service.clone(), *phase))
    });
    let why = format!("its inputs are unknown: {why}");
    phases.map(|name| (name, Err(why.clone()))).collect()
}
