//! What changed from one lock to another, with the commits between.

use super::compare::{Aspect, Kind};
use super::{Lock, LockedService};
use crate::manifest::ServiceName;
use crate::source::CommitSummary;

/// What changed from one lock to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// What the first lock is called.
    pub from: String,
    /// What the second lock is called.
    pub to: String,
    /// The services that changed, by name.
    pub services: Vec<ServiceChange>,
    /// How many did not.
    pub unchanged: usize,
}

/// What changed about one service: it is in one of the locks, or in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// The service.
    pub service: ServiceName,
    /// What the first lock says.
    pub from: Option<LockedService>,
    /// What the second lock says.
    pub to: Option<LockedService>,
    /// The commits between.
    pub history: History,
}

/// The commits between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// There is nothing between: the service is in one lock only, or at the same commit in both.
    None,
    /// They are known.
    Known {
        /// Those that came, the newest first.
        added: Vec<CommitSummary>,
        /// Those that are there no longer, as after a step back or a rewritten history.
        dropped: Vec<CommitSummary>,
    },
    /// They are not, for this reason.
    Unknown(String),
}

impl Changes {
    /// Compares two locks; the histories are still to be filled in.
    pub fn between(from: (&str, &Lock), to: (&str, &Lock)) -> Self {
        let differences = from.1.compare(to.1);
        let is_changed = |kind: &Kind<'_>| !matches!(kind, Kind::Added(_));
        let changed = differences.iter().filter(|it| is_changed(&it.kind)).count();
        let services = differences.into_iter().map(|difference| {
            let (from, to) = match difference.kind {
                Kind::Added(to) => (None, Some(to)),
                Kind::Removed(from) => (Some(from), None),
                Kind::Changed { from, to } => (Some(from), Some(to)),
            };
            ServiceChange {
                service: difference.service.clone(),
                from: from.cloned(),
                to: to.cloned(),
                history: History::None,
            }
        });
        Self {
            from: from.0.to_owned(),
            to: to.0.to_owned(),
            services: services.collect(),
            unchanged: from.1.services.len() - changed,
        }
    }
}

impl ServiceChange {
    /// Returns what happened, in a word.
    pub fn word(&self) -> &'static str {
        match (&self.from, &self.to) {
            (None, _) => "added",
            (_, None) => "removed",
            (Some(from), Some(to)) if from.commit != to.commit => "moved",
            _ => "changed",
        }
    }

    /// Returns the commits that the service moved from and to, where it moved.
    pub fn moved(&self) -> Option<(&LockedService, &LockedService)> {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from.commit != to.commit => Some((from, to)),
            _ => None,
        }
    }

    /// Returns the commit, or the two of a move as git writes a range, in short.
    pub fn range(&self) -> String {
        let short = |locked: &LockedService| locked.commit.short();
        match (self.moved(), &self.from, &self.to) {
            (Some((from, to)), ..) => format!("{}..{}", short(from), short(to)),
            (None, _, Some(one)) | (None, Some(one), None) => short(one),
            (None, None, None) => String::new(),
        }
    }

    /// Returns how many commits came and went; nothing where the service did not move.
    pub fn distance(&self) -> Option<String> {
        let commits = |count: usize| match count {
            1 => "1 commit".to_owned(),
            _ => format!("{count} commits"),
        };
        Some(match &self.history {
            History::None => return None,
            History::Unknown(_) => "commits unknown".to_owned(),
            History::Known { added, dropped } => match (added.len(), dropped.len()) {
                (0, 0) => "no commits of its path".to_owned(),
                (added, 0) => commits(added),
                (0, dropped) => format!("back by {}", commits(dropped)),
                (added, dropped) => format!("{}, without {} of before", commits(added), dropped),
            },
        })
    }

    /// Returns what changed beside commit, image tag and digest, which change together.
    pub fn aspects(&self) -> Vec<Aspect> {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => from.differing_beside_the_commit(to),
            _ => Vec::new(),
        }
    }
}
