//! What is said at the end: the failures once more, and the table.

use std::fmt::Write as _;

use super::Ended;
use super::terminal::columns;
use super::text::{elapsed, shortened};
use crate::event::{FailedStep, Outcome, Phase, Unit};
use crate::plan::table::fitted;
use crate::plan::{Decision, Plan, UnitPlan};

/// The longest line of a log that is shown below a failure; the log file has all of it.
const LONGEST_TAIL_LINE: usize = 400;

/// What a run comes to, in two texts.
pub struct Summary {
    /// The failures with the end of their logs, for standard error; empty where there is none.
    pub failures: String,
    /// The closing table, for standard output.
    pub table: String,
}

/// Returns what is said at the end of a run, on standard output as it is.
pub fn summary(plan: &Plan, ended: &[(Unit, Ended)]) -> Summary {
    let failures = failures(ended);
    let heading = ["SERVICE", "COMMIT", "RESULT", "TIME", "WHY", "IMAGE"]
        .map(str::to_owned)
        .to_vec();
    let of = |unit: &Unit| {
        ended
            .iter()
            .find(|(of, _)| of == unit)
            .map(|(_, ended)| ended)
    };
    let rows = plan.units.iter().map(|unit| row(unit, of(&unit.unit)));
    let rows = plan.with_references(std::iter::once(heading).chain(rows));
    let mut table = fitted(rows, columns(std::io::stdout()));
    if let Some(train) = &plan.train {
        _ = write!(table, "\n{train}\n");
    }
    let tags = match failures.is_empty() {
        true => String::new(),
        false => moved_tags(plan, ended),
    };
    Summary {
        failures: failures + &tags,
        table,
    }
}

/// Says which tags of registries moved in a run that failed: others may deploy what they name.
fn moved_tags(plan: &Plan, ended: &[(Unit, Ended)]) -> String {
    let is_done = |unit: &UnitPlan| {
        let mut ended = ended.iter();
        ended.any(|(of, ended)| *of == unit.unit && ended.outcome == Outcome::Done)
    };
    if plan.units.iter().any(|unit| unit.held > 0) {
        return "note: no tag was moved, as not every service succeeded\n".to_owned();
    }
    let done = plan.units.iter().filter(|unit| is_done(unit));
    let moved = done.flat_map(|unit| {
        let tags = unit.moved_tags();
        tags.map(|tag| format!("{}:{tag}", unit.unit))
    });
    let moved: Vec<String> = moved.collect();
    match moved.is_empty() {
        true => String::new(),
        false => format!(
            "note: these tags were moved all the same: {}\n",
            moved.join(", ")
        ),
    }
}

/// Returns the failures with the end of their logs.
pub fn failures(ended: &[(Unit, Ended)]) -> String {
    let failed = ended
        .iter()
        .filter_map(|(unit, ended)| match &ended.outcome {
            Outcome::Failed(step) => Some(failure(unit, step, ended)),
            _ => None,
        });
    failed.collect()
}

fn row(unit: &UnitPlan, ended: Option<&Ended>) -> Vec<String> {
    let result = match ended.map(|ended| &ended.outcome) {
        None if unit.steps.is_empty() => "skipped",
        Some(Outcome::Done) => match unit.decision {
            Decision::Skip => "skipped",
            Decision::Tag => "tagged",
            Decision::Pull => "pulled",
            Decision::Push => "pushed",
            Decision::Build => "built",
        },
        Some(Outcome::Failed(_)) => "FAILED",
        Some(Outcome::Blocked(_)) => "blocked",
        None | Some(Outcome::Stopped) => "stopped",
    };
    let why = match ended.map(|ended| &ended.outcome) {
        // What it said stands below the table.
        Some(Outcome::Failed(step)) => format!("{} failed", step.phase),
        Some(Outcome::Blocked(needed)) => format!("needs {needed}"),
        _ => unit.reason.clone(),
    };
    vec![
        unit.unit.to_string(),
        unit.commit
            .map_or_else(|| "-".to_owned(), |commit| commit.short()),
        result.to_owned(),
        ended.map_or_else(|| "-".to_owned(), |ended| elapsed(ended.elapsed)),
        why,
        unit.image.to_string(),
    ]
}

fn failure(unit: &Unit, step: &FailedStep, ended: &Ended) -> String {
    let mut text = format!("\nerror: {unit}: {}: {}\n", step.phase, step.message);
    if !ended.tail.is_empty() {
        text.push_str("  the end of its log:\n");
        for line in &ended.tail {
            _ = writeln!(text, "    {}", shortened(line, LONGEST_TAIL_LINE));
        }
    }
    if let Some(log) = &ended.log {
        _ = writeln!(text, "  the whole log: {}", log.display());
    }
    if let Some(by_hand) = &step.by_hand {
        // Not cut, and on a line of its own: it is there to be copied.
        _ = writeln!(text, "  by hand:\n    {by_hand}");
    }
    for hint in &step.hints {
        _ = writeln!(text, "hint: {hint}");
    }
    if let (Unit::Service(service), Phase::Prepare | Phase::Build | Phase::Test) =
        (unit, step.phase)
    {
        _ = writeln!(
            text,
            "hint: `xp shell --failed {service}` opens a shell there"
        );
    }
    text
}

/// Returns how a unit ended, in one line.
pub fn outcome_line(ended: &Ended, color: bool) -> String {
    let took = elapsed(ended.elapsed);
    let painted = |word: &str, code: u8| match color {
        true => format!("\x1b[{code}m{word}\x1b[0m"),
        false => word.to_owned(),
    };
    match &ended.outcome {
        Outcome::Done => format!("{} in {took}", painted("done", 32)),
        Outcome::Failed(step) => {
            format!(
                "{} after {took}: {}: {}",
                painted("FAILED", 31),
                step.phase,
                step.message.lines().next().unwrap_or_default()
            )
        }
        Outcome::Blocked(needed) => format!("not started: {needed} failed"),
        Outcome::Stopped if ended.elapsed.is_zero() => "not started".to_owned(),
        Outcome::Stopped => format!("stopped after {took}"),
    }
}
