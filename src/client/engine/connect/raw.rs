//! Connections that are upgraded from HTTP to another protocol.
//!
//! They serve terminals, the session of a build, and BuildKit's own API. For terminals, the client library would
//! mistake output that begins with one of the bytes 0, 1 and 2 for the header of a frame, but their output has no
//! frames.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, Join, ReadBuf, ReadHalf, WriteHalf};
use tokio_util::io::ReaderStream;
use tonic::transport::server::Connected;

use crate::client::engine::connect::endpoint::EngineConnection;
use crate::client::engine::error::response_message;
use crate::client::engine::{Engine, EngineError};

/// The chunk size for reading the output of scripts.
pub const OUTPUT_CAPACITY: usize = 64 * 1024;

/// The maximum length of the response headers; those of the engine have a few hundred bytes.
const MAX_HEAD_LENGTH: u64 = 64 * 1024;

/// The receiving half of a connection.
pub type ConnectionReader = BufReader<ReadHalf<Box<dyn EngineConnection>>>;

/// The sending half of a connection.
pub type ConnectionWriter = WriteHalf<Box<dyn EngineConnection>>;

/// A connection after the upgrade; nothing after the response headers was read.
pub struct UpgradedConnection {
    pub reader: ConnectionReader,
    pub writer: ConnectionWriter,
}

impl UpgradedConnection {
    /// Returns the connection as one stream.
    pub fn into_stream(self) -> EngineStream {
        EngineStream(tokio::io::join(self.reader, self.writer))
    }
}

/// A connection for gRPC, in either direction.
pub struct EngineStream(Join<ConnectionReader, ConnectionWriter>);

impl Connected for EngineStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for EngineStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for EngineStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The input of a program.
pub type ProgramInput = Pin<Box<dyn AsyncWrite + Send>>;

impl Engine {
    /// Starts a prepared program with a terminal, and returns its input and output.
    pub async fn start_in_terminal(
        &self,
        exec: &str,
        action: &str,
    ) -> Result<
        (
            ProgramInput,
            impl Stream<Item = Result<Bytes, EngineError>> + Send + use<>,
        ),
        EngineError,
    > {
        let path = format!("/exec/{exec}/start");
        let headers = "Upgrade: tcp\r\nContent-Type: application/json\r\n";
        let body = r#"{"Detach":false,"Tty":true}"#;
        let UpgradedConnection { reader, writer } =
            self.upgrade(&path, headers, body, action).await?;
        let action = action.to_owned();
        let shown = ReaderStream::with_capacity(reader, OUTPUT_CAPACITY);
        let shown = shown.map(move |chunk| chunk.map_err(|error| broken(&action, error)));
        Ok((Box::pin(writer), shown))
    }

    /// Opens a connection and upgrades it to another protocol. Each header must end with a line end.
    ///
    /// # Errors
    ///
    /// If the engine cannot be reached, or rejects the request.
    pub async fn upgrade(
        &self,
        path: &str,
        headers: &str,
        body: &str,
        action: &str,
    ) -> Result<UpgradedConnection, EngineError> {
        let connection = self.endpoint.dial().await;
        let connection = connection.map_err(|error| broken(action, error))?;
        let (reader, mut writer) = tokio::io::split(connection);
        let mut reader = BufReader::with_capacity(OUTPUT_CAPACITY, reader);
        let request = format!(
            "POST /v{}{path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            self.docker.client_version(),
            body.len()
        );
        let (status, head) = send_request(&mut reader, &mut writer, &request)
            .await
            .map_err(|error| broken(action, error))?;
        if !matches!(status, 101 | 200) {
            let message = rejection(&mut reader, &head).await;
            return Err(EngineError::Refused {
                action: action.to_owned(),
                message,
                status: Some(status),
            });
        }
        Ok(UpgradedConnection { reader, writer })
    }
}

fn broken(action: &str, source: std::io::Error) -> EngineError {
    EngineError::Broken {
        action: action.to_owned(),
        source: source.into(),
    }
}

/// Sends a request, and returns the status and headers of the response; the body is not read.
pub async fn send_request(
    reader: &mut ConnectionReader,
    writer: &mut ConnectionWriter,
    request: &str,
) -> std::io::Result<(u16, String)> {
    writer.write_all(request.as_bytes()).await?;
    writer.flush().await?;
    let mut head = Vec::new();
    let mut limited = reader.take(MAX_HEAD_LENGTH);
    while !head.ends_with(b"\r\n\r\n") {
        if limited.read_until(b'\n', &mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((status, head))
}

/// Reads the message of a rejected request.
async fn rejection(reader: &mut ConnectionReader, head: &str) -> String {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok()).flatten()
    });
    let mut body = Vec::new();
    let length: u64 = length.unwrap_or(0);
    _ = reader
        .take(length.min(MAX_HEAD_LENGTH))
        .read_to_end(&mut body)
        .await;
    let message = response_message(&String::from_utf8_lossy(&body));
    message.unwrap_or_else(|| "no reason given".to_owned())
}
