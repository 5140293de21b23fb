//! Turns events into terminal output, log files and reports. The only module that draws.

mod debug_hint;
mod document;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod journal;
mod logs;
pub mod plain;
mod replay;
mod retry_notices;
#[cfg(test)]
mod shared_output;
mod step_summary;
mod summary;
pub mod terminal;
mod text;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use crate::report::plain::checked_out::CheckedOutRepository;
pub use crate::report::plain::ci::{Ci, CiAnnotation, Level};
pub use crate::report::terminal::prompt::{ask, print, print_message};
pub use crate::report::terminal::size::columns;
pub use document::{HTML_START, JUNIT_START, MARKDOWN_START, OTLP_START, RunReport, RunState};
pub use replay::Replay;
pub use summary::{failures, summary};
pub use text::{first_line, paint, severity_painted, shortened};

use crate::base::error::{Exit, Failure};
use crate::base::sanitize::sanitized;
use crate::model::event::{Event, Events, FailedStep, Unit, UnitSummary, watch_waiting};
use crate::model::plan::Detail;
use crate::report::debug_hint::debug_hint;
use crate::report::plain::lines::Lines;
use crate::report::terminal::bars::Bars;
use journal::Journal;
use logs::Logs;

/// Redraw interval of the live bars.
const TICK: Duration = Duration::from_millis(100);

/// The longest time for which output is held back.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

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
    /// The folder into which the CI system checked out the repository; the current folder if it does not say.
    pub workspace: PathBuf,
    /// The repository that the CI system checked out.
    pub repository: Option<CheckedOutRepository>,
    /// Whether the machine may be gone when the output is read: that of a CI system.
    pub is_ci: bool,
    /// How the CI system shows the result of the run.
    pub result_display: Option<ResultDisplay>,
    /// Whether nothing is shown and recorded before [`Reporter::release`], or the first second has passed.
    pub is_held: bool,
    /// Whether the command is a run: its result is displayed, and it is recorded even if it fails before it has a plan.
    pub is_run: bool,
}

/// How a CI system shows the result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultDisplay {
    /// As Markdown that is added to this file.
    StepSummary(PathBuf),
    /// In the status text of TeamCity's build.
    StatusText,
}

impl OutputSettings {
    /// Returns the path of a file for annotations: relative to the workspace if it is inside.
    pub fn relative_to_workspace(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.workspace)
            .unwrap_or(file)
            .to_owned()
    }

    /// Returns whether the output consists of events, for other programs.
    pub fn is_json(&self) -> bool {
        self.style == OutputStyle::Json
    }

    /// Returns whether a run ends with a summary table.
    pub fn prints_summary(&self) -> bool {
        !self.quiet && !self.is_json()
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
    if let Some(instruction) = &mut step.dockerfile {
        clean(&mut instruction.file);
    }
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
    /// The events that are not shown yet; `None` once they are.
    held: Option<Vec<Event>>,
    view: View,
    logs: Logs,
    journal: Journal,
    started: Instant,
    ended: Vec<(Unit, UnitSummary)>,
    /// The commits of the plan that others can build too.
    commits: HashMap<Unit, String>,
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
            held: settings.is_held.then(Vec::new),
            settings,
            view,
            logs: Logs::new(logs),
            journal: Journal::new(),
            started: Instant::now(),
            ended: Vec::new(),
            commits: HashMap::new(),
        };
        match &mut state.held {
            Some(held) => held.push(started),
            None => state.record(&started),
        }
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

    /// Shows the events that were held back, and all later ones.
    pub fn release(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.release();
    }

    /// Returns whether nothing has been shown yet.
    pub fn is_held(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held.is_some()
    }

    /// Records the end of the command. No event may follow.
    pub fn conclude(&self, exit: Exit, message: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let message_of_run = message.filter(|_| state.settings.is_run);
        if let Some(message) = message_of_run {
            if let Some(problem) = state.logs.begin_failed() {
                state.show(&Event::warning(problem));
            }
            state.annotate(message);
        }
        let logs = state.logs.run_folder();
        state.record(&finished(exit, message, logs));
    }

    /// Shows the result of the run in the CI system, outside of the log. Called after [`Reporter::conclude`].
    pub fn display_result(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let display = state.settings.result_display.as_ref();
        let Some(display) = display.filter(|_| state.settings.is_run) else {
            return;
        };
        let record = state.logs.read_record();
        let is_empty = record.plan.is_none() && record.units.is_empty();
        if is_empty && record.message.is_none() {
            // A list of environments.
            return;
        }
        let report = RunReport::new(&record, None, &[]);
        match display {
            ResultDisplay::StepSummary(path) => {
                if let Err(error) = step_summary::append(path, &report) {
                    let path = path.display();
                    let text = format!("warning: cannot write the job summary {path}: {error}");
                    print_message(&paint(&text, state.settings.color));
                }
            }
            ResultDisplay::StatusText => {
                print_message(state.settings.ci.status(&report.result()).trim_end());
            }
        }
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

    /// Returns how much of a plan or a run is shown: on a terminal only units with work, unless services are named.
    pub fn detail(&self, is_named: bool) -> Detail {
        let columns = columns(std::io::stdout());
        let verbose = self.settings().verbose;
        let is_complete = columns.is_none() || is_named;
        Detail {
            columns,
            all: is_complete,
            steps: is_complete || verbose,
            repeats: verbose,
        }
    }

    /// Returns the time since the command started.
    pub fn elapsed(&self) -> Duration {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.started.elapsed()
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
        if state.started.elapsed() > LONGEST_HOLD {
            state.release();
        }
        match &mut state.view {
            View::Bars(bars) => bars.tick(),
            View::Lines(lines) => lines.tick(Instant::now()),
            View::Json => {}
        }
    }
}

