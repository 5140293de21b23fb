//! Repositories and builds from everywhere, to one draft.

mod dockerfiles;

use std::collections::BTreeSet;

use super::build::{Build, Context};
use super::draft::{Draft, LeftOut};
use super::place::{Place, same_remote};
use super::repository::{Folder, Repository};
use super::secret::without_logins;
use super::services::{Candidate, services};
use super::sources::Source;
use super::{InitError, Read, Wishes, compose, gitmodules, path, repo, skaffold, west};
use crate::manifest::ManifestError;
use crate::manifest::select::choose;

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
        let local = self.places[place].local;
        let has = |name: &str| {
            let path = path::join(&context, name);
            path.is_some_and(|path| local.is_some_and(|local| local.holds(&path)))
        };
        // As `docker build` chooses where none is named.
        let usual = match !has("Dockerfile") && has("dockerfile") {
            true => "dockerfile",
            false => "Dockerfile",
        };
        let written = build.dockerfile.as_deref().unwrap_or(usual);
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
                .map(|left| format!("\n  {}: {}", left.what, without_logins(&left.why)))
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
