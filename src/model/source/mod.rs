//! Sources of services: URLs, references and commits.
//!
//! Pure: no files, network, environment or clock.

mod commit;
mod exclude_pattern;
mod git_folders;
mod input_files;
mod input_pattern;
mod path_selection;
mod pathspec;
mod plugin_answer;
mod reference;
mod remote;
mod service;
mod summary;
mod tree;
mod url;
mod url_rule;

pub use commit::CommitId;
pub use exclude_pattern::ExcludePattern;
pub use git_folders::{CommonDir, GitFolders, GitLink, GitMount};
pub use input_files::{InputFile, InputFiles};
pub use input_pattern::{InputPattern, ScopedPattern};
pub use path_selection::PathSelection;
pub use pathspec::Pathspec;
pub use plugin_answer::{
    FetchedFacts, PluginAnswers, PluginQuery, PluginReference, fetch_config, parse_answers,
    parse_facts, resolve_config,
};
pub use reference::{GitReference, InvalidRefName, RefName, ResolvedReference};
pub use remote::{SourceRemote, without_user_info};
pub use service::{ReferenceOrigin, ServiceSource};
pub use summary::CommitSummary;
pub use tree::{TreeChanges, TreeDigest, TreeHasher, WorkingTree};
pub use url::{GitScheme, GitUrl, exposed as exposed_url};
pub use url_rule::UrlRule;
