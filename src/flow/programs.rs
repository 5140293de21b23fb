//! The programs that xp runs, found as a shell finds them.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Finds an executable in the folders of `PATH`.
pub fn program(name: &str, path: &str) -> Option<PathBuf> {
    let files = path
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(name));
    files
        .into_iter()
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_executables_are_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tool"), "").unwrap();
        let path = format!(":/nowhere:{}:/bin:/usr/bin", folder.path().display());
        assert_eq!(program("tool", &path), None);
        assert!(program("sh", &path).is_some());
    }
}
