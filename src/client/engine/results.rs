//! What comes back from a container, unpacked into a folder of this machine.
//!
//! Nothing of an archive is trusted: no entry is written outside of the folder, whatever its name, and
//! whatever links the archive has or the folder had.

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

use super::parcel::{INCOMING, Sent};
use compare::{Compared, There, compare};
use counting::Counting;

/// The end of an archive: without it, something is missing.
const END_OF_ARCHIVE: usize = 1024;

/// How much of a file is compared or copied at once.
const CHUNK: usize = 128 * 1024;

/// Where results go, and what is known of that place.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder that was sent.
    pub folder: PathBuf,
    /// The part of it that comes back; empty for all.
    pub part: PathBuf,
    /// What was sent of the folder.
    pub sent: Sent,
    /// Paths in the folder that are no part of it, such as what is mounted there.
    pub left_out: Vec<PathBuf>,
    /// Whether somebody else may work in the folder, whose changes since it was sent stay.
    pub is_shared: bool,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returned {
    /// The bytes that were received.
    pub bytes: u64,
    /// How many files were written.
    pub written: usize,
    /// How many were removed.
    pub removed: usize,
    /// Files that changed here and there: those here stayed.
    pub kept: Vec<PathBuf>,
    /// Devices and the like, which are not brought back.
    pub odd: Vec<PathBuf>,
    /// Whether the part is a link there, so that nothing of it came.
    pub is_link: bool,
}

/// Unpacks what the engine sent of a folder: an archive whose names begin with the folder's own. None
/// stands for a folder that is gone there.
///
/// # Errors
///
/// An archive that is not complete or not sound, and files that cannot be written. What was removed there
/// is removed here only after all of the archive was read.
pub(super) fn unpack(place: &Place, archive: Option<&mut dyn Read>) -> io::Result<Returned> {
    let mut work = Work {
        place,
        seen: BTreeSet::new(),
        modes: Vec::new(),
        sound: None,
        returned: Returned::default(),
    };
    if let Some(reader) = archive {
        let mut reader = Counting {
            inner: reader,
            bytes: 0,
            zeros: 0,
        };
        {
            let mut archive = tar::Archive::new(&mut reader);
            for entry in archive.entries()? {
                work.entry(entry?)?;
                if work.returned.is_link {
                    return Ok(work.returned);
                }
            }
        }
        io::copy(&mut reader, &mut io::sink())?;
        if reader.zeros < END_OF_ARCHIVE {
            let missing = "what the engine sent is not complete";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, missing));
        }
        work.returned.bytes = reader.bytes;
    }
    work.remove_vanished()?;
    // The inner ones first: a folder that may not be written comes to be so at last.
    for (path, mode) in work.modes.iter().rev() {
        // What came later may have put a link in place of a folder above it.
        if !work.is_sound(path) {
            continue;
        }
        let full = place.folder.join(path);
        if let Some(found) = look(&full)?.filter(Metadata::is_dir)
            && found.mode() & 0o7777 != *mode
        {
            fs::set_permissions(&full, Permissions::from_mode(*mode)).map_err(named(&full))?;
        }
    }
    Ok(work.returned)
}

struct Work<'p> {
    place: &'p Place,
    seen: BTreeSet<PathBuf>,
    /// The modes of folders, by their paths in the place, which are set at the end.
    modes: Vec<(PathBuf, u32)>,
    /// The folder whose parents are known to be folders.
    sound: Option<PathBuf>,
    returned: Returned,
}

