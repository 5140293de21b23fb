//! Files of this machine as an archive for a container's file system, and what was sent of them.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use walkdir::WalkDir;

use super::context::Exactly;
use super::pipe;

/// The longest name that stands in the header of an entry itself.
const LONGEST_NAME: usize = 100;

/// What files are called while they come back, before the number of the process that writes them.
pub(super) const INCOMING: &str = ".xp-incoming-";

/// Files that a container is to have.
#[derive(Debug, Clone)]
pub enum Item {
    /// A file, or a folder with all that is in it.
    Tree {
        /// Here.
        from: PathBuf,
        /// The path in the container.
        to: PathBuf,
        /// Whose it is there; as here where nobody is named.
        owner: Option<(u32, u32)>,
        /// What is left out, by paths here.
        left_out: Vec<PathBuf>,
        /// Whether it comes back, so that what was sent is remembered.
        comes_back: bool,
        /// Whether it may vanish before it is sent.
        may_vanish: bool,
    },
    /// A folder.
    Folder {
        /// The path in the container.
        to: PathBuf,
        /// Whose it is there.
        owner: (u32, u32),
    },
    /// A symbolic link; it is root's.
    Link {
        /// The path in the container.
        to: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A file that is none here; it is root's.
    File {
        /// The path in the container.
        to: PathBuf,
        /// What is in it.
        content: Vec<u8>,
    },
}

/// What was sent, by paths relative to the folder that comes back.
pub type Sent = BTreeMap<PathBuf, Fingerprint>;

/// A file as it was when it was sent: what it is now is another one where something of this differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
}

impl Fingerprint {
    /// Returns that of a file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            mode: metadata.mode(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// An archive on its way.
pub(super) struct Parcel {
    items: Vec<Item>,
    sent: Arc<Mutex<Sent>>,
}

impl Parcel {
    pub(super) fn new(items: Vec<Item>) -> Self {
        let sent = Arc::default();
        Self { items, sent }
    }

    /// Returns where what was sent is remembered.
    pub(super) fn sent(&self) -> Arc<Mutex<Sent>> {
        self.sent.clone()
    }

    /// Returns the archive, whose names start from the container's root.
    pub(super) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        pipe::written(move |writer| {
            let mut sent = Sent::new();
            let mut archive = tar::Builder::new(writer);
            for item in &self.items {
                write(&mut archive, item, &mut sent)?;
            }
            archive.finish()?;
            *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = sent;
            Ok(())
        })
    }
}

