//! `.gitmodules` as an input: finds commits that changed the entries of a service's submodules.

use super::PartialService;
use crate::client::git::{GitError, LastTouch, OperationContext, PathsAt, WorkingCopy};
use crate::model::source::CommitId;

/// The file with the URLs of submodules.
pub(super) const MODULES: &str = ".gitmodules";

/// Returns the last commit that touched the paths of a service or the `.gitmodules` entries of its submodules: an older
/// commit may have a URL that no longer exists.
pub(super) fn with_modules(
    copy: &WorkingCopy,
    part: &PartialService,
    touched: LastTouch,
    watch: &OperationContext<'_>,
) -> Result<LastTouch, GitError> {
    let LastTouch::Commit(touched_paths) = touched else {
        return Ok(touched);
    };
    let tip = part.tip.commit;
    if !part.submodules || !copy.has_submodules(tip, &part.selection.paths)? {
        return Ok(touched);
    }
    let modules = |commit| relevant(copy, commit, &part.selection.paths);
    if modules(touched_paths)? == modules(tip)? {
        return Ok(touched);
    }
    let selection = part.with_modules();
    let mut from = tip;
    loop {
        let request = PathsAt {
            tip: from,
            selection: selection.clone(),
        };
        let found = copy.last_touched(&[request], watch)?.into_iter().next();
        let Some(LastTouch::Commit(commit)) = found else {
            return Ok(found.unwrap_or(touched));
        };
        let Some(parent) = copy.first_parent(commit)? else {
            return Ok(LastTouch::Commit(commit));
        };
        // The change may concern only other submodules.
        let is_touched = commit == touched_paths
            || copy.differs_in(&part.selection, commit, parent)
            || modules(commit)? != modules(parent)?;
        if is_touched {
            return Ok(LastTouch::Commit(commit));
        }
        from = parent;
    }
}

/// Returns the `.gitmodules` sections of submodules inside these paths, at a commit.
fn relevant(
    copy: &WorkingCopy,
    commit: CommitId,
    paths: &[String],
) -> Result<Vec<Vec<String>>, GitError> {
    let text = copy.read_file_at(commit, MODULES)?.unwrap_or_default();
    Ok(sections(&String::from_utf8_lossy(&text), paths))
}

/// Returns the sections of submodules inside these paths, sorted. Sections without a recognizable path are included.
fn sections(text: &str, paths: &[String]) -> Vec<Vec<String>> {
    let mut sections: Vec<Vec<String>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match sections.last_mut() {
            Some(section) if !line.starts_with('[') => section.push(line.to_owned()),
            _ => sections.push(vec![line.to_owned()]),
        }
    }
    sections.retain(|section| match path_of(section) {
        Some(path) => paths.iter().any(|of_service| is_below(path, of_service)),
        None => true,
    });
    sections.sort();
    sections
}

fn path_of(section: &[String]) -> Option<&str> {
    section.iter().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let is_path = key.trim().eq_ignore_ascii_case("path");
        is_path.then(|| value.trim().trim_matches('"').trim_end_matches('/'))
    })
}

fn is_below(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_services_own_submodules_count() {
        let of = |text: &str| sections(text, &["svc".to_owned(), "libs/a".to_owned()]);
        let own = "[submodule \"x\"]\n\tpath = svc/x\n\turl = ../x\n";
        let other = "[submodule \"y\"]\n\tpath = svcs/y\n\turl = ../y\n";
        assert_eq!(of(&format!("{own}{other}")), of(own));
        assert_eq!(of(&format!("{other}# text\n\n{own}")), of(own));
        assert_ne!(of(&own.replace("../x", "../z")), of(own));
        assert_eq!(
            of("[submodule \"a\"]\n path = \"libs/a\"\n url = u").len(),
            1
        );
        assert_eq!(of("[submodule \"a\"]\n url = u").len(), 1);
        assert!(of(other).is_empty() && of("").is_empty());
    }
}
