//! Decides which files of a folder may be replaced or removed: never those that the user changed in the meantime.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::compare::RemoteFile;
use super::{Unpacker, metadata_if_exists, named};
use crate::client::engine::container::source_upload::Fingerprint;

impl Unpacker<'_> {
    /// Returns whether a local file may be replaced by the remote one. Records a conflict if not.
    pub(super) fn may_replace(
        &mut self,
        path: &Path,
        found: Option<&Metadata>,
        remote: Option<&RemoteFile>,
    ) -> io::Result<bool> {
        if !self.place.is_shared {
            return Ok(true);
        }
        let sent = self.place.sent.get(path);
        let changed_remotely = match (sent, remote) {
            (Some(sent), Some(remote)) => !remote.is_unchanged(sent),
            _ => true,
        };
        let may = match found {
            // It was removed locally.
            None => sent.is_none() || changed_remotely,
            Some(found) if found.is_dir() => self.is_tree_unchanged(path)?,
            found => self.is_unchanged(path, found),
        };
        if !may && changed_remotely {
            self.keep(path);
        }
        Ok(may)
    }

    /// Returns whether a file that may be replaced is still the one that was found. Checks only shared folders.
    pub(super) fn is_unchanged_since_found(
        &self,
        path: &Path,
        found: Option<&Metadata>,
    ) -> io::Result<bool> {
        if !self.place.is_shared {
            return Ok(true);
        }
        Ok(
            match (found, metadata_if_exists(&self.place.folder.join(path))?) {
                (None, None) => true,
                (Some(found), Some(now)) if found.is_dir() && now.is_dir() => {
                    self.is_tree_unchanged(path)?
                }
                (Some(found), Some(now)) => Fingerprint::of(found) == Fingerprint::of(&now),
                _ => false,
            },
        )
    }

    pub(super) fn is_unchanged(&self, path: &Path, found: Option<&Metadata>) -> bool {
        match (self.place.sent.get(path), found) {
            (Some(sent), Some(found)) if found.is_dir() => sent.mode == found.mode(),
            (Some(sent), Some(found)) => *sent == Fingerprint::of(found),
            _ => false,
        }
    }

    /// Returns whether everything in a folder is unchanged since it was sent.
    pub(super) fn is_tree_unchanged(&self, path: &Path) -> io::Result<bool> {
        for entry in walkdir::WalkDir::new(self.place.folder.join(path)) {
            let entry = entry?;
            let below = entry
                .path()
                .strip_prefix(&self.place.folder)
                .map_err(io::Error::other)?;
            if !self.is_unchanged(below, Some(&entry.metadata()?)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether all parents of a path are folders, not links.
    pub(super) fn has_real_parents(&self, path: &Path) -> bool {
        let parents = path.ancestors().skip(1);
        let mut parents = parents.filter(|parent| !parent.as_os_str().is_empty());
        parents.all(|it| {
            metadata_if_exists(&self.place.folder.join(it))
                .is_ok_and(|it| it.is_some_and(|it| it.is_dir()))
        })
    }

    /// Removes files that were sent and were then removed in the container.
    pub(super) fn remove_deleted(&mut self) -> io::Result<()> {
        let place = self.place;
        // In reverse order: the contents of a folder before the folder.
        for path in place.sent.keys().rev() {
            let is_part = path.starts_with(&place.part) && *path != place.part;
            let is_excluded = place.excluded.iter().any(|it| path.starts_with(it));
            if !is_part || is_excluded || self.seen.contains(path) {
                continue;
            }
            // A parent may be a link by now.
            if !self.has_real_parents(path) {
                continue;
            }
            let full = place.folder.join(path);
            let Some(found) = metadata_if_exists(&full)? else {
                continue;
            };
            if found.is_dir() {
                // A folder with other files stays.
                let removed = self.change(&full, || fs::remove_dir(&full));
                self.report.removed += usize::from(removed.is_ok());
            } else if !place.is_shared || self.is_unchanged(path, Some(&found)) {
                self.change(&full, || fs::remove_file(&full))
                    .map_err(named(&full))?;
                self.report.removed += 1;
            }
        }
        Ok(())
    }
}
