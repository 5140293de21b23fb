//! Exports the files of a commit for a build.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use git2::{ErrorCode, ObjectType};

use super::checkout::{CheckoutError, CheckoutRequest, check_out};
use super::submodules::{Submodules, check_out_all};
use crate::base::tree;
use crate::client::git::error::GitErrorKind;
use crate::client::git::progress::OperationContext;
use crate::client::git::{GitClient, GitError, WorkingCopy};
use crate::model::source::{CommitId, GitUrl, PathSelection};

/// Inputs of an export.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The commit.
    pub commit: CommitId,
    /// The files to write.
    pub selection: &'a PathSelection,
    /// The folder in which objects of submodules are cached; `None` if submodules are not checked out.
    pub submodules: Option<&'a Path>,
    /// The folder in which Git LFS files are cached.
    pub lfs: &'a Path,
    /// The branch of the commit, which is written to `refs/heads`.
    pub branch: Option<&'a str>,
    /// The remote's URL, for builds that run `git remote`; written without secrets.
    pub url: &'a GitUrl,
    /// The folder for the files; existing content is removed first.
    pub files: &'a Path,
    /// The folder that is mounted as `.git`; existing content is removed first.
    pub git_dir: &'a Path,
    /// The modification time of all files; `None` for the current time.
    pub modified: Option<SystemTime>,
}

/// The object folders that an export needs to be mounted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The folder to mount over `<git_dir>/objects`.
    pub objects: PathBuf,
    /// Alternates of `objects`, to be mounted at the same paths as on the host.
    pub borrowed_objects: Vec<PathBuf>,
}

/// Writes the exact files of a commit to a folder, and a matching git directory next to it.
///
/// The user's git configuration has no effect: line endings are converted only as `.gitattributes` in the
/// commit requests, no filter programs run except Git LFS, and modes are 755 and 644 regardless of the
/// umask. The index in the git directory matches the files, so that `git describe --dirty` reports a clean
/// tree even if some files are not exported.
///
/// # Errors
///
/// The commit is not in the object store or contains a forbidden path (such as `.git/hooks/x` or `../x`), a
/// submodule or a Git LFS file cannot be fetched, or a file cannot be written or removed.
pub fn export(
    client: &GitClient,
    source: &WorkingCopy,
    export: &Export<'_>,
    watch: &OperationContext<'_>,
) -> Result<Exported, GitError> {
    remove_tree(export.files)?;
    remove_tree(export.git_dir)?;
    let cannot_write = |path: &Path| {
        let path = path.to_owned();
        move |cause| GitError::file(format!("cannot write {}", path.display()), cause)
    };
    fs::create_dir_all(export.files).map_err(cannot_write(export.files))?;
    write_git_dir(source, export)?;
    let folders = source.object_folders();
    let checkout = CheckoutRequest {
        commit: export.commit,
        selection: export.selection,
        files: export.files,
        git_dir: export.git_dir,
        objects: &folders,
        url: export.url,
        lfs: export.lfs,
        modified: export.modified,
    };
    let checked_out = check_out(client, &checkout, watch).map_err(|error| match error {
        CheckoutError::Git(cause) => failed(source, export, cause),
        CheckoutError::Other(error) => error,
    })?;
    if let Some(store) = export.submodules {
        let submodules = Submodules {
            files: export.files,
            url: export.url,
            scratch: &export.git_dir.join("xp-submodules"),
            store,
            lfs: export.lfs,
            modified: export.modified,
        };
        check_out_all(client, &submodules, &checked_out, watch)?;
    }
    let mut folders = folders.into_iter();
    let objects = folders
        .next()
        .unwrap_or_else(|| source.repository.commondir().join("objects"));
    Ok(Exported {
        objects,
        borrowed_objects: folders.collect(),
    })
}

