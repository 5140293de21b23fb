//! Names of a remote that are similar to a reference it lacks.

use super::lookup::lookup;
use crate::base::suggest;
use crate::client::git::RemoteRefs;
use crate::model::source::GitReference;

/// The maximum number of similar names in an error.
const NEAR_MATCHES: usize = 3;

/// Returns similar names, each written unambiguously.
///
/// If the request names a kind, as in `tags/v1`, only that kind is suggested: a branch of the same name may be another
/// commit.
pub(super) fn suggestions(requested: &GitReference, refs: &RemoteRefs) -> Vec<String> {
    let text = requested.to_string();
    let short = text.strip_prefix("refs/").unwrap_or(&text);
    let kinds: &[&str] = match short.split_once('/') {
        Some(("heads", _)) => &["refs/heads/"],
        Some(("tags", _)) => &["refs/tags/"],
        _ => &["refs/heads/", "refs/tags/"],
    };
    let is_of_kind = |name: &&str| kinds.iter().any(|kind| name.starts_with(kind));
    let near = near_matches(&text, refs.names().filter(is_of_kind));
    let renamed = renamed_default(short, refs);
    let mut found: Vec<String> = renamed.into_iter().collect();
    for name in near {
        let full = kinds.iter().map(|kind| format!("{kind}{name}"));
        let full = full.filter(|full| refs.commit(full).is_some());
        for full in full {
            let written = unambiguous(&full, refs);
            if !found.contains(&written) {
                found.push(written);
            }
        }
    }
    found.truncate(NEAR_MATCHES);
    found
}

/// Common names of default branches.
const USUAL_DEFAULTS: [&str; 4] = ["main", "master", "trunk", "develop"];

/// Returns the default branch if the requested name is likely its former name.
fn renamed_default(requested: &str, refs: &RemoteRefs) -> Option<String> {
    let requested = ["origin/", "heads/", "remotes/origin/"]
        .iter()
        .find_map(|prefix| requested.strip_prefix(prefix))
        .unwrap_or(requested);
    let head = refs.head()?;
    let is_former = USUAL_DEFAULTS.contains(&requested) && refs.commit(head).is_some();
    is_former.then(|| unambiguous(head, refs))
}

/// Returns the shortest unambiguous name of a reference.
fn unambiguous(full: &str, refs: &RemoteRefs) -> String {
    let without_refs = full.strip_prefix("refs/").unwrap_or(full);
    let short = without_refs
        .split_once('/')
        .map_or(without_refs, |(_, short)| short);
    let resolves_to_it = |name: &&str| {
        let reference: Option<GitReference> = name.parse().ok();
        let found = reference.and_then(|reference| lookup(refs, &reference));
        found.is_some_and(|found| found.name.as_deref() == Some(full))
    };
    let name = [short, without_refs].into_iter().find(resolves_to_it);
    name.unwrap_or(full).to_owned()
}

/// Returns the most similar names; those that differ only in case or folder come first.
pub(super) fn near_matches<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let prefixes = [
        "origin/",
        "refs/heads/",
        "refs/tags/",
        "heads/",
        "tags/",
        "refs/remotes/origin/",
        "remotes/origin/",
    ];
    let wanted = prefixes
        .iter()
        .find_map(|prefix| wanted.strip_prefix(prefix))
        .unwrap_or(wanted);
    let short = names.filter_map(|name| {
        let mut kinds = ["refs/heads/", "refs/tags/"].iter();
        kinds.find_map(|kind| name.strip_prefix(kind))
    });
    let similar = suggest::similar(wanted, short, NEAR_MATCHES);
    similar.into_iter().map(str::to_owned).collect()
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_matches_are_sorted_by_similarity() {
        let names = [
            "refs/heads/master",
            "refs/heads/feature/TASK-981",
            "refs/tags/v1.0",
            "refs/heads/main",
        ];
        let near = |wanted: &str| near_matches(wanted, names.into_iter());
        assert_eq!(near("origin/mastre"), ["master"]);
        assert_eq!(near("task-981"), ["feature/TASK-981"]);
        assert_eq!(near("v1.1"), ["v1.0"]);
        assert!(near("something-else").is_empty());
    }
}
