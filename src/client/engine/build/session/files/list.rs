//! The list of files that is sent to the engine.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bollard::fsutil::types::packet::PacketType;
use bollard::fsutil::types::{Packet, Stat};

use super::requested::RequestedFiles;
use super::{Packets, of_type};
use crate::client::engine::build::context::{ContextFolder, cannot_read, is_special};

/// The listed files that the engine may request, by index.
pub(super) type RequestableFiles = Mutex<HashMap<u32, PathBuf>>;

/// Go's mode bits for file types and special permissions.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const SPECIAL_BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// Builds and sends the list.
pub(super) struct FileLister<'a> {
    /// The files that the engine may request, by index.
    listed: &'a RequestableFiles,
    packets: &'a Packets,
    next: u32,
    /// The parent folders of the next entry that were sent.
    sent_parents: Vec<PathBuf>,
}

impl<'a> FileLister<'a> {
    pub(super) fn new(listed: &'a RequestableFiles, packets: &'a Packets) -> Self {
        Self {
            listed,
            packets,
            next: 0,
            sent_parents: Vec::new(),
        }
    }

    /// Sends the entries of the requested files, and the end of the list.
    pub(super) fn send(
        mut self,
        context: &ContextFolder,
        requested: &RequestedFiles,
    ) -> io::Result<()> {
        match requested {
            RequestedFiles::Dockerfile => {
                let name = Path::new(context.dockerfile());
                let path = context.dockerfile_path();
                for folder in parents(name) {
                    let around = fs::symlink_metadata(context.folder().join(folder));
                    self.add(folder, path, &around?)?;
                }
                let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
                self.add(name, path, &metadata)?;
            }
            RequestedFiles::Context(part) => context.visit(None, |path, name| {
                if !part.includes(name) {
                    return Ok(());
                }
                let metadata = |path: &Path| {
                    fs::symlink_metadata(path).map_err(|error| cannot_read(path, &error))
                };
                // The engine rejects an entry if its parents were not sent.
                self.sent_parents.retain(|folder| name.starts_with(folder));
                for folder in parents(name).skip(self.sent_parents.len()) {
                    let around = context.folder().join(folder);
                    self.add(folder, &around, &metadata(&around)?)?;
                }
                self.add(name, path, &metadata(path)?)
            })?,
        }
        _ = self
            .packets
            .blocking_send(Ok(of_type(PacketType::PacketStat)));
        Ok(())
    }

    fn add(&mut self, name: &Path, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if is_special(kind) {
            return Ok(());
        }
        let stat = stat(name, path, metadata)?;
        if kind.is_dir() {
            self.sent_parents.push(name.to_owned());
        } else if kind.is_file() {
            let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            listed.insert(self.next, path.to_owned());
        }
        self.next += 1;
        let packet = Packet {
            stat: Some(stat),
            ..of_type(PacketType::PacketStat)
        };
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.packets.blocking_send(Ok(packet)).map_err(gone)
    }
}

/// Returns the parent folders of a path, the outermost first.
pub(super) fn parents(name: &Path) -> impl Iterator<Item = &Path> {
    let around: Vec<&Path> = name.ancestors().skip(1).collect();
    let around = around.into_iter().rev();
    around.filter(|folder| *folder != Path::new(""))
}

