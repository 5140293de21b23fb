//! Log files: the output of every step, byte for byte, and the record of the run.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use super::text::{LineSplitter, clean, last_lines};
use crate::model::event::{Event, Phase, Unit, sidecar_log};
use crate::model::record::RunRecord;
use crate::store::runs::{Run, Runs};

/// Lines shown below a failed step.
const TAIL_LINES: usize = 20;

/// The logs and the record of one run.
///
/// Written without buffering, so that another process can follow, and nothing is lost if this one is
/// killed.
pub struct Logs {
    runs: Runs,
    run: Option<Run>,
    record: Option<File>,
    /// Lines of the record from before the folder was created.
    pending: String,
    open: HashMap<(Unit, String), UnitLog>,
    /// The number of test reports of each unit.
    reports: HashMap<Unit, usize>,
    /// The units whose image was built after their last container ended.
    imaged: HashSet<Unit>,
    failed: bool,
}

struct UnitLog {
    path: PathBuf,
    file: File,
    splitter: LineSplitter,
    tail: VecDeque<String>,
    /// How many lines at the end of the tail are the title of a step without output.
    title_lines: usize,
}

impl UnitLog {
    fn push(&mut self, line: String) {
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

impl Logs {
    /// Returns the logs of a new run. Its folder is created once there is something to write.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            runs: Runs::new(folder),
            run: None,
            record: None,
            pending: String::new(),
            open: HashMap::new(),
            reports: HashMap::new(),
            imaged: HashSet::new(),
            failed: false,
        }
    }

    /// Writes an event to its log. Returns a warning for the first error; later errors are ignored.
    pub fn write(&mut self, event: &Event) -> Option<String> {
        let result = match event {
            // Creates the run's folder.
            Event::Planned { .. } | Event::WorkStarted { .. } => return self.begin(),
            Event::StepStarted { unit, phase, title } => self.begin_step(unit, *phase, title),
            Event::Output { unit, phase, bytes } => self.append(unit, phase.as_str(), bytes),
            Event::SidecarOutput {
                unit,
                sidecar,
                bytes,
            } => self.append(unit, &sidecar_log(sidecar), bytes),
            _ => Ok(()),
        };
        self.problem(result)
    }

    /// Creates the run's folder, if it does not exist yet. Returns a warning as [`Logs::write`] does.
    fn begin(&mut self) -> Option<String> {
        let result = self.run().map(drop);
        self.problem(result)
    }

    /// Like [`Logs::begin`], for a run that failed early: perhaps before it claimed the folder.
    pub fn begin_failed(&mut self) -> Option<String> {
        if self.runs.is_claimed() {
            self.begin()
        } else {
            None
        }
    }

    /// Writes a line of the record. Returns a warning as [`Logs::write`] does.
    pub fn record(&mut self, line: &str) -> Option<String> {
        let result = match &mut self.record {
            Some(record) => record.write_all(line.as_bytes()),
            None => {
                self.pending.push_str(line);
                Ok(())
            }
        };
        self.problem(result)
    }

    /// Returns the record so far, also if the run's folder was not created.
    pub fn read_record(&self) -> RunRecord {
        match &self.run {
            Some(run) => run.record(),
            None => RunRecord::read(&self.pending),
        }
    }

    /// Returns the folder of this run, if it was created.
    pub fn run_folder(&self) -> Option<PathBuf> {
        self.run.as_ref().map(|run| run.folder.clone())
    }

