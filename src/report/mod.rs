//! Turns events into terminal output, log files and reports. The only module that draws.

mod document;
#[cfg(fuzzing)]
pub mod fuzzing;
mod journal;
mod logs;
pub mod plain;
mod replay;
mod retry_notices;
#[cfg(test)]
mod shared_output;
mod summary;
pub mod terminal;
mod text;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use crate::report::plain::ci::{Ci, CiAnnotation, Level};
pub use crate::report::terminal::prompt::{ask, print, print_message};
pub use crate::report::terminal::size::columns;
pub use document::{HTML_START, JUNIT_START, OTLP_START, RunReport, RunState};
pub use replay::Replay;
pub use summary::{failures, summary};
pub use text::{first_line, paint, severity_painted, shortened};

use crate::base::error::{Exit, Failure};
use crate::base::sanitize::sanitized;
use crate::model::event::{Event, Events, FailedStep, Unit, UnitSummary};
use crate::report::plain::lines::Lines;
use crate::report::terminal::bars::Bars;
use journal::Journal;
use logs::Logs;

/// Redraw interval of the live bars.
const TICK: Duration = Duration::from_millis(100);

/// Output style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputStyle {
    /// Live bars, for a terminal.
    Bars,
    /// One line per event, for everything else.
    #[default]
    Lines,
    /// One line of JSON per event on standard output, for other programs.
    Json,
}

/// Prefix of each line of a service's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogPrefix {
    /// The service's name.
    #[default]
    Service,
    /// The time and the service's name.
    Time,
    /// No prefix.
    None,
}

/// Output settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputSettings {
    /// Bars, lines or JSON.
    pub style: OutputStyle,
    /// Whether to use colors.
    pub color: bool,
    /// Whether to show failures only.
    pub quiet: bool,
    /// Whether to show the output of every step.
    pub verbose: bool,
    /// Prefix of each line of a service's output.
    pub log_prefix: LogPrefix,
    /// The CI system that reads the log.
    pub ci: Ci,
    /// The folder into which the CI system checked out the repository.
    pub workspace: Option<PathBuf>,
}

impl OutputSettings {
    /// Returns the path of a file for annotations: relative to the workspace if it is inside.
    pub fn relative_to_workspace(&self, file: &Path) -> PathBuf {
        let workspace = self.workspace.as_deref();
        let relative = workspace.and_then(|workspace| file.strip_prefix(workspace).ok());
        relative.unwrap_or(file).to_owned()
    }

    /// Returns whether a run ends with a summary table.
    pub fn prints_summary(&self) -> bool {
        !self.quiet && self.style != OutputStyle::Json
    }
}

/// Removes everything that a terminal or a CI system would interpret as a command, because this text is
/// printed outside of the unit's own log.
fn without_commands(step: &mut FailedStep, ci: Ci) {
    let clean = |text: &mut String| {
        let sanitized = sanitized(text);
        let lines = sanitized.split('\n').map(|line| ci.without_commands(line));
        let lines = lines.collect::<Vec<_>>().join("\n");
        *text = lines;
    };
    clean(&mut step.message);
    step.hints.iter_mut().for_each(clean);
    step.reproduce_command.iter_mut().for_each(clean);
    step.tail.iter_mut().for_each(clean);
}

/// Draws the events of a run, and writes its logs.
///
/// Cheap to clone; clones share the screen.
#[derive(Clone)]
pub struct Reporter {
    state: Arc<Mutex<ReporterState>>,
}

struct ReporterState {
    settings: OutputSettings,
    view: View,
    logs: Logs,
    journal: Journal,
    ended: Vec<(Unit, UnitSummary)>,
}

enum View {
    Bars(Bars),
    Lines(Lines),
    Json,
}

impl Reporter {
    /// Returns a reporter. `manifest` is the file that annotations refer to, `logs` the folder of all runs,
    /// and `started` the first line of this run's record.
    pub fn new(settings: OutputSettings, manifest: &Path, logs: PathBuf, started: Event) -> Self {
        let view = match settings.style {
            OutputStyle::Json => View::Json,
            OutputStyle::Bars if !settings.quiet => View::Bars(Bars::new(settings.clone())),
            _ => View::Lines(Lines::new(settings.clone(), manifest, logs.clone())),
        };
        let mut state = ReporterState {
            settings,
            view,
            logs: Logs::new(logs),
            journal: Journal::new(),
            ended: Vec::new(),
        };
        state.record(&started);
        let state = Arc::new(Mutex::new(state));
        let ticking = Arc::downgrade(&state);
        // One drawing thread, regardless of the number of services.
        std::thread::spawn(move || tick(&ticking));
        Self { state }
    }

