//! Requests of a server, read from its access log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process;

/// A completed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    pub status: u16,
}

/// A point in time of one server's log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl Mark {
    /// The time at which the server started.
    pub const START: Self = Self(0);
}

/// The access log of an HTTP server, in the usual "combined" format.
pub struct AccessLog {
    path: PathBuf,
    address: String,
    certificate: Option<PathBuf>,
    fences: AtomicUsize,
}

const FENCE: &str = "/xp-test-fence-";

impl AccessLog {
    /// Opens the log at `path` of the server at `address`, such as `http://127.0.0.1:5000`.
    pub fn new(path: PathBuf, address: String, certificate: Option<&Path>) -> Self {
        let certificate = certificate.map(Path::to_owned);
        Self {
            path,
            address,
            certificate,
            fences: AtomicUsize::new(0),
        }
    }

    /// Returns the current position, for [`AccessLog::since`].
    pub fn mark(&self) -> Mark {
        Mark(self.complete().len())
    }

    /// Returns the requests completed since a position, from any client.
    pub fn since(&self, mark: Mark) -> Vec<Request> {
        let text = self.complete();
        text[mark.0..].lines().filter_map(parse).collect()
    }

    /// Returns the log once it contains all requests completed before this call. Servers write the log after the
    /// response, so this sends a request as a fence.
    fn complete(&self) -> String {
        let number = self.fences.fetch_add(1, Ordering::Relaxed);
        let fence = format!("{FENCE}{number} ");
        let mut command = Command::new("curl");
        command.args(["--silent", "--output", "/dev/null", "--noproxy", "*"]);
        if let Some(certificate) = &self.certificate {
            command.arg("--cacert").arg(certificate);
        }
        process::succeed(command.arg(format!("{}{}", self.address, fence.trim_end())));

        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.read().contains(&fence) {
            assert!(
                Instant::now() < deadline,
                "{} is not written",
                self.path.display()
            );
            thread::sleep(Duration::from_millis(5));
        }
        // A multithreaded server may log an older request after the fence.
        thread::sleep(Duration::from_millis(20));
        self.read()
    }

    fn read(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }
}

/// Parses `… "GET /v2/ HTTP/1.1" 200 …`.
fn parse(line: &str) -> Option<Request> {
    let mut quoted = line.split('"');
    let mut request = quoted.nth(1)?.split(' ');
    let (method, path) = (request.next()?, request.next()?);
    let status = quoted.next()?.split_whitespace().next()?.parse().ok()?;
    // The HTTP/2 preface looks like a request for "*".
    let counts = method != "PRI" && !path.starts_with(FENCE);
    counts.then(|| Request {
        method: method.to_owned(),
        path: path.to_owned(),
        status,
    })
}
