//! Changes as text for a terminal.

use std::fmt::Write as _;

use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::changes::{CommitHistory, LockChanges, ServiceChange};
use crate::base::escape::plain;
use crate::base::plural::count_of;
use crate::base::table::aligned;
use crate::model::source::CommitSummary;

impl LockChanges {
    /// Returns the changes as text: a line for each service, followed by a line for each commit.
    pub fn text(&self) -> String {
        if self.services.is_empty() {
            return format!("{} and {} are identical\n", self.from, self.to);
        }
        let shown = self
            .services
            .iter()
            .filter(|change| !change.is_shown_elsewhere());
        let rows: Vec<Vec<String>> = shown.clone().map(row).collect();
        let mut text = String::new();
        for (row, change) in aligned(&rows).lines().zip(shown) {
            _ = writeln!(text, "{row}");
            match &change.history {
                CommitHistory::None => {}
                CommitHistory::Unknown(why) | CommitHistory::Unlisted(why) => {
                    _ = writeln!(text, "  {}", plain(why))
                }
                CommitHistory::Known { added, dropped } => {
                    let sign = if dropped.is_empty() { "" } else { "+ " };
                    text += &commits(added, sign);
                    text += &commits(dropped, "- ");
                }
            }
        }
        if self.unchanged > 0 {
            _ = writeln!(text, "{} unchanged", count_of(self.unchanged, "service"));
        }
        text
    }
}

impl LockChanges {
    /// Returns a line for each service, without commits and without notes about unknown ones.
    pub fn summary(&self) -> String {
        let mut services = self.services.clone();
        for change in &mut services {
            if matches!(change.history, CommitHistory::Unknown(_)) {
                change.history = CommitHistory::None;
            }
        }
        let shown = services
            .iter()
            .filter(|change| !change.is_shown_elsewhere());
        let mut text = aligned(&shown.map(row).collect::<Vec<_>>());
        if self.unchanged > 0 {
            _ = writeln!(text, "{} unchanged", count_of(self.unchanged, "service"));
        }
        text
    }
}

fn row(change: &ServiceChange) -> Vec<String> {
    let fields: Vec<String> = change
        .changed_fields()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut notes: Vec<String> = change.distance().into_iter().collect();
    notes.extend(Some(fields.join(", ")).filter(|fields| !fields.is_empty()));
    notes.extend(change.needed_text());
    notes.extend(change.renamed.iter().map(|name| format!("formerly {name}")));
    let word = match change.renamed {
        Some(_) => "renamed",
        None => change.word(),
    };
    vec![
        change.service.to_string(),
        word.to_owned(),
        change.range(),
        notes.join("; "),
    ]
}

fn commits(commits: &[CommitSummary], sign: &str) -> String {
    let rows: Vec<Vec<String>> = commits
        .iter()
        .map(|commit| {
            vec![
                format!("  {sign}{}", commit.commit.short()),
                date(commit),
                plain(&commit.author),
                plain(&commit.subject),
            ]
        })
        .collect();
    aligned(&rows)
}

/// Returns the author date of a commit, in the author's time zone.
pub(super) fn date(commit: &CommitSummary) -> String {
    let format = format_description!("[year]-[month]-[day]");
    let written = local_time(commit).and_then(|time| time.format(format).ok());
    written.unwrap_or_else(|| "?".to_owned())
}

/// Returns the author time of a commit; `None` if it is out of range.
pub(super) fn local_time(commit: &CommitSummary) -> Option<OffsetDateTime> {
    let offset = UtcOffset::from_whole_seconds(commit.offset_minutes.checked_mul(60)?).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(commit.time).ok()?;
    time.checked_to_offset(offset)
}