    /// Keeps a test report of a unit. Returns its path, and a warning as [`Logs::write`] does.
    pub fn keep_report(&mut self, unit: &Unit, bytes: &[u8]) -> (Option<PathBuf>, Option<String>) {
        let count = self.reports.entry(unit.clone()).or_default();
        let index = *count;
        *count += 1;
        let mut write = || {
            let path = self.run()?.test_report(&unit.to_string(), index);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, bytes)?;
            Ok(path)
        };
        match write() {
            Ok(path) => (Some(path), None),
            Err(error) => (None, self.problem(Err(error))),
        }
    }

    fn problem(&mut self, result: std::io::Result<()>) -> Option<String> {
        let error = result.err()?;
        if std::mem::replace(&mut self.failed, true) {
            return None;
        }
        let folder = self.runs.folder().display();
        Some(format!("cannot write the logs in {folder}: {error}"))
    }

    /// Writes a step's title, on its own line even if the previous step's output has no final newline.
    fn begin_step(&mut self, unit: &Unit, phase: Phase, title: &str) -> std::io::Result<()> {
        match phase {
            // The scripts run again, and so do the tests.
            Phase::Container if !self.imaged.contains(unit) => _ = self.reports.remove(unit),
            // The next container verifies the image, and its reports are further ones.
            Phase::Image => _ = self.imaged.insert(unit.clone()),
            Phase::Container | Phase::Export => _ = self.imaged.remove(unit),
            _ => {}
        }
        let log = self.log(unit, phase.as_str())?;
        if let Some(line) = log.splitter.flush() {
            log.push(line);
            log.file.write_all(b"\n")?;
        }
        log.title_lines = title.lines().count();
        for line in title.lines() {
            log.push(clean(format!("$ {line}").as_bytes()));
            writeln!(log.file, "$ {line}")?;
        }
        Ok(())
    }

    fn append(&mut self, unit: &Unit, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let log = self.log(unit, name)?;
        log.title_lines = 0;
        let last = last_lines(bytes, TAIL_LINES);
        if last.len() < bytes.len() {
            // Earlier output is no longer part of the tail.
            log.splitter = LineSplitter::default();
        }
        for line in log.splitter.push(last) {
            log.push(line);
        }
        log.file.write_all(bytes)
    }

    fn log(&mut self, unit: &Unit, name: &str) -> std::io::Result<&mut UnitLog> {
        let key = (unit.clone(), name.to_owned());
        if !self.open.contains_key(&key) {
            let path = self.run()?.log(&unit.to_string(), name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = File::options().create(true).append(true).open(&path)?;
            let log = UnitLog {
                path,
                file,
                splitter: LineSplitter::default(),
                tail: VecDeque::new(),
                title_lines: 0,
            };
            self.open.insert(key.clone(), log);
        }
        let log = self.open.get_mut(&key);
        log.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// Returns the last lines of a log, and its file.
    pub fn tail(&mut self, unit: &Unit, name: &str) -> (Vec<String>, Option<String>) {
        let Some(log) = self.open.get_mut(&(unit.clone(), name.to_owned())) else {
            return (Vec::new(), None);
        };
        if let Some(line) = log.splitter.flush() {
            log.push(line);
        }
        // The failure message has the title already.
        let shown = log.tail.len().saturating_sub(log.title_lines);
        let tail = log.tail.iter().take(shown).cloned().collect();
        (tail, Some(log.path.display().to_string()))
    }

    /// Closes the logs of a unit.
    pub fn close(&mut self, unit: &Unit) {
        self.open.retain(|(of, _), _| of != unit);
    }

    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// Returns this run, and creates its folder on the first call.
    fn run(&mut self) -> std::io::Result<&Run> {
        let run = match self.run.take() {
            Some(run) => run,
            None => {
                let run = self.runs.begin()?;
                let mut record = File::create(run.record_file())?;
                // The lock marks the run as running. Without file locks, it looks finished to others.
                _ = record.try_lock();
                record.write_all(std::mem::take(&mut self.pending).as_bytes())?;
                self.record = Some(record);
                run
            }
        };
        Ok(self.run.insert(run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(bytes: &[u8]) -> Event {
        Event::Output {
            unit: unit(),
            phase: Phase::Build,
            bytes: bytes.to_vec().into(),
        }
    }

    fn unit() -> Unit {
        Unit::Service("zbackend".parse().unwrap())
    }

    #[test]
    fn output_is_logged_byte_for_byte_and_its_tail_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(folder.path().join("logs"));
        assert_eq!(logs.write(&output(b"\xff\x1b[31m first\n")), None);
        for line in 0..100 {
            assert_eq!(logs.write(&output(format!("{line}\n").as_bytes())), None);
        }
        assert_eq!(logs.write(&output(b"no end")), None);
        let (tail, path) = logs.tail(&unit(), "build");
        assert_eq!(tail.last().unwrap(), "no end");
        assert_eq!(tail.len(), TAIL_LINES);
        let path = path.unwrap();
        assert!(path.ends_with("logs/1/zbackend/build.log"), "{path}");
        assert!(fs::read(path).unwrap().starts_with(b"\xff\x1b[31m first\n"));
    }

    #[test]
    fn an_unwritable_folder_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("logs"), "a file").unwrap();
        let mut logs = Logs::new(folder.path().join("logs"));
        assert!(logs.write(&output(b"x")).is_some());
        assert!(logs.write(&output(b"x")).is_none());
    }
}
