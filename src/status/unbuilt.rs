//! What a working copy has and its remote has not: a build does not see it, and a person may wonder.

use super::Checkout;
use crate::source::ServiceSource;

/// Returns what of a working copy is not built when its service is; none where nothing is missed.
///
/// Commits count only on the branch that is built: who has checked out another one knows that. What is
/// untracked may be what a build left, and does not count.
pub fn unbuilt(dir: &str, source: &ServiceSource, checkout: &Checkout) -> Option<String> {
    let name = source.tip.short_name();
    let is_on_it = name.is_some() && checkout.branch.as_deref() == name;
    let ahead = match checkout.ahead_and_behind {
        Some((ahead, _)) if is_on_it => ahead,
        _ => 0,
    };
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let parts = [
        counted(ahead, "commit"),
        counted(checkout.modified, "modified file"),
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
    Some(format!("not built: {parts} in {dir}, which {built} lacks"))
}
