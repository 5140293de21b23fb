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
    self, BuilderImage, BuilderName, KustomizeFiles, Manifest, PartialManifest, Span,
};
use crate::model::plan::{Folders, folder_problems};
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
    let mut users: BTreeMap<BuilderName, Vec<Option<Span>>> = BTreeMap::new();
    let manifest = partial.manifest();
    for service in manifest.services.values() {
        for image in service.images() {
            if let BuilderImage::Folder(name) = image {
                let spans = users.entry(name.clone()).or_default();
                spans.push(manifest.span_of_image(service, image));
            }
        }
    }
    let mut folders = Folders::new();
    for (builder, spans) in &users {
        let error = match survey::folder_builder(partial.manifest(), builder) {
            Ok(folder) => {
                folders.extend([folder]);
                continue;
            }
            Err(error) => error,
        };
        for span in spans.iter().copied() {
            let message = chain(&error).replace("\n  cause: ", ": ");
            let problem = problem_at(span, message);
            partial.report(error.hints().into_iter().fold(problem, SourceProblem::help));
        }
    }
    let services = partial.manifest().services.values();
    let problems: Vec<SourceProblem> = services
        .flat_map(|service| folder_problems(service, &folders))
        .collect();
    problems
        .into_iter()
        .for_each(|problem| partial.report(problem));
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

fn problem_at(span: Option<Span>, message: String) -> SourceProblem {
    match span {
        Some(span) => SourceProblem::at(span, message),
        None => SourceProblem::without_span(message),
    }
}
