//! One round of `--watch`: plans, and builds and deploys what the plan contains.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use tokio::task::spawn_blocking;

use super::targets::{ChangedFile, Targets};
use super::{Changes, Watch, WatchedBuild};
use crate::base::error::{Exit, Failure};
use crate::base::task::joined;
use crate::flow::build;
use crate::flow::deploy;
use crate::flow::plan::{self, Planned};
use crate::flow::request::PlanRequest;
use crate::flow::session::Session;
use crate::model::event::{Event, Unit};
use crate::model::image::ImageReference;
use crate::model::manifest::{ComposeEnvironment, Environment, ServiceName};
use crate::model::plan::UnitPlan;
use crate::model::recipe::Recipe;
use crate::model::source::ServiceSource;
use crate::model::watch::{ContentDigest, written_by_build};
use crate::report::{OutputStyle, paint, print_finished, print_message};
use crate::store::claim::{self, FolderLock};

/// Events of the last files that a build wrote arrive within this time.
const LAST_EVENTS: Duration = Duration::from_millis(20);

/// The number of changed files that are listed.
const LISTED: usize = 20;

/// The number of files whose content is compared after a build.
const DIGESTED: usize = 200;

/// An image that was to be built, and its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    image: ImageReference,
    recipe: Option<Recipe>,
}

impl Watch {
    /// Builds and deploys what is necessary after these changes, and returns whether anything was shown. Failures are
    /// shown, unless nothing was built yet.
    pub(super) async fn round(
        &mut self,
        work: &impl WatchedBuild,
        changes: Changes,
    ) -> Result<bool, Failure> {
        let is_rule = |path: &PathBuf| path.file_name().is_some_and(|name| name == ".gitignore");
        self.must_register |= changes.are_folders_changed || changes.files.keys().any(is_rule);
        let mut settings = self.settings.clone();
        settings.report.is_held = self.has_built;
        let session = match Session::open(settings, self.interrupts.clone()) {
            Ok(session) => session,
            Err(failure) => {
                if self.settings.report.style == OutputStyle::Json {
                    print_finished(failure.exit, failure.message());
                }
                if self.must_register {
                    self.register().await?;
                }
                return self.shown(failure).map(|()| true);
            }
        };
        let result = Box::pin(self.in_session(&session, work, changes)).await;
        let is_stopped = self.interrupts.cancel.is_cancelled();
        let result = match result {
            Ok(()) if is_stopped => Err(Trouble::Build(Failure::silent(Exit::Interrupted))),
            result => result,
        };
        if result.is_err() {
            session.reporter.release();
        }
        session.reporter.finish();
        let is_shown = !session.reporter.is_held();
        let failure = result.as_ref().err().map(Trouble::failure);
        if is_shown {
            let exit = failure.map_or(Exit::Done, |failure| failure.exit);
            let message = failure.and_then(Failure::message);
            session.reporter.conclude(exit, message);
            session.reporter.display_result();
        }
        match result {
            Ok(()) => Ok(is_shown),
            Err(Trouble::Watch(failure)) => Err(failure),
            Err(Trouble::Build(mut failure)) if is_stopped => {
                failure.exit = Exit::Interrupted;
                Err(failure)
            }
            Err(Trouble::Build(failure)) => self.shown(failure).map(|()| true),
        }
    }

    /// Shows a failure, and continues; returns it if nothing was built yet.
    fn shown(&self, failure: Failure) -> Result<(), Failure> {
        if !self.has_built {
            return Err(failure);
        }
        if let Some(message) = failure.message() {
            print_message(&paint(message, self.settings.report.color));
        }
        Ok(())
    }

    async fn in_session(
        &mut self,
        session: &Session,
        work: &impl WatchedBuild,
        mut changes: Changes,
    ) -> Result<(), Trouble> {
        let request = work.plan(session, !self.has_built)?;
        let environment = match work.environment() {
            Some(name) => Some(compose_environment(session, name)?),
            None => None,
        };
        self.watch_targets(session, &request, environment)
            .await
            .map_err(Trouble::Watch)?;
        let lock = async { Ok(claim::lock(&session.layout.lock(), &session.events).await?) };
        let lock = session.unless_interrupted(lock).await?;
        let planned = Box::pin(plan::plan(session, &request, Some(&lock)));
        let planned = session.unless_interrupted(planned).await?;
        // The plan may contain changes that were made meanwhile.
        let late = self.files.take();
        self.writes.between_builds(&late.paths);
        changes
            .files
            .extend(self.changed_files(late.paths.clone()).await);
        self.pending.extend(late);
        let attempts = attempts(&planned);
        let is_changed = attempts
            .iter()
            .any(|(unit, attempt)| self.failed.get(unit) != Some(attempt));
        let is_configuration = |file: &ChangedFile| file.unit.is_none();
        let is_reconfigured = changes.files.values().flatten().any(is_configuration);
        let images = images(&planned);
        // An image that exists needs no step.
        let is_other = is_changed || images != self.deployed;
        self.must_deploy |= environment.is_some() && (is_reconfigured || is_other);
        let built = planned.sources.clone();
        let must_build = !self.has_built || is_changed;
        if !must_build && !attempts.is_empty() {
            // What failed has not changed.
            return Ok(());
        }
        if must_build || self.must_deploy {
            show_changes(session, &changes, &planned);
            session.reporter.release();
        }
        if must_build {
            self.build(session, work, planned, lock, attempts).await?;
        } else {
            drop(lock);
        }
        if self.must_deploy {
            let built: BTreeMap<ServiceName, ServiceSource> = built
                .into_iter()
                .filter(|(_, source)| source.local.is_some())
                .collect();
            Box::pin(work.deploy(session, built)).await?;
            self.must_deploy = false;
            self.deployed = images;
        }
        Ok(())
    }

