//! Plain output for pipes and CI: each line is prefixed with its unit.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::annotation;
use super::ci::{CiAnnotation, Level};
use super::groups::Groups;
use crate::base::sanitize::sanitized;
use crate::base::units::elapsed;
use crate::model::event::{Event, Outcome, Phase, Unit, UnitSummary, watch_changed};
use crate::report::journal::now;
use crate::report::retry_notices::RetryNotices;
use crate::report::terminal::transfer::ActiveTransfer;
use crate::report::text::{LineSplitter, paint};
use crate::report::{LogPrefix, OutputSettings, summary};

/// After this long without output a "still running" line is printed, because some CI systems kill silent
/// jobs.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Prints lines to standard error.
pub struct Lines {
    settings: OutputSettings,
    /// The file that annotations refer to.
    manifest: PathBuf,
    groups: Groups,
    splitters: HashMap<(Unit, Phase), LineSplitter>,
    /// Running units, for the heartbeat.
    running: BTreeMap<Unit, RunningUnit>,
    retry_notices: RetryNotices,
}

struct RunningUnit {
    phase: Option<Phase>,
    since: Instant,
    last_output: Instant,
    transfer: Option<ActiveTransfer>,
    /// What it waits for, if it waits before its next step.
    waiting: Option<String>,
}

impl Lines {
    /// Returns the view; `folder` is for lines that cannot be printed yet.
    pub fn new(settings: OutputSettings, manifest: &Path, folder: PathBuf) -> Self {
        Self::printing_to(Box::new(std::io::stderr()), settings, manifest, folder)
    }

    fn printing_to(
        output: Box<dyn Write + Send>,
        settings: OutputSettings,
        manifest: &Path,
        folder: PathBuf,
    ) -> Self {
        Self {
            manifest: manifest.to_owned(),
            groups: Groups::new(settings.ci, output, folder),
            settings,
            splitters: HashMap::new(),
            running: BTreeMap::new(),
            retry_notices: RetryNotices::default(),
        }
    }

