//! The note about local changes: a build ignores them, which may surprise the user.

use crate::model::source::ServiceSource;

/// Local changes to a service in its working copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnpushedChanges {
    /// The branch; `None` if `HEAD` is detached.
    pub branch: Option<String>,
    /// The number of commits that the reference lacks and that touch the service's files.
    pub ahead: usize,
    /// The number of tracked files with changes.
    pub modified: usize,
}

/// Returns a note about changes in a folder that are not part of the build, if there are any.
///
/// Commits count only on the branch that is built: users who check out another one know that. Untracked files do not
/// count, because they may be build output.
pub fn local_changes_note(
    folder: &str,
    source: &ServiceSource,
    unpushed: &UnpushedChanges,
) -> Option<String> {
    let name = source.tip.short_name();
    let is_on_branch = name.is_some() && unpushed.branch.as_deref() == name;
    let ahead = if is_on_branch { unpushed.ahead } else { 0 };
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
    Some(format!("not built: {parts} in {folder}, not in {built}"))
}
