//! The `clean` section of a manifest: what `xp clean` keeps.

/// What `xp clean` keeps, besides what is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clean {
    pub keep: CleanKeep,
    pub cache: CleanCache,
}

/// What is kept of the images that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanKeep {
    /// Images and results that are younger than this number of days.
    pub days: u32,
    /// The images of this number of commits of each branch.
    pub commits: u32,
    /// The images of this number of deploys of each environment.
    pub deploys: u32,
}

/// What is kept in the cache folder of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanCache {
    /// What was used within this number of days.
    pub days: u32,
    /// The size that the cache folder may have, in bytes.
    pub size: u64,
}

impl Default for CleanKeep {
    fn default() -> Self {
        Self {
            days: 30,
            commits: 10,
            deploys: 10,
        }
    }
}

impl Default for CleanCache {
    fn default() -> Self {
        Self {
            days: 30,
            size: 50 << 30,
        }
    }
}
