//! The end of a run: failures with their logs, and the summary table.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::text::shortened;
use crate::base::plural::{abbreviated, count_of, counted};
use crate::base::table::Fit;
use crate::base::units::elapsed;
use crate::model::event::{FailedStep, Outcome, RestoredPhase, Unit, UnitSummary};
use crate::model::plan::{Decision, Detail, Plan, UnitPlan};

/// Longer log lines below a failure are truncated.
const MAX_TAIL_LINE: usize = 400;

/// The summary of a run, in the order in which its parts are printed.
pub struct Summary {
    /// The table, for standard output; empty if no unit is shown.
    pub table: String,
    /// Failures with the last lines of their logs, for standard error; may be empty.
    pub failures: String,
    /// The counts and the time, for standard output.
    pub closing_line: String,
}

/// Returns the summary of a run that took `took`. See [`Detail`] for what it shows.
pub fn summary(
    plan: &Plan,
    ended: &[(Unit, UnitSummary)],
    detail: Detail,
    took: Duration,
) -> Summary {
    let results = Results {
        plan,
        ended: ended.iter().map(|(unit, ended)| (unit, ended)).collect(),
    };
    let mut failures = failures(ended, detail.repeats);
    if !failures.is_empty() {
        failures.push_str(&moved_tags(plan, ended));
    }
    Summary {
        table: results.table(detail),
        failures,
        closing_line: results.closing_line(took),
    }
}

/// The results of a run's units.
struct Results<'a> {
    plan: &'a Plan,
    ended: HashMap<&'a Unit, &'a UnitSummary>,
}

impl Results<'_> {
    fn of(&self, unit: &UnitPlan) -> Option<&UnitSummary> {
        self.ended.get(&unit.unit).copied()
    }

    fn table(&self, detail: Detail) -> String {
        let heading = [
            ("RESULT", Fit::Fixed),
            ("TIME", Fit::Optional),
            ("WHY", Fit::Wrapped),
        ];
        detail.table(self.plan, &heading, |unit| {
            let ended = self.of(unit);
            let why = match ended.map(|ended| (&ended.failure, &ended.blocked_by)) {
                // The message is printed below the table.
                Some((Some(step), _)) => format!("{} failed", step.phase),
                Some((_, Some(needed))) => format!("needs {needed}"),
                _ => unit.reason.clone(),
            };
            let time = ended.filter(|ended| !ended.is_not_started());
            let time = time.map_or_else(|| "-".to_owned(), |ended| elapsed(ended.elapsed));
            vec![result(unit, ended).to_owned(), time, why]
        })
    }

    fn closing_line(&self, took: Duration) -> String {
        if self.plan.is_empty() {
            return format!("{}\n", self.plan.nothing_to_do());
        }
        let work = self.plan.work();
        let results: Vec<&str> = work.map(|unit| result(unit, self.of(unit))).collect();
        let count = |wanted| results.iter().filter(|result| **result == wanted).count();
        let counts = [
            (count(BUILT), BUILT),
            (count(PUSHED), PUSHED),
            (count(PULLED), PULLED),
            (count(TAGGED), TAGGED),
            (count(FAILED), "failed"),
            (count(STOPPED), STOPPED),
            (count(NOT_STARTED), NOT_STARTED),
            (self.plan.up_to_date(), "up to date"),
        ];
        let restored = restored(self.ended.values().flat_map(|ended| &ended.restored));
        let restored = restored.map(|text| format!("; {text}")).unwrap_or_default();
        format!("{} in {}{restored}\n", counted(&counts), elapsed(took))
    }
}

/// Returns how many phases were restored, and the time that this saved; `None` if there are none.
pub fn restored<'p>(phases: impl Iterator<Item = &'p RestoredPhase>) -> Option<String> {
    let saved: Vec<Duration> = phases.map(|phase| phase.saved).collect();
    (!saved.is_empty()).then(|| {
        format!(
            "{} restored, which saved {}",
            count_of(saved.len(), "phase"),
            elapsed(saved.iter().sum())
        )
    })
}

const BUILT: &str = "built";
const PUSHED: &str = "pushed";
const PULLED: &str = "pulled";
const TAGGED: &str = "tagged";
const SKIPPED: &str = "skipped";
const FAILED: &str = "FAILED";
const STOPPED: &str = "stopped";
const NOT_STARTED: &str = "not started";

fn result(unit: &UnitPlan, ended: Option<&UnitSummary>) -> &'static str {
    let Some(ended) = ended else {
        return if unit.steps.is_empty() {
            SKIPPED
        } else {
            NOT_STARTED
        };
    };
    match (ended.outcome, unit.decision) {
        (Outcome::Done, Decision::Skip) => SKIPPED,
        (Outcome::Done, Decision::Tag) => TAGGED,
        (Outcome::Done, Decision::Pull) => PULLED,
        (Outcome::Done, Decision::Push) => PUSHED,
        (Outcome::Done, Decision::Build) => BUILT,
        (Outcome::Failed, _) => FAILED,
        (Outcome::Blocked | Outcome::Stopped, _) if ended.is_not_started() => NOT_STARTED,
        (Outcome::Blocked | Outcome::Stopped, _) => STOPPED,
    }
}

/// The number of moved tags that are listed.
const MAX_TAGS: usize = 10;

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
            abbreviated(&moved, MAX_TAGS)
        )
    }
}

/// Returns the failures with the last lines of their logs; with `repeats`, also how to repeat them.
pub fn failures(ended: &[(Unit, UnitSummary)], repeats: bool) -> String {
    let failed = ended
        .iter()
        .filter_map(|(unit, ended)| Some(failure(unit, ended.failure.as_ref()?, repeats)));
    failed.collect()
}

fn failure(unit: &Unit, step: &FailedStep, repeats: bool) -> String {
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
    if let Some(reproduce_command) = step.reproduce_command.as_ref().filter(|_| repeats) {
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
        (_, _, Some(needed)) if ended.is_not_started() => format!("not started: {needed} failed"),
        (_, _, Some(needed)) => format!("stopped after {took}: {needed} failed"),
        (Outcome::Done, ..) => format!("{} in {took}", painted("done", 32)),
        _ if ended.is_not_started() => "not started".to_owned(),
        _ => format!("stopped after {took}"),
    }
}
