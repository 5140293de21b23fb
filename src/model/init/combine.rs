//! Combines the repositories and builds of all sources into one draft.

mod dockerfile_names;
mod dockerfiles;
mod unlikely;

use std::collections::BTreeSet;

use super::build::{Build, BuildContext};
use super::draft::{ManifestDraft, Skipped};
use super::folder::{PlatformFolder, Repository};
use super::secret::without_logins;
use super::services::{ImageCandidate, services};
use super::source_repo::{SourceRepo, same_remote};
use super::sources::ToolFile;
use super::{
    InitError, InitOptions, ListFiles, ReadFile, compose, gitmodules, path, repo_manifest,
    skaffold, west,
};
use crate::model::manifest::ManifestError;
use crate::model::manifest::select::choose;

/// The repositories and builds collected so far.
pub(super) struct Collected<'f> {
    pub folder: &'f PlatformFolder,
    /// The folder to take services from.
    pub below: &'f str,
    pub repos: Vec<SourceRepo<'f>>,
    pub candidates: Vec<ImageCandidate>,
    pub skipped: Vec<Skipped>,
}

/// Drafts a manifest for a folder.
pub(super) fn combine<'f>(
    folder: &'f PlatformFolder,
    options: &'f InitOptions,
    read: &ReadFile<'_>,
    list: &ListFiles<'_>,
) -> Result<ManifestDraft, InitError> {
    let mut collected = Collected {
        folder,
        below: if options.below.is_empty() {
            "."
        } else {
            &options.below
        },
        repos: Vec::new(),
        candidates: Vec::new(),
        skipped: Vec::new(),
    };
    for source in options
        .sources
        .iter()
        .filter(|source| source.lists_repositories())
    {
        let result = collected.repositories_of(source, read, list);
        collected.tolerate(source, options, result)?;
    }
    for repository in &folder.repositories {
        let (dir, below) = (&repository.dir, collected.below);
        if path::below(dir, below).is_none() && path::below(below, dir).is_none() {
            continue;
        }
        if collected
            .repos
            .iter()
            .all(|repo| repo.dir != repository.dir)
        {
            let mut repo = SourceRepo::local(repository);
            repo.is_wanted = options.all_repositories;
            collected.repos.push(repo);
        }
    }
    for source in &options.sources {
        let result = collected.builds_of(source, read);
        collected.tolerate(source, options, result)?;
    }
    collected.dockerfiles(read);
    for (dir, why) in &folder.unreadable {
        collected.skip(true, dir.clone(), why.clone());
    }
    let mut draft = services(&mut collected, options, read);
    draft.sources = options
        .sources
        .iter()
        .map(|source| source.file().to_owned())
        .collect();
    if draft.services.is_empty() {
        return Err(no_services(&draft, folder));
    }
    select(&mut draft, &options.services)?;
    if draft
        .services
        .iter()
        .any(|it| !it.compose_services.is_empty())
    {
        let files = options.sources.iter().find_map(|source| match source {
            ToolFile::Compose(files) => Some(files.clone()),
            _ => None,
        });
        draft.compose = files.unwrap_or_default();
    }
    Ok(draft)
}

impl<'f> Collected<'f> {
    pub fn skip(&mut self, todo: bool, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        self.skipped.push(Skipped { what, why, todo });
    }

    /// Reports an invalid source among several, so that it does not stop the others.
    fn tolerate(
        &mut self,
        source: &ToolFile,
        options: &InitOptions,
        result: Result<(), ManifestError>,
    ) -> Result<(), ManifestError> {
        match result {
            Err(error) if options.sources.len() > 1 => {
                let why = match error.path() == source.file() {
                    true => super::one_line(&error),
                    false => format!("{}: {}", error.path(), super::one_line(&error)),
                };
                self.skip(true, source.file(), why);
                Ok(())
            }
            other => other,
        }
    }

