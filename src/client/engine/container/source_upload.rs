//! Sends files of this machine to a container as an archive, and records what was sent.

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

use super::held::HeldFile;
use super::pipe;
use crate::client::engine::exact_reader::ExactReader;

/// The maximum length of a name in the header of an entry; longer ones need an extended header.
const MAX_NAME_LENGTH: usize = 100;

/// The prefix of the temporary names of files that are copied back; the process id follows.
pub const INCOMING: &str = ".xp-incoming-";

/// A file or folder to create in a container.
#[derive(Debug, Clone)]
pub enum UploadItem {
    /// A file, or a folder with its contents.
    Tree {
        /// The path on this machine.
        from: PathBuf,
        /// The path in the container.
        to: PathBuf,
        /// The owner in the container; `None` for the same as here.
        owner: Option<(u32, u32)>,
        /// Excluded paths on this machine.
        excluded: Vec<PathBuf>,
        /// Whether it will be copied back, so that the sent files must be recorded.
        is_copied_back: bool,
        /// Whether it may be removed before it is sent.
        may_be_missing: bool,
    },
    /// A folder.
    Folder {
        /// The path in the container.
        to: PathBuf,
        /// The owner in the container.
        owner: (u32, u32),
    },
    /// A symbolic link, owned by root.
    Link {
        /// The path in the container.
        to: PathBuf,
        /// The target.
        target: PathBuf,
    },
    /// A file that does not exist here, owned by root.
    File {
        /// The path in the container.
        to: PathBuf,
        /// The content.
        content: Vec<u8>,
    },
    /// A file with its owner and permissions.
    Held(HeldFile),
}

impl UploadItem {
    /// Returns the path in the container.
    pub fn to(&self) -> &Path {
        match self {
            Self::Tree { to, .. }
            | Self::Folder { to, .. }
            | Self::Link { to, .. }
            | Self::File { to, .. } => to,
            Self::Held(file) => &file.path,
        }
    }
}

/// The files that were sent, by paths relative to the folder that will be copied back.
pub type SentFiles = BTreeMap<PathBuf, Fingerprint>;

/// The metadata of a file when it was sent. If any of it differs, the file was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    pub mode: u32,
    pub size: u64,
    pub modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
}

impl Fingerprint {
    /// Returns the fingerprint of a file.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            mode: metadata.mode(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// An archive of files to send.
pub struct SourceUpload {
    items: Vec<UploadItem>,
    sent: Arc<Mutex<SentFiles>>,
}

impl SourceUpload {
    pub fn new(items: Vec<UploadItem>) -> Self {
        let sent = Arc::default();
        Self { items, sent }
    }

    /// Returns the record of the sent files, which is complete at the end of the stream.
    pub fn sent(&self) -> Arc<Mutex<SentFiles>> {
        self.sent.clone()
    }

