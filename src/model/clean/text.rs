//! The plan as text.

use std::collections::BTreeMap;

use super::plan::{Action, CleanItem, CleanPlan, Place};
use super::reason::Rule;
use crate::base::plural::{abbreviated, count_of};
use crate::base::table::aligned;
use crate::base::units::disk_size;

/// The length of a digest in the table.
const DIGITS: usize = 12;

/// The number of hexadecimal digits from which they are shortened: those of commits and digests.
const LONG_DIGITS: usize = 40;

/// The number of digits of what is shortened.
const SHORT_DIGITS: usize = 8;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// What is removed.
    Removals,
    /// What is kept, too.
    All,
}

/// Returns a table of the items, with a closing line. `done` is whether the removals were carried out.
pub fn text(plan: &CleanPlan, shown: Shown, done: bool) -> String {
    let mut text = String::new();
    let removals = plan.removals();
    let kept = plan
        .items
        .iter()
        .filter(|it| it.action == Action::Keep && shown == Shown::All);
    let rows: Vec<Vec<String>> = removals.chain(kept).map(row).collect();
    if !rows.is_empty() {
        let heading = ["", "ITEM", "TAGS", "SIZE", "REASON"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(heading.to_vec()).chain(rows).collect();
        text.push_str(&format!("{}\n", aligned(&rows)));
    }
    for (repository, tags) in &plan.former {
        text.push_str(&format!(
            "note: {repository}, of a service that is not in the manifest, has {}; xp does not remove them\n",
            count_of(*tags, "tag")
        ));
    }
    text.push_str(&closing(plan, done));
    text
}

fn row(item: &CleanItem) -> Vec<String> {
    let action = match item.action {
        Action::Keep => "keep",
        Action::Remove => "remove",
        Action::Untag => "untag",
    };
    let name = match item.place {
        Place::Cache => item.name.clone(),
        Place::Registry | Place::Engine => {
            let digits = item.name.rsplit(':').next().unwrap_or_default();
            let name = format!("{}@{}", item.group, digits.get(..DIGITS).unwrap_or(digits));
            match &item.engine {
                Some(engine) => format!("{engine}: {name}"),
                None => name,
            }
        }
    };
    let tags: Vec<String> = item.tags.iter().map(|tag| short(tag)).collect();
    let tags = match tags.as_slice() {
        [] => "-".to_owned(),
        tags => abbreviated(tags, 2),
    };
    vec![
        action.to_owned(),
        name,
        tags,
        disk_size(item.bytes),
        item.reason.to_string(),
    ]
}

/// Returns a tag with its commit or digest shortened.
fn short(tag: &str) -> String {
    let parts = tag.split_inclusive('-').map(|part| {
        let digits = part.trim_end_matches('-');
        let is_long =
            digits.len() >= LONG_DIGITS && digits.bytes().all(|it| it.is_ascii_hexdigit());
        match digits.get(..SHORT_DIGITS) {
            Some(start) if is_long => format!("{start}{}", &part[digits.len()..]),
            _ => part.to_owned(),
        }
    });
    parts.collect()
}

fn closing(plan: &CleanPlan, done: bool) -> String {
    let mut lines = Vec::new();
    for place in [Place::Registry, Place::Engine, Place::Cache] {
        let items = plan.items.iter().filter(|item| item.place == place);
        let (removed, kept): (Vec<_>, Vec<_>) = items.partition(|item| item.action != Action::Keep);
        if removed.is_empty() && kept.is_empty() {
            continue;
        }
        let verb = if done { "removed" } else { "to remove" };
        let freed = disk_size(plan.freed.get(&place).copied().unwrap_or_default());
        let name = match place {
            Place::Registry => "registry",
            Place::Engine => "engine",
            Place::Cache => "cache",
        };
        let later = if place == Place::Registry {
            "after its garbage collection"
        } else {
            "of disk space"
        };
        let freed = if removed.is_empty() {
            String::new()
        } else {
            format!(", {freed} {later}")
        };
        lines.push(format!(
            "{name}: {} {verb}{freed}; {} kept{}\n",
            removed.len(),
            kept.len(),
            rules(&kept)
        ));
    }
    if lines.is_empty() {
        return "nothing to remove\n".to_owned();
    }
    lines.concat()
}

/// Returns why how many items are kept.
fn rules(kept: &[&CleanItem]) -> String {
    let mut counts: BTreeMap<Rule, usize> = BTreeMap::new();
    for item in kept {
        *counts.entry(item.reason.rule).or_default() += 1;
    }
    let counts = counts
        .into_iter()
        .map(|(rule, count)| format!("{count} {}", word(rule)));
    let counts: Vec<String> = counts.collect();
    match counts.as_slice() {
        [] => String::new(),
        counts => format!(" ({})", counts.join(", ")),
    }
}

fn word(rule: Rule) -> &'static str {
    match rule {
        Rule::Lock => "locked",
        Rule::Running => "running",
        Rule::Deployed => "deployed",
        Rule::Tip => "at tips",
        Rule::CurrentBuilder => "current builders",
        Rule::Foreign => "foreign",
        Rule::LastCommits => "of last commits",
        Rule::Young => "recent",
        Rule::UnknownAge => "of unknown age",
        Rule::Needed => "needed",
        Rule::InUse => "in use",
        Rule::Unused | Rule::NoBranch | Rule::NoService | Rule::RemovedWith | Rule::Size => {
            "removed"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_in_tags_are_shortened() {
        let commit = "0123456789".repeat(4);
        assert_eq!(short(&commit), "01234567");
        assert_eq!(
            short(&format!("{commit}-0123456789ab")),
            "01234567-0123456789ab"
        );
        assert_eq!(short(&format!("step-{}", "ab".repeat(32))), "step-abababab");
        assert_eq!(short("TASK-981"), "TASK-981");
    }
}
