//! The build context: the files that a Dockerfile can copy.

mod tarball;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use walkdir::WalkDir;

use super::dockerignore::{Dockerignore, InvalidPattern};
use crate::model::source::PathSelection;

/// The name under which a Dockerfile outside the context is sent.
const OUTSIDE_DOCKERFILE: &str = ".dockerfile.xp";

/// The maximum size of a `.dockerignore`, in bytes: each of its lines is matched against each file.
const MAX_IGNORE_FILE_SIZE: u64 = 64 * 1024;

/// A folder to send to the engine.
#[derive(Debug)]
pub struct ContextFolder {
    folder: PathBuf,
    dockerfile: PathBuf,
    /// The Dockerfile's name in the archive.
    name: String,
    ignore: Dockerignore,
    /// An excluded folder in it.
    excluded_folder: Option<PathBuf>,
    /// The files that are visited, relative to a folder.
    selected: Option<(PathBuf, PathSelection)>,
}

/// The context is invalid.
#[derive(Debug, Error)]
pub enum ContextError {
    /// The Dockerfile does not exist.
    #[error("no Dockerfile at {}", .0.display())]
    NoDockerfile(PathBuf),
    /// The context is not a folder.
    #[error("the build context {} is not a folder", .0.display())]
    NoFolder(PathBuf),
    /// A symbolic link leads outside.
    #[error("{} is a symbolic link that points outside the service's files, or its target does not exist", .0.display())]
    LeadsOut(PathBuf),
    /// A `.dockerignore` is a folder, a pipe or a device.
    #[error("{} is not a file", .0.display())]
    NoFile(PathBuf),
    /// A `.dockerignore` is too large.
    #[error("{} is larger than {} KiB", .0.display(), MAX_IGNORE_FILE_SIZE / 1024)]
    LargeIgnore(PathBuf),
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A `.dockerignore` is invalid.
    #[error("{} is invalid", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// The line and the pattern.
        source: InvalidPattern,
    },
}

/// Returns the Dockerfile of a context. Like `docker build`, falls back to `dockerfile` if there is no `Dockerfile`.
pub fn dockerfile_in(folder: &Path, dockerfile: &Path) -> PathBuf {
    let lower = folder.join("dockerfile");
    let is_default = dockerfile == folder.join("Dockerfile");
    if is_default && fs::symlink_metadata(dockerfile).is_err() && lower.is_file() {
        lower
    } else {
        dockerfile.to_owned()
    }
}

