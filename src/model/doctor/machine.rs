//! Checks of this machine: xp's own folder, programs and proxies.

use super::{CacheContents, Finding, Section, Subject, list};
use crate::base::units::disk_size;
use crate::model::engine::ProxyFacts;

/// Less free space than this is an error.
const MIN_SPACE: u64 = 1 << 30;

/// Less free space than this is a warning.
const LOW_SPACE: u64 = 10 << 30;

/// Fewer free inodes than this may be used up by one large source tree.
const LOW_INODES: u64 = 50_000;

/// The free space below which a build warns.
const NEARLY_FULL: u64 = 2 << 30;

/// Free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes available to the user.
    pub free: u64,
    /// Inodes available to the user; `None` if unlimited.
    pub files: Option<u64>,
}

/// Facts about this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFacts {
    /// xp's own folder and its state; `None` without a manifest.
    pub cache: Option<(String, CacheState)>,
    /// Free space on its file system.
    pub space: Option<DiskSpace>,
    /// What xp's own folder has.
    pub contents: Option<CacheContents>,
    /// Whether the platform's file system is case-insensitive.
    pub ignores_case: bool,
    /// The programs that the services need.
    pub programs: Vec<RequiredProgram>,
    /// The proxies that xp uses.
    pub proxies: ProxyFacts,
}

/// State of xp's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheState {
    /// Exists and is writable.
    Own,
    /// Does not exist yet but can be created.
    Absent,
    /// Contains files not created by xp.
    Foreign,
    /// Not writable, or cannot be created.
    Denied {
        /// The folder that is not writable.
        folder: String,
        /// The error of the system.
        why: String,
    },
}

/// A program that services need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredProgram {
    pub name: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// How to install it.
    pub install: &'static str,
    /// Its path, if found.
    pub path: Option<String>,
    /// The services that need it.
    pub services: Vec<String>,
}

/// Evaluates this machine.
pub fn machine(facts: &MachineFacts) -> Section {
    let mut findings = Vec::new();
    let mut summary = Vec::new();
    if let Some((folder, state)) = &facts.cache {
        findings.push(cache(folder, state));
        if let Some(space) = facts.space {
            summary.push(format!("{} free for {folder}", disk_size(space.free)));
            findings.extend(space.findings(&format!("the file system of {folder}")));
        }
        let contents = facts.contents.as_ref();
        findings.extend(contents.map(|contents| contents.finding(folder)));
        summary.extend(contents.and_then(CacheContents::summary));
    }
    if facts.ignores_case {
        let text = "the platform's file system is case-insensitive";
        findings.push(
            Finding::warning(text)
                .because("files with names that differ only in case cannot both be checked out")
                .fix("move the platform to a case-sensitive file system"),
        );
    }
    for program in &facts.programs {
        findings.push(match &program.path {
            Some(path) => Finding::ok(format!("`{}` is {path}", program.name)),
            None => Finding::error(format!(
                "program `{}` not found on PATH; it is needed for {}",
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
        summary.push(format!("proxy {}", through.join(" and ")));
    }
    Section {
        subject: Subject::Machine,
        summary: list(summary),
        findings,
    }
}

fn cache(folder: &str, state: &CacheState) -> Finding {
    let other = "use another folder: set `cacheDir` in the manifest, or XP_CACHE_DIR";
    match state {
        CacheState::Own => Finding::ok(format!("{folder} is writable")),
        CacheState::Absent => Finding::ok(format!("{folder} will be created when needed")),
        CacheState::Foreign => Finding {
            is_usage: true,
            ..Finding::error(format!("{folder} contains files that xp did not create"))
                .because(
                    "xp deletes and replaces files in this folder, so it must not contain other files",
                )
                .fix("set `cacheDir` or XP_CACHE_DIR to a new or empty folder")
        },
        CacheState::Denied {
            folder: denied,
            why,
        } => {
            let what = if denied == folder {
                format!("{folder} is not writable")
            } else {
                format!("cannot create {folder}: {denied} is not writable")
            };
            Finding::error(what)
                .because(why.clone())
                .fix(format!(
                    "if another user owns it, run `sudo chown -R \"$(id -u):$(id -g)\" {denied}`"
                ))
                .fix(other)
        }
    }
}

impl DiskSpace {
    /// Returns a warning if the next build may fill the disk.
    pub fn nearly_full(self, what: &str) -> Option<String> {
        (self.free < NEARLY_FULL).then(|| {
            format!(
                "{what} has {} free; `xp clean --engine --cache` shows what can be removed",
                disk_size(self.free)
            )
        })
    }

    /// Evaluates the free space; `what` names the file system.
    pub(super) fn findings(self, what: &str) -> Vec<Finding> {
        let free = disk_size(self.free);
        let advice = "free some space: `xp clean --engine --cache --delete` removes old images and files of xp, and `docker system prune` unused images and build caches";
        let mut findings = vec![match self.free {
            ..MIN_SPACE => Finding::error(format!(
                "{what} has {free} free; a build needs at least {}",
                disk_size(MIN_SPACE)
            ))
            .fix(advice),
            MIN_SPACE..LOW_SPACE => Finding::warning(format!(
                "{what} has {free} free; less than {} may not be enough for the next builds",
                disk_size(LOW_SPACE)
            ))
            .fix(advice),
            LOW_SPACE.. => Finding::ok(format!("{what} has {free} free")),
        }];
        if let Some(files) = self.files.filter(|files| *files < LOW_INODES) {
            findings.push(
                Finding::warning(format!("{what} has only {files} free inodes"))
                    .because(
                        "files cannot be created without free inodes, even if there is free space",
                    )
                    .fix("remove folders with many small files, such as old build caches"),
            );
        }
        findings
    }
}
