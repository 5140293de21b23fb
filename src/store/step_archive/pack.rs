//! Packs outputs.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use walkdir::WalkDir;

use super::ArchiveError;
use super::header::{BLOCK, Entry, Kind, padding};
use super::links::stays_inside;
use super::outputs::Outputs;
use super::stream::Hashed;
use super::times::ModifiedAt;
use crate::model::step_result::OutputsBlob;

/// The compression level: that of the `zstd` program.
const LEVEL: i32 = 3;

/// The number of bytes that are read at once.
const CHUNK: usize = 128 * 1024;

/// The bits of programs that run as their owner or group.
const SET_ID: u32 = 0o6000;

/// Writes an archive of outputs, which are files or folders below `folder`, to a file.
///
/// Keeps permissions, links, and times in nanoseconds; entries are sorted. Blocks until done.
///
/// # Errors
///
/// An output does not exist, or contains a file that would not be restored: a device, a socket, a pipe, a program that
/// runs as another user, or a link that leads out of `folder`.
pub fn pack(folder: &Path, outputs: &[String], to: &mut File) -> Result<OutputsBlob, ArchiveError> {
    let outputs = Outputs::parse(outputs)?;
    let mut archive = zstd::Encoder::new(Hashed::new(to), LEVEL).map_err(cannot_write)?;
    // Files are read while a thread compresses.
    archive.multithread(1).map_err(cannot_write)?;
    let mut packer = Packer {
        folder,
        archive,
        buffer: vec![0; CHUNK],
        folders: HashSet::new(),
        links: Vec::new(),
        unpacked_bytes: 0,
        files: 0,
    };
    for parent in outputs.parents() {
        let metadata = packer.metadata(parent)?;
        if !metadata.is_dir() {
            return Err(ArchiveError::Conflict(folder.join(parent)));
        }
        packer.append(parent, &metadata)?;
    }
    for output in outputs.paths() {
        packer.append_tree(output)?;
    }
    packer.finish()
}

fn cannot_write(source: io::Error) -> ArchiveError {
    ArchiveError::File {
        action: "write",
        path: PathBuf::from("the archive"),
        source,
    }
}

struct Packer<'a, 'f> {
    folder: &'a Path,
    archive: zstd::Encoder<'static, Hashed<&'f mut File>>,
    buffer: Vec<u8>,
    folders: HashSet<PathBuf>,
    links: Vec<(PathBuf, PathBuf)>,
    unpacked_bytes: u64,
    files: u64,
}

impl Packer<'_, '_> {
    fn metadata(&self, path: &Path) -> Result<Metadata, ArchiveError> {
        let found = fs::symlink_metadata(self.folder.join(path));
        found.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ArchiveError::MissingOutput(path.display().to_string()),
            _ => ArchiveError::file("read", path)(error),
        })
    }

    /// Appends an output with everything in it.
    fn append_tree(&mut self, output: &Path) -> Result<(), ArchiveError> {
        self.metadata(output)?;
        let folder = self.folder;
        let walk = WalkDir::new(folder.join(output)).follow_root_links(false);
        for entry in walk.sort_by_file_name() {
            let failed = |error: walkdir::Error| {
                let path = error.path().unwrap_or(output).to_owned();
                ArchiveError::file("read", &path)(error.into())
            };
            let entry = entry.map_err(failed)?;
            let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            let metadata = entry.metadata().map_err(failed)?;
            self.append(path, &metadata)?;
        }
        Ok(())
    }

    fn append(&mut self, path: &Path, metadata: &Metadata) -> Result<(), ArchiveError> {
        let full = self.folder.join(path);
        let kind = metadata.file_type();
        if let Some(kind) = special(metadata) {
            let path = path.to_owned();
            return Err(ArchiveError::Special { path, kind });
        }
        self.files += 1;
        if kind.is_dir() {
            self.folders.insert(path.to_owned());
            return self.write(path, Kind::Folder, metadata);
        }
        if kind.is_symlink() {
            let target = fs::read_link(&full).map_err(ArchiveError::file("read", &full))?;
            self.links.push((path.to_owned(), target.clone()));
            return self.write(path, Kind::Link(target), metadata);
        }
        // The metadata of the walk may be out of date.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(&full);
        let file = file.map_err(ArchiveError::file("read", &full))?;
        let metadata = file.metadata().map_err(ArchiveError::file("read", &full))?;
        if !metadata.is_file() || special(&metadata).is_some() {
            let changed = io::Error::other("it was changed while it was being read");
            return Err(ArchiveError::file("read", &full)(changed));
        }
        self.write(path, Kind::File(metadata.len()), &metadata)?;
        self.write_content(&full, file, metadata.len())
    }

    fn write(&mut self, path: &Path, kind: Kind, metadata: &Metadata) -> Result<(), ArchiveError> {
        let entry = Entry {
            path: path.to_owned(),
            mode: Entry::permissions(metadata.mode(), kind == Kind::Folder),
            kind,
            modified: ModifiedAt::of(metadata),
        };
        entry.write(&mut self.archive).map_err(cannot_write)
    }

    fn write_content(
        &mut self,
        path: &Path,
        mut file: File,
        size: u64,
    ) -> Result<(), ArchiveError> {
        let mut left = size;
        while left > 0 {
            let wanted = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(CHUNK));
            let read = file.read(&mut self.buffer[..wanted]);
            let read = read.map_err(ArchiveError::file("read", path))?;
            if read == 0 {
                let error = io::Error::other("it was truncated while it was being read");
                return Err(ArchiveError::file("read", path)(error));
            }
            self.archive
                .write_all(&self.buffer[..read])
                .map_err(cannot_write)?;
            left -= read as u64;
        }
        self.unpacked_bytes += size;
        self.archive.write_all(padding(size)).map_err(cannot_write)
    }

    fn finish(mut self) -> Result<OutputsBlob, ArchiveError> {
        for (path, target) in self.links {
            if !stays_inside(&path, &target, &self.folders) {
                return Err(ArchiveError::LinkOutside { path, target });
            }
        }
        self.archive
            .write_all(&[0; 2 * BLOCK])
            .map_err(cannot_write)?;
        let (bytes, digest) = self.archive.finish().map_err(cannot_write)?.finish();
        let no_digest = || ArchiveError::damaged("it has no digest");
        Ok(OutputsBlob {
            digest: digest.ok_or_else(no_digest)?,
            bytes,
            unpacked_bytes: self.unpacked_bytes,
            files: self.files,
        })
    }
}

/// Returns what a file is if it cannot be saved.
fn special(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_block_device() || kind.is_char_device() {
        Some("a device")
    } else if kind.is_file() && metadata.mode() & SET_ID != 0 {
        // A folder may have inherited the bit of a group.
        Some("a setuid or setgid program")
    } else {
        None
    }
}
