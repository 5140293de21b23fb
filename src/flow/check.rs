//! Checks the manifest and the local files that it refers to, without any server.

use std::collections::BTreeSet;
use std::path::Path;

use super::builder_folders;
use super::deploy::local_files;
use super::fleet_template;
use crate::host::settings::Settings;
use crate::model::check::CheckReport;
use crate::model::lock::LOCK;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::{
    self, BuilderImage, BuilderName, Environment, KustomizeFiles, PartialManifest, Service, Span,
};
use crate::model::plan::folder_problems;
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
            check_fleets(&mut partial);
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
    let images = partial
        .manifest()
        .services
        .values()
        .flat_map(Service::images);
    let names: BTreeSet<BuilderName> = images
        .filter_map(|image| match image {
            BuilderImage::Folder(name) => Some(name.clone()),
            BuilderImage::External(_) => None,
        })
        .collect();
    let (folders, unusable) = builder_folders::read(partial.manifest(), &names);
    unusable
        .into_iter()
        .for_each(|problem| partial.report(problem));
    let services = partial.manifest().services.values();
    let problems: Vec<SourceProblem> = services
        .flat_map(|service| folder_problems(service, &folders))
        .collect();
    problems
        .into_iter()
        .for_each(|problem| partial.report(problem));
    names.len()
}

/// Checks the files of environments that are next to the manifest, and returns the number of these environments.
fn check_environments(partial: &mut PartialManifest) -> usize {
    let mut problems = Vec::new();
    let mut count = 0;
    let manifest = partial.manifest();
    let environments = manifest.deploy.iter();
    for environment in environments.flat_map(|deploy| deploy.environments.values()) {
        let (key, found) = match environment {
            Environment::Cluster(environment) => {
                let KustomizeFiles::Folder(path) = &environment.files else {
                    continue;
                };
                let root = manifest.folder.join(path);
                let found = local_files::problems(&root, &environment.overlay);
                ("overlay", found)
            }
            Environment::Compose(environment) => {
                let found = local_files::missing_files(&manifest.folder, &environment.files);
                ("compose", found)
            }
        };
        count += 1;
        let name = environment.name();
        let span = manifest.span_at(&["deploy", "environments", name.as_str(), key]);
        for found in found {
            let message = format!("environment `{name}`: {}", found.message);
            problems.push(problem_at(span, message).help(found.hint));
        }
    }
    for problem in problems {
        partial.report(problem);
    }
    count
}

/// Checks the pod templates of fleets.
fn check_fleets(partial: &mut PartialManifest) {
    let manifest = partial.manifest();
    let fleets = manifest.fleets.values();
    let problems = fleets.filter_map(|fleet| fleet_template::read(manifest, fleet).err());
    for problem in problems.collect::<Vec<_>>() {
        partial.report(problem);
    }
}

fn problem_at(span: Option<Span>, message: String) -> SourceProblem {
    match span {
        Some(span) => SourceProblem::at(span, message),
        None => SourceProblem::without_span(message),
    }
}
