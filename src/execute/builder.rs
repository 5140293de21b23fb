//! Builder containers and the scripts that run in them.

mod mounts;
mod reports;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::remote::{FilesOwner, RemoteFiles, SharedFiles, WantedFiles};
use super::secrets::{self, PluginFiles};
use super::session_lock::SessionLock;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, LABEL_FOLDER, LABEL_SERVICE, remote};
use crate::client::engine::{
    BuilderContainer, ContainerSpec, CreatedContainer, EngineError, Network, UploadItem,
};
use crate::execute::path_mapping::PathMapping;
use crate::execute::reproduce::{self, ScriptEnvironment};
use crate::model::environment::{BUILDER_SSH_AUTH_SOCK, BUILDER_TRACEPARENT, SOURCE_DATE_EPOCH};
use crate::model::event::{Event, Unit};
use crate::model::image::ImageReference;
use crate::model::manifest::BuilderUser;
use crate::model::plan::{ContainerStep, ScriptStep};
use crate::model::trace::TraceParent;
use mounts::{
    binds, engine_socket, files, make_mount_points, missing_mount_points, reject_foreign_files,
};

pub(super) use mounts::{mount_source, remove_mount_points};
pub(super) use reports::{FoundReports, local_reports, remote_reports};

/// The path of the engine's socket in a container.
pub(super) const SOCKET: &str = "/var/run/docker.sock";

/// The path of the ssh agent's socket in a container.
const SSH_AGENT: &str = "/run/xp-ssh-agent.sock";

/// What a container is started with, apart from its step.
#[derive(Default)]
pub struct ContainerSetup<'s> {
    pub labels: HashMap<String, String>,
    /// Held if other containers may use the same files.
    pub lock: Option<SessionLock>,
    /// The container that has the files on a remote engine already.
    pub shared: Option<SharedFiles<'s>>,
    /// The network of the sidecars.
    pub network: Option<&'s Network>,
}

/// The configuration of a container, and the files that it needs.
pub struct PreparedContainer {
    /// The configuration.
    pub spec: ContainerSpec,
    /// The settings and secrets of a plugin.
    pub config: PluginFiles,
    /// The files to copy into it that are not in a shared volume.
    pub items: Vec<UploadItem>,
    /// The files that are sent, if the engine cannot access this machine's files and no other container has them.
    pub remote_files: Option<RemoteFiles>,
    /// The folders and files created as mount points, the innermost last.
    mount_points: Vec<PathBuf>,
    lock: Option<SessionLock>,
    /// The network of the sidecars, if the manifest sets another one.
    second_network: Option<Network>,
}

/// A running builder container.
pub struct RunningBuilder {
    container: BuilderContainer,
    step: ContainerStep,
    /// What the container was started with.
    prepared: PreparedContainer,
    unit: Unit,
    /// When the container was ready for scripts.
    started: SystemTime,
}

/// Returns the labels of a container of a build.
pub async fn labels(
    context: &ExecuteContext,
    unit: &Unit,
) -> Result<HashMap<String, String>, StepError> {
    let folder = context.path_mapping().await?.shown(context.layout.root());
    Ok(HashMap::from([
        (LABEL_FOLDER.to_owned(), folder),
        (LABEL_SERVICE.to_owned(), unit.to_string()),
    ]))
}

/// Returns the labels and the lock of a container of a build.
pub async fn setup<'s>(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    shared: Option<SharedFiles<'s>>,
    network: Option<&'s Network>,
) -> Result<ContainerSetup<'s>, Stop> {
    Ok(ContainerSetup {
        labels: labels(context, unit).await?,
        lock: if step.in_place {
            Some(SessionLock::new(&context.layout)?)
        } else {
            None
        },
        shared,
        network,
    })
}

/// Starts a container, unless `stopped` resolves first.
pub async fn begin(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    setup: ContainerSetup<'_>,
    stopped: impl Future<Output = Stop>,
) -> Result<RunningBuilder, Stop> {
    let mut prepared = prepare(context, unit, step, state, setup).await?;
    // Must not be canceled in between: a created container must be started or removed.
    let created = match CreatedContainer::create(&context.engine, &prepared.spec).await {
        Ok(created) => created,
        Err(error) => {
            prepared.release();
            return Err(StepError::from(error).into());
        }
    };
    let ready = async {
        prepared.send(context, unit, &created).await?;
        let container = created.start(&prepared.spec).await?;
        prepared.join_network(&container.id).await?;
        Ok::<_, EngineError>(container)
    };
    let started = tokio::select! {
        started = ready => started.map_err(|error| StepError::from(error).into()),
        stop = stopped => Err(stop),
    };
    match started {
        Ok(container) => Ok(RunningBuilder {
            container,
            step: step.clone(),
            prepared,
            unit: unit.clone(),
            // After the owner of the files was changed.
            started: SystemTime::now(),
        }),
        Err(stop) => {
            created.remove().await;
            prepared.release();
            Err(stop)
        }
    }
}

