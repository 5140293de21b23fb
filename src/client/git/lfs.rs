//! Git LFS: replaces pointers with their files, which the `git-lfs` program fetches.
//!
//! A build must never get a pointer instead of the file: every pointer with the attribute `filter=lfs` is
//! replaced, and the file is verified against the digest in the pointer.

mod environment;
mod error;
mod filter;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Index, ObjectType, Repository};

use crate::model::source::PathSelection;

pub(super) use filter::{LfsFiles, fetch};

/// The start of every pointer, regardless of its version.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The maximum size of a pointer in the Git LFS specification.
const MAX_POINTER_SIZE: usize = 1024;

/// A pointer to a Git LFS file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    /// The file's path in the repository.
    pub(super) path: std::ffi::OsString,
    /// The content of the pointer.
    pub(super) text: Vec<u8>,
    /// The SHA-256 and the size of the file; `None` if a Git LFS extension transforms the file, so that it
    /// cannot be verified.
    pub(super) expected: Option<(String, u64)>,
}

/// Returns the pointers among the wanted files of an index.
///
/// A file that looks like a pointer but has no `filter=lfs` is an ordinary file; so is one with the attribute
/// that is not a pointer.
pub(super) fn pointers(
    repository: &Repository,
    index: &Index,
    wanted: &PathSelection,
) -> Result<Vec<Pointer>, git2::Error> {
    let mut found = Vec::new();
    if !has_lfs_attributes(repository, index)? {
        return Ok(found);
    }
    for entry in index.iter().filter(|entry| wanted.includes(&entry.path)) {
        let Some(text) = pointer_text(repository, entry.id)? else {
            continue;
        };
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let filter = repository.get_attr_bytes(path, "filter", AttrCheckFlags::INDEX_ONLY)?;
        if AttrValue::from_bytes(filter) == AttrValue::String("lfs") && !is_link(entry.mode) {
            found.push(Pointer {
                path: path.into(),
                expected: expected(&text),
                text,
            });
        }
    }
    Ok(found)
}

/// Returns whether any `.gitattributes` mentions LFS; if not, the files need not be checked one by one.
fn has_lfs_attributes(repository: &Repository, index: &Index) -> Result<bool, git2::Error> {
    for entry in index.iter() {
        let name = entry.path.rsplit(|byte| *byte == b'/').next();
        if name == Some(b".gitattributes") && !is_link(entry.mode) {
            let attributes = repository.find_blob(entry.id)?;
            if attributes.content().windows(3).any(|part| part == b"lfs") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn is_link(mode: u32) -> bool {
    mode & 0o170_000 == 0o120_000
}

fn pointer_text(repository: &Repository, id: git2::Oid) -> Result<Option<Vec<u8>>, git2::Error> {
    // The commit of a submodule is in another repository.
    let Ok((size, ObjectType::Blob)) = repository.odb()?.read_header(id) else {
        return Ok(None);
    };
    if size > MAX_POINTER_SIZE {
        return Ok(None);
    }
    let blob = repository.find_blob(id)?;
    Ok(is_pointer(blob.content()).then(|| blob.content().to_vec()))
}

/// Returns whether a file starts like a pointer.
fn is_pointer(content: &[u8]) -> bool {
    content.starts_with(POINTER)
}

/// Returns the digest and the size in a pointer.
fn expected(pointer: &[u8]) -> Option<(String, u64)> {
    let text = std::str::from_utf8(pointer).ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    if text.lines().any(|line| line.starts_with("ext-")) {
        return None;
    }
    let digest = value("oid sha256:")?;
    Some((digest.to_owned(), value("size ")?.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_parsed() {
        let digest = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let pointer = |more: &str| {
            format!(
                "version https://git-lfs.github.com/spec/v1\n{more}oid sha256:{digest}\nsize 12345\n"
            )
        };
        assert_eq!(
            expected(pointer("").as_bytes()),
            Some((digest.to_owned(), 12345))
        );
        assert_eq!(expected(pointer("ext-0-foo sha256:12\n").as_bytes()), None);
        assert!(is_pointer(pointer("").as_bytes()) && !is_pointer(b"version 1"));
    }
}
