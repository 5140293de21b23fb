//! Files in the cache folder.

use std::collections::{BTreeSet, HashSet};

use tokio::task::spawn_blocking;

use crate::base::error::Failure;
use crate::base::task::joined;
use crate::client::git::remove_tree;
use crate::flow::session::Session;
use crate::flow::step_results;
use crate::model::clean::{CacheEntry, CacheKind, CleanItem, CleanPlan, cache_plan};
use crate::model::event::Event;
use crate::model::step_result::StepKey;
use crate::store::cache::{Ownership, ownership};
use crate::store::cache_entries::{cache_entries, entry_paths};

/// Decides what to remove from the cache folder.
///
/// # Errors
///
/// The cache folder contains files that xp did not create.
pub async fn plan(session: &Session, now: i64) -> Result<CleanPlan, Failure> {
    session
        .events
        .emit(Event::stage("reading the cache folder"));
    let (layout, manifest) = (session.layout.clone(), session.manifest.clone());
    let read = spawn_blocking(move || {
        // Files that xp did not create are never touched.
        if !matches!(ownership(layout.root()), Ok(Ownership::Own)) {
            return Vec::new();
        }
        let services: BTreeSet<_> = manifest.services.keys().collect();
        cache_entries(&layout, &services, None).entries
    });
    let entries: Vec<CacheEntry> = joined(read.await);
    session.events.emit(Event::StageFinished);
    Ok(cache_plan(&entries, session.manifest.clean.cache, now))
}

/// Removes entries. The caller holds the lock of the folder, so no run uses them. Returns the number of those that were
/// removed, and the others.
pub async fn remove(session: &Session, items: &[&CleanItem]) -> (usize, Vec<(CleanItem, String)>) {
    session
        .events
        .emit(Event::stage("removing files of the cache folder"));
    let layout = session.layout.clone();
    let store = step_results::store(session);
    let items: Vec<CleanItem> = items.iter().map(|it| (*it).clone()).collect();
    let removed = spawn_blocking(move || {
        let (mut done, mut skipped) = (0, Vec::new());
        let mut keys: HashSet<StepKey> = HashSet::new();
        for item in items {
            let kind = kind_of(&item);
            if kind == CacheKind::StepResult {
                keys.extend(item.name.parse::<StepKey>().ok());
                done += 1;
                continue;
            }
            let paths = entry_paths(&layout, &item.name, kind);
            let removed: Result<Vec<()>, _> = paths.iter().map(|path| remove_tree(path)).collect();
            match removed {
                Ok(_) => done += 1,
                Err(error) => {
                    let (why, hints) = Failure::from(error).parts();
                    let why = std::iter::once(why)
                        .chain(hints)
                        .collect::<Vec<_>>()
                        .join("; ");
                    skipped.push((item, why));
                }
            }
        }
        store.discard(&keys);
        (done, skipped)
    });
    let removed = joined(removed.await);
    session.events.emit(Event::StageFinished);
    removed
}

fn kind_of(item: &CleanItem) -> CacheKind {
    let mut kinds = CacheKind::ALL.into_iter();
    let found = kinds.find(|kind| kind.as_str() == item.group);
    found.unwrap_or(CacheKind::Leftover)
}
