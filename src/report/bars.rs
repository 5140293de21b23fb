//! Live rows: one for each running unit, and one with the sum.
//!
//! Nothing is drawn when something happens, but ten times a second: hundreds of services that print
//! without end cost no more than one that waits.

use std::collections::HashMap;
use std::time::Instant;

use super::repeats::Repeats;
use super::row::{Columns, Detail, Row};
use super::screen::Screen;
use super::terminal::{NoControlEcho, Size, size};
use super::text::{
    LineSplitter, bytes, elapsed, first_line, last_lines, padded, paint, shortened, width,
};
use super::transfer::Transfer;
use super::{Ended, LogPrefix, Settings, summary};
use crate::error::harmless;
use crate::event::{Event, Outcome, Phase, Unit};

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Names that scroll away are aligned up to this.
const LONGEST_ALIGNED: usize = 26;

/// Draws on the terminal that is standard error.
pub struct Bars {
    settings: Settings,
    screen: Screen,
    /// What is decided before work begins, and since when.
    stage: Option<(String, Instant)>,
    run: Option<Run>,
    /// A unit that begins takes the place of one that has ended, so that the others stay in theirs.
    running: Vec<Option<Row>>,
    spins: usize,
    quiet_keys: Option<NoControlEcho>,
    repeats: Repeats,
}

/// The sum of a run.
struct Run {
    started: Instant,
    units: usize,
    jobs: usize,
    done: usize,
    failed: usize,
    longest_name: usize,
    /// Bytes of pushes that are over, and of those that go on.
    pushed: u64,
    pushing: HashMap<Unit, u64>,
}

