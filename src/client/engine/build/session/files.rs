//! Sends the build context to BuildKit as single files, and only those that the Dockerfile copies.
//!
//! The engine opens a stream for each of two named folders: the Dockerfile's and the context. The client sends a sorted
//! list of entries, which ends with an empty one. The engine requests files by their index in that list, and each file
//! is sent in chunks, of which the last is empty. Ignored files are excluded here, regardless of the engine's excludes.

mod list;
mod requested;

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

use crate::client::engine::build::context::{ContextFolder, cannot_read};
use crate::client::engine::exact_reader::ExactReader;
use list::{FileLister, RequestableFiles};
use requested::RequestedFiles;

/// The size of the chunks in which files are sent.
const CHUNK: usize = 128 * 1024;

/// The number of packets that are queued for the connection.
const QUEUE_LENGTH: usize = 16;

/// The queue of packets for the engine; its receiver may be gone.
type Packets = mpsc::Sender<Result<Packet, Status>>;

/// The files of a build.
#[derive(Clone)]
pub struct ContextFiles {
    pub context: Arc<ContextFolder>,
    /// The number of bytes sent so far.
    pub sent: Arc<AtomicU64>,
    /// Receives the error of a file that cannot be sent.
    pub failed: mpsc::Sender<io::Error>,
}

#[async_trait]
impl FileSync for ContextFiles {
    type DiffCopyStream = BoxStream<'static, Result<Packet, Status>>;
    type TarStreamStream = BoxStream<'static, Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let requested_files = RequestedFiles::parse(request.metadata(), self.context.folder())?;
        let (packets, sent) = mpsc::channel(QUEUE_LENGTH);
        let files = self.clone();
        tokio::spawn(async move {
            files
                .transfer(requested_files, request.into_inner(), packets)
                .await
        });
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
        Err(Status::unimplemented("only single files are supported"))
    }
}

impl ContextFiles {
    /// Sends the list of files and then the requested ones, until the engine has everything it wants.
    async fn transfer(
        self,
        requested_files: RequestedFiles,
        mut incoming: Streaming<Packet>,
        packets: Packets,
    ) {
        let listed = Arc::<RequestableFiles>::default();
        let (requests, mut requested) = mpsc::unbounded_channel::<u32>();
        let listing = {
            let (files, listed, packets) = (self.clone(), Arc::clone(&listed), packets.clone());
            tokio::task::spawn_blocking(move || {
                let list = FileLister::new(&listed, &packets);
                if let Err(error) = list.send(&files.context, &requested_files) {
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
                        None => Err(io::Error::other("the engine requested an unknown file")),
                    };
                    if let Err(error) = sent {
                        return files.fail(error, &packets);
                    }
                }
            })
        };
        while let Ok(Some(packet)) = incoming.message().await {
            match packet.r#type() {
                PacketType::PacketReq => _ = requests.send(packet.id),
                PacketType::PacketFin => {
                    _ = packets.send(Ok(of_type(PacketType::PacketFin))).await;
                    break;
                }
                // The build reports the error.
                PacketType::PacketErr => break,
                PacketType::PacketStat | PacketType::PacketData => {}
            }
        }
        drop((requests, packets, incoming));
        _ = tokio::join!(listing, sending);
    }

    /// Sends a file in chunks.
    fn send(&self, id: u32, path: &Path, packets: &Packets) -> io::Result<()> {
        let cannot = |error: io::Error| cannot_read(path, &error);
        // The file may have been replaced by a link to another one since it was listed.
        let mut options = File::options();
        let options = options.read(true);
        let options = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(path).map_err(cannot)?;
        let left = file.metadata().map_err(cannot)?.len();
        let mut file = ExactReader { file, left };
        loop {
            let mut data = vec![0; CHUNK.min(usize::try_from(file.left).unwrap_or(CHUNK))];
            let read = file.read(&mut data).map_err(cannot)?;
            data.truncate(read);
            self.sent.fetch_add(read as u64, Ordering::Relaxed);
            let chunk = Packet {
                id,
                data,
                ..of_type(PacketType::PacketData)
            };
            // The receiver is gone if the engine canceled.
            if packets.blocking_send(Ok(chunk)).is_err() || read == 0 {
                return Ok(());
            }
        }
    }

    fn fail(&self, error: io::Error, packets: &Packets) {
        // If the engine canceled, the error does not matter.
        if packets.is_closed() {
            return;
        }
        let packet = Packet {
            data: error.to_string().into_bytes(),
            ..of_type(PacketType::PacketErr)
        };
        _ = self.failed.try_send(error);
        _ = packets.blocking_send(Ok(packet));
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
    fn files_are_sent_in_chunks_terminated_by_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = folder.path().join("Dockerfile");
        let path = folder.path().join("large");
        fs::write(&dockerfile, "FROM scratch").unwrap();
        fs::write(&path, vec![7; 2 * CHUNK + 5]).unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        let (failed, _) = mpsc::channel(1);
        let files = ContextFiles {
            context: Arc::new(
                ContextFolder::open(folder.path(), folder.path(), &dockerfile).unwrap(),
            ),
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
        assert_eq!(lengths(&path), [CHUNK, CHUNK, 5, 0]);
        assert_eq!(lengths(&folder.path().join("empty")), [0]);
        assert_eq!(files.sent.load(Ordering::Relaxed), 2 * CHUNK as u64 + 5);
        assert!(
            files
                .send(3, &folder.path().join("gone"), &mpsc::channel(1).0)
                .is_err()
        );
    }
}