    /// Shows one event.
    pub fn draw(&mut self, event: &Event) {
        match event {
            Event::Warning { text } => self.warn(text),
            _ if self.settings.quiet => {}
            Event::Note { text } => self.say(&sanitized(text)),
            // Retries of a unit are part of its log.
            Event::Retrying { unit: Some(_), .. } => {}
            Event::Retrying { retrying, .. } => {
                if let Some(line) = self.retry_notices.line(retrying, Instant::now()) {
                    self.say(&line);
                }
            }
            Event::WatchChanged { unit, files, count } => {
                self.say(&sanitized(&watch_changed(unit.as_ref(), files, *count)));
            }
            Event::Interrupted => self.say("interrupted: stopping running steps"),
            Event::UnitWaiting { unit, phase, needs } => {
                let waiting = summary::waiting(needs);
                if self.settings.verbose && self.running.contains_key(unit) {
                    let line = self.line_about(unit, &format!("{phase}: {waiting}"));
                    self.groups.print_of(unit, &line);
                }
                self.touch(unit, Some(*phase));
                if let Some(running) = self.running.get_mut(unit) {
                    running.waiting = Some(waiting);
                }
            }
            Event::UnitStarted { unit } => {
                let line = self.line_about(unit, "started");
                self.groups.begin(unit, &line);
                let now = Instant::now();
                let running = RunningUnit {
                    phase: None,
                    since: now,
                    last_output: now,
                    transfer: None,
                    waiting: None,
                };
                self.running.insert(unit.clone(), running);
            }
            Event::StepStarted { unit, phase, title } => {
                self.touch(unit, Some(*phase));
                // The other lines of a script are aligned below the first.
                let mut text = String::new();
                let mut before = format!("{phase}:");
                for line in title.lines() {
                    let line = sanitized(line);
                    text.push_str(&self.line_about(unit, &format!("{before} {line}")));
                    before = " ".repeat(before.len());
                }
                self.groups.print_of(unit, &text);
            }
            Event::Output { unit, phase, bytes } => {
                self.touch(unit, None);
                let splitter = self.splitters.entry((unit.clone(), *phase)).or_default();
                let lines = splitter.push(bytes);
                self.print_output(unit, &lines);
            }
            Event::Progress {
                unit,
                measure,
                done,
                total,
                bytes,
                ..
            } => {
                if let Some(running) = self.running.get_mut(unit) {
                    let total = total.unwrap_or(0);
                    match &mut running.transfer {
                        Some(transfer) => transfer.update(*measure, *done, total, *bytes),
                        none => {
                            *none = Some(ActiveTransfer::new(*measure, *done, total, *bytes));
                        }
                    }
                }
            }
            Event::StepFinished {
                unit,
                phase,
                elapsed: took,
            } => {
                self.flush(unit, *phase);
                if self.settings.verbose {
                    let line = format!("{phase}: done in {}", elapsed(*took));
                    let line = self.line_about(unit, &line);
                    self.groups.print_of(unit, &line);
                }
            }
            Event::UnitFinished { unit, .. } => {
                self.running.remove(unit);
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
            Event::StageStarted { text } if self.settings.verbose => self.say(text),
            Event::StageStarted { .. }
            | Event::StageFinished
            | Event::Planned { .. }
            | Event::WorkStarted { .. }
            | Event::Started { .. }
            | Event::Finished { .. }
            | Event::PhaseRestored { .. }
            | Event::SidecarStarted { .. }
            | Event::SidecarReady { .. }
            | Event::SidecarOutput { .. }
            | Event::SidecarEnded { .. }
            | Event::TestReport { .. }
            | Event::WatchWaiting { .. }
            | Event::Unknown => {}
        }
    }

    /// Shows the result of a unit.
    pub fn ended(&mut self, unit: &Unit, ended: &UnitSummary) {
        let mut problem = String::new();
        if let Some(step) = &ended.failure {
            let location = annotation::location(step, &self.settings, &self.manifest);
            problem = self.settings.ci.problem(&CiAnnotation {
                level: Level::Error,
                file: location.as_ref().map(|(file, _)| file.as_path()),
                line: location.as_ref().map(|(_, line)| *line),
                title: &format!("{unit}: {} failed", step.phase),
                message: &annotation::text(step, &self.settings),
            });
        }
        if self.settings.quiet {
            return self.groups.print(&problem);
        }
        let line = self.line_about(unit, &summary::outcome_line(ended, self.settings.color));
        let failed = ended.outcome == Outcome::Failed;
        self.groups.end(unit, failed, &line, &problem);
    }

    /// Reports units that have been silent for a long time.
    pub fn tick(&mut self, now: Instant) {
        let mut text = String::new();
        for (unit, running) in &mut self.running {
            if now.duration_since(running.last_output) < HEARTBEAT {
                continue;
            }
            running.last_output = now;
            let phase = running.phase.map_or("", |phase| phase.as_str());
            let took = elapsed(now.duration_since(running.since));
            let amounts = match &running.transfer {
                Some(transfer) => format!(", {}", transfer.amounts()),
                None => String::new(),
            };
            let colon = if phase.is_empty() { "" } else { ": " };
            let state = match &running.waiting {
                Some(waiting) => format!("{waiting}, {took} so far"),
                None => format!("still running after {took}{amounts}"),
            };
            text.push_str(&format!(
                "{}{unit} | {phase}{colon}{state}\n",
                stamp(&self.settings)
            ));
        }
        if !text.is_empty() {
            self.groups.print(&text);
        }
    }

    /// Closes the open group and prints buffered lines.
    pub fn finish(&mut self) {
        self.groups.finish();
    }

    fn warn(&mut self, text: &str) {
        let text = &sanitized(text);
        self.say(&paint(&format!("warning: {text}"), self.settings.color));
        let problem = self.settings.ci.problem(&CiAnnotation {
            level: Level::Warning,
            file: None,
            line: None,
            title: "xp",
            message: text,
        });
        self.groups.print(&problem);
    }

    /// Prints a message without a unit.
    fn say(&mut self, text: &str) {
        let mut lines = String::new();
        for line in text.lines() {
            let line = self.settings.ci.without_commands(line);
            lines.push_str(&format!("{}{line}\n", stamp(&self.settings)));
        }
        self.groups.print(&lines);
    }

    /// Returns a message about a unit. It has the unit's name even with `--log-prefix none`.
    fn line_about(&self, unit: &Unit, line: &str) -> String {
        let line = self.settings.ci.without_commands(line);
        let line = format!("{}{unit} | {line}", stamp(&self.settings));
        format!("{}\n", line.trim_end())
    }

    /// Prints a step's output in one write: a script may print millions of lines.
    fn print_output(&mut self, unit: &Unit, lines: &[String]) {
        let before = match self.settings.log_prefix {
            LogPrefix::None => String::new(),
            LogPrefix::Service | LogPrefix::Time => format!("{}{unit} | ", stamp(&self.settings)),
        };
        let mut text = String::new();
        for line in lines {
            // No trailing space on empty lines.
            let before = if line.trim_end().is_empty() {
                before.trim_end()
            } else {
                before.as_str()
            };
            text.push_str(before);
            text.push_str(self.settings.ci.without_commands(line).trim_end());
            text.push('\n');
        }
        if !text.is_empty() {
            self.groups.print_of(unit, &text);
        }
    }

    fn flush(&mut self, unit: &Unit, phase: Phase) {
        let line = self
            .splitters
            .get_mut(&(unit.clone(), phase))
            .and_then(LineSplitter::flush);
        if let Some(line) = line {
            self.print_output(unit, &[line]);
        }
    }

    /// Records activity of a unit, and the phase that it entered, if any.
    fn touch(&mut self, unit: &Unit, phase: Option<Phase>) {
        if let Some(running) = self.running.get_mut(unit) {
            running.last_output = Instant::now();
            if phase.is_some() {
                running.phase = phase;
                running.since = running.last_output;
                running.transfer = None;
                running.waiting = None;
            }
        }
    }
}

/// Returns the time prefix, or an empty string. In UTC, so that logs of different machines can be
/// compared.
fn stamp(settings: &OutputSettings) -> String {
    match settings.log_prefix {
        LogPrefix::Time => format!("{} ", now()),
        LogPrefix::Service | LogPrefix::None => String::new(),
    }
}

#[cfg(test)]
mod tests;
