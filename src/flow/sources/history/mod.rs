//! Finds the commit to build for services with `git.path` or `git.exclude`: the last one that touched the service's
//! files.
//!
//! Results are cached by tip commit; with a cache hit nothing is opened or fetched. Otherwise the tip must be in the
//! object store of a working copy, even for `xp plan`: an existing working copy gets the objects, as with `git fetch`,
//! without moving its files; a missing one is cloned as by `xp sync`, because there is no other object store. Both
//! happen under the run's lock, and once per remote: if its services have several working copies, one of them is used.

mod cache;
mod paths;
mod remote;
mod submodules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::base::error::{Diagnostic, Exit};
use crate::base::plural::count_of;
use crate::base::task::joined;
use crate::client::git::{GitClient, OperationContext};
use crate::execute::sync::{SyncError, fetch_objects, unshallow};
use crate::flow::sources::resolve::remote_key;
use crate::model::event::{Event, Events};
use crate::model::layout::Layout;
use crate::model::manifest::{InvalidGitPath, ServiceName};
use crate::model::source::{CommitId, ExcludePattern, GitUrl, PathSelection, ResolvedReference};
use crate::store::claim::{FolderLock, LockError, lock};
use cache::{KnownCommits, LastTouchCache};
use remote::{RemoteSearch, SearchResult};
use submodules::MODULES;

/// The number of remotes to process concurrently.
const JOBS: usize = 16;

/// A service that is built from a part of its repository.
#[derive(Debug, Clone)]
pub struct PartialService {
    pub service: ServiceName,
    pub remote: GitUrl,
    /// Its working copy.
    pub dir: PathBuf,
    /// The commit that its reference resolved to.
    pub tip: ResolvedReference,
    /// `git.path`, then `git.include`, without `git.exclude`.
    pub selection: PathSelection,
    /// Whether submodules are included: then their entries in `.gitmodules` are an input too.
    pub submodules: bool,
    /// Whether it is acceptable that the tip does not have the paths.
    pub may_be_missing: bool,
}

impl PartialService {
    /// Returns the selection, with `.gitmodules` if that is an input.
    fn with_modules(&self) -> PathSelection {
        let mut selection = self.selection.clone();
        if self.submodules && !selection.paths.is_empty() {
            selection.paths.push(MODULES.to_owned());
        }
        selection
    }

    /// Returns the cache key: the paths and, after an empty one, the excluded patterns.
    fn key(&self) -> Vec<String> {
        let PathSelection { paths, exclude, .. } = self.with_modules();
        let exclude = exclude.iter().map(ExcludePattern::to_string);
        let separator = (exclude.len() > 0).then(String::new);
        paths.into_iter().chain(separator).chain(exclude).collect()
    }
}

/// The commits that were found, and the paths that were not.
#[derive(Debug, Default)]
pub struct LastTouchedCommits {
    /// For each service and tip, the last commit that touched the service's paths.
    pub commits: BTreeMap<(ServiceName, CommitId), CommitId>,
    /// The paths that a tip does not have.
    pub wrong: Vec<(ServiceName, InvalidGitPath)>,
}

/// Where history may be read from.
#[derive(Clone, Copy)]
pub enum HistoryExtent<'a> {
    /// Missing history is fetched from the remotes; with the lock of `cacheDir` if the caller holds it.
    Remotes(Option<&'a FolderLock>),
    /// Only local history. Commits that cannot be determined from it are omitted.
    Local,
}

/// The clients and settings for finding commits.
pub struct HistorySearch<'a> {
    /// The git remotes and the working copies.
    pub client: &'a GitClient,
    /// The layout of the `.xp` folder.
    pub layout: &'a Layout,
    /// The sink for events.
    pub events: &'a Events,
    /// Cancelled to stop everything.
    pub cancel: &'a CancellationToken,
    /// Where history may be read from.
    pub extent: HistoryExtent<'a>,
}

