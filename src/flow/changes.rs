//! Finds the commits between two locks.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use super::plan;
use super::session::Session;
use crate::base::error::{Failure, chain};
use crate::base::plural::count_of;
use crate::execute::{CommitsRequest, Sources, commits_between};
use crate::model::event::Event;
use crate::model::lock::{CommitHistory, LockChanges, ServiceChange};
use crate::model::manifest::Source;
use crate::model::source::PathSelection;
use crate::store::claim::lock;

/// The number of histories to read concurrently.
const CONCURRENCY: usize = 16;

/// Fills in which needed services changed, and the commits between the two locks from the working copies, fetching missing ones if `fetch` is set.
/// Returns hints for those that remain unknown.
pub async fn fill_in(
    session: &Session,
    changes: &mut LockChanges,
    fetch: bool,
) -> Result<BTreeSet<String>, Failure> {
    changes.add_needed(&session.manifest);
    let moved = |change: &&ServiceChange| change.moved().is_some();
    if changes.services.iter().filter(moved).count() == 0 {
        return Ok(BTreeSet::new());
    }
    let git = session.git()?;
    let sources = plan::sources(session, git, session.cancel.clone());
    let mut hints = look(session, &sources, &mut changes.services, false).await?;
    let is_unknown = |change: &&ServiceChange| matches!(change.history, CommitHistory::Unknown(_));
    let unknown = changes.services.iter().filter(is_unknown).count();
    if unknown > 0 && fetch {
        // Locked only now, so that a diff of local history does not wait for a build.
        let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
        let _lock = session.unless_interrupted(locked).await?;
        let what = format!("fetching commits of {}", count_of(unknown, "service"));
        session.events.emit(Event::stage(what));
        let looked = look(session, &sources, &mut changes.services, true).await;
        session.events.emit(Event::StageFinished);
        hints = looked?;
    }
    Ok(hints)
}

/// Looks up the histories that are not known yet, and returns hints for those that could not be found.
async fn look(
    session: &Session,
    sources: &Sources,
    changes: &mut [ServiceChange],
    fetch: bool,
) -> Result<BTreeSet<String>, Failure> {
    let wanted = changes
        .iter_mut()
        .filter(|change| !matches!(change.history, CommitHistory::Known { .. }));
    let looks = wanted.map(|change| async move {
        let (history, hint) = find(session, sources, change, fetch).await;
        change.history = history;
        hint
    });
    let looks: Vec<_> = looks.collect();
    let all = async {
        let looked = futures_util::stream::iter(looks).buffer_unordered(CONCURRENCY);
        let hints: Vec<Option<String>> = looked.collect().await;
        Ok(hints.into_iter().flatten().collect())
    };
    session.unless_interrupted(all).await
}

/// Looks up one history. If it is unavailable, returns the reason and a hint.
async fn find(
    session: &Session,
    sources: &Sources,
    change: &ServiceChange,
    fetch: bool,
) -> (CommitHistory, Option<String>) {
    let Some((from, to)) = change.moved() else {
        return (CommitHistory::None, None);
    };
    let Some(service) = session.manifest.services.get(&change.service) else {
        let why = "it is not in the manifest, so its working copy is unknown";
        return (CommitHistory::Unknown(why.to_owned()), None);
    };
    let Source::Git(git) = &service.source else {
        let why = format!(
            "commits are only listed for git repositories, and its source comes from {}",
            service.source.remote()
        );
        return (CommitHistory::Unlisted(why), None);
    };
    let request = CommitsRequest {
        dir: session.manifest.folder.join(&service.dir),
        remote: git.remote.clone(),
        // If the folder is unchanged, include the further paths of the manifest.
        selection: if to.path == git.path {
            git.selection()
        } else {
            PathSelection::of(to.path.iter().cloned().collect())
        },
        from: from.resolved(),
        to: to.resolved(),
        fetch,
    };
    match commits_between(sources, request).await {
        Ok((added, dropped)) => (CommitHistory::Known { added, dropped }, None),
        Err(error) => {
            let why = chain(&error).replace("\n  cause: ", ": ");
            (CommitHistory::Unknown(why), error.hint())
        }
    }
}
