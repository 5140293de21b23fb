//! The findings as text: one line for each subject, and details for problems.

use super::{DoctorReport, Finding, Section, Severity, count_of, few, list};

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
    /// Returns the findings as text.
    pub fn text(&self, detail: DetailLevel, paint: Paint<'_>) -> String {
        let mut text = String::new();
        let labels = self
            .sections
            .iter()
            .map(|section| section.subject.to_string());
        let labels: Vec<String> = labels.collect();
        let width = labels.iter().map(|label| label.chars().count()).max();
        for (section, label) in self.sections.iter().zip(&labels) {
            if detail == DetailLevel::Errors && section.severity() < Severity::Error {
                continue;
            }
            let mark = mark(section.severity(), paint);
            let line = format!(
                "{mark}  {label:<width$}  {}",
                section.summary,
                width = width.unwrap_or(0)
            );
            text.push_str(line.trim_end());
            text.push('\n');
            for finding in section.shown(detail) {
                text.push_str(&finding.text(paint));
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
    fn text(&self, paint: Paint<'_>) -> String {
        let word = paint(self.severity.as_str(), Some(self.severity));
        let mut text = format!("  {word}: {}\n", indented(&self.what));
        for cause in &self.causes {
            text.push_str(&format!("    cause: {}\n", indented(cause)));
        }
        // Passing checks and notes need no subject.
        let concerns = few(&self.concerns);
        let is_new = !concerns.is_empty() && !names(&self.what, &concerns);
        if self.severity >= Severity::Warning && is_new {
            text.push_str(&format!("    concerns: {concerns}\n"));
        }
        for fix in &self.fixes {
            let word = paint("fix", None);
            text.push_str(&format!("    {word}: {}\n", indented(fix)));
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

/// Indents the continuation lines of a text.
fn indented(text: &str) -> String {
    text.replace('\n', "\n      ")
}

/// Returns the label of a subject; notes count as ok.
fn mark(severity: Severity, paint: Paint<'_>) -> String {
    let severity = match severity {
        Severity::Note => Severity::Ok,
        severity => severity,
    };
    // Padded to the width of `warning`.
    let word = format!("{:<7}", severity.as_str());
    paint(&word, Some(severity))
}
