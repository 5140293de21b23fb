//! The services of one remote, and the working copy that is asked for all of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::modules::with_modules;
use super::{HistoryError, Part, paths};
use crate::client::git::{GitError, LastTouch, Opened, PathsAt, Watch, WorkingCopy};
use crate::execute::sync::{SyncError, SyncRequest};
use crate::manifest::{ServiceName, WrongPath};
use crate::source::{CommitId, GitUrl, ResolvedReference};

/// For so many missing paths, the history is asked what became of them.
const EXPLAINED: usize = 10;

/// The services of one remote whose commits are not known.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) url: GitUrl,
    /// The working copy that is asked.
    pub(super) dir: PathBuf,
    pub(super) parts: Vec<Part>,
}

/// What was found for the services of one remote.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) found: Vec<(Part, CommitId)>,
    pub(super) wrong: Vec<(ServiceName, WrongPath)>,
    /// The history that is here ends too early for some.
    pub(super) beyond_history: bool,
    /// Of this working copy.
    pub(super) dir: PathBuf,
}

impl Remote {
    /// Chooses the working copy: one that is there already, and has most of the tips.
    pub(super) fn of(parts: Vec<Part>) -> Option<Self> {
        let url = parts.first()?.remote.clone();
        let dirs: BTreeSet<&Path> = parts.iter().map(|part| part.dir.as_path()).collect();
        let usefulness = |dir: &Path| match WorkingCopy::open(dir) {
            Ok(Opened::WorkingCopy(copy)) => {
                let has = |part: &&Part| copy.has_commit(part.tip.commit);
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

    /// Returns what bringing a tip takes.
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

    /// Tells for which services something failed.
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

    /// Looks for the commits of the services in the object store.
    pub(super) fn look(self, watch: &Watch<'_>) -> Result<Looked, HistoryError> {
        let working_copy = match WorkingCopy::open(&self.dir) {
            Ok(Opened::WorkingCopy(working_copy)) => working_copy,
            Ok(_) => {
                let dir = self.dir.clone();
                return Err(self.failed(SyncError::OtherFiles { dir }));
            }
            Err(error) => return Err(self.failed(error)),
        };
        self.look_into(&working_copy, watch)
            .map_err(|error| self.failed(error))
    }

    fn look_into(&self, copy: &WorkingCopy, watch: &Watch<'_>) -> Result<Looked, GitError> {
        let mut looked = Looked {
            dir: self.dir.clone(),
            ..Looked::default()
        };
        let (mut parts, mut requests) = (Vec::new(), Vec::new());
        for part in &self.parts {
            let is_one_of_many = part.may_be_missing || looked.wrong.len() >= EXPLAINED;
            let wrong = paths::wrong_paths(copy, part, is_one_of_many, watch)?;
            if wrong.is_empty() {
                requests.push(PathsAt {
                    tip: part.tip.commit,
                    paths: part.paths.clone(),
                });
                parts.push(part);
            }
            if !part.may_be_missing {
                let wrong = wrong.into_iter().map(|wrong| (part.service.clone(), wrong));
                looked.wrong.extend(wrong);
            }
        }
        for (part, touch) in parts.into_iter().zip(copy.last_touched(&requests, watch)?) {
            match with_modules(copy, part, touch, watch)? {
                LastTouch::Commit(commit) => looked.found.push((part.clone(), commit)),
                // What is there was put there by some commit.
                LastTouch::Never | LastTouch::BeyondHistory => looked.beyond_history = true,
            }
        }
        Ok(looked)
    }
}
