//! The containers of a unit's scripts: one per image, and one for each plugin, all with the same files.

use std::time::SystemTime;

use futures_util::future::join_all;

use super::ExecuteContext;
use super::builder::{
    self, FoundReports, PreparedContainer, RunningBuilder, local_reports, prepare, remote_reports,
};
use super::plugin;
use super::remote::{FilesOwner, RemoteFiles, SharedFiles, WantedFiles};
use super::reproduce;
use super::sidecars::Sidecars;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use crate::client::engine::{CreatedContainer, EngineError, Holder};
use crate::execute::path_mapping::PathMapping;
use crate::model::event::Unit;
use crate::model::image::Platform;
use crate::model::plan::{ContainerStep, PluginStep, ScriptStep, SidecarsStep, Step};
use crate::model::trace::TraceParent;

/// The running containers of a unit's scripts.
#[derive(Default)]
pub struct ScriptRun {
    /// Builder containers, which run until the scripts have ended.
    builders: Vec<RunningBuilder>,
    /// The files on a remote engine, if a plugin ran before any builder.
    files: Option<FilesContainer>,
    /// Ends the plugins when xp goes away.
    holder: Option<Holder>,
    /// The containers beside the scripts, and the network that reaches them.
    sidecars: Option<Sidecars>,
    /// When the first container was ready.
    started: Option<SystemTime>,
    /// The first container.
    step: Option<ContainerStep>,
    /// The platform whose engine runs all of them; `None` for the usual engine.
    platform: Option<Platform>,
    /// The last plugin, for a command that reproduces it.
    last_plugin: Option<PreparedContainer>,
}

/// A container that never runs and has the files on a remote engine: a plugin's ends with its step.
struct FilesContainer {
    container: CreatedContainer,
    files: RemoteFiles,
    prepared: PreparedContainer,
}

impl ScriptRun {
    /// Returns whether nothing was started.
    pub fn is_empty(&self) -> bool {
        self.started.is_none() && self.sidecars.is_none()
    }

