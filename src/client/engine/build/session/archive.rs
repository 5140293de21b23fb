//! The build context as one archive, which BuildKit fetches through the session.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::moby::upload::v1::BytesMessage;
use bollard::moby::upload::v1::upload_server::Upload;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::ContextFiles;

/// A context that is sent as one tar archive. Unlike [`ContextFiles`], it supports file names that are not UTF-8.
pub struct ContextArchive(pub ContextFiles);

impl ContextArchive {
    /// The URL at which BuildKit fetches the archive from the session.
    pub const URL: &'static str = "http://buildkit-session/context";
}

#[async_trait]
impl Upload for ContextArchive {
    type PullStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn pull(
        &self,
        _: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let ContextFiles {
            context,
            sent,
            failed,
        } = self.0.clone();
        let pieces = counted(context.stream(), &sent, failed)
            .map_ok(|bytes| BytesMessage {
                data: bytes.to_vec(),
            })
            .map_err(|error| Status::aborted(error.to_string()));
        Ok(Response::new(pieces.boxed()))
    }
}

/// Counts the bytes of an archive, and reports its error.
pub fn counted<A: Stream<Item = io::Result<Bytes>>>(
    archive: A,
    sent: &Arc<AtomicU64>,
    failed: mpsc::Sender<io::Error>,
) -> impl Stream<Item = io::Result<Bytes>> + use<A> {
    let sent = Arc::clone(sent);
    archive.map(move |chunk| match chunk {
        Ok(bytes) => {
            sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes)
        }
        Err(error) => {
            let reported = io::Error::new(error.kind(), error.to_string());
            _ = failed.try_send(error);
            Err(reported)
        }
    })
}
