//! The pristine files of one commit, for a build.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{ErrorCode, Index, ObjectType, Repository};
use walkdir::WalkDir;

use super::error::GitErrorKind;
use super::progress::Watch;
use super::working_copy::oid;
use super::{GitError, WorkingCopy, lfs};
use crate::source::{CommitId, GitUrl};

/// What to export, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The commit.
    pub commit: CommitId,
    /// The branch it was found on, which `refs/heads` then has.
    pub branch: Option<&'a str>,
    /// The remote's URL, for builds that ask `git remote`; its secrets are left out.
    pub url: &'a GitUrl,
    /// The folder for the files. What is there is removed first.
    pub files: &'a Path,
    /// The folder for what a container sees as `.git`. What is there is removed first.
    pub git_dir: &'a Path,
}

/// What an export needs to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The folder to mount over `<git_dir>/objects`.
    pub objects: PathBuf,
    /// Folders that `objects` borrows from, to be mounted at the same paths as here.
    pub borrowed_objects: Vec<PathBuf>,
}

/// Makes a folder exactly equal to a commit, and a git directory beside it that goes with it.
///
/// The user's own git configuration plays no part: no line ends are changed but those that the
/// commit's `.gitattributes` ask for, no filter programs run, and modes are 755 and 644 whatever
/// the umask. The index in the git directory matches the files, so that `git describe --dirty`
/// calls them clean. The folder has an empty `.git` as a mount point.
///
/// # Errors
///
/// The commit is not in the object store, holds a path that no checkout may have (such as
/// `.git/hooks/x` or `../x`) or a file of Git LFS, or a file cannot be written or removed.
pub fn export(
    source: &WorkingCopy,
    export: &Export<'_>,
    watch: &Watch<'_>,
) -> Result<Exported, GitError> {
    remove_tree(export.files)?;
    remove_tree(export.git_dir)?;
    let cannot_write = |path: &Path| {
        let path = path.to_owned();
        move |cause| GitError::file(format!("cannot write {}", path.display()), cause)
    };
    fs::create_dir_all(export.files).map_err(cannot_write(export.files))?;
    write_git_dir(source, export)?;
    let mut folders = source.object_folders().into_iter();
    let objects = folders
        .next()
        .unwrap_or_else(|| source.repository.commondir().join("objects"));
    let borrowed_objects: Vec<PathBuf> = folders.collect();

    let failed = |cause: git2::Error| {
        let what = format!(
            "cannot export {} from {}",
            export.commit,
            source.dir.display()
        );
        match cause.code() {
            ErrorCode::NotFound if !source.has_commit(export.commit) => {
                GitError::local(what, cause).with_hint("`xp sync` fetches it")
            }
            ErrorCode::NotFound => GitError::local(what, cause).with_hint(
                "the working copy lacks objects, as a partial clone does: clone it anew",
            ),
            _ => GitError::local(what, cause),
        }
    };
    let repository = Repository::open(export.git_dir).map_err(failed)?;
    let mut index = read_index(&repository, export, &objects, &borrowed_objects).map_err(failed)?;
    if let Some(path) = lfs::first_pointer(&repository, &index).map_err(failed)? {
        return Err(lfs::not_supported(export.commit, &path));
    }
    check_out(&repository, &mut index, watch).map_err(failed)?;
    normalize_modes(&repository, export.files)?;
    let mount_point = export.files.join(".git");
    fs::create_dir(&mount_point).map_err(cannot_write(&mount_point))?;
    Ok(Exported {
        objects,
        borrowed_objects,
    })
}

/// Reads the commit into the index, before any file is written: attributes are then known for every
/// file, whatever the order of writing.
fn read_index(
    repository: &Repository,
    export: &Export<'_>,
    objects: &Path,
    borrowed: &[PathBuf],
) -> Result<Index, git2::Error> {
    let odb = repository.odb()?;
    for folder in std::iter::once(objects).chain(borrowed.iter().map(PathBuf::as_path)) {
        odb.add_disk_alternate(&folder.to_string_lossy())?;
    }
    repository.set_workdir(export.files, false)?;
    let mut index = repository.index()?;
    index.read_tree(&repository.find_commit(oid(export.commit)?)?.tree()?)?;
    Ok(index)
}

