//! Builds in a working copy: one at a time, with a note if it changed during the build.

use std::path::Path;

use tokio::task::spawn_blocking;

use super::ExecuteContext;
use super::folder_files::folder_files;
use super::source::WorkingCopyGuard;
use crate::client::git::{Opened, WorkingCopy};
use crate::model::event::{Event, Unit};
use crate::model::plan::InPlace;
use crate::model::source::TreeChanges;

/// Waits until no other unit uses the working copy; returns `None` on cancellation.
///
/// Services of one repository share it, and scripts need it for themselves.
pub async fn lock(context: &ExecuteContext, in_place: &InPlace) -> Option<WorkingCopyGuard> {
    tokio::select! {
        guard = context.sources.lock(&in_place.dir) => Some(guard),
        () = context.cancel.cancelled() => None,
    }
}

/// Emits a note if the working copy no longer matches the tag of its image.
pub async fn compare(context: &ExecuteContext, unit: &Unit, in_place: &InPlace) {
    let (inspected, own) = (in_place.clone(), context.layout.root().to_owned());
    let Ok(Some(now)) = spawn_blocking(move || changes(&inspected, &own)).await else {
        // The build is done; the next one will report the error.
        return;
    };
    if now.as_ref().map(|changes| changes.digest) == in_place.changes {
        return;
    }
    let now = match now {
        Some(_) if !in_place.is_git => "its files differ".to_owned(),
        Some(changes) => format!("it now has uncommitted changes: {changes}"),
        None => "it now matches its commit".to_owned(),
    };
    let dir = in_place.dir.strip_prefix(&context.folder);
    let dir = dir.unwrap_or(&in_place.dir).display();
    let hint = if in_place.is_git {
        "add build outputs to .gitignore"
    } else {
        "let scripts write outside of the source, such as to a folder of `dockerBuilder.cache`"
    };
    context.events.emit(Event::note(format!(
        "{unit}: {dir} changed during the build: {now}. The next build rebuilds it; {hint}"
    )));
}

/// Returns the changes; `None` if the working copy cannot be read.
fn changes(in_place: &InPlace, own: &Path) -> Option<Option<TreeChanges>> {
    if !in_place.is_git {
        return folder_files(&in_place.dir, own).ok().map(Some);
    }
    match WorkingCopy::open(&in_place.dir).ok()? {
        Opened::WorkingCopy(working_copy) => working_copy.tree_changes(&in_place.selection).ok(),
        _ => Some(None),
    }
}
