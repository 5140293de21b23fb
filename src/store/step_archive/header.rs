//! Headers of archive entries: a pax header with the time, and with names that are too long, before each.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use tar::{EntryType, Header};

use super::ArchiveError;
use super::times::ModifiedAt;

/// The size of a block; headers and contents are padded to it.
pub(super) const BLOCK: usize = 512;

/// The maximum length of a path or of a link's target, that of Linux.
const MAX_PATH: usize = 4096;

/// The maximum size of a pax header: two names and a time.
const MAX_PAX: u64 = 2 * MAX_PATH as u64 + 256;

/// The length of a name in a header itself.
const SHORT: usize = 100;

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The path below the top folder.
    pub path: PathBuf,
    pub kind: Kind,
    pub mode: u32,
    pub modified: ModifiedAt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// A file with its size.
    File(u64),
    /// A symbolic link with its target.
    Link(PathBuf),
}

impl Entry {
    /// Returns the permissions of an entry that are kept; programs that run as another user are not.
    pub fn permissions(mode: u32, is_folder: bool) -> u32 {
        // The sticky bit of folders such as /tmp.
        mode & if is_folder { 0o1777 } else { 0o777 }
    }

    /// Writes the headers.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let path = self.path.as_os_str().as_bytes();
        let mut pax = Vec::with_capacity(BLOCK);
        record(&mut pax, "mtime", self.modified.to_decimal().as_bytes());
        if path.len() > SHORT {
            record(&mut pax, "path", path);
        }
        let mut header = Header::new_ustar();
        header.set_mode(self.mode);
        let (kind, size) = match &self.kind {
            Kind::Folder => (EntryType::Directory, 0),
            Kind::File(size) => (EntryType::Regular, *size),
            Kind::Link(target) => {
                let target = target.as_os_str().as_bytes();
                if target.len() > SHORT {
                    record(&mut pax, "linkpath", target);
                }
                copy_start(&mut header.as_old_mut().linkname, target);
                (EntryType::Symlink, 0)
            }
        };
        let mut before = Header::new_ustar();
        before.set_entry_type(EntryType::XHeader);
        before.set_mode(0o644);
        before.set_mtime(0);
        finish(&mut before, b"pax", pax.len() as u64);
        to.write_all(before.as_bytes())?;
        to.write_all(&pax)?;
        to.write_all(padding(pax.len() as u64))?;
        header.set_entry_type(kind);
        header.set_mtime(self.modified.seconds.max(0).unsigned_abs());
        finish(&mut header, path, size);
        to.write_all(header.as_bytes())
    }

    /// Reads the headers of the next entry; `None` at the end of the archive.
    pub fn read(from: &mut impl Read) -> Result<Option<Self>, ArchiveError> {
        let Some(before) = read_header(from)? else {
            return Ok(None);
        };
        let size = number(before.entry_size())?;
        if before.entry_type() != EntryType::XHeader || size > MAX_PAX {
            return Err(ArchiveError::damaged("an entry has no pax header"));
        }
        let mut pax = vec![0; size as usize + padding(size).len()];
        read_exact(from, &mut pax)?;
        let header = read_header(from)?;
        let header = header.ok_or_else(|| ArchiveError::damaged("it ends after a pax header"))?;
        let mut path = header.as_old().name.to_vec();
        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(SHORT));
        let mut target = header.as_old().linkname.to_vec();
        target.truncate(target.iter().position(|byte| *byte == 0).unwrap_or(SHORT));
        let mut modified = None;
        let mut rest = &pax[..size as usize];
        while !rest.is_empty() {
            let invalid = || ArchiveError::damaged("invalid pax header");
            let (key, value, after) = next_record(rest).ok_or_else(invalid)?;
            match key {
                b"mtime" => {
                    let text = std::str::from_utf8(value).ok();
                    modified = text.and_then(ModifiedAt::parse);
                }
                b"path" => path = value.to_vec(),
                b"linkpath" => target = value.to_vec(),
                _ => return Err(ArchiveError::damaged("unknown field in a pax header")),
            }
            rest = after;
        }
        let path = checked_path(path)?;
        let damaged = |what: &str| ArchiveError::damaged(format!("{} {what}", path.display()));
        let modified = modified.ok_or_else(|| damaged("has no valid time"))?;
        let size = number(header.entry_size())?;
        let kind = match header.entry_type() {
            EntryType::Directory if size == 0 => Kind::Folder,
            EntryType::Regular => Kind::File(size),
            EntryType::Symlink if size == 0 && target.len() <= MAX_PATH => {
                Kind::Link(std::ffi::OsString::from_vec(target).into())
            }
            _ => {
                return Err(damaged(
                    "is neither a file nor a folder nor a symbolic link",
                ));
            }
        };
        let mode = number(header.mode().map(u64::from))? as u32;
        if Self::permissions(mode, kind == Kind::Folder) != mode {
            return Err(damaged("has special permissions"));
        }
        Ok(Some(Self {
            path,
            kind,
            mode,
            modified,
        }))
    }
}

