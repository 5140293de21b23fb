//! From what references stand for to what is built: for a service with `git.path`, the last commit
//! that touched its folders.
//!
//! What is known is kept by the tip's commit, and then nothing is opened or fetched. Else the tip has to
//! be in the object store of a working copy. That is what even `xp plan` needs: a working copy that is there gets
//! the objects, as by `git fetch`, and none of its files moves; one that is not there is cloned as `xp sync`
//! does, because there is no other object store. Both are done under the run's lock, and once a
//! remote: where its services have several working copies, one of them is asked.

mod cache;
mod modules;
mod paths;
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::client::git::{GitClient, Watch};
use crate::error::{Diagnostic, Exit};
use crate::event::{Event, Events};
use crate::execute::lock::{FolderLock, LockError, lock};
use crate::execute::sync::{SyncError, fetch_objects, fetch_whole_history};
use crate::manifest::{ServiceName, WrongPath};
use crate::plan::Layout;
use crate::resolve::remote_key;
use crate::source::{CommitId, GitUrl, ResolvedReference};
use crate::task::joined;
use crate::words::many;
use cache::{Cache, Known};
use modules::MODULES;
use remote::{Looked, Remote};

/// How many remotes at once.
const JOBS: usize = 16;

/// A service that is a part of its repository.
#[derive(Debug, Clone)]
pub struct Part {
    /// The service.
    pub service: ServiceName,
    /// Its remote.
    pub remote: GitUrl,
    /// Its working copy.
    pub dir: PathBuf,
    /// What its reference stands for.
    pub tip: ResolvedReference,
    /// `git.path`, then `git.include`.
    pub paths: Vec<String>,
    /// Whether submodules are a part of it: `.gitmodules` then says where they come from.
    pub submodules: bool,
    /// Whether the paths may be missing there, which then is no mistake.
    pub may_be_missing: bool,
}

impl Part {
    /// Returns what an answer is known by.
    fn key(&self) -> Vec<String> {
        let modules = self.submodules.then(|| MODULES.to_owned());
        self.paths.iter().cloned().chain(modules).collect()
    }
}

/// The commits that were found, by service and tip, and what is wrong with the manifest's paths.
#[derive(Debug, Default)]
pub struct Found {
    /// For each service and tip, the last commit that touched the service's paths.
    pub commits: BTreeMap<(ServiceName, CommitId), CommitId>,
    /// The paths that a tip does not have.
    pub wrong: Vec<(ServiceName, WrongPath)>,
}

/// Where a history may come from.
#[derive(Clone, Copy)]
pub enum Extent<'a> {
    /// From the remotes, where it is not here; with the lock of `cacheDir`, where the caller holds it.
    Remotes(Option<&'a FolderLock>),
    /// From what is here. What cannot be told from that is left out.
    Here,
}

/// What finding commits takes.
pub struct Search<'a> {
    /// The git remotes and the working copies.
    pub client: &'a GitClient,
    /// Where xp's own files are.
    pub layout: &'a Layout,
    /// Where events go.
    pub events: &'a Events,
    /// Set when everything is to stop.
    pub cancel: &'a CancellationToken,
    /// Where a history may come from.
    pub extent: Extent<'a>,
}

/// The commit of a service could not be found.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The working copy with the history could not be made or brought up to date.
    #[error("the history of {} cannot be read, which {} needs", remote, services.join(", "))]
    Sync {
        /// The remote.
        remote: Box<GitUrl>,
        /// The services on it, the first few of them.
        services: Vec<String>,
        /// Why.
        #[source]
        cause: Box<SyncError>,
    },
    /// A history that ends before the commit that is looked for.
    #[error("the history in {} is not complete", .0.display())]
    Incomplete(PathBuf),
    /// Another xp's lock could not be taken.
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
/// A remote or working copy that cannot be used, and a history that is not complete.
pub async fn last_touched(search: &Search<'_>, parts: Vec<Part>) -> Result<Found, HistoryError> {
    let cache = Cache::new(search.layout.root(), search.layout.history());
    let tips: BTreeSet<CommitId> = parts.iter().map(|part| part.tip.commit).collect();
    let mut known: BTreeMap<CommitId, Known> =
        tips.into_iter().map(|tip| (tip, cache.read(tip))).collect();
    let (mut found, mut remotes) = (Found::default(), BTreeMap::<String, Vec<Part>>::new());
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
    let remotes = remotes.into_values().filter_map(Remote::of).collect();
    let looked = match search.extent {
        Extent::Remotes(_) => {
            let remotes = search.bring_objects(remotes).await?;
            search.look(remotes).await?
        }
        Extent::Here => search.look_here(remotes).await,
    };
    let mut new = BTreeSet::new();
    for looked in looked {
        for (part, commit) in looked.found {
            new.insert(part.tip.commit);
            let known = known.entry(part.tip.commit).or_default();
            known.insert(part.key(), commit);
            found.add(part, commit);
        }
        found.wrong.extend(looked.wrong);
    }
    known.retain(|tip, _| new.contains(tip));
    cache.write(&known);
    Ok(found)
}