    /// Returns the platform for which the scripts run, if it is not the usual engine's own.
    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// Returns the context of the engine that runs the containers.
    pub fn context<'c>(&self, context: &'c ExecuteContext) -> &'c ExecuteContext {
        context.on(self.platform.as_ref())
    }

    /// Starts a builder container, unless `stopped` resolves first.
    pub async fn start(
        &mut self,
        context: &ExecuteContext,
        unit: &Unit,
        step: &ContainerStep,
        state: &UnitState,
        stopped: impl Future<Output = Stop>,
    ) -> Result<(), Stop> {
        self.platform.clone_from(&step.platform);
        let context = context.on(step.platform.as_ref());
        if step.has_sidecars {
            self.open_network(context, unit).await?;
        }
        let network = self.sidecars.as_ref().map(Sidecars::network);
        let setup = builder::setup(context, unit, step, self.shared(), network).await?;
        let running = builder::begin(context, unit, step, state, setup, stopped).await?;
        self.note_start(running.started(), step);
        self.builders.push(running);
        Ok(())
    }

    fn note_start(&mut self, started: SystemTime, step: &ContainerStep) {
        self.started.get_or_insert(started);
        self.step.get_or_insert_with(|| step.clone());
    }

    /// Creates the network of the sidecars, unless it exists.
    async fn open_network(
        &mut self,
        context: &ExecuteContext,
        unit: &Unit,
    ) -> Result<(), StepError> {
        if self.sidecars.is_none() {
            let labels = builder::labels(context, unit).await?;
            self.sidecars = Some(Sidecars::open(context, unit, labels).await?);
        }
        Ok(())
    }

    /// Starts sidecars, and waits until all are ready or `stopped` resolves.
    pub async fn start_sidecars(
        &mut self,
        context: &ExecuteContext,
        unit: &Unit,
        step: &SidecarsStep,
        state: &UnitState,
        stopped: impl Future<Output = Stop>,
    ) -> Result<(), Stop> {
        if step.platform.is_some() {
            self.platform.clone_from(&step.platform);
        }
        let context = context.on(step.platform.as_ref());
        self.open_network(context, unit).await?;
        match &mut self.sidecars {
            Some(sidecars) => sidecars.start(context, step, state, stopped).await,
            None => Ok(()),
        }
    }

    /// Waits until a sidecar ends by itself.
    async fn sidecar_ended(&self) -> StepError {
        match &self.sidecars {
            Some(sidecars) => sidecars.exited().await,
            None => std::future::pending().await,
        }
    }

    /// Adds hints about sidecars to the error of a script.
    pub async fn explain(&self, error: StepError) -> StepError {
        match &self.sidecars {
            Some(sidecars) => sidecars.explain(error).await,
            None => error,
        }
    }

    /// Runs a shell line in the container of its image.
    pub async fn script(
        &self,
        context: &ExecuteContext,
        unit: &Unit,
        step: &ScriptStep,
        trace: Option<TraceParent>,
    ) -> Result<(), Stop> {
        let Some(running) = self.builder(step) else {
            return Err(StepError::plain("no builder container is running").into());
        };
        tokio::select! {
            ended = running.script(context, unit, step, trace) => ended,
            error = self.sidecar_ended() => Err(error.into()),
        }
    }

    /// Returns the container of a shell line. The service's own builder is started first.
    fn builder(&self, step: &ScriptStep) -> Option<&RunningBuilder> {
        match &step.image {
            None => self.builders.first(),
            Some(image) => self.builders.iter().find(|it| it.image() == image),
        }
    }

    /// Runs a plugin, unless `stopped` resolves first.
    pub async fn plugin(
        &mut self,
        context: &ExecuteContext,
        unit: &Unit,
        step: &PluginStep,
        state: &UnitState,
        trace: Option<TraceParent>,
        stopped: impl Future<Output = Stop>,
    ) -> Result<(), Stop> {
        let started = SystemTime::now();
        self.platform.clone_from(&step.container.platform);
        let context = context.on(step.container.platform.as_ref());
        if step.container.has_sidecars {
            self.open_network(context, unit).await?;
        }
        let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
        if matches!(path_mapping, PathMapping::Remote(_)) && self.shared().is_none() {
            self.files = Some(FilesContainer::create(context, unit, step, state).await?);
        }
        self.note_start(started, &step.container);
        if self.holder.is_none() {
            let labels = builder::labels(context, unit).await?;
            let holder = Holder::start(&context.engine, &labels).await;
            self.holder = Some(holder.map_err(|error| plugin::failed(step, error))?);
        }
        let network = self.sidecars.as_ref().map(Sidecars::network);
        let setup = builder::setup(context, unit, &step.container, self.shared(), network).await?;
        let mut prepared = prepare(context, unit, &step.container, state, setup).await?;
        let ended = {
            let halted = async {
                tokio::select! {
                    stop = stopped => stop,
                    error = self.sidecar_ended() => error.into(),
                }
            };
            match &self.holder {
                Some(holder) => {
                    plugin::run(context, unit, step, &mut prepared, holder, trace, halted).await
                }
                None => Ok(()),
            }
        };
        prepared.release();
        self.last_plugin = Some(prepared);
        ended
    }

    /// Returns the shell command that reproduces a step, if there is one.
    pub fn reproduce(&self, context: &ExecuteContext, step: &Step) -> Option<String> {
        let context = self.context(context);
        if self.sidecars.is_some() {
            // They are gone.
            return None;
        }
        match step {
            Step::Script(step) => self.builder(step)?.reproduce(context, step),
            Step::Plugin(step) => {
                let prepared = self.last_plugin.as_ref()?;
                let environment = prepared.reproducible(context, &step.container)?;
                reproduce::plugin(context, &environment, step)
            }
            _ => None,
        }
    }

    /// Returns the container with the files on a remote engine.
    fn shared(&self) -> Option<SharedFiles<'_>> {
        let files = self.files.as_ref().map(FilesContainer::shared);
        files.or_else(|| self.builders.iter().find_map(RunningBuilder::shared))
    }

    /// Ends what could still write files, except the container that has them.
    pub async fn end_others(&mut self, context: &ExecuteContext) {
        let context = self.context(context);
        let kept = usize::from(self.files.is_none()).min(self.builders.len());
        let others = self.builders.split_off(kept);
        join_all(others.into_iter().map(|it| it.end(context))).await;
        if let Some(holder) = self.holder.take() {
            holder.end().await;
        }
    }

    /// Finds the reports that scripts have written.
    pub async fn reports(&self) -> FoundReports {
        let (Some(started), Some(step)) = (self.started, &self.step) else {
            return FoundReports::default();
        };
        if step.reports.is_empty() {
            return FoundReports::default();
        }
        match self.shared() {
            Some(shared) => remote_reports(step, shared).await,
            None => local_reports(step, started).await,
        }
    }

    /// Returns whether successful scripts should have written reports.
    pub fn expects_reports(&self) -> bool {
        self.step.as_ref().is_some_and(|step| step.expects_reports)
    }

    /// Copies the results of scripts back from a remote engine; of an export, only those that are wanted.
    pub async fn copy_back(
        &self,
        context: &ExecuteContext,
        unit: &Unit,
        wanted: WantedFiles<'_>,
    ) -> Result<(), StepError> {
        let context = self.context(context);
        match self.shared() {
            None => Ok(()),
            Some(shared) => shared.copy_back(context, unit, wanted).await,
        }
    }

    /// Returns a hint about what is lost if results could not be copied back.
    pub fn lost(&self) -> Option<String> {
        self.shared().map(|shared| shared.files.lost())
    }

    /// Ends all containers; afterwards, files that another user created in them belong to the caller.
    pub async fn end(mut self, context: &ExecuteContext) {
        self.end_others(context).await;
        let context = self.context(context);
        let builders = std::mem::take(&mut self.builders);
        let end_builders = join_all(builders.into_iter().map(|it| it.end(context)));
        let stop_sidecars = async {
            if let Some(sidecars) = &mut self.sidecars {
                sidecars.stop(context).await;
            }
        };
        tokio::join!(end_builders, stop_sidecars);
        if let Some(sidecars) = self.sidecars {
            sidecars.end(context).await;
        }
        if let Some(files) = self.files {
            files.container.remove().await;
            let labels = &files.prepared.spec.labels;
            context.engine.remove_volumes(labels).await;
        }
    }
}

