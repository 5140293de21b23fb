//! The findings as text: one line for each subject, and details for problems.

use super::{DoctorReport, Finding, Section, Severity, count_of, few, list};
use crate::base::table::wrap;

/// The indentation of continuation lines.
const CONTINUATION: usize = 6;

/// Narrower text is left to the terminal.
const NARROWEST: usize = 24;

/// Level of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailLevel {
    /// Errors only.
    Errors,
    /// A line for each subject, errors and warnings.
    Problems,
    /// All checks.
    All,
}

/// Colors a word by severity, or as a fix for `None`.
pub type Paint<'a> = &'a dyn Fn(&str, Option<Severity>) -> String;

impl DoctorReport {
    /// Returns the findings as text, wrapped for a terminal of this width, if any.
    pub fn text(&self, detail: DetailLevel, paint: Paint<'_>, columns: Option<usize>) -> String {
        let mut text = String::new();
        let labels = self
            .sections
            .iter()
            .map(|section| section.subject.to_string());
        let labels: Vec<String> = labels.collect();
        let width = labels.iter().map(|label| label.chars().count()).max();
        let width = width.unwrap_or(0);
        let before_summary = MARK + 2 + width + 2;
        for (section, label) in self.sections.iter().zip(&labels) {
            if detail == DetailLevel::Errors && section.severity() < Severity::Error {
                continue;
            }
            let mark = mark(section.severity(), paint);
            let summary = wrapped(&section.summary, before_summary, before_summary, columns);
            let line = format!("{mark}  {label:<width$}  {summary}");
            text.push_str(line.trim_end());
            text.push('\n');
            for finding in section.shown(detail) {
                text.push_str(&finding.text(paint, columns));
            }
        }
        if detail != DetailLevel::Errors {
            text.push_str(&format!("\n{}\n", self.conclusion(detail)));
        }
        text
    }

    fn conclusion(&self, detail: DetailLevel) -> String {
        let counted = |severity, noun| match self.count(severity) {
            0 => String::new(),
            count => count_of(count, noun),
        };
        let problems = list([
            counted(Severity::Error, "error"),
            counted(Severity::Warning, "warning"),
        ]);
        match (problems.as_str(), detail) {
            ("", DetailLevel::All) => "No problems found.".to_owned(),
            ("", _) => "No problems found; `-v` lists all checks.".to_owned(),
            (problems, _) => format!("{problems}."),
        }
    }
}

impl Section {
    fn shown(&self, detail: DetailLevel) -> impl Iterator<Item = &Finding> {
        let least = match detail {
            DetailLevel::Errors => Severity::Error,
            DetailLevel::Problems => Severity::Warning,
            DetailLevel::All => Severity::Ok,
        };
        let findings = self.findings.iter();
        findings.filter(move |finding| finding.severity >= least)
    }
}

impl Finding {
    fn text(&self, paint: Paint<'_>, columns: Option<usize>) -> String {
        let mut text = String::new();
        let mut add = |indent: usize, word: &str, painted: &str, what: &str| {
            let before = indent + word.len() + 2;
            let what = wrapped(what, before, CONTINUATION, columns);
            text.push_str(&format!("{:indent$}{painted}: {what}\n", ""));
        };
        let severity = self.severity.as_str();
        let painted = paint(severity, Some(self.severity));
        add(2, severity, &painted, &self.what);
        for cause in &self.causes {
            add(4, "cause", "cause", cause);
        }
        // Passing checks and notes need no subject.
        let concerns = few(&self.concerns);
        let is_new = !concerns.is_empty() && !names(&self.what, &concerns);
        if self.severity >= Severity::Warning && is_new {
            add(4, "concerns", "concerns", &concerns);
        }
        for fix in &self.fixes {
            add(4, "fix", &paint("fix", None), fix);
        }
        text
    }
}

/// Returns whether a text contains a name as a whole word.
fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Wraps a text that starts at column `first`, with its other lines at column `next`.
fn wrapped(text: &str, first: usize, next: usize, columns: Option<usize>) -> String {
    let room = columns.and_then(|columns| columns.checked_sub(first.max(next)));
    let lines = text.lines().flat_map(|line| match room {
        Some(room) if room >= NARROWEST => wrap(line, room),
        _ => vec![line.to_owned()],
    });
    let lines: Vec<String> = lines.collect();
    lines.join(&format!("\n{:next$}", ""))
}

/// The width of a mark, that of `warning`.
const MARK: usize = 7;

/// Returns the label of a subject; notes count as ok.
fn mark(severity: Severity, paint: Paint<'_>) -> String {
    let severity = match severity {
        Severity::Note => Severity::Ok,
        severity => severity,
    };
    let word = format!("{:<MARK$}", severity.as_str());
    paint(&word, Some(severity))
}
