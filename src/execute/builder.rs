//! Builder containers and the scripts that run in them.

mod mounts;
mod reports;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::remote::RemoteFiles;
use super::session_lock::SessionLock;
use super::sidecars::{self, Sidecars};
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, remote};
use crate::client::engine::{BuilderContainer, ContainerSpec, CreatedContainer, EngineError};
use crate::execute::path_mapping::PathMapping;
use crate::execute::reproduce;
use crate::model::environment::{BUILDER_SSH_AUTH_SOCK, BUILDER_TRACEPARENT, SOURCE_DATE_EPOCH};
use crate::model::event::{Event, Unit};
use crate::model::manifest::BuilderUser;
use crate::model::plan::{ContainerStep, ImageStep, ScriptStep};
use crate::model::trace::TraceParent;
use mounts::{
    binds, engine_socket, files, make_mount_points, missing_mount_points, reject_foreign_files,
};

pub(super) use mounts::{mount_source, remove_mount_points};
pub(super) use reports::FoundReports;

/// The path of the engine's socket in a container.
pub(super) const SOCKET: &str = "/var/run/docker.sock";

/// The path of the ssh agent's socket in a container.
const SSH_AGENT: &str = "/run/xp-ssh-agent.sock";

/// A running builder container.
pub struct RunningBuilder {
    container: BuilderContainer,
    script_dir: String,
    /// The folders and files created as mount points, the innermost last.
    mount_points: Vec<PathBuf>,
    /// Held if other containers may use the same files.
    lock: Option<SessionLock>,
    /// The configuration that the container was started with.
    spec: ContainerSpec,
    /// The files that were sent, if the engine cannot access this machine's files.
    remote_files: Option<RemoteFiles>,
    unit: Unit,
    env_for_shell: BTreeMap<String, String>,
    /// Whether its scripts reach sidecars.
    has_sidecars: bool,
    /// When the container was ready for scripts.
    started: SystemTime,
}

/// Starts the builder container of a service, unless `stopped` resolves first.
pub async fn start(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    sidecars: Option<&Sidecars>,
    stopped: impl Future<Output = Stop>,
) -> Result<RunningBuilder, Stop> {
    let labels = sidecars::labels(context, unit).await;
    let labels = labels.map_err(StepError::from)?;
    let lock = if step.in_place {
        Some(SessionLock::new(&context.layout)?)
    } else {
        None
    };
    let beside = BesideBuilder {
        labels,
        lock,
        sidecars,
    };
    begin(context, unit, step, state, beside, stopped).await
}

/// What belongs to a builder container besides its own configuration.
pub struct BesideBuilder<'a> {
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// Held if other containers may use the same files.
    pub lock: Option<SessionLock>,
    /// The network of the sidecars that its scripts reach.
    pub sidecars: Option<&'a Sidecars>,
}