    /// Returns the archive, with names relative to the container's root.
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        pipe::written(move |writer| {
            let mut sent = SentFiles::new();
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

fn write(
    archive: &mut tar::Builder<impl Write>,
    item: &UploadItem,
    sent: &mut SentFiles,
) -> io::Result<()> {
    match item {
        UploadItem::Folder { to, owner } => {
            let mut header = header(tar::EntryType::Directory, 0o755, 0, *owner);
            append(archive, &mut header, to, None, None, io::empty())
        }
        UploadItem::Link { to, target } => {
            let mut header = header(tar::EntryType::Symlink, 0o777, 0, (0, 0));
            append(archive, &mut header, to, Some(target), None, io::empty())
        }
        UploadItem::File { to, content } => {
            let size = content.len() as u64;
            let mut header = header(tar::EntryType::Regular, 0o644, size, (0, 0));
            append(archive, &mut header, to, None, None, content.as_slice())
        }
        UploadItem::Held(file) => {
            if let Some(folder) = file.path.parent() {
                let mut header = header(tar::EntryType::Directory, 0o755, 0, (0, 0));
                append(archive, &mut header, folder, None, None, io::empty())?;
            }
            let size = file.bytes.len() as u64;
            let mut header = header(tar::EntryType::Regular, file.mode, size, file.owner);
            append(
                archive,
                &mut header,
                &file.path,
                None,
                None,
                file.bytes.as_slice(),
            )
        }
        UploadItem::Tree {
            from,
            to,
            owner,
            excluded,
            is_copied_back,
            may_be_missing,
        } => {
            let can_be_gone = |depth: usize| depth > 0 || *may_be_missing;
            let mut entries = WalkDir::new(from).sort_by_file_name().into_iter();
            while let Some(entry) = entries.next() {
                let entry = match entry {
                    Ok(entry) => entry,
                    // The user may work here at the same time.
                    Err(error) if is_gone(error.io_error()) && can_be_gone(error.depth()) => {
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                if excluded.iter().any(|path| path == entry.path()) {
                    if entry.file_type().is_dir() {
                        entries.skip_current_dir();
                    }
                    continue;
                }
                if *is_copied_back && is_incoming(&entry) {
                    continue;
                }
                let below = entry.path().strip_prefix(from).map_err(io::Error::other)?;
                let to = if below.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(below)
                };
                let written = write_file(archive, entry.path(), &to, *owner);
                let fingerprint = match written {
                    Err(error) if is_gone(Some(&error)) && can_be_gone(entry.depth()) => continue,
                    written => written.map_err(|error| {
                        let path = entry.path().display();
                        io::Error::new(error.kind(), format!("{path} cannot be read: {error}"))
                    })?,
                };
                if let Some(fingerprint) =
                    fingerprint.filter(|_| *is_copied_back && entry.depth() > 0)
                {
                    sent.insert(below.to_owned(), fingerprint);
                }
            }
            Ok(())
        }
    }
}

/// Returns whether a file is a temporary file of a copy back. Removes it if its process was killed.
fn is_incoming(entry: &walkdir::DirEntry) -> bool {
    let name = entry.file_name().to_str();
    let process = name.and_then(|name| name.strip_prefix(INCOMING));
    let Some(process) = process.and_then(|process| process.parse::<u32>().ok()) else {
        return false;
    };
    // This process does not copy back to a folder while it sends it.
    let is_alive = process != std::process::id() && Path::new(&format!("/proc/{process}")).exists();
    if entry.file_type().is_file() && !is_alive {
        _ = fs::remove_file(entry.path());
    }
    entry.file_type().is_file()
}

fn is_gone(error: Option<&io::Error>) -> bool {
    error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Writes a file, or a folder without its contents. Skips sockets, pipes and devices, which have no content to send.
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
    // The file may have been replaced since.
    let metadata = file.metadata()?;
    let size = metadata.len();
    let mut header = header(tar::EntryType::Regular, mode, size, owner);
    let content = ExactReader { file, left: size };
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

/// Adds an entry. An extended header before it has what does not fit into its own: long names, and the fractions of
/// seconds, which compilers compare.
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
        if let Some(text) = text.filter(|text| text.len() > MAX_NAME_LENGTH) {
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

/// Writes as much of a text as fits.
fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Adds a record of an extended header, which begins with its own length.
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
    fn removed_files_are_skipped_if_allowed() {
        let folder = tempfile::tempdir().unwrap();
        for may_be_missing in [true, false] {
            let item = UploadItem::Tree {
                from: folder.path().join("gone"),
                to: "/work".into(),
                owner: None,
                excluded: Vec::new(),
                is_copied_back: false,
                may_be_missing,
            };
            let written = write(
                &mut tar::Builder::new(Vec::new()),
                &item,
                &mut SentFiles::new(),
            );
            assert_eq!(written.is_ok(), may_be_missing);
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 85, 86, 87, 88, 89, 90, 95, 985, 986, 987, 988, 990] {
            let mut records = Vec::new();
            record(&mut records, "path", &vec![b'x'; length]);
            let text = String::from_utf8(records.clone()).unwrap();
            let stated: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(stated, records.len(), "{length}");
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
        // One file of a run that was killed, and one that another run is writing.
        let left = folder.path().join(format!("{INCOMING}{}", u32::MAX));
        let written = folder.path().join(format!("{INCOMING}1"));
        fs::write(&left, "").unwrap();
        fs::write(&written, "").unwrap();
        let upload = SourceUpload::new(vec![UploadItem::Tree {
            from: folder.path().to_owned(),
            to: "/work".into(),
            owner: Some((7, 8)),
            excluded: vec![folder.path().join("out")],
            is_copied_back: true,
            may_be_missing: false,
        }]);
        let sent = upload.sent();
        let mut bytes = Vec::new();
        let mut stream = Box::pin(upload.stream());
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
