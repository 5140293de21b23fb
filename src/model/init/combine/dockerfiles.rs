//! Dockerfiles that no tool file builds.

use std::collections::{BTreeMap, BTreeSet};

use super::super::folder::Repository;
use super::super::services::ImageCandidate;
use super::super::source_repo::SourceRepo;
use super::super::{ReadFile, path};
use super::Collected;
use super::dockerfile_names::{names_of, qualified};
use super::unlikely::{is_generated, is_of_a_service};
use crate::base::plural::abbreviated;
use crate::model::dockerfile;
use crate::model::init::source_repo;

/// The maximum number of files named in one line.
const SHOWN_FILES: usize = 4;

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
                self.unbuilt_dockerfiles(index, &repo, read);
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
            // The folder of the platform often becomes a repository only later.
            let is_own = repo.dir == "." && self.repos.len() > 1;
            return self.skip(!is_own, shown, "it has no commits yet");
        }
        let Some(files) = &local.files else {
            let why = "it has too many files to search for a Dockerfile: add the service manually";
            return self.skip(true, shown, why);
        };
        let all: Vec<&String> = files
            .iter()
            .filter(|file| dockerfile::is_dockerfile(file) && path::join(".", file).is_some())
            .filter(|file| self.is_below(repo, file))
            .filter(|file| !is_shadowed(local, file))
            .filter(|file| !is_of_a_builder(repo, file))
            .collect();
        let (mut taken, unlikely): (Vec<&String>, Vec<&String>) = all
            .into_iter()
            .partition(|file| is_of_a_service(file) && !is_generated(repo, file, read));
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
        let names: Vec<Vec<String>> = taken
            .iter()
            .map(|file| names_of(file, &repository, is_alone))
            .collect();
        for (file, names_of_file) in taken.iter().zip(&names) {
            let context = context_of(local, repo, file, read);
            let is_shared = |names: &&Vec<String>| names.first() == names_of_file.first();
            let mut names_of_file = names_of_file.clone();
            // The folders tell apart Dockerfiles in folders of the same name.
            if names.iter().filter(is_shared).count() > 1 {
                names_of_file = qualified(file, &names_of_file, &taken);
            }
            let names = names_of_file;
            self.candidates.push(ImageCandidate::from_dockerfile(
                index,
                context,
                (*file).clone(),
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
    fn unbuilt_dockerfiles(&mut self, index: usize, repo: &SourceRepo<'f>, read: &ReadFile<'_>) {
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
            .filter(|file| self.is_below(repo, file) && !is_generated(repo, file, read))
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

impl Collected<'_> {
    /// Returns whether a file is in the folder to take services from.
    fn is_below(&self, repo: &SourceRepo<'_>, file: &str) -> bool {
        let path = path::join(&repo.dir, file);
        path.is_some_and(|path| path::below(&path, self.below).is_some())
    }
}

/// Returns whether a Dockerfile belongs to a builder image of the platform.
fn is_of_a_builder(repo: &SourceRepo<'_>, file: &str) -> bool {
    repo.dir == "." && file.starts_with("builders/")
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

/// Returns whether a `dockerfile` is next to a `Dockerfile`, which `docker build` prefers.
fn is_shadowed(local: &Repository, file: &str) -> bool {
    let Some(folder) = file.strip_suffix("dockerfile") else {
        return false;
    };
    let is_whole_name = folder.is_empty() || folder.ends_with('/');
    is_whole_name && local.holds(&format!("{folder}Dockerfile"))
}
