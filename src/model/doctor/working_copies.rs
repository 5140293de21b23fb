//! Checks of working copies. Local changes are reported as notes: they do not prevent builds.

use super::{CheckFailure, Finding, Section, Severity, Subject, count_of, list};
use crate::base::shell::quoted;
use crate::model::status::{CheckoutStatus, WorkingCopyStatus};

/// Facts about a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingCopyFacts {
    /// Its folder, relative to the manifest's.
    pub dir: String,
    /// The services in it.
    pub services: Vec<String>,
    pub status: WorkingCopyStatus,
    /// Why it cannot be read.
    pub problem: Option<CheckFailure>,
    /// Its remotes, without credentials, if the manifest's is not one of them.
    pub other_remotes: Option<Vec<String>>,
    /// The manifest's remote, without credentials.
    pub remote: String,
    /// The lock file of a git process, if any, and its age in seconds.
    pub lock: Option<(String, u64)>,
    /// Whether it is a shallow clone.
    pub is_shallow: bool,
}

/// Age in seconds after which a lock is reported; git processes rarely take longer.
const OLD_LOCK: u64 = 60;

/// Evaluates the working copies.
pub fn working_copies(copies: &[WorkingCopyFacts]) -> Section {
    let findings: Vec<Vec<Finding>> = copies.iter().map(working_copy).collect();
    let missing = copies
        .iter()
        .filter(|copy| copy.status == WorkingCopyStatus::Missing);
    let with_notes = findings
        .iter()
        .filter(|findings| findings.iter().any(is_note));
    let notes = match with_notes.count() {
        0 => String::new(),
        count => format!("{count} with local changes"),
    };
    let missing = missing.count();
    let to_clone = match missing {
        0 => String::new(),
        count => format!("{count} not cloned yet"),
    };
    let present = match copies.len() - missing {
        0 => String::new(),
        count => count_of(count, "working copy"),
    };
    Section {
        subject: Subject::WorkingCopies,
        summary: list([present, notes, to_clone]),
        findings: findings.into_iter().flatten().collect(),
    }
}

fn is_note(finding: &Finding) -> bool {
    finding.severity == Severity::Note
}

fn working_copy(facts: &WorkingCopyFacts) -> Vec<Finding> {
    let dir = &facts.dir;
    let mut findings = Vec::new();
    match &facts.status {
        WorkingCopyStatus::Missing => {
            findings.push(Finding::ok(format!(
                "{dir} is not cloned yet; xp clones it when needed"
            )));
        }
        WorkingCopyStatus::Foreign => findings.push(
            Finding::error(format!("{dir} is not a working copy"))
                .because("it is not empty, and xp clones only into new or empty folders")
                .fix("move it elsewhere, or set another `dir` for the service"),
        ),
        // Only git working copies are inspected.
        WorkingCopyStatus::Unmanaged => {}
        WorkingCopyStatus::Unreadable => {
            let unknown = || Finding::error(format!("{dir} cannot be read"));
            findings.push(facts.problem.as_ref().map_or_else(unknown, Finding::of));
        }
        WorkingCopyStatus::Present(checkout) => {
            findings.push(present(dir, checkout));
            findings.extend(other_findings(facts));
        }
    }
    for finding in &mut findings {
        finding.concerns = facts.services.clone();
    }
    findings
}

fn present(dir: &str, checkout: &CheckoutStatus) -> Finding {
    let at = match (&checkout.branch, checkout.commit) {
        (_, None) => return Finding::note(format!("{dir} has no commits yet")),
        (Some(branch), _) => format!("{dir} is on {branch}"),
        (None, Some(commit)) => format!("{dir} is at {} (detached HEAD)", commit.short()),
    };
    let counted = |count: usize, what: &str| match count {
        0 => String::new(),
        count => format!("{} {what}", count_of(count, "file")),
    };
    let unpushed = match checkout.ahead_and_behind {
        Some((ahead @ 1.., _)) => format!("{} not pushed", count_of(ahead, "commit")),
        _ => String::new(),
    };
    let operation = checkout.operation.map(|what| format!("{what} in progress"));
    let work = list([
        unpushed,
        counted(checkout.modified, "modified"),
        counted(checkout.untracked, "untracked"),
        operation.unwrap_or_default(),
    ]);
    match work.as_str() {
        "" => Finding::ok(at),
        work => Finding::note(format!("{at}: {work}")),
    }
}

fn other_findings(facts: &WorkingCopyFacts) -> Vec<Finding> {
    let dir = &facts.dir;
    let mut findings = Vec::new();
    if let Some(others) = &facts.other_remotes {
        let (folder, url) = (quoted(dir), quoted(&facts.remote));
        let (has, fix) = match others.as_slice() {
            [] => (
                "it has no remote".to_owned(),
                format!("add it with `git -C {folder} remote add origin {url}`"),
            ),
            others => (
                format!("its remotes: {}", others.join(", ")),
                format!("if the remote moved, run `git -C {folder} remote set-url origin {url}`"),
            ),
        };
        findings.push(
            Finding::warning(format!("{dir} is not a clone of {}", facts.remote))
                .because(has)
                .fix(format!(
                    "{fix}; if it is another repository, set another `dir` for the service"
                )),
        );
    }
    if let Some((path, age)) = &facts.lock
        && *age >= OLD_LOCK
    {
        findings.push(
            Finding::warning(format!(
                "{dir} has been locked by {path} for {}",
                minutes(*age)
            ))
            .because("a git process is running there, or was killed and left the lock behind")
            .fix(format!(
                "if no git process is running there, remove the lock with `rm {path}`"
            )),
        );
    }
    if facts.is_shallow {
        findings.push(Finding::note(format!(
            "{dir} is a shallow clone; more history is fetched when needed"
        )));
    }
    findings
}

fn minutes(seconds: u64) -> String {
    match seconds / 60 {
        count @ ..120 => count_of(usize::try_from(count).unwrap_or(0), "minute"),
        count => count_of(usize::try_from(count / 60).unwrap_or(0), "hour"),
    }
}