impl Found {
    fn add(&mut self, part: Part, commit: CommitId) {
        self.commits.insert((part.service, part.tip.commit), commit);
    }
}

impl Search<'_> {
    /// Sees to it that each remote's working copy has the tips.
    async fn bring_objects(&self, remotes: Vec<Remote>) -> Result<Vec<Remote>, HistoryError> {
        let (complete, incomplete): (Vec<Remote>, Vec<Remote>) = remotes
            .into_iter()
            .partition(|remote| remote.missing_tips().is_empty());
        if incomplete.is_empty() {
            return Ok(complete);
        }
        let _lock = self.lock().await?;
        let remotes = many(incomplete.len(), "remote");
        self.stage(format!("fetching the history of {remotes}"));
        let fetched = self.each(&incomplete, |remote| self.fetch(remote)).await;
        self.events.emit(Event::StageFinished);
        Ok([complete, fetched?].concat())
    }

    async fn fetch(&self, remote: Remote) -> Result<Remote, HistoryError> {
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
            self.events.emit(Event::Note(format!(
                "cloned {} into {}: its history tells which commit touched each service last",
                remote.url,
                remote.dir.display()
            )));
        }
        Ok(remote)
    }

    /// Looks into the histories that are here. One that is not, or cannot be read, tells nothing.
    async fn look_here(&self, remotes: Vec<Remote>) -> Vec<Looked> {
        let mut all = Vec::new();
        for mut remote in remotes {
            let missing = remote.missing_tips();
            remote.parts.retain(|part| !missing.contains(&part.tip));
            if !remote.parts.is_empty() {
                all.extend(self.look_once(remote).await.ok());
            }
        }
        all
    }

    /// Looks into the histories, and fetches what shallow clones left out where that is needed.
    async fn look(&self, remotes: Vec<Remote>) -> Result<Vec<Looked>, HistoryError> {
        self.stage("reading histories".to_owned());
        let looked = self.each(&remotes, |remote| self.look_once(remote)).await;
        self.events.emit(Event::StageFinished);
        let (ended, complete): (Vec<_>, Vec<_>) = looked?
            .into_iter()
            .zip(&remotes)
            .partition(|(looked, _)| looked.beyond_history);
        let mut all: Vec<Looked> = complete.into_iter().map(|(looked, _)| looked).collect();
        if ended.is_empty() {
            return Ok(all);
        }
        let shallow: Vec<Remote> = ended
            .into_iter()
            .map(|(_, remote)| remote.clone())
            .collect();
        self.stage("fetching what shallow clones left out".to_owned());
        let completed = {
            let _lock = self.lock().await?;
            self.each(&shallow, |remote| self.complete(remote)).await
        };
        self.events.emit(Event::StageFinished);
        for looked in completed? {
            if looked.beyond_history {
                return Err(HistoryError::Incomplete(looked.dir));
            }
            all.push(looked);
        }
        Ok(all)
    }

    /// Does the same for each remote, some at once.
    async fn each<T, W: Future<Output = Result<T, HistoryError>>>(
        &self,
        remotes: &[Remote],
        work: impl Fn(Remote) -> W,
    ) -> Result<Vec<T>, HistoryError> {
        let work = remotes.iter().cloned().map(work);
        let done: Vec<Result<T, HistoryError>> = futures_util::stream::iter(work)
            .buffered(JOBS)
            .collect()
            .await;
        done.into_iter().collect()
    }

    /// Fetches the whole history of a shallow clone, and looks again.
    async fn complete(&self, remote: Remote) -> Result<Looked, HistoryError> {
        let (remote, ()) = self
            .blocking(remote, |client, staging_dir, remote, watch| {
                match remote.parts.first() {
                    Some(part) => {
                        let request = remote.request(staging_dir, &part.tip);
                        fetch_whole_history(client, &request, watch)
                    }
                    None => Ok(()),
                }
            })
            .await?;
        self.look_once(remote).await
    }

    async fn look_once(&self, remote: Remote) -> Result<Looked, HistoryError> {
        let cancel = self.cancel.clone();
        let looked = spawn_blocking(move || {
            remote.look(&Watch {
                progress: &|_| (),
                cancel: &cancel,
            })
        });
        joined(looked.await)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        remote: Remote,
        work: impl FnOnce(&GitClient, &Path, &Remote, &Watch<'_>) -> Result<T, SyncError>
        + Send
        + 'static,
    ) -> Result<(Remote, T), HistoryError> {
        let (client, cancel) = (self.client.clone(), self.cancel.clone());
        let staging_dir = self.layout.clones();
        let done = spawn_blocking(move || {
            let watch = Watch {
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

    /// Takes the lock, unless the caller holds it.
    async fn lock(&self) -> Result<Option<FolderLock>, HistoryError> {
        match self.extent {
            Extent::Remotes(Some(_)) | Extent::Here => Ok(None),
            Extent::Remotes(None) => Ok(Some(lock(&self.layout.lock(), self.events).await?)),
        }
    }

    fn stage(&self, text: String) {
        self.events.emit(Event::StageStarted(text));
    }
}
