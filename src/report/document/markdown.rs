//! The report as GitHub-flavored Markdown: a table of the work, the failures with the ends of their logs, and times.

use std::time::Duration;

use super::escape::put;
use super::status_text::{RunState, UnitStatus};
use super::{ReportedUnit, RunReport};
use crate::base::escape::markdown;
use crate::base::plural::counted;
use crate::base::sanitize::{sanitized, sanitized_line};
use crate::base::units::elapsed;
use crate::model::event::FailedStep;
use crate::model::record::UnitKind;
use crate::report::text::first_line;

/// The share of the limit that the table may use, so that failures fit as well.
const TABLE_SHARE: usize = 2;

/// Room for the notes about what was left out.
const NOTES: usize = 256;

/// Returns the report as Markdown of at most `limit` bytes; empty if not even its heading fits. Rows, logs and failures
/// that do not fit are left out, and counted.
pub fn markdown_report(report: &RunReport<'_>, limit: usize) -> String {
    let mut text = Limited {
        text: String::new(),
        limit: limit.saturating_sub(NOTES),
    };
    if !text.push(&heading(report)) {
        return String::new();
    }
    table(report, &mut text);
    failures(report, &mut text);
    let up_to_date = up_to_date(report);
    text.push(&up_to_date);
    text.text
}

/// Text that does not grow beyond a limit.
struct Limited {
    text: String,
    limit: usize,
}

impl Limited {
    /// Adds a part if it fits as a whole, and returns whether it did.
    fn push(&mut self, part: &str) -> bool {
        self.push_within(part, self.limit)
    }

    fn push_within(&mut self, part: &str, limit: usize) -> bool {
        let fits = self.text.len() + part.len() <= limit;
        if fits {
            self.text.push_str(part);
        }
        fits
    }
}

fn heading(report: &RunReport<'_>) -> String {
    let mut text = super::MARKDOWN_START.to_owned();
    let (command, state) = (&report.record.command, report.state.as_str());
    put!(&mut text, "## {}: {state}\n\n", code(command));
    put!(&mut text, "{}\n\n", result(report));
    match (report.state, &report.record.message) {
        (_, Some(message)) => text += &fenced(&without_annotations(message)),
        (RunState::Killed, None) => text += "xp was killed, or the machine stopped.\n\n",
        _ => {}
    }
    text
}

/// Returns a message without the annotations that are printed with it in a CI system.
fn without_annotations(message: &str) -> String {
    let is_text = |line: &&str| !line.starts_with("::") && !line.starts_with("##teamcity[");
    message
        .lines()
        .filter(is_text)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The order of the counts, as on the terminal: successes first.
const ORDER: [UnitStatus; 12] = [
    UnitStatus::Built,
    UnitStatus::Pushed,
    UnitStatus::Pulled,
    UnitStatus::Tagged,
    UnitStatus::Done,
    UnitStatus::Running,
    UnitStatus::Waiting,
    UnitStatus::Failed,
    UnitStatus::Stopped,
    UnitStatus::CutOff,
    UnitStatus::NotStarted,
    UnitStatus::Skipped,
];

/// Returns the result in one line, such as `2 built, 1 failed, 5 up to date in 1m36s`.
pub fn result(report: &RunReport<'_>) -> String {
    let counts = ORDER.map(|status| {
        let units = report.units.iter();
        // On the terminal, too, builders that are up to date do not count.
        let is_service =
            |unit: &&ReportedUnit<'_>| unit.plan.is_none_or(|plan| plan.kind == UnitKind::Service);
        let units = units.filter(|unit| unit.status == status);
        let count = match status {
            UnitStatus::Skipped => units.filter(is_service).count(),
            _ => units.count(),
        };
        let word = match status {
            UnitStatus::Skipped => "up to date",
            status => status.as_str(),
        };
        (count, word)
    });
    let took = time(report.timeline.end);
    match counted(&counts) {
        counts if counts.is_empty() => match &report.record.message {
            Some(message) => first_line(message.strip_prefix("error: ").unwrap_or(message)),
            None => format!("nothing was done in {took}"),
        },
        counts => format!("{counts} in {took}"),
    }
}

/// Adds the units that had work.
fn table(report: &RunReport<'_>, text: &mut Limited) {
    let worked = report.units.iter().filter(|unit| !is_up_to_date(unit));
    let rows: Vec<String> = worked.map(|unit| row(report, unit)).collect();
    let start = "| Unit | Result | Time | Why | Image |\n|---|---|---:|---|---|\n";
    if rows.is_empty() || !text.push(start) {
        return;
    }
    let limit = text.limit / TABLE_SHARE;
    let shown = rows
        .iter()
        .take_while(|row| text.push_within(row, limit))
        .count();
    text.text.push('\n');
    left_out(text, rows.len() - shown, "more units are not shown.");
}

fn row(report: &RunReport<'_>, unit: &ReportedUnit<'_>) -> String {
    let worked = unit.work.filter(|work| !work.steps.is_empty());
    let took = worked.map(|work| time(work.worked(report.timeline.end)));
    let image = unit.work.and_then(|work| work.image.as_ref());
    let image = image.map(|image| image.image.as_str());
    let result = unit.status.as_str();
    let result = match unit.status {
        UnitStatus::Failed => format!("**{result}**"),
        _ => result.to_owned(),
    };
    format!(
        "| {} | {result} | {} | {} | {} |\n",
        markdown(unit.name),
        took.unwrap_or_default(),
        markdown(&unit.why()),
        markdown(image.unwrap_or_default())
    )
}

/// Adds the failures: first as many as possible with their logs.
fn failures(report: &RunReport<'_>, text: &mut Limited) {
    let failed = report.record.failed();
    let failed = failed.filter_map(|work| Some((work.name.as_str(), work.failure.as_ref()?)));
    let mut omitted = 0;
    for (unit, failure) in failed {
        let without_log = without_log(report, unit, failure);
        let log = match failure.tail.is_empty() {
            true => String::new(),
            false => format!(
                "The end of its log:\n\n{}",
                fenced(&failure.tail.join("\n"))
            ),
        };
        if !text.push(&format!("{without_log}{log}")) && !text.push(&without_log) {
            omitted += 1;
        }
    }
    left_out(text, omitted, "more failures are not shown.");
}

fn without_log(report: &RunReport<'_>, unit: &str, failure: &FailedStep) -> String {
    let mut text = format!("### {}: {}\n\n", markdown(unit), failure.phase);
    text += &fenced(&failure.message);
    if let Some(line) = failure.line {
        put!(&mut text, "- {}:{line}\n", markdown(report.manifest_name()));
    }
    for hint in &failure.hints {
        put!(&mut text, "- hint: {}\n", with_code(hint));
    }
    if let Some(instruction) = &failure.dockerfile {
        let (file, line) = (markdown(&instruction.file), instruction.line);
        let repository = instruction.repository.iter();
        let of: String = repository
            .map(|it| format!(" of {}", markdown(it)))
            .collect();
        put!(&mut text, "- {file}:{line}{of}\n");
    }
    if failure.line.is_some() || failure.dockerfile.is_some() || !failure.hints.is_empty() {
        text.push('\n');
    }
    text
}

fn up_to_date(report: &RunReport<'_>) -> String {
    let skipped = report.units.iter().filter(|unit| is_up_to_date(unit));
    let names: Vec<String> = skipped.map(|unit| markdown(unit.name)).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "<details><summary>{} up to date</summary>\n\n{}\n\n</details>\n\n",
        names.len(),
        names.join(", ")
    )
}

