//! The services of one remote, and the working copy with the history to search.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::submodules::with_modules;
use super::{HistoryError, PartialService, paths};
use crate::client::git::{GitError, LastTouch, Opened, OperationContext, PathsAt, WorkingCopy};
use crate::execute::sync::{SyncError, SyncRequest};
use crate::model::manifest::{InvalidGitPath, ServiceName};
use crate::model::source::{CommitId, GitUrl, ResolvedReference};

/// The maximum number of missing paths for which the removing commit is searched.
const MAX_EXPLAINED: usize = 10;

/// The services of one remote without cached commits.
#[derive(Debug, Clone)]
pub(super) struct RemoteSearch {
    pub(super) url: GitUrl,
    /// The working copy to search.
    pub(super) dir: PathBuf,
    pub(super) parts: Vec<PartialService>,
}

/// The results for the services of one remote.
#[derive(Default)]
pub(super) struct SearchResult {
    pub(super) found: Vec<(PartialService, CommitId)>,
    pub(super) wrong: Vec<(ServiceName, InvalidGitPath)>,
    /// Whether the local history is too short for some services.
    pub(super) beyond_history: bool,
    /// The working copy that was searched.
    pub(super) dir: PathBuf,
}

impl RemoteSearch {
    /// Chooses the working copy: preferably an existing one that has most of the tips.
    pub(super) fn of(parts: Vec<PartialService>) -> Option<Self> {
        let url = parts.first()?.remote.clone();
        let dirs: BTreeSet<&Path> = parts.iter().map(|part| part.dir.as_path()).collect();
        let usefulness = |dir: &Path| match WorkingCopy::open(dir) {
            Ok(Opened::WorkingCopy(copy)) => {
                let has = |part: &&PartialService| copy.has_commit(part.tip.commit);
                2 + parts.iter().filter(has).count()
            }
            Ok(Opened::Nothing) => 1,
            _ => 0,
        };
        let best = dirs
            .into_iter()
            .rev()
            .max_by_key(|dir| usefulness(dir))?
            .to_owned();
        Some(Self {
            url,
            dir: best,
            parts,
        })
    }

    /// Returns the tips that the working copy does not have.
    pub(super) fn missing_tips(&self) -> Vec<ResolvedReference> {
        let opened = WorkingCopy::open(&self.dir);
        let mut tips: Vec<ResolvedReference> = Vec::new();
        for part in &self.parts {
            let has = matches!(&opened, Ok(Opened::WorkingCopy(copy)) if copy.has_commit(part.tip.commit));
            if !has && !tips.contains(&part.tip) {
                tips.push(part.tip.clone());
            }
        }
        tips
    }

    /// Returns the request to fetch a tip.
    pub(super) fn request<'r>(
        &'r self,
        staging_dir: &'r Path,
        tip: &'r ResolvedReference,
    ) -> SyncRequest<'r> {
        SyncRequest {
            dir: &self.dir,
            staging_dir,
            url: &self.url,
            resolved: tip,
            commit: tip.commit,
            moves: false,
        }
    }

    /// Returns an error that names the affected services.
    pub(super) fn failed(&self, cause: impl Into<SyncError>) -> HistoryError {
        let mut services: Vec<String> = self
            .parts
            .iter()
            .take(4)
            .map(|part| part.service.to_string())
            .collect();
        if self.parts.len() > 4 {
            services[3] = format!("{} more", self.parts.len() - 3);
        }
        HistoryError::Sync {
            remote: Box::new(self.url.clone()),
            services,
            cause: Box::new(cause.into()),
        }
    }

    /// Searches the object store for the commits of the services.
    pub(super) fn search(self, watch: &OperationContext<'_>) -> Result<SearchResult, HistoryError> {
        let working_copy = match WorkingCopy::open(&self.dir) {
            Ok(Opened::WorkingCopy(working_copy)) => working_copy,
            Ok(_) => {
                let dir = self.dir.clone();
                return Err(self.failed(SyncError::OtherFiles { dir }));
            }
            Err(error) => return Err(self.failed(error)),
        };
        self.search_in(&working_copy, watch)
            .map_err(|error| self.failed(error))
    }

    fn search_in(
        &self,
        copy: &WorkingCopy,
        watch: &OperationContext<'_>,
    ) -> Result<SearchResult, GitError> {
        let mut result = SearchResult {
            dir: self.dir.clone(),
            ..SearchResult::default()
        };
        let (mut parts, mut requests) = (Vec::new(), Vec::new());
        for part in &self.parts {
            let is_one_of_many = part.may_be_missing || result.wrong.len() >= MAX_EXPLAINED;
            let wrong = paths::invalid_git_paths(copy, part, is_one_of_many, watch)?;
            if wrong.is_empty() {
                requests.push(PathsAt {
                    tip: part.tip.commit,
                    selection: part.selection.clone(),
                });
                parts.push(part);
            }
            if !part.may_be_missing {
                let wrong = wrong.into_iter().map(|wrong| (part.service.clone(), wrong));
                result.wrong.extend(wrong);
            }
        }
        for (part, touch) in parts.into_iter().zip(copy.last_touched(&requests, watch)?) {
            match with_modules(copy, part, touch, watch)? {
                LastTouch::Commit(commit) => result.found.push((part.clone(), commit)),
                // The paths exist at the tip, so some commit beyond the local history added them.
                LastTouch::Never | LastTouch::BeyondHistory => result.beyond_history = true,
            }
        }
        Ok(result)
    }
}
