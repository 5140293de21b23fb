//! Output of a running process.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// The output of a process, collected by one thread per stream.
#[derive(Default)]
pub struct Printed {
    pub text: Mutex<PrintedText>,
    changed: Condvar,
}

/// The bytes of both streams so far.
#[derive(Default)]
pub struct PrintedText {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    ended_streams: usize,
}

impl Printed {
    /// Collects one stream until EOF.
    pub fn collect(
        self: &Arc<Self>,
        mut stream: impl Read + Send + 'static,
        destination: fn(&mut PrintedText) -> &mut Vec<u8>,
    ) {
        let printed = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            loop {
                let length = stream.read(&mut buffer).unwrap_or(0);
                let mut text = printed.text.lock().expect("not poisoned");
                match length {
                    0 => text.ended_streams += 1,
                    _ => destination(&mut text).extend_from_slice(&buffer[..length]),
                }
                drop(text);
                printed.changed.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
    }

    /// Returns whether a text is on either stream.
    pub fn contains(&self, text: &str) -> bool {
        let printed = self.text.lock().expect("not poisoned");
        [&printed.stdout, &printed.stderr]
            .into_iter()
            .any(|stream| {
                stream
                    .windows(text.len().max(1))
                    .any(|window| window == text.as_bytes())
            })
    }

    /// Returns whether both streams are closed.
    pub fn is_complete(&self) -> bool {
        self.text.lock().expect("not poisoned").ended_streams == 2
    }

    /// Waits for more output, or a short time.
    pub fn wait_for_change(&self) {
        let text = self.text.lock().expect("not poisoned");
        let _ = self
            .changed
            .wait_timeout(text, Duration::from_millis(50))
            .expect("not poisoned");
    }
}
