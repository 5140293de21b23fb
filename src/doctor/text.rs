//! The findings for people: a line for a subject where all is well, everything where not.

use super::{Checkup, Finding, Section, Severity, few, list, many};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only the subjects with an error.
    Errors,
    /// A line a subject, and what is not well.
    Problems,
    /// Everything that was looked at.
    All,
}

/// Gives a word the colour of a severity, or of a fix where there is none.
pub type Paint<'a> = &'a dyn Fn(&str, Option<Severity>) -> String;

impl Checkup {
    /// Returns the findings as lines.
    pub fn text(&self, detail: Detail, paint: Paint<'_>) -> String {
        let mut text = String::new();
        let labels = self
            .sections
            .iter()
            .map(|section| section.subject.to_string());
        let labels: Vec<String> = labels.collect();
        let width = labels.iter().map(|label| label.chars().count()).max();
        for (section, label) in self.sections.iter().zip(&labels) {
            if detail == Detail::Errors && section.severity() < Severity::Error {
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
        if detail != Detail::Errors {
            text.push_str(&format!("\n{}\n", self.verdict(detail)));
        }
        text
    }

    fn verdict(&self, detail: Detail) -> String {
        let counted = |severity, noun| match self.count(severity) {
            0 => String::new(),
            count => many(count, noun),
        };
        let problems = list([
            counted(Severity::Error, "error"),
            counted(Severity::Warning, "warning"),
        ]);
        match (problems.as_str(), detail) {
            ("", Detail::All) => "All is well.".to_owned(),
            ("", _) => "All is well; `-v` shows what was looked at.".to_owned(),
            (problems, _) => format!("{problems}."),
        }
    }
}

impl Section {
    fn shown(&self, detail: Detail) -> impl Iterator<Item = &Finding> {
        let least = match detail {
            Detail::Errors => Severity::Error,
            Detail::Problems => Severity::Warning,
            Detail::All => Severity::Ok,
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
        // Of what is well, whom it concerns is no news.
        let concerns = few(&self.concerns);
        let is_news = !concerns.is_empty() && !names(&self.what, &concerns);
        if self.severity >= Severity::Warning && is_news {
            text.push_str(&format!("    concerns: {concerns}\n"));
        }
        for fix in &self.fixes {
            let word = paint("fix", None);
            text.push_str(&format!("    {word}: {}\n", indented(fix)));
        }
        text
    }
}

/// Tells whether a text has a name in it already, and not as a part of another one.
fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// Returns a text whose further lines stand below the first.
fn indented(text: &str) -> String {
    text.replace('\n', "\n      ")
}

/// Returns the severity of a subject; a note is no news at its head.
fn mark(severity: Severity, paint: Paint<'_>) -> String {
    let severity = match severity {
        Severity::Note => Severity::Ok,
        severity => severity,
    };
    // As wide as `warning`.
    let word = format!("{:<7}", severity.as_str());
    paint(&word, Some(severity))
}
