//! Log files: the whole output of every step, byte for byte, and the record of the run.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use super::text::{LineSplitter, clean, last_lines};
use crate::event::{Event, Phase, Unit};
use crate::runs::{Run, Runs};

/// How many of a step's last lines are shown when it fails.
const TAIL_LINES: usize = 20;

/// The logs and the record of one run.
///
/// Everything is written at once, so that another process can follow it, and nothing is lost when
/// this one is killed.
pub struct Logs {
    runs: Runs,
    run: Option<Run>,
    record: Option<File>,
    /// Lines of the record from before the run had its folder.
    waiting: String,
    open: HashMap<(Unit, Phase), Log>,
    failed: bool,
}

struct Log {
    path: PathBuf,
    file: File,
    splitter: LineSplitter,
    tail: VecDeque<String>,
    /// How many lines of the tail are the title of a step that printed nothing yet.
    title_lines: usize,
}

impl Log {
    fn push(&mut self, line: String) {
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

impl Logs {
    /// Returns the logs of a run that has none yet.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            runs: Runs::new(folder),
            run: None,
            record: None,
            waiting: String::new(),
            open: HashMap::new(),
            failed: false,
        }
    }

    /// Writes what belongs into a log; returns a problem, once, and goes on without it.
    pub fn write(&mut self, event: &Event) -> Option<String> {
        let result = match event {
            // From here on there is something to keep.
            Event::Planned(_) | Event::RunStarted { .. } => self.run().map(drop),
            Event::StepStarted { unit, phase, title } => self.begin_step(unit, *phase, title),
            Event::Output { unit, phase, bytes } => self.append(unit, *phase, bytes),
            _ => Ok(()),
        };
        self.problem(result)
    }

    /// Writes a line of the record; returns a problem, once, and goes on without it.
    pub fn record(&mut self, line: &str) -> Option<String> {
        let result = match &mut self.record {
            Some(record) => record.write_all(line.as_bytes()),
            None => {
                self.waiting.push_str(line);
                Ok(())
            }
        };
        self.problem(result)
    }

    /// Returns the folder of this run, where it has one.
    pub fn run_folder(&self) -> Option<PathBuf> {
        self.run.as_ref().map(|run| run.folder.clone())
    }

    fn problem(&mut self, result: std::io::Result<()>) -> Option<String> {
        let error = result.err()?;
        if std::mem::replace(&mut self.failed, true) {
            return None;
        }
        let folder = self.runs.folder().display();
        Some(format!("the logs in {folder} cannot be written: {error}"))
    }

    /// Writes a step's title, on a line of its own whatever the step before it printed last.
    fn begin_step(&mut self, unit: &Unit, phase: Phase, title: &str) -> std::io::Result<()> {
        let log = self.log(unit, phase)?;
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

    fn append(&mut self, unit: &Unit, phase: Phase, bytes: &[u8]) -> std::io::Result<()> {
        let log = self.log(unit, phase)?;
        log.title_lines = 0;
        let last = last_lines(bytes, TAIL_LINES);
        if last.len() < bytes.len() {
            // Nothing of what came before is among the last lines any more.
            log.splitter = LineSplitter::default();
        }
        for line in log.splitter.push(last) {
            log.push(line);
        }
        log.file.write_all(bytes)
    }

    fn log(&mut self, unit: &Unit, phase: Phase) -> std::io::Result<&mut Log> {
        let key = (unit.clone(), phase);
        if !self.open.contains_key(&key) {
            let path = self.run()?.log(&unit.to_string(), phase.as_str());
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = File::options().create(true).append(true).open(&path)?;
            let log = Log {
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

    /// Returns the last lines of a step, and the file with all of them.
    pub fn tail(&mut self, unit: &Unit, phase: Phase) -> (Vec<String>, Option<PathBuf>) {
        let Some(log) = self.open.get_mut(&(unit.clone(), phase)) else {
            return (Vec::new(), None);
        };
        if let Some(line) = log.splitter.flush() {
            log.push(line);
        }
        // The title is told with the failure itself.
        let shown = log.tail.len().saturating_sub(log.title_lines);
        let tail = log.tail.iter().take(shown).cloned().collect();
        (tail, Some(log.path.clone()))
    }

    /// Closes the logs of a unit, of which no more is heard.
    pub fn close(&mut self, unit: &Unit) {
        self.open.retain(|(of, _), _| of != unit);
    }

    /// Closes all logs.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// Returns this run, whose folder is made when there is something to keep.
    fn run(&mut self) -> std::io::Result<&Run> {
        let run = match self.run.take() {
            Some(run) => run,
            None => {
                let run = self.runs.begin()?;
                let mut record = File::create(run.record_file())?;
                // Tells others that the run goes on. Where the file system has no locks, it seems over.
                _ = record.try_lock();
                record.write_all(std::mem::take(&mut self.waiting).as_bytes())?;
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
    fn output_is_kept_byte_for_byte_and_its_end_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(folder.path().join("logs"));
        assert_eq!(logs.write(&output(b"\xff\x1b[31m first\n")), None);
        for line in 0..100 {
            assert_eq!(logs.write(&output(format!("{line}\n").as_bytes())), None);
        }
        assert_eq!(logs.write(&output(b"no end")), None);
        let (tail, path) = logs.tail(&unit(), Phase::Build);
        assert_eq!(tail.last().unwrap(), "no end");
        assert_eq!(tail.len(), TAIL_LINES);
        let path = path.unwrap();
        assert!(
            path.ends_with("logs/1/zbackend/build.log"),
            "{}",
            path.display()
        );
        assert!(fs::read(path).unwrap().starts_with(b"\xff\x1b[31m first\n"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("logs"), "a file").unwrap();
        let mut logs = Logs::new(folder.path().join("logs"));
        assert!(logs.write(&output(b"x")).is_some());
        assert!(logs.write(&output(b"x")).is_none());
    }
}