/// Prepares the configuration and the files of a container.
pub async fn prepare(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    setup: ContainerSetup<'_>,
) -> Result<PreparedContainer, Stop> {
    let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
    let mut spec = spec(context, step, state, setup.labels).await?;
    let mut second_network = None;
    if let Some(network) = setup.network {
        match &spec.network {
            None => spec.network = Some(network.name().to_owned()),
            Some(_) => second_network = Some(network.clone()),
        }
    }
    let mut prepared = PreparedContainer {
        config: secrets::of_step_plugin(context, step, spec.user)?,
        items: Vec::new(),
        remote_files: None,
        mount_points: Vec::new(),
        lock: setup.lock,
        second_network,
        spec,
    };
    let spec = &mut prepared.spec;
    match (path_mapping, setup.shared) {
        (PathMapping::Remote(_), Some(shared)) => {
            spec.owner = spec.user;
            spec.volumes_from = Some(shared.container.to_owned());
            prepared.items = shared.files.unshared.clone();
        }
        (PathMapping::Remote(_), None) => {
            // The files in the volume need not be writable for the caller.
            spec.owner = spec.user;
            let mut files =
                RemoteFiles::prepare(context, unit, step, state, spec.user, &spec.labels).await?;
            spec.binds = std::mem::take(&mut files.binds);
            spec.taken = std::mem::take(&mut files.taken);
            prepared.remote_files = Some(files);
        }
        (path_mapping, _) => {
            if spec.user != spec.owner {
                reject_foreign_files(step, &spec.written)?;
            }
            let files = files(context, path_mapping, step, state)?;
            spec.binds = binds(path_mapping, &files)?;
            let missing = missing_mount_points(step, &files);
            if let Some(lock) = &prepared.lock {
                // Before they are created, so that another xp can remove them if this one is killed.
                lock.record(missing.iter().map(|point| point.path.as_path()));
            }
            prepared.mount_points = make_mount_points(missing);
        }
    }
    Ok(prepared)
}

impl PreparedContainer {
    /// Sends the files to a container before it is started.
    pub async fn send(
        &mut self,
        context: &ExecuteContext,
        unit: &Unit,
        created: &CreatedContainer,
    ) -> Result<(), EngineError> {
        if let Some(files) = &mut self.remote_files {
            files.send(context, unit, created).await?;
        }
        let config = self.config.files.drain(..).map(UploadItem::Held);
        let items: Vec<UploadItem> = self.items.drain(..).chain(config).collect();
        if !items.is_empty() {
            created.send(items, &|_| ()).await?;
        }
        Ok(())
    }

    /// Joins the network of the sidecars, unless the container is in it already.
    pub async fn join_network(&self, container: &str) -> Result<(), EngineError> {
        match &self.second_network {
            Some(network) => network.connect(container).await,
            None => Ok(()),
        }
    }

    /// Adds folders with an owner to the files that are sent.
    pub fn add_folders(&mut self, folders: impl Iterator<Item = String>, owner: (u32, u32)) {
        self.items.extend(folders.map(|folder| UploadItem::Folder {
            to: folder.into(),
            owner,
        }));
    }

    /// Removes the mount points: they are not part of the source and must not end up in the image.
    pub fn release(&self) {
        let points = match &self.lock {
            Some(lock) => lock.mount_points_to_remove(&self.mount_points),
            None => self.mount_points.iter().rev().cloned().collect(),
        };
        remove_mount_points(&points);
    }
}

impl RunningBuilder {
    /// Runs one item of a script.
    pub async fn script(
        &self,
        context: &ExecuteContext,
        unit: &Unit,
        step: &ScriptStep,
        trace: Option<TraceParent>,
    ) -> Result<(), Stop> {
        let name = BUILDER_TRACEPARENT.name;
        let is_own = |(known, _): &(String, String)| known == name;
        // The manifest's variables take precedence.
        let trace = trace.filter(|_| !self.prepared.spec.env.iter().any(is_own));
        let trace = trace.map(|trace| format!("{name}={trace}"));
        let env: Vec<String> = trace.into_iter().collect();
        let output = |bytes| {
            context.events.emit(Event::Output {
                unit: unit.clone(),
                phase: step.phase,
                bytes,
            });
        };
        let code = self
            .container
            .run(&step.text, &self.step.script_dir, env, &output)
            .await
            .map_err(StepError::from)?;
        match code {
            0 => Ok(()),
            code => Err(StepError::script(step, code).into()),
        }
    }

    pub fn container(&self) -> &BuilderContainer {
        &self.container
    }

    /// Returns the image, as the plan names it.
    pub fn image(&self) -> &ImageReference {
        &self.step.image
    }

