//! Stateful connections: ssh and `git://`.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Operation;
use super::ssh::{self, SshProcess};
use crate::base::units;
use crate::client::git::error::address;
use crate::client::git::{GitClient, GitError};
use crate::client::timeouts::Timeouts;
use crate::model::source::{GitScheme, GitUrl};

const GIT_PORT: u16 = 9418;

/// An open connection to `git-upload-pack`.
pub(in crate::client::git) struct StreamConnection {
    url: GitUrl,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Killed on drop.
    process: Option<SshProcess>,
    timeouts: Timeouts,
}

impl StreamConnection {
    /// Connects, and requests the repository.
    pub(in crate::client::git) async fn open(
        client: &GitClient,
        url: &GitUrl,
        version2: bool,
    ) -> Result<Self, GitError> {
        let timeouts = client.shared.http.timeouts();
        if url.scheme() == GitScheme::Ssh {
            let (process, reader, writer) = ssh::spawn(client, url, version2)?;
            return Ok(Self {
                url: url.clone(),
                reader: Box::new(reader),
                writer: Box::new(writer),
                process: Some(process),
                timeouts,
            });
        }
        let connect = TcpStream::connect((url.host(), url.port().unwrap_or(GIT_PORT)));
        let stream = match timeout(timeouts.connect, connect).await {
            Err(_) => {
                let limit = units::limit(timeouts.connect);
                let why = format!("the connection timed out after {limit}");
                return Err(GitError::unreachable(url).because(why).transient());
            }
            Ok(Err(cause)) => return Err(GitError::unreachable(url).because(cause).transient()),
            Ok(Ok(stream)) => stream,
        };
        let (reader, writer) = stream.into_split();
        let mut connection = Self {
            url: url.clone(),
            reader: Box::new(reader),
            writer: Box::new(writer),
            process: None,
            timeouts,
        };
        let version = if version2 { "\0version=2\0" } else { "" };
        let request = format!(
            "git-upload-pack {}\0host={}\0{version}",
            url.path(),
            address(url)
        );
        connection
            .write(format!("{:04x}{request}", request.len() + 4).as_bytes())
            .await?;
        Ok(connection)
    }

    /// Returns the remote's URL.
    pub(in crate::client::git) fn url(&self) -> &GitUrl {
        &self.url
    }

    /// Reads at least one byte.
    pub(in crate::client::git) async fn read(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<usize, GitError> {
        match timeout(self.timeouts.stall, self.reader.read(buffer)).await {
            Err(_) => Err(GitError::timed_out(&self.url, self.timeouts.stall)),
            Ok(Ok(0)) => Err(self.closed(None).await),
            Ok(Ok(read)) => Ok(read),
            Ok(Err(cause)) => Err(self.closed(Some(cause)).await),
        }
    }

    /// Writes all bytes.
    pub(in crate::client::git) async fn write(&mut self, bytes: &[u8]) -> Result<(), GitError> {
        let write = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        match timeout(self.timeouts.stall, write).await {
            Err(_) => Err(GitError::timed_out(&self.url, self.timeouts.stall)),
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(self.closed(Some(cause)).await),
        }
    }

    /// Closes the connection cleanly, so that the server does not log an error.
    pub(in crate::client::git) async fn finish(mut self) {
        let _ = self.writer.shutdown().await;
        drop(self.writer);
        if let Some(process) = &mut self.process {
            process.wait(Duration::from_millis(500)).await;
        }
    }

    /// Returns the error for a connection closed by the server.
    async fn closed(&mut self, cause: Option<io::Error>) -> GitError {
        match &mut self.process {
            Some(process) => process.explain(&self.url).await,
            None => {
                let reason = cause.map_or("the server closed the connection".to_owned(), |cause| {
                    cause.to_string()
                });
                GitError::unreachable(&self.url).because(reason).transient()
            }
        }
    }
}

/// The stream that libgit2 reads and writes.
pub(super) struct StatefulStream {
    operation: Arc<Operation>,
    connection: StreamConnection,
}

impl StatefulStream {
    pub(super) fn open(operation: Arc<Operation>) -> io::Result<Self> {
        // libgit2 does not support protocol version 2.
        let connection = operation.block_on(StreamConnection::open(
            &operation.client,
            &operation.url,
            false,
        ))?;
        Ok(Self {
            operation,
            connection,
        })
    }
}

impl Read for StatefulStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.operation.block_on(self.connection.read(buffer))
    }
}

impl Write for StatefulStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.operation.block_on(self.connection.write(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