impl Bars {
    /// Returns the view.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            screen: Screen::default(),
            stage: None,
            run: None,
            running: Vec::new(),
            spins: 0,
            quiet_keys: None,
            repeats: Repeats::default(),
        }
    }

    /// Takes in one event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Note(text) => self.print(&harmless(text)),
            // What belongs to a unit stands in its log, and is shown with that.
            Event::Retrying { unit: Some(_), .. } => {}
            Event::Retrying { retrying, .. } => {
                if let Some(line) = self.repeats.line(retrying, Instant::now()) {
                    self.print(&line);
                }
            }
            Event::Warning(text) => {
                let text = format!("warning: {}", harmless(text));
                self.print(&paint(&text, self.settings.color));
            }
            Event::Interrupted => {
                self.print("interrupted: stopping what runs");
                self.draw();
                // From now on xp may end at any moment.
                self.quiet_keys = None;
            }
            Event::StageStarted(text) => {
                self.keep_keys_quiet();
                self.stage = Some((first_line(text), Instant::now()));
            }
            Event::StageFinished => self.stage = None,
            Event::RunStarted { units, jobs } => {
                self.keep_keys_quiet();
                let names = units.iter().map(|unit| width(&unit.to_string()));
                self.run = Some(Run {
                    started: Instant::now(),
                    units: units.len(),
                    jobs: *jobs,
                    done: 0,
                    failed: 0,
                    longest_name: names.max().unwrap_or(0),
                    pushed: 0,
                    pushing: HashMap::new(),
                });
            }
            Event::UnitStarted { unit } => {
                let row = Some(Row::new(unit.clone(), Instant::now()));
                match self.running.iter_mut().find(|place| place.is_none()) {
                    Some(place) => *place = row,
                    None => self.running.push(row),
                }
            }
            Event::StepStarted { unit, phase, title } => {
                if let Some(row) = self.row(unit) {
                    row.phase = Some(*phase);
                    row.splitter = LineSplitter::default();
                    row.title = first_line(title);
                    row.detail = Detail::Nothing;
                }
                self.end_push(unit);
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
                    if !matches!(row.detail, Detail::Transfer(_)) {
                        row.detail = Detail::Transfer(Transfer::new(*measure));
                    }
                    if let Detail::Transfer(transfer) = &mut row.detail {
                        transfer.update(Instant::now(), *measure, *done, *total, *bytes);
                    }
                }
                if let (Phase::Push, Some(run)) = (phase, &mut self.run) {
                    run.pushing.insert(unit.clone(), *bytes);
                }
            }
            Event::Planned(_) | Event::StepFinished { .. } => {}
            Event::UnitFinished { unit, outcome, .. } => {
                let is_of =
                    |place: &&mut Option<Row>| place.as_ref().is_some_and(|row| row.unit == *unit);
                if let Some(place) = self.running.iter_mut().find(is_of) {
                    *place = None;
                }
                self.end_push(unit);
                if let Some(run) = &mut self.run {
                    run.done += 1;
                    run.failed += usize::from(matches!(outcome, Outcome::Failed(_)));
                }
            }
        }
    }

    /// Shows how a unit ended: a line that scrolls away.
    pub fn ended(&mut self, unit: &Unit, ended: &Ended) {
        let longest = self.run.as_ref().map_or(0, |run| run.longest_name);
        let name = unit.to_string();
        let columns = longest.min(LONGEST_ALIGNED).max(width(&name));
        let line = summary::outcome_line(ended, self.settings.color);
        self.print(&format!("{}  {line}", padded(&name, columns)));
    }

    /// Shows what happened since this was called last, and that time goes on.
    pub fn tick(&mut self) {
        self.spins += 1;
        // A place that nobody took in the meantime is given up.
        self.running.retain(Option::is_some);
        self.draw();
    }

    /// Draws everything anew: the terminal was somebody else's in between.
    pub fn resume(&mut self) {
        self.screen.forget();
        if self.quiet_keys.take().is_some() {
            self.keep_keys_quiet();
        }
    }

    /// Takes all rows away.
    pub fn clear(&mut self) {
        (self.stage, self.run) = (None, None);
        self.running.clear();
        self.draw();
        self.quiet_keys = None;
    }

    fn take_output(&mut self, unit: &Unit, bytes: &[u8]) {
        let (verbose, prefix) = (self.settings.verbose, self.settings.log_prefix);
        let Some(row) = self.row(unit) else {
            return;
        };
        // Without `--verbose` only the last line is ever seen.
        let seen = match verbose {
            true => bytes,
            false => last_lines(bytes, 10),
        };
        if seen.len() < bytes.len() {
            row.splitter = LineSplitter::default();
        }
        let lines = row.splitter.push(seen);
        let ended = lines.iter().rev().find(|line| !line.trim().is_empty());
        if let Some(line) = row.splitter.unfinished().or_else(|| ended.cloned()) {
            row.detail = Detail::Line(line);
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

    /// Returns the rows that fit the terminal, the sum last.
    fn rows(&self, now: Instant, size: Size) -> Vec<String> {
        let spinner = self.spinner();
        // The last column stays empty: some terminals go on in the next row after it.
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
        // One row is for what scrolls away, and one for the sum.
        let places = size.rows.saturating_sub(2 + rows.len());
        let running: Vec<&Row> = self.running.iter().flatten().collect();
        let shown = match running.len() {
            all if all <= places => all,
            _ => places.saturating_sub(1),
        };
        let columns = Columns::new(size.columns, run.longest_name);
        for row in &running[..shown] {
            rows.push(format!("{spinner} {}", fit(&row.text(now, columns), 2)));
        }
        if shown < running.len() && places > 0 {
            let more = format!("  … and {} more", running.len() - shown);
            rows.push(fit(&more, 0));
        }
        rows.push(run.footer(now, running.len(), size.columns.saturating_sub(1)));
        rows
    }

    fn spinner(&self) -> String {
        let spinner = SPINNER[self.spins % SPINNER.len()];
        match self.settings.color {
            true => format!("\x1b[36m{spinner}\x1b[0m"),
            false => spinner.to_string(),
        }
    }

    fn row(&mut self, unit: &Unit) -> Option<&mut Row> {
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

    fn keep_keys_quiet(&mut self) {
        if self.quiet_keys.is_none() {
            self.quiet_keys = NoControlEcho::begin();
        }
    }

    fn print(&mut self, text: &str) {
        for line in text.lines() {
            self.screen.print(line);
        }
    }
}

impl Run {
    /// Returns the sum; what matters least is left out where there is no room.
    fn footer(&self, now: Instant, running: usize, columns: usize) -> String {
        let pushed = self.pushed + self.pushing.values().sum::<u64>();
        let done = format!("{} of {} done", self.done, self.units);
        let time = elapsed(now.duration_since(self.started));
        // The least important first.
        let mut parts = [
            (pushed > 0).then(|| format!("{} pushed", bytes(pushed))),
            (running > 0).then(|| format!("{running} of {} jobs", self.jobs)),
            (self.failed > 0).then(|| format!("{} failed", self.failed)),
        ];
        for left_out in 0..=parts.len() {
            let between = parts.iter().rev().flatten();
            let mut text = done.clone();
            for part in between.chain([&time]) {
                text.push_str(", ");
                text.push_str(part);
            }
            if width(&text) <= columns {
                return text;
            }
            if let Some(part) = parts.get_mut(left_out) {
                *part = None;
            }
        }
        shortened(&done, columns)
    }
}

impl LogPrefix {
    /// Returns a line of a unit's output as it stands above the rows, where time is shown anyway.
    fn before(self, unit: &Unit, line: &str) -> String {
        match self {
            Self::None => line.to_owned(),
            Self::Service | Self::Time => format!("{unit} | {line}"),
        }
    }
}

#[cfg(test)]
mod tests;