    /// Adds the builds of a file.
    fn builds_of(&mut self, source: &ToolFile, read: &ReadFile<'_>) -> Result<(), ManifestError> {
        let not_converted = |key: &str| format!("`{key}` was not converted");
        let builds = match source {
            ToolFile::Compose(files) => {
                let composed = compose::read(files, &self.folder.name, read)?;
                for (name, image) in composed.image_only {
                    let image = image.replace(super::interpolation::UNSET, "…");
                    self.skip(
                        false,
                        name,
                        format!("compose runs the image {image} and does not build it"),
                    );
                }
                for key in composed.unknown {
                    self.skip(true, source.file(), not_converted(&key));
                }
                composed.builds
            }
            ToolFile::Skaffold(file) => {
                let found = skaffold::read(file, read)?;
                for (file, key) in found.unknown {
                    self.skip(true, file, not_converted(&key));
                }
                found.builds
            }
            _ => return Ok(()),
        };
        let is_compose = matches!(source, ToolFile::Compose(_));
        for build in builds {
            self.build(build, is_compose);
        }
        Ok(())
    }

    /// Adds the repositories that a file lists.
    fn repositories_of(
        &mut self,
        source: &ToolFile,
        read: &ReadFile<'_>,
        list: &ListFiles<'_>,
    ) -> Result<(), ManifestError> {
        let projects = match source {
            ToolFile::Submodules(file) => {
                let parent = self.folder.repository(path::parent(file));
                let base = parent.and_then(|parent| parent.remote.as_ref());
                let branch = parent.and_then(Repository::branch_to_build);
                gitmodules::read(file, read, base, branch)?
            }
            ToolFile::West { file, folder } => west::read(file, folder, read, list)?,
            ToolFile::Repo { file, folder } => {
                let own = self.folder.repository(folder);
                let base = own
                    .and_then(|own| own.remote.as_ref())
                    .or(self.folder.repo_remote.as_ref());
                repo_manifest::read(file, read, folder, base.map(|base| base.expose()))?
            }
            ToolFile::Compose(_) | ToolFile::Skaffold(_) => return Ok(()),
        };
        for project in projects.projects {
            if self.repos.iter().all(|repo| repo.dir != project.dir) {
                let local = self.folder.repository(&project.dir);
                self.repos.push(SourceRepo::of_project(project, local));
            }
        }
        for (what, why) in projects.skipped {
            self.skip(false, what, why);
        }
        for (what, why) in projects.failed {
            self.skip(true, what, why);
        }
        Ok(())
    }

