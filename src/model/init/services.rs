//! Turns build candidates into draft services.

mod connect;
mod extras;
mod image_owners;
mod images;
mod scope;
mod scripts;

use std::collections::BTreeSet;

use super::build::{Build, repository_of};
use super::combine::Collected;
use super::draft::{DraftKey, DraftService, ManifestDraft, Skipped};
use super::names::{distinct, service_name};
use super::{InitOptions, ReadFile, path};
use crate::model::dockerfile::{self, DockerfileInputs};

/// An image that can be built from a repository.
pub(super) struct ImageCandidate {
    /// The index of the repository.
    pub repo: usize,
    /// The context, relative to the repository.
    pub context: String,
    /// The Dockerfile, relative to the repository.
    pub file: String,
    /// The target stage.
    pub target: Option<String>,
    /// Candidate names, best first.
    pub names: Vec<String>,
    /// Its definition in a tool file.
    pub build: Option<Build>,
    /// Other definitions of the same build: file and name.
    pub same: Vec<(String, String)>,
    /// The compose services that run the image.
    pub compose_services: Vec<String>,
}

impl ImageCandidate {
    /// A Dockerfile that no tool file mentions.
    pub fn from_dockerfile(repo: usize, context: String, file: String, names: Vec<String>) -> Self {
        Self {
            repo,
            context,
            file,
            target: None,
            names,
            build: None,
            same: Vec::new(),
            compose_services: Vec::new(),
        }
    }

    /// Returns whether both build the same image.
    pub fn is_same(&self, other: &Self) -> bool {
        let file = |candidate: &Self| candidate.build.as_ref().map(|build| build.file.clone());
        let args = |candidate: &Self| candidate.build.as_ref().map(|build| build.args.clone());
        self.repo == other.repo
            && self.context == other.context
            && self.file == other.file
            && self.target == other.target
            // Two tools rarely define the same arguments, so they are compared within one file only.
            && (file(self) != file(other) || args(self) == args(other))
    }

    /// Merges another definition of the same image.
    pub fn merge(&mut self, other: Self) {
        let (Some(own), Some(theirs)) = (&mut self.build, other.build) else {
            return;
        };
        self.same.push((theirs.file.clone(), theirs.name));
        self.compose_services.extend(other.compose_services);
        own.image = own.image.take().or(theirs.image);
        for (name, value) in theirs.args {
            if own.args.iter().all(|(known, _)| *known != name) {
                own.args.push((name, value));
            }
        }
        own.needs.extend(theirs.needs);
        for (id, secret) in theirs.secrets {
            if own.secrets.iter().all(|(known, _)| *known != id) {
                own.secrets.push((id, secret));
            }
        }
        own.ssh |= theirs.ssh;
        own.cache |= theirs.cache;
        if own.platforms.is_empty() {
            own.platforms = theirs.platforms;
        }
        own.tags.extend(theirs.tags);
        own.unsupported.extend(theirs.unsupported);
        own.todos.extend(theirs.todos);
    }
}

/// A draft service with its candidate.
struct CandidateService {
    candidate: ImageCandidate,
    service: DraftService,
    /// Its Dockerfile, if it is here.
    dockerfile: Option<String>,
    /// The inputs of its Dockerfile.
    inputs: DockerfileInputs,
}

/// Turns all candidates into services.
pub(super) fn services(
    collected: &mut Collected<'_>,
    options: &InitOptions,
    read: &ReadFile<'_>,
) -> ManifestDraft {
    let candidates = std::mem::take(&mut collected.candidates);
    let mut taken = BTreeSet::new();
    let mut drafts: Vec<CandidateService> = Vec::new();
    for candidate in candidates {
        match service(collected, candidate, &mut taken, read) {
            Ok(service) => drafts.push(service),
            Err((what, why)) => collected.skip(true, what, why),
        }
    }
    let registry = images::name(&mut drafts, options);
    connect::connect(&mut drafts);
    let mut services: Vec<DraftService> = drafts.into_iter().map(|draft| draft.service).collect();
    separate(&mut services);
    services.sort_by(|one, other| one.name.cmp(&other.name));
    shorten_repeated(&mut services);
    let mut skipped: Vec<Skipped> = std::mem::take(&mut collected.skipped);
    skipped.sort_by(|one, other| (one.todo, &one.what).cmp(&(other.todo, &other.what)));
    skipped.dedup();
    ManifestDraft {
        sources: Vec::new(),
        registry,
        services,
        compose: Vec::new(),
        skipped,
    }
}

