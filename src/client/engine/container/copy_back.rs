//! Unpacks the files that are copied back from a container into a folder of this machine.
//!
//! The archive is not trusted: no entry is written outside the folder, regardless of its name and of links in the
//! archive or the folder.

mod closed;
mod compare;
mod counting;
mod rules;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use tar::{Entry, EntryType};

use crate::client::engine::container::source_upload::{INCOMING, SentFiles};
use compare::{FileComparison, RemoteFile, compare};
pub(super) use counting::CountingReader;

/// The number of zeros at the end of an archive; with fewer, it is truncated.
pub(super) const END_OF_ARCHIVE: usize = 1024;

/// The chunk size for comparing files.
const CHUNK: usize = 128 * 1024;

/// The destination of a copy back, and the files that were sent from it.
#[derive(Debug, Clone)]
pub struct CopyBackTarget {
    /// The folder that was sent.
    pub folder: PathBuf,
    /// The part of it to copy back; empty for all.
    pub part: PathBuf,
    /// The files that were sent from the folder.
    pub sent: SentFiles,
    /// Excluded paths in the folder, such as mount points.
    pub excluded: Vec<PathBuf>,
    /// Whether the user may work in the folder; then local changes since it was sent are kept.
    pub is_shared: bool,
}

/// The result of a copy back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyBackReport {
    /// The number of received bytes.
    pub bytes: u64,
    /// The number of files that were written.
    pub written: usize,
    /// The number of files that were removed.
    pub removed: usize,
    /// Files that were changed on both sides; the local ones were kept.
    pub kept: Vec<PathBuf>,
    /// Devices and other special files, which are not copied back.
    pub special_files: Vec<PathBuf>,
    /// Whether the part is a link in the container, so that nothing was copied.
    pub is_link: bool,
}

/// Unpacks the archive of a folder; all names begin with the folder's name. `None` means that the folder was removed in
/// the container.
///
/// Files that were removed in the container are removed here only after the whole archive was read.
///
/// # Errors
///
/// If the archive is truncated or invalid, or files cannot be written.
pub fn unpack(
    place: &CopyBackTarget,
    archive: Option<&mut dyn Read>,
) -> io::Result<CopyBackReport> {
    let mut unpacker = Unpacker {
        place,
        seen: BTreeSet::new(),
        modes: Vec::new(),
        checked_parent: None,
        report: CopyBackReport::default(),
    };
    if let Some(reader) = archive {
        let mut reader = CountingReader {
            inner: reader,
            bytes: 0,
            zeros: 0,
        };
        {
            let mut archive = tar::Archive::new(&mut reader);
            for entry in archive.entries()? {
                unpacker.unpack_entry(entry?)?;
                if unpacker.report.is_link {
                    return Ok(unpacker.report);
                }
            }
        }
        io::copy(&mut reader, &mut io::sink())?;
        if reader.zeros < END_OF_ARCHIVE {
            let message = "the archive from the engine is incomplete";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        unpacker.report.bytes = reader.bytes;
    }
    unpacker.remove_deleted()?;
    // Inner folders first, because a folder may become write-protected.
    for (path, mode) in unpacker.modes.iter().rev() {
        // A later entry may have replaced a parent by a link.
        if !unpacker.has_real_parents(path) {
            continue;
        }
        let full = place.folder.join(path);
        if let Some(found) = metadata_if_exists(&full)?.filter(Metadata::is_dir)
            && found.mode() & 0o7777 != *mode
        {
            fs::set_permissions(&full, Permissions::from_mode(*mode)).map_err(named(&full))?;
        }
    }
    Ok(unpacker.report)
}

struct Unpacker<'p> {
    place: &'p CopyBackTarget,
    seen: BTreeSet<PathBuf>,
    /// The modes of folders, which are set at the end.
    modes: Vec<(PathBuf, u32)>,
    /// The last parent that was checked to be a real folder.
    checked_parent: Option<PathBuf>,
    report: CopyBackReport,
}

