//! Finds the Dockerfiles of a source to suggest if the manifest's Dockerfile does not exist.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::base::plural::abbreviated;
use crate::model::dockerfile::is_dockerfile;
use crate::model::manifest::SourcePath;
use crate::model::plan::ImageStep;

/// How many Dockerfiles a hint names.
const SHOWN: usize = 5;

/// How many files and folders are searched.
const SEARCHED: usize = 20_000;

/// Returns a hint for a Dockerfile that does not exist.
pub fn hint(step: &ImageStep) -> String {
    let found = find(&step.root);
    let settings: Vec<SourcePath> = found
        .iter()
        .map(|file| SourcePath::of(&step.root, &step.folder, file))
        .collect();
    match settings.as_slice() {
        [] if step.root == step.folder => "`docker.file` names the Dockerfile".to_owned(),
        [] => "`docker.file` names the Dockerfile; of a shared repository, only `git.path` and `git.include` are exported"
            .to_owned(),
        [one] => format!("did you mean `docker.file: {one}`?"),
        several => format!(
            "`docker.file` can be {}",
            abbreviated(several, SHOWN)
        ),
    }
}

/// Returns the Dockerfiles in a folder, starting with those at the top.
fn find(root: &Path) -> Vec<PathBuf> {
    let is_searched = |entry: &walkdir::DirEntry| {
        let name = entry.file_name();
        name != ".git" && name != ".xp" && name != "node_modules"
    };
    let entries = WalkDir::new(root).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(is_searched).take(SEARCHED).flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| {
            entry.file_type().is_file() && is_dockerfile(&entry.file_name().to_string_lossy())
        })
        .map(walkdir::DirEntry::into_path)
        .collect();
    found.sort_by_key(|path| path.components().count());
    found
}
