//! The stream from which libgit2 reads packs over smart HTTP.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Response;

use super::Operation;
use super::http::HttpRemote;
use crate::client::git::GitError;

/// The stream of one request: libgit2 writes the request, then reads the response.
pub(super) struct HttpStream {
    operation: Arc<Operation>,
    /// Whether to request the reference advertisement instead of sending `request`.
    is_advertisement: bool,
    request: Vec<u8>,
    response: Option<Response>,
    chunk: Bytes,
}

impl HttpStream {
    pub(super) fn new(operation: Arc<Operation>, is_advertisement: bool) -> Self {
        Self {
            operation,
            is_advertisement,
            request: Vec::new(),
            response: None,
            chunk: Bytes::new(),
        }
    }

    async fn fill(&mut self) -> Result<(), GitError> {
        let operation = self.operation.clone();
        let mut remote = operation.http.lock().await;
        let remote = match &mut *remote {
            Some(remote) => remote,
            empty => empty.insert(HttpRemote::new(&operation.client, &operation.url)?),
        };
        let response = match &mut self.response {
            Some(response) => response,
            empty => empty.insert(if self.is_advertisement {
                remote.advertisement(false).await?
            } else {
                remote
                    .upload_pack(std::mem::take(&mut self.request), false)
                    .await?
            }),
        };
        // libgit2 would take an empty chunk for the end.
        loop {
            match response
                .chunk()
                .await
                .map_err(|cause| remote.broken(cause))?
            {
                Some(chunk) if chunk.is_empty() => {}
                chunk => {
                    self.chunk = chunk.unwrap_or_default();
                    return Ok(());
                }
            }
        }
    }
}

impl Read for HttpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let operation = self.operation.clone();
            operation.block_on(self.fill())?;
        }
        let size = buffer.len().min(self.chunk.len());
        buffer[..size].copy_from_slice(&self.chunk.split_to(size));
        Ok(size)
    }
}

impl Write for HttpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The request contains only wants and haves: tens of kilobytes.
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
