//! The changes between two locks, including the commits.

use std::collections::BTreeSet;

use super::compare::{DifferenceKind, LockedField};
use super::{Lock, LockedService};
use crate::base::plural::count_of;
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::source::CommitSummary;

/// The changes between two locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockChanges {
    /// The display name of the first lock.
    pub from: String,
    /// The display name of the second lock.
    pub to: String,
    /// The services that changed, by name.
    pub services: Vec<ServiceChange>,
    /// The number of unchanged services.
    pub unchanged: usize,
}

/// The change of one service, which is in one of the locks or in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    pub service: ServiceName,
    /// The entry in the first lock.
    pub from: Option<LockedService>,
    /// The entry in the second lock.
    pub to: Option<LockedService>,
    /// The name in the other lock of a service that is in only one of them, if its image is the same.
    pub renamed: Option<ServiceName>,
    /// The services that it needs and that changed too, which can be why its recipe changed.
    pub needed: Vec<ServiceName>,
    /// The commits in between.
    pub history: CommitHistory,
}

/// The commits between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitHistory {
    /// No commits: the service is in only one lock, or at the same commit in both.
    None,
    /// The commits are known.
    Known {
        /// The commits that were added, newest first.
        added: Vec<CommitSummary>,
        /// The commits that are no longer included, after a downgrade or a rewritten history.
        dropped: Vec<CommitSummary>,
    },
    /// The commits are unknown, for this reason.
    Unknown(String),
    /// Only git repositories list their commits, and this is another one.
    Unlisted(String),
}

impl LockChanges {
    /// Compares two locks, without filling in the histories.
    pub fn between(from: (&str, &Lock), to: (&str, &Lock)) -> Self {
        let differences = from.1.compare(to.1);
        let is_changed = |kind: &DifferenceKind<'_>| !matches!(kind, DifferenceKind::Added(_));
        let changed = differences.iter().filter(|it| is_changed(&it.kind)).count();
        let services = differences.into_iter().map(|difference| {
            let (from, to) = match difference.kind {
                DifferenceKind::Added(to) => (None, Some(to)),
                DifferenceKind::Removed(from) => (Some(from), None),
                DifferenceKind::Changed { from, to } => (Some(from), Some(to)),
            };
            ServiceChange {
                service: difference.service.clone(),
                from: from.cloned(),
                to: to.cloned(),
                renamed: None,
                needed: Vec::new(),
                history: CommitHistory::None,
            }
        });
        let mut services: Vec<ServiceChange> = services.collect();
        find_renamed(&mut services);
        Self {
            from: from.0.to_owned(),
            to: to.0.to_owned(),
            services,
            unchanged: from.1.services.len() - changed,
        }
    }

    /// Adds which of the services that a changed one needs, according to the manifest, have changed too.
    pub fn add_needed(&mut self, manifest: &Manifest) {
        let replaced = self
            .services
            .iter()
            .filter(|it| it.from.is_some() && it.to.is_some());
        let replaced: BTreeSet<ServiceName> = replaced.map(|it| it.service.clone()).collect();
        for change in &mut self.services {
            if !change.changed_fields().contains(&LockedField::Recipe) {
                continue;
            }
            let needs = manifest.services.get(&change.service).into_iter();
            let needs = needs.flat_map(|service| &service.needs);
            change.needed = needs
                .filter(|need| replaced.contains(need))
                .cloned()
                .collect();
        }
    }
}

/// Pairs removed and added services with the same image.
fn find_renamed(services: &mut [ServiceChange]) {
    for at in 0..services.len() {
        let added = &services[at];
        let (None, Some(to)) = (&added.from, &added.to) else {
            continue;
        };
        let is_former = |it: &ServiceChange| match (&it.from, &it.to) {
            (Some(from), None) => it.renamed.is_none() && is_same_image(from, to),
            _ => false,
        };
        let Some(former) = services.iter().position(is_former) else {
            continue;
        };
        services[former].renamed = Some(services[at].service.clone());
        services[at].renamed = Some(services[former].service.clone());
    }
}

fn is_same_image(one: &LockedService, other: &LockedService) -> bool {
    // Without a digest, the same commit and recipe may be two services of one repository.
    one.digest.is_some()
        && (one.commit, &one.recipe, &one.digest) == (other.commit, &other.recipe, &other.digest)
        && one.path == other.path
}

impl ServiceChange {
    /// Returns whether the other change, under the new name, describes this one.
    pub fn is_shown_elsewhere(&self) -> bool {
        self.to.is_none() && self.renamed.is_some()
    }

    /// Returns the kind of change as one word.
    pub fn word(&self) -> &'static str {
        match (&self.from, &self.to) {
            (None, _) => "added",
            (_, None) => "removed",
            (Some(from), Some(to)) if from.commit != to.commit => "moved",
            _ => "changed",
        }
    }

    /// Returns the old and new entry, if the service moved to another commit.
    pub fn moved(&self) -> Option<(&LockedService, &LockedService)> {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from.commit != to.commit => Some((from, to)),
            _ => None,
        }
    }

    /// Returns the abbreviated commit, or the range in git's notation if the service moved.
    pub fn range(&self) -> String {
        let short = |locked: &LockedService| locked.commit.short();
        match (self.moved(), &self.from, &self.to) {
            (Some((from, to)), ..) => format!("{}..{}", short(from), short(to)),
            (None, _, Some(one)) | (None, Some(one), None) => short(one),
            (None, None, None) => String::new(),
        }
    }

    /// Returns the numbers of added and dropped commits; `None` if the service did not move.
    pub fn distance(&self) -> Option<String> {
        let commits = |count| count_of(count, "commit");
        Some(match &self.history {
            CommitHistory::None => return None,
            CommitHistory::Unknown(_) => "commits unknown".to_owned(),
            CommitHistory::Unlisted(_) => "commits not listed".to_owned(),
            CommitHistory::Known { added, dropped } => match (added.len(), dropped.len()) {
                (0, 0) => "no commits that touch its path".to_owned(),
                (added, 0) => commits(added),
                (0, dropped) => format!("back by {}", commits(dropped)),
                (added, dropped) => format!("{}, {dropped} dropped", commits(added)),
            },
        })
    }

    /// Returns the changed services that it needs, in words.
    pub fn needed_text(&self) -> Option<String> {
        let names: Vec<&str> = self.needed.iter().map(ServiceName::as_str).collect();
        (!names.is_empty()).then(|| format!("needs {}, which changed", names.join(", ")))
    }

    /// Returns the changed fields except commit, image tag and digest, which always change together.
    pub fn changed_fields(&self) -> Vec<LockedField> {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => from.changed_fields_except_commit(to),
            _ => Vec::new(),
        }
    }
}
