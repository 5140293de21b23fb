//! Keeps the tail of a program's standard error.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// How many bytes are kept.
const MAX_LENGTH: usize = 16 << 10;

/// Drains a program's standard error, so that it never blocks on a full pipe, and keeps the tail of it.
pub struct OutputTail {
    tail: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl OutputTail {
    /// Starts reading.
    pub fn of(pipe: Option<ChildStderr>) -> Self {
        let tail = Arc::new(Mutex::new(Vec::new()));
        let reading = tokio::spawn(read(pipe, tail.clone()));
        Self { tail, reading }
    }

    /// Returns the tail of the output. Waits up to `limit` for the end of it, as another program may keep the pipe
    /// open.
    pub async fn wait(&mut self, limit: Duration) -> String {
        if !self.reading.is_finished() {
            _ = tokio::time::timeout(limit, &mut self.reading).await;
        }
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&tail).into_owned()
    }
}

async fn read(pipe: Option<ChildStderr>, into: Arc<Mutex<Vec<u8>>>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
        into.extend_from_slice(&buffer[..read]);
        let excess = into.len().saturating_sub(MAX_LENGTH);
        into.drain(..excess);
    }
}
