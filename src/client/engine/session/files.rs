//! The build context, as BuildKit asks for it: file by file, and only what the Dockerfile copies.
//!
//! The engine opens a stream for each of the folders that it knows by a name, the Dockerfile's and the context.
//! There the client tells what there is, sorted, and ends with an empty telling; the engine asks for the files that
//! it wants, by their places in that list, and each comes in pieces, of which an empty one is the last. What is
//! ignored is left out here, whatever the engine says is to be.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::fsutil::types::packet::PacketType;
use bollard::fsutil::types::{Packet, Stat};
use bollard::moby::filesync::packet::file_sync_server::FileSync;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use rustix::fs::OFlags;
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::client::engine::context::{Context, Exactly, cannot_read, is_special};

/// How much of a file is sent at once.
const PIECE: usize = 128 * 1024;

/// How many packets wait for the connection.
const WAITING: usize = 16;

/// Go's bits for what is no file with bytes, and for what a mode has beside its permissions.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const SPECIAL_BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// Where the packets for the engine go; who reads them may be gone.
type Packets = mpsc::Sender<Result<Packet, Status>>;

/// The files of a build.
#[derive(Clone)]
pub(in crate::client::engine) struct Files {
    pub context: Arc<Context>,
    /// How many bytes of files were sent so far.
    pub sent: Arc<AtomicU64>,
    /// Where it is told why a file cannot be sent: the engine only hears that it cannot.
    pub failed: mpsc::Sender<io::Error>,
}

/// What the engine wants to know of a folder.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// The Dockerfile, and nothing else.
    Dockerfile,
    /// All of the context.
    Everything,
    /// These files and folders of the context, and what is in them.
    Paths(Vec<PathBuf>),
}

#[async_trait]
impl FileSync for Files {
    type DiffCopyStream = BoxStream<'static, Result<Packet, Status>>;
    type TarStreamStream = BoxStream<'static, Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let wanted = Wanted::read(request.metadata(), self.context.folder())?;
        let (packets, sent) = mpsc::channel(WAITING);
        let files = self.clone();
        tokio::spawn(async move { files.transfer(wanted, request.into_inner(), packets).await });
        let sent = stream::unfold(
            sent,
            |mut sent| async move { Some((sent.recv().await?, sent)) },
        );
        Ok(Response::new(sent.boxed()))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("files are sent one by one"))
    }
}

impl Files {
    /// Tells what there is, and sends what is asked for, until the engine has all that it wants.
    async fn transfer(self, wanted: Wanted, mut asked: Streaming<Packet>, packets: Packets) {
        let listed = Arc::new(Mutex::new(HashMap::new()));
        let (requests, mut requested) = mpsc::unbounded_channel::<u32>();
        let telling = {
            let (files, listed, packets) = (self.clone(), Arc::clone(&listed), packets.clone());
            tokio::task::spawn_blocking(move || {
                let list = List {
                    listed: &listed,
                    packets: &packets,
                    next: 0,
                    told: Vec::new(),
                };
                if let Err(error) = list.tell(&files.context, &wanted) {
                    files.fail(error, &packets);
                }
            })
        };
        let sending = {
            let (files, packets) = (self, packets.clone());
            tokio::task::spawn_blocking(move || {
                while let Some(id) = requested.blocking_recv() {
                    let path = {
                        let mut listed = listed.lock().unwrap_or_else(PoisonError::into_inner);
                        listed.remove(&id)
                    };
                    let sent = match path {
                        Some(path) => files.send(id, &path, &packets),
                        None => Err(io::Error::other("the engine asks for a file that is none")),
                    };
                    if let Err(error) = sent {
                        return files.fail(error, &packets);
                    }
                }
            })
        };
        while let Ok(Some(packet)) = asked.message().await {
            match packet.r#type() {
                PacketType::PacketReq => _ = requests.send(packet.id),
                PacketType::PacketFin => {
                    _ = packets.send(Ok(of_type(PacketType::PacketFin))).await;
                    break;
                }
                // The build tells what went wrong.
                PacketType::PacketErr => break,
                PacketType::PacketStat | PacketType::PacketData => {}
            }
        }
        drop((requests, packets, asked));
        _ = tokio::join!(telling, sending);
    }

    /// Sends a file in pieces.
    fn send(&self, id: u32, path: &Path, packets: &Packets) -> io::Result<()> {
        let cannot = |error: io::Error| cannot_read(path, &error);
        // What was a file when it was told of is no link to another one now.
        let mut options = File::options();
        let options = options.read(true);
        let options = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(path).map_err(cannot)?;
        let left = file.metadata().map_err(cannot)?.len();
        let mut file = Exactly { file, left };
        loop {
            let mut data = vec![0; PIECE.min(usize::try_from(file.left).unwrap_or(PIECE))];
            let read = file.read(&mut data).map_err(cannot)?;
            data.truncate(read);
            self.sent.fetch_add(read as u64, Ordering::Relaxed);
            let piece = Packet {
                id,
                data,
                ..of_type(PacketType::PacketData)
            };
            // An engine that went away wants nothing more.
            if packets.blocking_send(Ok(piece)).is_err() || read == 0 {
                return Ok(());
            }
        }
    }

    fn fail(&self, error: io::Error, packets: &Packets) {
        // An engine that went away has a reason of its own.
        if packets.is_closed() {
            return;
        }
        let told = Packet {
            data: error.to_string().into_bytes(),
            ..of_type(PacketType::PacketErr)
        };
        _ = self.failed.try_send(error);
        _ = packets.blocking_send(Ok(told));
    }
}

