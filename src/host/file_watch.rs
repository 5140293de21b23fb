//! Changes in folders, reported by the kernel.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::StreamExt as _;
use inotify::{EventMask, EventOwned, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::Notify;

use crate::base::error::Failure;
use crate::base::plural::count_of;

/// Room for at least 60 events with the longest names.
const BUFFER_BYTES: usize = 16 * 1024;

/// The number of changed files that are remembered; further ones are only counted as a change of everything.
const REMEMBERED: usize = 10_000;

/// Watches folders, without their subfolders.
pub struct FileWatch {
    watches: Watches,
    state: Arc<Mutex<WatchState>>,
    changed: Arc<Notify>,
}

/// What happened in the watched folders.
#[derive(Debug, Default)]
pub struct FileChanges {
    /// The files and folders that changed; those that were created and removed again are left out.
    pub paths: BTreeSet<PathBuf>,
    /// Whether more changed than is known.
    pub is_incomplete: bool,
    /// Whether a folder was created, moved or removed, so that other folders must be watched.
    pub are_folders_changed: bool,
}

impl FileChanges {
    /// Returns whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.is_incomplete && !self.are_folders_changed
    }

    /// Adds changes.
    pub fn extend(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.is_incomplete |= other.is_incomplete;
        self.are_folders_changed |= other.are_folders_changed;
    }
}

#[derive(Default)]
struct WatchState {
    folders: HashMap<WatchDescriptor, WatchedFolder>,
    /// The changed paths, and whether each of them was created.
    paths: BTreeMap<PathBuf, bool>,
    is_incomplete: bool,
    are_folders_changed: bool,
    last: Option<Instant>,
}

struct WatchedFolder {
    path: PathBuf,
    /// The entries that matter; `None` for all.
    names: Option<BTreeSet<OsString>>,
}

/// The folders to watch, being registered.
pub struct Registration<'w> {
    watch: &'w FileWatch,
    folders: HashMap<WatchDescriptor, WatchedFolder>,
}

impl FileWatch {
    /// Starts without any folder.
    ///
    /// # Errors
    ///
    /// If the user has too many watching programs.
    pub fn start() -> Result<Self, Failure> {
        let stream = Inotify::init()
            .and_then(|inotify| inotify.into_event_stream(vec![0; BUFFER_BYTES]))
            .map_err(|error| match error.raw_os_error() {
                Some(code) if code == rustix::io::Errno::MFILE.raw_os_error() => {
                    Failure::outside(
                        "cannot watch files: too many programs of this user do\n\
                         hint: end some of them, or raise the limit: `sudo sysctl fs.inotify.max_user_instances=1024`",
                    )
                }
                _ => Failure::outside(format!("cannot watch files: {error}")),
            })?;
        let watches = stream.watches();
        let state = Arc::new(Mutex::new(WatchState::default()));
        let changed = Arc::new(Notify::new());
        let (of_task, notify) = (state.clone(), changed.clone());
        tokio::spawn(async move {
            let mut stream = stream;
            while let Some(event) = stream.next().await {
                let is_change = match event {
                    Ok(event) => lock(&of_task).take(event),
                    Err(_) => lock(&of_task).lose_track(),
                };
                if is_change {
                    notify.notify_one();
                }
            }
        });
        Ok(Self {
            watches,
            state,
            changed,
        })
    }

    /// Starts to register the folders to watch. Those that are watched already stay so.
    pub fn register(&self) -> Registration<'_> {
        Registration {
            watch: self,
            folders: HashMap::new(),
        }
    }

    /// Waits for a change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns the time of the last change.
    pub fn last_change(&self) -> Option<Instant> {
        lock(&self.state).last
    }

    /// Returns what changed since the last call.
    pub fn take(&self) -> FileChanges {
        let mut state = lock(&self.state);
        let paths = std::mem::take(&mut state.paths);
        let is_left = |(path, is_new): &(PathBuf, bool)| !is_new || path.symlink_metadata().is_ok();
        FileChanges {
            paths: paths
                .into_iter()
                .filter(is_left)
                .map(|(path, _)| path)
                .collect(),
            is_incomplete: std::mem::take(&mut state.is_incomplete),
            are_folders_changed: std::mem::take(&mut state.are_folders_changed),
        }
    }
}

