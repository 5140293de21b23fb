//! The git directory and git objects in a container on a remote engine.
//!
//! Objects never change, so each object store has a persistent volume, and only new objects are sent. The git
//! directory refers to it as an alternate.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{LABEL_CACHE, OBJECTS, RemoteFiles, progress, volume_name};
use crate::base::files;
use crate::base::nonce::nonce;
use crate::client::engine::{Bind, ContainerSpec, CreatedContainer, MountSource, UploadItem};
use crate::execute::ExecuteContext;
use crate::execute::state::UnitState;
use crate::execute::step_error::{StepError, Stop};
use crate::model::event::Unit;
use crate::model::plan::ContainerStep;

/// The label with the id of the record of a volume's content.
const LABEL_OBJECTS: &str = "x-platform.objects";

/// The number of attempts to send objects while git repacks them.
const ATTEMPTS: usize = 3;

/// Adds the git directories of a step and their objects.
pub(super) async fn add_git(
    files: &mut RemoteFiles,
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    labels: &HashMap<String, String>,
) -> Result<(), Stop> {
    let step = &state.with_toolchain(step);
    // Paths of object stores, here and in the container.
    let mut stores: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut directories = Vec::new();
    let mut add = |objects: PathBuf| {
        let at = PathBuf::from(format!("{OBJECTS}/{}", stores.len()));
        stores.push((objects, at));
    };
    for mount in &step.git {
        let own = mount.source.join("objects");
        if mount.source == step.source {
            // A submodule's git directory refers to the working copy itself.
            files.items.push(UploadItem::Link {
                to: mount.target.clone(),
                target: files.workdir.clone(),
            });
        } else if mount.source.join("HEAD").is_file() {
            directories.push(mount.target.clone());
            if own.is_dir() && state.objects.is_none() {
                add(own.clone());
            }
            files
                .items
                .push(tree(&mount.source, &mount.target, vec![own], false));
        } else if mount.source.is_dir() {
            add(mount.source.clone());
        } else {
            files
                .items
                .push(tree(&mount.source, &mount.target, Vec::new(), false));
        }
    }
    for objects in state.objects.iter().chain(&state.borrowed_objects) {
        add(objects.clone());
    }
    let lines = stores.iter().map(|(_, at)| format!("{}\n", at.display()));
    let alternates: String = lines.collect();
    for directory in directories {
        files.items.push(UploadItem::File {
            to: directory.join("objects/info/alternates"),
            content: alternates.clone().into_bytes(),
        });
    }
    for (objects, at) in stores {
        let name = volume(context, unit, step, &objects, labels).await?;
        let labels = HashMap::new();
        files.mount(MountSource::Kept { name, labels }, &at, (0, 0), true);
    }
    Ok(())
}

fn tree(from: &Path, to: &Path, excluded: Vec<PathBuf>, may_be_missing: bool) -> UploadItem {
    UploadItem::Tree {
        from: from.to_owned(),
        to: to.to_owned(),
        // Writable only by root.
        owner: Some((0, 0)),
        excluded,
        is_copied_back: false,
        may_be_missing,
    }
}

