//! The folders of past runs, each with a record and logs.
//!
//! `<cacheDir>/logs/<run>/run.jsonl` and `<cacheDir>/logs/<run>/<unit>/<phase>.log`. Run numbers increase, and
//! are not reused as long as a later run exists.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::record::RunRecord;
use crate::store::cache::{Ownership, ownership};

/// The number of runs to keep.
pub const KEPT_RUNS: usize = 20;

/// The total size of runs to keep, not counting the last one: 1 GiB.
pub const KEPT_BYTES: u64 = 1 << 30;

/// The file of the record.
const RECORD: &str = "run.jsonl";

/// The folder of all runs.
#[derive(Debug, Clone)]
pub struct Runs {
    folder: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub number: u64,
    pub folder: PathBuf,
}

impl Runs {
    /// Returns the runs in a folder, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the runs, oldest first.
    ///
    /// # Errors
    ///
    /// If the folder exists and cannot be read.
    pub fn list(&self) -> io::Result<Vec<Run>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut runs: Vec<Run> = entries
            .flatten()
            .filter_map(|entry| {
                Some(Run {
                    number: number(entry.file_name().to_str()?)?,
                    folder: entry.path(),
                })
            })
            .collect();
        runs.sort_unstable_by_key(|run| run.number);
        Ok(runs)
    }

    /// Returns whether the folder is in one that xp claimed.
    pub fn is_claimed(&self) -> bool {
        let root = self.folder.parent();
        root.is_some_and(|root| matches!(ownership(root), Ok(Ownership::Own)))
    }

    /// Creates the folder of a new run, and removes old runs.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created.
    pub fn begin(&self) -> io::Result<Run> {
        fs::create_dir_all(&self.folder)?;
        let before = self.list()?;
        let mut number = before.last().map_or(1, |last| last.number + 1);
        let run = loop {
            let folder = self.folder.join(number.to_string());
            match fs::create_dir(&folder) {
                Ok(()) => break Run { number, folder },
                // A concurrent xp took the number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        remove_old(before);
        Ok(run)
    }
}

impl Run {
    /// Returns the file of the record.
    pub fn record_file(&self) -> PathBuf {
        self.folder.join(RECORD)
    }

    /// Reads the record, which is empty if there is no file.
    pub fn record(&self) -> RunRecord {
        let text = fs::read(self.record_file()).unwrap_or_default();
        RunRecord::read(&String::from_utf8_lossy(&text))
    }

    /// Returns whether the run is still running: its process holds a lock on the record until it ends.
    pub fn is_running(&self) -> bool {
        File::open(self.record_file())
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Returns the current length of the record, to detect changes of a running one.
    pub fn record_length(&self) -> u64 {
        fs::metadata(self.record_file()).map_or(0, |metadata| metadata.len())
    }

    /// Returns the folder of a unit's logs.
    pub fn unit_folder(&self, unit: &str) -> PathBuf {
        self.folder.join(file_name(unit))
    }

    /// Returns the log file of a phase, which need not exist.
    pub fn log(&self, unit: &str, phase: &str) -> PathBuf {
        self.unit_folder(unit)
            .join(format!("{}.log", file_name(phase)))
    }

    /// Returns the file of a unit's test report, which need not exist; the first one has the index 0.
    pub fn test_report(&self, unit: &str, index: usize) -> PathBuf {
        let name = format!("{}.xml", index + 1);
        self.unit_folder(unit).join("reports").join(name)
    }

    /// Returns the default file of the report.
    pub fn report_file(&self) -> PathBuf {
        self.folder.join("report.html")
    }

    /// Returns whether the run did no work, that is, has no logs.
    pub fn is_idle(&self) -> bool {
        let is_folder = |entry: fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        fs::read_dir(&self.folder).is_ok_and(|entries| !entries.flatten().any(is_folder))
    }
}

/// Parses the name of a run's folder.
fn number(name: &str) -> Option<u64> {
    // Ignore names that xp would not create. The length limit ensures that there is a next number.
    let is_ours = name.len() < 19 && !name.starts_with(['0', '+']);
    name.parse().ok().filter(|_| is_ours)
}

/// Returns the file name of a unit or phase. Records are not trusted, so no name may lead out of the
/// folder.
fn file_name(name: &str) -> String {
    let name = name.replace(['/', ':', '@'], "_");
    if name.is_empty() || name.starts_with('.') {
        format!("_{name}")
    } else {
        name
    }
}

/// Removes the oldest runs until the limits are met, including the new run. Of the runs that did no work only
/// the last is kept, so that they do not displace a failed one.
fn remove_old(runs: Vec<Run>) {
    let last = runs.last().map(|run| run.number);
    let (idle, mut kept): (Vec<Run>, Vec<Run>) = runs
        .into_iter()
        .partition(|run| Some(run.number) != last && run.is_idle());
    for run in idle {
        remove(&run);
    }
    let mut bytes: u64 = kept.iter().map(|run| size(&run.folder)).sum();
    // The last run is always kept, regardless of its size.
    while kept.len() > 1 && (kept.len() >= KEPT_RUNS || bytes > KEPT_BYTES) {
        let oldest = kept.remove(0);
        bytes -= size(&oldest.folder);
        remove(&oldest);
    }
}

/// Removes a run. The next run retries after an error.
fn remove(run: &Run) {
    _ = fs::remove_dir_all(&run.folder);
}

fn size(folder: &Path) -> u64 {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(|metadata| metadata.is_file())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(run: &Run) {
        fs::create_dir(run.folder.join("a")).unwrap();
        fs::write(run.folder.join("a/build.log"), "x").unwrap();
    }

    fn numbers(runs: &Runs) -> Vec<u64> {
        runs.list().unwrap().iter().map(|run| run.number).collect()
    }

    #[test]
    fn old_runs_are_removed_and_numbers_are_not_reused() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path().join("logs"));
        assert!(numbers(&runs).is_empty());
        for _ in 0..KEPT_RUNS + 5 {
            work(&runs.begin().unwrap());
        }
        let kept = numbers(&runs);
        assert_eq!(kept.len(), KEPT_RUNS);
        assert_eq!(kept.last(), Some(&(KEPT_RUNS as u64 + 5)));
    }

    #[test]
    fn logs_stay_inside_the_folder_of_their_run() {
        let run = Run {
            number: 7,
            folder: PathBuf::from("logs/7"),
        };
        for (unit, phase, file) in [
            ("builders/go:1", "build", "builders_go_1/build.log"),
            ("..", "x", "_../x.log"),
            ("", "", "_/_.log"),
            ("/etc", "../../x", "_etc/_.._.._x.log"),
            ("a", "/etc/passwd", "a/_etc_passwd.log"),
        ] {
            assert_eq!(run.log(unit, phase), run.folder.join(file));
        }
    }

    #[test]
    fn folders_with_other_names_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path().to_owned());
        for name in ["3", "+5", "07", "0", "18446744073709551615", "x", "-1"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(numbers(&runs), [3]);
        assert_eq!(runs.begin().unwrap().number, 4);
    }

    #[test]
    fn only_the_last_idle_run_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path().to_owned());
        work(&runs.begin().unwrap());
        for _ in 0..2 * KEPT_RUNS {
            fs::write(runs.begin().unwrap().record_file(), "{}").unwrap();
        }
        let last = 1 + 2 * KEPT_RUNS as u64;
        // The previous one is removed by the next run.
        assert_eq!(numbers(&runs), [1, last - 1, last]);
    }

    #[test]
    fn runs_beyond_the_size_limit_are_removed_except_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path().to_owned());
        for _ in 0..3 {
            let run = runs.begin().unwrap();
            work(&run);
            // A sparse file.
            let log = File::create(run.folder.join("a/test.log")).unwrap();
            log.set_len(KEPT_BYTES / 2 + 1).unwrap();
        }
        assert_eq!(numbers(&runs), [2, 3]);
        runs.begin().unwrap();
        assert_eq!(numbers(&runs), [3, 4]);
    }
}
