//! Deploys a set of images to a compose project in the engine, with the real `docker compose`.
//!
//! Compose reads the user's files and a generated one that pins images. The record of deploys is in the engine, with a
//! copy in the `.xp` folder.

mod apply;
mod images;
mod project;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{changes, environment_lock, services};
use crate::base::error::Failure;
use crate::base::files;
use crate::flow::request::{DeployImages, DeployMode, DeployRequest};
use crate::flow::session::Session;
use crate::flow::verify;
use crate::model::deploy::{
    ComposeChanges, ComposeMatches, DeployState, Deployment, ImageNames, LaunchImage, Record,
    override_file,
};
use crate::model::event::Event;
use crate::model::lock::{Lock, LockChanges};
use crate::model::manifest::{ComposeEnvironment, ServiceName};
use crate::store::claim::lock;
use images::LaunchSet;
use project::OpenProject;
use record::EngineRecord;

pub use record::recorded;

/// Runs `work` with the tools and locks of a deploy to a compose project.
pub async fn with_task<T>(
    session: &Session,
    request: &DeployRequest<'_, ComposeEnvironment>,
    work: impl AsyncFnOnce(&ComposeTask<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let environment = request.environment;
    if request.force_conflicts {
        return Err(Failure::usage(format!(
            "`--force-conflicts` is for clusters, and {} is a compose project\n\
             hint: omit it: no other program manages parts of a compose project",
            environment.name
        )));
    }
    let _deploy_lock = environment_lock(session, &environment.name).await?;
    let opened = OpenProject::open(session, environment);
    let project = session.unless_interrupted(opened).await?;
    let names = ImageNames::of(&session.manifest, request.deploy);
    let matched = project.matches(session, &names);
    let matches = session.unless_interrupted(matched).await?;
    work(&ComposeTask {
        session,
        request,
        names,
        project,
        matches,
    })
    .await
}

/// A deploy with its inputs and tools.
pub struct ComposeTask<'t> {
    session: &'t Session,
    request: &'t DeployRequest<'t, ComposeEnvironment>,
    names: ImageNames,
    project: OpenProject<'t>,
    matches: ComposeMatches,
}

/// The images to deploy, and the file that pins them.
pub struct PreparedLaunch {
    images: LaunchSet,
    /// The names and patterns of the services, for the record; empty if all are selected.
    patterns: Vec<String>,
    override_file: PathBuf,
}

/// A prepared deploy, compared with the containers.
pub struct LaunchComparison {
    read: EngineRecord,
    back: Option<u64>,
    prepared: PreparedLaunch,
    /// What compose would change.
    pub changes: ComposeChanges,
    /// Whether there is nothing to deploy.
    pub is_up_to_date: bool,
}

impl LaunchComparison {
    /// Returns the deployed services.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &ServiceName> {
        self.prepared.images.set.services.keys()
    }
}

