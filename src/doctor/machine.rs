//! This machine: xp's own folder, the programs that it runs, and the proxies that it uses.

use super::{Finding, Section, Subject, list};

/// Less than this is not enough for a build.
const TOO_LITTLE: u64 = 1 << 30;

/// Less than this may not be enough for the next builds.
const LITTLE: u64 = 10 << 30;

/// Fewer files than this are used up by one large source tree.
const FEW_FILES: u64 = 50_000;

/// What a file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The bytes that the user may still write.
    pub free: u64,
    /// The files that the user may still make; none where there is no such limit.
    pub files: Option<u64>,
}

/// What is known of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFacts {
    /// The folder that is xp's own, and what it is; none without a manifest.
    pub cache: Option<(String, CacheState)>,
    /// What its file system has left.
    pub space: Option<Space>,
    /// Whether the platform's file system takes `a` and `A` for the same name.
    pub ignores_case: bool,
    /// The programs that the platform's services take.
    pub programs: Vec<Program>,
    /// The proxies that xp uses.
    pub proxies: ProxyFacts,
}

/// What xp's own folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheState {
    /// It is there, and can be written.
    Own,
    /// It is not there yet, and can be made.
    Absent,
    /// It contains files that xp did not create.
    Foreign,
    /// It, or the folder in which it would be made, cannot be written.
    Denied {
        /// Which folder that is.
        folder: String,
        /// What the system says.
        why: String,
    },
}

/// A program that something takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// How it is installed.
    pub install: &'static str,
    /// Where it was found.
    pub path: Option<String>,
    /// The services that take it.
    pub services: Vec<String>,
}

/// Proxies, without credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyFacts {
    /// The variable and the proxy.
    pub proxies: Vec<(String, String)>,
    /// `no_proxy`.
    pub exceptions: Option<String>,
}

/// Tells what is wrong with this machine.
pub fn machine(facts: &MachineFacts) -> Section {
    let mut findings = Vec::new();
    let mut summary = Vec::new();
    if let Some((folder, state)) = &facts.cache {
        findings.push(cache(folder, state));
        if let Some(space) = facts.space {
            summary.push(format!("{} free for {folder}", bytes(space.free)));
            findings.extend(space.findings(&format!("the file system of {folder}")));
        }
    }
    if facts.ignores_case {
        let text = "the platform's file system takes `a` and `A` for the same name";
        findings.push(
            Finding::warning(text)
                .because(
                    "files whose names differ in nothing else cannot be checked out side by side",
                )
                .fix("put the platform onto a file system that tells them apart"),
        );
    }
    for program in &facts.programs {
        findings.push(match &program.path {
            Some(path) => Finding::ok(format!("`{}` is {path}", program.name)),
            None => Finding::error(format!(
                "there is no program `{}` on the PATH: it is needed for {}",
                program.name, program.purpose
            ))
            .concerning(&program.services)
            .fix(program.install),
        });
    }
    for (variable, proxy) in &facts.proxies.proxies {
        findings.push(Finding::note(format!("{variable} is {proxy}")));
    }
    if let Some(exceptions) = &facts.proxies.exceptions {
        findings.push(Finding::note(format!("no_proxy is {exceptions}")));
    }
    if !facts.proxies.proxies.is_empty() {
        let through = facts.proxies.proxies.iter().map(|(_, proxy)| proxy.clone());
        let mut through: Vec<String> = through.collect();
        through.dedup();
        summary.push(format!("through the proxy {}", through.join(" and ")));
    }
    Section {
        subject: Subject::Machine,
        summary: list(summary),
        findings,
    }
}

fn cache(folder: &str, state: &CacheState) -> Finding {
    let other = "`cacheDir` of the manifest, or XP_CACHE_DIR, names another folder";
    match state {
        CacheState::Own => Finding::ok(format!("{folder} is xp's own, and can be written")),
        CacheState::Absent => Finding::ok(format!("{folder} will be made when it is needed")),
        CacheState::Foreign => Finding {
            is_usage: true,
            ..Finding::error(format!("{folder} contains files that xp did not create"))
                .because("xp removes and replaces what is in its own folder, so it takes no other")
                .fix("let `cacheDir` or XP_CACHE_DIR name a new or an empty folder")
        },
        CacheState::Denied {
            folder: denied,
            why,
        } => {
            let what = match denied == folder {
                true => format!("{folder} cannot be written"),
                false => format!("{folder} cannot be made, as {denied} cannot be written"),
            };
            Finding::error(what)
                .because(why.clone())
                .fix(format!("`sudo chown -R \"$(id -u):$(id -g)\" {denied}` gives it to you, where another user owns it"))
                .fix(other)
        }
    }
}

impl Space {
    /// Tells whether it is enough; `what` names the file system.
    pub(super) fn findings(self, what: &str) -> Vec<Finding> {
        let free = bytes(self.free);
        let advice = "free some space: `docker system prune` removes images and build caches that nothing uses";
        let mut findings = vec![match self.free {
            ..TOO_LITTLE => Finding::error(format!(
                "{what} has {free} left, and a build needs {} at least",
                bytes(TOO_LITTLE)
            ))
            .fix(advice),
            TOO_LITTLE..LITTLE => Finding::warning(format!(
                "{what} has {free} left: less than {} may not be enough for the next builds",
                bytes(LITTLE)
            ))
            .fix(advice),
            LITTLE.. => Finding::ok(format!("{what} has {free} left")),
        }];
        if let Some(files) = self.files.filter(|files| *files < FEW_FILES) {
            findings.push(
                Finding::warning(format!("{what} has room for {files} more files only"))
                    .because("it has used up its inodes, however much space is left")
                    .fix("remove what has many small files, such as old build caches"),
            );
        }
        findings
    }
}

/// Returns an amount as people read it.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = count;
    let mut unit = 0;
    // A tenth is kept where it says something.
    let mut rest = 0;
    while amount >= 1024 && unit + 1 < UNITS.len() {
        rest = amount % 1024 * 10 / 1024;
        amount /= 1024;
        unit += 1;
    }
    match (amount, rest) {
        (..10, 1..) => format!("{amount}.{rest} {}", UNITS[unit]),
        _ => format!("{amount} {}", UNITS[unit]),
    }
}
