//! The state of a folder that is no git working copy: all of its files.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};
use walkdir::WalkDir;

use crate::model::source::{TreeChanges, TreeHasher};

/// Folders and files in which version control systems keep their own data.
pub const OWN_DATA: [&str; 11] = [
    ".bzr",
    ".fslckout",
    ".git",
    ".hg",
    ".jj",
    ".pijul",
    ".sl",
    ".svn",
    "CVS",
    "_FOSSIL_",
    "_darcs",
];

/// The number of files that are named.
const NAMED_FILES: usize = 3;

/// Returns the files of a folder and their digest, except the data of version control systems and `excluded`, xp's own
/// folder. Special files are skipped.
///
/// # Errors
///
/// If a file cannot be read.
pub fn folder_files(folder: &Path, excluded: &Path) -> io::Result<TreeChanges> {
    let is_source = |entry: &walkdir::DirEntry| {
        let is_own = OWN_DATA.iter().any(|name| entry.file_name() == *name);
        entry.depth() == 0 || !(is_own || entry.path() == excluded)
    };
    let mut files: Vec<(PathBuf, fs::FileType)> = Vec::new();
    for entry in WalkDir::new(folder).into_iter().filter_entry(is_source) {
        let entry = entry?;
        if !entry.file_type().is_dir() {
            files.push((entry.path().to_owned(), entry.file_type()));
        }
    }
    files.sort_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
    let mut hasher = TreeHasher::default();
    let mut paths = Vec::new();
    let mut count = 0;
    for (path, kind) in files {
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        let name = relative.as_os_str().as_bytes();
        if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            hasher.symlink(name, target.as_os_str().as_bytes());
        } else if kind.is_file() {
            let mut file = File::open(&path)?;
            let executable = file.metadata()?.permissions().mode() & 0o111 != 0;
            let mut content = Sha1::new();
            let mut buffer = [0; 64 * 1024];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    count => content.update(&buffer[..count]),
                }
            }
            hasher.file(name, executable, content.finalize().into());
        } else {
            continue;
        }
        count += 1;
        if paths.len() < NAMED_FILES {
            paths.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(TreeChanges {
        digest: hasher.finish(),
        count,
        excluded: 0,
        paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_covers_all_files_but_the_data_of_version_control() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(".xp");
        let digest = || folder_files(folder.path(), &own).unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/b", "1");
        write("c", "2");
        let first = digest();
        assert_eq!(
            (first.count, first.paths),
            (2, vec!["a/b".to_owned(), "c".to_owned()])
        );
        write(".hg/store", "x");
        write(".xp/lock", "x");
        write("a/CVS/Root", "x");
        assert_eq!(digest().digest, first.digest);
        write("a/b", "2");
        let second = digest().digest;
        assert_ne!(second, first.digest);
        write("a/b", "1");
        assert_eq!(digest().digest, first.digest);
        fs::set_permissions(folder.path().join("c"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(digest().digest, first.digest);
        std::os::unix::fs::symlink("c", folder.path().join("d")).unwrap();
        assert_eq!(digest().count, 3);
    }
}