impl ComposeTask<'_> {
    /// Finds the images, and compares the project with its containers. Runs all checks before anything is changed.
    pub async fn compare(&self) -> Result<LaunchComparison, Failure> {
        let compared = self.session.unless_interrupted(self.compared()).await?;
        self.session.reporter.finish();
        Ok(compared)
    }

    async fn compared(&self) -> Result<LaunchComparison, Failure> {
        let read = self.recorded().await?;
        let back = match self.request.images {
            DeployImages::Previous => Some(self.rollback_target(&read.record)?),
            _ => None,
        };
        let prepared = self.prepare(&read.record, back).await?;
        let changes = self.project.changes(&prepared.override_file).await?;
        if !changes.orphans.is_empty() {
            let orphans: Vec<&str> = changes.orphans.iter().map(String::as_str).collect();
            self.session.events.emit(Event::note(format!(
                "{} is no longer in {}; its containers are left as they are",
                orphans.join(", "),
                self.request.environment.shown()
            )));
        }
        let back = back.map(|back| back.number);
        let last = read.record.deploys.first();
        let is_recorded = last.is_some_and(|last| {
            last.state == DeployState::Deployed
                && last.set.services == prepared.images.set.services
                && last.ids == prepared.images.ids
        });
        // A rollback is recorded even if nothing changes, so that the next one goes further back.
        let is_up_to_date = back.is_none() && changes.is_empty() && is_recorded;
        Ok(LaunchComparison {
            read,
            back,
            prepared,
            changes,
            is_up_to_date,
        })
    }

    /// Returns the effective compose configuration with the images to deploy.
    pub async fn render(&self) -> Result<String, Failure> {
        let rendered = self.session.unless_interrupted(async {
            let read = self.recorded().await?;
            let prepared = self.prepare(&read.record, None).await?;
            self.project.render(&prepared.override_file).await
        });
        let text = rendered.await?;
        self.session.reporter.finish();
        Ok(text)
    }

    /// Finds the images to deploy, and writes the file that pins them; `back` is the deploy to roll back to.
    async fn prepare(
        &self,
        record: &Record,
        back: Option<&Deployment>,
    ) -> Result<PreparedLaunch, Failure> {
        let session = self.session;
        let folder = lock(&session.layout.lock(), &session.events).await?;
        let mut patterns = self.request.patterns.clone();
        let images = match back {
            Some(back) => {
                self.check_runs_all(back)?;
                self.of_deploy(back).await?
            }
            None => {
                let mut wanted = self.wanted().await?;
                if self.request.is_update && !self.is_running_known(record, &wanted) {
                    wanted.extend(self.matches.services.keys().cloned());
                    patterns.clear();
                }
                let kept = self.kept(record, &wanted)?;
                self.images(record, &wanted, &kept, &folder).await?
            }
        };
        let environment = &self.request.environment.name;
        if self.request.environment.verify {
            let mut set = images.set.clone();
            for name in images.ids.keys() {
                // It is only in the engine, where nothing is signed.
                if let Some(entry) = set.services.get_mut(name) {
                    entry.digest = None;
                }
            }
            verify::require(session, &set, environment).await?;
        }
        let references = images.references();
        let text = self.override_text(&references);
        let file = session.layout.environment(environment).join("compose.yaml");
        files::replace(&file, &text).map_err(|error| {
            Failure::outside(format!("cannot write {}: {error}", file.display()))
        })?;
        Ok(PreparedLaunch {
            images,
            patterns,
            override_file: file,
        })
    }

    fn override_text(&self, references: &BTreeMap<ServiceName, LaunchImage>) -> String {
        override_file(
            &self.request.environment.name,
            &self.project.config,
            &self.matches,
            references,
        )
    }

    /// Returns the selected services among those that the compose files run.
    async fn wanted(&self) -> Result<BTreeSet<ServiceName>, Failure> {
        let DeployRequest {
            services: selected,
            patterns,
            mode,
            environment,
            is_update,
            ..
        } = self.request;
        let is_run = |name: &&ServiceName| self.matches.services.contains_key(*name);
        let is_complete = patterns.is_empty() && selected.iter().any(|name| is_run(&name));
        if !is_complete && !is_update {
            let checked =
                self.project
                    .check_runs(self.session, selected, &self.matches, &self.names);
            checked.await?;
        }
        let is_ignored = |name: &&ServiceName| {
            let mapped = environment.services.get(*name);
            mapped.is_some_and(Vec::is_empty)
        };
        let skipped: Vec<&str> = selected
            .iter()
            .filter(|name| !is_run(name) && !is_ignored(name))
            .map(ServiceName::as_str)
            .collect();
        if !skipped.is_empty() && *mode != DeployMode::Render {
            self.session.events.emit(Event::note(format!(
                "{} runs no image of {}: skipped",
                environment.shown(),
                skipped.join(", ")
            )));
        }
        let unbuilt = self.project.config.services.iter();
        let unbuilt: Vec<&str> = unbuilt
            .filter(|(name, service)| service.is_built && self.matches.of(name).is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        if !unbuilt.is_empty() && *mode != DeployMode::Render {
            self.session.events.emit(Event::warning(format!(
                "compose builds {}, which belongs to no service; nothing is built by `xp deploy`, so an image that `docker compose build` built is used",
                unbuilt.join(", ")
            )));
        }
        Ok(selected.iter().filter(is_run).cloned().collect())
    }

    /// Returns the recorded images of the services that the compose files run but that are not selected.
    fn kept(&self, record: &Record, wanted: &BTreeSet<ServiceName>) -> Result<Lock, Failure> {
        let others = self.matches.services.keys();
        let others: Vec<&ServiceName> = others.filter(|name| !wanted.contains(*name)).collect();
        let name = &self.request.environment.name;
        services::kept(self.session, (name, false), record, wanted, &others)
    }

    /// Returns whether the last deploy succeeded and contains all services that are run but not wanted.
    fn is_running_known(&self, record: &Record, wanted: &BTreeSet<ServiceName>) -> bool {
        let mut others = self.matches.services.keys();
        let last = record.deploys.first();
        last.is_some_and(|last| {
            last.state == DeployState::Deployed
                && others.all(|name| wanted.contains(name) || last.set.services.contains_key(name))
        })
    }

    /// Checks that the compose files run every service of an earlier deploy: others would not be rolled back.
    fn check_runs_all(&self, back: &Deployment) -> Result<(), Failure> {
        let missing = back.set.services.keys();
        let missing: Vec<&ServiceName> = missing
            .filter(|name| !self.matches.services.contains_key(*name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{} runs no image of {}, which is part of deploy {}\n\
             hint: a rollback uses the current compose files: check out those of that deploy, or deploy a lock with `--lock FILE`",
            self.request.environment.shown(),
            services::joined(&missing),
            back.number
        )))
    }

    /// Returns the deploy to roll back to.
    fn rollback_target<'r>(&self, record: &'r Record) -> Result<&'r Deployment, Failure> {
        let target = record.rollback_target(&self.request.environment.name);
        Ok(target.map_err(|error| error.of_compose())?)
    }

    /// Returns the changes of each service since the last deploy of the record.
    pub async fn changes(&self, comparison: &LaunchComparison) -> Result<String, Failure> {
        let environment = self.request.environment;
        let empty = Lock::default();
        let last = comparison.read.record.last_deployed();
        let before = last.map_or(&empty, |it| &it.set);
        let after = &comparison.prepared.images.set;
        let mut changes =
            LockChanges::between((environment.name.as_str(), before), ("the set", after));
        // Commits are listed from the local history only, without fetching.
        changes::fill_in(self.session, &mut changes, false).await?;
        self.session.reporter.finish();
        let head = format!(
            "{}: {} as compose project {}\n",
            environment.name,
            environment.shown(),
            self.project.config.name
        );
        Ok(format!("{head}{}", changes.summary()))
    }
}