fn service(
    collected: &Collected<'_>,
    candidate: ImageCandidate,
    taken: &mut BTreeSet<String>,
    read: &ReadFile<'_>,
) -> Result<CandidateService, (String, String)> {
    let repo = &collected.repos[candidate.repo];
    let first = candidate.names.first().cloned().unwrap_or_default();
    let mut service = DraftService {
        dir: repo.dir.clone(),
        compose_services: candidate.compose_services.clone(),
        ..DraftService::default()
    };
    repo.fill(&mut service)
        .map_err(|why| (first.clone(), why))?;
    let repository = repo.name(&collected.folder.name);
    let mut names = candidate.names.clone();
    names.push(format!("{repository}-{}", path::last(&first)));
    names.extend(names_by_folder(&candidate));
    let valid: Vec<String> = names
        .iter()
        // A Skaffold artifact is named after its image.
        .map(|name| repository_of(path::last(name)))
        .filter_map(service_name)
        .collect();
    service.name = distinct(&valid, taken);
    let called = candidate
        .build
        .as_ref()
        .map(|build| (&build.file, path::last(&build.name)));
    if let Some((file, called)) = called
        && repository_of(called) != service.name
    {
        service.remark(DraftKey::Service, format!("named {called} in {file}"));
    }
    for (file, name) in &candidate.same {
        service.remark(
            DraftKey::Service,
            format!("{name} in {file} is the same build"),
        );
    }
    layout(&mut service, &candidate);
    let text = path::join(&repo.dir, &candidate.file).and_then(|path| read(&path).ok().flatten());
    let inputs = match (&text, repo.local) {
        (Some(text), _) => dockerfile::inputs(text),
        (None, Some(_)) => DockerfileInputs::default(),
        (None, None) => {
            service.todo(
                DraftKey::File,
                format!(
                    "{} is not cloned here, so its Dockerfile was not read",
                    repo.dir
                ),
            );
            DockerfileInputs::default()
        }
    };
    scope::narrow(&mut service, &candidate, repo, &inputs);
    if let Some(local) = repo.local
        && !local.holds(&candidate.file)
    {
        let todo = format!(
            "{} is not in the commit to be built: commit and push it",
            candidate.file
        );
        service.todo(DraftKey::File, todo);
    }
    if let Some(build) = &candidate.build {
        extras::add(&mut service, build);
    }
    scripts::add(&mut service, &candidate, repo, &inputs, read);
    Ok(CandidateService {
        candidate,
        service,
        dockerfile: text,
        inputs,
    })
}

/// Replaces what was already said of another service of the same repository.
fn shorten_repeated(services: &mut [DraftService]) {
    let mut said: Vec<(String, String, String)> = Vec::new();
    for service in services {
        for remark in service.remarks.iter_mut().filter(|remark| remark.todo) {
            let before = said
                .iter()
                .find(|(dir, text, _)| *dir == service.dir && *text == remark.text);
            match before {
                Some((_, _, first)) => {
                    remark.todo = false;
                    remark.text = format!("as for {first}");
                }
                None => said.push((
                    service.dir.clone(),
                    remark.text.clone(),
                    service.name.clone(),
                )),
            }
        }
        let mut seen = Vec::new();
        service.remarks.retain(|remark| {
            let is_new = !seen.contains(remark);
            seen.push(remark.clone());
            is_new
        });
    }
}

/// Returns names that contain the folder of a candidate, shortest first.
fn names_by_folder(candidate: &ImageCandidate) -> Vec<String> {
    let last = candidate.names.first().map_or("", |name| path::last(name));
    let folder = path::parent(&candidate.file);
    let parts: Vec<&str> = folder
        .split('/')
        .filter(|part| !matches!(*part, ".") && *part != last)
        .collect();
    let deepest_first = (0..parts.len()).rev();
    deepest_first
        .map(|start| format!("{}-{last}", parts[start..].join("-")))
        .collect()
}

/// Sets the paths: `git.path` is the deepest folder that contains both context and Dockerfile.
fn layout(service: &mut DraftService, candidate: &ImageCandidate) {
    let folder = path::common(&candidate.context, path::parent(&candidate.file));
    let from = |path: &str| path::below(path, &folder).unwrap_or_else(|| path.to_owned());
    let file = from(&candidate.file);
    let context = from(&candidate.context);
    service.file = (file != "Dockerfile").then_some(file);
    service.context = (context != ".").then_some(context);
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match &candidate.target {
        Some(target)
            if !target.starts_with(|c: char| c.is_ascii_alphanumeric())
                || !target.chars().all(is_part) =>
        {
            let todo = format!("`{target}` is not a valid stage name and was omitted");
            service.todo(DraftKey::File, todo);
        }
        target => service.target = target.clone(),
    }
    let is_whole = folder == ".";
    service.path = (!is_whole).then_some(folder);
}

/// Moves working copies that contain others to another folder: they must not be nested.
fn separate(services: &mut [DraftService]) {
    let dirs: BTreeSet<String> = services.iter().map(|service| service.dir.clone()).collect();
    for outer in &dirs {
        let mut inside = dirs
            .iter()
            .filter(|inner| *inner != outer && path::below(inner, outer).is_some());
        let Some(inner) = inside.next() else { continue };
        let name = match outer.as_str() {
            "." => services
                .iter()
                .find(|service| service.dir == "." && service.path.is_none())
                .map_or_else(|| "platform".to_owned(), |service| service.name.clone()),
            outer => path::last(outer).to_owned(),
        };
        let is_free = |dir: &String| {
            let mut others = dirs.iter().filter(|other| *other != outer);
            others
                .all(|other| path::below(other, dir).is_none() && path::below(dir, other).is_none())
        };
        let mut candidates = std::iter::once(format!("src/{name}"))
            .chain((2..).map(|number| format!("src-{number}/{name}")));
        let Some(dir) = candidates.find(is_free) else {
            continue;
        };
        for service in services.iter_mut().filter(|service| service.dir == *outer) {
            service.dir = dir.clone();
            service.remark(
                DraftKey::Dir,
                format!("a separate working copy, because the one here contains {inner}"),
            );
        }
    }
}
