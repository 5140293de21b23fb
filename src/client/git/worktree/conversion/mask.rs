//! Hides `$Id` from libgit2's own `ident` filter.
//!
//! `$Id` and `$iD` both become `$iD`. The originals are kept in a thread-local: all filters of a file run on
//! one thread, one after another. Both have the same length, so line ending detection is not affected.

use std::cell::RefCell;

const UNMASKED: &[u8] = b"$Id";
const MASKED: &[u8] = b"$iD";

thread_local! {
    /// For each `$iD` in the masked content, whether it was `$Id`.
    static HIDDEN: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

/// Masks content, and remembers how to restore it.
pub(super) fn apply(content: &[u8]) -> Vec<u8> {
    let mut masked = content.to_vec();
    let mut hidden = Vec::new();
    for at in positions(content) {
        hidden.push(content[at..].starts_with(UNMASKED));
        masked[at..at + MASKED.len()].copy_from_slice(MASKED);
    }
    HIDDEN.set(hidden);
    masked
}

/// Undoes [`apply`] for the content of the same file.
pub(super) fn remove(masked: &[u8]) -> Vec<u8> {
    let mut content = masked.to_vec();
    for (at, was_masked) in positions(masked).zip(HIDDEN.take()) {
        if was_masked {
            content[at..at + UNMASKED.len()].copy_from_slice(UNMASKED);
        }
    }
    content
}

fn positions(content: &[u8]) -> impl Iterator<Item = usize> {
    let windows = content.windows(UNMASKED.len()).enumerate();
    windows.filter_map(|(at, part)| (part == UNMASKED || part == MASKED).then_some(at))
}