    /// Adds an image build of a tool file.
    fn build(&mut self, build: Build, is_compose: bool) {
        let name = build.name.clone();
        let compose_services = if is_compose {
            vec![name.clone()]
        } else {
            Vec::new()
        };
        let (repo, context) = match &build.context {
            BuildContext::None(why) => return self.skip(true, name, why.clone()),
            BuildContext::Folder(folder) => match self.repo_containing(folder) {
                Some(found) => found,
                None => return self.skip(true, name, self.no_repository(folder)),
            },
            BuildContext::Git {
                remote,
                reference,
                path,
            } => (
                self.repo_with_remote(remote, reference.clone()),
                path.clone(),
            ),
        };
        let local = self.repos[repo].local;
        if local.is_some_and(|local| !local.has_commit) {
            let why = format!(
                "{} has no commits yet",
                self.repos[repo].shown(&self.folder.name)
            );
            return self.skip(true, name, why);
        }
        let has = |name: &str| {
            let path = path::join(&context, name);
            path.is_some_and(|path| local.is_some_and(|local| local.holds(&path)))
        };
        // The default of `docker build`.
        let usual = if !has("Dockerfile") && has("dockerfile") {
            "dockerfile"
        } else {
            "Dockerfile"
        };
        let written = build.dockerfile.as_deref().unwrap_or(usual);
        let Some(file) = path::join(&context, written) else {
            let why = format!("its Dockerfile, {written}, is outside its git repository");
            return self.skip(true, name, why);
        };
        let dir = self.repos[repo].dir.clone();
        let is_missing = |local: &Repository| !local.holds(&context);
        if self.repos[repo].local.is_some_and(is_missing) {
            let why = format!(
                "its folder, {context} in {dir}, is not in the commit to be built: commit and push it"
            );
            return self.skip(true, name, why);
        }
        let candidate = ImageCandidate {
            repo,
            context,
            file,
            target: build.target.clone(),
            names: vec![name],
            build: Some(build),
            same: Vec::new(),
            compose_services,
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

    /// Returns why a folder has no repository.
    fn no_repository(&self, folder: &str) -> String {
        let mut unreadable = self.folder.unreadable.iter();
        if let Some((dir, _)) = unreadable.find(|(dir, _)| path::below(folder, dir).is_some()) {
            return format!("its folder, {folder}, is in {dir}, which could not be read");
        }
        match &self.folder.enclosing {
            Some(top) => format!(
                "its folder, {folder}, is in the git repository at {top}, which must be in the manifest's folder: \
                 run `xp init -C {top}`"
            ),
            None => format!(
                "its folder, {folder}, is not in a git repository, and xp builds from commits only: run `git init` \
                 and commit"
            ),
        }
    }

    /// Returns the repository containing a folder, and the folder's path in it.
    fn repo_containing(&self, folder: &str) -> Option<(usize, String)> {
        let repos = self.repos.iter().enumerate();
        let parent =
            repos.filter_map(|(index, repo)| Some((index, repo, path::below(folder, &repo.dir)?)));
        let (index, _, below) = parent.max_by_key(|(_, repo, _)| match repo.dir.as_str() {
            "." => 0,
            dir => dir.len(),
        })?;
        Some((index, below))
    }

    /// Returns the repository with a remote, adding one if no source has mentioned it.
    fn repo_with_remote(&mut self, remote: &str, reference: Option<String>) -> usize {
        let known = self
            .repos
            .iter()
            .position(|repo| repo.url().is_some_and(|url| same_remote(url, remote)));
        known.unwrap_or_else(|| {
            let last = path::last(remote.trim_end_matches('/'));
            let last = last.rsplit(':').next().unwrap_or(last);
            let name = last.strip_suffix(".git").unwrap_or(last);
            let dir = format!(
                "src/{}",
                super::names::service_name(name).unwrap_or_else(|| "source".to_owned())
            );
            self.repos
                .push(SourceRepo::remote_only(dir, remote, reference));
            self.repos.len() - 1
        })
    }
}

/// Keeps the requested services and their dependencies.
fn select(draft: &mut ManifestDraft, patterns: &[String]) -> Result<(), InitError> {
    if patterns.is_empty() {
        return Ok(());
    }
    let names = draft.services.iter().map(|service| service.name.as_str());
    let chosen = choose(names, patterns)?;
    let mut kept: BTreeSet<String> = chosen.into_iter().map(str::to_owned).collect();
    let mut queue: Vec<String> = kept.iter().cloned().collect();
    while let Some(name) = queue.pop() {
        let service = draft.services.iter().find(|service| service.name == name);
        let needs = service
            .map(|service| service.all_needs())
            .unwrap_or_default();
        queue.extend(needs.into_iter().filter(|need| kept.insert(need.clone())));
    }
    draft
        .services
        .retain(|service| kept.contains(&service.name));
    Ok(())
}

fn no_services(draft: &ManifestDraft, folder: &PlatformFolder) -> InitError {
    let mut hints =
        vec!["a service is a git repository, or a folder in one, with a Dockerfile".to_owned()];
    if draft.skipped.is_empty() {
        hints.push(
            "run `xp init` in the folder that contains the working copies, or pass that folder with `-C`"
                .to_owned(),
        );
    }
    let message = if draft.skipped.is_empty() {
        format!(
            "found nothing in {} to generate a manifest from",
            folder.name
        )
    } else {
        let reasons = draft.skipped.iter();
        let reasons: Vec<String> = reasons
            .map(|item| format!("\n  {}: {}", item.what, without_logins(&item.why)))
            .collect();
        format!("found no services in {}:{}", folder.name, reasons.concat())
    };
    InitError::Nothing { message, hints }
}
