//! Marks that a run executes steps, so that the next one notices that it was killed.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::model::layout::Layout;

/// A file that exists while steps are executed. The caller holds the lock of the folder.
#[derive(Debug)]
pub struct RunMarker {
    path: PathBuf,
}

impl RunMarker {
    /// Returns the marker of a folder; changes nothing.
    pub fn new(layout: &Layout) -> Self {
        Self {
            path: layout.running(),
        }
    }

    /// Returns whether an earlier run was killed.
    pub fn is_left(&self) -> bool {
        self.path.exists()
    }

    /// Sets the marker. Without it, what a killed run leaves in the engine stays until the next one with steps.
    pub fn set(&self) {
        _ = File::create(&self.path);
    }

    /// Removes the marker.
    pub fn remove(&self) {
        _ = fs::remove_file(&self.path);
    }
}