impl Work<'_> {
    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> io::Result<()> {
        let name = entry.path_bytes().into_owned();
        let path = self.inside(&name)?;
        let is_left_out = |path: &Path| self.place.left_out.iter().any(|it| path.starts_with(it));
        if is_left_out(&path) {
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
                    self.returned.is_link = true;
                    Ok(())
                }
                _ => Err(io::Error::other(format!(
                    "{} is no folder any more",
                    self.place.folder.join(&path).display()
                ))),
            };
        }
        self.seen.insert(path.clone());
        let mode = entry.header().mode()? & 0o7777;
        match kind {
            EntryType::Directory => self.folder(&path, mode),
            EntryType::Regular | EntryType::Continuous => {
                let there = There {
                    size: entry.size(),
                    modified: entry.header().mtime()?,
                    mode,
                };
                self.file(&path, &mut entry, &there)
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                self.link(&path, OsStr::from_bytes(&target))
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = self.inside(&target)?;
                if is_left_out(&target) {
                    return Ok(());
                }
                self.same_file(&path, &target, mode)
            }
            _ => {
                self.returned.odd.push(path);
                Ok(())
            }
        }
    }

    /// Returns a name of the archive relative to the folder that was sent.
    fn inside(&self, name: &[u8]) -> io::Result<PathBuf> {
        let refused = || {
            let name = String::from_utf8_lossy(name);
            io::Error::other(format!(
                "the engine sent a file `{name}`, which is outside of the folder"
            ))
        };
        let name = Path::new(OsStr::from_bytes(name));
        let mut names = Vec::new();
        for component in name.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                _ => return Err(refused()),
            }
        }
        // The first one is the folder's own.
        let mut names = names.into_iter();
        names.next().ok_or_else(refused)?;
        Ok(names.fold(self.place.part.clone(), |path, name| path.join(name)))
    }

    fn folder(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let mode = mode & 0o7777;
        let full = self.place.folder.join(path);
        // A folder that is there only for something to be mounted in is made where a file is in it.
        let is_way = self.place.left_out.iter().any(|it| it.starts_with(path))
            && !self.place.sent.contains_key(path);
        if is_way && !(self.is_sound(path) && look(&full)?.is_some()) {
            return Ok(());
        }
        // Before anything is looked at: a link above it would lead anywhere.
        if !self.make_parents(path)? {
            return Ok(());
        }
        let found = look(&full)?;
        if let Some(found) = &found
            && found.is_dir()
        {
            if !self.place.is_shared || self.is_as_sent(path, Some(found)) {
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

    fn file(&mut self, path: &Path, content: &mut impl Read, there: &There) -> io::Result<()> {
        let full = self.place.folder.join(path);
        if !self.make_parents(path)? {
            return Ok(());
        }
        let found = look(&full)?;
        let mut same = None;
        if let Some(found) = &found
            && found.is_file()
            && found.len() == there.size
        {
            let compared = match File::open(&full) {
                Ok(file) => compare(file, content)?,
                // One that cannot be read is another one.
                Err(_) => Compared::default(),
            };
            if compared.is_all {
                return self.same_content(path, &full, found, there);
            }
            same = Some(compared);
        }
        if !self.may_replace(path, found.as_ref(), Some(there))? {
            return Ok(());
        }
        self.write(path, found.as_ref(), there, |file| {
            if let Some(compared) = &same {
                io::copy(&mut File::open(&full)?.take(compared.equal), file)?;
                file.write_all(&compared.next)?;
            }
            io::copy(content, file)?;
            Ok(())
        })
    }

    /// Writes a file beside its place, and moves it there; unless somebody changed what is there meanwhile.
    fn write(
        &mut self,
        path: &Path,
        found: Option<&Metadata>,
        there: &There,
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
            if file.metadata()?.len() != there.size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.set_permissions(Permissions::from_mode(there.mode))?;
            file.set_times(there.times())?;
            drop(file);
            // The content may have taken minutes to come.
            if !self.is_as_found(path, found)? {
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
        // What was a folder may be none now.
        self.sound = None;
        match result? {
            true => self.returned.written += 1,
            false => self.keep(path),
        }
        Ok(())
    }

    /// Remembers that something of somebody's stays.
    fn keep(&mut self, path: &Path) {
        if !self.returned.kept.iter().any(|kept| kept == path) {
            self.returned.kept.push(path.to_owned());
        }
    }

    fn change<T>(&self, full: &Path, action: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        closed::change(&self.place.folder, full, action)
    }

    /// Takes over what else differs in a file whose content is the same.
    fn same_content(
        &mut self,
        path: &Path,
        full: &Path,
        found: &Metadata,
        there: &There,
    ) -> io::Result<()> {
        if self.place.is_shared && !self.is_as_sent(path, Some(found)) {
            return Ok(());
        }
        if found.mode() & 0o7777 != there.mode {
            fs::set_permissions(full, Permissions::from_mode(there.mode)).map_err(named(full))?;
        }
        // The engine tells whole seconds only.
        if u64::try_from(found.mtime()).ok() != Some(there.modified) {
            let file = File::options().read(true).open(full).map_err(named(full))?;
            file.set_times(there.times()).map_err(named(full))?;
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &OsStr) -> io::Result<()> {
        let full = self.place.folder.join(path);
        if !self.make_parents(path)? {
            return Ok(());
        }
        let found = look(&full)?;
        let is_same = found.as_ref().is_some_and(Metadata::is_symlink)
            && fs::read_link(&full).is_ok_and(|now| now.as_os_str() == target);
        if is_same || !self.may_replace(path, found.as_ref(), None)? {
            return Ok(());
        }
        self.clear(&full, found.as_ref())?;
        self.change(&full, || std::os::unix::fs::symlink(target, &full))
            .map_err(named(&full))?;
        // What was a folder may be a link now.
        self.sound = None;
        self.returned.written += 1;
        Ok(())
    }

    /// Brings back a file that is one with an earlier one.
    fn same_file(&mut self, path: &Path, target: &Path, mode: u32) -> io::Result<()> {
        let source = self.place.folder.join(target);
        if !self.make_parents(target)? || !self.make_parents(path)? {
            return Ok(());
        }
        let Some(metadata) = look(&source)?.filter(Metadata::is_file) else {
            return Ok(());
        };
        let there = There {
            size: metadata.len(),
            modified: u64::try_from(metadata.mtime()).unwrap_or(0),
            mode,
        };
        let mut file = File::open(&source).map_err(named(&source))?;
        self.file(path, &mut file, &there)
    }

    /// Removes what has to make way, and is known to be allowed to.
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

    /// Makes the folders that a path lies in. None of them is a link: one would lead anywhere. False where
    /// somebody put something else in place of one, which stays.
    fn make_parents(&mut self, path: &Path) -> io::Result<bool> {
        let Some(parent) = path.parent() else {
            return Ok(true);
        };
        if self.sound.as_deref() == Some(parent) {
            return Ok(true);
        }
        let mut below = PathBuf::new();
        for name in parent.components() {
            below.push(name);
            let full = self.place.folder.join(&below);
            match look(&full)? {
                Some(found) if found.is_dir() => {}
                Some(_) if self.place.is_shared => {
                    self.keep(&below);
                    return Ok(false);
                }
                Some(_) => {
                    let text = format!("{} is no folder", full.display());
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
                }
                None => self
                    .change(&full, || fs::create_dir(&full))
                    .map_err(named(&full))?,
            }
        }
        self.sound = Some(parent.to_owned());
        Ok(true)
    }
}

fn look(path: &Path) -> io::Result<Option<Metadata>> {
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
