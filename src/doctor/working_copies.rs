//! The working copies. What somebody works on is no mistake: it is told, and hinders no build.

use super::{Finding, Section, Severity, Subject, Trouble, list, many};
use crate::status::{Checkout, WorkingCopyStatus};

/// What is known of a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingCopyFacts {
    /// Its folder, relative to the manifest's.
    pub dir: String,
    /// The services in it.
    pub services: Vec<String>,
    /// What is in it.
    pub status: WorkingCopyStatus,
    /// Why it cannot be read.
    pub problem: Option<Trouble>,
    /// The remotes that it has, without credentials, where none of them is the manifest's.
    pub other_remotes: Option<Vec<String>>,
    /// The manifest's remote, without credentials.
    pub remote: String,
    /// The file by which a git process keeps others out, where there is one, and its age in seconds.
    pub lock: Option<(String, u64)>,
    /// Whether it holds only a part of the history.
    pub is_shallow: bool,
}

/// A git process rarely takes longer.
const OLD_LOCK: u64 = 60;

/// Tells what is wrong with the working copies, and what is going on in them.
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
        count => format!("{count} in work"),
    };
    let missing = missing.count();
    let to_clone = match missing {
        0 => String::new(),
        count => format!("{count} to be cloned when needed"),
    };
    let present = match copies.len() - missing {
        0 => String::new(),
        count => many(count, "working copy"),
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
                "{dir} is not cloned yet: xp does it when it is needed"
            )));
        }
        WorkingCopyStatus::Foreign => findings.push(
            Finding::error(format!("{dir} holds something that is no working copy"))
                .because("xp clones into a new or an empty folder only")
                .fix("move it away, or give the service another `dir`"),
        ),
        WorkingCopyStatus::Unreadable => {
            let unknown = || Finding::error(format!("{dir} cannot be read"));
            findings.push(facts.problem.as_ref().map_or_else(unknown, Finding::of));
        }
        WorkingCopyStatus::Present(checkout) => {
            findings.push(present(dir, checkout));
            findings.extend(further(facts));
        }
    }
    for finding in &mut findings {
        finding.concerns = facts.services.clone();
    }
    findings
}

fn present(dir: &str, checkout: &Checkout) -> Finding {
    let at = match (&checkout.branch, checkout.commit) {
        (_, None) => return Finding::note(format!("{dir} has no commit yet")),
        (Some(branch), _) => format!("{dir} is on {branch}"),
        (None, Some(commit)) => format!("{dir} is at {}, on no branch", commit.short()),
    };
    let counted = |count: usize, what: &str| match count {
        0 => String::new(),
        count => format!("{} {what}", many(count, "file")),
    };
    let unpushed = match checkout.ahead_and_behind {
        Some((ahead @ 1.., _)) => format!("{} not pushed", many(ahead, "commit")),
        _ => String::new(),
    };
    let under_way = checkout.under_way.map(|what| format!("{what} under way"));
    let work = list([
        unpushed,
        counted(checkout.modified, "modified"),
        counted(checkout.untracked, "untracked"),
        under_way.unwrap_or_default(),
    ]);
    match work.as_str() {
        "" => Finding::ok(at),
        work => Finding::note(format!("{at}, with {work}")),
    }
}

fn further(facts: &WorkingCopyFacts) -> Vec<Finding> {
    let dir = &facts.dir;
    let mut findings = Vec::new();
    if let Some(others) = &facts.other_remotes {
        let (has, fix) = match others.as_slice() {
            [] => (
                "it has no remote".to_owned(),
                format!("`git -C {dir} remote add origin <URL>` gives it one"),
            ),
            others => (
                format!("it has {}", others.join(" and ")),
                format!(
                    "if the remote moved, `git -C {dir} remote set-url origin <URL>` names the new one"
                ),
            ),
        };
        findings.push(
            Finding::warning(format!("{dir} is no clone of {}", facts.remote))
                .because(has)
                .fix(format!(
                    "{fix}; if it is another repository, give the service another `dir`"
                )),
        );
    }
    if let Some((path, age)) = &facts.lock
        && *age >= OLD_LOCK
    {
        findings.push(
            Finding::warning(format!(
                "{dir} is locked by {path}, for {} already",
                minutes(*age)
            ))
            .because("a git process works there, or one was killed and left the file")
            .fix(format!(
                "if no git runs there, `rm {path}` takes the lock away"
            )),
        );
    }
    if facts.is_shallow {
        findings.push(Finding::note(format!(
            "{dir} is a shallow clone: more of the history is fetched where it is needed"
        )));
    }
    findings
}

fn minutes(seconds: u64) -> String {
    match seconds / 60 {
        count @ ..120 => many(usize::try_from(count).unwrap_or(0), "minute"),
        count => many(usize::try_from(count / 60).unwrap_or(0), "hour"),
    }
}
