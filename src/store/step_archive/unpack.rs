//! Unpacks outputs.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::ArchiveError;
use super::header::{BLOCK, Entry, Kind, padding, read_exact};
use super::links::stays_inside;
use super::outputs::Outputs;
use super::place::place;
use super::staging::Staging;
use super::stream::{CHUNKS, Chunks, decompress};
use crate::model::step_result::OutputsBlob;

/// Restores outputs below `folder` from an archive. Each output replaces what is there.
///
/// `blob` is the expected digest and size, which also limit what is written. `folder` is changed only after the whole
/// archive was checked. Blocks until done.
///
/// # Errors
///
/// The archive has another digest or size, contains anything but these outputs, or a file cannot be written.
pub fn unpack(
    from: impl Read + Send,
    folder: &Path,
    outputs: &[String],
    blob: &OutputsBlob,
) -> Result<(), ArchiveError> {
    let outputs = Outputs::parse(outputs)?;
    fs::create_dir_all(folder).map_err(ArchiveError::file("create", folder))?;
    let real = folder.canonicalize();
    let folder = &real.map_err(ArchiveError::file("read", folder))?;
    let staging = Staging::create(folder)?;
    // Creating files takes about as long as decompressing them.
    let finished = thread::scope(|scope| {
        let (sender, receiver) = sync_channel(CHUNKS);
        let decompressed = scope.spawn(move || decompress(from, blob.bytes, &sender));
        let unpacker = Unpacker {
            top: staging.unpacked(),
            outputs: &outputs,
            blob,
            archive: Chunks::new(receiver),
            folders: HashSet::new(),
            finished: Vec::new(),
            links: Vec::new(),
            bytes: 0,
            files: 0,
        };
        let finished = unpacker.extract_all()?;
        let found = match decompressed.join() {
            Ok(found) => found.map_err(damaged)?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        if found != (blob.bytes, Some(blob.digest.clone())) {
            return Err(ArchiveError::damaged("it does not match its digest"));
        }
        Ok(finished)
    })?;
    // Renaming a folder needs the permission to write to it, so the outputs themselves are set after that.
    let is_moved = |entry: &&Entry| {
        outputs.are_below(&entry.path) || outputs.paths().any(|output| output == entry.path)
    };
    let (moved, inner): (Vec<&Entry>, Vec<&Entry>) = finished.iter().partition(is_moved);
    set_folders(&staging.unpacked(), inner)?;
    place(&staging, folder, &outputs)?;
    set_folders(folder, moved)
}

fn damaged(error: io::Error) -> ArchiveError {
    ArchiveError::damaged(error.to_string())
}

/// Sets permissions and times of folders, those inside of others first.
fn set_folders(top: &Path, folders: Vec<&Entry>) -> Result<(), ArchiveError> {
    for entry in folders.into_iter().rev() {
        let path = top.join(&entry.path);
        let set = fs::set_permissions(&path, Permissions::from_mode(entry.mode))
            .and_then(|()| entry.modified.set_at(&path));
        set.map_err(ArchiveError::file("write", &path))?;
    }
    Ok(())
}

struct Unpacker<'a> {
    /// The top folder, which only this process writes to.
    top: PathBuf,
    outputs: &'a Outputs,
    blob: &'a OutputsBlob,
    archive: Chunks,
    /// The folders that were created; nothing else may have content.
    folders: HashSet<PathBuf>,
    /// Their entries, whose permissions and times are set last.
    finished: Vec<Entry>,
    /// Created last, so that nothing is written through them.
    links: Vec<Entry>,
    bytes: u64,
    files: u64,
}

impl Unpacker<'_> {
    /// Extracts all entries, and returns the folders.
    fn extract_all(mut self) -> Result<Vec<Entry>, ArchiveError> {
        while let Some(entry) = Entry::read(&mut self.archive)? {
            self.extract(entry)?;
        }
        self.finish()
    }

    fn extract(&mut self, entry: Entry) -> Result<(), ArchiveError> {
        let path = &entry.path;
        let damaged = |what: &str| ArchiveError::damaged(format!("{} {what}", path.display()));
        self.files += 1;
        if self.files > self.blob.files {
            return Err(ArchiveError::damaged(
                "it contains more files than declared",
            ));
        }
        let is_parent = entry.kind == Kind::Folder && self.outputs.are_below(path);
        if !is_parent && !self.outputs.contain(path) {
            return Err(damaged("is not an output of the phase"));
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        if !parent.as_os_str().is_empty() && !self.folders.contains(parent) {
            return Err(damaged("is not in a folder of the archive"));
        }
        let full = self.top.join(path);
        match entry.kind {
            Kind::Folder => {
                let created = DirBuilder::new().mode(0o700).create(&full);
                created.map_err(|error| cannot_create(path, error))?;
                self.folders.insert(path.clone());
                self.finished.push(entry);
            }
            Kind::File(size) => self.extract_file(&entry, &full, size)?,
            Kind::Link(_) => self.links.push(entry),
        }
        Ok(())
    }

    fn extract_file(&mut self, entry: &Entry, full: &Path, size: u64) -> Result<(), ArchiveError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.blob.unpacked_bytes {
            return Err(ArchiveError::damaged(
                "it contains more bytes than declared",
            ));
        }
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(full);
        let mut file = file.map_err(|error| cannot_create(&entry.path, error))?;
        let failed = |error| ArchiveError::file("write", &entry.path)(error);
        let mut left = size;
        while left > 0 {
            let limit = usize::try_from(left).unwrap_or(usize::MAX);
            let bytes = self.archive.next(limit).map_err(damaged)?;
            if bytes.is_empty() {
                return Err(ArchiveError::damaged("it ends in a file"));
            }
            file.write_all(bytes).map_err(failed)?;
            left -= bytes.len() as u64;
        }
        let mut zeros = [0; BLOCK];
        read_exact(&mut self.archive, &mut zeros[..padding(size).len()])?;
        file.set_permissions(Permissions::from_mode(entry.mode))
            .map_err(failed)?;
        entry.modified.set(&file).map_err(failed)
    }

    /// Creates the links, and returns the folders.
    fn finish(mut self) -> Result<Vec<Entry>, ArchiveError> {
        if !self.archive.next(1).map_err(damaged)?.is_empty() {
            return Err(ArchiveError::damaged(
                "it does not end after its last entry",
            ));
        }
        if (self.bytes, self.files) != (self.blob.unpacked_bytes, self.blob.files) {
            return Err(ArchiveError::damaged("it contains less than declared"));
        }
        for entry in &self.links {
            let (path, full) = (&entry.path, self.top.join(&entry.path));
            let Kind::Link(target) = &entry.kind else {
                continue;
            };
            if !stays_inside(path, target, &self.folders) {
                let (path, target) = (path.clone(), target.clone());
                return Err(ArchiveError::LinkOutside { path, target });
            }
            symlink(target, &full).map_err(|error| cannot_create(path, error))?;
            let set = entry.modified.set_at(&full);
            set.map_err(ArchiveError::file("write", path))?;
        }
        for output in self.outputs.paths() {
            if self.top.join(output).symlink_metadata().is_err() {
                return Err(ArchiveError::MissingOutput(output.display().to_string()));
            }
        }
        Ok(self.finished)
    }
}

/// Returns the error for a file that cannot be created.
fn cannot_create(path: &Path, error: io::Error) -> ArchiveError {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return ArchiveError::damaged(format!("it contains {} twice", path.display()));
    }
    ArchiveError::file("create", path)(error)
}
