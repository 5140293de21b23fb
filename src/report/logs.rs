//! Log files: the whole output of every step, byte for byte.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::text::{LineSplitter, clean, last_lines};
use crate::event::{Event, Phase, Unit};

/// How many runs' logs are kept.
const KEPT_RUNS: usize = 20;

/// How many of a step's last lines are shown when it fails.
const TAIL_LINES: usize = 20;

/// The logs of one run: `<logs>/<run>/<unit>/<phase>.log`.
pub struct Logs {
    folder: PathBuf,
    run: Option<PathBuf>,
    open: HashMap<(Unit, Phase), Log>,
    failed: bool,
}

struct Log {
    path: PathBuf,
    file: BufWriter<File>,
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
            folder,
            run: None,
            open: HashMap::new(),
            failed: false,
        }
    }

    /// Writes what belongs into a log; returns a problem, once, and goes on without it.
    pub fn write(&mut self, event: &Event) -> Option<String> {
        let result = match event {
            Event::StepStarted { unit, phase, title } => self.begin_step(unit, *phase, title),
            Event::Output { unit, phase, bytes } => self.append(unit, *phase, bytes),
            Event::StepFinished { unit, phase, .. } => {
                match self.open.get_mut(&(unit.clone(), *phase)) {
                    Some(log) => log.file.flush(),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        };
        match result {
            Ok(()) => None,
            Err(_) if self.failed => None,
            Err(error) => {
                self.failed = true;
                Some(format!(
                    "the logs in {} cannot be written: {error}",
                    self.folder.display()
                ))
            }
        }
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
            let run = self.run()?;
            let folder = run.join(unit.to_string().replace(['/', ':', '@'], "_"));
            fs::create_dir_all(&folder)?;
            let path = folder.join(format!("{phase}.log"));
            let file = File::options().create(true).append(true).open(&path)?;
            let log = Log {
                path,
                file: BufWriter::with_capacity(64 * 1024, file),
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
        _ = log.file.flush();
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
        // Dropping a file writes what is still in memory.
        self.open.retain(|(of, _), _| of != unit);
    }

    /// Closes all logs.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// Returns the folder of this run, made at its first line: a run that does nothing leaves none.
    fn run(&mut self) -> std::io::Result<PathBuf> {
        if let Some(run) = &self.run {
            return Ok(run.clone());
        }
        fs::create_dir_all(&self.folder)?;
        let mut runs = runs(&self.folder)?;
        let mut number = runs.last().map_or(1, |last| last + 1);
        let run = loop {
            let run = self.folder.join(number.to_string());
            match fs::create_dir(&run) {
                Ok(()) => break run,
                // Another xp on this folder was faster.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        while runs.len() >= KEPT_RUNS {
            _ = fs::remove_dir_all(self.folder.join(runs.remove(0).to_string()));
        }
        self.run = Some(run.clone());
        Ok(run)
    }
}

/// Returns the numbers of the runs that have logs, the oldest first.
fn runs(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut runs: Vec<u64> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    runs.sort_unstable();
    Ok(runs)
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
    fn old_runs_are_removed_and_numbers_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..KEPT_RUNS + 5 {
            let mut logs = Logs::new(folder.path().to_owned());
            logs.write(&output(b"x"));
        }
        let runs = runs(folder.path()).unwrap();
        assert_eq!(runs.len(), KEPT_RUNS);
        assert_eq!(runs.last(), Some(&(KEPT_RUNS as u64 + 5)));
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
