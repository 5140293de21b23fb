//! The progress row of a running unit: phase, step, last output and time.

use std::time::Instant;

use super::transfer::ActiveTransfer;
use crate::base::units::elapsed;
use crate::model::event::{Phase, Unit};
use crate::report::text::{LineSplitter, padded, shortened, width};

/// Width of the longest phase name.
const PHASE: usize = 9;
/// Usual width of a duration.
const TIME: usize = 6;
/// Columns of spinner, phase, time and the gaps between them.
const FIXED: usize = 2 + 2 + PHASE + 1 + TIME;

/// The rest of a row is shown if it has at least this many columns.
const MIN_REST: usize = 10;
/// Names are not cut if this much is left for the rest.
const USEFUL_REST: usize = 24;
/// Names are cut down to this before the rest is dropped.
const SHORT_NAME: usize = 12;
/// The step is shown next to its last output if both have this many columns together.
const STEP_AND_OUTPUT: usize = 50;

/// A running unit.
pub struct UnitRow {
    pub unit: Unit,
    pub started: Instant,
    pub phase: Option<Phase>,
    /// The title of the current step.
    pub title: String,
    pub detail: RowDetail,
    pub splitter: LineSplitter,
    /// Whether it waits before its next step; then its row is hidden.
    pub is_waiting: bool,
}

/// The latest activity of a step.
pub enum RowDetail {
    Nothing,
    /// The last line of its output.
    Line(String),
    Transfer(ActiveTransfer),
}

/// Column widths of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    name: usize,
    rest: usize,
}

impl Columns {
    /// Distributes the columns of a terminal.
    pub fn new(terminal: usize, longest_name: usize) -> Self {
        // The last column stays empty: some terminals wrap after writing to it.
        let room = terminal.saturating_sub(1 + FIXED);
        let rest_beside = |name: usize| room.saturating_sub(name + 2);
        let roomy = longest_name.min(room / 2);
        let name = if rest_beside(longest_name) >= USEFUL_REST {
            longest_name
        } else if rest_beside(roomy.max(SHORT_NAME.min(longest_name))) >= MIN_REST {
            roomy.max(SHORT_NAME.min(longest_name))
        } else {
            longest_name.min(room)
        };
        let rest = match rest_beside(name) {
            rest @ MIN_REST.. => rest,
            _ => 0,
        };
        Self { name, rest }
    }
}

impl UnitRow {
    /// Returns the row of a unit that starts now.
    pub fn new(unit: Unit, now: Instant) -> Self {
        Self {
            unit,
            started: now,
            phase: None,
            title: String::new(),
            detail: RowDetail::Nothing,
            splitter: LineSplitter::default(),
            is_waiting: false,
        }
    }

    /// Returns the text after the spinner.
    pub fn text(&self, now: Instant, columns: Columns) -> String {
        let name = padded(&self.unit.to_string(), columns.name);
        let phase = padded(&self.phase(columns), PHASE);
        let time = elapsed(now.duration_since(self.started));
        let text = format!("{name}  {phase} {time:>TIME$}");
        let rest = match columns.rest {
            0 => String::new(),
            rest => self.rest(now, rest),
        };
        if rest.is_empty() {
            text
        } else {
            format!("{text}  {rest}")
        }
    }

    /// Returns the phase, with the percentage of a transfer if there is no room for the rest.
    fn phase(&self, columns: Columns) -> String {
        let phase = self.phase.map_or("", |phase| phase.as_str());
        let percent = match &self.detail {
            RowDetail::Transfer(transfer) if columns.rest == 0 => transfer.percent(),
            _ => None,
        };
        let with_percent = percent.map(|percent| format!("{phase} {percent}%"));
        with_percent
            .filter(|text| text.len() <= PHASE)
            .unwrap_or_else(|| phase.to_owned())
    }

    fn rest(&self, now: Instant, columns: usize) -> String {
        let is_wide = columns >= STEP_AND_OUTPUT && !self.title.is_empty();
        let of_step = if is_wide { columns * 2 / 5 } else { 0 };
        let step = shortened(&self.title, of_step);
        let room = match width(&step) {
            0 => columns,
            step => columns - step - 3,
        };
        let detail = match &self.detail {
            RowDetail::Nothing => return shortened(&self.title, columns),
            RowDetail::Line(line) => shortened(line, room),
            RowDetail::Transfer(transfer) => transfer.text(now, room),
        };
        if step.is_empty() {
            detail
        } else {
            format!("{step} │ {detail}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::event::Measure;

    fn row(name: &str, detail: RowDetail) -> UnitRow {
        UnitRow {
            phase: Some(Phase::Build),
            title: "make build".to_owned(),
            detail,
            ..UnitRow::new(Unit::Service(name.parse().unwrap()), Instant::now())
        }
    }

    fn shown(row: &UnitRow, terminal: usize) -> String {
        let columns = Columns::new(terminal, width(&row.unit.to_string()));
        let now = row.started + Duration::from_secs(185);
        let text = row.text(now, columns);
        assert!(width(&text) + 3 <= terminal, "{text:?} in {terminal}");
        text
    }

    #[test]
    fn a_row_shows_step_and_output_if_there_is_room() {
        let line = || RowDetail::Line("compiling main.go".to_owned());
        let row = row("zbackend", line());
        assert_eq!(
            shown(&row, 120),
            "zbackend  build      3m05s  make build │ compiling main.go"
        );
        assert_eq!(
            shown(&row, 80),
            "zbackend  build      3m05s  compiling main.go"
        );
        assert_eq!(shown(&row, 44), "zbackend  build      3m05s  compiling ma…");
        assert_eq!(shown(&row, 40), "zbackend  build      3m05s");
    }

    #[test]
    fn a_step_without_output_shows_its_title() {
        let row = row("zbackend", RowDetail::Nothing);
        assert_eq!(shown(&row, 80), "zbackend  build      3m05s  make build");
    }

    #[test]
    fn name_phase_and_time_are_shown_at_any_width() {
        let line = || RowDetail::Line("x".repeat(4000));
        let long = row("a-service-with-a-name-of-forty-characters", line());
        assert_eq!(shown(&long, 40), "a-service-with-a-n…  build      3m05s");
        assert_eq!(
            shown(&long, 60),
            "a-service-with-a-n…  build      3m05s  xxxxxxxxxxxxxxxxx…"
        );
        for columns in 24..300 {
            let text = shown(&long, columns);
            assert!(text.contains("build ") && text.contains(" 3m05s"), "{text}");
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let line = RowDetail::Line("構築する構築する構築する構築する構築する構築する".to_owned());
        let row = row("zbackend", line);
        assert_eq!(
            shown(&row, 60),
            "zbackend  build      3m05s  構築する構築する構築する構築…"
        );
    }

    #[test]
    fn a_narrow_terminal_shows_the_percentage_of_a_transfer() {
        let mut push = ActiveTransfer::new(Measure::Bytes);
        push.update(Instant::now(), Measure::Bytes, 37, 100, 37);
        let mut row = row("zbackend", RowDetail::Transfer(push));
        row.phase = Some(Phase::Push);
        assert_eq!(shown(&row, 36), "zbackend  push 37%   3m05s");
        assert_eq!(
            shown(&row, 80),
            "zbackend  push       3m05s  ━━━━━━━━────────────────  37 of 100 B"
        );
    }
}
