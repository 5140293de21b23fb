//! Connections that carry bytes of another protocol than HTTP once the engine agreed.
//!
//! The client library reads the engine's frames wherever a piece of what a terminal shows begins with one of
//! the bytes 0, 1 and 2. A terminal has no frames, and may show any byte: so its connection is made here,
//! one request long. The other such connections are the session of a build and BuildKit's own API.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, Join, ReadBuf, ReadHalf, WriteHalf};
use tokio_util::io::ReaderStream;
use tonic::transport::server::Connected;

use super::container::OUTPUT_CAPACITY;
use super::program::ProgramInput;
use super::way::Connection;
use super::{Engine, EngineError};

/// The longest head of an answer: the engine's has some hundred bytes.
const LONGEST_HEAD: u64 = 64 * 1024;

/// What the engine sends.
pub(super) type Reader = BufReader<ReadHalf<Box<dyn Connection>>>;

/// What the engine is sent.
pub(super) type Writer = WriteHalf<Box<dyn Connection>>;

/// A connection after the engine agreed; what follows the head of its answer is unread.
pub(super) struct Answer {
    pub reader: Reader,
    pub writer: Writer,
}

impl Answer {
    /// Returns the connection as one stream.
    pub fn into_stream(self) -> EngineStream {
        EngineStream(tokio::io::join(self.reader, self.writer))
    }
}

/// A connection on which gRPC is spoken, in either direction.
pub(super) struct EngineStream(Join<Reader, Writer>);

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

impl Engine {
    /// Starts a prepared program, and returns what it reads and what its terminal shows.
    pub(super) async fn start_in_terminal(
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
        let Answer { reader, writer } = self.upgrade(&path, headers, body, action).await?;
        let action = action.to_owned();
        let shown = ReaderStream::with_capacity(reader, OUTPUT_CAPACITY);
        let shown = shown.map(move |chunk| chunk.map_err(|error| broken(&action, error)));
        Ok((Box::pin(writer), shown))
    }

    /// Makes a connection, and asks the engine to speak another protocol on it. Each header ends with a line
    /// end.
    ///
    /// # Errors
    ///
    /// An engine that is not reached, or refuses.
    pub(super) async fn upgrade(
        &self,
        path: &str,
        headers: &str,
        body: &str,
        action: &str,
    ) -> Result<Answer, EngineError> {
        let dialled = self.way.dial().await;
        let connection = dialled.map_err(|error| broken(action, error))?;
        let (reader, mut writer) = tokio::io::split(connection);
        let mut reader = BufReader::with_capacity(OUTPUT_CAPACITY, reader);
        let request = format!(
            "POST /v{}{path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            self.docker.client_version(),
            body.len()
        );
        let (status, head) = ask(&mut reader, &mut writer, &request)
            .await
            .map_err(|error| broken(action, error))?;
        if !matches!(status, 101 | 200) {
            let message = refusal(&mut reader, &head).await;
            return Err(EngineError::Refused {
                action: action.to_owned(),
                message,
                status: Some(status),
            });
        }
        Ok(Answer { reader, writer })
    }
}

fn broken(action: &str, source: std::io::Error) -> EngineError {
    EngineError::Broken {
        action: action.to_owned(),
        source: source.into(),
    }
}

/// Sends a request, and reads the head of the answer; what follows it stays unread.
pub(super) async fn ask(
    reader: &mut Reader,
    writer: &mut Writer,
    request: &str,
) -> std::io::Result<(u16, String)> {
    writer.write_all(request.as_bytes()).await?;
    writer.flush().await?;
    let mut head = Vec::new();
    let mut limited = reader.take(LONGEST_HEAD);
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

/// Reads what the engine says of its refusal.
async fn refusal(reader: &mut Reader, head: &str) -> String {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok()).flatten()
    });
    let mut body = Vec::new();
    let length: u64 = length.unwrap_or(0);
    _ = reader
        .take(length.min(LONGEST_HEAD))
        .read_to_end(&mut body)
        .await;
    let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let said = said.and_then(|said| said.get("message")?.as_str().map(str::to_owned));
    said.unwrap_or_else(|| "it gave no reason".to_owned())
}
