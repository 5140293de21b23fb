//! The user that runs the program.

use std::path::PathBuf;

/// The user that runs the program.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// The home folder, for `~` in mounts.
    pub home: Option<PathBuf>,
    /// The ssh agent's socket.
    pub ssh_agent: Option<PathBuf>,
}
