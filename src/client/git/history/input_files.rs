//! Lists the files of a commit with their object IDs, without reading them.

use git2::{ObjectType, TreeWalkMode, TreeWalkResult};

use crate::client::git::worktree::working_copy::oid;
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::{CommitId, InputFile, InputFiles, PathSelection};

/// The file with attributes, in any folder.
const ATTRIBUTES: &[u8] = b".gitattributes";

impl WorkingCopy {
    /// Returns for each selection the files of a commit.
    ///
    /// # Errors
    ///
    /// The commit or a folder is not in the object store.
    pub fn input_files(
        &self,
        commit: CommitId,
        selections: &[&PathSelection],
    ) -> Result<Vec<InputFiles>, GitError> {
        let failed = |cause| self.failed(&format!("list the files of {commit}"), cause);
        let root = oid(commit).and_then(|id| self.repository.find_commit(id)?.tree());
        let root = root.map_err(failed)?;
        let mut found = vec![InputFiles::default(); selections.len()];
        let mut attributes: Vec<InputFile> = Vec::new();
        let walked = root.walk(TreeWalkMode::PreOrder, |folder, entry| {
            let path = [folder.as_bytes(), entry.name_bytes()].concat();
            if entry.kind() == Some(ObjectType::Tree) {
                let is_outside = selections.iter().all(|it| it.is_outside(&path));
                return if is_outside {
                    TreeWalkResult::Skip
                } else {
                    TreeWalkResult::Ok
                };
            }
            let file = InputFile {
                mode: entry.filemode().cast_unsigned(),
                id: entry.id().to_string(),
                path,
            };
            for (selection, found) in selections.iter().zip(&mut found) {
                if selection.includes(&file.path) {
                    found.files.push(file.clone());
                }
            }
            if entry.name_bytes() == ATTRIBUTES {
                attributes.push(file);
            }
            TreeWalkResult::Ok
        });
        walked.map_err(failed)?;
        for found in &mut found {
            found.files.sort();
            let applies = |file: &&InputFile| {
                let folder = file.path.strip_suffix(ATTRIBUTES).unwrap_or_default();
                found.files.iter().any(|it| it.path.starts_with(folder))
            };
            found.attributes = attributes.iter().filter(applies).cloned().collect();
            found.attributes.sort();
        }
        Ok(found)
    }
}
