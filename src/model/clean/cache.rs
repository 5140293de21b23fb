//! Decides what is removed from the cache folder.

use std::collections::BTreeMap;

use super::plan::{Action, CleanItem, CleanPlan, Place};
use super::reason::{Reason, Rule};
use crate::base::plural::count_of;
use crate::base::units::disk_size;
use crate::model::manifest::CleanCache;

/// Something in the cache folder that is removed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    pub kind: CacheKind,
    /// The path below the cache folder, or for a result of a phase its key.
    pub name: String,
    pub bytes: u64,
    /// When it was last used, in seconds since 1970; `None` if this is unknown.
    pub used: Option<i64>,
    /// The service whose it is.
    pub service: Option<String>,
    /// Why it cannot be removed now.
    pub in_use: Option<String>,
}

/// The kind of an entry of the cache folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheKind {
    /// The checkout of a service in which its image is built.
    Export,
    /// The cache paths of a service's builder.
    Cache,
    /// The logs of a run.
    Logs,
    /// The result of a phase.
    StepResult,
    /// Objects of submodules, Git LFS files, and clones of kustomize files.
    Store,
    /// What a run left that was killed.
    Leftover,
}

impl CacheKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Export,
        Self::Cache,
        Self::Logs,
        Self::StepResult,
        Self::Store,
        Self::Leftover,
    ];

    /// Returns the name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "exports",
            Self::Cache => "caches",
            Self::Logs => "logs",
            Self::StepResult => "results",
            Self::Store => "stores",
            Self::Leftover => "leftovers",
        }
    }
}

/// Decides what is removed: unneeded entries, entries past the age limit, and then the least recently used ones until the
/// rest fits.
pub fn cache_plan(entries: &[CacheEntry], keep: CleanCache, now: i64) -> CleanPlan {
    let mut fates: Vec<(Action, Reason)> = entries.iter().map(|it| fate(it, keep, now)).collect();
    let kept = |fates: &[(Action, Reason)]| -> u64 {
        let kept = entries.iter().zip(fates);
        let kept = kept.filter(|(_, (action, _))| *action == Action::Keep);
        kept.map(|(entry, _)| entry.bytes).sum()
    };
    let mut total = kept(&fates);
    let mut by_age: Vec<usize> = (0..entries.len()).collect();
    by_age.sort_by_key(|position| (entries[*position].used, entries[*position].name.clone()));
    for position in by_age {
        let entry = &entries[position];
        if total <= keep.size {
            break;
        }
        let is_kept = fates[position].0 == Action::Keep;
        if is_kept && entry.in_use.is_none() && entry.used.is_some() && entry.bytes > 0 {
            let text = format!("the cache is larger than {}", disk_size(keep.size));
            fates[position] = (Action::Remove, Reason::new(Rule::Size, text));
            total -= entry.bytes;
        }
    }
    let items = entries
        .iter()
        .zip(fates)
        .map(|(entry, (action, reason))| CleanItem {
            place: Place::Cache,
            engine: None,
            group: entry.kind.as_str().to_owned(),
            name: entry.name.clone(),
            tags: Vec::new(),
            action,
            reason,
            bytes: entry.bytes,
        });
    let items: Vec<CleanItem> = items.collect();
    let removed = items.iter().filter(|it| it.action == Action::Remove);
    let freed = removed.map(|it| it.bytes).sum();
    CleanPlan {
        items,
        freed: BTreeMap::from([(Place::Cache, freed)]),
        former: BTreeMap::new(),
    }
}

fn fate(entry: &CacheEntry, keep: CleanCache, now: i64) -> (Action, Reason) {
    if let Some(why) = &entry.in_use {
        return (Action::Keep, Reason::new(Rule::InUse, why.clone()));
    }
    if entry.kind == CacheKind::Leftover {
        let text = "left by a run that was killed";
        return (Action::Remove, Reason::new(Rule::Unused, text));
    }
    if let Some(service) = &entry.service {
        let text = format!("of the service {service}, which is not in the manifest");
        return (Action::Remove, Reason::new(Rule::NoService, text));
    }
    let Some(used) = entry.used else {
        let text = "when it was used is unknown";
        return (Action::Keep, Reason::new(Rule::UnknownAge, text));
    };
    let days = count_of(keep.days as usize, "day");
    if keep.days > 0 && used >= now - i64::from(keep.days) * 86_400 {
        let text = format!("used within {days}");
        (Action::Keep, Reason::new(Rule::Young, text))
    } else {
        let text = format!("not used for {days}");
        (Action::Remove, Reason::new(Rule::Unused, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn entry(name: &str, age: i64) -> CacheEntry {
        CacheEntry {
            kind: CacheKind::Export,
            name: name.to_owned(),
            bytes: 100,
            used: Some(100 * DAY - age * DAY),
            service: None,
            in_use: None,
        }
    }

    fn removed(entries: &[CacheEntry], size: u64) -> Vec<(String, String)> {
        let keep = CleanCache { days: 30, size };
        let plan = cache_plan(entries, keep, 100 * DAY);
        let removed = plan.removals();
        removed
            .map(|it| (it.name.clone(), it.reason.to_string()))
            .collect()
    }

    #[test]
    fn entries_go_by_age_service_and_size() {
        let former = CacheEntry {
            service: Some("old".to_owned()),
            ..entry("former", 1)
        };
        let used = CacheEntry {
            in_use: Some("a session is open".to_owned()),
            ..entry("used", 99)
        };
        let unknown = CacheEntry {
            used: None,
            ..entry("unknown", 0)
        };
        let entries = [
            entry("a", 31),
            entry("b", 20),
            entry("c", 10),
            former,
            used,
            unknown,
        ];
        let names = |size: u64| -> Vec<String> {
            removed(&entries, size)
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names(1000), ["a", "former"]);
        assert_eq!(names(300), ["a", "b", "former"]);
        assert_eq!(names(0), ["a", "b", "c", "former"]);
        let reasons = removed(&entries, 300);
        assert_eq!(reasons[0].1, "not used for 30 days");
        assert_eq!(reasons[1].1, "the cache is larger than 300 bytes");
        assert_eq!(
            reasons[2].1,
            "of the service old, which is not in the manifest"
        );
    }
}
