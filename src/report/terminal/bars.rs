//! Live progress: a row for each running unit, and a footer with the totals.
//!
//! Redrawn ten times a second rather than on each event, so the cost does not depend on the amount of output.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use indicatif::DecimalBytes;

use super::row::{Columns, RowDetail, UnitRow};
use super::screen::Screen;
use super::transfer::ActiveTransfer;
use crate::base::sanitize::sanitized;
use crate::base::units::elapsed;
use crate::model::event::{Event, Outcome, Phase, Unit, UnitSummary, watch_changed};
use crate::report::retry_notices::RetryNotices;
use crate::report::terminal::size::{NoControlEcho, Size, size};
use crate::report::text::{LineSplitter, first_line, last_lines, padded, paint, shortened, width};
use crate::report::{LogPrefix, OutputSettings, summary};

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Names in the scrolling lines are padded up to this width.
const LONGEST_ALIGNED: usize = 26;

/// Draws on standard error, which is a terminal.
pub struct Bars {
    settings: OutputSettings,
    screen: Screen,
    /// The current planning stage, and its start.
    stage: Option<(String, Instant)>,
    run: Option<RunTotals>,
    /// A unit that starts reuses the slot of one that ended, so that the other rows do not move.
    running: Vec<Option<UnitRow>>,
    spins: usize,
    hidden_keys: Option<NoControlEcho>,
    retry_notices: RetryNotices,
}

/// Totals of a run.
struct RunTotals {
    started: Instant,
    units: usize,
    jobs: usize,
    done: usize,
    failed: usize,
    longest_name: usize,
    /// Bytes of finished pushes, and of those in progress.
    pushed: u64,
    pushing: HashMap<Unit, u64>,
    /// The units that wait for other units, and for which.
    waiting: BTreeMap<Unit, Vec<Unit>>,
}

impl Bars {
    /// Returns the view.
    pub fn new(settings: OutputSettings) -> Self {
        Self {
            settings,
            screen: Screen::default(),
            stage: None,
            run: None,
            running: Vec::new(),
            spins: 0,
            hidden_keys: None,
            retry_notices: RetryNotices::default(),
        }
    }

