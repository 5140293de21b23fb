//! Builds in a working copy: one at a time, with a note if it changed during the build.

use tokio::task::spawn_blocking;

use super::ExecuteContext;
use super::source::WorkingCopyGuard;
use crate::client::git::{GitError, Opened, WorkingCopy};
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
    let inspected = in_place.clone();
    let Ok(Ok(now)) = spawn_blocking(move || changes(&inspected)).await else {
        // The build is done; the next one will report the error.
        return;
    };
    if now.as_ref().map(|changes| changes.digest) == in_place.changes {
        return;
    }
    let now = match now {
        Some(changes) => format!("it now has uncommitted changes: {changes}"),
        None => "it now matches its commit".to_owned(),
    };
    let dir = in_place.dir.strip_prefix(&context.folder);
    let dir = dir.unwrap_or(&in_place.dir).display();
    context.events.emit(Event::note(format!(
        "{unit}: {dir} changed during the build: {now}. The next build rebuilds it; add build outputs to .gitignore"
    )));
}

fn changes(in_place: &InPlace) -> Result<Option<TreeChanges>, GitError> {
    match WorkingCopy::open(&in_place.dir)? {
        Opened::WorkingCopy(working_copy) => working_copy.tree_changes(&in_place.paths),
        _ => Ok(None),
    }
}
