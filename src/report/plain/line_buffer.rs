//! Buffers lines that cannot be printed yet, in bounded memory.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes kept in memory; the rest goes into a temporary file.
const IN_MEMORY: usize = 256 * 1024;

/// Buffered lines.
#[derive(Debug, Default)]
pub struct LineBuffer {
    memory: Vec<u8>,
    /// Earlier lines. Already unlinked, so it disappears with this process.
    file: Option<File>,
    /// Bytes lost because the file could not be written.
    lost: u64,
}

impl LineBuffer {
    /// Adds whole lines; `folder` is for the temporary file.
    pub fn push(&mut self, text: &str, folder: &Path) {
        self.memory.extend_from_slice(text.as_bytes());
        if self.memory.len() <= IN_MEMORY {
            return;
        }
        match self.write_out(folder) {
            Ok(()) => self.memory.clear(),
            // On a full disk, keep the latest lines.
            Err(_) => {
                let half = self.memory.len() / 2;
                let end = self.memory[half..].iter().position(|byte| *byte == b'\n');
                let cut = end.map_or(self.memory.len(), |end| half + end + 1);
                self.lost += cut as u64;
                self.memory.drain(..cut);
            }
        }
    }

    /// Returns whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.memory.is_empty()
    }

    /// Writes all lines, and a notice if some were lost.
    pub fn copy_to(self, output: &mut dyn Write) -> io::Result<()> {
        if let Some(mut file) = self.file {
            file.rewind()?;
            let mut part = vec![0; 64 * 1024];
            loop {
                match file.read(&mut part)? {
                    0 => break,
                    length => output.write_all(&part[..length])?,
                }
            }
        }
        if self.lost > 0 {
            writeln!(
                output,
                "… {} bytes omitted: they could not be written to disk",
                self.lost
            )?;
        }
        output.write_all(&self.memory)
    }

    fn write_out(&mut self, folder: &Path) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(unlinked_file(folder)?),
        };
        let before = file.stream_position()?;
        file.write_all(&self.memory).inspect_err(|_| {
            // The next attempt writes it again.
            _ = file.set_len(before);
            _ = file.seek(io::SeekFrom::Start(before));
        })
    }
}

fn unlinked_file(folder: &Path) -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(folder)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".lines-{}-{number}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(spool: LineBuffer) -> String {
        let mut output = Vec::new();
        spool.copy_to(&mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn overflow_goes_to_an_unlinked_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = LineBuffer::default();
        assert!(spool.is_empty());
        let mut expected = String::new();
        for number in 0..100_000 {
            let line = format!("line {number}\n");
            spool.push(&line, folder.path());
            assert!(spool.memory.len() <= IN_MEMORY);
            expected.push_str(&line);
        }
        assert!(spool.file.is_some() && !spool.is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(content(spool), expected);
    }

    #[test]
    fn without_a_disk_the_last_lines_are_kept_and_the_loss_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let mut spool = LineBuffer::default();
        for number in 0..100_000 {
            spool.push(&format!("line {number}\n"), &folder.path().join("file"));
            assert!(spool.memory.len() <= IN_MEMORY);
        }
        let content = content(spool);
        assert!(content.starts_with("… "), "{}", &content[..80]);
        assert!(content.ends_with("\nline 99999\n"));
    }
}