    /// Handles an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Note { text } => self.print(&sanitized(text)),
            // Retries of a unit are part of its log.
            Event::Retrying { unit: Some(_), .. } => {}
            Event::Retrying { retrying, .. } => {
                if let Some(line) = self.retry_notices.line(retrying, Instant::now()) {
                    self.print(&line);
                }
            }
            Event::Warning { text } => {
                let text = format!("warning: {}", sanitized(text));
                self.print(&paint(&text, self.settings.color));
            }
            Event::WatchChanged { unit, files, count } => {
                self.print(&sanitized(&watch_changed(unit.as_ref(), files, *count)));
            }
            Event::Interrupted => {
                self.print("interrupted: stopping running steps");
                self.draw();
                // xp may exit at any moment from here on.
                self.hidden_keys = None;
            }
            Event::StageStarted { text } => {
                self.hide_control_keys();
                self.stage = Some((first_line(text), Instant::now()));
            }
            Event::StageFinished => self.stage = None,
            Event::WorkStarted { units, jobs } => {
                self.hide_control_keys();
                let names = units.iter().map(|unit| width(&unit.to_string()));
                self.run = Some(RunTotals {
                    started: Instant::now(),
                    units: units.len(),
                    jobs: *jobs,
                    done: 0,
                    failed: 0,
                    longest_name: names.max().unwrap_or(0),
                    pushed: 0,
                    pushing: HashMap::new(),
                    waiting: BTreeMap::new(),
                });
            }
            Event::UnitWaiting { unit, needs, .. } => {
                if let Some(row) = self.row(unit) {
                    row.is_waiting = true;
                }
                self.end_push(unit);
                self.end_wait(unit);
                if let (Some(run), false) = (&mut self.run, needs.is_empty()) {
                    run.waiting.insert(unit.clone(), needs.clone());
                }
            }
            Event::UnitStarted { unit } => {
                self.end_wait(unit);
                let row = Some(UnitRow::new(unit.clone(), Instant::now()));
                match self.running.iter_mut().find(|slot| slot.is_none()) {
                    Some(slot) => *slot = row,
                    None => self.running.push(row),
                }
            }
            Event::StepStarted { unit, phase, title } => {
                if let Some(row) = self.row(unit) {
                    row.phase = Some(*phase);
                    row.splitter = LineSplitter::default();
                    row.title = first_line(title);
                    row.detail = RowDetail::Nothing;
                    row.is_waiting = false;
                }
                self.end_push(unit);
                self.end_wait(unit);
                if self.settings.verbose {
                    self.print(&format!("{unit} | {phase}: {}", first_line(title)));
                }
            }
            Event::Output { unit, bytes, .. } => self.take_output(unit, bytes),
            Event::Progress {
                unit,
                phase,
                measure,
                done,
                total,
                bytes,
            } => {
                if let Some(row) = self.row(unit) {
                    row.phase = Some(*phase);
                    let total = total.unwrap_or(0);
                    match &mut row.detail {
                        RowDetail::Transfer(transfer) => {
                            transfer.update(*measure, *done, total, *bytes);
                        }
                        detail => {
                            let transfer = ActiveTransfer::new(*measure, *done, total, *bytes);
                            *detail = RowDetail::Transfer(transfer);
                        }
                    }
                }
                if let (Phase::Push, Some(run)) = (phase, &mut self.run) {
                    run.pushing.insert(unit.clone(), *bytes);
                }
            }
            Event::Started { .. }
            | Event::Planned { .. }
            | Event::StepFinished { .. }
            | Event::Finished { .. }
            | Event::PhaseRestored { .. }
            | Event::SidecarStarted { .. }
            | Event::SidecarReady { .. }
            | Event::SidecarOutput { .. }
            | Event::SidecarEnded { .. }
            | Event::TestReport { .. }
            | Event::WatchWaiting { .. }
            | Event::Unknown => {}
            Event::UnitFinished { unit, ended } => {
                let is_unit = |slot: &&mut Option<UnitRow>| {
                    slot.as_ref().is_some_and(|row| row.unit == *unit)
                };
                if let Some(slot) = self.running.iter_mut().find(is_unit) {
                    *slot = None;
                }
                self.end_push(unit);
                self.end_wait(unit);
                if let Some(run) = &mut self.run {
                    run.done += 1;
                    run.failed += usize::from(ended.outcome == Outcome::Failed);
                }
            }
        }
    }

    /// Prints the result of a unit above the rows.
    pub fn ended(&mut self, unit: &Unit, ended: &UnitSummary) {
        let longest = self.run.as_ref().map_or(0, |run| run.longest_name);
        let name = unit.to_string();
        let columns = longest.min(LONGEST_ALIGNED).max(width(&name));
        let line = summary::outcome_line(ended, self.settings.color);
        self.print(&format!("{}  {line}", padded(&name, columns)));
    }

    /// Redraws the rows.
    pub fn tick(&mut self) {
        self.spins += 1;
        // Slots that were not reused since the last tick.
        self.running.retain(Option::is_some);
        self.draw();
    }

    /// Redraws everything after another program used the terminal.
    pub fn resume(&mut self) {
        self.screen.forget();
        if self.hidden_keys.take().is_some() {
            self.hide_control_keys();
        }
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        (self.stage, self.run) = (None, None);
        self.running.clear();
        self.draw();
        self.hidden_keys = None;
    }

    fn take_output(&mut self, unit: &Unit, bytes: &[u8]) {
        let (verbose, prefix) = (self.settings.verbose, self.settings.log_prefix);
        let Some(row) = self.row(unit) else {
            return;
        };
        // Without `--verbose` only the last line is shown.
        let shown = if verbose {
            bytes
        } else {
            last_lines(bytes, 10)
        };
        if shown.len() < bytes.len() {
            row.splitter = LineSplitter::default();
        }
        let lines = row.splitter.push(shown);
        let ended = lines.iter().rev().find(|line| !line.trim().is_empty());
        if let Some(line) = row.splitter.unfinished().or_else(|| ended.cloned()) {
            row.detail = RowDetail::Line(line);
        }
        if verbose {
            for line in lines {
                self.print(prefix.before(unit, &line).trim_end());
            }
        }
    }

    fn draw(&mut self) {
        let size = size(std::io::stderr());
        let rows = self.rows(Instant::now(), size);
        self.screen.draw(size, rows);
    }

    /// Returns the rows that fit the terminal, the footer last.
    fn rows(&self, now: Instant, size: Size) -> Vec<String> {
        let spinner = self.spinner();
        // The last column stays empty: some terminals wrap after writing to it.
        let fit =
            |text: &str, taken: usize| shortened(text, size.columns.saturating_sub(1 + taken));
        let mut rows = Vec::new();
        if let Some((text, since)) = &self.stage {
            let took = now.duration_since(*since);
            let text = match took.as_secs() {
                0..2 => text.clone(),
                _ => format!("{text}, {}", elapsed(took)),
            };
            rows.push(format!("{spinner} {}", fit(&text, 2)));
        }
        let Some(run) = &self.run else {
            return rows;
        };
        // One row for the scrolling lines, and one for the footer.
        let room = size.rows.saturating_sub(2 + rows.len());
        let running = self.running.iter().flatten();
        let running: Vec<&UnitRow> = running.filter(|row| !row.is_waiting).collect();
        let shown = match running.len() {
            all if all <= room => all,
            _ => room.saturating_sub(1),
        };
        let columns = Columns::new(size.columns, run.longest_name);
        for row in &running[..shown] {
            rows.push(format!("{spinner} {}", fit(&row.text(now, columns), 2)));
        }
        if shown < running.len() && room > 0 {
            let more = format!("  … and {} more", running.len() - shown);
            rows.push(fit(&more, 0));
        }
        let working = running.iter();
        let working = working.filter(|row| row.phase.is_none_or(Phase::takes_job));
        rows.push(run.footer(now, working.count(), size.columns.saturating_sub(1)));
        rows
    }

    fn spinner(&self) -> String {
        let spinner = SPINNER[self.spins % SPINNER.len()];
        if self.settings.color {
            format!("\x1b[36m{spinner}\x1b[0m")
        } else {
            spinner.to_string()
        }
    }

    fn row(&mut self, unit: &Unit) -> Option<&mut UnitRow> {
        self.running
            .iter_mut()
            .flatten()
            .find(|row| row.unit == *unit)
    }

    fn end_push(&mut self, unit: &Unit) {
        if let Some(run) = &mut self.run {
            run.pushed += run.pushing.remove(unit).unwrap_or(0);
        }
    }

    fn end_wait(&mut self, unit: &Unit) {
        if let Some(run) = &mut self.run {
            run.waiting.remove(unit);
        }
    }

    fn hide_control_keys(&mut self) {
        if self.hidden_keys.is_none() {
            self.hidden_keys = NoControlEcho::begin();
        }
    }

    fn print(&mut self, text: &str) {
        for line in text.lines() {
            self.screen.print(line);
        }
    }
}

