//! Reads files as of a revision.

use std::path::{Path, PathBuf};

use git2::{ErrorClass, ErrorCode, ObjectType, Repository};
use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::client::git::GitError;

/// A file as of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAt {
    /// `revision:path`, in git's syntax.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Why a file of a revision cannot be read.
#[derive(Debug, Error)]
pub enum RevisionError {
    /// The folder is not in a repository.
    #[error("{} is not in a git repository", .0.display())]
    NoRepository(PathBuf),
    /// The revision does not exist.
    #[error("revision `{revision}` not found in {}", repository.display())]
    NoRevision {
        /// The requested revision.
        revision: String,
        /// The repository's folder.
        repository: PathBuf,
        /// Its branches and tags.
        names: Vec<String>,
    },
    /// The file does not exist in the revision.
    #[error("{path} does not exist in `{revision}`")]
    NoFile {
        /// The revision.
        revision: String,
        /// The file, relative to the repository.
        path: String,
    },
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Diagnostic for RevisionError {
    fn exit(&self) -> Exit {
        match self {
            Self::Git(error) => error.exit(),
            _ => Exit::Usage,
        }
    }
}

/// Reads a file as of a revision of its repository. The file need not exist in the working copy.
///
/// The revision may include the path of another file, in git's syntax: `revision:path`.
///
/// # Errors
///
/// The repository, the revision, or the file in the revision does not exist.
pub fn file_at(file: &Path, revision: &str) -> Result<FileAt, RevisionError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let failed = |what: &str, cause| {
        let what = format!("cannot {what} in {}", folder.display());
        RevisionError::from(GitError::local(what, cause))
    };
    let repository = Repository::discover(&folder).map_err(|cause| match cause.code() {
        ErrorCode::NotFound => RevisionError::NoRepository(folder.clone()),
        ErrorCode::Owner => repository_error(&folder, cause).into(),
        _ => failed("open the git repository", cause),
    })?;
    let top = repository.workdir().and_then(|top| top.canonicalize().ok());
    let relative = top.as_deref().and_then(|top| folder.strip_prefix(top).ok());
    let (Some(top), Some(relative)) = (&top, relative) else {
        return Err(RevisionError::NoRepository(folder));
    };
    let path = relative.join(file.file_name().unwrap_or_default());
    let no_revision = || RevisionError::NoRevision {
        revision: revision.to_owned(),
        repository: top.clone(),
        names: names(&repository),
    };
    let not_found = |cause: git2::Error| match (cause.code(), cause.class()) {
        (
            ErrorCode::NotFound
            | ErrorCode::InvalidSpec
            | ErrorCode::Ambiguous
            | ErrorCode::Peel
            | ErrorCode::UnbornBranch,
            _,
        )
        // libgit2 has no specific error code for an invalid spelling.
        | (_, ErrorClass::Invalid | ErrorClass::Regex) => match revision.split_once(':') {
            Some((commit, path)) if is_commit(&repository, commit) => RevisionError::NoFile {
                revision: commit.to_owned(),
                path: path.to_owned(),
            },
            _ => no_revision(),
        },
        _ => failed("read a revision", cause),
    };
    let object = repository.revparse_single(revision).map_err(not_found)?;
    if let Some(blob) = object.as_blob() {
        return Ok(FileAt {
            name: revision.to_owned(),
            content: blob.content().to_owned(),
        });
    }
    let commit = object.peel_to_commit().map_err(not_found)?;
    let no_file = || RevisionError::NoFile {
        revision: revision.to_owned(),
        path: path.display().to_string(),
    };
    let tree = commit
        .tree()
        .map_err(|cause| failed("read a revision", cause))?;
    let entry = tree.get_path(&path).map_err(|_| no_file())?;
    if entry.kind() != Some(ObjectType::Blob) {
        return Err(no_file());
    }
    let blob = repository
        .find_blob(entry.id())
        .map_err(|cause| failed("read a file of a revision", cause))?;
    Ok(FileAt {
        name: format!("{revision}:{}", path.display()),
        content: blob.content().to_owned(),
    })
}

/// Returns the short names of branches and tags.
fn names(repository: &Repository) -> Vec<String> {
    let references = repository.references().into_iter().flatten().flatten();
    references
        .filter_map(|reference| reference.shorthand().ok().map(str::to_owned))
        .collect()
}

fn is_commit(repository: &Repository, revision: &str) -> bool {
    let object = repository.revparse_single(revision);
    object.is_ok_and(|object| object.peel_to_commit().is_ok())
}
/// Returns the error for a repository that cannot be opened.
pub(super) fn repository_error(folder: &Path, cause: git2::Error) -> GitError {
    let is_foreign = cause.code() == ErrorCode::Owner;
    let what = format!("cannot open the git repository of {}", folder.display());
    let error = GitError::local(what, cause);
    if is_foreign {
        error.with_hint("it belongs to another user; to trust it, run `git config --global --add safe.directory <folder>`")
    } else {
        error
    }
}