/// Creates the entry of a file, folder or link. Mode and time are kept, and the owner becomes root, as with
/// `docker build`.
fn stat(name: &Path, path: &Path, metadata: &Metadata) -> io::Result<Stat> {
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| {
            let what = format!("`{}` is not valid UTF-8", path.display());
            io::Error::new(io::ErrorKind::InvalidFilename, what)
        })
    };
    let kind = metadata.file_type();
    let unix = metadata.mode();
    let special = SPECIAL_BITS
        .iter()
        .filter(|(bit, _)| unix & bit != 0)
        .map(|(_, go)| go);
    let mut mode = special.fold(unix & 0o777, |mode, bit| mode | bit);
    let mut linkname = String::new();
    if kind.is_dir() {
        mode |= DIRECTORY;
    } else if kind.is_symlink() {
        mode |= SYMLINK;
        linkname = text(&fs::read_link(path).map_err(|error| cannot_read(path, &error))?)?;
    }
    let size = if kind.is_file() {
        i64::try_from(metadata.len()).unwrap_or(i64::MAX)
    } else {
        0
    };
    Ok(Stat {
        path: text(name)?,
        mode,
        size,
        mod_time: metadata
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(metadata.mtime_nsec()),
        linkname,
        ..Stat::default()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tokio::sync::mpsc;

    use super::super::requested::ContextPart;
    use super::*;

    const EVERYTHING: RequestedFiles = RequestedFiles::Context(ContextPart::Everything);

    /// Creates a folder with these files, whose content is their name.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
        }
        folder
    }

    fn context(folder: &Path) -> ContextFolder {
        ContextFolder::open(folder, folder, &folder.join("Dockerfile")).unwrap()
    }

    /// Returns the list that is sent, and the files that may be requested.
    fn list(
        context: &ContextFolder,
        requested: &RequestedFiles,
    ) -> io::Result<(Vec<Stat>, HashMap<u32, PathBuf>)> {
        let (packets, mut sent) = mpsc::channel(1000);
        let listed = Mutex::default();
        FileLister::new(&listed, &packets).send(context, requested)?;
        drop(packets);
        let mut stats = Vec::new();
        while let Some(packet) = sent.blocking_recv() {
            let packet = packet.unwrap();
            assert_eq!(packet.r#type(), PacketType::PacketStat);
            stats.push(packet.stat);
        }
        assert_eq!(stats.pop(), Some(None), "the end is sent");
        let stats = stats.into_iter().map(Option::unwrap).collect();
        Ok((stats, listed.into_inner().unwrap()))
    }

    fn names(context: &ContextFolder, requested: &RequestedFiles) -> Vec<String> {
        let (stats, listed) = list(context, requested).unwrap();
        for (id, path) in listed {
            let stat = &stats[id as usize];
            assert!(path.ends_with(&stat.path), "{} is {}", stat.path, id);
            assert_eq!(stat.mode & (DIRECTORY | SYMLINK), 0);
        }
        stats.into_iter().map(|stat| stat.path).collect()
    }

    #[test]
    fn folders_come_first_and_ignored_files_are_excluded() {
        let folder = folder(&["Dockerfile", "a/b/c", "a/b/d", "a-b", "z/y", "kept/x/y"]);
        fs::write(
            folder.path().join(".dockerignore"),
            ".dockerignore\nDockerfile\na/b/d\nz\nkept\n!kept/x/y\n",
        )
        .unwrap();
        let context = context(folder.path());
        let all = ["a", "a/b", "a/b/c", "a-b", "kept", "kept/x", "kept/x/y"];
        assert_eq!(names(&context, &EVERYTHING), all);
        assert_eq!(names(&context, &RequestedFiles::Dockerfile), ["Dockerfile"]);
        let some = |paths: &[&str]| {
            let paths = paths.iter().map(PathBuf::from).collect();
            names(
                &context,
                &RequestedFiles::Context(ContextPart::Paths(paths)),
            )
        };
        assert_eq!(some(&["a/b", "no"]), ["a", "a/b", "a/b/c"]);
        assert_eq!(
            some(&["kept/x/y", "a-b"]),
            ["a-b", "kept", "kept/x", "kept/x/y"]
        );
        assert_eq!(some(&[".dockerignore"]), [""; 0]);
    }

    #[test]
    fn the_parents_of_a_dockerfile_are_sent() {
        let folder = folder(&["docker/for/Dockerfile", "x"]);
        let dockerfile = folder.path().join("docker/for/Dockerfile");
        let context = ContextFolder::open(folder.path(), folder.path(), &dockerfile).unwrap();
        assert_eq!(
            names(&context, &RequestedFiles::Dockerfile),
            ["docker", "docker/for", "docker/for/Dockerfile"]
        );
    }

    #[test]
    fn modes_and_links_are_kept() {
        let folder = folder(&["Dockerfile", "run"]);
        let run = folder.path().join("run");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("../else where", folder.path().join("to")).unwrap();
        let (stats, _) = list(&context(folder.path()), &EVERYTHING).unwrap();
        let [_, run, to] = stats.as_slice() else {
            panic!("{stats:?}")
        };
        assert_eq!((run.mode, run.size), ((1 << 23) | 0o751, 3));
        assert_eq!(to.mode & SYMLINK, SYMLINK);
        assert_eq!((to.linkname.as_str(), to.size), ("../else where", 0));
        assert_eq!((run.uid, run.gid), (0, 0));
    }

    #[test]
    fn a_name_that_is_not_utf_8_has_its_own_error() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = folder(&["Dockerfile"]);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        fs::write(folder.path().join(name), "x").unwrap();
        let error = list(&context(folder.path()), &EVERYTHING).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename);
    }
}
