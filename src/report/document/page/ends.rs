//! What of the logs is put into a page.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::RunReport;

/// How many bytes of one log are shown: the last ones.
const LONGEST: u64 = 256 << 10;

/// How many bytes of all logs are shown.
const ALL: u64 = 8 << 20;

/// The end of a log.
pub struct LogEnd {
    /// The unit's place in the report.
    pub unit: usize,
    /// The phase.
    pub phase: String,
    /// The file.
    pub file: PathBuf,
    /// The last bytes, from the beginning of a line.
    pub bytes: Vec<u8>,
    /// How many bytes come before.
    pub left_out: u64,
    /// Why it could not be read.
    pub unreadable: Option<String>,
}

/// Reads the ends of all logs of a run, in the order of its units. Those of phases that failed come first
/// where there is not room for all.
pub fn read(report: &RunReport<'_>) -> Vec<LogEnd> {
    let mut logs = Vec::new();
    for (place, unit) in report.units.iter().enumerate() {
        let Some(work) = unit.work else { continue };
        let failed = work.failure.as_ref().map(|failure| failure.phase.as_str());
        for phase in work.phases() {
            let file = report.run.log(unit.name, phase);
            // A step that printed nothing may have no log.
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            logs.push((place, phase, file, metadata.len(), failed == Some(phase)));
        }
    }
    let bytes_of = |wanted: bool| {
        let these = logs.iter().filter(move |log| log.4 == wanted);
        these.map(|log| log.3.min(LONGEST)).collect::<Vec<u64>>()
    };
    let failed = bytes_of(true);
    let of_failed = share(&failed, ALL);
    let taken: u64 = failed.iter().map(|size| (*size).min(of_failed)).sum();
    let of_others = share(&bytes_of(false), ALL - taken.min(ALL));
    let ends = logs.into_iter().map(|(unit, phase, file, size, failed)| {
        let most = if failed { of_failed } else { of_others };
        let (bytes, left_out, unreadable) = match end(&file, size, most.min(LONGEST)) {
            Ok((bytes, left_out)) => (bytes, left_out, None),
            Err(error) => (Vec::new(), 0, Some(error.to_string())),
        };
        LogEnd {
            unit,
            phase: phase.to_owned(),
            file,
            bytes,
            left_out,
            unreadable,
        }
    });
    ends.collect()
}

/// Returns the most that each may take so that all together take no more than there is: the small ones are
/// whole, and the large ones share what they leave.
fn share(sizes: &[u64], room: u64) -> u64 {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let mut room = room;
    for (index, size) in sorted.iter().enumerate() {
        let left = (sorted.len() - index) as u64;
        if size * left > room {
            return room / left;
        }
        room -= size;
    }
    u64::MAX
}

fn end(file: &PathBuf, size: u64, most: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(file)?;
    let mut left_out = size.saturating_sub(most);
    file.seek(SeekFrom::Start(left_out))?;
    let mut bytes = Vec::new();
    // No further than it was long: it may be growing.
    file.take(size - left_out).read_to_end(&mut bytes)?;
    if left_out > 0
        && let Some(line_end) = bytes.iter().position(|byte| *byte == b'\n')
        && line_end + 1 < bytes.len()
    {
        bytes.drain(..=line_end);
        left_out += line_end as u64 + 1;
    }
    Ok((bytes, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_are_whole_and_the_large_share_the_rest() {
        assert_eq!(share(&[1, 2, 3], 10), u64::MAX);
        assert_eq!(share(&[1, 100, 100], 21), 10);
        assert_eq!(share(&[100, 100], 0), 0);
        assert_eq!(share(&[], 5), u64::MAX);
    }

    #[test]
    fn the_end_begins_with_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.log");
        std::fs::write(&file, "one\ntwo\nthree\n").unwrap();
        assert_eq!(
            end(&file, 14, 100).unwrap(),
            (b"one\ntwo\nthree\n".to_vec(), 0)
        );
        assert_eq!(end(&file, 14, 8).unwrap(), (b"three\n".to_vec(), 8));
        // It grew since it was looked at.
        assert_eq!(end(&file, 8, 100).unwrap(), (b"one\ntwo\n".to_vec(), 0));
        // One long line is cut where it must be.
        assert_eq!(end(&file, 14, 4).unwrap(), (b"ree\n".to_vec(), 10));
    }
}