    /// Returns when the container was ready.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Returns the container as the owner of files on a remote engine, if it is.
    pub fn shared(&self) -> Option<SharedFiles<'_>> {
        let files = self.prepared.remote_files.as_ref()?;
        Some(SharedFiles {
            files,
            container: &self.container.id,
            owner: FilesOwner::Running(&self.container),
        })
    }

    /// Returns the shell command that reproduces one item of a script, if there is one.
    pub fn reproduce(&self, context: &ExecuteContext, step: &ScriptStep) -> Option<String> {
        let environment = self.prepared.reproducible(context, &self.step)?;
        reproduce::script(&environment, step)
    }

    /// Copies the results of a session back from a remote engine.
    pub async fn copy_back(&self, context: &ExecuteContext) -> Result<(), StepError> {
        match self.shared() {
            None => Ok(()),
            Some(shared) => {
                shared
                    .copy_back(context, &self.unit, WantedFiles::None)
                    .await
            }
        }
    }

    /// Keeps the container if its results could not be copied back, and returns a hint.
    pub async fn keep(self, context: &ExecuteContext) -> Option<String> {
        match &self.prepared.remote_files {
            Some(files) => Some(files.keep(context, &self.container).await),
            None => {
                self.end(context).await;
                None
            }
        }
    }

    /// Ends the container; afterwards, files that another user created in it belong to the caller.
    pub async fn end(self, context: &ExecuteContext) {
        self.container.remove().await;
        if self.prepared.remote_files.is_some() {
            let labels = &self.prepared.spec.labels;
            context.engine.remove_volumes(labels).await;
        }
        self.prepared.release();
    }
}

impl PreparedContainer {
    /// Returns the environment for a command that reproduces a step; `None` if the engine is remote: it cannot mount
    /// files of this machine, and the files sent are gone.
    pub fn reproducible<'p>(
        &'p self,
        context: &ExecuteContext,
        step: &'p ContainerStep,
    ) -> Option<ScriptEnvironment<'p>> {
        if self.remote_files.is_some() || self.spec.volumes_from.is_some() {
            return None;
        }
        let points = self.mount_points.iter();
        Some(ScriptEnvironment {
            spec: &self.spec,
            env_for_shell: &step.env_for_shell,
            dir: &step.script_dir,
            mount_points: match context.path_mapping.get() {
                Some(path_mapping) => points.map(|point| path_mapping.typed(point)).collect(),
                None => points.cloned().collect(),
            },
            ssh_agent: SSH_AGENT,
        })
    }
}

/// Returns the configuration of the container, without mounts.
async fn spec(
    context: &ExecuteContext,
    step: &ContainerStep,
    state: &UnitState,
    labels: HashMap<String, String>,
) -> Result<ContainerSpec, Stop> {
    // In a rootless engine, root is the user who runs it.
    let owner = if context.facts.rootless {
        (0, 0)
    } else {
        (context.caller.uid, context.caller.gid)
    };
    let user = match step.user {
        BuilderUser::Caller => owner,
        BuilderUser::Root => (0, 0),
        BuilderUser::Ids { uid, gid } => (uid, gid),
    };
    let caches = step.caches.iter().map(|(_, path)| path.clone());
    let written: Vec<String> = std::iter::once(step.workdir.clone())
        .chain(caches)
        .collect();
    let step = &state.with_toolchain(step);
    Ok(ContainerSpec {
        image: step.image.clone(),
        platform: step.platform.clone(),
        env: variables(context, step, state),
        user,
        owner,
        written,
        taken: Vec::new(),
        groups: groups(context, step, user, &labels).await?,
        labels,
        binds: Vec::new(),
        volumes_from: None,
        network: step.network.clone(),
        memory: step.memory,
        nano_cpus: step.nano_cpus,
    })
}

fn variables(
    context: &ExecuteContext,
    step: &ContainerStep,
    state: &UnitState,
) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = vec![
        // The repository belongs to the caller, and the scripts may run as another user.
        ("GIT_CONFIG_COUNT".to_owned(), "1".to_owned()),
        ("GIT_CONFIG_KEY_0".to_owned(), "safe.directory".to_owned()),
        ("GIT_CONFIG_VALUE_0".to_owned(), "*".to_owned()),
    ];
    if let Some(time) = state.commit_time.filter(|_| !step.is_staged) {
        variables.push((SOURCE_DATE_EPOCH.name.to_owned(), time.to_string()));
    }
    if step.ssh && context.caller.ssh_agent.is_some() {
        variables.push((BUILDER_SSH_AUTH_SOCK.name.to_owned(), SSH_AGENT.to_owned()));
    }
    // The manifest's variables come last, to take precedence.
    variables.extend(
        step.env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    variables
}

async fn groups(
    context: &ExecuteContext,
    step: &ContainerStep,
    user: (u32, u32),
    labels: &HashMap<String, String>,
) -> Result<Vec<u32>, StepError> {
    use std::os::unix::fs::MetadataExt as _;
    if let PathMapping::Remote(_) = context.path_mapping().await? {
        let group = if step.socket && user.0 != 0 {
            remote::socket_group(context, step, labels).await?
        } else {
            None
        };
        return Ok(group.into_iter().collect());
    }
    let socket = step.socket.then(|| engine_socket(context)).flatten();
    let metadata = socket.and_then(|path| fs::metadata(path).ok());
    Ok(metadata
        .map(|metadata| metadata.gid())
        .into_iter()
        .collect())
}