impl ContextFolder {
    /// Opens a context: checks that it and its Dockerfile exist, and reads the `.dockerignore`, preferably the one
    /// named after the Dockerfile.
    ///
    /// Nothing outside `root` is read: a link out of it, committed or created by a script, could bring files of this
    /// machine into the image.
    ///
    /// # Errors
    ///
    /// See [`ContextError`].
    pub fn open(root: &Path, folder: &Path, dockerfile: &Path) -> Result<Self, ContextError> {
        let dockerfile = &dockerfile_in(folder, dockerfile);
        if !folder.is_dir() {
            return Err(ContextError::NoFolder(folder.to_owned()));
        }
        if !dockerfile.is_file() {
            return Err(match fs::symlink_metadata(dockerfile) {
                Ok(found) if found.is_symlink() => ContextError::LeadsOut(dockerfile.to_owned()),
                _ => ContextError::NoDockerfile(dockerfile.to_owned()),
            });
        }
        let root = real(root)?;
        let (real_folder, real_dockerfile) = (within(&root, folder)?, within(&root, dockerfile)?);
        let name = match real(dockerfile.parent().unwrap_or(dockerfile))?.strip_prefix(&real_folder)
        {
            Ok(parent) => {
                let file = dockerfile.file_name().unwrap_or_default();
                parent.join(file).to_string_lossy().into_owned()
            }
            Err(_) => OUTSIDE_DOCKERFILE.to_owned(),
        };
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        let mut ignore = Dockerignore::default();
        for path in [PathBuf::from(own), real_folder.join(".dockerignore")] {
            match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(ContextError::Unreadable { path, source }),
                Ok(_) => {}
            }
            let unreadable = |source| ContextError::Unreadable {
                path: path.clone(),
                source,
            };
            let file = within(&root, &path)?;
            // Opening a pipe would block until there is a writer.
            if !file.is_file() {
                return Err(ContextError::NoFile(path));
            }
            let file = File::open(file).map_err(unreadable)?;
            let mut bytes = Vec::new();
            file.take(MAX_IGNORE_FILE_SIZE + 1)
                .read_to_end(&mut bytes)
                .map_err(unreadable)?;
            if bytes.len() as u64 > MAX_IGNORE_FILE_SIZE {
                return Err(ContextError::LargeIgnore(path));
            }
            ignore = Dockerignore::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|source| ContextError::Ignore { path, source })?;
            break;
        }
        Ok(Self {
            folder: real_folder,
            dockerfile: real_dockerfile,
            name,
            ignore,
            excluded_folder: None,
            selected: None,
        })
    }

    /// Excludes a folder, regardless of `.dockerignore`.
    pub fn without(mut self, folder: Option<&Path>) -> Self {
        // A folder that does not exist needs no exclusion.
        self.excluded_folder = folder.and_then(|folder| fs::canonicalize(folder).ok());
        self
    }

    /// Restricts the context to these files, relative to `root`, and the Dockerfile.
    ///
    /// # Errors
    ///
    /// If `root` cannot be read.
    pub fn only(mut self, root: &Path, selected: &PathSelection) -> Result<Self, ContextError> {
        if !selected.is_whole() {
            self.selected = Some((real(root)?, selected.clone()));
        }
        Ok(self)
    }

    /// Returns whether an entry is selected, may contain something that is, or is the kept file or one of its folders.
    fn is_selected(&self, path: &Path, is_folder: bool, kept: Option<&Path>) -> bool {
        let Some((root, selected)) = &self.selected else {
            return true;
        };
        if kept.is_some_and(|kept| self.folder.join(kept).starts_with(path)) {
            return true;
        }
        let Ok(relative) = path.strip_prefix(root) else {
            return true;
        };
        let relative = relative.as_os_str().as_encoded_bytes();
        if is_folder {
            relative.is_empty() || !selected.is_outside(relative)
        } else {
            selected.includes(relative)
        }
    }

    /// Returns the Dockerfile's name in the archive.
    pub fn dockerfile(&self) -> &str {
        &self.name
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the Dockerfile's path.
    pub fn dockerfile_path(&self) -> &Path {
        &self.dockerfile
    }

    /// Calls `visit` with the path and the relative name of all entries that are not ignored, sorted, and folders
    /// before their contents. `kept` is a file that is visited even if it is ignored. An ignored folder is not visited,
    /// even if something in it is.
    pub fn visit(
        &self,
        kept: Option<&Path>,
        mut visit: impl FnMut(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut entries = WalkDir::new(&self.folder)
            .min_depth(1)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(io::Error::from)?;
            let relative = entry
                .path()
                .strip_prefix(&self.folder)
                .map_err(io::Error::other)?;
            let is_excluded = self.excluded_folder.as_deref() == Some(entry.path());
            let is_folder = entry.file_type().is_dir();
            if is_excluded || !self.is_selected(entry.path(), is_folder, kept) {
                if !is_folder {
                    continue;
                }
                entries.skip_current_dir();
                continue;
            }
            let name = relative.to_string_lossy();
            if self.ignore.excludes(&name) && kept != Some(relative) {
                let holds_kept = kept.is_some_and(|kept| kept.starts_with(relative));
                if entry.file_type().is_dir() && !self.ignore.may_keep_below(&name) && !holds_kept {
                    entries.skip_current_dir();
                }
                continue;
            }
            visit(entry.path(), relative)?;
        }
        Ok(())
    }
}

/// Adds the path to an error.
pub fn cannot_read(path: &Path, error: &io::Error) -> io::Error {
    let what = format!("{} cannot be read: {error}", path.display());
    io::Error::new(error.kind(), what)
}

/// Returns whether a file has no content to copy: a socket, a pipe or a device.
pub fn is_special(kind: fs::FileType) -> bool {
    kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device()
}

/// Resolves all links in a path.
fn real(path: &Path) -> Result<PathBuf, ContextError> {
    fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ContextError::LeadsOut(path.to_owned()),
        _ => ContextError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })
}