    /// Returns the sink for events.
    pub fn events(&self) -> Events {
        let state = self.state.clone();
        Events::new(move |event| {
            state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .draw(event);
        })
    }

    /// Records the end of the command. No event may follow.
    pub fn conclude(&self, exit: Exit, message: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let logs = state.logs.run_folder();
        state.record(&finished(exit, message, logs));
    }

    /// Removes the bars and returns the result of each unit.
    pub fn finish(&self) -> Vec<(Unit, UnitSummary)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.view {
            View::Bars(bars) => bars.clear(),
            View::Lines(lines) => lines.finish(),
            View::Json => {}
        }
        state.logs.close_all();
        std::mem::take(&mut state.ended)
    }

    /// Prints a table or another result of a run, unless the output is quiet or JSON.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        if self.settings().prints_summary() {
            print(text)
        } else {
            Ok(())
        }
    }

    /// Prints the failures of a run to standard error, if there are any.
    pub fn print_failures(&self, failures: &str) {
        if !failures.is_empty() {
            print_message(&paint(failures.trim_end(), self.settings().color));
        }
    }

    fn settings(&self) -> OutputSettings {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settings.clone()
    }

    /// Redraws after the process was suspended by Ctrl-Z and continued.
    pub fn resume(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let View::Bars(bars) = &mut state.view {
            bars.resume();
        }
    }
}

/// Redraws periodically until the reporter is dropped.
fn tick(state: &Weak<Mutex<ReporterState>>) {
    loop {
        let before = Instant::now();
        std::thread::sleep(TICK);
        if before.elapsed() > 5 * TICK {
            // Possibly resumed after Ctrl-Z: let `Reporter::resume` run first.
            std::thread::sleep(TICK / 2);
        }
        let Some(state) = state.upgrade() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.view {
            View::Bars(bars) => bars.tick(),
            View::Lines(lines) => lines.tick(Instant::now()),
            View::Json => {}
        }
    }
}

impl ReporterState {
    fn draw(&mut self, mut event: Event) {
        if let Some(problem) = self.logs.write(&event) {
            self.show(&Event::warning(problem));
        }
        if let Event::UnitFinished { unit, ended } = &mut event
            && let Some(step) = &mut ended.failure
        {
            (step.tail, step.log) = self.logs.tail(unit, step.phase);
        }
        if let Event::TestReport {
            unit, copy, bytes, ..
        } = &mut event
        {
            let (path, problem) = self.logs.keep_report(unit, bytes);
            *copy = path
                .map(|path| path.display().to_string())
                .unwrap_or_default();
            if let Some(problem) = problem {
                self.show(&Event::warning(problem));
            }
        }
        if let View::Json = self.view {
            print_json(&self.journal.streamed(&event).concat());
        }
        if !matches!(event, Event::Output { .. } | Event::Progress { .. }) {
            self.record(&event);
        }
        self.show(&event);
        if let Event::UnitFinished { unit, mut ended } = event {
            self.logs.close(&unit);
            if let Some(step) = &mut ended.failure {
                without_commands(step, self.settings.ci);
            }
            match &mut self.view {
                View::Lines(lines) => lines.ended(&unit, &ended),
                View::Bars(bars) => bars.ended(&unit, &ended),
                View::Json => {}
            }
            self.ended.push((unit, ended));
        }
    }

    /// Appends a line to the record, and prints it in JSON style.
    fn record(&mut self, event: &Event) {
        let line = self.journal.line(event);
        if let View::Json = self.view {
            print_json(&line);
        }
        if let Some(problem) = self.logs.record(&line) {
            self.show(&Event::warning(problem));
        }
    }

    fn show(&mut self, event: &Event) {
        match &mut self.view {
            View::Bars(bars) => bars.take(event),
            View::Lines(lines) => lines.draw(event),
            View::Json => {}
        }
    }
}

/// Prints the `finished` event of a command that has no manifest, and so no reporter.
pub fn print_finished(exit: Exit, message: Option<&str>) {
    print_json(&Journal::new().line(&finished(exit, message, None)));
}

fn finished(exit: Exit, message: Option<&str>, logs: Option<PathBuf>) -> Event {
    let without_colors = |message: &str| {
        let lines: Vec<String> = message
            .lines()
            .map(|line| text::clean(line.as_bytes()))
            .collect();
        lines.join("\n")
    };
    Event::Finished {
        exit: exit.code(),
        message: message.map(without_colors),
        logs: logs.map(|logs| logs.display().to_string()),
    }
}

/// Prints a line of JSON. A closed pipe must not stop the build.
fn print_json(line: &str) {
    let mut output = std::io::stdout().lock();
    _ = output
        .write_all(line.as_bytes())
        .and_then(|()| output.flush());
}
