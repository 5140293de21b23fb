//! Git LFS, which is not supported yet: a build must not take a pointer for the file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Index, ObjectType, Repository};

use super::GitError;
use super::error::GitErrorKind;
use crate::source::CommitId;

/// How each pointer begins, whatever its version.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// No pointer is longer, by the specification of Git LFS.
const LONGEST_POINTER: usize = 1024;

/// Returns the first file of an index that is a pointer, and by its attributes stands for a file of
/// Git LFS.
///
/// A file that looks like a pointer but has no `filter=lfs` is meant as it is; so is one with the
/// attribute that was committed without Git LFS.
pub(super) fn first_pointer(
    repository: &Repository,
    index: &Index,
) -> Result<Option<String>, git2::Error> {
    if !has_lfs_attributes(repository, index)? {
        return Ok(None);
    }
    for entry in index.iter() {
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let filter = repository.get_attr_bytes(path, "filter", AttrCheckFlags::INDEX_ONLY)?;
        if AttrValue::from_bytes(filter) == AttrValue::String("lfs")
            && is_pointer(repository, entry.id)?
        {
            return Ok(Some(path.display().to_string()));
        }
    }
    Ok(None)
}

/// Makes the error for a commit with such a file.
pub(super) fn not_supported(commit: CommitId, path: &str) -> GitError {
    GitError::new(
        GitErrorKind::Local,
        format!("{commit} has `{path}` in Git LFS, which is not supported yet"),
    )
    .with_hint("commit the file itself, or let a script of the service fetch it from elsewhere")
}

/// Most repositories have none, and their files need not be looked at one by one.
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

fn is_pointer(repository: &Repository, id: git2::Oid) -> Result<bool, git2::Error> {
    // A submodule's commit is not here.
    let Ok((size, ObjectType::Blob)) = repository.odb()?.read_header(id) else {
        return Ok(false);
    };
    let is_short = size <= LONGEST_POINTER;
    Ok(is_short && repository.find_blob(id)?.content().starts_with(POINTER))
}
