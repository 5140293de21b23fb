//! Repositories and builds from everywhere, to one draft.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{Build, Context};
use super::dockerfile::{self, FileName};
use super::draft::{Draft, LeftOut};
use super::place::{Place, same_remote};
use super::repository::{Folder, Repository};
use super::services::{Candidate, services};
use super::sources::Source;
use super::{InitError, Read, Wishes, compose, gitmodules, path, repo, skaffold, west};
use crate::manifest::ManifestError;
use crate::manifest::select::choose;

/// Folders whose Dockerfiles are most likely of no service.
const BESIDE: &[&str] = &[
    ".devcontainer",
    ".github",
    ".gitlab",
    "doc",
    "docs",
    "e2e",
    "example",
    "examples",
    "fixtures",
    "node_modules",
    "sample",
    "samples",
    "test",
    "testdata",
    "tests",
    "third_party",
    "vendor",
];

/// Variants of a Dockerfile that are most likely of no service.
const VARIANTS: &[&str] = &[
    "ci",
    "debug",
    "dev",
    "development",
    "local",
    "test",
    "tests",
];

/// What was found so far.
pub(super) struct Found<'f> {
    pub folder: &'f Folder,
    pub places: Vec<Place<'f>>,
    pub candidates: Vec<Candidate>,
    pub left_out: Vec<LeftOut>,
}

/// Makes a draft of a folder.
pub(super) fn combine(
    folder: &Folder,
    wishes: &Wishes,
    read: &Read<'_>,
) -> Result<Draft, InitError> {
    let mut found = Found {
        folder,
        places: Vec::new(),
        candidates: Vec::new(),
        left_out: Vec::new(),
    };
    for source in wishes
        .sources
        .iter()
        .filter(|source| source.lists_repositories())
    {
        found.repositories_of(source, read)?;
    }
    for repository in &folder.repositories {
        if found.places.iter().all(|place| place.dir != repository.dir) {
            let mut place = Place::local(repository);
            place.is_wanted = wishes.all_repositories;
            found.places.push(place);
        }
    }
    for source in &wishes.sources {
        let builds = match source {
            Source::Compose(files) => {
                let composed = compose::read(files, read)?;
                for (name, image) in composed.others {
                    let image = image.replace(super::interpolate::UNSET, "…");
                    found.leave_out(
                        false,
                        name,
                        format!("compose runs the image {image}, which somebody else builds"),
                    );
                }
                composed.builds
            }
            Source::Skaffold(file) => skaffold::read(file, read)?,
            _ => continue,
        };
        for build in builds {
            found.build(build);
        }
    }
    found.dockerfiles(read);
    for (dir, why) in &folder.unreadable {
        found.leave_out(true, dir.clone(), why.clone());
    }
    let mut draft = services(&mut found, wishes, read);
    draft.sources = wishes
        .sources
        .iter()
        .map(|source| source.file().to_owned())
        .collect();
    if draft.services.is_empty() {
        return Err(nothing(&draft, folder));
    }
    select(&mut draft, &wishes.services)?;
    Ok(draft)
}

impl<'f> Found<'f> {
    pub fn leave_out(&mut self, todo: bool, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        self.left_out.push(LeftOut { what, why, todo });
    }

    /// Takes the repositories that a file names.
    fn repositories_of(&mut self, source: &Source, read: &Read<'_>) -> Result<(), ManifestError> {
        let projects = match source {
            Source::Submodules(file) => {
                let around = self.folder.repository(path::parent(file));
                let base = around.and_then(|around| around.remote.as_ref());
                let branch = around.and_then(Repository::branch_to_build);
                gitmodules::read(file, read, base, branch)?
            }
            Source::West(file) => west::read(file, read)?,
            Source::Repo { file, folder } => {
                let own = self.folder.repository(folder);
                let base = own
                    .and_then(|own| own.remote.as_ref())
                    .or(self.folder.repo_remote.as_ref());
                repo::read(file, read, folder, base.map(|base| base.expose()))?
            }
            Source::Compose(_) | Source::Skaffold(_) => return Ok(()),
        };
        for project in projects.projects {
            if self.places.iter().all(|place| place.dir != project.dir) {
                let local = self.folder.repository(&project.dir);
                self.places.push(Place::of_project(project, local));
            }
        }
        for (what, why) in projects.left_out {
            self.leave_out(false, what, why);
        }
        Ok(())
    }

