//! The result of `xp check`: everything that is wrong with a platform's own files.

use std::path::PathBuf;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use crate::base::plural::count_of;
use crate::model::manifest::ManifestError;

/// The version of the JSON format. New fields do not change it.
const VERSION: u64 = 1;

/// What was checked, and all problems.
#[derive(Debug)]
pub struct CheckReport {
    /// The manifest, relative to the current folder if it is inside.
    pub file: String,
    /// The number of valid services.
    pub services: usize,
    /// The number of builder folders that services use.
    pub builders: usize,
    /// The number of environments with local kustomize files.
    pub environments: usize,
    /// The lock, if there is one.
    pub lock: Option<String>,
    /// The problems, by file.
    pub errors: Vec<ManifestError>,
}

/// A platform's files, checked without any server
///
/// Fields may be added within a version; ignore unknown fields.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "xp check --format json")]
struct CheckDocument {
    /// The version of this format
    version: u64,
    /// Whether there are no problems
    valid: bool,
    /// The manifest; empty if none was found
    file: String,
    /// Number of services that were checked
    services: usize,
    /// Number of builder folders that were checked
    builders: usize,
    /// Number of deploy environments whose kustomize files were checked
    environments: usize,
    /// The lock that was checked
    lock: Option<String>,
    /// All problems, in the order of their lines
    problems: Vec<ProblemDocument>,
}

/// A problem
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProblemDocument {
    /// The file
    pub file: Option<String>,
    /// Line, from 1; absent if the problem is about the whole file
    pub line: Option<usize>,
    /// Column in characters, from 1
    pub column: Option<usize>,
    /// What is wrong
    pub message: String,
    /// Possible fixes
    pub hints: Vec<String>,
}

impl CheckReport {
    /// Returns the line that says what was checked; meant for a report without problems.
    pub fn text(&self) -> String {
        let counted = |count: usize, noun| (count > 0).then(|| count_of(count, noun));
        let parts = [
            Some(count_of(self.services, "service")),
            counted(self.builders, "builder"),
            counted(self.environments, "environment"),
            self.lock.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("{}: {}, no problems", self.file, parts.join(", "))
    }

    /// Returns the result as JSON that follows [`schema`]. `shown` shortens a path.
    pub fn document(&self, shown: impl Fn(&str) -> PathBuf) -> Value {
        let problems = self.errors.iter().flat_map(|error| {
            let file = shown(error.path()).display().to_string();
            error.problems().map(move |problem| ProblemDocument {
                file: Some(file.clone()),
                line: problem.position().map(|(line, _)| line),
                column: problem.position().map(|(_, column)| column),
                message: problem.message().to_owned(),
                hints: problem.help().to_vec(),
            })
        });
        json!(CheckDocument {
            version: VERSION,
            valid: self.errors.is_empty(),
            file: self.file.clone(),
            services: self.services,
            builders: self.builders,
            environments: self.environments,
            lock: self.lock.clone(),
            problems: problems.collect(),
        })
    }
}

/// Returns the JSON for a manifest that was not found.
pub fn not_found(why: String, hints: Vec<String>) -> Value {
    json!(CheckDocument {
        version: VERSION,
        valid: false,
        file: String::new(),
        services: 0,
        builders: 0,
        environments: 0,
        lock: None,
        problems: vec![ProblemDocument {
            file: None,
            line: None,
            column: None,
            message: why,
            hints,
        }],
    })
}

/// Returns the JSON Schema of [`CheckReport::document`], draft 7.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    json!(generator.into_root_schema_for::<CheckDocument>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_what_was_checked() {
        let mut report = CheckReport {
            file: "x-platform.yml".to_owned(),
            services: 12,
            builders: 3,
            environments: 0,
            lock: None,
            errors: Vec::new(),
        };
        let line = "x-platform.yml: 12 services, 3 builders, no problems";
        assert_eq!(report.text(), line);
        report.builders = 0;
        report.environments = 1;
        report.lock = Some("x-platform.lock".to_owned());
        let line = "x-platform.yml: 12 services, 1 environment, x-platform.lock, no problems";
        assert_eq!(report.text(), line);
    }
}
