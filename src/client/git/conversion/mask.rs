//! Hides `$Id` from libgit2's own `ident` filter.
//!
//! `$Id` and `$iD` both become `$iD`; which was which is kept for the thread, as all filters of a file
//! run one after another on it. Both are as long and as printable, so line ends are converted the same.

use std::cell::RefCell;

const FOUND: &[u8] = b"$Id";
const MASKED: &[u8] = b"$iD";

thread_local! {
    /// For each `$iD` of the masked content, whether it was `$Id`.
    static HIDDEN: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

/// Masks content, and remembers how to undo it.
pub(super) fn apply(content: &[u8]) -> Vec<u8> {
    let mut masked = content.to_vec();
    let mut hidden = Vec::new();
    for at in positions(content) {
        hidden.push(content[at..].starts_with(FOUND));
        masked[at..at + MASKED.len()].copy_from_slice(MASKED);
    }
    HIDDEN.set(hidden);
    masked
}

/// Undoes what [`apply`] did to the content of the same file.
pub(super) fn remove(masked: &[u8]) -> Vec<u8> {
    let mut content = masked.to_vec();
    for (at, was_found) in positions(masked).zip(HIDDEN.take()) {
        if was_found {
            content[at..at + FOUND.len()].copy_from_slice(FOUND);
        }
    }
    content
}

fn positions(content: &[u8]) -> impl Iterator<Item = usize> {
    let windows = content.windows(FOUND.len()).enumerate();
    windows.filter_map(|(at, part)| (part == FOUND || part == MASKED).then_some(at))
}