fn write(archive: &mut tar::Builder<impl Write>, item: &Item, sent: &mut Sent) -> io::Result<()> {
    match item {
        Item::Folder { to, owner } => {
            let mut header = header(tar::EntryType::Directory, 0o755, 0, *owner);
            append(archive, &mut header, to, None, None, io::empty())
        }
        Item::Link { to, target } => {
            let mut header = header(tar::EntryType::Symlink, 0o777, 0, (0, 0));
            append(archive, &mut header, to, Some(target), None, io::empty())
        }
        Item::File { to, content } => {
            let size = content.len() as u64;
            let mut header = header(tar::EntryType::Regular, 0o644, size, (0, 0));
            append(archive, &mut header, to, None, None, content.as_slice())
        }
        Item::Tree {
            from,
            to,
            owner,
            left_out,
            comes_back,
            may_vanish,
        } => {
            let can_be_gone = |depth: usize| depth > 0 || *may_vanish;
            let mut entries = WalkDir::new(from).sort_by_file_name().into_iter();
            while let Some(entry) = entries.next() {
                let entry = match entry {
                    Ok(entry) => entry,
                    // The owner may work here meanwhile.
                    Err(error) if is_gone(error.io_error()) && can_be_gone(error.depth()) => {
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                if left_out.iter().any(|path| path == entry.path()) {
                    if entry.file_type().is_dir() {
                        entries.skip_current_dir();
                    }
                    continue;
                }
                if *comes_back && is_incoming(&entry) {
                    continue;
                }
                let below = entry.path().strip_prefix(from).map_err(io::Error::other)?;
                let to = match below.as_os_str().is_empty() {
                    true => to.clone(),
                    false => to.join(below),
                };
                let written = write_file(archive, entry.path(), &to, *owner);
                let fingerprint = match written {
                    Err(error) if is_gone(Some(&error)) && can_be_gone(entry.depth()) => continue,
                    written => written.map_err(|error| {
                        let path = entry.path().display();
                        io::Error::new(error.kind(), format!("{path} cannot be read: {error}"))
                    })?,
                };
                if let Some(fingerprint) = fingerprint.filter(|_| *comes_back && entry.depth() > 0)
                {
                    sent.insert(below.to_owned(), fingerprint);
                }
            }
            Ok(())
        }
    }
}

/// Tells whether a file is one that came back half-way. What a process left that was killed is removed.
fn is_incoming(entry: &walkdir::DirEntry) -> bool {
    let name = entry.file_name().to_str();
    let process = name.and_then(|name| name.strip_prefix(INCOMING));
    let Some(process) = process.and_then(|process| process.parse::<u32>().ok()) else {
        return false;
    };
    // Nothing comes back to a folder from which this process is sending.
    let is_alive = process != std::process::id() && Path::new(&format!("/proc/{process}")).exists();
    if entry.file_type().is_file() && !is_alive {
        _ = fs::remove_file(entry.path());
    }
    entry.file_type().is_file()
}

fn is_gone(error: Option<&io::Error>) -> bool {
    error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Writes a file, without what is in it where it is a folder; sockets and devices have no content that
/// could be sent.
fn write_file(
    archive: &mut tar::Builder<impl Write>,
    path: &Path,
    to: &Path,
    owner: Option<(u32, u32)>,
) -> io::Result<Option<Fingerprint>> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
        return Ok(None);
    }
    let owner = owner.unwrap_or((metadata.uid(), metadata.gid()));
    let mode = metadata.mode() & 0o7777;
    let fingerprint = |metadata: &Metadata| Fingerprint::of(metadata);
    if kind.is_symlink() {
        let target = fs::read_link(path)?;
        let mut header = header(tar::EntryType::Symlink, 0o777, 0, owner);
        append(
            archive,
            &mut header,
            to,
            Some(&target),
            Some(&metadata),
            io::empty(),
        )?;
        return Ok(Some(fingerprint(&metadata)));
    }
    if kind.is_dir() {
        let mut header = header(tar::EntryType::Directory, mode, 0, owner);
        append(archive, &mut header, to, None, Some(&metadata), io::empty())?;
        return Ok(Some(fingerprint(&metadata)));
    }
    let file = File::open(path)?;
    // Another file may have taken the name meanwhile.
    let metadata = file.metadata()?;
    let size = metadata.len();
    let mut header = header(tar::EntryType::Regular, mode, size, owner);
    let content = Exactly { file, left: size };
    append(archive, &mut header, to, None, Some(&metadata), content)?;
    Ok(Some(fingerprint(&metadata)))
}

fn header(kind: tar::EntryType, mode: u32, size: u64, (uid, gid): (u32, u32)) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_mtime(0);
    header
}

