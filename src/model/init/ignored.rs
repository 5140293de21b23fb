//! What git should ignore in the platform's folder.

use std::collections::BTreeSet;

use super::draft::ManifestDraft;
use super::folder::PlatformFolder;
use crate::model::manifest::DEFAULT_CACHE_DIR;

/// Returns the cache folder and the working copies of other repositories, with slashes at both ends as in
/// `.gitignore`. Submodules belong to the repository of the platform.
pub fn ignored_paths(draft: &ManifestDraft, folder: &PlatformFolder) -> Vec<String> {
    let own = folder.repository(".").and_then(|own| own.files.as_ref());
    let is_submodule = |dir: &str| own.is_some_and(|files| files.contains(&format!("{dir}/")));
    let dirs = draft.services.iter().map(|service| service.dir.as_str());
    let dirs: BTreeSet<&str> = dirs
        .filter(|dir| *dir != "." && !is_submodule(dir))
        .collect();
    let cache = DEFAULT_CACHE_DIR.trim_matches('/');
    std::iter::once(cache)
        .chain(dirs)
        .map(|dir| format!("/{dir}/"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::draft::DraftService;
    use super::super::folder::Repository;
    use super::*;

    #[test]
    fn working_copies_are_ignored_but_not_submodules() {
        let services = ["src/api", "src/api", "sub", "."].map(|dir| DraftService {
            dir: dir.to_owned(),
            ..DraftService::default()
        });
        let draft = ManifestDraft {
            services: services.into(),
            ..ManifestDraft::default()
        };
        let own = Repository {
            dir: ".".to_owned(),
            files: Some(["sub", "sub/"].map(str::to_owned).into()),
            ..Repository::default()
        };
        let folder = PlatformFolder {
            repositories: vec![own],
            ..PlatformFolder::default()
        };
        assert_eq!(ignored_paths(&draft, &folder), ["/.xp/", "/src/api/"]);
    }
}
