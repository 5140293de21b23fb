//! Selects the part of each log that a page contains.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::RunReport;
use crate::model::event::FailedStep;
use crate::store::runs::Run;

/// Bytes shown of each log, from its end.
const MAX_LOG: u64 = 256 << 10;

/// Bytes shown of all logs together.
const MAX_TOTAL: u64 = 8 << 20;

/// The end of a log.
pub struct LogEnd {
    /// The index of the unit in the report.
    pub unit: usize,
    pub phase: String,
    pub file: PathBuf,
    /// The last bytes, starting at a line.
    pub bytes: Vec<u8>,
    /// The number of omitted bytes.
    pub omitted: u64,
    /// Why it could not be read.
    pub unreadable: Option<String>,
}

/// Reads the ends of all logs of a run, in the order of its units. Logs of failed phases take precedence
/// if not all fit.
pub fn read(report: &RunReport<'_>, run: &Run) -> Vec<LogEnd> {
    let mut logs = Vec::new();
    for (index, unit) in report.units.iter().enumerate() {
        let Some(work) = unit.work else { continue };
        let failed = work.failure.as_ref().map(FailedStep::log_name);
        for phase in work.logs() {
            let file = run.log(unit.name, phase);
            // A step without output may have no log.
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            logs.push((
                index,
                phase,
                file,
                metadata.len(),
                failed.as_deref() == Some(phase),
            ));
        }
    }
    let bytes_of = |wanted: bool| {
        let these = logs.iter().filter(move |log| log.4 == wanted);
        these.map(|log| log.3.min(MAX_LOG)).collect::<Vec<u64>>()
    };
    let failed = bytes_of(true);
    let of_failed = share(&failed, MAX_TOTAL);
    let taken: u64 = failed.iter().map(|size| (*size).min(of_failed)).sum();
    let of_others = share(&bytes_of(false), MAX_TOTAL - taken.min(MAX_TOTAL));
    let ends = logs.into_iter().map(|(unit, phase, file, size, failed)| {
        let most = if failed { of_failed } else { of_others };
        let (bytes, omitted, unreadable) = match end(&file, size, most.min(MAX_LOG)) {
            Ok((bytes, omitted)) => (bytes, omitted, None),
            Err(error) => (Vec::new(), 0, Some(error.to_string())),
        };
        LogEnd {
            unit,
            phase: phase.to_owned(),
            file,
            bytes,
            omitted,
            unreadable,
        }
    });
    ends.collect()
}

/// Returns the limit per item so that all fit into `room`: small items are complete, and the large ones
/// share the rest equally.
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
    let mut omitted = size.saturating_sub(most);
    file.seek(SeekFrom::Start(omitted))?;
    let mut bytes = Vec::new();
    // The file may be growing.
    file.take(size - omitted).read_to_end(&mut bytes)?;
    if omitted > 0
        && let Some(line_end) = bytes.iter().position(|byte| *byte == b'\n')
        && line_end + 1 < bytes.len()
    {
        bytes.drain(..=line_end);
        omitted += line_end as u64 + 1;
    }
    Ok((bytes, omitted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_logs_are_complete_and_large_ones_share_the_rest() {
        assert_eq!(share(&[1, 2, 3], 10), u64::MAX);
        assert_eq!(share(&[1, 100, 100], 21), 10);
        assert_eq!(share(&[100, 100], 0), 0);
        assert_eq!(share(&[], 5), u64::MAX);
    }

    #[test]
    fn the_end_starts_at_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.log");
        std::fs::write(&file, "one\ntwo\nthree\n").unwrap();
        assert_eq!(
            end(&file, 14, 100).unwrap(),
            (b"one\ntwo\nthree\n".to_vec(), 0)
        );
        assert_eq!(end(&file, 14, 8).unwrap(), (b"three\n".to_vec(), 8));
        // The file grew after its size was read.
        assert_eq!(end(&file, 8, 100).unwrap(), (b"one\ntwo\n".to_vec(), 0));
        // A single long line is truncated.
        assert_eq!(end(&file, 14, 4).unwrap(), (b"ree\n".to_vec(), 10));
    }
}