/// Starts a container with these labels, unless `stopped` resolves first.
pub async fn begin(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    beside: BesideBuilder<'_>,
    stopped: impl Future<Output = Stop>,
) -> Result<RunningBuilder, Stop> {
    let BesideBuilder {
        labels,
        lock,
        sidecars,
    } = beside;
    let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
    let mut spec = spec(context, step, state, labels).await?;
    let network = sidecars.map(Sidecars::network);
    if let (None, Some(network)) = (&spec.network, network) {
        spec.network = Some(network.name().to_owned());
    }
    let mut mount_points = Vec::new();
    let mut remote_files = None;
    if let PathMapping::Remote(_) = path_mapping {
        // The files in the volume need not be writable for the caller.
        spec.owner = spec.user;
        let mut prepared =
            RemoteFiles::prepare(context, unit, step, state, spec.user, &spec.labels).await?;
        spec.binds = std::mem::take(&mut prepared.binds);
        spec.taken = std::mem::take(&mut prepared.taken);
        remote_files = Some(prepared);
    } else {
        if spec.user != spec.owner {
            reject_foreign_files(step, &spec.written)?;
        }
        let files = files(context, path_mapping, step, state)?;
        spec.binds = binds(path_mapping, &files)?;
        let missing = missing_mount_points(step, &files);
        if let Some(lock) = &lock {
            // Before they are created, so that another xp can remove them if this one is killed.
            lock.record(missing.iter().map(|point| point.path.as_path()));
        }
        mount_points = make_mount_points(missing);
    }
    // Must not be canceled in between: a created container must be started or removed.
    let created = match CreatedContainer::create(&context.engine, &spec).await {
        Ok(created) => created,
        Err(error) => {
            remove_mount_points(&mount_points_to_remove(lock.as_ref(), &mount_points));
            return Err(StepError::from(error).into());
        }
    };
    let ready = async {
        if let Some(files) = &mut remote_files {
            files.send(context, unit, &created).await?;
        }
        let container = created.start(&spec).await?;
        if let (Some(_), Some(network)) = (&step.network, network) {
            network.connect(&container.id).await?;
        }
        Ok::<_, EngineError>(container)
    };
    let started = tokio::select! {
        started = ready => started.map_err(|error| StepError::from(error).into()),
        stop = stopped => Err(stop),
    };
    match started {
        Ok(container) => Ok(RunningBuilder {
            container,
            script_dir: step.script_dir.clone(),
            mount_points,
            lock,
            env_for_shell: step.env_for_shell.clone(),
            has_sidecars: sidecars.is_some(),
            spec,
            remote_files,
            unit: unit.clone(),
            // After the owner of the files was changed.
            started: SystemTime::now(),
        }),
        Err(stop) => {
            created.remove().await;
            remove_mount_points(&mount_points_to_remove(lock.as_ref(), &mount_points));
            Err(stop)
        }
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
        let trace = trace.filter(|_| !self.spec.env.iter().any(is_own));
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
            .run(&step.text, &self.script_dir, env, &output)
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

    /// Returns the shell command that reproduces one item of a script, if there is one.
    pub fn reproduce(&self, context: &ExecuteContext, step: &ScriptStep) -> Option<String> {
        // A remote engine cannot mount files of this machine, and the files sent are gone, as are sidecars.
        if self.remote_files.is_some() || self.has_sidecars {
            return None;
        }
        let points = self.mount_points.iter();
        let mount_points: Vec<PathBuf> = match context.path_mapping.get() {
            Some(path_mapping) => points.map(|point| path_mapping.typed(point)).collect(),
            None => points.cloned().collect(),
        };
        let environment = reproduce::ScriptEnvironment {
            spec: &self.spec,
            env_for_shell: &self.env_for_shell,
            dir: &self.script_dir,
            mount_points: &mount_points,
            ssh_agent: SSH_AGENT,
        };
        reproduce::script(&environment, step)
    }

    /// Copies the results of scripts back from a remote engine; of an export, only the files that the image is built
    /// from.
    pub async fn copy_back(
        &self,
        context: &ExecuteContext,
        image: Option<&ImageStep>,
    ) -> Result<(), StepError> {
        match &self.remote_files {
            None => Ok(()),
            Some(files) => {
                files
                    .copy_back(context, &self.unit, &self.container, image)
                    .await
            }
        }
    }

    /// Keeps the container if its results could not be copied back, and returns a hint.
    pub async fn keep(self, context: &ExecuteContext) -> Option<String> {
        match &self.remote_files {
            Some(files) => Some(files.keep(context, &self.container).await),
            None => {
                self.end(context).await;
                None
            }
        }
    }

    /// Returns a hint about what is lost if results could not be copied back.
    pub fn lost(&self) -> Option<String> {
        self.remote_files.as_ref().map(RemoteFiles::lost)
    }

    /// Ends the container; afterwards, files that another user created in it belong to the caller.
    pub async fn end(self, context: &ExecuteContext) {
        self.container.remove().await;
        if self.remote_files.is_some() {
            context.engine.remove_volumes(&self.spec.labels).await;
        }
        // They are not part of the source and must not end up in the image.
        remove_mount_points(&mount_points_to_remove(
            self.lock.as_ref(),
            &self.mount_points,
        ));
    }
}

/// Returns the mount points to remove after a container ended, the innermost first.
fn mount_points_to_remove(lock: Option<&SessionLock>, mount_points: &[PathBuf]) -> Vec<PathBuf> {
    match lock {
        Some(lock) => lock.mount_points_to_remove(mount_points),
        None => mount_points.iter().rev().cloned().collect(),
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
    Ok(ContainerSpec {
        image: step.image.clone(),
        env: variables(context, step, state),
        user,
        owner,
        written,
        taken: Vec::new(),
        groups: groups(context, step, user, &labels).await?,
        labels,
        binds: Vec::new(),
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
    if let Some(time) = state.commit_time {
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