    /// Watches what the request needs. This comes before the plan, so that no later change is missed.
    async fn watch_targets(
        &mut self,
        session: &Session,
        request: &PlanRequest,
        environment: Option<&ComposeEnvironment>,
    ) -> Result<(), Failure> {
        let targets = Targets::of(session, &request.services, environment);
        if self.must_register || targets != *self.targets {
            self.targets = Arc::new(targets);
            self.register().await?;
        }
        Ok(())
    }

    async fn register(&mut self) -> Result<(), Failure> {
        let (targets, files) = (self.targets.clone(), self.files.clone());
        let registered = spawn_blocking(move || targets.register(&files));
        self.folders = joined(registered.await)?;
        self.must_register = false;
        Ok(())
    }

    /// Carries out a plan, and finds the files that it writes.
    async fn build(
        &mut self,
        session: &Session,
        work: &impl WatchedBuild,
        planned: Planned,
        lock: FolderLock,
        attempts: BTreeMap<Unit, Attempt>,
    ) -> Result<(), Failure> {
        let metadata_file = work.metadata_file(session)?;
        let mut options = work.options(session);
        options.metadata_file = metadata_file.as_ref();
        self.has_built = true;
        let result = Box::pin(build::carry_out(session, planned, options)).await;
        drop(lock);
        self.failed = match &result {
            Err(failure) if failure.exit == Exit::ServiceFailed => attempts,
            _ => BTreeMap::new(),
        };
        tokio::time::sleep(LAST_EVENTS).await;
        let during = self.files.take();
        let files = self.changed_files(during.paths.clone()).await;
        self.pending.extend(during);
        let written = self.writes.during_build(digests(&files).await);
        if let Some(file) = written.first().and_then(|path| files.get(path)?.first()) {
            let unit = file.unit.as_ref();
            let before = unit.map(|unit| format!("{unit}: ")).unwrap_or_default();
            let text = written_by_build(&file.shown, written.len() - 1);
            session
                .events
                .emit(Event::warning(format!("{before}{text}")));
        }
        result
    }
}

/// Returns the digests of files, except if there are very many: those of a checkout.
async fn digests<T>(files: &BTreeMap<PathBuf, T>) -> BTreeMap<PathBuf, Option<ContentDigest>> {
    let paths: Vec<PathBuf> = files.keys().take(DIGESTED).cloned().collect();
    let digests = spawn_blocking(move || {
        let files = paths.into_iter().map(|path| {
            let content = std::fs::read(&path).ok();
            let digest = content.map(|content| Sha1::digest(content).into());
            (path, digest)
        });
        files.collect()
    });
    joined(digests.await)
}

/// A failure of a round.
enum Trouble {
    /// Shown; the next change may repair it.
    Build(Failure),
    /// Changes would be missed.
    Watch(Failure),
}

impl Trouble {
    fn failure(&self) -> &Failure {
        match self {
            Self::Build(failure) | Self::Watch(failure) => failure,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Build(failure)
    }
}

/// Returns the compose project to deploy to.
fn compose_environment<'s>(
    session: &'s Session,
    name: &str,
) -> Result<&'s ComposeEnvironment, Failure> {
    match deploy::environment(session, Some(name))?.1 {
        Environment::Compose(environment) => Ok(environment),
        Environment::Cluster(environment) => Err(Failure::usage(format!(
            "`--watch` cannot deploy to {}, a cluster: it pulls images from the registry, and those of working copies are never pushed\n\
             hint: use an environment with `compose`, or omit `--deploy`",
            environment.name
        ))),
    }
}

/// Returns what a plan would build, or do otherwise.
fn attempts(planned: &Planned) -> BTreeMap<Unit, Attempt> {
    let attempt = |unit: &UnitPlan| Attempt {
        image: unit.image.clone(),
        recipe: unit.recipe.clone(),
    };
    let units = planned.plan.work();
    units
        .map(|unit| (unit.unit.clone(), attempt(unit)))
        .collect()
}

/// Returns the images of all units, also of those without work.
fn images(planned: &Planned) -> BTreeMap<Unit, ImageReference> {
    let units = planned.plan.units.iter();
    units
        .map(|unit| (unit.unit.clone(), unit.image.clone()))
        .collect()
}

/// Shows why something is built or deployed: the changed files of each unit with work.
fn show_changes(session: &Session, changes: &Changes, planned: &Planned) {
    let mut by_unit: BTreeMap<Option<&Unit>, BTreeSet<&str>> = BTreeMap::new();
    for file in changes.files.values().flatten() {
        let files = by_unit.entry(file.unit.as_ref()).or_default();
        files.insert(&file.shown);
    }
    let work: BTreeSet<&Unit> = planned.plan.work().map(|unit| &unit.unit).collect();
    for (unit, files) in by_unit {
        if unit.is_some_and(|unit| !work.contains(unit)) {
            continue;
        }
        session.events.emit(Event::WatchChanged {
            unit: unit.cloned(),
            files: files
                .iter()
                .take(LISTED)
                .map(|it| (*it).to_owned())
                .collect(),
            count: files.len(),
        });
    }
}
