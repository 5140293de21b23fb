//! The steps that provide the source of a service.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PluginCall, relative};
use crate::model::source::{CommitId, GitUrl, PathSelection, ResolvedReference, exposed_url};

/// See [`Step::Sync`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncStep {
    /// The working copy.
    pub dir: PathBuf,
    /// The URL to clone from.
    #[serde(with = "exposed_url")]
    #[schemars(with = "String")]
    pub remote: GitUrl,
    /// The reference to fetch.
    pub resolved: ResolvedReference,
    /// The commit to build: that of the reference, or an earlier one.
    pub commit: CommitId,
    /// Whether its files may be updated too: no if a service is built in place there.
    pub moves: bool,
}

/// See [`Step::Export`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportStep {
    /// The working copy with the object store.
    pub dir: PathBuf,
    pub commit: CommitId,
    /// The files of it that the build sees.
    pub selection: PathSelection,
    /// Whether submodules are checked out too.
    pub submodules: bool,
    /// The folder with the object stores of submodules.
    pub modules: PathBuf,
    /// The folder with Git LFS files.
    pub lfs: PathBuf,
    /// The branch that it is built from.
    pub branch: Option<String>,
    /// The remote, in case a script queries it.
    #[serde(with = "exposed_url")]
    #[schemars(with = "String")]
    pub remote: GitUrl,
    /// The folder for the commit's files.
    pub export: PathBuf,
    /// The folder for the builder's git directory.
    pub git_dir: PathBuf,
    /// Whether the files are older than any output of a phase.
    pub is_old: bool,
}

/// See [`Step::Fetch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FetchStep {
    pub call: PluginCall,
    pub commit: CommitId,
    /// The repository, for display.
    pub url: String,
    /// The folder for the commit's files.
    pub export: PathBuf,
}
impl SyncStep {
    pub(super) fn describe(&self) -> String {
        let name = self.resolved.short_name().unwrap_or("the commit");
        format!("{name} of {}", self.remote)
    }
}

impl ExportStep {
    pub(super) fn describe(&self, folder: &Path) -> String {
        let mut text = self.commit.short();
        let PathSelection { paths, .. } = &self.selection;
        if !paths.is_empty() {
            text.push_str(&format!(", {} only,", paths.join(", ")));
        }
        if let Some(patterns) = self.selection.excluded_text() {
            text.push_str(&format!(" without {patterns}"));
        }
        if self.submodules {
            text.push_str(" with submodules");
        }
        format!("{text} into {}", relative(&self.export, folder))
    }
}

impl FetchStep {
    pub(super) fn describe(&self, folder: &Path) -> String {
        format!(
            "{} of {} with {} into {}",
            self.commit.short(),
            self.url,
            self.call.plugin,
            relative(&self.export, folder)
        )
    }
}