    /// Takes an image that a file says how to build.
    fn build(&mut self, build: Build) {
        let name = build.name.clone();
        let (place, context) = match &build.context {
            Context::None(why) => return self.leave_out(true, name, why.clone()),
            Context::Folder(folder) => match self.place_around(folder) {
                Some(found) => found,
                None => {
                    let why = format!(
                        "its folder, {folder}, is in no git repository: images are of commits, so make it one"
                    );
                    return self.leave_out(true, name, why);
                }
            },
            Context::Git {
                remote,
                reference,
                path,
            } => (self.place_at(remote, reference.clone()), path.clone()),
        };
        let written = build.dockerfile.as_deref().unwrap_or("Dockerfile");
        let Some(file) = path::join(&context, written) else {
            let why = format!("its Dockerfile, {written}, is not in the same git repository");
            return self.leave_out(true, name, why);
        };
        let dir = self.places[place].dir.clone();
        let is_missing = |local: &Repository| !local.holds(&context);
        if self.places[place].local.is_some_and(is_missing) {
            let why = format!(
                "its folder, {context} of {dir}, is not in the commit that would be built: commit and push it"
            );
            return self.leave_out(true, name, why);
        }
        let candidate = Candidate {
            place,
            context,
            file,
            target: build.target.clone(),
            names: vec![name],
            build: Some(build),
            same: Vec::new(),
        };
        let same = self
            .candidates
            .iter_mut()
            .find(|known| known.is_same(&candidate));
        match same {
            Some(known) => known.merge(candidate),
            None => self.candidates.push(candidate),
        }
    }

    /// Returns the repository that a folder is in, and the folder's path in it.
    fn place_around(&self, folder: &str) -> Option<(usize, String)> {
        let places = self.places.iter().enumerate();
        let around = places
            .filter_map(|(index, place)| Some((index, place, path::below(folder, &place.dir)?)));
        let (index, _, below) = around.max_by_key(|(_, place, _)| match place.dir.as_str() {
            "." => 0,
            dir => dir.len(),
        })?;
        Some((index, below))
    }

    /// Returns the repository of a remote, which may be one that nothing else speaks of.
    fn place_at(&mut self, remote: &str, reference: Option<String>) -> usize {
        let known = self
            .places
            .iter()
            .position(|place| place.url().is_some_and(|url| same_remote(url, remote)));
        known.unwrap_or_else(|| {
            let last = path::last(remote.trim_end_matches('/'));
            let last = last.rsplit(':').next().unwrap_or(last);
            let name = last.strip_suffix(".git").unwrap_or(last);
            let dir = format!(
                "src/{}",
                super::names::service_name(name).unwrap_or_else(|| "source".to_owned())
            );
            self.places.push(Place::remote_only(dir, remote, reference));
            self.places.len() - 1
        })
    }

    /// Takes the Dockerfiles of repositories that no file builds from.
    fn dockerfiles(&mut self, read: &Read<'_>) {
        let built: BTreeSet<usize> = self.candidates.iter().map(|known| known.place).collect();
        let mut by_remote: BTreeMap<String, String> = BTreeMap::new();
        for index in 0..self.places.len() {
            let place = self.places[index].clone();
            if !place.is_wanted {
                continue;
            }
            if let Some(url) = place.url()
                && let Some(other) = by_remote.insert(super::place::normal(url), place.dir.clone())
                && !built.contains(&index)
            {
                let why = format!("it is another working copy of what {other} is");
                self.leave_out(false, place.dir, why);
                continue;
            }
            if built.contains(&index) {
                self.leftovers(index, &place);
            } else {
                self.dockerfiles_of(index, &place, read);
            }
        }
    }

    fn dockerfiles_of(&mut self, index: usize, place: &Place<'f>, read: &Read<'_>) {
        let shown = place.shown(&self.folder.name);
        let Some(local) = place.local else {
            let file = "Dockerfile".to_owned();
            let names = vec![place.name(&self.folder.name)];
            self.candidates
                .push(Candidate::found(index, ".".to_owned(), file, names));
            return;
        };
        if !local.has_commit {
            let why = "it has no commit yet";
            return self.leave_out(true, shown, why);
        }
        let Some(files) = &local.files else {
            let why = "it has too many files to look for a Dockerfile: add the service by hand";
            return self.leave_out(true, shown, why);
        };
        let all: Vec<&String> = files
            .iter()
            .filter(|file| dockerfile::is_dockerfile(file))
            .filter(|file| !(place.dir == "." && file.starts_with("builders/")))
            .collect();
        let (mut taken, beside): (Vec<&String>, Vec<&String>) =
            all.into_iter().partition(|file| is_of_a_service(file));
        // Better the odd one than none.
        if taken.is_empty() {
            taken.extend(beside.iter().copied().filter(|file| !file.contains('/')));
        }
        if taken.is_empty() {
            let why = match (local.new_dockerfiles.first(), beside.as_slice()) {
                (Some(new), _) => format!(
                    "{new} is not in the commit that would be built: commit and push it, then run `xp init --force`"
                ),
                (None, []) => "it has no Dockerfile".to_owned(),
                (None, beside) => format!("its only Dockerfiles are {}", some(beside)),
            };
            // The platform's own repository most often has none.
            let todo = !local.new_dockerfiles.is_empty();
            if place.dir != "." || todo {
                self.leave_out(todo, shown, why);
            }
            return;
        }
        let is_alone = taken.len() == 1;
        let repository = place.name(&self.folder.name);
        for file in taken {
            let context = context_of(local, place, file, read);
            let names = names_of(file, &repository, is_alone);
            self.candidates
                .push(Candidate::found(index, context, file.clone(), names));
        }
        if !beside.is_empty() && place.dir != "." {
            let why = "they are most likely no services";
            self.leave_out(false, format!("{} of {shown}", some(&beside)), why);
        }
    }

