//! The plan as text, for `xp plan`.

use std::fmt;
use std::path::Path;

use super::{Plan, UnitPlan};
use crate::base::table::fitted;

impl Plan {
    /// Returns the plan as a table, followed by the steps of each unit with paths relative to the manifest's folder.
    /// The table is fitted to the terminal's width, if any.
    pub fn display(&self, folder: &Path, columns: Option<usize>) -> impl fmt::Display {
        let mut text = self.table(columns);
        if let Some(train) = &self.train {
            text.push_str(&format!("\n{train}\n"));
        }
        for unit in self.work() {
            text.push('\n');
            text.push_str(&steps(unit, folder));
        }
        if self.is_empty() {
            text.push_str("\nNothing to do.\n");
        }
        text
    }

    fn table(&self, columns: Option<usize>) -> String {
        let heading = ["SERVICE", "COMMIT", "DECISION", "WHY", "IMAGE"]
            .map(str::to_owned)
            .to_vec();
        let rows = std::iter::once(heading).chain(self.units.iter().map(row));
        fitted(self.with_references(rows), columns)
    }

    /// Adds a column with the references after the service, if not all of them come from the manifest.
    pub fn with_references(&self, rows: impl IntoIterator<Item = Vec<String>>) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> = rows.into_iter().collect();
        if self.shows_references() {
            let references = self.units.iter().map(UnitPlan::reference);
            for (row, cell) in rows
                .iter_mut()
                .zip(["REFERENCE"].into_iter().chain(references))
            {
                row.insert(1, cell.to_owned());
            }
        }
        rows
    }
}

fn row(unit: &UnitPlan) -> Vec<String> {
    vec![
        unit.unit.to_string(),
        unit.commit
            .map_or_else(|| "-".to_owned(), |commit| commit.short()),
        unit.decision.to_string(),
        unit.reason.clone(),
        unit.image.to_string(),
    ]
}

fn steps(unit: &UnitPlan, folder: &Path) -> String {
    let mut text = format!("{}\n", unit.unit);
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
