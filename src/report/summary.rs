//! What is said at the end: the failures once more, and the table.

use std::fmt::Write as _;

use super::Ended;
use super::terminal::columns;
use super::text::{elapsed, shortened};
use crate::event::{FailedStep, Outcome, Unit};
use crate::plan::table::aligned;
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
    let rows: Vec<_> = std::iter::once(heading)
        .chain(plan.units.iter().map(|unit| row(unit, of(&unit.unit))))
        .collect();
    Summary {
        failures,
        table: table(rows, columns(std::io::stdout())),
    }
}

/// Returns the table; in a terminal too narrow for it each image, the last column, has a line of its
/// own.
fn table(mut rows: Vec<Vec<String>>, columns: Option<usize>) -> String {
    let table = aligned(&rows);
    let widest = table.lines().map(|line| line.chars().count()).max();
    if columns.is_none() || widest <= columns {
        return table;
    }
    let images: Vec<String> = rows.iter_mut().filter_map(Vec::pop).collect();
    let table = aligned(&rows);
    let mut lines = table.lines().zip(images);
    let heading = lines.next().map_or("", |(heading, _)| heading);
    let rest = lines.map(|(line, image)| format!("{line}\n  {image}\n"));
    std::iter::once(format!("{heading}\n"))
        .chain(rest)
        .collect()
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
        // What it said stands above the table.
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
    for hint in &step.hints {
        _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// Returns how a unit ended, in one line.
pub fn outcome_line(ended: &Ended) -> String {
    let took = elapsed(ended.elapsed);
    match &ended.outcome {
        Outcome::Done => format!("done in {took}"),
        Outcome::Failed(step) => {
            format!(
                "FAILED after {took}: {}: {}",
                step.phase,
                step.message.lines().next().unwrap_or_default()
            )
        }
        Outcome::Blocked(needed) => format!("not started: {needed} failed"),
        Outcome::Stopped => format!("stopped after {took}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_lines_of_their_own_in_a_narrow_terminal() {
        let row = |cells: [&str; 6]| cells.map(str::to_owned).to_vec();
        let rows = vec![
            row(["SERVICE", "COMMIT", "RESULT", "TIME", "WHY", "IMAGE"]),
            row([
                "app",
                "12345678",
                "built",
                "1.2s",
                "new",
                "example.com/app:1",
            ]),
        ];
        let wide = "SERVICE  COMMIT    RESULT  TIME  WHY  IMAGE\n\
                    app      12345678  built   1.2s  new  example.com/app:1\n";
        assert_eq!(table(rows.clone(), None), wide);
        assert_eq!(table(rows.clone(), Some(55)), wide);
        let narrow = "SERVICE  COMMIT    RESULT  TIME  WHY\n\
                      app      12345678  built   1.2s  new\n  example.com/app:1\n";
        assert_eq!(table(rows, Some(54)), narrow);
    }
}
