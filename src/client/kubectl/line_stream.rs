//! Responses as streams of lines, such as logs and watches.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use crate::base::error::innermost;

/// How long a stream may be silent. A connection that is lost without notice is opened again.
const SILENCE: Duration = Duration::from_secs(300);

/// The maximum length of a line; the rest of a longer one is dropped.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// A stream of lines.
pub struct LineStream {
    response: Response,
    buffer: BytesMut,
    /// When something arrived last. Kept across calls, because a canceled one would restart the limit.
    last: Instant,
    /// Whether the rest of a line that is too long is dropped.
    is_dropping: bool,
}

impl LineStream {
    pub(super) fn new(response: Response) -> Self {
        Self {
            response,
            buffer: BytesMut::new(),
            last: Instant::now(),
            is_dropping: false,
        }
    }

    /// Returns the next line without its end; `None` at the end of the stream. Can be canceled without losing bytes.
    ///
    /// # Errors
    ///
    /// The connection was lost, or has been silent for minutes.
    pub async fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.advance(end + 1);
                if std::mem::take(&mut self.is_dropping) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.buffer.len() > LONGEST_LINE {
                self.buffer.clear();
                self.is_dropping = true;
            }
            let chunk = timeout_at(self.last + SILENCE, self.response.chunk()).await;
            self.last = Instant::now();
            match chunk {
                Err(_) => return Err("silent for too long".to_owned()),
                Ok(Err(error)) => return Err(innermost(&error).to_string()),
                Ok(Ok(Some(chunk))) => self.buffer.extend_from_slice(&chunk),
                Ok(Ok(None)) if self.buffer.is_empty() || self.is_dropping => return Ok(None),
                Ok(Ok(None)) => {
                    let rest = self.buffer.split();
                    return Ok(Some(String::from_utf8_lossy(&rest).into_owned()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use futures_util::stream;
    use reqwest::Body;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn silence_is_measured_across_canceled_calls() {
        let body = Body::wrap_stream(stream::pending::<io::Result<Bytes>>());
        let mut stream = LineStream::new(hyper::Response::new(body).into());
        let brief = Duration::from_millis(1);
        assert!(timeout(brief, stream.next()).await.is_err());
        stream.last -= SILENCE;
        let next = timeout(SILENCE / 2, stream.next()).await;
        assert_eq!(next.unwrap().unwrap_err(), "silent for too long");
    }
}
