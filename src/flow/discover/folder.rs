//! Finds the working copies below a folder.

use std::fs;
use std::io;
use std::path::Path;

use crate::model::init::join_path;

/// Maximum depth of the search.
const MAX_DEPTH: usize = 5;

/// Maximum number of folders to search.
const MAX_FOLDERS: usize = 20_000;

/// Folders that are not searched.
const IGNORED: &[&str] = &["node_modules", "target", "vendor", "venv", "__pycache__"];

/// The working copies, and the folders that could not be searched, with the reason.
type FoundWorkingCopies = (Vec<String>, Vec<(String, String)>);

/// Returns the folders below `root` that are working copies, and `.` if it is one itself.
///
/// Working copies other than `root` are not searched for nested ones. Symbolic links are not followed.
pub(super) fn working_copies(root: &Path, own_files: &Path) -> io::Result<FoundWorkingCopies> {
    let mut found: FoundWorkingCopies = (Vec::new(), Vec::new());
    if is_working_copy(root) {
        found.0.push(".".to_owned());
    }
    // An unreadable root is an error; unreadable folders below it are reported in the result.
    fs::read_dir(root)?;
    let mut searched = 0;
    let mut queue = vec![(String::new(), 0)];
    while let Some((folder, depth)) = queue.pop() {
        searched += 1;
        if searched > MAX_FOLDERS {
            let why = format!("only the first {MAX_FOLDERS} folders were searched");
            found.1.push((".".to_owned(), why));
            break;
        }
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) => {
                found.1.push((folder, format!("cannot be read: {error}")));
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || entry.path() == own_files {
                continue;
            }
            let name = entry.file_name().into_string().ok();
            let Some(name) = name.filter(|name| join_path(".", name).is_some()) else {
                let shown = entry.path().display().to_string();
                let why = "its name is not allowed in a manifest";
                found.1.push((shown, why.to_owned()));
                continue;
            };
            if name.starts_with('.') || IGNORED.contains(&name.as_str()) {
                continue;
            }
            let path = match folder.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            if is_working_copy(&entry.path()) {
                found.0.push(path);
            } else if depth + 1 < MAX_DEPTH {
                queue.push((path, depth + 1));
            }
        }
    }
    found.0.sort();
    Ok(found)
}

/// Returns the nearest working copy above a folder, and the folder's path in it.
pub(super) fn enclosing(folder: &Path) -> Option<(&Path, String)> {
    let top = folder
        .ancestors()
        .skip(1)
        .find(|above| is_working_copy(above))?;
    let below = folder.strip_prefix(top).ok()?.to_str()?;
    join_path(".", below).map(|below| (top, below))
}

pub(super) fn is_working_copy(folder: &Path) -> bool {
    // `.git` is a file in linked worktrees and submodules.
    folder.join(".git").symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_nested_working_copies_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for dir in [
            ".git",
            "api/.git",
            "api/inner/.git",
            "a/b/c/d/e/.git",
            "a/b/c/d/e2/f/.git",
            ".hidden/x/.git",
            "node_modules/x/.git",
            ".xp/build/x/.git",
            "plain",
            "back\\slash/.git",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::create_dir_all(root.join("linked")).unwrap();
        fs::write(root.join("linked/.git"), "gitdir: elsewhere\n").unwrap();
        std::os::unix::fs::symlink(root.join("api"), root.join("link")).unwrap();
        let (dirs, unreadable) = working_copies(root, &root.join(".xp")).unwrap();
        assert_eq!(dirs, [".", "a/b/c/d/e", "api", "linked"]);
        assert_eq!(unreadable.len(), 1);
        assert!(unreadable[0].0.contains("slash"), "{unreadable:?}");
        assert!(working_copies(&root.join("gone"), root).is_err());
    }
}
