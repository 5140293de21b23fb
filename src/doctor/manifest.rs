//! The manifest.

use super::{Finding, Section, Subject, few, list, many};

/// What is known of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestFacts {
    /// There is none where it was looked for.
    Missing {
        /// Why, in the words of every command.
        why: String,
        /// What to do about it.
        fixes: Vec<String>,
    },
    /// It is wrong.
    Wrong {
        /// The file.
        file: String,
        /// Everything that is wrong with it.
        problems: Vec<ManifestProblem>,
    },
    /// It is right.
    Read {
        /// The file.
        file: String,
        /// The services that are looked at, what they need included.
        services: Vec<String>,
        /// How many services there are.
        total: usize,
    },
}

/// Something that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestProblem {
    /// Line and column, from one; none where the whole file is meant.
    pub position: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What can be done about it.
    pub help: Vec<String>,
}

/// Tells what is wrong with the manifest.
pub fn manifest(facts: &ManifestFacts) -> Section {
    let (summary, findings) = match facts {
        ManifestFacts::Missing { why, fixes } => {
            let finding = Finding {
                fixes: fixes.clone(),
                is_usage: true,
                ..Finding::error(why.clone())
            };
            (
                "none: only this machine is checked".to_owned(),
                vec![finding],
            )
        }
        ManifestFacts::Wrong { file, problems } => {
            let summary = format!(
                "{file}, {}: only this machine is checked",
                many(problems.len(), "mistake")
            );
            let findings = problems.iter().map(|problem| {
                let place = match problem.position {
                    Some((line, column)) => format!("{file}:{line}:{column}"),
                    None => file.clone(),
                };
                Finding {
                    fixes: problem.help.clone(),
                    is_usage: true,
                    ..Finding::error(format!("{place}: {}", problem.message))
                }
            });
            (summary, findings.collect())
        }
        ManifestFacts::Read {
            file,
            services,
            total,
        } => {
            let count = match services.len() {
                all if all == *total => many(*total, "service"),
                some => format!("{some} of {}", many(*total, "service")),
            };
            let finding = Finding::ok(format!("{file} is valid")).concerning(services);
            let names = match services.len() < *total {
                true => few(services),
                false => String::new(),
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
