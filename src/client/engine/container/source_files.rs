//! Unpacks the source that a plugin fetched into an empty folder of this machine.
//!
//! The plugin is not trusted: no entry is written outside the folder, and everything that git would not have in a
//! commit is an error.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt as _;
use tar::{Entry, EntryType};
use thiserror::Error;

use super::copy_back::{CountingReader, END_OF_ARCHIVE};
use super::held::HeldContainer;
use super::pipe;
use crate::client::engine::EngineError;

/// The number of symbolic links that a path may lead through, as in Linux.
const MAX_LINKS: usize = 40;

/// Files of a plugin that cannot be used.
#[derive(Debug, Error)]
pub enum SourceFilesError {
    #[error("`{}` is outside of the folder", shown(.0))]
    Outside(PathBuf),
    #[error("`{}` is inside a `.git` folder, where a file could become a command", shown(.0))]
    Git(PathBuf),
    #[error(
        "the symbolic link `{}` leads outside, to `{}`",
        shown(path),
        shown(target)
    )]
    Link { path: PathBuf, target: PathBuf },
    #[error("`{}` is {kind}", shown(path))]
    Special { path: PathBuf, kind: &'static str },
    #[error("there are no files")]
    Empty,
    /// The archive from the engine ended early.
    #[error("the archive from the engine is incomplete")]
    Incomplete,
    /// The engine rejected the request.
    #[error(transparent)]
    Engine(Box<EngineError>),
    /// The archive cannot be read, or a file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SourceFilesError {
    /// Returns whether the plugin is at fault, not the engine or this machine.
    pub fn is_of_plugin(&self) -> bool {
        !matches!(self, Self::Incomplete | Self::Engine(_) | Self::Io(_))
    }
}

/// The name of a file may contain escape sequences.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

impl HeldContainer {
    /// Copies the files in a folder of the container into an empty folder, and returns their number. The container must
    /// remain.
    ///
    /// # Errors
    ///
    /// If there is anything that cannot be in a commit, such as a device or a link that leads outside; if there is no
    /// file; or if the engine rejects the request.
    pub async fn copy_source(&self, path: &str, folder: PathBuf) -> Result<u64, SourceFilesError> {
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        let engine = self.engine().without_timeout();
        let archive = engine.download_from_container(self.id(), Some(options));
        let mut archive = Box::pin(archive);
        let failed = |error| {
            let error = EngineError::new("send the files of a plugin", error);
            SourceFilesError::Engine(Box::new(error))
        };
        let Some(first) = archive.next().await else {
            return Err(SourceFilesError::Incomplete);
        };
        let first = first.map_err(failed)?;
        let chunks = futures_util::stream::iter([Ok(first)]).chain(archive);
        let chunks = chunks.map(|chunk| {
            chunk.map_err(|error: bollard::errors::Error| {
                io::Error::other(crate::base::error::innermost(&error).to_string())
            })
        });
        pipe::read(chunks, move |reader| unpack(&folder, reader)).await
    }
}

/// Unpacks the archive of a folder, whose names begin with that of the folder, into an empty folder. Returns the number
/// of files.
///
/// Modes are 755 and 644, and links are created last, so that nothing is written through one.
fn unpack(folder: &Path, reader: &mut dyn Read) -> Result<u64, SourceFilesError> {
    let mut reader = CountingReader {
        inner: reader,
        bytes: 0,
        zeros: 0,
    };
    let mut links = BTreeMap::new();
    let mut files = 0;
    {
        let mut archive = tar::Archive::new(&mut reader);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = relative_path(&entry.path_bytes())?;
            if path.as_os_str().is_empty() {
                continue;
            }
            match entry.header().entry_type() {
                EntryType::Directory => fs::create_dir_all(folder.join(&path))?,
                EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                    links.insert(path, PathBuf::from(OsString::from_vec(target)));
                    files += 1;
                }
                EntryType::Regular | EntryType::Continuous => {
                    write(folder, &path, &mut entry)?;
                    files += 1;
                }
                EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                    copy(folder, &path, &relative_path(&target)?, &mut links)?;
                    files += 1;
                }
                other => {
                    let kind = kind(other);
                    return Err(SourceFilesError::Special { path, kind });
                }
            }
        }
    }
    io::copy(&mut reader, &mut io::sink())?;
    if reader.zeros < END_OF_ARCHIVE {
        return Err(SourceFilesError::Incomplete);
    }
    for (path, target) in &links {
        if !stays_inside(path, &links) {
            return Err(SourceFilesError::Link {
                path: path.clone(),
                target: target.clone(),
            });
        }
    }
    for (path, target) in &links {
        make_parents(folder, path)?;
        std::os::unix::fs::symlink(target, folder.join(path))?;
    }
    if files == 0 {
        return Err(SourceFilesError::Empty);
    }
    Ok(files)
}

