//! Builds in a working copy: one at a time, and told of when it changed meanwhile.

use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

use super::Context;
use super::source::Synced;
use crate::client::git::{GitError, Opened, WorkingCopy};
use crate::event::{Event, Unit};
use crate::plan::InPlace;
use crate::source::TreeChanges;

/// Waits until no other unit works in the working copy; none where everything is to stop.
///
/// Services of one repository share it, and scripts count on having it for themselves.
pub async fn alone(context: &Context, in_place: &InPlace) -> Option<OwnedMutexGuard<Synced>> {
    tokio::select! {
        alone = context.sources.lock(&in_place.dir) => Some(alone),
        () = context.cancel.cancelled() => None,
    }
}

/// Says where a working copy is no longer what the image's tag was made of.
pub async fn compare(context: &Context, unit: &Unit, in_place: &InPlace) {
    let looked_at = in_place.clone();
    let Ok(Ok(now)) = spawn_blocking(move || changes(&looked_at)).await else {
        // The build is done; that the files cannot be compared is told by the next one.
        return;
    };
    if now.as_ref().map(|changes| changes.digest) == in_place.changes {
        return;
    }
    let now = match now {
        Some(changes) => format!("it differs from its commit in {changes}"),
        None => "it is as its commit".to_owned(),
    };
    let dir = in_place.dir.strip_prefix(&context.folder);
    let dir = dir.unwrap_or(&in_place.dir).display();
    context.events.emit(Event::Note(format!(
        "{unit}: {dir} changed while it was built, by a script or by you: {now} now, and is built again next \
         time; what a build makes belongs in .gitignore"
    )));
}

fn changes(in_place: &InPlace) -> Result<Option<TreeChanges>, GitError> {
    match WorkingCopy::open(&in_place.dir)? {
        Opened::WorkingCopy(working_copy) => working_copy.tree_changes(&in_place.paths),
        _ => Ok(None),
    }
}
