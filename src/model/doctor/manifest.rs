//! Checks of the manifest.

use super::{Finding, Section, Subject, count_of, few, list};

/// Facts about the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestFacts {
    /// Not found.
    NotFound {
        /// The error, as other commands report it.
        why: String,
        /// Possible fixes.
        fixes: Vec<String>,
    },
    /// Invalid.
    Invalid {
        file: String,
        problems: Vec<ManifestProblem>,
    },
    /// Valid.
    Valid {
        file: String,
        /// The checked services, including dependencies.
        services: Vec<String>,
        /// The total number of services.
        total: usize,
    },
}

/// A problem of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestProblem {
    /// Line and column, from 1; `None` for the file as a whole.
    pub position: Option<(usize, usize)>,
    pub message: String,
    /// Help texts.
    pub help: Vec<String>,
}

/// Evaluates the manifest.
pub fn manifest(facts: &ManifestFacts) -> Section {
    let (summary, findings) = match facts {
        ManifestFacts::NotFound { why, fixes } => {
            let finding = Finding {
                fixes: fixes.clone(),
                is_usage: true,
                ..Finding::error(why.clone())
            };
            (
                "not found; only this machine was checked".to_owned(),
                vec![finding],
            )
        }
        ManifestFacts::Invalid { file, problems } => {
            let summary = format!(
                "{file}, {}; only this machine was checked",
                count_of(problems.len(), "error")
            );
            let findings = problems.iter().map(|problem| {
                let location = match problem.position {
                    Some((line, column)) => format!("{file}:{line}:{column}"),
                    None => file.clone(),
                };
                Finding {
                    fixes: problem.help.clone(),
                    is_usage: true,
                    ..Finding::error(format!("{location}: {}", problem.message))
                }
            });
            (summary, findings.collect())
        }
        ManifestFacts::Valid {
            file,
            services,
            total,
        } => {
            let count = match services.len() {
                all if all == *total => count_of(*total, "service"),
                some => format!("{some} of {}", count_of(*total, "service")),
            };
            let finding = Finding::ok(format!("{file} is valid")).concerning(services);
            let names = if services.len() < *total {
                few(services)
            } else {
                String::new()
            };
            (list([file.clone(), count, names]), vec![finding])
        }
    };
    Section {
        subject: Subject::Manifest,
        summary,
        findings,
    }
}
