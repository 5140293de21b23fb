//! Where in a folder the working copies are.

use std::fs;
use std::io;
use std::path::Path;

use crate::init::join_path;

/// How many folders deep working copies are looked for.
const MAX_DEPTH: usize = 5;

/// How many folders are looked into.
const MAX_FOLDERS: usize = 20_000;

/// Folders that never hold the working copies of a platform, whatever else they hold.
const NEVER: &[&str] = &["node_modules", "target", "vendor", "venv", "__pycache__"];

/// What was found, and what could not be looked into, with the reason.
type Found = (Vec<String>, Vec<(String, String)>);

/// Returns the folders below `root` that are working copies, and `.` where it is one itself.
///
/// Working copies in a working copy are its own affair, except in `root`. Links are not followed: a
/// working copy behind one may be anywhere.
pub(super) fn working_copies(root: &Path, own_files: &Path) -> io::Result<Found> {
    let mut found: Found = (Vec::new(), Vec::new());
    if is_working_copy(root) {
        found.0.push(".".to_owned());
    }
    // Errors of the folder itself are the caller's, those below are told.
    fs::read_dir(root)?;
    let mut looked = 0;
    let mut waiting = vec![(String::new(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        looked += 1;
        if looked > MAX_FOLDERS {
            let why =
                format!("it has more than {MAX_FOLDERS} folders, and not all were looked into");
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
                let why = "its name cannot stand in a manifest";
                found.1.push((shown, why.to_owned()));
                continue;
            };
            if name.starts_with('.') || NEVER.contains(&name.as_str()) {
                continue;
            }
            let path = match folder.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            if is_working_copy(&entry.path()) {
                found.0.push(path);
            } else if depth + 1 < MAX_DEPTH {
                waiting.push((path, depth + 1));
            }
        }
    }
    found.0.sort();
    Ok(found)
}

fn is_working_copy(folder: &Path) -> bool {
    // A file in a linked worktree or a submodule.
    folder.join(".git").symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_copies_are_found_and_links_and_insides_are_not() {
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