/// Returns the volume with the objects of a store, after sending missing ones.
async fn volume(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    objects: &Path,
    labels: &HashMap<String, String>,
) -> Result<String, Stop> {
    let engine = &context.engine;
    let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
    let name = volume_name("objects", "", &path_mapping.shown(objects));
    // One at a time: services of one repository need the same objects.
    let _alone = context.sending.lock().await;
    if context.cancel.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    let container_labels = labels;
    let labels = engine.volume(&name).await.map_err(StepError::from)?;
    let id = labels.and_then(|labels| labels.get(LABEL_OBJECTS).cloned());
    let record = |id: &str| context.layout.remote().join(id);
    let mut here = names(objects);
    // xp's own labels are alphanumeric; others must not become paths.
    let id = id.filter(|it| it.chars().all(|it| it.is_ascii_alphanumeric()));
    let there = id
        .as_ref()
        .and_then(|it| fs::read_to_string(record(it)).ok());
    let there: Option<BTreeSet<PathBuf>> = there.map(|it| it.lines().map(PathBuf::from).collect());
    let is_current = |there: &BTreeSet<PathBuf>| {
        let stale = there.difference(&here).count();
        // After a repack, the old ones only take space.
        stale <= here.len().max(1000)
    };
    let (id, mut there) = match (id, there) {
        (Some(id), Some(there)) if is_current(&there) => (id, there),
        (id, _) => {
            // The content is unknown or outdated.
            engine.remove_volume(&name).await;
            if let Some(id) = &id {
                _ = fs::remove_file(record(id));
            }
            let id = nonce();
            let labels = HashMap::from([
                (LABEL_CACHE.to_owned(), context.folder.display().to_string()),
                (LABEL_OBJECTS.to_owned(), id.clone()),
            ]);
            // A volume in use was not removed; missing objects are added to it.
            engine
                .create_volume(&name, labels)
                .await
                .map_err(StepError::from)?;
            (id, BTreeSet::new())
        }
    };
    let to = Path::new(OBJECTS);
    for _ in 0..ATTEMPTS {
        let missing: Vec<PathBuf> = here.difference(&there).cloned().collect();
        if missing.is_empty() {
            return Ok(name);
        }
        let items = missing
            .iter()
            .map(|path| tree(&objects.join(path), &to.join(path), Vec::new(), true));
        send(
            context,
            unit,
            step,
            &name,
            items.collect(),
            container_labels,
        )
        .await?;
        // Git may have repacked some of them in the meantime.
        let now = names(objects);
        there.extend(missing.into_iter().filter(|it| now.contains(it)));
        write_record(&record(&id), &there);
        here = now;
    }
    Ok(name)
}

/// Records the content of a volume. If this fails, it is sent again next time.
fn write_record(record: &Path, there: &BTreeSet<PathBuf>) {
    let lines = there.iter().map(|path| format!("{}\n", path.display()));
    let all: String = lines.collect();
    _ = record.parent().map(fs::create_dir_all);
    _ = files::replace(record, &all);
}

/// Fills a volume through a container that never runs, because the builder mounts it read-only.
async fn send(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    name: &str,
    items: Vec<UploadItem>,
    labels: &HashMap<String, String>,
) -> Result<(), Stop> {
    let bind = Bind {
        source: MountSource::Kept {
            name: name.to_owned(),
            labels: HashMap::new(),
        },
        target: OBJECTS.to_owned(),
        read_only: false,
    };
    let mut spec = ContainerSpec::for_xp(step.image.clone(), labels.clone(), bind);
    spec.platform.clone_from(&step.platform);
    // Must not be canceled in between: the container must be removed.
    let container = CreatedContainer::create(&context.engine, &spec).await;
    let container = container.map_err(StepError::from)?;
    let on_progress = progress(context, unit);
    let sent = tokio::select! {
        sent = container.send(items, &on_progress) => sent.map(drop).map_err(|error| StepError::from(error).into()),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    };
    container.remove().await;
    sent
}

/// Returns the names of the objects and packs of a store, without files that change or are being written; git does
/// not need those.
fn names(objects: &Path) -> BTreeSet<PathBuf> {
    let entries = WalkDir::new(objects)
        .min_depth(2)
        .max_depth(2)
        .into_iter()
        .flatten();
    let files = entries.filter(|entry| entry.file_type().is_file());
    let names = files.filter_map(|entry| {
        let name = entry.path().strip_prefix(objects).ok()?.to_owned();
        let (folder, file) = name.to_str()?.split_once('/')?;
        let is_wanted = match folder {
            "pack" => file.starts_with("pack-"),
            folder => folder.len() == 2 && !file.starts_with("tmp_"),
        };
        is_wanted.then_some(name)
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_and_packs_are_sent() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "pack/pack-1.pack",
            "pack/pack-1.idx",
            "pack/tmp_pack_x",
            "pack/multi-pack-index",
            "ab/cdef",
            "ab/tmp_obj_x",
            "info/packs",
            "info/alternates",
        ];
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names = names(folder.path());
        let expected = ["ab/cdef", "pack/pack-1.idx", "pack/pack-1.pack"];
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            expected.map(PathBuf::from)
        );
    }
}
