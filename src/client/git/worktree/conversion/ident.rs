//! The attribute `ident`: `$Id$` in a blob is `$Id: <id of the blob> $` in its file.

use git2::{ObjectType, Oid};

/// Expands each `$Id$`, except those expanded by another version control system.
pub(super) fn expand(blob: &[u8]) -> Vec<u8> {
    let Ok(id) = Oid::hash_object(ObjectType::Blob, blob) else {
        return blob.to_vec();
    };
    let expansion = format!("Id: {id} $");
    replace(blob, expansion.as_bytes(), |inner| {
        let has_foreign_space = inner
            .get(1..)
            .and_then(|inner| inner.iter().position(|byte| *byte == b' '))
            .is_some_and(|at| at + 2 < inner.len());
        !has_foreign_space
    })
}

/// Replaces each expanded `$Id: … $` by `$Id$`.
pub(super) fn collapse(file: &[u8]) -> Vec<u8> {
    replace(file, b"Id$", |_| true)
}

/// Replaces `Id$` and `Id:…$` after each dollar sign; `is_ours` gets what is between `:` and `$`.
fn replace(content: &[u8], by: &[u8], is_ours: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(content.len() + by.len());
    let mut rest = content;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        let (before, after) = rest.split_at(dollar + 1);
        replaced.extend_from_slice(before);
        rest = after;
        if let Some(after) = rest.strip_prefix(b"Id$") {
            replaced.extend_from_slice(by);
            rest = after;
        } else if let Some(after) = rest.strip_prefix(b"Id:") {
            let Some(end) = after.iter().position(|byte| *byte == b'$') else {
                break;
            };
            let inner = &after[..end];
            if !inner.contains(&b'\n') && is_ours(inner) {
                replaced.extend_from_slice(by);
                rest = &after[end + 1..];
            }
        }
    }
    replaced.extend_from_slice(rest);
    replaced
}
