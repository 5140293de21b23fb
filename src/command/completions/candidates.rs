//! Candidates of the current platform: services, builders, branches, tags and runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::complete::{CompletionCandidate, CompletionTarget, ValueKind};
use crate::client::git::{Opened, RefNames, WorkingCopy};
use crate::host::settings::Settings;
use crate::model::event::Phase;
use crate::model::layout::Layout;
use crate::model::manifest;
use crate::model::manifest::{DEFAULT_CACHE_DIR, Environment, Fleet, Manifest, Service};
use crate::store::runs::{Run, Runs};

/// Services listed in a description; more are only counted.
const NAMED: usize = 3;

/// The phases with useful logs, in order.
const PHASES: &[Phase] = &[
    Phase::Sync,
    Phase::Fetch,
    Phase::Prepare,
    Phase::Build,
    Phase::Test,
    Phase::Image,
    Phase::Verify,
    Phase::Pull,
    Phase::Push,
    Phase::Attest,
    Phase::Rollout,
];

/// Returns the candidates of a target; none after an error.
pub fn find(target: &CompletionTarget, settings: Settings) -> Vec<CompletionCandidate> {
    if let ValueKind::Words(words) = &target.kind {
        return words.clone();
    }
    if matches!(
        target.kind,
        ValueKind::File | ValueKind::Folder | ValueKind::Free
    ) {
        return Vec::new();
    }
    if target.kind == ValueKind::Phase {
        return PHASES.iter().map(phase).collect();
    }
    let Some(manifest) = read_manifest(target, &settings) else {
        return Vec::new();
    };
    let mut found = match target.kind {
        ValueKind::Service => services(&manifest, ""),
        ValueKind::ServiceOrEnvironment => {
            let services = services(&manifest, "").into_iter();
            services.chain(environments(&manifest)).collect()
        }
        ValueKind::ServiceReference => match target.partial.split_once('=') {
            None => services(&manifest, "="),
            Some((service, reference)) => service_references(&manifest, service, reference),
        },
        ValueKind::Builder => builders(&manifest),
        ValueKind::Branch => references(&manifest, false),
        ValueKind::Reference => references(&manifest, true),
        ValueKind::Run => runs(&manifest, &settings),
        ValueKind::Environment => environments(&manifest),
        ValueKind::Fleet => fleets(&manifest),
        ValueKind::Words(_)
        | ValueKind::Phase
        | ValueKind::File
        | ValueKind::Folder
        | ValueKind::Free => Vec::new(),
    };
    found.retain(|candidate| !target.given.contains(&candidate.text));
    found
}

fn phase(phase: &Phase) -> CompletionCandidate {
    CompletionCandidate {
        text: phase.as_str().to_owned(),
        about: String::new(),
    }
}

fn read_manifest(target: &CompletionTarget, settings: &Settings) -> Option<Manifest> {
    let home = settings.caller.home.as_deref();
    let directory = match &target.directory {
        Some(directory) => settings.directory.join(with_home(directory, home)),
        None => settings.directory.clone(),
    };
    let file = match &target.file {
        Some(file) => directory.join(with_home(file, home)),
        None => {
            let file = manifest::find(&directory)?;
            let foreign = manifest::foreign_owner(&directory, &file, &settings.owners);
            foreign.is_none().then_some(file)?
        }
    };
    manifest::load(&file).ok()
}

/// Expands `~`, which the shell has not done yet.
fn with_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn services(manifest: &Manifest, suffix: &str) -> Vec<CompletionCandidate> {
    let candidate = |service: &Service| CompletionCandidate {
        text: format!("{}{suffix}", service.name),
        about: service.dir.display().to_string(),
    };
    manifest.services.values().map(candidate).collect()
}

fn environments(manifest: &Manifest) -> Vec<CompletionCandidate> {
    let environments = manifest.deploy.iter();
    let environments = environments.flat_map(|deploy| deploy.environments.values());
    let candidate = |environment: &Environment| CompletionCandidate {
        text: environment.name().to_string(),
        about: match environment {
            Environment::Cluster(environment) => environment.context.clone(),
            Environment::Compose(environment) => environment.shown(),
        },
    };
    environments.map(candidate).collect()
}

