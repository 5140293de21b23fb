//! What of a folder may be replaced or removed: never what its user changed meanwhile.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::compare::There;
use super::{Work, look, named};
use crate::client::engine::parcel::Fingerprint;

impl Work<'_> {
    /// Tells whether what is here may make way for what is there, and remembers where it may not.
    pub(super) fn may_replace(
        &mut self,
        path: &Path,
        found: Option<&Metadata>,
        there: Option<&There>,
    ) -> io::Result<bool> {
        if !self.place.is_shared {
            return Ok(true);
        }
        let sent = self.place.sent.get(path);
        let changed_there = match (sent, there) {
            (Some(sent), Some(there)) => !there.is_as(sent),
            _ => true,
        };
        let may = match found {
            // Somebody removed it here meanwhile.
            None => sent.is_none() || changed_there,
            Some(found) if found.is_dir() => self.is_tree_as_sent(path)?,
            found => self.is_as_sent(path, found),
        };
        if !may && changed_there {
            self.keep(path);
        }
        Ok(may)
    }

    /// Tells whether what may be replaced is still what was found; only where somebody else may work here.
    pub(super) fn is_as_found(&self, path: &Path, found: Option<&Metadata>) -> io::Result<bool> {
        if !self.place.is_shared {
            return Ok(true);
        }
        Ok(match (found, look(&self.place.folder.join(path))?) {
            (None, None) => true,
            (Some(found), Some(now)) if found.is_dir() && now.is_dir() => {
                self.is_tree_as_sent(path)?
            }
            (Some(found), Some(now)) => Fingerprint::of(found) == Fingerprint::of(&now),
            _ => false,
        })
    }

    pub(super) fn is_as_sent(&self, path: &Path, found: Option<&Metadata>) -> bool {
        match (self.place.sent.get(path), found) {
            (Some(sent), Some(found)) if found.is_dir() => sent.mode == found.mode(),
            (Some(sent), Some(found)) => *sent == Fingerprint::of(found),
            _ => false,
        }
    }

    /// Tells whether everything in a folder is as it was sent.
    pub(super) fn is_tree_as_sent(&self, path: &Path) -> io::Result<bool> {
        for entry in walkdir::WalkDir::new(self.place.folder.join(path)) {
            let entry = entry?;
            let below = entry
                .path()
                .strip_prefix(&self.place.folder)
                .map_err(io::Error::other)?;
            if !self.is_as_sent(below, Some(&entry.metadata()?)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether all that a path lies in are folders, and none of them a link.
    pub(super) fn is_sound(&self, path: &Path) -> bool {
        let parents = path.ancestors().skip(1);
        let mut parents = parents.filter(|parent| !parent.as_os_str().is_empty());
        parents.all(|it| {
            look(&self.place.folder.join(it)).is_ok_and(|it| it.is_some_and(|it| it.is_dir()))
        })
    }

    /// Removes what was sent and is gone there.
    pub(super) fn remove_vanished(&mut self) -> io::Result<()> {
        let place = self.place;
        // Backwards: what is in a folder before the folder.
        for path in place.sent.keys().rev() {
            let is_part = path.starts_with(&place.part) && *path != place.part;
            let is_left_out = place.left_out.iter().any(|it| path.starts_with(it));
            if !is_part || is_left_out || self.seen.contains(path) {
                continue;
            }
            // Its folder may be a link by now.
            if !self.is_sound(path) {
                continue;
            }
            let full = place.folder.join(path);
            let Some(found) = look(&full)? else { continue };
            if found.is_dir() {
                // One that somebody put something into stays.
                let removed = self.change(&full, || fs::remove_dir(&full));
                self.returned.removed += usize::from(removed.is_ok());
            } else if !place.is_shared || self.is_as_sent(path, Some(&found)) {
                self.change(&full, || fs::remove_file(&full))
                    .map_err(named(&full))?;
                self.returned.removed += 1;
            }
        }
        Ok(())
    }
}