impl Unpacker<'_> {
    fn unpack_entry(&mut self, mut entry: Entry<'_, impl Read>) -> io::Result<()> {
        let name = entry.path_bytes().into_owned();
        let path = self.relative_path(&name)?;
        let is_excluded = |path: &Path| self.place.excluded.iter().any(|it| path.starts_with(it));
        if is_excluded(&path) {
            return Ok(());
        }
        let kind = entry.header().entry_type();
        if path == self.place.part {
            return match kind {
                EntryType::Directory if path.as_os_str().is_empty() => Ok(()),
                EntryType::Directory => {
                    self.seen.insert(path.clone());
                    self.folder(&path, entry.header().mode()?)
                }
                EntryType::Symlink => {
                    self.report.is_link = true;
                    Ok(())
                }
                _ => Err(io::Error::other(format!(
                    "{} is no longer a folder",
                    self.place.folder.join(&path).display()
                ))),
            };
        }
        self.seen.insert(path.clone());
        let mode = entry.header().mode()? & 0o7777;
        match kind {
            EntryType::Directory => self.folder(&path, mode),
            EntryType::Regular | EntryType::Continuous => {
                let remote = RemoteFile {
                    size: entry.size(),
                    modified: entry.header().mtime()?,
                    mode,
                };
                self.file(&path, &mut entry, &remote)
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                self.link(&path, OsStr::from_bytes(&target))
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = self.relative_path(&target)?;
                if is_excluded(&target) {
                    return Ok(());
                }
                self.hard_link(&path, &target, mode)
            }
            _ => {
                self.report.special_files.push(path);
                Ok(())
            }
        }
    }

    /// Converts a name of the archive to a path relative to the folder that was sent.
    fn relative_path(&self, name: &[u8]) -> io::Result<PathBuf> {
        let outside = || {
            let name = String::from_utf8_lossy(name);
            io::Error::other(format!(
                "the engine sent the file `{name}`, which is outside the folder"
            ))
        };
        let name = Path::new(OsStr::from_bytes(name));
        let mut names = Vec::new();
        for component in name.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                _ => return Err(outside()),
            }
        }
        // The first component is the folder itself.
        let mut names = names.into_iter();
        names.next().ok_or_else(outside)?;
        Ok(names.fold(self.place.part.clone(), |path, name| path.join(name)))
    }

    fn folder(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let mode = mode & 0o7777;
        let full = self.place.folder.join(path);
        // A folder that exists only as a parent of a mount point is created only if a file is in it.
        let is_mount_parent = self.place.excluded.iter().any(|it| it.starts_with(path))
            && !self.place.sent.contains_key(path);
        if is_mount_parent && !(self.has_real_parents(path) && metadata_if_exists(&full)?.is_some())
        {
            return Ok(());
        }
        // Check this first, because a link in a parent could lead anywhere.
        if !self.make_parents(path)? {
            return Ok(());
        }
        let found = metadata_if_exists(&full)?;
        if let Some(found) = &found
            && found.is_dir()
        {
            if !self.place.is_shared || self.is_unchanged(path, Some(found)) {
                self.modes.push((path.to_owned(), mode));
            }
            return Ok(());
        }
        if !self.may_replace(path, found.as_ref(), None)? {
            return Ok(());
        }
        self.clear(&full, found.as_ref())?;
        self.change(&full, || fs::create_dir(&full))
            .map_err(named(&full))?;
        self.modes.push((path.to_owned(), mode));
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        content: &mut impl Read,
        remote: &RemoteFile,
    ) -> io::Result<()> {
        let full = self.place.folder.join(path);
        if !self.make_parents(path)? {
            return Ok(());
        }
        let found = metadata_if_exists(&full)?;
        let mut same = None;
        if let Some(found) = &found
            && found.is_file()
            && found.len() == remote.size
        {
            let compared = match File::open(&full) {
                Ok(file) => compare(file, content)?,
                // An unreadable file counts as different.
                Err(_) => FileComparison::default(),
            };
            if compared.is_all {
                return self.same_content(path, &full, found, remote);
            }
            same = Some(compared);
        }
        if !self.may_replace(path, found.as_ref(), Some(remote))? {
            return Ok(());
        }
        self.write(path, found.as_ref(), remote, |file| {
            if let Some(compared) = &same {
                io::copy(&mut File::open(&full)?.take(compared.equal), file)?;
                file.write_all(&compared.next)?;
            }
            io::copy(content, file)?;
            Ok(())
        })
    }

    /// Writes a temporary file and renames it, unless the existing file was changed in the meantime.
    fn write(
        &mut self,
        path: &Path,
        found: Option<&Metadata>,
        remote: &RemoteFile,
        content: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let full = &self.place.folder.join(path);
        let incoming = full.with_file_name(format!("{INCOMING}{}", std::process::id()));
        let written = || {
            let mut file = self.change(&incoming, || {
                _ = fs::remove_file(&incoming);
                File::options()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&incoming)
            })?;
            content(&mut file)?;
            if file.metadata()?.len() != remote.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.set_permissions(Permissions::from_mode(remote.mode))?;
            file.set_times(remote.times())?;
            drop(file);
            // Receiving the content may have taken minutes.
            if !self.is_unchanged_since_found(path, found)? {
                return Ok(false);
            }
            if let Some(found) = found.filter(|found| found.is_dir()) {
                self.clear(full, Some(found))?;
            }
            self.change(full, || fs::rename(&incoming, full))?;
            Ok(true)
        };
        let result = written().map_err(named(full));
        if !matches!(result, Ok(true)) {
            _ = self.change(&incoming, || fs::remove_file(&incoming));
        }
        // A checked folder may have been replaced.
        self.checked_parent = None;
        if result? {
            self.report.written += 1;
        } else {
            self.keep(path);
        }
        Ok(())
    }

    /// Records a local file that was kept.
    fn keep(&mut self, path: &Path) {
        if !self.report.kept.iter().any(|kept| kept == path) {
            self.report.kept.push(path.to_owned());
        }
    }

    fn change<T>(&self, full: &Path, action: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        closed::change(&self.place.folder, full, action)
    }

    /// Updates the mode and time of a file with equal content.
    fn same_content(
        &mut self,
        path: &Path,
        full: &Path,
        found: &Metadata,
        remote: &RemoteFile,
    ) -> io::Result<()> {
        if self.place.is_shared && !self.is_unchanged(path, Some(found)) {
            return Ok(());
        }
        if found.mode() & 0o7777 != remote.mode {
            fs::set_permissions(full, Permissions::from_mode(remote.mode)).map_err(named(full))?;
        }
        // The engine reports only whole seconds.
        if u64::try_from(found.mtime()).ok() != Some(remote.modified) {
            let file = File::options().read(true).open(full).map_err(named(full))?;
            file.set_times(remote.times()).map_err(named(full))?;
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &OsStr) -> io::Result<()> {
        let full = self.place.folder.join(path);
        if !self.make_parents(path)? {
            return Ok(());
        }
        let found = metadata_if_exists(&full)?;
        let is_same = found.as_ref().is_some_and(Metadata::is_symlink)
            && fs::read_link(&full).is_ok_and(|now| now.as_os_str() == target);
        if is_same || !self.may_replace(path, found.as_ref(), None)? {
            return Ok(());
        }
        self.clear(&full, found.as_ref())?;
        self.change(&full, || std::os::unix::fs::symlink(target, &full))
            .map_err(named(&full))?;
        // A checked folder may be a link now.
        self.checked_parent = None;
        self.report.written += 1;
        Ok(())
    }

    /// Unpacks a hard link to an earlier file, as a copy of it.
    fn hard_link(&mut self, path: &Path, target: &Path, mode: u32) -> io::Result<()> {
        let source = self.place.folder.join(target);
        if !self.make_parents(target)? || !self.make_parents(path)? {
            return Ok(());
        }
        let Some(metadata) = metadata_if_exists(&source)?.filter(Metadata::is_file) else {
            return Ok(());
        };
        let remote = RemoteFile {
            size: metadata.len(),
            modified: u64::try_from(metadata.mtime()).unwrap_or(0),
            mode,
        };
        let mut file = File::open(&source).map_err(named(&source))?;
        self.file(path, &mut file, &remote)
    }

    /// Removes an existing file that may be replaced.
    fn clear(&self, full: &Path, found: Option<&Metadata>) -> io::Result<()> {
        match found {
            None => Ok(()),
            Some(found) if found.is_dir() => self
                .change(full, || closed::remove_folder(full))
                .map_err(named(full)),
            Some(_) => self
                .change(full, || fs::remove_file(full))
                .map_err(named(full)),
        }
    }

    /// Creates the parent folders of a path, and makes sure that none of them is a link. Returns false if the user
    /// replaced one of them by something else, which is kept.
    fn make_parents(&mut self, path: &Path) -> io::Result<bool> {
        let Some(parent) = path.parent() else {
            return Ok(true);
        };
        if self.checked_parent.as_deref() == Some(parent) {
            return Ok(true);
        }
        let mut below = PathBuf::new();
        for name in parent.components() {
            below.push(name);
            let full = self.place.folder.join(&below);
            match metadata_if_exists(&full)? {
                Some(found) if found.is_dir() => {}
                Some(_) if self.place.is_shared => {
                    self.keep(&below);
                    return Ok(false);
                }
                Some(_) => {
                    let text = format!("{} is not a folder", full.display());
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
                }
                None => self
                    .change(&full, || fs::create_dir(&full))
                    .map_err(named(&full))?,
            }
        }
        self.checked_parent = Some(parent.to_owned());
        Ok(true)
    }
}

fn metadata_if_exists(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(path)(error)),
    }
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error + use<> {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

#[cfg(test)]
mod tests;
