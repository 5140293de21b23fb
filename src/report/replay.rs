//! Prints the logs of a past or running run: one after another, or following all of them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use super::text::LineSplitter;

/// Read buffer size.
const CHUNK: usize = 64 * 1024;

/// Prints logs on standard output: byte for byte, or without control sequences if it is a terminal.
pub struct Replay {
    is_terminal: bool,
    followed: HashMap<PathBuf, FollowedLog>,
}

struct FollowedLog {
    file: File,
    splitter: LineSplitter,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            followed: HashMap::new(),
        }
    }
}

impl Replay {
    /// Prints a heading.
    ///
    /// # Errors
    ///
    /// If standard output is closed, or the disk is full.
    pub fn heading(&self, text: &str) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Prints a whole log.
    ///
    /// # Errors
    ///
    /// If it cannot be read or printed.
    pub fn whole(&self, log: &PathBuf) -> io::Result<()> {
        let mut file = File::open(log)?;
        let mut output = io::stdout().lock();
        if !self.is_terminal {
            io::copy(&mut file, &mut output)?;
            return output.flush();
        }
        let mut splitter = LineSplitter::default();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = file.read(&mut chunk)?;
            let mut lines = splitter.push(&chunk[..count]);
            if count == 0 {
                lines.extend(splitter.flush());
            }
            for line in lines {
                writeln!(output, "{line}")?;
            }
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// Prints the lines added to a log since the last call, each with a prefix; with `is_over`, also an
    /// unfinished last line.
    ///
    /// # Errors
    ///
    /// If it cannot be read or printed.
    pub fn added(&mut self, log: PathBuf, prefix: &str, is_over: bool) -> io::Result<()> {
        let followed = match self.followed.get_mut(&log) {
            Some(followed) => followed,
            None => {
                let file = match File::open(&log) {
                    // A step without output so far.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    file => file?,
                };
                let splitter = LineSplitter::default();
                let followed = self.followed.entry(log);
                followed.or_insert(FollowedLog { file, splitter })
            }
        };
        let mut output = io::stdout().lock();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = followed.file.read(&mut chunk)?;
            let mut lines = followed.splitter.push(&chunk[..count]);
            if count == 0 && is_over {
                lines.extend(followed.splitter.flush());
            }
            for line in lines {
                writeln!(output, "{}", format!("{prefix}{line}").trim_end())?;
            }
            if count == 0 {
                return output.flush();
            }
        }
    }
}
