//! Waiting for something that comes by itself.

use std::thread;
use std::time::{Duration, Instant};

/// How long it may take: a bound against hanging, not a demand.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until it is so.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