/// The commit of a service could not be found.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The working copy with the history could not be cloned or fetched.
    #[error("cannot read the history of {}, needed by {}", remote, services.join(", "))]
    Sync {
        remote: Box<GitUrl>,
        /// The first few services of the remote.
        services: Vec<String>,
        #[source]
        cause: Box<SyncError>,
    },
    /// The history ends before the searched commit.
    #[error("the history in {} is incomplete", .0.display())]
    Incomplete(PathBuf),
    /// The lock could not be acquired.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Diagnostic for HistoryError {
    fn exit(&self) -> Exit {
        match self {
            Self::Sync { cause, .. } => cause.exit(),
            Self::Incomplete(_) => Exit::Outside,
            Self::Lock(error) => error.exit(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Sync { cause, .. } => cause.hints(),
            Self::Incomplete(dir) => vec![format!(
                "`git -C {} fetch --unshallow` fetches the rest of a shallow clone",
                dir.display()
            )],
            Self::Lock(error) => error.hints(),
        }
    }
}

/// Finds for each service the last commit that touched its paths.
///
/// # Errors
///
/// A remote or working copy cannot be used, or a history is incomplete.
pub async fn last_touched(
    search: &HistorySearch<'_>,
    parts: Vec<PartialService>,
) -> Result<LastTouchedCommits, HistoryError> {
    let cache = LastTouchCache::new(search.layout.root(), search.layout.history());
    let tips: BTreeSet<CommitId> = parts.iter().map(|part| part.tip.commit).collect();
    let mut known: BTreeMap<CommitId, KnownCommits> =
        tips.into_iter().map(|tip| (tip, cache.read(tip))).collect();
    let (mut found, mut remotes) = (
        LastTouchedCommits::default(),
        BTreeMap::<String, Vec<PartialService>>::new(),
    );
    for part in parts {
        let known = known.get(&part.tip.commit);
        match known.and_then(|known| known.get(&part.key())) {
            Some(commit) => found.add(part, *commit),
            None => remotes
                .entry(remote_key(&part.remote))
                .or_default()
                .push(part),
        }
    }
    if remotes.is_empty() {
        return Ok(found);
    }
    let remotes = remotes.into_values().filter_map(RemoteSearch::of).collect();
    let results = match search.extent {
        HistoryExtent::Remotes(_) => {
            let remotes = search.fetch_missing(remotes).await?;
            search.search(remotes).await?
        }
        HistoryExtent::Local => search.search_local(remotes).await,
    };
    let mut new = BTreeSet::new();
    for result in results {
        for (part, commit) in result.found {
            new.insert(part.tip.commit);
            let known = known.entry(part.tip.commit).or_default();
            known.insert(part.key(), commit);
            found.add(part, commit);
        }
        found.wrong.extend(result.wrong);
    }
    known.retain(|tip, _| new.contains(tip));
    cache.write(&known);
    Ok(found)
}

impl LastTouchedCommits {
    fn add(&mut self, part: PartialService, commit: CommitId) {
        self.commits.insert((part.service, part.tip.commit), commit);
    }
}

