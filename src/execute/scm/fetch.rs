//! The files of a commit, written by a plugin.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::call::{Call, FACTS, OUT};
use crate::client::engine::{Bind, HeldContainer, MountSource};
use crate::client::git::remove_tree;
use crate::execute::remote::{LABEL_CACHE, volume_name};
use crate::execute::state::UnitState;
use crate::execute::step_error::{StepError, Stop};
use crate::execute::{ExecuteContext, LABEL_FOLDER, LABEL_SERVICE};
use crate::model::event::{Event, Phase, Unit};
use crate::model::plan::{FetchStep, PluginCall};
use crate::model::source::{FetchedFacts, fetch_config, parse_facts};

/// The maximum size of that file, in bytes.
const MAX_FACTS: u64 = 64 * 1024;

/// The folder that persists per repository.
const CACHE: &str = "/cache";

/// Has a plugin write the files of a commit to its export.
pub async fn run_fetch(
    context: &ExecuteContext,
    unit: &Unit,
    step: &FetchStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
    let folder = path_mapping.shown(context.layout.root());
    let plugin = &step.call;
    let with = serde_json::Value::Object(plugin.with.clone());
    let volume = volume_name(
        "scm",
        &plugin.plugin.to_string().replace('/', "-"),
        &format!("{folder}\n{}\n{with}", plugin.plugin),
    );
    // A plugin need not expect that two of its containers use the cache.
    let _lock = context.sources.lock(Path::new(&volume)).await;
    let cache = Bind {
        source: MountSource::Kept {
            name: volume,
            labels: HashMap::from([(LABEL_CACHE.to_owned(), context.folder.display().to_string())]),
        },
        target: CACHE.to_owned(),
        read_only: false,
    };
    let call = Call {
        plugin,
        command: "fetch",
        config: fetch_config(&plugin.with, step.commit),
        binds: vec![cache],
        uploads: Vec::new(),
        labels: HashMap::from([
            (LABEL_FOLDER.to_owned(), folder),
            (LABEL_SERVICE.to_owned(), unit.to_string()),
        ]),
    };
    let (events, of_unit) = (context.events.clone(), unit.clone());
    let output = move |bytes: Bytes| {
        events.emit(Event::Output {
            unit: of_unit.clone(),
            phase: Phase::Fetch,
            bytes,
        });
    };
    let read = async |container: &HeldContainer| {
        let export = &step.export;
        let cannot_write = |error: std::io::Error| {
            StepError::plain(format!("cannot write {}: {error}", export.display()))
        };
        remove_tree(export)?;
        fs::create_dir_all(export).map_err(cannot_write)?;
        let facts = facts(step, container).await?;
        match container.copy_source(OUT, export.clone()).await {
            Ok(_) => Ok(facts),
            Err(error) => {
                _ = remove_tree(export);
                Err(unusable(step, &error))
            }
        }
    };
    let facts = call.run(context, output, read).await?;
    state.commit_time = facts.time.or(state.commit_time);
    Ok(())
}

/// Reads what the plugin reports about the commit, if anything.
async fn facts(step: &FetchStep, container: &HeldContainer) -> Result<FetchedFacts, StepError> {
    let read = container.read_files(Path::new(FACTS), MAX_FACTS, |_, _, _| true);
    let Some((_, text)) = read.await?.into_iter().next() else {
        return Ok(FetchedFacts::default());
    };
    parse_facts(&text).map_err(|problem| {
        let PluginCall {
            plugin, location, ..
        } = &step.call;
        StepError::plain(format!(
            "`fetch` of {plugin} succeeded, but {FACTS} {problem} ({location})"
        ))
        .hint("this is a fault of the plugin; docs/sources.md describes the file")
    })
}

fn unusable(step: &FetchStep, error: &crate::client::engine::SourceFilesError) -> StepError {
    let (plugin, location) = (&step.call.plugin, &step.call.location);
    let commit = step.commit.short();
    if error.is_of_plugin() {
        StepError::plain(format!(
            "`fetch` of {plugin} succeeded for commit {commit}, but its files in {OUT} cannot be used ({location}): {error}"
        ))
        .hint("a commit has only files, folders, and symbolic links that stay inside of it; docs/sources.md describes what a plugin may write")
    } else {
        StepError::plain(format!(
            "cannot copy commit {commit} from {plugin} to {} ({location}): {error}",
            step.export.display()
        ))
    }
}