fn fleets(manifest: &Manifest) -> Vec<CompletionCandidate> {
    let candidate = |fleet: &Fleet| CompletionCandidate {
        text: fleet.name.to_string(),
        about: fleet.context.clone(),
    };
    manifest.fleets.values().map(candidate).collect()
}

/// Returns the folders with a Dockerfile.
fn builders(manifest: &Manifest) -> Vec<CompletionCandidate> {
    let folder = manifest.folder.join(&manifest.builders.dir);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_builder = |entry: &fs::DirEntry| {
        let mut names = ["Dockerfile", "dockerfile"].into_iter();
        names.any(|name| entry.path().join(name).is_file())
    };
    let builders = entries.filter(is_builder);
    let names = builders.filter_map(|entry| entry.file_name().into_string().ok());
    let names: BTreeSet<String> = names.collect();
    let candidate = |name: String| CompletionCandidate {
        about: manifest.builders.dir.join(&name).display().to_string(),
        text: name,
    };
    names.into_iter().map(candidate).collect()
}

/// Returns the remote branches, and optionally tags, that the working copies know.
fn references(manifest: &Manifest, with_tags: bool) -> Vec<CompletionCandidate> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut read: BTreeMap<&Path, RefNames> = BTreeMap::new();
    for service in manifest.services.values() {
        // Services of one repository may share a working copy.
        let names = read
            .entry(&service.dir)
            .or_insert_with(|| ref_names(manifest, service));
        let tags = names.tags.iter().filter(|_| with_tags);
        for name in names.branches.iter().chain(tags) {
            found
                .entry(name.clone())
                .or_default()
                .push(service.name.as_str());
        }
    }
    let candidate = |(text, services): (String, Vec<&str>)| CompletionCandidate {
        text,
        about: if services.len() > NAMED {
            format!("{} services", services.len())
        } else {
            services.join(", ")
        },
    };
    found.into_iter().map(candidate).collect()
}

/// Returns the references of one service, with the `SERVICE=` prefix.
fn service_references(manifest: &Manifest, service: &str, typed: &str) -> Vec<CompletionCandidate> {
    let mut services = manifest.services.values();
    let Some(service) = services.find(|known| known.name.as_str() == service) else {
        return Vec::new();
    };
    let names = ref_names(manifest, service);
    // `origin/x` and `x` are the same branch; use the form that was typed.
    let origin = if typed.starts_with("origin/") {
        "origin/"
    } else {
        ""
    };
    let candidate = |origin: &str, reference: &str, about: &str| CompletionCandidate {
        text: format!("{}={origin}{reference}", service.name),
        about: about.to_owned(),
    };
    let branches = names.branches.iter();
    let mut found: Vec<CompletionCandidate> = branches
        .map(|branch| candidate(origin, branch, "branch"))
        .collect();
    found.extend(names.tags.iter().map(|tag| candidate("", tag, "tag")));
    found
}

fn ref_names(manifest: &Manifest, service: &Service) -> RefNames {
    match WorkingCopy::open(&manifest.folder.join(&service.dir)) {
        Ok(Opened::WorkingCopy(working_copy)) => working_copy.ref_names(),
        _ => RefNames::default(),
    }
}

/// Returns the past runs, newest first.
fn runs(manifest: &Manifest, settings: &Settings) -> Vec<CompletionCandidate> {
    let relative = manifest.cache_dir.clone();
    let relative = relative.unwrap_or_else(|| PathBuf::from(DEFAULT_CACHE_DIR));
    let root = settings.cache_dir.clone();
    let layout = Layout::new(root.unwrap_or_else(|| manifest.folder.join(relative)));
    let runs = Runs::new(layout.logs()).list().unwrap_or_default();
    let candidate = |run: &Run| CompletionCandidate {
        text: run.number.to_string(),
        about: run.record().command,
    };
    runs.iter().rev().map(candidate).collect()
}
