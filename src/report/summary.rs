//! The end of a run: failures with their logs, and the summary table.

use std::fmt::Write as _;

use super::text::shortened;
use crate::base::table::fitted;
use crate::base::units::elapsed;
use crate::model::event::{FailedStep, Outcome, Unit, UnitSummary};
use crate::model::plan::{Decision, Plan, UnitPlan};
use crate::report::terminal::size::columns;

/// Longer log lines below a failure are truncated.
const MAX_TAIL_LINE: usize = 400;

/// The summary of a run.
pub struct Summary {
    /// Failures with the last lines of their logs, for standard error; may be empty.
    pub failures: String,
    /// The table, for standard output.
    pub table: String,
}

/// Returns the summary of a run. The table fits the width of standard output.
pub fn summary(plan: &Plan, ended: &[(Unit, UnitSummary)]) -> Summary {
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
    let tags = if failures.is_empty() {
        String::new()
    } else {
        moved_tags(plan, ended)
    };
    Summary {
        failures: failures + &tags,
        table,
    }
}

/// Lists the tags that a failed run moved anyway, because others may deploy them.
fn moved_tags(plan: &Plan, ended: &[(Unit, UnitSummary)]) -> String {
    let is_done = |unit: &UnitPlan| {
        let mut ended = ended.iter();
        ended.any(|(of, ended)| *of == unit.unit && ended.outcome == Outcome::Done)
    };
    if plan.units.iter().any(|unit| unit.held > 0) {
        return "note: no tags were moved because some services failed\n".to_owned();
    }
    let done = plan.units.iter().filter(|unit| is_done(unit));
    let moved = done.flat_map(|unit| {
        let tags = unit.moved_tags();
        tags.map(|tag| format!("{}:{tag}", unit.unit))
    });
    let moved: Vec<String> = moved.collect();
    if moved.is_empty() {
        String::new()
    } else {
        format!(
            "note: tags moved despite the failure: {}\n",
            moved.join(", ")
        )
    }
}

/// Returns the failures with the last lines of their logs.
pub fn failures(ended: &[(Unit, UnitSummary)]) -> String {
    let failed = ended
        .iter()
        .filter_map(|(unit, ended)| Some(failure(unit, ended.failure.as_ref()?)));
    failed.collect()
}

fn row(unit: &UnitPlan, ended: Option<&UnitSummary>) -> Vec<String> {
    let result = match ended.map(|ended| ended.outcome) {
        None if unit.steps.is_empty() => "skipped",
        Some(Outcome::Done) => match unit.decision {
            Decision::Skip => "skipped",
            Decision::Tag => "tagged",
            Decision::Pull => "pulled",
            Decision::Push => "pushed",
            Decision::Build => "built",
        },
        Some(Outcome::Failed) => "FAILED",
        Some(Outcome::Blocked) => "blocked",
        None | Some(Outcome::Stopped) => "stopped",
    };
    let why = match ended.map(|ended| (&ended.failure, &ended.blocked_by)) {
        // The message is printed above the table.
        Some((Some(step), _)) => format!("{} failed", step.phase),
        Some((_, Some(needed))) => format!("needs {needed}"),
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

fn failure(unit: &Unit, step: &FailedStep) -> String {
    let mut text = format!("\nerror: {unit}: {}: {}\n", step.phase, step.message);
    if !step.tail.is_empty() {
        text.push_str("  last lines of its log:\n");
        for line in &step.tail {
            _ = writeln!(text, "    {}", shortened(line, MAX_TAIL_LINE));
        }
    }
    if let Some(instruction) = &step.dockerfile {
        _ = writeln!(text, "  {}:{}", instruction.file, instruction.line);
    }
    if let Some(log) = &step.log {
        _ = writeln!(text, "  full log: {log}");
    }
    if let Some(reproduce_command) = &step.reproduce_command {
        // On one line and never truncated, so that it can be copied.
        _ = writeln!(text, "  debug with:\n    {reproduce_command}");
    }
    for hint in &step.hints {
        _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// Returns what a unit waits for: other units, or else a free job slot.
pub fn waiting(needs: &[Unit]) -> String {
    let names: Vec<String> = needs.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        "waiting for a free job slot".to_owned()
    } else {
        format!("waiting for {}", names.join(", "))
    }
}

/// Returns the result of a unit in one line.
pub fn outcome_line(ended: &UnitSummary, color: bool) -> String {
    let took = elapsed(ended.elapsed);
    let painted = |word: &str, code: u8| {
        if color {
            format!("\x1b[{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    };
    match (ended.outcome, &ended.failure, &ended.blocked_by) {
        (_, Some(step), _) => {
            format!(
                "{} after {took}: {}: {}",
                painted("FAILED", 31),
                step.phase,
                step.message.lines().next().unwrap_or_default()
            )
        }
        (_, _, Some(needed)) if ended.elapsed.is_zero() => format!("not started: {needed} failed"),
        (_, _, Some(needed)) => format!("stopped after {took}: {needed} failed"),
        (Outcome::Done, ..) => format!("{} in {took}", painted("done", 32)),
        _ if ended.elapsed.is_zero() => "not started".to_owned(),
        _ => format!("stopped after {took}"),
    }
}
