//! Finds what renamed and removed services left behind. Read-only, and cheap: it reads a few folders, and asks the
//! engine only for names that this platform used before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::{CheckedPlatform, DoctorContext};
use crate::base::task::joined;
use crate::execute::LABEL_FOLDER;
use crate::execute::path_mapping::PathMapping;
use crate::flow::survey::prefetch;
use crate::model::doctor::LeftoverFacts;
use crate::model::image::{ImageReference, ImageRepository};
use crate::model::layout::Layout;
use crate::model::recipe::LABEL_RECIPE;

/// The number of entries of a folder that are looked at.
const MAX_ENTRIES: usize = 2_000;

/// The number of former repositories that the engine is asked for.
const MAX_REPOSITORIES: usize = 500;

/// Returns the leftovers; `None` if only some services are checked.
pub(super) async fn leftovers(context: &DoctorContext<'_>) -> Option<LeftoverFacts> {
    let platform = context.platform.as_ref()?;
    if platform.services.len() < platform.manifest.services.len() {
        return None;
    }
    let layout = Layout::new(platform.cache_dir.clone());
    let former = prefetch::former(&layout, platform.manifest);
    let folder = platform.manifest.folder.clone();
    let dirs = platform.manifest.services.values();
    let dirs: BTreeSet<PathBuf> = dirs.map(|service| service.dir.clone()).collect();
    let working_copies = {
        let (folder, former) = (folder.clone(), former.dirs);
        spawn_blocking(move || working_copies(&folder, &dirs, &former))
    };
    Some(LeftoverFacts {
        working_copies: joined(working_copies.await),
        folders: folders(platform, &layout, &folder),
        images: images(context, former.repositories).await,
        networks: networks(context, &layout).await,
    })
}

/// Returns the working copies that no service uses: in former folders of services, and next to the current ones.
fn working_copies(
    folder: &Path,
    dirs: &BTreeSet<PathBuf>,
    former: &BTreeSet<PathBuf>,
) -> Vec<String> {
    let mut found = former.clone();
    // The manifest's own folder may contain anything.
    let parents = dirs.iter().filter_map(|dir| dir.parent());
    let parents: BTreeSet<&Path> = parents.filter(|it| *it != Path::new("")).collect();
    for parent in parents {
        let entries = fs::read_dir(folder.join(parent)).into_iter().flatten();
        let entries = entries.flatten().take(MAX_ENTRIES);
        found.extend(entries.map(|entry| parent.join(entry.file_name())));
    }
    let is_used = |dir: &PathBuf| {
        dirs.iter()
            .any(|it| it.starts_with(dir) || dir.starts_with(it))
    };
    found.retain(|dir| !is_used(dir) && folder.join(dir).join(".git").exists());
    found.iter().map(|dir| dir.display().to_string()).collect()
}

/// Returns the folders of services in xp's own folder.
fn folders(platform: &CheckedPlatform<'_>, layout: &Layout, folder: &Path) -> Vec<String> {
    let services = platform.manifest.services.keys();
    let services: BTreeSet<&str> = services.map(|name| name.as_str()).collect();
    let mut found = Vec::new();
    for parent in layout.folders_of_services() {
        let entries = fs::read_dir(&parent).into_iter().flatten().flatten();
        for entry in entries.take(MAX_ENTRIES) {
            let name = entry.file_name();
            let is_known = name.to_str().is_some_and(|name| services.contains(name));
            if !is_known && entry.path().is_dir() {
                let path = entry.path();
                let shown = path.strip_prefix(folder).unwrap_or(&path);
                found.push(shown.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Returns the networks of this platform that no container uses. A run that starts now may have one for a moment.
async fn networks(context: &DoctorContext<'_>, layout: &Layout) -> Vec<String> {
    let Some(engine) = context.engine_state().await.engine else {
        return Vec::new();
    };
    let found = context.limited("the networks of killed runs".to_owned(), async {
        let path_mapping = PathMapping::find(&engine, layout.root()).await?;
        let folder = path_mapping.shown(layout.root());
        engine.unused_networks(LABEL_FOLDER, &folder).await
    });
    found.await.unwrap_or_default()
}

/// Returns the former repositories that the engine has images in, with the number of names.
async fn images(
    context: &DoctorContext<'_>,
    former: BTreeSet<ImageRepository>,
) -> Vec<(String, usize)> {
    let Some(engine) = context.engine_state().await.engine else {
        return Vec::new();
    };
    let names: BTreeMap<String, &ImageRepository> = former
        .iter()
        .take(MAX_REPOSITORIES)
        .map(|repository| (repository.familiar_name(), repository))
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    let patterns: Vec<String> = names.keys().cloned().collect();
    let found = context.limited("the images of former services".to_owned(), async {
        engine.images_like(patterns).await
    });
    // The check of the engine reports what is wrong with it.
    let found = found.await.unwrap_or_default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (name, image) in &found {
        let Ok(name) = name.parse::<ImageReference>() else {
            continue;
        };
        let repository = name.repository().familiar_name();
        let is_tag = name.digest().is_none();
        if is_tag && names.contains_key(&repository) && image.labels.contains_key(LABEL_RECIPE) {
            *counts.entry(repository).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}