fn is_up_to_date(unit: &ReportedUnit<'_>) -> bool {
    unit.status == UnitStatus::Skipped
}

/// Adds a note, for which there is always room.
fn left_out(text: &mut Limited, count: usize, what: &str) {
    if count > 0 {
        put!(&mut text.text, "{count} {what}\n\n");
    }
}

fn time(seconds: f64) -> String {
    elapsed(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Returns a code block. Its fence is longer than any run of backticks in the text, so the text cannot end it.
fn fenced(text: &str) -> String {
    let text = sanitized(text);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n\n", text.trim_end_matches('\n'))
}

/// Returns a text on one line as code.
fn code(text: &str) -> String {
    let text = sanitized_line(text);
    let quote = "`".repeat(longest_run(&text) + 1);
    // Spaces separate a backtick at the start or the end; they are not shown.
    let space = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{quote}{space}{text}{space}{quote}")
}

/// Returns a text on one line, with its parts between backticks as code.
fn with_code(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return markdown(text);
    }
    let parts = parts.iter().enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        1 if !part.is_empty() => code(part),
        1 => "\\`\\`".to_owned(),
        _ => markdown(part),
    });
    parts.collect()
}

/// Returns the length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_leave_its_fence() {
        assert_eq!(fenced("plain\n"), "```text\nplain\n```\n\n");
        assert_eq!(fenced("a\n```\n# b"), "````text\na\n```\n# b\n````\n\n");
        assert_eq!(
            fenced("`````\r\n~~~\x1b[2J"),
            "``````text\n`````\n~~~[2J\n``````\n\n"
        );
    }

    #[test]
    fn annotations_are_not_part_of_a_message() {
        let message = "error: invalid\nhint: look\n::error file=x.yml,line=1::invalid";
        assert_eq!(without_annotations(message), "error: invalid\nhint: look");
    }

    #[test]
    fn code_contains_any_text() {
        assert_eq!(code("xp build"), "`xp build`");
        assert_eq!(code("a `b` c"), "``a `b` c``");
        assert_eq!(code("`b``\nx"), "``` `b``x ```");
        assert_eq!(
            with_code("`xp logs` shows <b> of @x"),
            "`xp logs` shows &lt;b&gt; of @\u{200b}x"
        );
        assert_eq!(with_code("one ` only"), "one \\` only");
        assert_eq!(with_code("`` and `a`"), "\\`\\` and `a`");
    }
}
