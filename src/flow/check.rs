//! Checks the manifest and the local files that it refers to, without any server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::deploy::local_files;
use super::survey;
use crate::base::error::{Diagnostic as _, chain};
use crate::host::settings::Settings;
use crate::model::check::CheckReport;
use crate::model::lock::LOCK;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::{
    self, BuilderImage, BuilderName, KustomizeFiles, Manifest, PartialManifest, ServiceName,
};
use crate::store::lock_file::LockFile;

/// Checks a manifest, its builder folders and kustomize files, and the lock, which is `x-platform.lock` by default.
pub fn check(settings: &Settings, file: &Path, lock: Option<&Path>) -> CheckReport {
    let shown = |path: &Path| {
        let short = path.strip_prefix(&settings.directory).unwrap_or(path);
        short.display().to_string()
    };
    let mut report = CheckReport {
        file: shown(file),
        services: 0,
        builders: 0,
        environments: 0,
        lock: None,
        errors: Vec::new(),
    };
    match manifest::open(file) {
        Ok(mut partial) => {
            report.services = partial.manifest().services.len();
            if partial.has_builders() {
                report.builders = check_builders(&mut partial);
            }
            report.environments = check_environments(&mut partial);
            report.errors.extend(partial.complete().err());
        }
        Err(error) => report.errors.push(error),
    }
    let lock_file = match lock {
        Some(named) => settings.directory.join(named),
        None => file.with_file_name(LOCK),
    };
    let loaded = match lock {
        Some(_) => LockFile::load(&lock_file),
        None => LockFile::load_or_empty(&lock_file),
    };
    match loaded {
        Ok(loaded) => report.lock = loaded.exists().then(|| shown(&lock_file)),
        Err(invalid) => report.errors.push(invalid.report().clone()),
    }
    report
}

/// Reads the folder of each builder that a service uses, and returns their number.
fn check_builders(partial: &mut PartialManifest) -> usize {
    // The services that use a builder, with the keys that name it.
    let mut users: BTreeMap<BuilderName, Vec<(ServiceName, Vec<String>)>> = BTreeMap::new();
    for service in partial.manifest().services.values() {
        let builder = service.builder.iter().map(|builder| {
            let keys = ["dockerBuilder", "image"].map(str::to_owned).to_vec();
            (keys, &builder.image)
        });
        let beside = service.sidecar_images().map(|(name, image)| {
            let keys = ["sidecars", name.as_str(), "image"];
            (keys.map(str::to_owned).to_vec(), image)
        });
        for (keys, image) in builder.chain(beside) {
            if let BuilderImage::Folder(name) = image {
                let services = users.entry(name.clone()).or_default();
                services.push((service.name.clone(), keys));
            }
        }
    }
    for (builder, services) in &users {
        let Err(error) = survey::folder_builder(partial.manifest(), builder) else {
            continue;
        };
        for (service, keys) in services {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let span = partial.manifest().span_of(service, &keys);
            let message = chain(&error).replace("\n  cause: ", ": ");
            let problem = problem_at(span, message);
            partial.report(error.hints().into_iter().fold(problem, SourceProblem::help));
        }
    }
    users.len()
}

/// Checks the overlays of environments with kustomize files next to the manifest, and returns their number.
fn check_environments(partial: &mut PartialManifest) -> usize {
    let Some((root, environments)) = local_environments(partial.manifest()) else {
        return 0;
    };
    for (name, overlay) in &environments {
        let found = local_files::problems(&root, overlay);
        let keys = ["deploy", "environments", name, "overlay"];
        let span = partial.manifest().span_at(&keys);
        for found in found {
            let message = format!("environment `{name}`: {}", found.message);
            partial.report(problem_at(span, message).help(found.hint));
        }
    }
    environments.len()
}

/// Returns the folder of the kustomize files, and the overlay of each environment.
fn local_environments(manifest: &Manifest) -> Option<(PathBuf, Vec<(String, PathBuf)>)> {
    let deploy = manifest.deploy.as_ref()?;
    let KustomizeFiles::Folder(path) = &deploy.files else {
        return None;
    };
    let environments = deploy.environments.values();
    let overlays = environments.map(|it| (it.name.to_string(), it.overlay.clone()));
    Some((manifest.folder.join(path), overlays.collect()))
}

fn problem_at(span: Option<manifest::Span>, message: String) -> SourceProblem {
    match span {
        Some(span) => SourceProblem::at(span, message),
        None => SourceProblem::without_span(message),
    }
}
