//! Git repositories listed in another tool's file.

/// A git repository listed in another tool's file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// The folder of its working copy, relative to the platform's folder; it may not exist yet.
    pub dir: String,
    /// The file, mentioned in comments.
    pub file: String,
    /// The URL, if known.
    pub remote: Option<String>,
    /// A branch, tag or commit; `None` for the remote's default branch.
    pub reference: Option<String>,
    /// Whether its submodules are checked out.
    pub submodules: bool,
    /// Remarks on it.
    pub remarks: Vec<String>,
    /// What could not be converted.
    pub todos: Vec<String>,
}

/// The repositories in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projects {
    /// The repositories, in file order.
    pub projects: Vec<Project>,
    /// Entries that were skipped, with the reason.
    pub skipped: Vec<(String, String)>,
    /// What could not be read, with the reason.
    pub failed: Vec<(String, String)>,
}
