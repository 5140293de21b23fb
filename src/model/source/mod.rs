//! Git remotes: URLs, references and commits.
//!
//! Pure: no files, network, environment or clock.

mod commit;
mod git_folders;
mod reference;
mod service;
mod summary;
mod tree;
mod url;

pub use commit::CommitId;
pub use git_folders::{CommonDir, GitFolders, GitLink, GitMount};
pub use reference::{GitReference, RefName, ResolvedReference};
pub use service::{ReferenceOrigin, ServiceSource};
pub use summary::CommitSummary;
pub use tree::{TreeChanges, TreeDigest, TreeHasher, WorkingTree};
pub use url::{GitScheme, GitUrl};