/// The list of what there is, while it is told.
struct List<'a> {
    /// The files that may be asked for, by their places.
    listed: &'a Mutex<HashMap<u32, PathBuf>>,
    packets: &'a Packets,
    next: u32,
    /// The folders around what comes next that were told.
    told: Vec<PathBuf>,
}

impl List<'_> {
    fn tell(mut self, context: &Context, wanted: &Wanted) -> io::Result<()> {
        match wanted {
            Wanted::Dockerfile => {
                let name = Path::new(context.dockerfile());
                let path = context.dockerfile_path();
                for folder in parents(name) {
                    let around = fs::symlink_metadata(context.folder().join(folder));
                    self.add(folder, path, &around?)?;
                }
                let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
                self.add(name, path, &metadata)?;
            }
            Wanted::Everything | Wanted::Paths(_) => context.visit(None, |path, name| {
                if !wanted.includes(name) {
                    return Ok(());
                }
                let metadata = |path: &Path| {
                    fs::symlink_metadata(path).map_err(|error| cannot_read(path, &error))
                };
                // The engine takes nothing from a folder that it does not know.
                self.told.retain(|folder| name.starts_with(folder));
                for folder in parents(name).skip(self.told.len()) {
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
            self.told.push(name.to_owned());
        } else if kind.is_file() {
            let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            listed.insert(self.next, path.to_owned());
        }
        self.next += 1;
        let told = Packet {
            stat: Some(stat),
            ..of_type(PacketType::PacketStat)
        };
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.packets.blocking_send(Ok(told)).map_err(gone)
    }
}

impl Wanted {
    /// Reads which folder the engine asks for, and which part of it.
    fn read(metadata: &MetadataMap, folder: &Path) -> Result<Self, Status> {
        let text = |key: &'static str| metadata.get(key).and_then(|value| value.to_str().ok());
        match text("dir-name") {
            Some("dockerfile") => return Ok(Self::Dockerfile),
            Some("context") => {}
            other => {
                let name = other.unwrap_or_default();
                return Err(Status::permission_denied(format!(
                    "a build may not read `{name}`"
                )));
            }
        }
        // A list that is encoded has names that are not ASCII.
        if metadata.contains_key("followpaths-encoded") {
            return Ok(Self::Everything);
        }
        let paths = metadata.get_all("followpaths").iter();
        let paths: Option<Vec<PathBuf>> = paths
            .map(|path| plain_path(path.to_str().ok()?, folder))
            .collect();
        Ok(match paths {
            Some(paths) if !paths.is_empty() => Self::Paths(paths),
            _ => Self::Everything,
        })
    }

    /// Tells whether something is told of, for itself or for what is in it.
    fn includes(&self, name: &Path) -> bool {
        match self {
            Self::Dockerfile => false,
            Self::Everything => true,
            Self::Paths(paths) => paths
                .iter()
                .any(|path| name.starts_with(path) || path.starts_with(name)),
        }
    }
}

/// Returns a path that stands for itself: without patterns, and without links, which lead to other files.
fn plain_path(text: &str, folder: &Path) -> Option<PathBuf> {
    let path = Path::new(text.trim_start_matches('/'));
    let is_plain = !text.contains(['*', '?', '[', '\\']) && path != Path::new("");
    let is_below = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    if !is_plain || !path.components().all(is_below) {
        return None;
    }
    let path: PathBuf = path.components().collect();
    let is_link = |path: &Path| {
        let there = folder.join(path).symlink_metadata();
        there.is_ok_and(|it| it.is_symlink())
    };
    let leads_elsewhere = is_link(&path) || parents(&path).any(is_link);
    (!leads_elsewhere).then_some(path)
}

/// Returns the folders around something, the outermost first.
fn parents(name: &Path) -> impl Iterator<Item = &Path> {
    let around: Vec<&Path> = name.ancestors().skip(1).collect();
    let around = around.into_iter().rev();
    around.filter(|folder| *folder != Path::new(""))
}

/// Tells of one file, folder or link: its mode and time are kept, its owner becomes root, as with `docker build`.
fn stat(name: &Path, path: &Path, metadata: &Metadata) -> io::Result<Stat> {
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| {
            let what = format!("`{}` is no UTF-8", path.display());
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
    let size = match kind.is_file() {
        true => i64::try_from(metadata.len()).unwrap_or(i64::MAX),
        false => 0,
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

fn of_type(kind: PacketType) -> Packet {
    Packet {
        r#type: kind.into(),
        ..Packet::default()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Makes a folder with these files, which hold their names.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
        }
        folder
    }

    fn context(folder: &Path) -> Context {
        Context::open(folder, folder, &folder.join("Dockerfile")).unwrap()
    }

    /// Returns what is told, with the files that may be asked for.
    fn told(context: &Context, wanted: &Wanted) -> io::Result<(Vec<Stat>, HashMap<u32, PathBuf>)> {
        let (packets, mut sent) = mpsc::channel(1000);
        let listed = Mutex::default();
        let list = List {
            listed: &listed,
            packets: &packets,
            next: 0,
            told: Vec::new(),
        };
        list.tell(context, wanted)?;
        drop(packets);
        let mut stats = Vec::new();
        while let Some(packet) = sent.blocking_recv() {
            let packet = packet.unwrap();
            assert_eq!(packet.r#type(), PacketType::PacketStat);
            stats.push(packet.stat);
        }
        assert_eq!(stats.pop(), Some(None), "the end is told");
        let stats = stats.into_iter().map(Option::unwrap).collect();
        Ok((stats, listed.into_inner().unwrap()))
    }

    fn names(context: &Context, wanted: &Wanted) -> Vec<String> {
        let (stats, listed) = told(context, wanted).unwrap();
        for (id, path) in listed {
            let stat = &stats[id as usize];
            assert!(path.ends_with(&stat.path), "{} is {}", stat.path, id);
            assert_eq!(stat.mode & (DIRECTORY | SYMLINK), 0);
        }
        stats.into_iter().map(|stat| stat.path).collect()
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_nothing_ignored_comes() {
        let folder = folder(&["Dockerfile", "a/b/c", "a/b/d", "a-b", "z/y", "kept/x/y"]);
        fs::write(
            folder.path().join(".dockerignore"),
            ".dockerignore\nDockerfile\na/b/d\nz\nkept\n!kept/x/y\n",
        )
        .unwrap();
        let context = context(folder.path());
        let all = ["a", "a/b", "a/b/c", "a-b", "kept", "kept/x", "kept/x/y"];
        assert_eq!(names(&context, &Wanted::Everything), all);
        assert_eq!(names(&context, &Wanted::Dockerfile), ["Dockerfile"]);
        let some = |paths: &[&str]| {
            let paths = paths.iter().map(PathBuf::from).collect();
            names(&context, &Wanted::Paths(paths))
        };
        assert_eq!(some(&["a/b", "no"]), ["a", "a/b", "a/b/c"]);
        assert_eq!(
            some(&["kept/x/y", "a-b"]),
            ["a-b", "kept", "kept/x", "kept/x/y"]
        );
        assert_eq!(some(&[".dockerignore"]), [""; 0]);
    }

    #[test]
    fn a_dockerfile_in_a_folder_comes_with_it() {
        let folder = folder(&["docker/for/Dockerfile", "x"]);
        let dockerfile = folder.path().join("docker/for/Dockerfile");
        let context = Context::open(folder.path(), folder.path(), &dockerfile).unwrap();
        assert_eq!(
            names(&context, &Wanted::Dockerfile),
            ["docker", "docker/for", "docker/for/Dockerfile"]
        );
    }

    #[test]
    fn modes_and_links_are_kept() {
        let folder = folder(&["Dockerfile", "run"]);
        let run = folder.path().join("run");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("../else where", folder.path().join("to")).unwrap();
        let (stats, _) = told(&context(folder.path()), &Wanted::Everything).unwrap();
        let [_, run, to] = stats.as_slice() else {
            panic!("{stats:?}")
        };
        assert_eq!((run.mode, run.size), ((1 << 23) | 0o751, 3));
        assert_eq!(to.mode & SYMLINK, SYMLINK);
        assert_eq!((to.linkname.as_str(), to.size), ("../else where", 0));
        assert_eq!((run.uid, run.gid), (0, 0));
    }

    #[test]
    fn a_name_that_is_no_text_is_an_error_of_its_own() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = folder(&["Dockerfile"]);
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        fs::write(folder.path().join(name), "x").unwrap();
        let error = told(&context(folder.path()), &Wanted::Everything).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename);
    }

    #[test]
    fn only_plain_paths_are_taken_for_a_part_of_the_context() {
        let folder = folder(&["real/x"]);
        symlink("real", folder.path().join("link")).unwrap();
        let of = |text| plain_path(text, folder.path());
        for (text, path) in [
            ("src", "src"),
            ("/src/a", "src/a"),
            ("src/", "src"),
            ("./x", "x"),
        ] {
            assert_eq!(
                of(text).as_deref(),
                (text != "./x").then_some(Path::new(path)),
                "{text}"
            );
        }
        for text in [
            "", "/", ".", "..", "a/../b", "*.go", "a?", "[a]", "a\\b", "link", "link/x",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_is_sent_in_pieces_and_ends_with_an_empty_one() {
        let folder = folder(&["Dockerfile", "empty"]);
        let path = folder.path().join("large");
        fs::write(&path, vec![7; 2 * PIECE + 5]).unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        let (failed, _) = mpsc::channel(1);
        let files = Files {
            context: Arc::new(context(folder.path())),
            sent: Arc::default(),
            failed,
        };
        let lengths = |path: &Path| {
            let (packets, mut sent) = mpsc::channel(100);
            files.send(3, path, &packets).unwrap();
            drop(packets);
            let mut lengths = Vec::new();
            while let Some(Ok(packet)) = sent.blocking_recv() {
                assert_eq!((packet.r#type(), packet.id), (PacketType::PacketData, 3));
                lengths.push(packet.data.len());
            }
            lengths
        };
        assert_eq!(lengths(&path), [PIECE, PIECE, 5, 0]);
        assert_eq!(lengths(&folder.path().join("empty")), [0]);
        assert_eq!(files.sent.load(Ordering::Relaxed), 2 * PIECE as u64 + 5);
        assert!(
            files
                .send(3, &folder.path().join("gone"), &mpsc::channel(1).0)
                .is_err()
        );
    }
}
