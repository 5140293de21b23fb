//! The Dockerfiles of repositories that no file of another tool builds from.

use std::collections::{BTreeMap, BTreeSet};

use super::super::dockerfile::{self, FileName};
use super::super::place::{self, Place};
use super::super::repository::Repository;
use super::super::services::Candidate;
use super::super::{Read, path};
use super::Found;

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

impl<'f> Found<'f> {
    /// Takes the Dockerfiles of repositories that no file builds from.
    pub fn dockerfiles(&mut self, read: &Read<'_>) {
        let built: BTreeSet<usize> = self.candidates.iter().map(|known| known.place).collect();
        let first = self.first_of_each_remote();
        for index in 0..self.places.len() {
            let place = self.places[index].clone();
            if !place.is_wanted {
                continue;
            }
            if let Some(other) = place.url().and_then(|url| first.get(&place::normal(url)))
                && *other != place.dir
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

    /// Returns the working copy that stands for each remote: the one that is called as its remote is,
    /// as a clone is by itself, else the first.
    fn first_of_each_remote(&self) -> BTreeMap<String, String> {
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for place in self.places.iter().filter(|place| place.is_wanted) {
            let Some(url) = place.url().map(place::normal) else {
                continue;
            };
            let is_called_so = |dir: &str| path::last(dir) == path::last(&url);
            match first.get_mut(&url) {
                Some(known) if !is_called_so(known) && is_called_so(&place.dir) => {
                    known.clone_from(&place.dir);
                }
                Some(_) => {}
                None => _ = first.insert(url.clone(), place.dir.clone()),
            }
        }
        first
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
            .filter(|file| dockerfile::is_dockerfile(file) && path::join(".", file).is_some())
            .filter(|file| !is_shadowed(local, file))
            .filter(|file| !is_of_a_builder(place, file))
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
            .filter(|file| !is_built(file) && !is_of_a_builder(place, file))
            .collect();
        if !left.is_empty() {
            let what = format!("{} of {}", some(&left), place.shown(&self.folder.name));
            self.leave_out(false, what, "no file here builds it");
        }
    }
}

/// Tells whether a Dockerfile is that of a builder image of the platform.
fn is_of_a_builder(place: &Place<'_>, file: &str) -> bool {
    place.dir == "." && file.starts_with("builders/")
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
/// Returns whether a `dockerfile` stands beside a `Dockerfile`, which `docker build` then prefers.
fn is_shadowed(local: &Repository, file: &str) -> bool {
    let Some(folder) = file.strip_suffix("dockerfile") else {
        return false;
    };
    let is_whole_name = folder.is_empty() || folder.ends_with('/');
    is_whole_name && local.holds(&format!("{folder}Dockerfile"))
}