fn check_out(
    repository: &Repository,
    index: &mut Index,
    watch: &Watch<'_>,
) -> Result<(), git2::Error> {
    let mut options = CheckoutBuilder::new();
    options
        .force()
        .progress(|_, done, total| watch.checkout(done, total));
    repository.checkout_index(Some(index), Some(&mut options))?;
    index.write()
}

/// Writes `HEAD`, the references and a minimal configuration; `objects` stays empty.
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
    // Without it the history of a shallow clone would seem to be damaged.
    let shallow = source.repository.commondir().join("shallow");
    match fs::read_to_string(shallow) {
        Ok(text) => write("shallow", &text),
        Err(_) => Ok(()),
    }
}

fn config(url: &GitUrl) -> String {
    let url = super::clone::without_secrets(url)
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n\
         \tautocrlf = false\n\teol = lf\n\tignoreCase = false\n\tsymlinks = true\n\tattributesFile = /dev/null\n\
         [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n\
         [remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    )
}

/// Lists tags, the remote's branches, and the branch of the export itself.
///
/// The user's own branches are left out, as they are no part of the commit.
fn packed_refs(source: &WorkingCopy, export: &Export<'_>) -> Result<String, GitError> {
    let list = || -> Result<Vec<(String, String)>, git2::Error> {
        let mut lines = Vec::new();
        for pattern in ["refs/tags/*", "refs/remotes/*"] {
            for reference in source.repository.references_glob(pattern)? {
                let reference = reference?;
                let (Ok(name), Some(id)) = (reference.name(), reference.target()) else {
                    continue;
                };
                // A reference to a lost object would make git fail over what no build needs.
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

/// Gives files and folders the modes that git has for them, where the umask took something away or left too much.
fn normalize_modes(repository: &Repository, files: &Path) -> Result<(), GitError> {
    let failed = |path: &Path, cause: io::Error| {
        GitError::file(format!("cannot set the mode of {}", path.display()), cause)
    };
    let mut changed = Vec::new();
    for entry in WalkDir::new(files) {
        let entry = entry.map_err(|cause| failed(files, cause.into()))?;
        if entry.file_type().is_symlink() {
            continue;
        }
        let mode = entry
            .metadata()
            .map_err(|cause| failed(entry.path(), cause.into()))?
            .permissions()
            .mode();
        let wanted = if entry.file_type().is_dir() || mode & 0o100 != 0 {
            0o755
        } else {
            0o644
        };
        if mode & 0o7777 != wanted {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(wanted))
                .map_err(|cause| failed(entry.path(), cause))?;
            if entry.file_type().is_file() {
                changed.push(entry.into_path());
            }
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    // The change of mode changed the times that the index remembers the files by.
    let refresh = || -> Result<(), git2::Error> {
        let mut index = repository.index()?;
        for path in &changed {
            index.add_path(path.strip_prefix(files).unwrap_or(path))?;
        }
        index.write()
    };
    refresh().map_err(|cause| {
        GitError::local(
            format!("cannot write the index of {}", files.display()),
            cause,
        )
    })
}

/// Removes a file, a symlink (not what it points at) or a folder with all that is in it; nothing
/// there is no error.
///
/// Folders that a build made read-only, such as Go's module cache, are made writable first.
///
/// # Errors
///
/// Something belongs to another user, or is in use.
pub fn remove_tree(path: &Path) -> Result<(), GitError> {
    let remove = || -> io::Result<()> {
        let metadata = match fs::symlink_metadata(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata?,
        };
        if !metadata.is_dir() {
            return fs::remove_file(path);
        }
        match fs::remove_dir_all(path) {
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                // The walk opens a folder after it was named, so that the mode is set in time.
                for entry in WalkDir::new(path).follow_links(false) {
                    let Ok(entry) = entry else { continue };
                    if entry.file_type().is_dir() {
                        let _ =
                            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
                    }
                }
                fs::remove_dir_all(path)
            }
            done => done,
        }
    };
    remove().map_err(|cause| {
        let error = GitError::new(
            GitErrorKind::Local,
            format!("cannot remove {}", path.display()),
        );
        let error = match cause.kind() {
            io::ErrorKind::PermissionDenied => error.with_hint(
                "files in it may belong to another user, such as root; remove it as that user",
            ),
            _ => error,
        };
        error.because(cause)
    })
}