impl FilesContainer {
    async fn create(
        context: &ExecuteContext,
        unit: &Unit,
        step: &PluginStep,
        state: &UnitState,
    ) -> Result<Self, Stop> {
        let setup = builder::setup(context, unit, &step.container, None, None).await?;
        let mut prepared = prepare(context, unit, &step.container, state, setup).await?;
        // They belong to the plugin's container.
        prepared.config.files.clear();
        // No shell will change the owner of volumes.
        let user = prepared.spec.user;
        let folders = std::mem::take(&mut prepared.spec.taken).into_iter();
        prepared.add_folders(folders, user);
        let created = CreatedContainer::create(&context.engine, &prepared.spec).await;
        let container = created.map_err(|error| plugin::failed(step, error))?;
        let sent = tokio::select! {
            sent = prepared.send(context, unit, &container) => {
                sent.map_err(|error| StepError::from(error).into())
            }
            () = context.cancel.cancelled() => Err(Stop::Cancelled),
        };
        match (sent, prepared.remote_files.take()) {
            (Ok(()), Some(files)) => Ok(Self {
                container,
                files,
                prepared,
            }),
            (sent, _) => {
                container.remove().await;
                sent?;
                let error = EngineError::ContainerGone;
                Err(StepError::from(error).into())
            }
        }
    }

    fn shared(&self) -> SharedFiles<'_> {
        SharedFiles {
            files: &self.files,
            container: &self.container.id,
            owner: FilesOwner::Created(&self.container),
        }
    }
}