impl Registration<'_> {
    /// Watches all entries of a folder; it need not exist.
    ///
    /// # Errors
    ///
    /// The limit of the system is reached.
    pub fn add(&mut self, folder: &Path) -> Result<(), Failure> {
        if let Some(watched) = self.watched(folder)? {
            watched.names = None;
        }
        Ok(())
    }

    /// Watches a file or folder by its name; if its folder does not exist, the folder's own name, and so on.
    ///
    /// # Errors
    ///
    /// See [`Registration::add`].
    pub fn add_entry(&mut self, path: &Path) -> Result<(), Failure> {
        let mut path = path;
        while let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
            if let Some(watched) = self.watched(folder)? {
                if let Some(names) = &mut watched.names {
                    names.insert(name.to_owned());
                }
                return Ok(());
            }
            path = folder;
        }
        Ok(())
    }

    /// Ends the watches of all other folders, and returns the number of folders of which all entries are watched.
    pub fn finish(self) -> usize {
        let mut state = lock(&self.watch.state);
        let count = self
            .folders
            .values()
            .filter(|it| it.names.is_none())
            .count();
        let before = std::mem::replace(&mut state.folders, self.folders);
        let mut watches = self.watch.watches.clone();
        for (descriptor, _) in before {
            if !state.folders.contains_key(&descriptor) {
                // It fails if the folder is gone.
                _ = watches.remove(descriptor);
            }
        }
        count
    }

    /// Returns the entry of a folder; `None` if it does not exist.
    fn watched(&mut self, folder: &Path) -> Result<Option<&mut WatchedFolder>, Failure> {
        let mask = WatchMask::ATTRIB
            | WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MODIFY
            | WatchMask::MOVE
            | WatchMask::MOVE_SELF
            | WatchMask::EXCL_UNLINK
            | WatchMask::ONLYDIR;
        let mut watches = self.watch.watches.clone();
        // Events may arrive before `finish`.
        let mut state = lock(&self.watch.state);
        let descriptor = match watches.add(folder, mask) {
            Ok(descriptor) => descriptor,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                return Err(limit_reached(self.folders.len()));
            }
            // It is gone, is a file, or cannot be read.
            Err(_) => return Ok(None),
        };
        state
            .folders
            .entry(descriptor.clone())
            .or_insert_with(|| WatchedFolder {
                path: folder.to_owned(),
                names: None,
            });
        let watched = self.folders.entry(descriptor);
        Ok(Some(watched.or_insert_with(|| WatchedFolder {
            path: folder.to_owned(),
            names: Some(BTreeSet::new()),
        })))
    }
}

fn limit_reached(folders: usize) -> Failure {
    Failure::outside(format!(
        "cannot watch more than {}: the limit of this user is reached\n\
         hint: raise it: `sudo sysctl fs.inotify.max_user_watches=1048576`\n\
         hint: folders that git ignores are not watched: list those with build output in .gitignore",
        count_of(folders, "folder")
    ))
}

impl WatchState {
    /// Records an event, and returns whether it is a change.
    fn take(&mut self, event: EventOwned) -> bool {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return self.lose_track();
        }
        if event.mask.contains(EventMask::IGNORED) {
            self.folders.remove(&event.wd);
            return false;
        }
        let Some(folder) = self.folders.get(&event.wd) else {
            return false;
        };
        let path = match &event.name {
            Some(name) => {
                let names = folder.names.as_ref();
                if names.is_some_and(|names| !names.contains(name)) {
                    return false;
                }
                folder.path.join(name)
            }
            // The folder itself: it is also an entry of its parent, which may not be watched.
            None if event
                .mask
                .intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF) =>
            {
                folder.path.clone()
            }
            None => return false,
        };
        let is_folder = event.mask.contains(EventMask::ISDIR) || event.name.is_none();
        let is_content = EventMask::ATTRIB | EventMask::MODIFY | EventMask::CLOSE_WRITE;
        if is_folder && event.mask.intersects(is_content) {
            return false;
        }
        self.are_folders_changed |= is_folder;
        self.last = Some(Instant::now());
        if self.paths.len() < REMEMBERED {
            let is_new = event.mask.intersects(EventMask::CREATE);
            self.paths.entry(path).or_insert(is_new);
        } else {
            self.is_incomplete = true;
        }
        true
    }

    /// Records that events were lost.
    fn lose_track(&mut self) -> bool {
        self.is_incomplete = true;
        self.are_folders_changed = true;
        self.last = Some(Instant::now());
        true
    }
}

fn lock(state: &Mutex<WatchState>) -> MutexGuard<'_, WatchState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