fn kind(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        _ => "a special file",
    }
}

/// Converts a name in the archive to a path relative to the folder.
fn relative_path(name: &[u8]) -> Result<PathBuf, SourceFilesError> {
    let name = Path::new(std::ffi::OsStr::from_bytes(name));
    let mut names = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(SourceFilesError::Outside(name.to_owned())),
        }
    }
    // The first component is the folder itself.
    let path: PathBuf = names.iter().skip(1).collect();
    if names.is_empty() {
        return Err(SourceFilesError::Outside(name.to_owned()));
    }
    let is_git = |name: Component<'_>| name.as_os_str().eq_ignore_ascii_case(".git");
    if path.components().any(is_git) {
        return Err(SourceFilesError::Git(path));
    }
    Ok(path)
}

fn make_parents(folder: &Path, path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(folder.join(parent)),
        None => Ok(()),
    }
}

fn write(folder: &Path, path: &Path, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
    make_parents(folder, path)?;
    let executable = entry.header().mode()? & 0o111 != 0;
    let mut file = create(&folder.join(path), executable)?;
    io::copy(entry, &mut file)?;
    Ok(())
}

fn create(path: &Path, executable: bool) -> io::Result<File> {
    let mode = if executable { 0o755 } else { 0o644 };
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(named)?;
    // Regardless of the umask.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(file)
}

/// Unpacks a hard link to an earlier entry, as a copy of it.
fn copy(
    folder: &Path,
    path: &Path,
    target: &Path,
    links: &mut BTreeMap<PathBuf, PathBuf>,
) -> io::Result<()> {
    if let Some(target) = links.get(target).cloned() {
        links.insert(path.to_owned(), target);
        return Ok(());
    }
    make_parents(folder, path)?;
    let mut source = File::open(folder.join(target))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&source.metadata()?.permissions());
    let mut file = create(&folder.join(path), mode & 0o111 != 0)?;
    io::copy(&mut source, &mut file)?;
    Ok(())
}

/// Returns whether a link, and every link that it leads through, stays in the folder.
fn stays_inside(path: &Path, links: &BTreeMap<PathBuf, PathBuf>) -> bool {
    let mut remaining: Vec<PathBuf> = path.components().rev().map(part).collect();
    let (mut current, mut followed) = (PathBuf::new(), 0);
    while let Some(name) = remaining.pop() {
        match name.components().next() {
            None | Some(Component::CurDir) => continue,
            Some(Component::ParentDir) => {
                if !current.pop() {
                    return false;
                }
                continue;
            }
            Some(Component::Normal(_)) => {}
            Some(Component::RootDir | Component::Prefix(_)) => return false,
        }
        current.push(&name);
        let Some(target) = links.get(&current) else {
            continue;
        };
        followed += 1;
        if followed > MAX_LINKS {
            // The system does not follow more than that either.
            return true;
        }
        current.pop();
        remaining.extend(target.components().rev().map(part));
    }
    true
}

fn part(component: Component<'_>) -> PathBuf {
    PathBuf::from(component.as_os_str())
}

#[cfg(test)]
mod tests;
