//! Builder containers, and the scripts that run in them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::unit::{StepError, Stop, UnitState};
use super::{Context, LABEL_FOLDER, LABEL_SERVICE};
use crate::client::engine::{Bind, BuilderContainer, ContainerSpec};
use crate::event::{Event, Unit};
use crate::manifest::BuilderUser;
use crate::plan::{ContainerStep, ScriptStep};

/// Where the engine's socket is in a container that may use it.
const SOCKET: &str = "/var/run/docker.sock";

/// Where the ssh agent's socket is in a container that may use it.
const SSH_AGENT: &str = "/run/xp-ssh-agent.sock";

/// A running container, and what its scripts need to know.
pub struct Running {
    container: BuilderContainer,
    script_dir: String,
    /// The folders of the host that are given back to the caller at the end.
    give_back: Option<(Vec<String>, (u32, u32))>,
}

/// Starts the builder container of a service.
pub async fn start(
    context: &Context,
    unit: &Unit,
    step: &ContainerStep,
    state: &UnitState,
) -> Result<Running, Stop> {
    let caller = (context.caller.uid, context.caller.gid);
    // The root of a rootless engine is the user that runs it.
    let own = if context.facts.rootless {
        (0, 0)
    } else {
        caller
    };
    let user = match step.user {
        BuilderUser::Caller => own,
        BuilderUser::Root => (0, 0),
        BuilderUser::Ids { uid, gid } => (uid, gid),
    };
    let spec = ContainerSpec {
        image: step.image.clone(),
        labels: HashMap::from([
            (
                LABEL_FOLDER.to_owned(),
                context.layout.root().display().to_string(),
            ),
            (LABEL_SERVICE.to_owned(), unit.to_string()),
        ]),
        env: variables(context, step, state),
        user,
        groups: groups(context, step),
        binds: binds(context, step, state)?,
        network: step.network.clone(),
        memory: step.memory,
        nano_cpus: step.nano_cpus,
    };
    let container = BuilderContainer::start(&context.engine, &spec)
        .await
        .map_err(StepError::from)?;
    let written = || {
        let caches = step.caches.iter().map(|(_, path)| path.clone());
        std::iter::once(step.workdir.clone())
            .chain(caches)
            .collect::<Vec<_>>()
    };
    if user != own && user.0 != 0 {
        // What is mounted belongs to the caller, and this user has to write to it.
        let line = chown(&written(), user);
        container
            .run_as_root(&line)
            .await
            .map_err(StepError::from)?;
    }
    let give_back = (user != own).then(|| (written(), own));
    Ok(Running {
        container,
        script_dir: step.script_dir.clone(),
        give_back,
    })
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

    /// Ends the container; what another user made in it belongs to the caller afterwards.
    pub async fn end(self) {
        if let Some((paths, owner)) = &self.give_back {
            let patience = std::time::Duration::from_secs(60);
            _ = tokio::time::timeout(patience, self.container.run_as_root(&chown(paths, *owner)))
                .await;
        }
        self.container.remove().await;
    }
}

/// Returns a shell line that gives folders to a user. Links are not followed, and what is mounted
/// read-only stays.
fn chown(paths: &[String], (uid, gid): (u32, u32)) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| quote(path)).collect();
    format!(
        "chown -hR {uid}:{gid} {} 2> /dev/null || true",
        quoted.join(" ")
    )
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
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

fn groups(context: &Context, step: &ContainerStep) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let socket = step.socket.then(|| engine_socket(context)).flatten();
    socket
        .and_then(|path| fs::metadata(path).ok())
        .map(|metadata| metadata.gid())
        .into_iter()
        .collect()
}

fn engine_socket(context: &Context) -> Option<PathBuf> {
    context
        .engine
        .address()
        .strip_prefix("unix://")
        .map(PathBuf::from)
}

fn binds(context: &Context, step: &ContainerStep, state: &UnitState) -> Result<Vec<Bind>, Stop> {
    let bind = |source: &Path, target: String, read_only: bool| Bind {
        source: source.display().to_string(),
        target,
        read_only,
    };
    let workdir = step.workdir.trim_end_matches('/');
    let mut binds = vec![
        bind(&step.source, step.workdir.clone(), false),
        bind(&step.git_dir, format!("{workdir}/.git"), true),
    ];
    if let Some(objects) = &state.objects {
        binds.push(bind(objects, format!("{workdir}/.git/objects"), true));
    }
    for objects in &state.borrowed_objects {
        binds.push(bind(objects, objects.display().to_string(), true));
    }
    for (folder, path) in &step.caches {
        // Made by the caller: the engine would make it as root.
        fs::create_dir_all(folder).map_err(|error| {
            StepError::plain(format!(
                "the cache folder {} could not be made: {error}",
                folder.display()
            ))
        })?;
        binds.push(bind(folder, path.clone(), false));
    }
    for mount in &step.mounts {
        let source = match (mount.source.strip_prefix('~'), &context.caller.home) {
            (Some(rest), Some(home)) => PathBuf::from(format!("{}{rest}", home.display())),
            _ => context.folder.join(&mount.source),
        };
        if !source.exists() {
            // The engine would make an empty folder there, as root.
            return Err(
                StepError::plain(format!("the mount {} does not exist", source.display())).into(),
            );
        }
        binds.push(bind(&source, mount.target.clone(), mount.read_only));
    }
    if step.ssh {
        let Some(agent) = &context.caller.ssh_agent else {
            return Err(StepError::plain(
                "`ssh: true` needs an ssh agent, and SSH_AUTH_SOCK is not set",
            )
            .into());
        };
        binds.push(bind(agent, SSH_AGENT.to_owned(), false));
    }
    if step.socket {
        let Some(socket) = engine_socket(context) else {
            let address = context.engine.address();
            return Err(StepError::plain(format!(
                "`socket: true` needs an engine with a socket; it is at {address}"
            ))
            .into());
        };
        binds.push(bind(&socket, SOCKET.to_owned(), false));
    }
    Ok(binds)
}
