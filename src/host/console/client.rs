//! Stops xp in a container when its caller on the host is gone.
//!
//! A killed caller cannot forward a signal, so the container would keep running and hold the lock of its
//! folder. Therefore the caller holds a pipe open, and xp ends when the pipe is closed.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::net::unix::pipe;

use crate::base::error::Exit;

/// How long a clean shutdown may take.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// Stops xp when the pipe at `path` no longer has a writer. The pipe is unlinked immediately.
///
/// Uses its own thread and runtime, because all others may be busy.
pub fn end_with(path: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    thread::spawn(move || {
        let was_opened = runtime.block_on(async {
            let receiver = pipe::OpenOptions::new().open_receiver(&path).ok()?;
            _ = fs::remove_file(&path);
            closed(&receiver).await;
            Some(())
        });
        if was_opened.is_some() {
            // Same as a forwarded signal: running work shuts down cleanly.
            _ = kill_process(getpid(), Signal::TERM);
            thread::sleep(SHUTDOWN_GRACE);
            // Containers end with this process, which holds their connections.
            process::exit(Exit::Interrupted.code().into());
        }
    });
}

/// Waits until the pipe no longer has a writer.
async fn closed(receiver: &pipe::Receiver) {
    let mut buffer = [0; 64];
    while receiver.readable().await.is_ok() {
        match receiver.try_read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}
