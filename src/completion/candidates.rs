//! The values that this platform has: services, builders, branches, tags and runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::Candidate;
use super::place::{Kind, Place};
use crate::client::git::{Opened, RefNames, WorkingCopy};
use crate::event::Phase;
use crate::manifest::{self, DEFAULT_CACHE_DIR, Environment, Manifest, Service};
use crate::plan::Layout;
use crate::runs::{Run, Runs};
use crate::settings::Settings;

/// How many services a description names before it counts them.
const NAMED: usize = 3;

/// The phases that have logs worth reading, in their order.
const PHASES: &[Phase] = &[
    Phase::Sync,
    Phase::Prepare,
    Phase::Build,
    Phase::Test,
    Phase::Image,
    Phase::Pull,
    Phase::Push,
    Phase::Rollout,
];

/// Finds what can stand at a place; nothing where that cannot be found out.
pub fn find(place: &Place, settings: Settings) -> Vec<Candidate> {
    if let Kind::Words(words) = &place.kind {
        return words.clone();
    }
    if matches!(place.kind, Kind::File | Kind::Folder | Kind::Free) {
        return Vec::new();
    }
    if place.kind == Kind::Phase {
        return PHASES.iter().map(phase).collect();
    }
    let Some(manifest) = read_manifest(place, &settings) else {
        return Vec::new();
    };
    let mut found = match place.kind {
        Kind::Service => services(&manifest, ""),
        Kind::ServiceReference => match place.partial.split_once('=') {
            None => services(&manifest, "="),
            Some((service, reference)) => service_references(&manifest, service, reference),
        },
        Kind::Builder => builders(&manifest),
        Kind::Branch => references(&manifest, false),
        Kind::Reference => references(&manifest, true),
        Kind::Run => runs(&manifest, &settings),
        Kind::Environment => environments(&manifest),
        Kind::Words(_) | Kind::Phase | Kind::File | Kind::Folder | Kind::Free => Vec::new(),
    };
    found.retain(|candidate| !place.given.contains(&candidate.text));
    found
}

fn phase(phase: &Phase) -> Candidate {
    Candidate {
        text: phase.as_str().to_owned(),
        about: String::new(),
    }
}

fn read_manifest(place: &Place, settings: &Settings) -> Option<Manifest> {
    let home = settings.caller.home.as_deref();
    let directory = match &place.directory {
        Some(directory) => settings.directory.join(with_home(directory, home)),
        None => settings.directory.clone(),
    };
    let file = match &place.file {
        Some(file) => directory.join(with_home(file, home)),
        None => {
            let file = manifest::find(&directory)?;
            let foreign = manifest::foreign_owner(&directory, &file, &settings.owners);
            foreign.is_none().then_some(file)?
        }
    };
    manifest::load(&file).ok()
}

/// Returns a path with `~` replaced, which the shell would have done.
fn with_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn services(manifest: &Manifest, suffix: &str) -> Vec<Candidate> {
    let candidate = |service: &Service| Candidate {
        text: format!("{}{suffix}", service.name),
        about: service.dir.display().to_string(),
    };
    manifest.services.values().map(candidate).collect()
}

fn environments(manifest: &Manifest) -> Vec<Candidate> {
    let environments = manifest.deploy.iter();
    let environments = environments.flat_map(|deploy| deploy.environments.values());
    let candidate = |environment: &Environment| Candidate {
        text: environment.name.to_string(),
        about: environment.context.clone(),
    };
    environments.map(candidate).collect()
}

/// The folders that have a Dockerfile, as `xp builder` takes them.
fn builders(manifest: &Manifest) -> Vec<Candidate> {
    let folder = manifest.folder.join(&manifest.builders.dir);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_builder = |entry: &fs::DirEntry| {
        let mut names = ["Dockerfile", "dockerfile"].into_iter();
        names.any(|name| entry.path().join(name).is_file())
    };
    let builders = entries.filter(is_builder);
    let names = builders.filter_map(|entry| entry.file_name().into_string().ok());
    let names: BTreeSet<String> = names.collect();
    let candidate = |name: String| Candidate {
        about: manifest.builders.dir.join(&name).display().to_string(),
        text: name,
    };
    names.into_iter().map(candidate).collect()
}

/// The branches, and the tags, that the working copies know of their remotes.
fn references(manifest: &Manifest, with_tags: bool) -> Vec<Candidate> {
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
    let candidate = |(text, services): (String, Vec<&str>)| Candidate {
        text,
        about: if services.len() > NAMED {
            format!("{} services", services.len())
        } else {
            services.join(", ")
        },
    };
    found.into_iter().map(candidate).collect()
}

/// The references of one service, with what goes before them on the line.
fn service_references(manifest: &Manifest, service: &str, typed: &str) -> Vec<Candidate> {
    let mut services = manifest.services.values();
    let Some(service) = services.find(|known| known.name.as_str() == service) else {
        return Vec::new();
    };
    let names = ref_names(manifest, service);
    // `origin/x` and `x` are the same branch; who began with the one goes on with it.
    let origin = if typed.starts_with("origin/") {
        "origin/"
    } else {
        ""
    };
    let candidate = |origin: &str, reference: &str, about: &str| Candidate {
        text: format!("{}={origin}{reference}", service.name),
        about: about.to_owned(),
    };
    let branches = names.branches.iter();
    let mut found: Vec<Candidate> = branches
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

/// The runs whose logs are kept, the last one first.
fn runs(manifest: &Manifest, settings: &Settings) -> Vec<Candidate> {
    let relative = manifest.cache_dir.clone();
    let relative = relative.unwrap_or_else(|| PathBuf::from(DEFAULT_CACHE_DIR));
    let root = settings.cache_dir.clone();
    let layout = Layout::new(root.unwrap_or_else(|| manifest.folder.join(relative)));
    let runs = Runs::new(layout.logs()).list().unwrap_or_default();
    let candidate = |run: &Run| Candidate {
        text: run.number.to_string(),
        about: run.record().command,
    };
    runs.iter().rev().map(candidate).collect()
}
