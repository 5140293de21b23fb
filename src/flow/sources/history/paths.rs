//! Checks whether a commit has the paths of `git.path` and `git.include`, and files that are not excluded.

use super::PartialService;
use crate::client::git::{GitError, LastTouch, OperationContext, PathKind, PathsAt, WorkingCopy};
use crate::model::manifest::InvalidGitPath;
use crate::model::source::PathSelection;

/// Returns the invalid paths of a service at its tip.
pub(super) fn invalid_git_paths(
    copy: &WorkingCopy,
    part: &PartialService,
    is_one_of_many: bool,
    watch: &OperationContext<'_>,
) -> Result<Vec<InvalidGitPath>, GitError> {
    let mut wrong = Vec::new();
    for (index, path) in part.selection.paths.iter().enumerate() {
        let is_service = index == 0;
        match copy.path_kind(part.tip.commit, path)? {
            Some(PathKind::Folder) => {}
            Some(_) if !is_service => {}
            Some(kind) => wrong.push(not_a_folder(part, path, kind)),
            None => wrong.push(match copy.containing_submodule(part.tip.commit, path) {
                Some(submodule) => in_submodule(part, path, &submodule),
                None => missing(copy, part, path, is_one_of_many, watch)?,
            }),
        }
    }
    if wrong.is_empty() && !copy.selects_files(part.tip.commit, &part.selection)? {
        wrong.push(nothing_left(part));
    }
    Ok(wrong)
}

fn nothing_left(part: &PartialService) -> InvalidGitPath {
    InvalidGitPath {
        message: format!(
            "service `{}`: `git.exclude` leaves no file of {} of {}",
            part.service,
            reference(part),
            part.remote
        ),
        near: Vec::new(),
        help: None,
        path: String::new(),
    }
}

/// Returns the tip for messages.
fn reference(part: &PartialService) -> String {
    let commit = part.tip.commit.short();
    match part.tip.short_name() {
        Some(name) => format!("{name} ({commit})"),
        None => commit,
    }
}

fn missing(
    copy: &WorkingCopy,
    part: &PartialService,
    path: &str,
    is_one_of_many: bool,
    watch: &OperationContext<'_>,
) -> Result<InvalidGitPath, GitError> {
    let tip = part.tip.commit;
    let (service, remote) = (&part.service, &part.remote);
    let request = PathsAt {
        tip,
        selection: PathSelection::of(vec![path.to_owned()]),
    };
    let last_touch = if is_one_of_many {
        Vec::new()
    } else {
        copy.last_touched(&[request], watch)?
    };
    let help = match last_touch.first() {
        Some(LastTouch::Commit(commit)) => {
            let summary = copy.summary(*commit).unwrap_or_default();
            Some(format!(
                "commit {} removed it: {summary}; `--reference {service}=…` builds an earlier one",
                commit.short()
            ))
        }
        _ => None,
    };
    let reference = reference(part);
    Ok(InvalidGitPath {
        message: format!("service `{service}`: `{path}` does not exist in {reference} of {remote}"),
        near: copy.sibling_folders(tip, path),
        help,
        path: path.to_owned(),
    })
}

fn in_submodule(part: &PartialService, path: &str, submodule: &str) -> InvalidGitPath {
    let service = &part.service;
    let rest = path.strip_prefix(submodule).unwrap_or(path);
    let rest = rest.trim_start_matches('/');
    InvalidGitPath {
        message: format!(
            "service `{service}`: `{path}` is inside the submodule `{submodule}`, whose files are in another repository"
        ),
        near: Vec::new(),
        help: Some(format!(
            "set `git.remote` to the submodule's repository, and `git.path` to `{rest}`"
        )),
        path: path.to_owned(),
    }
}

fn not_a_folder(part: &PartialService, path: &str, kind: PathKind) -> InvalidGitPath {
    let service = &part.service;
    let (what, help) = match kind {
        PathKind::Submodule => (
            "a submodule",
            Some("set `git.remote` to the submodule's repository"),
        ),
        PathKind::Link => ("a symbolic link", Some("use the folder that it points to")),
        PathKind::File | PathKind::Folder => ("a file", None),
    };
    InvalidGitPath {
        message: format!(
            "service `{service}`: `{path}` is {what}, but `git.path` must be a folder"
        ),
        near: Vec::new(),
        help: help.map(str::to_owned),
        path: path.to_owned(),
    }
}
