//! Builder containers, and the scripts that run in them.

mod mounts;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use super::mark::Mark;
use super::reach::Reach;
use super::remote::Away;
use super::state::UnitState;
use super::stop::{StepError, Stop};
use super::{Context, LABEL_FOLDER, LABEL_SERVICE, by_hand, remote};
use crate::client::engine::{BuilderContainer, ContainerSpec, CreatedContainer};
use crate::event::{Event, Unit};
use crate::manifest::BuilderUser;
use crate::plan::{ContainerStep, ImageStep, ScriptStep};
use mounts::{
    binds, engine_socket, files, make_mount_points, missing_mount_points, refuse_foreign_files,
};

pub(super) use mounts::{mount_source, remove_mount_points};

/// Where the engine's socket is in a container that may use it.
pub(super) const SOCKET: &str = "/var/run/docker.sock";

/// Where the ssh agent's socket is in a container that may use it.
const SSH_AGENT: &str = "/run/xp-ssh-agent.sock";

/// A running container, and what its scripts need to know.
pub struct Running {
    container: BuilderContainer,
    script_dir: String,
    /// The folders and files that are there only to be mounted upon, the innermost last.
    mount_points: Vec<PathBuf>,
    /// Says that the container runs, where others may work on the same files.
    mark: Option<Mark>,
    /// What the container was started with.
    spec: ContainerSpec,
    /// The files that were sent, where the engine does not see those of this machine.
    away: Option<Away>,
    unit: Unit,
    env_by_hand: BTreeMap<String, String>,
}

/// Starts the builder container of a service, unless `stopped` comes first.
pub async fn start(
    context: &Context,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    stopped: impl Future<Output = Stop>,
) -> Result<Running, Stop> {
    let reach = context.reach().await.map_err(StepError::from)?;
    let folder = reach.shown(context.layout.root());
    let labels = HashMap::from([
        (LABEL_FOLDER.to_owned(), folder),
        (LABEL_SERVICE.to_owned(), unit.to_string()),
    ]);
    let mark = match step.in_place {
        true => Some(Mark::new(&context.layout)?),
        false => None,
    };
    begin(context, unit, step, state, labels, mark, stopped).await
}

/// Starts a container with these labels, unless `stopped` comes first.
pub async fn begin(
    context: &Context,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
    labels: HashMap<String, String>,
    mark: Option<Mark>,
    stopped: impl Future<Output = Stop>,
) -> Result<Running, Stop> {
    let reach = context.reach().await.map_err(StepError::from)?;
    let mut spec = spec(context, step, state, labels).await?;
    let mut mount_points = Vec::new();
    let mut away = None;
    if let Reach::Remote(_) = reach {
        // Nobody here has to write to what is there.
        spec.owner = spec.user;
        let prepared = Away::prepare(context, unit, step, state, spec.user, &spec.labels);
        let mut prepared = prepared.await?;
        spec.binds = std::mem::take(&mut prepared.binds);
        spec.taken = std::mem::take(&mut prepared.taken);
        away = Some(prepared);
    } else {
        if spec.user != spec.owner {
            refuse_foreign_files(step, &spec.written)?;
        }
        let files = files(context, reach, step, state)?;
        spec.binds = binds(reach, &files)?;
        let missing = missing_mount_points(step, &files);
        if let Some(mark) = &mark {
            // Before they are made: whoever finds what a killed xp left knows them by this.
            mark.will_make(missing.iter().map(|point| point.path.as_path()));
        }
        mount_points = make_mount_points(missing);
    }
    // Not dropped half-way: a container that was created must be started or removed.
    let created = match CreatedContainer::create(&context.engine, &spec).await {
        Ok(created) => created,
        Err(error) => {
            remove_mount_points(&to_be_removed(mark.as_ref(), &mount_points));
            return Err(StepError::from(error).into());
        }
    };
    let ready = async {
        if let Some(away) = &mut away {
            away.send(context, unit, &created).await?;
        }
        created.start(&spec).await
    };
    let started = tokio::select! {
        started = ready => started.map_err(|error| StepError::from(error).into()),
        stop = stopped => Err(stop),
    };
    match started {
        Ok(container) => Ok(Running {
            container,
            script_dir: step.script_dir.clone(),
            mount_points,
            mark,
            env_by_hand: step.env_by_hand.clone(),
            spec,
            away,
            unit: unit.clone(),
        }),
        Err(stop) => {
            created.remove().await;
            remove_mount_points(&to_be_removed(mark.as_ref(), &mount_points));
            Err(stop)
        }
    }
}

