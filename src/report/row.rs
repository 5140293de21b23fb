//! The row of a unit that is worked on: its phase, its step, its last output and its time.

use std::time::Instant;

use super::text::{LineSplitter, elapsed, padded, shortened, width};
use super::transfer::Transfer;
use crate::event::{Phase, Unit};

/// As wide as the longest name of a phase.
const PHASE: usize = 9;
/// As wide as a time is mostly.
const TIME: usize = 6;
/// What a row has beside the name and the rest: spinner, phase, time, and what is between them.
const FIXED: usize = 2 + 2 + PHASE + 1 + TIME;

/// The rest is shown where it has this many columns, or more.
const NARROWEST_REST: usize = 10;
/// Names have all the room that they want where this is left for the rest.
const USEFUL_REST: usize = 24;
/// Names are cut to this before the rest goes.
const SHORT_NAME: usize = 12;
/// The step is shown beside its last output where both have this much room together.
const STEP_AND_OUTPUT: usize = 50;

/// A unit that is worked on.
pub struct Row {
    pub unit: Unit,
    pub started: Instant,
    pub phase: Option<Phase>,
    /// What the step does, in words.
    pub title: String,
    pub detail: Detail,
    pub splitter: LineSplitter,
}

/// What is known of the step that was heard last.
pub enum Detail {
    Nothing,
    /// The last line of its output.
    Line(String),
    Transfer(Transfer),
}

/// How the columns of all rows are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    name: usize,
    rest: usize,
}

impl Columns {
    /// Shares out the columns of a terminal; the longest name has so many.
    pub fn new(terminal: usize, longest_name: usize) -> Self {
        // The last column stays empty: some terminals go on in the next row after it.
        let room = terminal.saturating_sub(1 + FIXED);
        let rest_beside = |name: usize| room.saturating_sub(name + 2);
        let roomy = longest_name.min(room / 2);
        let name = if rest_beside(longest_name) >= USEFUL_REST {
            longest_name
        } else if rest_beside(roomy.max(SHORT_NAME.min(longest_name))) >= NARROWEST_REST {
            roomy.max(SHORT_NAME.min(longest_name))
        } else {
            longest_name.min(room)
        };
        let rest = match rest_beside(name) {
            rest @ NARROWEST_REST.. => rest,
            _ => 0,
        };
        Self { name, rest }
    }
}

impl Row {
    /// Returns the row of a unit on which work begins.
    pub fn new(unit: Unit, now: Instant) -> Self {
        Self {
            unit,
            started: now,
            phase: None,
            title: String::new(),
            detail: Detail::Nothing,
            splitter: LineSplitter::default(),
        }
    }

    /// Returns what is shown, behind the spinner.
    pub fn text(&self, now: Instant, columns: Columns) -> String {
        let name = padded(&self.unit.to_string(), columns.name);
        let phase = padded(&self.phase(columns), PHASE);
        let time = elapsed(now.duration_since(self.started));
        let text = format!("{name}  {phase} {time:>TIME$}");
        let rest = match columns.rest {
            0 => String::new(),
            rest => self.rest(now, rest),
        };
        match rest.is_empty() {
            true => text,
            false => format!("{text}  {rest}"),
        }
    }

    /// Returns the phase, with how far a transfer is where there is no other room for it.
    fn phase(&self, columns: Columns) -> String {
        let phase = self.phase.map_or("", |phase| phase.as_str());
        let percent = match &self.detail {
            Detail::Transfer(transfer) if columns.rest == 0 => transfer.percent(),
            _ => None,
        };
        let with_percent = percent.map(|percent| format!("{phase} {percent}%"));
        with_percent
            .filter(|text| text.len() <= PHASE)
            .unwrap_or_else(|| phase.to_owned())
    }

    fn rest(&self, now: Instant, columns: usize) -> String {
        let both = columns >= STEP_AND_OUTPUT && !self.title.is_empty();
        let of_step = if both { columns * 2 / 5 } else { 0 };
        let step = shortened(&self.title, of_step);
        let room = match width(&step) {
            0 => columns,
            step => columns - step - 3,
        };
        let detail = match &self.detail {
            Detail::Nothing => return shortened(&self.title, columns),
            Detail::Line(line) => shortened(line, room),
            Detail::Transfer(transfer) => transfer.text(now, room),
        };
        match step.is_empty() {
            true => detail,
            false => format!("{step} │ {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Measure;

    fn row(name: &str, detail: Detail) -> Row {
        Row {
            phase: Some(Phase::Build),
            title: "make build".to_owned(),
            detail,
            ..Row::new(Unit::Service(name.parse().unwrap()), Instant::now())
        }
    }

    fn shown(row: &Row, terminal: usize) -> String {
        let columns = Columns::new(terminal, width(&row.unit.to_string()));
        let now = row.started + Duration::from_secs(185);
        let text = row.text(now, columns);
        assert!(width(&text) + 3 <= terminal, "{text:?} in {terminal}");
        text
    }

    #[test]
    fn a_row_shows_step_and_output_where_there_is_room() {
        let line = || Detail::Line("compiling main.go".to_owned());
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
    fn what_has_no_output_yet_shows_its_step() {
        let row = row("zbackend", Detail::Nothing);
        assert_eq!(shown(&row, 80), "zbackend  build      3m05s  make build");
    }

    #[test]
    fn name_phase_and_time_are_read_in_any_terminal() {
        let line = || Detail::Line("x".repeat(4000));
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
        let line = Detail::Line("構築する構築する構築する構築する構築する構築する".to_owned());
        let row = row("zbackend", line);
        assert_eq!(
            shown(&row, 60),
            "zbackend  build      3m05s  構築する構築する構築する構築…"
        );
    }

    #[test]
    fn a_narrow_terminal_shows_how_far_a_transfer_is() {
        let mut push = Transfer::new(Measure::Bytes);
        push.update(Instant::now(), Measure::Bytes, 37, 100, 37);
        let mut row = row("zbackend", Detail::Transfer(push));
        row.phase = Some(Phase::Push);
        assert_eq!(shown(&row, 36), "zbackend  push 37%   3m05s");
        assert_eq!(
            shown(&row, 80),
            "zbackend  push       3m05s  ━━━━━━━━────────────────  37 of 100 B"
        );
    }
}