/// Returns the zeros that follow a content.
pub(super) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let used = (size % BLOCK as u64) as usize;
    &ZEROS[..if used == 0 { 0 } else { BLOCK - used }]
}

/// Appends a record of a pax header: its own length, the key and the value.
fn record(pax: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    pax.extend_from_slice(format!("{length} {key}=").as_bytes());
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

/// Returns the key and the value of the first record, and the records after it. The parser of the `tar` crate does not
/// accept names with newlines.
fn next_record(pax: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = pax.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&pax[..space]).ok()?.parse().ok()?;
    let record = pax.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &pax[length..]))
}

/// Completes a header. The owner is not kept.
fn finish(header: &mut Header, path: &[u8], size: u64) {
    copy_start(&mut header.as_old_mut().name, path);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_cksum();
}

fn copy_start(to: &mut [u8; SHORT], from: &[u8]) {
    let length = from.len().min(SHORT);
    to[..length].copy_from_slice(&from[..length]);
}

/// Reads a header; `None` for the two empty blocks at the end.
fn read_header(from: &mut impl Read) -> Result<Option<Header>, ArchiveError> {
    let mut header = Header::new_old();
    read_exact(from, header.as_mut_bytes())?;
    if header.as_bytes().iter().all(|byte| *byte == 0) {
        let mut last = [0; BLOCK];
        read_exact(from, &mut last)?;
        let is_end = last == [0; BLOCK];
        return is_end
            .then_some(None)
            .ok_or_else(|| ArchiveError::damaged("its end is incomplete"));
    }
    let mut expected = header.clone();
    expected.set_cksum();
    if expected.as_old().cksum != header.as_old().cksum {
        return Err(ArchiveError::damaged("a header has the wrong checksum"));
    }
    Ok(Some(header))
}

pub(super) fn read_exact(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), ArchiveError> {
    from.read_exact(bytes)
        .map_err(|error| ArchiveError::damaged(error.to_string()))
}

fn number(number: io::Result<u64>) -> Result<u64, ArchiveError> {
    number.map_err(|_| ArchiveError::damaged("invalid number in a header"))
}

/// Returns a path below the top folder, without `.`, `..` and other spellings of the same path.
fn checked_path(path: Vec<u8>) -> Result<PathBuf, ArchiveError> {
    let text = OsStr::from_bytes(&path);
    let components = Path::new(text).components();
    let is_normal = components
        .clone()
        .all(|it| matches!(it, Component::Normal(_)));
    let is_same = components.as_path().as_os_str() == text;
    let rebuilt: PathBuf = Path::new(text).components().collect();
    let is_valid = is_normal && is_same && rebuilt.as_os_str() == text;
    if path.is_empty() || path.len() > MAX_PATH || path.contains(&0) || !is_valid {
        let shown: String = text.to_string_lossy().chars().take(200).collect();
        return Err(ArchiveError::damaged(format!("invalid path {shown:?}")));
    }
    Ok(rebuilt)
}
