//! What a program says on its standard error before it ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;

/// How much of it is kept, in bytes: the end.
const LONGEST: usize = 16 << 10;

/// Reads what a program says, so that it never waits for a reader, and keeps the end of it.
pub(super) struct LastWords {
    said: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl LastWords {
    /// Begins to read.
    pub(super) fn of(pipe: Option<ChildStderr>) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let reading = tokio::spawn(read(pipe, said.clone()));
        Self { said, reading }
    }

    /// Returns the end of what was said. Waits for more, but no longer than that: another program may hold
    /// the pipe open.
    pub(super) async fn wait(&mut self, limit: Duration) -> String {
        if !self.reading.is_finished() {
            _ = tokio::time::timeout(limit, &mut self.reading).await;
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }
}

async fn read(pipe: Option<ChildStderr>, into: Arc<Mutex<Vec<u8>>>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
        into.extend_from_slice(&buffer[..read]);
        let excess = into.len().saturating_sub(LONGEST);
        into.drain(..excess);
    }
}
