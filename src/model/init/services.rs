//! Turns build candidates into draft services.

mod connect;
mod images;

use std::collections::BTreeSet;

use super::build::{Build, repository_of};
use super::combine::Collected;
use super::draft::{DraftKey, DraftScripts, DraftService, ManifestDraft, Skipped};
use super::names::{distinct, service_name};
use super::source_repo::SourceRepo;
use super::{InitOptions, ReadFile, path, toolchain};
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
        own.image = own.image.take().or(theirs.image);
        for (name, value) in theirs.args {
            if own.args.iter().all(|(known, _)| *known != name) {
                own.args.push((name, value));
            }
        }
        own.needs.extend(theirs.needs);
    }
}

/// A draft service with its candidate.
struct CandidateService {
    candidate: ImageCandidate,
    service: DraftService,
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
    let mut skipped: Vec<Skipped> = std::mem::take(&mut collected.skipped);
    skipped.sort_by(|one, other| (one.todo, &one.what).cmp(&(other.todo, &other.what)));
    skipped.dedup();
    ManifestDraft {
        sources: Vec::new(),
        registry,
        services,
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
        ..DraftService::default()
    };
    repo.fill(&mut service)
        .map_err(|why| (first.clone(), why))?;
    let repository = repo.name(&collected.folder.name);
    let mut names = candidate.names.clone();
    names.push(format!("{repository}-{}", path::last(&first)));
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
    layout(&mut service, &candidate, repo);
    let text = path::join(&repo.dir, &candidate.file).and_then(|path| read(&path).ok().flatten());
    let inputs = match (text, repo.local) {
        (Some(text), _) => dockerfile::inputs(&text),
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
    if let Some(local) = repo.local
        && !local.holds(&candidate.file)
    {
        let todo = format!(
            "{} is not in the commit to be built: commit and push it",
            candidate.file
        );
        service.todo(DraftKey::File, todo);
    }
    for todo in candidate.build.iter().flat_map(|build| &build.todos) {
        service.todo(DraftKey::File, todo);
    }
    scripts(&mut service, &candidate, repo, &inputs, read);
    Ok(CandidateService {
        candidate,
        service,
        inputs,
    })
}

/// Sets the paths: `git.path` is the deepest folder that contains both context and Dockerfile.
fn layout(service: &mut DraftService, candidate: &ImageCandidate, repo: &SourceRepo<'_>) {
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
    let folder = path::parent(&candidate.file);
    let has_others = || {
        let files = repo.local.and_then(|local| local.files.as_ref());
        let mut files = files.into_iter().flatten();
        files.any(|file| path::below(file, folder).is_some() && !dockerfile::is_dockerfile(file))
    };
    if is_whole && folder != "." && candidate.context == "." && has_others() {
        service.remark(
            DraftKey::Reference,
            format!(
                "its image is built from the whole repository, so every commit rebuilds it; set `path: {folder}`, and \
                 `include` for other inputs, to rebuild it less often"
            ),
        );
    }
}

/// Suggests scripts if the Dockerfile copies files that are not in the commit, or if a builder exists.
fn scripts(
    service: &mut DraftService,
    candidate: &ImageCandidate,
    repo: &SourceRepo<'_>,
    inputs: &DockerfileInputs,
    read: &ReadFile<'_>,
) {
    let Some(local) = repo.local else { return };
    let is_missing = |copied: &&String| {
        let path = path::join(&candidate.context, copied);
        path.is_some_and(|path| !local.holds(&path))
    };
    let missing: Vec<&String> = inputs.copied.iter().filter(is_missing).collect();
    let builder = format!("builders/{}", service.name);
    let has = |name: &str| matches!(read(&format!("{builder}/{name}")), Ok(Some(_)));
    let builder_exists = has("Dockerfile") || has("dockerfile");
    if missing.is_empty() && !builder_exists {
        return;
    }
    let folder = service.path.as_deref().unwrap_or(".");
    let (guess, detected_by) = match path::join(&repo.dir, folder) {
        Some(folder) => toolchain::guess(&folder, read),
        None => (DraftScripts::default(), None),
    };
    let by = detected_by.map_or_else(String::new, |file| format!(", guessed from its {file}"));
    let scripts = DraftScripts {
        builder_exists: builder_exists && !guess.build.is_empty(),
        builder,
        ..guess
    };
    if let Some(copied) = missing.first() {
        let advice = if scripts.builder_exists {
            format!("these scripts must create it{by}")
        } else {
            format!(
                "scripts must create it. To use these{by}, add a Dockerfile with the toolchain to {} and remove \
                 each `#`",
                scripts.builder
            )
        };
        service.todo(
            DraftKey::Scripts,
            format!("the Dockerfile copies {copied}, which is not in the commit: {advice}"),
        );
    } else if scripts.builder_exists {
        service.todo(DraftKey::Scripts, format!("check these scripts{by}"));
    } else {
        return;
    }
    let scripts = if scripts.build.is_empty() {
        DraftScripts {
            build: vec!["make build".to_owned()],
            ..scripts
        }
    } else {
        scripts
    };
    service.scripts = Some(scripts);
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
