//! The build context, as BuildKit asks for it: file by file, and only what the Dockerfile copies.
//!
//! The engine opens a stream for each of the folders that it knows by a name, the Dockerfile's and the context.
//! There the client tells what there is, sorted, and ends with an empty telling; the engine asks for the files that
//! it wants, by their places in that list, and each comes in pieces, of which an empty one is the last. What is
//! ignored is left out here, whatever the engine says is to be.

mod list;
mod wanted;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use bollard::fsutil::types::Packet;
use bollard::fsutil::types::packet::PacketType;
use bollard::moby::filesync::packet::file_sync_server::FileSync;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use rustix::fs::OFlags;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::client::engine::context::{Context, Exactly, cannot_read};
use list::{List, Listed};
use wanted::Wanted;

/// How much of a file is sent at once.
const PIECE: usize = 128 * 1024;

/// How many packets wait for the connection.
const WAITING: usize = 16;

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
        let listed = Arc::<Listed>::default();
        let (requests, mut requested) = mpsc::unbounded_channel::<u32>();
        let telling = {
            let (files, listed, packets) = (self.clone(), Arc::clone(&listed), packets.clone());
            tokio::task::spawn_blocking(move || {
                let list = List::new(&listed, &packets);
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

fn of_type(kind: PacketType) -> Packet {
    Packet {
        r#type: kind.into(),
        ..Packet::default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_sent_in_pieces_and_ends_with_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = folder.path().join("Dockerfile");
        let path = folder.path().join("large");
        fs::write(&dockerfile, "FROM scratch").unwrap();
        fs::write(&path, vec![7; 2 * PIECE + 5]).unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        let (failed, _) = mpsc::channel(1);
        let files = Files {
            context: Arc::new(Context::open(folder.path(), folder.path(), &dockerfile).unwrap()),
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