impl Running {
    /// Runs one item of a script.
    pub async fn script(
        &self,
        context: &Context,
        unit: &Unit,
        step: &ScriptStep,
    ) -> Result<(), Stop> {
        let output = |bytes| {
            context.events.emit(Event::Output {
                unit: unit.clone(),
                phase: step.phase,
                bytes,
            });
        };
        let code = self
            .container
            .run(&step.text, &self.script_dir, &output)
            .await
            .map_err(StepError::from)?;
        match code {
            0 => Ok(()),
            code => Err(StepError::script(step, code).into()),
        }
    }

    /// Returns the container.
    pub fn container(&self) -> &BuilderContainer {
        &self.container
    }

    /// Returns the command that repeats one item of a script by hand, where there is one.
    pub fn by_hand(&self, context: &Context, step: &ScriptStep) -> Option<String> {
        // Nothing of this machine can be mounted there, and what was sent is gone.
        if self.away.is_some() {
            return None;
        }
        let points = self.mount_points.iter();
        let mount_points: Vec<PathBuf> = match context.reach.get() {
            Some(reach) => points.map(|point| reach.typed(point)).collect(),
            None => points.cloned().collect(),
        };
        let place = by_hand::Place {
            spec: &self.spec,
            env_by_hand: &self.env_by_hand,
            dir: &self.script_dir,
            mount_points: &mount_points,
            ssh_agent: SSH_AGENT,
        };
        by_hand::script(&place, step)
    }

    /// Brings back what scripts made, where the engine does not see the files of this machine: of an export
    /// what the image is built from. Where it does, it is here already.
    pub async fn bring_back(
        &self,
        context: &Context,
        image: Option<&ImageStep>,
    ) -> Result<(), StepError> {
        match &self.away {
            None => Ok(()),
            Some(away) => {
                away.bring_back(context, &self.unit, &self.container, image)
                    .await
            }
        }
    }

    /// Has the container stay where what was made could not be brought back, and returns what to do then.
    pub async fn keep(self, context: &Context) -> Option<String> {
        match &self.away {
            Some(away) => Some(away.keep(context, &self.container).await),
            None => {
                self.end(context).await;
                None
            }
        }
    }

    /// Says what is lost when what was made could not be brought back.
    pub fn lost(&self) -> Option<String> {
        self.away.as_ref().map(Away::lost)
    }

    /// Ends the container; what another user made in it belongs to the caller afterwards.
    pub async fn end(self, context: &Context) {
        self.container.remove().await;
        if self.away.is_some() {
            context.engine.remove_volumes(&self.spec.labels).await;
        }
        // They are no part of the source, and must not reach the image.
        remove_mount_points(&to_be_removed(self.mark.as_ref(), &self.mount_points));
    }
}

/// Returns the mount points to be removed when a container has ended, the innermost first.
fn to_be_removed(mark: Option<&Mark>, mount_points: &[PathBuf]) -> Vec<PathBuf> {
    match mark {
        Some(mark) => mark.to_be_removed(mount_points),
        None => mount_points.iter().rev().cloned().collect(),
    }
}

/// Returns what the container is to be, without what is mounted in it.
async fn spec(
    context: &Context,
    step: &ContainerStep,
    state: &UnitState,
    labels: HashMap<String, String>,
) -> Result<ContainerSpec, Stop> {
    // The root of a rootless engine is the user that runs it.
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

fn variables(context: &Context, step: &ContainerStep, state: &UnitState) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = vec![
        // The repository belongs to the caller, and the scripts may run as somebody else.
        ("GIT_CONFIG_COUNT".to_owned(), "1".to_owned()),
        ("GIT_CONFIG_KEY_0".to_owned(), "safe.directory".to_owned()),
        ("GIT_CONFIG_VALUE_0".to_owned(), "*".to_owned()),
    ];
    if let Some(time) = state.commit_time {
        variables.push(("SOURCE_DATE_EPOCH".to_owned(), time.to_string()));
    }
    if step.ssh && context.caller.ssh_agent.is_some() {
        variables.push(("SSH_AUTH_SOCK".to_owned(), SSH_AGENT.to_owned()));
    }
    // The manifest's own come last: they overrule.
    variables.extend(
        step.env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    variables
}

async fn groups(
    context: &Context,
    step: &ContainerStep,
    user: (u32, u32),
    labels: &HashMap<String, String>,
) -> Result<Vec<u32>, StepError> {
    use std::os::unix::fs::MetadataExt as _;
    if let Reach::Remote(_) = context.reach().await? {
        let group = match step.socket && user.0 != 0 {
            true => remote::socket_group(context, step, labels).await?,
            false => None,
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
