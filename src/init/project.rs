//! A git repository that a file of another tool names.

/// A git repository that a file of another tool names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// Where its working copy is, or is to be, from the platform's folder on.
    pub dir: String,
    /// The file, for comments.
    pub file: String,
    /// The URL, as far as it is known.
    pub remote: Option<String>,
    /// A branch, a tag or a commit; none for the remote's default branch.
    pub reference: Option<String>,
    /// What could not be taken over.
    pub todos: Vec<String>,
}

/// What a file says of repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projects {
    /// The repositories, in the order of the file.
    pub projects: Vec<Project>,
    /// What is no repository of the platform, and why.
    pub left_out: Vec<(String, String)>,
}
