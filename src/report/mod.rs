//! What people and files get to see of the events: the only place that draws.

mod bars;
mod lines;
mod logs;
mod question;
mod summary;
mod terminal;
mod text;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use question::{ask, say};
pub use summary::{failures, summary};
pub use terminal::columns;
pub use text::{paint, shortened};

use crate::event::{Event, Events, FailedStep, Outcome, Unit};
use bars::Bars;
use lines::Lines;
use logs::Logs;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Live bars, for a terminal.
    Bars,
    /// A line each, for everything else.
    Lines,
}

/// What a report is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bars or lines.
    pub style: Style,
    /// Whether colours are used.
    pub color: bool,
    /// Whether only failures are shown.
    pub quiet: bool,
    /// Whether the output of every step is shown.
    pub verbose: bool,
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
    /// Returns a reporter; `logs` is the folder of all runs' logs, in which this run gets its own.
    pub fn new(settings: Settings, logs: PathBuf) -> Self {
        let view = match settings.style {
            Style::Bars if !settings.quiet => View::Bars(Bars::new(settings)),
            _ => View::Lines(Lines::new(settings)),
        };
        let state = State {
            settings,
            view,
            logs: Logs::new(logs),
            ended: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
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
        if let View::Bars(bars) = &mut state.view {
            bars.clear();
        }
        state.logs.close_all();
        std::mem::take(&mut state.ended)
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
            let ended = Ended {
                outcome,
                elapsed,
                tail,
                log,
            };
            if let (View::Lines(lines), false) = (&self.view, self.settings.quiet) {
                lines.ended(&unit, &ended);
            }
            if let View::Bars(bars) = &mut self.view {
                bars.ended(&unit, &ended);
            }
            self.ended.push((unit, ended));
        }
    }

    fn show(&mut self, event: &Event) {
        match &mut self.view {
            View::Bars(bars) => bars.draw(event),
            View::Lines(lines) => lines.draw(event),
        }
    }
}
