//! Waiting for a condition.

use std::thread;
use std::time::{Duration, Instant};

/// Timeout, to prevent tests from hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until the condition is true.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