    /// Tells of the Dockerfiles that no file builds, in a repository that files build from.
    fn leftovers(&mut self, index: usize, place: &Place<'f>) {
        let Some(files) = place.local.and_then(|local| local.files.as_ref()) else {
            return;
        };
        let is_built = |file: &str| {
            let mut known = self.candidates.iter();
            known.any(|known| known.place == index && known.file == file)
        };
        let left: Vec<&String> = files
            .iter()
            .filter(|file| dockerfile::is_dockerfile(file) && is_of_a_service(file))
            .filter(|file| !is_built(file) && !(place.dir == "." && file.starts_with("builders/")))
            .collect();
        if !left.is_empty() {
            let what = format!("{} of {}", some(&left), place.shown(&self.folder.name));
            self.leave_out(false, what, "no file here builds it");
        }
    }
}

fn is_of_a_service(file: &str) -> bool {
    let is_beside = path::parent(file)
        .split('/')
        .any(|part| BESIDE.contains(&part));
    let is_variant = match dockerfile::file_name(path::last(file)) {
        Some(FileName::Variant(variant)) => VARIANTS.contains(&variant),
        _ => false,
    };
    !is_beside && !is_variant
}

/// Returns the folder that a Dockerfile copies from: its own, unless what it copies is only at the top.
fn context_of(local: &Repository, place: &Place<'_>, file: &str, read: &Read<'_>) -> String {
    let own = path::parent(file).to_owned();
    let text = path::join(&place.dir, file).and_then(|path| read(&path).ok().flatten());
    let needs = text
        .map(|text| dockerfile::needs(&text))
        .unwrap_or_default();
    let missing = |context: &str| {
        let copied = needs.copied.iter();
        let paths = copied.filter_map(|copied| path::join(context, copied));
        paths.filter(|path| !local.holds(path)).count()
    };
    match missing(&own) > missing(".") {
        true => ".".to_owned(),
        false => own,
    }
}

/// Returns the names that suit the service of a Dockerfile, the best first.
fn names_of(file: &str, repository: &str, is_alone: bool) -> Vec<String> {
    let folder = match path::parent(file) {
        "." => None,
        folder => {
            // These say nothing of what is in them.
            const GENERAL: [&str; 8] = [
                "build",
                "ci",
                "container",
                "deploy",
                "docker",
                ".docker",
                "image",
                "src",
            ];
            let telling = folder.rsplit('/').find(|part| !GENERAL.contains(part));
            telling.map(str::to_owned)
        }
    };
    let variant = match dockerfile::file_name(path::last(file)) {
        Some(FileName::Variant(variant)) => Some(variant.to_owned()),
        _ => None,
    };
    let base = match (folder, is_alone) {
        (_, true) | (None, _) => repository.to_owned(),
        (Some(folder), false) => folder,
    };
    let name = match variant {
        Some(variant) if !is_alone => format!("{base}-{variant}"),
        _ => base.clone(),
    };
    vec![name.clone(), format!("{repository}-{name}")]
}

/// Returns some of the names, and how many more there are.
fn some(files: &[&String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = files.iter().take(SHOWN).map(|file| file.as_str()).collect();
    match files.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Keeps the services that were asked for, and those that they need.
fn select(draft: &mut Draft, patterns: &[String]) -> Result<(), InitError> {
    if patterns.is_empty() {
        return Ok(());
    }
    let names = draft.services.iter().map(|service| service.name.as_str());
    let chosen = choose(names, patterns)?;
    let mut kept: BTreeSet<String> = chosen.into_iter().map(str::to_owned).collect();
    let mut waiting: Vec<String> = kept.iter().cloned().collect();
    while let Some(name) = waiting.pop() {
        let service = draft.services.iter().find(|service| service.name == name);
        let needs = service
            .map(|service| service.all_needs())
            .unwrap_or_default();
        waiting.extend(needs.into_iter().filter(|need| kept.insert(need.clone())));
    }
    draft
        .services
        .retain(|service| kept.contains(&service.name));
    Ok(())
}

fn nothing(draft: &Draft, folder: &Folder) -> InitError {
    let mut hints =
        vec!["a service is a git repository, or a folder of one, with a Dockerfile".to_owned()];
    if draft.left_out.is_empty() {
        hints.push(
            "run `xp init` in the folder that holds the working copies, or name another by `-C`"
                .to_owned(),
        );
    }
    let message = match draft.left_out.is_empty() {
        true => format!("there is nothing in {} to make a manifest of", folder.name),
        false => {
            let reasons = draft.left_out.iter();
            let reasons: Vec<String> = reasons
                .map(|left| format!("\n  {}: {}", left.what, left.why))
                .collect();
            format!(
                "nothing in {} can become a service:{}",
                folder.name,
                reasons.concat()
            )
        }
    };
    InitError::Nothing { message, hints }
}
