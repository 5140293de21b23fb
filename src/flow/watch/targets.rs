//! What `--watch` watches: working copies, builder folders, the manifest and compose files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use walkdir::WalkDir;

use crate::base::error::Failure;
use crate::client::git::{Opened, WorkingCopy};
use crate::execute::folder_files::OWN_DATA;
use crate::flow::session::Session;
use crate::host::file_watch::FileWatch;
use crate::model::event::Unit;
use crate::model::manifest::{BuilderImage, ComposeEnvironment, ServiceName};
use crate::model::source::PathSelection;
use crate::model::watch::is_editor_file;

/// The folders and files to watch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Targets {
    roots: Vec<Root>,
    /// The manifest and compose files.
    files: BTreeSet<PathBuf>,
    /// The manifest's folder.
    folder: PathBuf,
    /// The `.xp` folder.
    own: PathBuf,
}

/// A folder of a service or a builder.
#[derive(Debug, PartialEq, Eq)]
struct Root {
    unit: Unit,
    dir: PathBuf,
    /// The files of the service; `None` if the folder is no git working copy.
    selection: Option<PathSelection>,
}

/// A changed file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedFile {
    /// The service or builder; `None` for the manifest and compose files.
    pub unit: Option<Unit>,
    /// The path relative to the folder of the unit, or of the manifest.
    pub shown: String,
}

impl Targets {
    /// Returns what to watch for some services and the environment that they are deployed to.
    pub fn of(
        session: &Session,
        services: &BTreeSet<ServiceName>,
        environment: Option<&ComposeEnvironment>,
    ) -> Self {
        let manifest = &session.manifest;
        let mut roots = Vec::new();
        let mut builders = BTreeSet::new();
        for service in services
            .iter()
            .filter_map(|name| manifest.services.get(name))
        {
            roots.push(Root {
                unit: Unit::Service(service.name.clone()),
                dir: joined(&manifest.folder, &service.dir),
                selection: service.source.git().map(|git| git.selection()),
            });
            for image in service.images().into_iter().chain(service.used_images()) {
                if let BuilderImage::Folder(name) = image {
                    builders.insert(name.clone());
                }
            }
        }
        let folder = joined(&manifest.folder, &manifest.builders.dir);
        roots.extend(builders.into_iter().map(|name| Root {
            dir: folder.join(name.as_str()),
            unit: Unit::Builder(name),
            selection: None,
        }));
        let compose = environment
            .iter()
            .flat_map(|environment| &environment.files);
        let compose = compose.map(|file| joined(&manifest.folder, file));
        let file = manifest.file.file_name().map(Path::new);
        let file = file.map(|name| manifest.folder.join(name));
        Self {
            roots,
            files: compose.chain(file).collect(),
            folder: manifest.folder.clone(),
            own: session.layout.root().to_owned(),
        }
    }

    /// Returns the watched services.
    pub fn services(&self) -> Vec<Unit> {
        let units = self.roots.iter().map(|root| root.unit.clone());
        units
            .filter(|unit| matches!(unit, Unit::Service(_)))
            .collect()
    }

    /// Watches the folders instead of the former ones, and returns their number. Blocks.
    ///
    /// # Errors
    ///
    /// The limit of the system is reached.
    pub fn register(&self, watch: &FileWatch) -> Result<usize, Failure> {
        let mut registration = watch.register();
        let mut by_dir: BTreeMap<&Path, Vec<&PathSelection>> = BTreeMap::new();
        for root in &self.roots {
            // Reports that the folder was removed, and created again.
            registration.add_entry(&root.dir)?;
            match &root.selection {
                Some(selection) => by_dir.entry(&root.dir).or_default().push(selection),
                None => {
                    for folder in plain_folders(&root.dir, &self.own) {
                        registration.add(&folder)?;
                    }
                }
            }
        }
        for (dir, selections) in by_dir {
            match WorkingCopy::open(dir) {
                Ok(Opened::WorkingCopy(working_copy)) => {
                    working_copy.visit_source_folders(&selections, &self.own, &mut |folder| {
                        registration.add(folder)
                    })?;
                }
                // A clone may follow.
                Ok(Opened::Nothing | Opened::OtherFiles | Opened::NotAFolder) | Err(_) => {
                    registration.add(dir)?;
                }
            }
        }
        for file in &self.files {
            registration.add_entry(file)?;
        }
        Ok(registration.finish())
    }

