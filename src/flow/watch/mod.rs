//! Builds working copies whenever their files change.
//!
//! An event of the file system only means that a plan is made: the plan compares contents, and decides whether
//! anything is built.

mod round;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::error::{Exit, Failure};
use crate::base::task::joined;
use crate::flow::build::BuildOptions;
use crate::flow::interrupts::Interrupts;
use crate::flow::metadata_file::MetadataFile;
use crate::flow::request::PlanRequest;
use crate::flow::session::Session;
use crate::host::file_watch::{FileChanges, FileWatch};
use crate::host::settings::Settings;
use crate::model::event::Unit;
use crate::model::image::ImageReference;
use crate::model::manifest::ServiceName;
use crate::model::source::ServiceSource;
use crate::model::watch::BuildWrites;
use crate::report::{end_watch_line, print_watch_waiting};
use round::Attempt;
use targets::{ChangedFile, Targets};

/// A change is complete if no further one follows for this long.
const QUIET: Duration = Duration::from_millis(50);

/// Files that change all the time delay a build by this long at most.
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// How long a checkout by git delays a build at most.
const LONGEST_CHECKOUT: Duration = Duration::from_secs(10);

/// What to build whenever files change.
pub trait WatchedBuild {
    /// Returns what to plan. `is_first`: nothing was built yet.
    fn plan(&self, session: &Session, is_first: bool) -> Result<PlanRequest, Failure>;

    /// Returns how to build.
    fn options(&self, session: &Session) -> BuildOptions<'_>;

    /// Opens the file for the images of the run, if there is one.
    fn metadata_file(&self, session: &Session) -> Result<Option<MetadataFile>, Failure>;

    /// Returns the name of the environment to deploy to.
    fn environment(&self) -> Option<&str>;

    /// Deploys working copies as they were built.
    fn deploy(
        &self,
        session: &Session,
        built: BTreeMap<ServiceName, ServiceSource>,
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// Builds, and builds again whenever files change, until Ctrl-C.
///
/// # Errors
///
/// Nothing can be planned at the start, files cannot be watched, or Ctrl-C.
pub async fn watch(settings: Settings, build: &impl WatchedBuild) -> Result<(), Failure> {
    let mut watch = Watch {
        interrupts: Interrupts::listen()?,
        files: Arc::new(FileWatch::start()?),
        settings,
        targets: Arc::default(),
        folders: 0,
        pending: FileChanges::default(),
        writes: BuildWrites::default(),
        failed: BTreeMap::new(),
        has_built: false,
        must_deploy: build.environment().is_some(),
        deployed: BTreeMap::new(),
        must_register: false,
    };
    let mut changes = Changes::default();
    loop {
        let is_shown = watch.round(build, changes).await?;
        watch.interrupts.show_with(None);
        if is_shown {
            print_watch_waiting(
                &watch.settings.report,
                watch.targets.services(),
                watch.folders,
            );
        }
        let next = watch.next_changes().await;
        changes = next.inspect_err(|_| end_watch_line(&watch.settings.report))?;
    }
}

struct Watch {
    settings: Settings,
    interrupts: Interrupts,
    files: Arc<FileWatch>,
    targets: Arc<Targets>,
    /// The number of watched folders.
    folders: usize,
    /// Changes that no plan has looked at yet.
    pending: FileChanges,
    writes: BuildWrites,
    /// What failed in the last build; it is not built again before anything in it changes.
    failed: BTreeMap<Unit, Attempt>,
    has_built: bool,
    /// Whether something was not deployed yet.
    must_deploy: bool,
    /// The images of the last deploy that succeeded.
    deployed: BTreeMap<Unit, ImageReference>,
    /// Whether the folders to watch may have changed since they were registered.
    must_register: bool,
}

/// Changes that may matter.
#[derive(Default)]
struct Changes {
    files: BTreeMap<PathBuf, Vec<ChangedFile>>,
    /// Whether the folders to watch may have changed.
    are_folders_changed: bool,
}

impl Watch {
    /// Waits for changes that may matter.
    async fn next_changes(&mut self) -> Result<Changes, Failure> {
        loop {
            if self.pending.is_empty() {
                tokio::select! {
                    () = self.files.changed() => {}
                    () = self.interrupts.cancel.cancelled() => {
                        return Err(Failure::silent(Exit::Interrupted));
                    }
                }
            }
            tokio::select! {
                () = self.quiet() => {}
                () = self.interrupts.cancel.cancelled() => {
                    return Err(Failure::silent(Exit::Interrupted));
                }
            }
            let taken = self.files.take();
            self.writes.between_builds(&taken.paths);
            self.pending.extend(taken);
            let changes = std::mem::take(&mut self.pending);
            let files = self.changed_files(changes.paths).await;
            let is_new = files.keys().any(|file| !self.writes.is_known(file));
            if is_new || changes.is_incomplete {
                return Ok(Changes {
                    files,
                    are_folders_changed: changes.are_folders_changed,
                });
            }
        }
    }

    /// Waits until no more files change: a program may write many.
    async fn quiet(&self) {
        let begun = Instant::now();
        loop {
            let last = self.files.last_change();
            let rest = last.and_then(|last| QUIET.checked_sub(last.elapsed()));
            let waited = begun.elapsed();
            if let Some(rest) = rest.filter(|_| waited < LONGEST_DELAY) {
                tokio::time::sleep(rest).await;
                continue;
            }
            let targets = self.targets.clone();
            let is_busy =
                tokio::task::spawn_blocking(move || targets.is_git_busy(LONGEST_CHECKOUT));
            if waited > LONGEST_CHECKOUT || !joined(is_busy.await) {
                return;
            }
            tokio::time::sleep(QUIET).await;
        }
    }

    async fn changed_files(&self, paths: BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Vec<ChangedFile>> {
        let targets = self.targets.clone();
        let files = tokio::task::spawn_blocking(move || targets.changed_files(&paths));
        joined(files.await)
    }
}
