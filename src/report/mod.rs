//! What people and files get to see of the events: the only place that draws.

mod bars;
mod ci;
mod groups;
mod lines;
mod logs;
mod row;
mod screen;
mod spool;
mod summary;
mod terminal;
mod text;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use ci::{Ci, Level, Problem};
pub use summary::{failures, summary};
pub use terminal::columns;
pub use text::paint;

use crate::event::{Event, Events, FailedStep, Outcome, Unit};
use bars::Bars;
use lines::Lines;
use logs::Logs;

/// How often live bars are drawn: often enough for the eye, and cheap.
const TICK: Duration = Duration::from_millis(100);

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Live bars, for a terminal.
    Bars,
    /// A line each, for everything else.
    #[default]
    Lines,
}

/// What stands before each line of a service's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogPrefix {
    /// The service's name.
    #[default]
    Service,
    /// The time, and the service's name.
    Time,
    /// Nothing.
    None,
}

/// What a report is to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Bars or lines.
    pub style: Style,
    /// Whether colours are used.
    pub color: bool,
    /// Whether only failures are shown.
    pub quiet: bool,
    /// Whether the output of every step is shown.
    pub verbose: bool,
    /// What stands before each line of a service's output.
    pub log_prefix: LogPrefix,
    /// Who reads the lines.
    pub ci: Ci,
    /// The folder of the repository that the CI system has checked out.
    pub workspace: Option<PathBuf>,
}

impl Settings {
    /// Returns a file's path as annotations name it: relative to the repository, where it lies there.
    pub fn as_seen_from_the_repository(&self, file: &Path) -> PathBuf {
        let workspace = self.workspace.as_deref();
        let relative = workspace.and_then(|workspace| file.strip_prefix(workspace).ok());
        relative.unwrap_or(file).to_owned()
    }
}

/// How the work on a unit ended, for the closing table.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
    /// The last lines of the failed step's log.
    pub tail: Vec<String>,
    /// The file with the whole of it.
    pub log: Option<PathBuf>,
}

/// Draws the events of a run, and writes its logs.
///
/// Cheap to clone; clones draw on the same screen.
#[derive(Clone)]
pub struct Reporter {
    state: Arc<Mutex<State>>,
}

struct State {
    settings: Settings,
    view: View,
    logs: Logs,
    ended: Vec<(Unit, Ended)>,
}

enum View {
    Bars(Bars),
    Lines(Lines),
}

impl Reporter {
    /// Returns a reporter; `manifest` is the file that annotations name, and `logs` the folder of all
    /// runs' logs, in which this run gets its own.
    pub fn new(settings: Settings, manifest: &Path, logs: PathBuf) -> Self {
        let view = match settings.style {
            Style::Bars if !settings.quiet => View::Bars(Bars::new(settings.clone())),
            _ => View::Lines(Lines::new(settings.clone(), manifest, logs.clone())),
        };
        let state = State {
            settings,
            view,
            logs: Logs::new(logs),
            ended: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let ticking = Arc::downgrade(&state);
        // The one thread that draws, whatever the number of services.
        std::thread::spawn(move || tick(&ticking));
        Self { state }
    }

    /// Returns the sink that work emits its events to.
    pub fn events(&self) -> Events {
        let state = self.state.clone();
        Events::new(move |event| {
            state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .draw(event);
        })
    }

    /// Takes the bars away, and returns how each unit ended.
    pub fn finish(&self) -> Vec<(Unit, Ended)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.view {
            View::Bars(bars) => bars.clear(),
            View::Lines(lines) => lines.finish(),
        }
        state.logs.close_all();
        std::mem::take(&mut state.ended)
    }

    /// Takes the terminal back after the process was stopped by Ctrl-Z and goes on.
    pub fn resume(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let View::Bars(bars) = &mut state.view {
            bars.resume();
        }
    }
}

/// Draws what moves, as long as there is a reporter.
fn tick(state: &Weak<Mutex<State>>) {
    loop {
        std::thread::sleep(TICK);
        let Some(state) = state.upgrade() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.view {
            View::Bars(bars) => bars.tick(),
            View::Lines(lines) => lines.tick(Instant::now()),
        }
    }
}

impl State {
    fn draw(&mut self, event: Event) {
        if let Some(problem) = self.logs.write(&event) {
            let warning = Event::Warning(problem);
            self.show(&warning);
        }
        self.show(&event);
        if let Event::UnitFinished {
            unit,
            outcome,
            elapsed,
        } = event
        {
            let (mut tail, mut log) = (Vec::new(), None);
            if let Outcome::Failed(FailedStep { phase, .. }) = &outcome {
                (tail, log) = self.logs.tail(&unit, *phase);
            }
            self.logs.close(&unit);
            // Both are told again at the end, where a CI system reads them as it reads everything.
            let ci = self.settings.ci;
            let harmless = |text: &str| ci.without_commands(text).into_owned();
            let ended = Ended {
                outcome: match outcome {
                    Outcome::Failed(step) => Outcome::Failed(FailedStep {
                        message: step
                            .message
                            .lines()
                            .map(harmless)
                            .collect::<Vec<_>>()
                            .join("\n"),
                        ..step
                    }),
                    other => other,
                },
                elapsed,
                tail: tail.iter().map(|line| harmless(line)).collect(),
                log,
            };
            match &mut self.view {
                View::Lines(lines) => lines.ended(&unit, &ended),
                View::Bars(bars) => bars.ended(&unit, &ended),
            }
            self.ended.push((unit, ended));
        }
    }

    fn show(&mut self, event: &Event) {
        match &mut self.view {
            View::Bars(bars) => bars.take(event),
            View::Lines(lines) => lines.draw(event),
        }
    }
}