/// Resolves all links in a path, which must be within `root`.
fn within(root: &Path, path: &Path) -> Result<PathBuf, ContextError> {
    let found = real(path)?;
    if found.starts_with(root) {
        Ok(found)
    } else {
        Err(ContextError::LeadsOut(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entries(context: &ContextFolder) -> BTreeMap<String, (u32, tar::EntryType, Vec<u8>)> {
        let mut bytes = Vec::new();
        context.write(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().uid().unwrap(), 0);
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                content = target.to_string_lossy().into_owned().into_bytes();
            }
            found.insert(
                name,
                (
                    entry.header().mode().unwrap() & 0o777,
                    entry.header().entry_type(),
                    content,
                ),
            );
        }
        found
    }

    #[test]
    fn modes_links_and_long_paths_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
        fs::create_dir(folder.path().join("d".repeat(120))).unwrap();
        fs::write(folder.path().join(&long), "long").unwrap();
        fs::write(folder.path().join("Dockerfile"), "FROM scratch").unwrap();
        fs::write(folder.path().join("run"), "x").unwrap();
        fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("../outside/nowhere", folder.path().join("link")).unwrap();
        let context = ContextFolder::open(
            folder.path(),
            folder.path(),
            &folder.path().join("Dockerfile"),
        )
        .unwrap();
        let entries = entries(&context);
        assert_eq!(entries[&long].2, b"long");
        assert_eq!(entries["run"].0, 0o750);
        assert_eq!(entries["link"].1, tar::EntryType::Symlink);
        assert_eq!(entries["link"].2, b"../outside/nowhere");
    }

    #[test]
    fn ignored_files_are_excluded_but_the_dockerfile_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("docker/Dockerfile", "FROM scratch");
        write(".dockerignore", "*\n!dist/**\n");
        write("dist/app", "x");
        write("secret", "x");
        let context = ContextFolder::open(
            folder.path(),
            folder.path(),
            &folder.path().join("docker/Dockerfile"),
        )
        .unwrap();
        let names: Vec<_> = entries(&context).into_keys().collect();
        assert_eq!(names, ["dist/app", "docker/Dockerfile"]);

        write("docker/Dockerfile.dockerignore", "dist\n");
        let context = ContextFolder::open(
            folder.path(),
            folder.path(),
            &folder.path().join("docker/Dockerfile"),
        )
        .unwrap();
        assert!(entries(&context).contains_key("secret"));
        assert!(!entries(&context).contains_key("dist/app"));
    }

    #[test]
    fn nothing_outside_is_read() {
        let outside = tempfile::tempdir().unwrap();
        for name in ["Dockerfile", "key", "ignore"] {
            fs::write(outside.path().join(name), "FROM scratch").unwrap();
        }
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("Dockerfile"), "FROM scratch").unwrap();
        symlink(outside.path(), path("out")).unwrap();
        symlink(outside.path().join("Dockerfile"), path("linked")).unwrap();
        symlink("/nowhere", path("broken")).unwrap();
        symlink("Dockerfile", path("inside")).unwrap();
        let open = |context: &str, file: &str| {
            ContextFolder::open(root.path(), &path(context), &path(file))
        };
        for (context, file) in [
            ("out", "Dockerfile"),
            ("", "out/Dockerfile"),
            ("", "linked"),
            ("", "broken"),
        ] {
            let error = open(context, file).unwrap_err();
            assert!(
                matches!(error, ContextError::LeadsOut(_)),
                "{context} {file}: {error}"
            );
        }
        assert_eq!(open("", "inside").unwrap().dockerfile(), "inside");
        symlink(outside.path().join("ignore"), path(".dockerignore")).unwrap();
        let error = open("", "Dockerfile").unwrap_err();
        assert!(matches!(error, ContextError::LeadsOut(_)), "{error}");
        fs::remove_file(path(".dockerignore")).unwrap();
        fs::write(path(".dockerignore"), "x\n".repeat(100_000)).unwrap();
        let error = open("", "Dockerfile").unwrap_err();
        assert!(matches!(error, ContextError::LargeIgnore(_)), "{error}");
    }

    #[test]
    fn a_missing_dockerfile_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let error = ContextFolder::open(
            folder.path(),
            folder.path(),
            &folder.path().join("Dockerfile"),
        )
        .unwrap_err();
        assert!(error.to_string().contains("no Dockerfile at"), "{error}");
    }
}
