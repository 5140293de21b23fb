//! Plain lines with the unit's name before them, for pipes and CI.

use std::collections::HashMap;
use std::io::Write as _;

use super::text::{LineSplitter, elapsed, paint};
use super::{Ended, Settings, summary};
use crate::event::{Event, Phase, Unit};

/// Prints lines to standard error.
pub struct Lines {
    settings: Settings,
    splitters: HashMap<(Unit, Phase), LineSplitter>,
}

impl Lines {
    /// Returns the view.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            splitters: HashMap::new(),
        }
    }

    /// Shows one event.
    pub fn draw(&mut self, event: &Event) {
        match event {
            Event::Warning(text) => {
                print(&paint(&format!("warning: {text}"), self.settings.color));
            }
            _ if self.settings.quiet => {}
            Event::Note(text) => print(text),
            Event::Interrupted => print("interrupted: stopping what runs"),
            Event::StepStarted { unit, phase, title } => {
                // Further lines of a script stand below the first.
                let mut before = format!("{phase}:");
                for line in title.lines() {
                    print(format!("{unit} | {before} {line}").trim_end());
                    before = " ".repeat(before.len());
                }
            }
            Event::Output { unit, phase, bytes } => {
                let splitter = self.splitters.entry((unit.clone(), *phase)).or_default();
                // Written at once: a script may print millions of lines.
                let mut text = String::new();
                for line in splitter.push(bytes) {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(format!("{unit} | {line}").trim_end());
                }
                if !text.is_empty() {
                    print(&text);
                }
            }
            Event::StepFinished {
                unit,
                phase,
                elapsed: took,
            } => {
                self.flush(unit, *phase);
                if self.settings.verbose {
                    print(&format!("{unit} | {phase}: done in {}", elapsed(*took)));
                }
            }
            Event::UnitFinished { unit, .. } => {
                let ended: Vec<Phase> = self
                    .splitters
                    .keys()
                    .filter(|(of, _)| of == unit)
                    .map(|(_, phase)| *phase)
                    .collect();
                for phase in ended {
                    self.flush(unit, phase);
                    self.splitters.remove(&(unit.clone(), phase));
                }
            }
            Event::StageStarted(text) if self.settings.verbose => print(text),
            Event::StageStarted(_)
            | Event::StageFinished
            | Event::Planned(_)
            | Event::RunStarted { .. }
            | Event::UnitStarted { .. }
            | Event::Progress { .. } => {}
        }
    }

    fn flush(&mut self, unit: &Unit, phase: Phase) {
        let line = self
            .splitters
            .get_mut(&(unit.clone(), phase))
            .and_then(LineSplitter::flush);
        if let Some(line) = line {
            print(format!("{unit} | {line}").trim_end());
        }
    }

    /// Shows how a unit ended.
    pub fn ended(&self, unit: &Unit, ended: &Ended) {
        print(&format!("{unit} | {}", summary::outcome_line(ended)));
    }
}

fn print(line: &str) {
    // A closed pipe is no reason to stop the work.
    _ = writeln!(std::io::stderr().lock(), "{line}");
}
