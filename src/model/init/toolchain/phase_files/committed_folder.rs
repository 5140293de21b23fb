//! The files of a service's folder in the commit to build.

use super::super::super::folder::Repository;
use super::super::super::path;

/// A folder of the commit to build. Its paths are relative to it.
pub(super) struct CommittedFolder<'f> {
    repository: &'f Repository,
    folder: &'f str,
    read: &'f dyn Fn(&str) -> Option<String>,
}

impl<'f> CommittedFolder<'f> {
    /// Returns a folder of a repository; `None` if the files of its commit are unknown.
    pub fn new(
        repository: &'f Repository,
        folder: &'f str,
        read: &'f dyn Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        repository.files.as_ref()?;
        Some(Self {
            repository,
            folder,
            read,
        })
    }

    /// Returns the text of a file.
    pub fn text(&self, path: &str) -> Option<String> {
        (self.read)(&self.in_repository(path).filter(|_| self.is_file(path))?)
    }

    /// Returns whether a path is a file of the commit, and not a link.
    pub fn is_file(&self, path: &str) -> bool {
        self.in_repository(path).is_some_and(|path| {
            self.repository.holds_file(&path) && !self.repository.holds_file(&format!("{path}/"))
        })
    }

    /// Returns whether the commit has nothing at a path.
    pub fn is_absent(&self, path: &str) -> bool {
        let path = self.in_repository(path);
        path.is_some_and(|path| !self.repository.holds(&path))
    }

    /// Returns whether a path is a file, or a folder that contains neither links nor submodules.
    pub fn is_known(&self, path: &str) -> bool {
        self.is_file(path) || self.is_folder(path)
    }

    /// Adds a file or folder if it exists. Returns `None` if it contains links or submodules.
    pub fn add_existing(&self, path: &str, inputs: &mut Vec<String>) -> Option<()> {
        if self.is_absent(path) {
            return Some(());
        }
        self.add(path, inputs)
    }

    /// Adds a file or folder, once. Returns `None` if it does not exist, or contains links or submodules.
    pub fn add(&self, path: &str, inputs: &mut Vec<String>) -> Option<()> {
        if !self.is_known(path) {
            return None;
        }
        if inputs
            .iter()
            .all(|known| path::below(path, known).is_none())
        {
            inputs.push(path.to_owned());
        }
        Some(())
    }

    /// Returns the files of the folder; links and submodules are also listed with a trailing slash.
    pub fn files(&self) -> impl Iterator<Item = String> {
        let files = self.repository.files.iter().flatten();
        files.filter_map(|file| path::below(file, self.folder))
    }

    fn is_folder(&self, path: &str) -> bool {
        let Some(path) = self.in_repository(path) else {
            return false;
        };
        let folder = format!("{path}/");
        let files = self.repository.files.iter();
        let mut files = files
            .flat_map(|files| files.range(folder.clone()..))
            .take_while(|file| file.starts_with(&folder))
            .peekable();
        files.peek().is_some() && files.all(|file| !file.ends_with('/'))
    }

    /// Returns a path in the repository; `None` if it is outside the folder, or would be a pattern or an option of one.
    fn in_repository(&self, path: &str) -> Option<String> {
        if path.contains(['*', '?', '[', ']']) || path.starts_with(['!', ':', '~', '/']) {
            return None;
        }
        let joined = path::join(".", path)?;
        if joined != path || joined == "." {
            return None;
        }
        path::join(self.folder, path)
    }
}
