//! Dockerfiles that no tool file builds.

use std::collections::{BTreeMap, BTreeSet};

use super::super::folder::Repository;
use super::super::services::ImageCandidate;
use super::super::source_repo::SourceRepo;
use super::super::{ReadFile, path};
use super::Collected;
use crate::base::plural::abbreviated;
use crate::model::dockerfile::{self, DockerfileName};
use crate::model::init::source_repo;

/// The maximum number of files named in one line.
const SHOWN_FILES: usize = 4;

/// Folders whose Dockerfiles are unlikely to be services.
const UNLIKELY_FOLDERS: &[&str] = &[
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

/// Dockerfile suffixes that are unlikely to be services.
const UNLIKELY_VARIANTS: &[&str] = &[
    "ci",
    "debug",
    "dev",
    "development",
    "local",
    "test",
    "tests",
];

impl<'f> Collected<'f> {
    /// Adds the Dockerfiles of repositories that no tool file builds from.
    pub fn dockerfiles(&mut self, read: &ReadFile<'_>) {
        let built: BTreeSet<usize> = self.candidates.iter().map(|known| known.repo).collect();
        let first = self.first_of_each_remote();
        for index in 0..self.repos.len() {
            let repo = self.repos[index].clone();
            if !repo.is_wanted {
                continue;
            }
            if let Some(other) = repo
                .url()
                .and_then(|url| first.get(&source_repo::normalized(url)))
                && *other != repo.dir
                && !built.contains(&index)
            {
                let why = format!("another working copy of the same repository as {other}");
                self.skip(false, repo.dir, why);
                continue;
            }
            if built.contains(&index) {
                self.unbuilt_dockerfiles(index, &repo);
            } else {
                self.dockerfiles_of(index, &repo, read);
            }
        }
    }

    /// Returns the working copy to use for each remote: the one named after the remote, as `git clone`
    /// does by default, else the first.
    fn first_of_each_remote(&self) -> BTreeMap<String, String> {
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for repo in self.repos.iter().filter(|repo| repo.is_wanted) {
            let Some(url) = repo.url().map(source_repo::normalized) else {
                continue;
            };
            let has_its_name = |dir: &str| path::last(dir) == path::last(&url);
            match first.get_mut(&url) {
                Some(known) if !has_its_name(known) && has_its_name(&repo.dir) => {
                    known.clone_from(&repo.dir);
                }
                Some(_) => {}
                None => _ = first.insert(url.clone(), repo.dir.clone()),
            }
        }
        first
    }

    fn dockerfiles_of(&mut self, index: usize, repo: &SourceRepo<'f>, read: &ReadFile<'_>) {
        let shown = repo.shown(&self.folder.name);
        let Some(local) = repo.local else {
            let file = "Dockerfile".to_owned();
            let names = vec![repo.name(&self.folder.name)];
            self.candidates.push(ImageCandidate::from_dockerfile(
                index,
                ".".to_owned(),
                file,
                names,
            ));
            return;
        };
        if !local.has_commit {
            let why = "it has no commits yet";
            return self.skip(true, shown, why);
        }
        let Some(files) = &local.files else {
            let why = "it has too many files to search for a Dockerfile: add the service manually";
            return self.skip(true, shown, why);
        };
        let all: Vec<&String> = files
            .iter()
            .filter(|file| dockerfile::is_dockerfile(file) && path::join(".", file).is_some())
            .filter(|file| !is_shadowed(local, file))
            .filter(|file| !is_of_a_builder(repo, file))
            .collect();
        let (mut taken, unlikely): (Vec<&String>, Vec<&String>) =
            all.into_iter().partition(|file| is_of_a_service(file));
        // An unlikely Dockerfile is better than none.
        if taken.is_empty() {
            taken.extend(unlikely.iter().copied().filter(|file| !file.contains('/')));
        }
        if taken.is_empty() {
            let why = match (local.new_dockerfiles.first(), unlikely.as_slice()) {
                (Some(new), _) => format!(
                    "{new} is not in the commit to be built: commit and push it, then run `xp init --force`"
                ),
                (None, []) => "it has no Dockerfile".to_owned(),
                (None, unlikely) => format!(
                    "its only Dockerfiles are {}, which do not look like services",
                    abbreviated(unlikely, SHOWN_FILES)
                ),
            };
            // The platform's own repository usually has none.
            let todo = !local.new_dockerfiles.is_empty();
            if repo.dir != "." || todo {
                self.skip(todo, shown, why);
            }
            return;
        }
        let is_alone = taken.len() == 1;
        let repository = repo.name(&self.folder.name);
        for file in taken {
            let context = context_of(local, repo, file, read);
            let names = names_of(file, &repository, is_alone);
            self.candidates.push(ImageCandidate::from_dockerfile(
                index,
                context,
                file.clone(),
                names,
            ));
        }
        if !unlikely.is_empty() && repo.dir != "." {
            let why = "probably not a service";
            self.skip(
                false,
                format!("{} in {shown}", abbreviated(&unlikely, SHOWN_FILES)),
                why,
            );
        }
    }

    /// Reports the Dockerfiles that no tool file builds, in a repository that tool files build from.
    fn unbuilt_dockerfiles(&mut self, index: usize, repo: &SourceRepo<'f>) {
        let Some(files) = repo.local.and_then(|local| local.files.as_ref()) else {
            return;
        };
        let is_built = |file: &str| {
            let mut known = self.candidates.iter();
            known.any(|known| known.repo == index && known.file == file)
        };
        let left: Vec<&String> = files
            .iter()
            .filter(|file| dockerfile::is_dockerfile(file) && is_of_a_service(file))
            .filter(|file| !is_built(file) && !is_of_a_builder(repo, file))
            .collect();
        if !left.is_empty() {
            let what = format!(
                "{} in {}",
                abbreviated(&left, SHOWN_FILES),
                repo.shown(&self.folder.name)
            );
            self.skip(false, what, "no tool file builds it");
        }
    }
}

/// Returns whether a Dockerfile belongs to a builder image of the platform.
fn is_of_a_builder(repo: &SourceRepo<'_>, file: &str) -> bool {
    repo.dir == "." && file.starts_with("builders/")
}

fn is_of_a_service(file: &str) -> bool {
    let is_unlikely = path::parent(file)
        .split('/')
        .any(|part| UNLIKELY_FOLDERS.contains(&part));
    let is_variant = match dockerfile::file_name(path::last(file)) {
        Some(DockerfileName::Variant(variant)) => UNLIKELY_VARIANTS.contains(&variant),
        _ => false,
    };
    !is_unlikely && !is_variant
}

/// Returns the context of a Dockerfile: its own folder, unless the files it copies exist only at the root.
fn context_of(
    local: &Repository,
    repo: &SourceRepo<'_>,
    file: &str,
    read: &ReadFile<'_>,
) -> String {
    let own = path::parent(file).to_owned();
    let text = path::join(&repo.dir, file).and_then(|path| read(&path).ok().flatten());
    let inputs = text
        .map(|text| dockerfile::inputs(&text))
        .unwrap_or_default();
    let missing = |context: &str| {
        let copied = inputs.copied.iter();
        let paths = copied.filter_map(|copied| path::join(context, copied));
        paths.filter(|path| !local.holds(path)).count()
    };
    if missing(&own) > missing(".") {
        ".".to_owned()
    } else {
        own
    }
}

/// Returns candidate names for the service of a Dockerfile, best first.
fn names_of(file: &str, repository: &str, is_alone: bool) -> Vec<String> {
    let folder = match path::parent(file) {
        "." => None,
        folder => {
            // Too generic for a name.
            const GENERIC: [&str; 8] = [
                "build",
                "ci",
                "container",
                "deploy",
                "docker",
                ".docker",
                "image",
                "src",
            ];
            let specific = folder.rsplit('/').find(|part| !GENERIC.contains(part));
            specific.map(str::to_owned)
        }
    };
    let variant = match dockerfile::file_name(path::last(file)) {
        Some(DockerfileName::Variant(variant)) => Some(variant.to_owned()),
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

/// Returns whether a `dockerfile` is next to a `Dockerfile`, which `docker build` prefers.
fn is_shadowed(local: &Repository, file: &str) -> bool {
    let Some(folder) = file.strip_suffix("dockerfile") else {
        return false;
    };
    let is_whole_name = folder.is_empty() || folder.ends_with('/');
    is_whole_name && local.holds(&format!("{folder}Dockerfile"))
}
