//! The plan as text, for `xp plan`.

use std::path::Path;
use std::time::Duration;

use super::{Decision, Plan, UnitPlan};
use crate::base::plural::counted;
use crate::base::table::{Column, Fit, fitted};
use crate::base::units::elapsed;
use crate::model::event::Phase;

/// How much of a plan or a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// The width of the terminal; `None` for a file, a pipe or a CI log, which get everything.
    pub columns: Option<usize>,
    /// Whether to list units with nothing to do.
    pub all: bool,
    /// Whether to show the steps of each unit.
    pub steps: bool,
    /// Whether to show how to repeat a failed step.
    pub repeats: bool,
}

impl Detail {
    /// What a file gets.
    #[cfg(test)]
    pub(super) const FILE: Self = Self {
        columns: None,
        all: true,
        steps: true,
        repeats: false,
    };

    /// Returns a table of units, which has `heading` after the unit's name and ends with the image. `cells` returns the
    /// cells below `heading`.
    pub fn table(
        self,
        plan: &Plan,
        heading: &[Column],
        cells: impl Fn(&UnitPlan) -> Vec<String>,
    ) -> String {
        let shows_references = plan.shows_references();
        let reference: Option<Column> = shows_references.then_some(("REFERENCE", Fit::Optional));
        let columns: Vec<Column> = std::iter::once(("SERVICE", Fit::Fixed))
            .chain(reference)
            .chain([("COMMIT", Fit::Optional)])
            .chain(heading.iter().copied())
            .chain([("IMAGE", Fit::OwnLine)])
            .collect();
        let shown = plan.units.iter();
        let shown = shown.filter(|unit| self.all || !unit.steps.is_empty());
        let rows = shown.map(|unit| {
            let mut row = vec![unit.unit.to_string()];
            row.extend(shows_references.then(|| unit.reference().to_owned()));
            let commit = unit.commit.map(|commit| commit.short());
            row.push(commit.unwrap_or_else(|| "-".to_owned()));
            row.extend(cells(unit));
            row.push(self.image(unit));
            row
        });
        let rows: Vec<Vec<String>> = rows.collect();
        let table = match rows.as_slice() {
            [] => String::new(),
            _ => fitted(&columns, rows, self.columns),
        };
        let train = plan.train.as_ref().map(|train| format!("{train}\n"));
        let parts = [Some(table), train].into_iter().flatten();
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        parts.join("\n")
    }

    /// Returns the name of an image. On a terminal, it omits the tag if that is the commit, and shortens other IDs.
    fn image(self, unit: &UnitPlan) -> String {
        let commit = unit.commit.map(|commit| commit.to_string());
        let (Some(_), Some(tag)) = (self.columns, unit.image.tag()) else {
            return unit.image.to_string();
        };
        let repository = unit.image.repository();
        if commit.as_deref() == Some(tag.as_str()) {
            return repository.to_string();
        }
        format!("{repository}:{}", with_short_id(tag.as_str()))
    }
}

/// Shortens the ID of a commit or a content at the start of a tag.
fn with_short_id(tag: &str) -> String {
    const ID: usize = 40;
    const SHOWN: usize = 8;
    match tag.split_at_checked(ID) {
        Some((id, rest)) if id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{}…{rest}", &id[..SHOWN])
        }
        _ => tag.to_owned(),
    }
}

impl Plan {
    /// Returns the plan as a table, followed by the steps of each unit with paths relative to the manifest's folder, and
    /// by the counts. On a terminal, the counts are followed by the time that planning took; files can be compared.
    pub fn display(&self, folder: &Path, detail: Detail, took: Duration) -> String {
        let heading = [("DECISION", Fit::Fixed), ("WHY", Fit::Wrapped)];
        let mut text = detail.table(self, &heading, |unit| {
            vec![unit.decision.to_string(), unit.reason.clone()]
        });
        let phases = self.work().filter_map(phases);
        let phases: Vec<String> = phases.collect();
        if !phases.is_empty() {
            text.push('\n');
            text.push_str(&phases.concat());
        }
        if detail.steps {
            for unit in self.work() {
                text.push('\n');
                text.push_str(&steps(unit, folder));
            }
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let time = detail
            .columns
            .map(|_| format!(" (planned in {})", elapsed(took)));
        text.push_str(&self.closing_line());
        text.push_str(&time.filter(|_| !self.is_empty()).unwrap_or_default());
        text.push('\n');
        text
    }

    /// Returns the counts, such as `3 to build, 140 up to date`.
    pub fn closing_line(&self) -> String {
        if self.is_empty() {
            return self.nothing_to_do();
        }
        let decided = |decision| {
            let units = self.units.iter();
            units.filter(|unit| unit.decision == decision).count()
        };
        let counts = [
            (decided(Decision::Build), "to build"),
            (decided(Decision::Push), "to push"),
            (decided(Decision::Pull), "to pull"),
            (decided(Decision::Tag), "to tag"),
            (self.up_to_date(), "up to date"),
        ];
        counted(&counts)
    }

    /// Returns the closing line of a plan without work.
    pub fn nothing_to_do(&self) -> String {
        match self.up_to_date() {
            0 => "Nothing to do".to_owned(),
            1 => "Nothing to do: 1 service up to date".to_owned(),
            services => format!("Nothing to do: {services} services up to date"),
        }
    }

    /// Returns the number of services with nothing to do.
    pub fn up_to_date(&self) -> usize {
        let services = self.units.iter().filter(|unit| unit.commit.is_some());
        services.filter(|unit| unit.steps.is_empty()).count()
    }
}

/// Returns the phases of a unit with `inputs`, one line each; `None` if there are none.
fn phases(unit: &UnitPlan) -> Option<String> {
    if unit.phases.is_empty() {
        return None;
    }
    let mut text = format!("{}\n", unit.unit);
    for phase in &unit.phases {
        let decision = match phase.restored {
            Some(_) => "restore",
            None => "run",
        };
        let line = format!(
            "  {:<9}  {decision:<7}  {}",
            phase.phase.as_str(),
            phase.reason
        );
        text.push_str(&format!("{line}\n"));
    }
    Some(text)
}

fn steps(unit: &UnitPlan, folder: &Path) -> String {
    let mut text = format!("{}\n", unit.unit);
    if let Some(remote) = &unit.remote {
        let phase = Phase::Job.as_str();
        text.push_str(&format!("  {phase:<9}  on the fleet {}\n", remote.fleet));
    }
    for step in &unit.steps {
        // A script may have several lines.
        let step_text = step.describe(folder);
        for (index, line) in step_text.lines().enumerate() {
            let phase = if index == 0 {
                step.phase().as_str()
            } else {
                ""
            };
            text.push_str(format!("  {phase:<9}  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_tags_are_shortened() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(with_short_id(id), "01234567…");
        assert_eq!(
            with_short_id(&format!("{id}-dirty-b32a90ff")),
            "01234567…-dirty-b32a90ff"
        );
        assert_eq!(with_short_id("1.36"), "1.36");
        assert_eq!(with_short_id(&"x".repeat(50)), "x".repeat(50));
    }
}
