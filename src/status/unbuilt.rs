//! What a working copy has and its remote has not: a build does not see it, and a person may wonder.

use crate::source::ServiceSource;

/// What a working copy has of a service, and the remote has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpushed {
    /// The branch; none where `HEAD` is detached.
    pub branch: Option<String>,
    /// The commits that the service's reference has not, where they make a difference to its files.
    pub ahead: usize,
    /// Tracked files with changes.
    pub modified: usize,
}

/// Returns what in a folder is not built when its service is; none where nothing is missed.
///
/// Commits count only on the branch that is built: who has checked out another one knows that. What is
/// untracked may be what a build left, and does not count.
pub fn unbuilt(folder: &str, source: &ServiceSource, unpushed: &Unpushed) -> Option<String> {
    let name = source.tip.short_name();
    let is_on_it = name.is_some() && unpushed.branch.as_deref() == name;
    let ahead = if is_on_it { unpushed.ahead } else { 0 };
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let parts = [
        counted(ahead, "commit"),
        counted(unpushed.modified, "modified file"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return None;
    }
    let parts = parts.join(" and ");
    let built = match name {
        Some(name) => format!("{name} of its remote"),
        None => format!("commit {}", source.commit.short()),
    };
    Some(format!(
        "not built: {parts} in {folder}, which {built} lacks"
    ))
}