impl ReporterState {
    /// Shows the error of the run in the CI system, unless it already contains annotations.
    fn annotate(&self, message: &str) {
        let ci = self.settings.ci;
        let is_annotated = |line: &str| ci.without_commands(line) != line;
        if message.lines().any(is_annotated) {
            return;
        }
        let problem = ci.problem(&CiAnnotation {
            level: Level::Error,
            file: None,
            line: None,
            title: "xp",
            message: message.strip_prefix("error: ").unwrap_or(message),
        });
        if !problem.is_empty() {
            print_message(problem.trim_end());
        }
    }

    fn release(&mut self) {
        for event in self.held.take().into_iter().flatten() {
            self.draw(event);
        }
    }

    fn draw(&mut self, mut event: Event) {
        if let Some(held) = &mut self.held {
            held.push(event);
            return;
        }
        if let Some(problem) = self.logs.write(&event) {
            self.show(&Event::warning(problem));
        }
        if let Event::Planned { plan } = &event {
            let units = plan.units.iter().filter(|unit| !unit.is_in_place);
            let commits =
                units.filter_map(|unit| Some((unit.name.clone().into(), unit.commit.clone()?)));
            self.commits.extend(commits);
        }
        if let Event::UnitFinished { unit, ended } = &mut event
            && let Some(step) = &mut ended.failure
        {
            (step.tail, step.log) = self.logs.tail(unit, &step.log_name());
            let commit = self.commits.get(unit).map(String::as_str);
            let hint = debug_hint(unit, step, commit, self.settings.is_ci);
            step.hints.extend(hint);
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
        let is_streamed = matches!(
            event,
            Event::Output { .. } | Event::SidecarOutput { .. } | Event::Progress { .. }
        );
        if !is_streamed {
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

/// Ends the line in which the terminal showed `^C` while xp waited for changes.
pub fn end_watch_line(settings: &OutputSettings) {
    if settings.style == OutputStyle::Bars && !settings.quiet {
        print_message("");
    }
}

/// Prints that xp waits for changes, between two runs.
pub fn print_watch_waiting(settings: &OutputSettings, units: Vec<Unit>, folders: usize) {
    if settings.style == OutputStyle::Json {
        print_json(&Journal::new().line(&Event::WatchWaiting { units, folders }));
    } else if !settings.quiet {
        print_message(&watch_waiting(units.len(), folders));
    }
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
