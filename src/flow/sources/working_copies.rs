//! Reads the state of working copies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use tokio::task::spawn_blocking;

use crate::client::git::{GitClient, GitError, Head, Opened, RemoteRefs, WorkingCopy};
use crate::flow::sources::resolve::{Resolution, ResolveRequest, resolve_from_refs};
use crate::model::manifest::ServiceName;
use crate::model::source::{CommitId, PathSelection, ResolvedReference};
use crate::model::status::{CheckoutStatus, UnpushedChanges, WorkingCopyStatus};

/// How many working copies are read concurrently: reading is I/O-bound.
const CONCURRENCY: usize = 32;

/// The state of a working copy.
pub struct InspectedCopy {
    /// Its status, not yet compared with the reference.
    pub status: WorkingCopyStatus,
    /// What the service's reference pointed at when the remote was last fetched.
    pub known: Option<Resolution>,
    /// Why it cannot be read.
    pub problem: Option<GitError>,
    working_copy: Option<WorkingCopy>,
}

/// Reads working copies concurrently, on blocking threads.
pub async fn read(
    client: &GitClient,
    wanted: impl IntoIterator<Item = (ServiceName, PathBuf, ResolveRequest)>,
) -> BTreeMap<ServiceName, InspectedCopy> {
    let reads = futures_util::stream::iter(wanted).map(|(name, dir, request)| async move {
        let client = client.clone();
        let found = spawn_blocking(move || inspect(&client, &dir, &request)).await;
        found.ok().map(|found| (name, found))
    });
    let found = reads.buffer_unordered(CONCURRENCY);
    found.filter_map(std::future::ready).collect().await
}

/// Compares each working copy with the current commit of its service's reference; if that is unknown or not
/// fetched yet, with the last known one.
pub async fn compared(
    found: BTreeMap<ServiceName, InspectedCopy>,
    tips: &BTreeMap<ServiceName, ResolvedReference>,
) -> BTreeMap<ServiceName, WorkingCopyStatus> {
    let compared = futures_util::stream::iter(found).map(|(name, found)| async move {
        let tip = tips.get(&name).map(|tip| tip.commit);
        let status = spawn_blocking(move || found.compared_with(tip)).await;
        status.ok().map(|status| (name, status))
    });
    let compared = compared.buffer_unordered(CONCURRENCY);
    compared.filter_map(std::future::ready).collect().await
}

/// A service to check for unpushed work.
pub struct UnpushedQuery {
    pub service: ServiceName,
    /// The commit that the service's reference points at.
    pub tip: CommitId,
    /// The files that it is built from.
    pub selection: PathSelection,
}

/// Finds unpushed work in working copies; reads each once, however many services it has. Missing and unreadable ones
/// have none.
pub async fn unpushed(
    wanted: BTreeMap<PathBuf, Vec<UnpushedQuery>>,
) -> BTreeMap<ServiceName, UnpushedChanges> {
    let reads = futures_util::stream::iter(wanted).map(|(dir, asked)| async move {
        let found = spawn_blocking(move || unpushed_of(&dir, asked)).await;
        futures_util::stream::iter(found.unwrap_or_default())
    });
    let found = reads.buffer_unordered(CONCURRENCY);
    found.flatten().collect().await
}

fn unpushed_of(dir: &Path, asked: Vec<UnpushedQuery>) -> Vec<(ServiceName, UnpushedChanges)> {
    let Ok(Opened::WorkingCopy(copy)) = WorkingCopy::open(dir) else {
        return Vec::new();
    };
    let (branch, head) = match copy.head() {
        Ok(Head::Branch { name, commit }) => (Some(name), commit),
        Ok(Head::Detached(commit)) => (None, commit),
        Ok(Head::Unborn) | Err(_) => return Vec::new(),
    };
    let modified = copy.modified_paths().unwrap_or_default();
    let found = asked.into_iter().map(
        |UnpushedQuery {
             service,
             tip,
             selection,
         }| {
            let is_in_service = |file: &&String| selection.includes(file.as_bytes());
            let differs = || selection.is_whole() || copy.differs_in(&selection, head, tip);
            // Commits cannot be based on a tip that is not fetched yet.
            let ahead = if head != tip && copy.has_commit(tip) && differs() {
                copy.ahead_and_behind(head, tip)
                    .map_or(0, |(ahead, _)| ahead)
            } else {
                0
            };
            let unpushed = UnpushedChanges {
                branch: branch.clone(),
                ahead,
                modified: modified.iter().filter(is_in_service).count(),
            };
            (service, unpushed)
        },
    );
    found.collect()
}

fn inspect(client: &GitClient, dir: &Path, request: &ResolveRequest) -> InspectedCopy {
    let without_repository = |status| InspectedCopy {
        status,
        // A commit in the manifest is known without a working copy.
        known: resolve_from_refs(&RemoteRefs::default(), request),
        problem: None,
        working_copy: None,
    };
    let Some(url) = request.remote.git() else {
        return without_repository(match dir.try_exists() {
            Ok(false) => WorkingCopyStatus::Missing,
            Ok(true) | Err(_) => WorkingCopyStatus::Unmanaged,
        });
    };
    let read = || match WorkingCopy::open(dir)? {
        Opened::Nothing => Ok(without_repository(WorkingCopyStatus::Missing)),
        Opened::OtherFiles | Opened::NotAFolder => {
            Ok(without_repository(WorkingCopyStatus::Foreign))
        }
        Opened::WorkingCopy(working_copy) => {
            let checkout = checkout(&working_copy)?;
            let wanted: Vec<_> = request.wanted().collect();
            let known = working_copy.cached_refs(client, url, &wanted);
            Ok(InspectedCopy {
                status: WorkingCopyStatus::Present(checkout),
                known: resolve_from_refs(&known, request),
                problem: None,
                working_copy: Some(working_copy),
            })
        }
    };
    read().unwrap_or_else(|error: GitError| InspectedCopy {
        problem: Some(error),
        ..without_repository(WorkingCopyStatus::Unreadable)
    })
}

fn checkout(working_copy: &WorkingCopy) -> Result<CheckoutStatus, GitError> {
    let (branch, commit) = match working_copy.head()? {
        Head::Branch { name, commit } => (Some(name), Some(commit)),
        Head::Detached(commit) => (None, Some(commit)),
        Head::Unborn => (None, None),
    };
    let changes = working_copy.count_changes()?;
    let operation = working_copy.operation_in_progress();
    Ok(CheckoutStatus {
        branch,
        commit,
        ahead_and_behind: None,
        is_fetched: true,
        modified: changes.modified,
        untracked: changes.untracked,
        operation: operation.map(|operation| operation.name()),
    })
}

impl InspectedCopy {
    fn compared_with(self, tip: Option<CommitId>) -> WorkingCopyStatus {
        let mut status = self.status;
        if let (WorkingCopyStatus::Present(checkout), Some(working_copy)) =
            (&mut status, &self.working_copy)
        {
            let known = self.known.map(|known| known.reference.commit);
            let is_here = |commit: &CommitId| working_copy.has_commit(*commit);
            checkout.is_fetched = tip.as_ref().is_none_or(is_here);
            let other = tip.filter(is_here).or(known);
            if let (Some(commit), Some(other)) = (checkout.commit, other) {
                checkout.ahead_and_behind = working_copy.ahead_and_behind(commit, other).ok();
            }
        }
        status
    }
}
