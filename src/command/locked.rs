//! Where the lock is, and how what is wrong with it is told.

use std::path::{Path, PathBuf};

use super::session::Session;
use crate::error::{Exit, Failure};
use crate::lock::{InvalidLock, LOCK};

/// Returns where the lock is.
pub fn lock_file(session: &Session, named: Option<&Path>) -> PathBuf {
    match named {
        Some(file) => session.settings.directory.join(file),
        None => session.manifest.folder.join(LOCK),
    }
}

/// Shows a lock's error in the colours that were asked for.
pub fn lock_failure(session: &Session, error: &InvalidLock) -> Failure {
    Failure::rendered(Exit::Usage, error.render(session.settings.report.color))
}