    /// Returns what each path is, if it may matter. Blocks.
    pub fn changed_files(&self, paths: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Vec<ChangedFile>> {
        let mut working_copies = BTreeMap::new();
        let mut found = BTreeMap::new();
        let is_editors = |path: &Path| {
            let name = path.file_name().and_then(OsStr::to_str);
            name.is_some_and(is_editor_file)
        };
        let is_other = |path: &&PathBuf| !path.starts_with(&self.own) && !is_editors(path);
        for path in paths.iter().filter(is_other) {
            let mut files = Vec::new();
            if self.files.contains(path) {
                let shown = path.strip_prefix(&self.folder).unwrap_or(path);
                let shown = shown.display().to_string();
                files.push(ChangedFile { unit: None, shown });
            }
            for root in &self.roots {
                let Ok(relative) = path.strip_prefix(&root.dir) else {
                    continue;
                };
                let is_relevant = match &root.selection {
                    _ if relative.as_os_str().is_empty() => true,
                    Some(selection) => {
                        let working_copy = working_copies
                            .entry(root.dir.as_path())
                            .or_insert_with(|| WorkingCopy::open(&root.dir));
                        let is_source = match working_copy {
                            Ok(Opened::WorkingCopy(it)) => it.is_source(relative),
                            _ => true,
                        };
                        let bytes = relative.as_os_str().as_encoded_bytes();
                        is_source && !selection.is_outside(bytes)
                    }
                    None => !relative
                        .iter()
                        .any(|name| OWN_DATA.iter().any(|it| name == *it)),
                };
                if is_relevant {
                    let shown = if relative.as_os_str().is_empty() {
                        root.dir.strip_prefix(&self.folder).unwrap_or(&root.dir)
                    } else {
                        relative
                    };
                    let slash = if path.is_dir() { "/" } else { "" };
                    files.push(ChangedFile {
                        unit: Some(root.unit.clone()),
                        shown: format!("{}{slash}", shown.display()),
                    });
                }
            }
            if !files.is_empty() {
                found.insert(path.clone(), files);
            }
        }
        found
    }

    /// Returns whether git is changing the files of a working copy. An old lock is left over from a git that was killed.
    pub fn is_git_busy(&self, longest: Duration) -> bool {
        let is_recent = |lock: &Path| {
            let modified = lock.metadata().and_then(|lock| lock.modified()).ok();
            let age = modified.map(|modified| modified.elapsed().unwrap_or_default());
            age.is_some_and(|age| age < longest)
        };
        let dirs: BTreeSet<&Path> = self
            .roots
            .iter()
            .filter(|root| root.selection.is_some())
            .map(|root| root.dir.as_path())
            .collect();
        dirs.into_iter().any(|dir| match WorkingCopy::open(dir) {
            Ok(Opened::WorkingCopy(working_copy)) => is_recent(&working_copy.index_lock()),
            _ => false,
        })
    }
}

/// Returns a folder with its subfolders, without data of version control systems.
fn plain_folders(dir: &Path, own: &Path) -> impl Iterator<Item = PathBuf> {
    let own = own.to_owned();
    let entries = WalkDir::new(dir).into_iter().filter_entry(move |entry| {
        let is_data = OWN_DATA.iter().any(|name| entry.file_name() == *name);
        entry.depth() == 0 || entry.file_type().is_dir() && !is_data && entry.path() != own
    });
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    folders.map(walkdir::DirEntry::into_path)
}

/// Joins paths without a final `.`, which would not be equal to the paths of events.
fn joined(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path).components().collect()
}
