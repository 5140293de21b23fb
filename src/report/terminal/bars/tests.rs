use std::time::Duration;

use super::*;
use crate::model::event::{FailedStep, Measure, UnitSummary};
use crate::report::OutputStyle;

const SIZE: Size = Size {
    columns: 80,
    rows: 24,
};

fn bars(units: usize) -> Bars {
    let mut bars = Bars::new(OutputSettings {
        style: OutputStyle::Bars,
        ..OutputSettings::default()
    });
    bars.take(&Event::WorkStarted {
        units: (0..units).map(unit).collect(),
        jobs: 4,
    });
    bars
}

fn unit(number: usize) -> Unit {
    Unit::Service(format!("s{number}").parse().unwrap())
}

fn start(bars: &mut Bars, number: usize) {
    bars.take(&Event::UnitStarted { unit: unit(number) });
}

fn finish(bars: &mut Bars, number: usize, ended: UnitSummary) {
    bars.take(&Event::UnitFinished {
        unit: unit(number),
        ended,
    });
}

fn rows(bars: &Bars, size: Size) -> Vec<String> {
    let now = bars.run.as_ref().unwrap().started + Duration::from_secs(12);
    let rows = bars.rows(now, size);
    for row in &rows {
        assert!(width(row) < size.columns.max(2), "{row:?}");
    }
    assert!(rows.len() <= size.rows.max(1), "{rows:#?}");
    rows
}

/// Returns the units with a row, from top to bottom.
fn shown(bars: &Bars) -> Vec<String> {
    let rows = rows(bars, SIZE);
    let name = |row: &String| row.split_whitespace().nth(1).unwrap_or_default().to_owned();
    rows[..rows.len() - 1].iter().map(name).collect()
}

#[test]
fn rows_do_not_move_when_a_unit_ends_and_another_starts() {
    let mut bars = bars(9);
    (0..3).for_each(|number| start(&mut bars, number));
    finish(&mut bars, 1, UnitSummary::new(Outcome::Done));
    start(&mut bars, 3);
    assert_eq!(shown(&bars), ["s0", "s3", "s2"]);
    finish(&mut bars, 0, UnitSummary::new(Outcome::Done));
    bars.running.retain(Option::is_some);
    assert_eq!(shown(&bars), ["s3", "s2"]);
}

#[test]
fn waiting_units_have_no_row_and_are_counted_with_what_they_wait_for() {
    let mut bars = bars(5);
    (0..2).for_each(|number| start(&mut bars, number));
    let step = |bars: &mut Bars, number: usize, phase| {
        bars.take(&Event::StepStarted {
            unit: unit(number),
            phase,
            title: String::new(),
        });
    };
    let wait = |bars: &mut Bars, number: usize, needs: &[usize]| {
        bars.take(&Event::UnitWaiting {
            unit: unit(number),
            phase: Phase::Image,
            needs: needs.iter().map(|it| unit(*it)).collect(),
        });
    };
    let footer = |bars: &Bars| rows(bars, SIZE).pop().unwrap();
    step(&mut bars, 0, Phase::Push);
    step(&mut bars, 1, Phase::Build);
    assert_eq!(footer(&bars), "0 of 5 done, 1 of 4 jobs, 12s");
    wait(&mut bars, 1, &[0]);
    // Not started yet.
    wait(&mut bars, 2, &[0]);
    assert_eq!(shown(&bars), ["s0"]);
    assert_eq!(footer(&bars), "0 of 5 done, 2 waiting for s0, 12s");
    wait(&mut bars, 3, &[0, 1]);
    assert_eq!(footer(&bars), "0 of 5 done, 3 waiting for s0 and s1, 12s");
    wait(&mut bars, 4, &[2]);
    assert_eq!(
        footer(&bars),
        "0 of 5 done, 4 waiting for s0 and 2 more, 12s"
    );
    // A free job is not worth mentioning: the number of jobs says that.
    wait(&mut bars, 4, &[]);
    step(&mut bars, 1, Phase::Image);
    finish(&mut bars, 3, UnitSummary::blocked(unit(0)));
    assert_eq!(
        footer(&bars),
        "1 of 5 done, 1 of 4 jobs, 1 waiting for s0, 12s"
    );
    assert_eq!(shown(&bars), ["s0", "s1"]);
}

#[test]
fn a_low_terminal_shows_the_footer_and_the_number_of_hidden_rows() {
    let mut bars = bars(300);
    (0..100).for_each(|number| start(&mut bars, number));
    let low = Size {
        columns: 40,
        rows: 6,
    };
    let low = rows(&bars, low);
    assert_eq!(low.len(), 5);
    assert_eq!(low[3], "  … and 97 more");
    assert_eq!(low[4], "0 of 300 done, 100 of 4 jobs, 12s");
    for (columns, terminal_rows) in [(1, 1), (2, 2), (10, 3), (40, 4), (0, 0)] {
        let size = Size {
            columns,
            rows: terminal_rows,
        };
        assert!(!rows(&bars, size).is_empty());
    }
}

#[test]
fn the_footer_drops_parts_that_do_not_fit() {
    let mut bars = bars(300);
    (0..3).for_each(|number| start(&mut bars, number));
    for (number, bytes) in [(0, 3_000_000), (1, 1_000_000)] {
        bars.take(&Event::Progress {
            unit: unit(number),
            phase: Phase::Push,
            measure: Measure::Bytes,
            done: bytes,
            total: Some(4_000_000),
            bytes,
        });
    }
    let failed = UnitSummary::failed(FailedStep::new(Phase::Build, "no".to_owned()));
    finish(&mut bars, 1, failed);
    let footer = |columns| rows(&bars, Size { columns, rows: 24 }).pop().unwrap();
    assert_eq!(
        footer(80),
        "1 of 300 done, 1 failed, 1 of 4 jobs, 4.0 MB pushed, 12s"
    );
    assert_eq!(footer(45), "1 of 300 done, 1 failed, 1 of 4 jobs, 12s");
    assert_eq!(footer(32), "1 of 300 done, 1 failed, 12s");
    assert_eq!(footer(20), "1 of 300 done, 12s");
    assert_eq!(footer(15), "1 of 300 done");
}

#[test]
fn output_cannot_move_the_cursor() {
    let mut bars = bars(1);
    start(&mut bars, 0);
    bars.take(&Event::Output {
        unit: unit(0),
        phase: Phase::Build,
        bytes: bytes::Bytes::from_static(b"\x1b[2J\x1b[5Aup\x08\x07\x0b\n"),
    });
    let row = &rows(&bars, SIZE)[0];
    assert!(row.ends_with("  up"), "{row:?}");
    assert!(!row.contains('\x1b'));
}
