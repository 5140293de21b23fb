//! The program on the machine for which xp runs in a container.
//!
//! Whoever is killed passes no signal on: a container would work on for nobody, and hold the lock of its
//! folder. So that program holds a pipe open, and xp ends when nobody does any longer.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::net::unix::pipe;

use crate::error::Exit;

/// How long an end in good order may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has xp end when nobody writes to the pipe any longer, which is removed at once.
///
/// On a thread and a runtime of its own: the others may all be at work.
pub fn end_with(path: PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    thread::spawn(move || {
        let ended = runtime.block_on(async {
            let receiver = pipe::OpenOptions::new().open_receiver(&path).ok()?;
            _ = fs::remove_file(&path);
            end(&receiver).await;
            Some(())
        });
        if ended.is_some() {
            // As a signal that was passed on: what is at work knows what to do.
            _ = kill_process(getpid(), Signal::TERM);
            thread::sleep(PATIENCE);
            // Containers hang on a connection of this process, so they end with it.
            process::exit(Exit::Interrupted.code().into());
        }
    });
}

/// Waits until nobody writes any longer.
async fn end(receiver: &pipe::Receiver) {
    let mut said = [0; 64];
    while receiver.readable().await.is_ok() {
        match receiver.try_read(&mut said) {
            Ok(0) => return,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}