impl RunTotals {
    /// Returns the footer, without the least important parts if there is no room.
    fn footer(&self, now: Instant, working: usize, columns: usize) -> String {
        let pushed = self.pushed + self.pushing.values().sum::<u64>();
        let done = format!("{} of {} done", self.done, self.units);
        let time = elapsed(now.duration_since(self.started));
        // Least important first.
        let mut parts = [
            (pushed > 0).then(|| format!("{} pushed", DecimalBytes(pushed))),
            self.waits(),
            (working > 0).then(|| format!("{working} of {} jobs", self.jobs)),
            (self.failed > 0).then(|| format!("{} failed", self.failed)),
        ];
        for dropped in 0..=parts.len() {
            let between = parts.iter().rev().flatten();
            let mut text = done.clone();
            for part in between.chain([&time]) {
                text.push_str(", ");
                text.push_str(part);
            }
            if width(&text) <= columns {
                return text;
            }
            if let Some(part) = parts.get_mut(dropped) {
                *part = None;
            }
        }
        shortened(&done, columns)
    }

    /// Returns how many units wait for others, and for which.
    fn waits(&self) -> Option<String> {
        let needs: BTreeSet<&Unit> = self.waiting.values().flatten().collect();
        let mut names = needs.iter().map(ToString::to_string);
        let names = match needs.len() {
            0 => return None,
            1 | 2 => names.collect::<Vec<_>>().join(" and "),
            more => format!("{} and {} more", names.next().unwrap_or_default(), more - 1),
        };
        Some(format!("{} waiting for {names}", self.waiting.len()))
    }
}

impl LogPrefix {
    /// Returns a line of a unit's output for printing above the rows, which show the time anyway.
    fn before(self, unit: &Unit, line: &str) -> String {
        match self {
            Self::None => line.to_owned(),
            Self::Service | Self::Time => format!("{unit} | {line}"),
        }
    }
}

#[cfg(test)]
mod tests;
