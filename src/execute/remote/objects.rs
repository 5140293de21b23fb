//! What git takes in a container: the git directory, and the objects that it names.
//!
//! Objects never change. So each object store has a volume that stays, and only what that lacks is sent; the
//! git directory borrows from it, as git's own alternates do.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{Away, LABEL_CACHE, OBJECTS, progress, volume_name};
use crate::client::engine::{Bind, ContainerSpec, CreatedContainer, Item, Source, nonce};
use crate::event::Unit;
use crate::execute::Context;
use crate::execute::state::UnitState;
use crate::execute::stop::{StepError, Stop};
use crate::files;
use crate::plan::ContainerStep;

/// The label with what the volume's content is known by.
const LABEL_OBJECTS: &str = "x-platform.objects";

/// How often what git has packed anew meanwhile is sent.
const ATTEMPTS: usize = 3;

/// Adds the git directories of a step, and the objects of all of them.
pub(super) async fn add_git(
    away: &mut Away,
    context: &Context,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    labels: &HashMap<String, String>,
) -> Result<(), Stop> {
    // Where objects are here, and in the container.
    let mut stores: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut directories = Vec::new();
    let mut add = |objects: PathBuf| {
        let at = PathBuf::from(format!("{OBJECTS}/{}", stores.len()));
        stores.push((objects, at));
    };
    for mount in &step.git {
        let own = mount.source.join("objects");
        if mount.source == step.source {
            // A submodule's git directory leads to the working copy itself.
            away.items.push(Item::Link {
                to: mount.target.clone(),
                target: away.workdir.clone(),
            });
        } else if mount.source.join("HEAD").is_file() {
            directories.push(mount.target.clone());
            if own.is_dir() && state.objects.is_none() {
                add(own.clone());
            }
            away.items
                .push(tree(&mount.source, &mount.target, vec![own], false));
        } else if mount.source.is_dir() {
            add(mount.source.clone());
        } else {
            away.items
                .push(tree(&mount.source, &mount.target, Vec::new(), false));
        }
    }
    for objects in state.objects.iter().chain(&state.borrowed_objects) {
        add(objects.clone());
    }
    let lines = stores.iter().map(|(_, at)| format!("{}\n", at.display()));
    let alternates: String = lines.collect();
    for directory in directories {
        away.items.push(Item::File {
            to: directory.join("objects/info/alternates"),
            content: alternates.clone().into_bytes(),
        });
    }
    for (objects, at) in stores {
        let name = volume(context, unit, step, &objects, labels).await?;
        let labels = HashMap::new();
        away.mount(Source::Kept { name, labels }, &at, (0, 0), true);
    }
    Ok(())
}

fn tree(from: &Path, to: &Path, left_out: Vec<PathBuf>, may_vanish: bool) -> Item {
    Item::Tree {
        from: from.to_owned(),
        to: to.to_owned(),
        // Nobody but root may write it.
        owner: Some((0, 0)),
        left_out,
        comes_back: false,
        may_vanish,
    }
}

/// Returns the volume with the objects of a store, after what it lacks was sent.
async fn volume(
    context: &Context,
    unit: &Unit,
    step: &ContainerStep,
    objects: &Path,
    labels: &HashMap<String, String>,
) -> Result<String, Stop> {
    let engine = &context.engine;
    let reach = context.reach().await.map_err(StepError::from)?;
    let name = volume_name("objects", "", &reach.shown(objects));
    // One at a time: services of one repository want the same objects.
    let _alone = context.sending.lock().await;
    if context.cancel.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    let couriers = labels;
    let labels = engine.volume(&name).await.map_err(StepError::from)?;
    let known_by = labels.and_then(|labels| labels.get(LABEL_OBJECTS).cloned());
    let record = |known_by: &str| context.layout.remote().join(known_by);
    let mut here = names(objects);
    // The label is made of letters and digits where it is xp's own.
    let known_by = known_by.filter(|it| it.chars().all(|it| it.is_ascii_alphanumeric()));
    let there = known_by
        .as_ref()
        .and_then(|it| fs::read_to_string(record(it)).ok());
    let there: Option<BTreeSet<PathBuf>> = there.map(|it| it.lines().map(PathBuf::from).collect());
    let is_current = |there: &BTreeSet<PathBuf>| {
        let stale = there.difference(&here).count();
        // After git has packed them anew, the old ones only take space.
        stale <= here.len().max(1000)
    };
    let (known_by, mut there) = match (known_by, there) {
        (Some(known_by), Some(there)) if is_current(&there) => (known_by, there),
        (known_by, _) => {
            // Nobody here knows what is in it.
            engine.remove_volume(&name).await;
            if let Some(known_by) = &known_by {
                _ = fs::remove_file(record(known_by));
            }
            let known_by = nonce();
            let labels = HashMap::from([
                (LABEL_CACHE.to_owned(), context.folder.display().to_string()),
                (LABEL_OBJECTS.to_owned(), known_by.clone()),
            ]);
            // Where it is in use it stays, and is filled up.
            engine
                .create_volume(&name, labels)
                .await
                .map_err(StepError::from)?;
            (known_by, BTreeSet::new())
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
        send(context, unit, step, &name, items.collect(), couriers).await?;
        // Git may have packed some of them anew meanwhile: they are in a pack that is new here.
        let now = names(objects);
        there.extend(missing.into_iter().filter(|it| now.contains(it)));
        record_all(&record(&known_by), &there);
        here = now;
    }
    Ok(name)
}

/// Writes down what a volume has. Without that, it is sent again.
fn record_all(record: &Path, there: &BTreeSet<PathBuf>) {
    let lines = there.iter().map(|path| format!("{}\n", path.display()));
    let all: String = lines.collect();
    _ = record.parent().map(fs::create_dir_all);
    _ = files::replace(record, &all);
}

/// Fills a volume by a container that never runs: the builder is to have it read-only.
async fn send(
    context: &Context,
    unit: &Unit,
    step: &ContainerStep,
    name: &str,
    items: Vec<Item>,
    labels: &HashMap<String, String>,
) -> Result<(), Stop> {
    let bind = Bind {
        source: Source::Kept {
            name: name.to_owned(),
            labels: HashMap::new(),
        },
        target: OBJECTS.to_owned(),
        read_only: false,
    };
    let spec = ContainerSpec::for_xp(step.image.clone(), labels.clone(), bind);
    // Not dropped half-way: whatever comes, the courier is removed.
    let courier = CreatedContainer::create(&context.engine, &spec).await;
    let courier = courier.map_err(StepError::from)?;
    let told = progress(context, unit);
    let sent = tokio::select! {
        sent = courier.send(items, &told) => sent.map(drop).map_err(|error| StepError::from(error).into()),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    };
    courier.remove().await;
    sent
}

/// Returns the names of the objects and packs of a store; what changes, or is being written, is left out,
/// as git does without.
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
    fn objects_and_packs_are_sent_and_nothing_that_changes() {
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