impl HistorySearch<'_> {
    /// Makes sure that each remote's working copy has the tips.
    async fn fetch_missing(
        &self,
        remotes: Vec<RemoteSearch>,
    ) -> Result<Vec<RemoteSearch>, HistoryError> {
        let (complete, incomplete): (Vec<RemoteSearch>, Vec<RemoteSearch>) = remotes
            .into_iter()
            .partition(|remote| remote.missing_tips().is_empty());
        if incomplete.is_empty() {
            return Ok(complete);
        }
        let _lock = self.lock().await?;
        let remotes = count_of(incomplete.len(), "remote");
        self.stage(format!("fetching the history of {remotes}"));
        let fetched = self.each(&incomplete, |remote| self.fetch(remote)).await;
        self.events.emit(Event::StageFinished);
        Ok([complete, fetched?].concat())
    }

    async fn fetch(&self, remote: RemoteSearch) -> Result<RemoteSearch, HistoryError> {
        let (remote, cloned) = self
            .blocking(remote, |client, staging_dir, remote, watch| {
                let mut cloned = false;
                // Another xp may have fetched while this one waited for the lock.
                for tip in remote.missing_tips() {
                    let request = remote.request(staging_dir, &tip);
                    cloned |= fetch_objects(client, &request, watch)?;
                }
                Ok(cloned)
            })
            .await?;
        if cloned {
            self.events.emit(Event::note(format!(
                "cloned {} into {}: its history is needed to find the last commit of each service",
                remote.url,
                remote.dir.display()
            )));
        }
        Ok(remote)
    }

    /// Searches the local histories. Missing and unreadable ones are skipped.
    async fn search_local(&self, remotes: Vec<RemoteSearch>) -> Vec<SearchResult> {
        let mut all = Vec::new();
        for mut remote in remotes {
            let missing = remote.missing_tips();
            remote.parts.retain(|part| !missing.contains(&part.tip));
            if !remote.parts.is_empty() {
                all.extend(self.search_remote(remote).await.ok());
            }
        }
        all
    }

    /// Searches the histories, and completes shallow clones if necessary.
    async fn search(&self, remotes: Vec<RemoteSearch>) -> Result<Vec<SearchResult>, HistoryError> {
        self.stage("reading histories".to_owned());
        let results = self
            .each(&remotes, |remote| self.search_remote(remote))
            .await;
        self.events.emit(Event::StageFinished);
        let (ended, complete): (Vec<_>, Vec<_>) = results?
            .into_iter()
            .zip(&remotes)
            .partition(|(result, _)| result.beyond_history);
        let mut all: Vec<SearchResult> = complete.into_iter().map(|(result, _)| result).collect();
        if ended.is_empty() {
            return Ok(all);
        }
        let shallow: Vec<RemoteSearch> = ended
            .into_iter()
            .map(|(_, remote)| remote.clone())
            .collect();
        self.stage("completing shallow clones".to_owned());
        let completed = {
            let _lock = self.lock().await?;
            self.each(&shallow, |remote| self.complete(remote)).await
        };
        self.events.emit(Event::StageFinished);
        for result in completed? {
            if result.beyond_history {
                return Err(HistoryError::Incomplete(result.dir));
            }
            all.push(result);
        }
        Ok(all)
    }

    /// Runs the same work for each remote, concurrently.
    async fn each<T, W: Future<Output = Result<T, HistoryError>>>(
        &self,
        remotes: &[RemoteSearch],
        work: impl Fn(RemoteSearch) -> W,
    ) -> Result<Vec<T>, HistoryError> {
        let work = remotes.iter().cloned().map(work);
        let done: Vec<Result<T, HistoryError>> = futures_util::stream::iter(work)
            .buffered(JOBS)
            .collect()
            .await;
        done.into_iter().collect()
    }

    /// Fetches the whole history of a shallow clone, and searches again.
    async fn complete(&self, remote: RemoteSearch) -> Result<SearchResult, HistoryError> {
        let (remote, ()) = self
            .blocking(remote, |client, staging_dir, remote, watch| {
                match remote.parts.first() {
                    Some(part) => {
                        let request = remote.request(staging_dir, &part.tip);
                        unshallow(client, &request, watch)
                    }
                    None => Ok(()),
                }
            })
            .await?;
        self.search_remote(remote).await
    }

    async fn search_remote(&self, remote: RemoteSearch) -> Result<SearchResult, HistoryError> {
        let cancel = self.cancel.clone();
        let result = spawn_blocking(move || {
            remote.search(&OperationContext {
                progress: &|_| (),
                cancel: &cancel,
            })
        });
        joined(result.await)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        remote: RemoteSearch,
        work: impl FnOnce(
            &GitClient,
            &Path,
            &RemoteSearch,
            &OperationContext<'_>,
        ) -> Result<T, SyncError>
        + Send
        + 'static,
    ) -> Result<(RemoteSearch, T), HistoryError> {
        let (client, cancel) = (self.client.clone(), self.cancel.clone());
        let staging_dir = self.layout.clones();
        let done = spawn_blocking(move || {
            let watch = OperationContext {
                progress: &|_| (),
                cancel: &cancel,
            };
            match work(&client, &staging_dir, &remote, &watch) {
                Ok(value) => Ok((remote, value)),
                Err(error) => Err(remote.failed(error)),
            }
        });
        joined(done.await)
    }

    /// Acquires the lock, unless the caller holds it.
    async fn lock(&self) -> Result<Option<FolderLock>, HistoryError> {
        match self.extent {
            HistoryExtent::Remotes(Some(_)) | HistoryExtent::Local => Ok(None),
            HistoryExtent::Remotes(None) => Ok(Some(lock(&self.layout.lock(), self.events).await?)),
        }
    }

    fn stage(&self, text: String) {
        self.events.emit(Event::stage(text));
    }
}