fn failed(source: &WorkingCopy, export: &Export<'_>, cause: git2::Error) -> GitError {
    let what = format!(
        "cannot export {} from {}",
        export.commit,
        source.dir.display()
    );
    match cause.code() {
        ErrorCode::NotFound if !source.has_commit(export.commit) => {
            GitError::local(what, cause).with_hint("run `xp sync` to fetch it")
        }
        ErrorCode::NotFound => source.missing_object(what, cause),
        _ => GitError::local(what, cause),
    }
}

/// Writes `HEAD`, the references and a minimal configuration; `objects` remains empty.
fn write_git_dir(source: &WorkingCopy, export: &Export<'_>) -> Result<(), GitError> {
    let write = |name: &str, text: &str| {
        let path = export.git_dir.join(name);
        fs::write(&path, text)
            .map_err(|cause| GitError::file(format!("cannot write {}", path.display()), cause))
    };
    for folder in ["objects", "refs/heads", "refs/tags", "info"] {
        let path = export.git_dir.join(folder);
        fs::create_dir_all(&path)
            .map_err(|cause| GitError::file(format!("cannot write {}", path.display()), cause))?;
    }
    write("HEAD", &format!("{}\n", export.commit))?;
    write("packed-refs", &packed_refs(source, export)?)?;
    write("config", &config(export.url))?;
    // Without this file, the history of a shallow clone would look corrupt.
    let shallow = source.repository.commondir().join("shallow");
    match fs::read_to_string(shallow) {
        Ok(text) => write("shallow", &text),
        Err(_) => Ok(()),
    }
}

/// A configuration that makes git leave files unchanged, regardless of the user's configuration.
pub const NEUTRAL_CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n\
    \tautocrlf = false\n\teol = lf\n\tignoreCase = false\n\tsymlinks = true\n\tattributesFile = /dev/null\n\
    [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

fn config(url: &GitUrl) -> String {
    let url = url
        .without_secrets()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    format!(
        "{NEUTRAL_CONFIG}[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    )
}

/// Lists tags, the remote's branches, and the branch of the export, but not the user's local branches.
fn packed_refs(source: &WorkingCopy, export: &Export<'_>) -> Result<String, GitError> {
    let list = || -> Result<Vec<(String, String)>, git2::Error> {
        let mut lines = Vec::new();
        for pattern in ["refs/tags/*", "refs/remotes/*"] {
            for reference in source.repository.references_glob(pattern)? {
                let reference = reference?;
                let (Ok(name), Some(id)) = (reference.name(), reference.target()) else {
                    continue;
                };
                // Skip references to missing objects: git would fail on them, and builds do not need them.
                let Ok(object) = source.repository.find_object(id, None) else {
                    continue;
                };
                let mut line = format!("{id} {name}\n");
                if object.kind() == Some(ObjectType::Tag) {
                    let Ok(peeled) = object.peel(ObjectType::Any) else {
                        continue;
                    };
                    line.push_str(&format!("^{}\n", peeled.id()));
                }
                lines.push((name.to_owned(), line));
            }
        }
        Ok(lines)
    };
    let mut lines = list().map_err(|cause| source.failed("read the references", cause))?;
    if let Some(branch) = export.branch {
        let name = format!("refs/heads/{branch}");
        let line = format!("{} {name}\n", export.commit);
        lines.push((name, line));
    }
    lines.sort();
    let mut text = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    text.extend(lines.into_iter().map(|(_, line)| line));
    Ok(text)
}

/// Removes a file, a symlink (not its target) or a folder with its content; succeeds if the path does not
/// exist.
///
/// Read-only folders, such as Go's module cache, are made writable first.
///
/// # Errors
///
/// A file belongs to another user, or is in use.
pub fn remove_tree(path: &Path) -> Result<(), GitError> {
    tree::remove(path).map_err(|cause| {
        let error = GitError::new(
            GitErrorKind::Local,
            format!("cannot remove {}", path.display()),
        );
        let error = match cause.kind() {
            io::ErrorKind::PermissionDenied => error.with_hint(
                "some files in it may belong to another user, such as root; remove it as that user",
            ),
            _ => error,
        };
        error.because(cause)
    })
}
