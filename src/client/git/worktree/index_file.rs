//! Reads the index of a working copy, including sparse indexes, which libgit2 cannot read: there, one entry
//! represents a whole folder that is not checked out.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use git2::{
    ErrorClass, ErrorCode, Index, IndexEntry, IndexEntryExtendedFlag, IndexEntryFlag, IndexTime,
    ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult,
};

/// The mode of a folder entry in a sparse index.
const FOLDER: u32 = 0o040_000;

/// The flag of an entry with extended flags.
const EXTENDED: u16 = 0x4000;

/// Returns the index of a repository; a sparse index is expanded in memory.
///
/// # Errors
///
/// It cannot be read, or a folder of a sparse index is not in the object store.
pub fn index_of(repository: &Repository) -> Result<Index, git2::Error> {
    match repository.index() {
        Err(cause) if cause.message().contains("'sdir'") => {
            let mut index = Index::new()?;
            for entry in read_expanded(repository)? {
                index.add(&entry)?;
            }
            repository.set_index(&mut index)?;
            Ok(index)
        }
        index => index,
    }
}

/// Replaces a sparse index on disk with a full one, which libgit2 can write. Git makes it sparse again the
/// next time it writes the index.
///
/// # Errors
///
/// As for [`index_of`], or another process holds the index's lock.
pub fn make_full(repository: &Repository) -> Result<(), git2::Error> {
    let path = repository.path().join("index");
    let is_sparse = matches!(Index::open(&path), Err(cause) if cause.message().contains("'sdir'"));
    if !is_sparse {
        return Ok(());
    }
    let entries = read_expanded(repository)?;
    let lock = repository.path().join("index.lock");
    let failed = |cause: std::io::Error| git2::Error::from_str(&cause.to_string());
    let held = fs::File::create_new(&lock).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::AlreadyExists => {
            git2::Error::new(ErrorCode::Locked, ErrorClass::Index, "the index is locked")
        }
        _ => failed(cause),
    })?;
    let written = || -> Result<(), git2::Error> {
        let own = repository.path().join("xp-index");
        _ = fs::remove_file(&own);
        let mut index = Index::open(&own)?;
        for entry in &entries {
            index.add(entry)?;
        }
        index.write()?;
        fs::rename(&own, &path).map_err(failed)
    }();
    drop(held);
    _ = fs::remove_file(&lock);
    written?;
    // Drop the cached index.
    repository.set_index(&mut Index::open(&path)?)
}

/// Reads the entries of the index, and replaces folder entries with their files.
fn read_expanded(repository: &Repository) -> Result<Vec<IndexEntry>, git2::Error> {
    let path = repository.path().join("index");
    let mut entries = Vec::new();
    for entry in read(&path)? {
        if entry.mode != FOLDER {
            entries.push(entry);
            continue;
        }
        let folder = entry.path;
        repository
            .find_tree(entry.id)?
            .walk(TreeWalkMode::PreOrder, |below, found| {
                if found.kind() != Some(ObjectType::Tree) {
                    let path = [&folder, below.as_bytes(), found.name_bytes()].concat();
                    let mode = u32::try_from(found.filemode()).unwrap_or_default();
                    entries.push(skipped_entry(path, mode, found.id()));
                }
                TreeWalkResult::Ok
            })?;
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// Returns the index entry of a file that is not checked out.
pub fn skipped_entry(path: Vec<u8>, mode: u32, id: Oid) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: IndexEntryFlag::EXTENDED.bits(),
        flags_extended: IndexEntryExtendedFlag::SKIP_WORKTREE.bits(),
        path,
    }
}

/// Reads the entries of an index file without expanding folders (gitformat-index(5)).
fn read(path: &Path) -> Result<Vec<IndexEntry>, git2::Error> {
    let failed = |cause: std::io::Error| git2::Error::from_str(&cause.to_string());
    let bytes = fs::read(path).map_err(failed)?;
    let written = fs::metadata(path).map_err(failed)?;
    let mut entries = parse(&bytes).ok_or_else(|| git2::Error::from_str("the index is corrupt"))?;
    for entry in &mut entries {
        // A file that was modified at the same time as the index ("racily clean") may differ.
        let modified = (
            i64::from(entry.mtime.seconds()),
            i64::from(entry.mtime.nanoseconds()),
        );
        if modified >= (written.mtime(), written.mtime_nsec()) {
            entry.mtime = IndexTime::new(0, 0);
        }
    }
    Ok(entries)
}

fn parse(bytes: &[u8]) -> Option<Vec<IndexEntry>> {
    let mut rest = IndexReader(bytes.strip_prefix(b"DIRC")?);
    let version = rest.read_u32()?;
    let count = rest.read_u32()?;
    if !(2..=4).contains(&version) {
        return None;
    }
    let mut entries: Vec<IndexEntry> = Vec::new();
    for _ in 0..count {
        let start = rest.0.len();
        let time = |rest: &mut IndexReader<'_>| {
            let seconds = rest.read_u32()?.cast_signed();
            Some(IndexTime::new(seconds, rest.read_u32()?))
        };
        let ctime = time(&mut rest)?;
        let mtime = time(&mut rest)?;
        let [dev, ino, mode, uid, gid, file_size] = [(); 6].map(|()| rest.read_u32());
        let id = Oid::from_bytes(rest.take(20)?).ok()?;
        let flags = rest.read_u16()?;
        let flags_extended = match flags & EXTENDED {
            0 => 0,
            _ => rest.read_u16()?,
        };
        let path = if version == 4 {
            let previous = entries.last().map_or(&[][..], |entry| &entry.path);
            let kept = previous.len().checked_sub(rest.read_varint()?)?;
            let added = rest.read_until_nul()?;
            [&previous[..kept], added].concat()
        } else {
            let path = rest.read_until_nul()?.to_vec();
            // Entries are padded to a multiple of eight bytes; one NUL is already consumed.
            let length = start - rest.0.len();
            rest.take(length.next_multiple_of(8) - length)?;
            path
        };
        entries.push(IndexEntry {
            ctime,
            mtime,
            dev: dev?,
            ino: ino?,
            mode: mode?,
            uid: uid?,
            gid: gid?,
            file_size: file_size?,
            id,
            flags,
            flags_extended,
            path,
        });
    }
    Some(entries)
}

/// The bytes that are not parsed yet.
struct IndexReader<'a>(&'a [u8]);

impl<'a> IndexReader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn read_u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn read_u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn read_until_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let taken = self.take(end)?;
        self.take(1)?;
        Some(taken)
    }

    /// Reads a variable-length number, encoded like offsets in packs.
    fn read_varint(&mut self) -> Option<usize> {
        let mut byte = self.take(1)?[0];
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.take(1)?[0];
            value = value.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
        }
        Some(value)
    }
}
