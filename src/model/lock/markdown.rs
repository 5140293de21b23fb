//! Changes as release notes.

use std::fmt::Write as _;

use super::LockedService;
use super::changes::{CommitHistory, LockChanges, ServiceChange};
use super::text::date;
use crate::base::escape::markdown;
use crate::model::source::CommitSummary;

impl LockChanges {
    /// Returns the changes as Markdown: a section for each service, with a list of its commits.
    pub fn markdown(&self) -> String {
        if self.services.is_empty() {
            return "No service changed.\n".to_owned();
        }
        let shown = self.services.iter().filter(|it| !it.is_shown_elsewhere());
        let sections: Vec<String> = shown.map(section).collect();
        sections.join("\n")
    }
}

fn section(change: &ServiceChange) -> String {
    let mut text = format!("## {}\n\n", markdown(change.service.as_str()));
    let mut sentence = match (&change.from, &change.to) {
        (None, Some(to)) if let Some(former) = &change.renamed => format!(
            "Renamed from {}, at {}",
            markdown(former.as_str()),
            commit_and_reference(to)
        ),
        (None, Some(to)) => format!("Added, at {}", commit_and_reference(to)),
        (Some(from), None) => format!("Removed; it was at {}", commit_and_reference(from)),
        _ if change.moved().is_some() => format!("`{}`", change.range()),
        _ => format!("Still at `{}`", change.range()),
    };
    if let Some(distance) = change.distance() {
        _ = write!(sentence, ", {distance}");
    }
    let fields: Vec<&str> = change
        .changed_fields()
        .iter()
        .map(|field| field.as_str())
        .collect();
    if !fields.is_empty() {
        _ = write!(sentence, "; changed: {}", fields.join(", "));
    }
    if let Some(needed) = change.needed_text() {
        _ = write!(sentence, "; {}", markdown(&needed));
    }
    _ = writeln!(text, "{sentence}");
    match &change.history {
        CommitHistory::None => {}
        CommitHistory::Unknown(why) | CommitHistory::Unlisted(why) => {
            _ = writeln!(text, "\n{}", markdown(why))
        }
        CommitHistory::Known { added, dropped } => {
            text += &list("", added);
            text += &list("No longer included:\n\n", dropped);
        }
    }
    text
}

fn commit_and_reference(locked: &LockedService) -> String {
    let reference = markdown(&locked.reference.to_string());
    format!("`{}` of {reference}", locked.commit.short())
}

fn list(title: &str, commits: &[CommitSummary]) -> String {
    if commits.is_empty() {
        return String::new();
    }
    let items = commits.iter().map(|commit| {
        format!(
            "- {} (`{}`, {}, {})\n",
            subject(commit),
            commit.commit.short(),
            markdown(&commit.author),
            date(commit)
        )
    });
    format!("\n{title}{}", items.collect::<String>())
}

fn subject(commit: &CommitSummary) -> String {
    match markdown(&commit.subject) {
        subject if subject.trim().is_empty() => "(no subject)".to_owned(),
        subject => subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_without_a_subject_is_listed_too() {
        let mut commit = CommitSummary {
            commit: "a".repeat(40).parse().unwrap(),
            author: "@all".to_owned(),
            time: 0,
            offset_minutes: 0,
            is_merge: false,
            subject: String::new(),
        };
        let rest = "(`aaaaaaaa`, @\u{200b}all, 1970-01-01)\n";
        assert_eq!(
            list("", std::slice::from_ref(&commit)),
            format!("\n- (no subject) {rest}")
        );
        commit.subject = "Ask @x".to_owned();
        assert_eq!(list("", &[commit]), format!("\n- Ask @\u{200b}x {rest}"));
    }
}