/// Adds an entry. What does not fit into its header stands in one before it: long names, and the fractions
/// of seconds that compilers compare.
fn append(
    archive: &mut tar::Builder<impl Write>,
    header: &mut tar::Header,
    to: &Path,
    target: Option<&Path>,
    metadata: Option<&Metadata>,
    content: impl Read,
) -> io::Result<()> {
    let name = to.strip_prefix("/").unwrap_or(to).as_os_str().as_bytes();
    let target = target.map(|target| target.as_os_str().as_bytes());
    let mut records = Vec::new();
    if let Some(metadata) = metadata {
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        header.set_mtime(u64::try_from(seconds).unwrap_or(0));
        if nanoseconds != 0 && seconds >= 0 {
            let time = format!("{seconds}.{nanoseconds:09}");
            record(&mut records, "mtime", time.as_bytes());
        }
    }
    for (key, text) in [("path", Some(name)), ("linkpath", target)] {
        if let Some(text) = text.filter(|text| text.len() > LONGEST_NAME) {
            record(&mut records, key, text);
        }
    }
    if !records.is_empty() {
        let mut before = tar::Header::new_ustar();
        before.set_entry_type(tar::EntryType::XHeader);
        before.set_size(records.len() as u64);
        before.set_mode(0o644);
        put(&mut before.as_old_mut().name, b"PaxHeader");
        before.set_cksum();
        archive.append(&before, records.as_slice())?;
    }
    put(&mut header.as_old_mut().name, name);
    if let Some(target) = target {
        put(&mut header.as_old_mut().linkname, target);
    }
    header.set_cksum();
    archive.append(header, content)
}

/// Writes as much of a text as there is room for.
fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Adds a record, which begins with its own length.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    #[test]
    fn what_vanishes_is_left_out_where_it_may() {
        let folder = tempfile::tempdir().unwrap();
        for may_vanish in [true, false] {
            let item = Item::Tree {
                from: folder.path().join("gone"),
                to: "/work".into(),
                owner: None,
                left_out: Vec::new(),
                comes_back: false,
                may_vanish,
            };
            let written = write(&mut tar::Builder::new(Vec::new()), &item, &mut Sent::new());
            assert_eq!(written.is_ok(), may_vanish);
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 85, 86, 87, 88, 89, 90, 95, 985, 986, 987, 988, 990] {
            let mut records = Vec::new();
            record(&mut records, "path", &vec![b'x'; length]);
            let text = String::from_utf8(records.clone()).unwrap();
            let told: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(told, records.len(), "{length}");
        }
    }

    #[tokio::test]
    async fn names_times_owners_and_links_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(90), "ü".repeat(60));
        fs::create_dir(folder.path().join("d".repeat(90))).unwrap();
        fs::write(folder.path().join(&long), "long").unwrap();
        std::os::unix::fs::symlink("t".repeat(150), folder.path().join("link")).unwrap();
        fs::create_dir(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("out/x"), "").unwrap();
        // What a run left that was killed, and what another one is writing.
        let left = folder.path().join(format!("{INCOMING}{}", u32::MAX));
        let written = folder.path().join(format!("{INCOMING}1"));
        fs::write(&left, "").unwrap();
        fs::write(&written, "").unwrap();
        let parcel = Parcel::new(vec![Item::Tree {
            from: folder.path().to_owned(),
            to: "/work".into(),
            owner: Some((7, 8)),
            left_out: vec![folder.path().join("out")],
            comes_back: true,
            may_vanish: false,
        }]);
        let sent = parcel.sent();
        let mut bytes = Vec::new();
        let mut stream = Box::pin(parcel.stream());
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            assert_eq!(
                (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
                (7, 8)
            );
            if name.ends_with("link") {
                assert_eq!(entry.link_name_bytes().unwrap().len(), 150);
            }
            let times = entry.pax_extensions().unwrap().map(|extensions| {
                extensions
                    .filter_map(Result::ok)
                    .any(|it| it.key() == Ok("mtime"))
            });
            assert_eq!(times, Some(true), "{name}");
            names.push(name);
        }
        assert!(!left.exists() && written.exists());
        let d = format!("work/{}", "d".repeat(90));
        assert_eq!(
            names,
            [
                "work".to_owned(),
                d,
                format!("work/{long}"),
                "work/link".to_owned()
            ]
        );
        let sent: Vec<_> = sent.lock().unwrap().keys().cloned().collect();
        assert_eq!(
            sent,
            [
                PathBuf::from("d".repeat(90)),
                PathBuf::from(&long),
                "link".into()
            ]
        );
    }
}
