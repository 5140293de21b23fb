//! Builder containers: alive exactly as long as the connection that holds them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{Engine, EngineError};
use crate::image::ImageReference;

/// The folder that is `HOME` for everybody but root.
pub const HOME: &str = "/home/xp";

/// What the container's own shell prints when everything is prepared.
const READY: &str = "xp-ready";

/// The size of the chunks in which a script's output is read.
const OUTPUT_CAPACITY: usize = 64 * 1024;

/// A folder or file of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The path on the engine's host.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// Whether it may only be read.
    pub read_only: bool,
}

/// What a builder container is to be.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The image.
    pub image: ImageReference,
    /// How to find it again.
    pub labels: HashMap<String, String>,
    /// The variables of every script, `HOME` excepted.
    pub env: Vec<(String, String)>,
    /// The user and the group that run the scripts.
    pub user: (u32, u32),
    /// Further groups, such as that of the engine's socket.
    pub groups: Vec<u32>,
    /// Mounts, those of outer folders first.
    pub binds: Vec<Bind>,
    /// The network mode; the engine's default where there is none.
    pub network: Option<String>,
    /// The limit of memory, in bytes.
    pub memory: Option<u64>,
    /// The limit of processors, in billionths.
    pub nano_cpus: Option<u64>,
}

/// A running builder container.
///
/// Its main process is a shell that reads from the connection held here. When that connection ends,
/// for whatever reason, the shell ends, and with it the container, which the engine then removes.
pub struct BuilderContainer {
    engine: Engine,
    id: String,
    user: (u32, u32),
    /// Held, never written to again: its end is the container's end. Behind a lock only because it
    /// cannot be shared between threads otherwise.
    input: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
}

impl BuilderContainer {
    /// Starts a container and prepares it: a home, and names for the user and the group.
    ///
    /// # Errors
    ///
    /// Where the engine refuses, or the image has no shell.
    pub async fn start(engine: &Engine, spec: &ContainerSpec) -> Result<Self, EngineError> {
        let failed =
            |error| EngineError::new(format!("start a container of {}", spec.image), error);
        let created = engine
            .docker
            .create_container(
                None::<bollard::query_parameters::CreateContainerOptions>,
                create_body(spec),
            )
            .await
            .map_err(failed)?;
        let container = Self::attach(engine, spec, created.id.clone()).await;
        if container.is_err() {
            // It was created, but holds no connection that would end it.
            remove(engine, &created.id).await;
        }
        container
    }

    async fn attach(
        engine: &Engine,
        spec: &ContainerSpec,
        id: String,
    ) -> Result<Self, EngineError> {
        let failed =
            |error| EngineError::new(format!("start a container of {}", spec.image), error);
        // Before it is started: so it never runs without somebody at the other end.
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = engine
            .patient()
            .attach_container(&id, Some(options))
            .await
            .map_err(failed)?;
        engine
            .docker
            .start_container(
                &id,
                None::<bollard::query_parameters::StartContainerOptions>,
            )
            .await
            .map_err(failed)
            .map_err(|error| no_shell(spec, error))?;
        let mut input = attached.input;
        let mut output = attached.output;
        let mut said = String::new();
        let greeted = async {
            input.write_all(setup(spec).as_bytes()).await.ok()?;
            input.flush().await.ok()?;
            while let Some(Ok(chunk)) = output.next().await {
                said.push_str(&String::from_utf8_lossy(&chunk.into_bytes()));
                if said.lines().any(|line| line.trim() == READY) {
                    return Some(());
                }
            }
            None
        };
        if greeted.await.is_none() {
            return Err(EngineError::NoShell {
                image: spec.image.clone(),
                output: said,
            });
        }
        // The main shell says no more; draining keeps the connection from filling up.
        tokio::spawn(async move { while output.next().await.is_some() {} });
        Ok(Self {
            engine: engine.clone(),
            id,
            user: spec.user,
            input: Mutex::new(input),
        })
    }

    /// Runs a shell line and returns its exit code; `output` gets what it prints.
    ///
    /// # Errors
    ///
    /// Where the engine refuses, or the container ended.
    pub async fn run(
        &self,
        line: &str,
        dir: &str,
        output: &(dyn Fn(Bytes) + Send + Sync),
    ) -> Result<i64, EngineError> {
        self.run_as(line, dir, self.user, output).await
    }

    /// Runs a shell line as root, to give back what scripts of another user made.
    ///
    /// # Errors
    ///
    /// See [`Self::run`].
    pub async fn run_as_root(&self, line: &str) -> Result<i64, EngineError> {
        self.run_as(line, "/", (0, 0), &|_| ()).await
    }

    async fn run_as(
        &self,
        line: &str,
        dir: &str,
        (uid, gid): (u32, u32),
        output: &(dyn Fn(Bytes) + Send + Sync),
    ) -> Result<i64, EngineError> {
        let failed = |error| match EngineError::new("run a script's line", error) {
            // The container is removed as soon as it ends.
            error if matches!(error.status(), Some(404 | 409)) => EngineError::ContainerGone,
            error => error,
        };
        let engine = self.engine.patient();
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // `-e`: of a script of several lines the first failing one counts.
            cmd: Some(vec![
                "/bin/sh".to_owned(),
                "-ec".to_owned(),
                line.to_owned(),
            ]),
            user: Some(format!("{uid}:{gid}")),
            working_dir: Some(dir.to_owned()),
            ..Default::default()
        };
        let exec = engine
            .create_exec(&self.id, options)
            .await
            .map_err(failed)?;
        let start = StartExecOptions {
            output_capacity: Some(OUTPUT_CAPACITY),
            ..Default::default()
        };
        if let StartExecResults::Attached {
            output: mut stream,
            input: _input,
        } = engine
            .start_exec(&exec.id, Some(start))
            .await
            .map_err(failed)?
        {
            while let Some(chunk) = stream.next().await {
                match chunk.map_err(failed)? {
                    LogOutput::StdIn { .. } => {}
                    chunk => output(chunk.into_bytes()),
                }
            }
        }
        let ended = engine.inspect_exec(&exec.id).await.map_err(failed)?;
        match (ended.running, ended.exit_code) {
            (Some(true), _) | (_, None) => Err(EngineError::ContainerGone),
            (_, Some(code)) => Ok(code),
        }
    }

    /// Ends the container and waits until it is gone.
    pub async fn remove(self) {
        _ = self
            .input
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .shutdown()
            .await;
        remove(&self.engine, &self.id).await;
    }
}

impl Engine {
    /// Removes containers with a label of that value, and returns how many there were.
    ///
    /// A run that is killed between creating a container and starting it leaves one that never ran.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn remove_leftovers(&self, label: &str, value: &str) -> Result<usize, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|error| EngineError::new("list its containers", error))?;
        for container in &found {
            if let Some(id) = &container.id {
                remove(self, id).await;
            }
        }
        Ok(found.len())
    }
}

/// Removes a container, running or not, and waits for a bounded time until it is gone.
async fn remove(engine: &Engine, id: &str) {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    _ = engine.docker.remove_container(id, Some(options)).await;
    for _ in 0..100 {
        let inspected = engine
            .docker
            .inspect_container(
                id,
                None::<bollard::query_parameters::InspectContainerOptions>,
            )
            .await;
        match inspected {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(_) => return,
        }
    }
}

fn create_body(spec: &ContainerSpec) -> ContainerCreateBody {
    let home = if spec.user.0 == 0 { "/root" } else { HOME };
    let mut env: Vec<String> = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !spec.env.iter().any(|(name, _)| name == "HOME") {
        env.push(format!("HOME={home}"));
    }
    let bind = |bind: &Bind| {
        let mode = if bind.read_only { ":ro" } else { "" };
        format!("{}:{}{mode}", bind.source, bind.target)
    };
    let limit = |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
    ContainerCreateBody {
        image: Some(spec.image.to_string()),
        entrypoint: Some(vec!["/bin/sh".to_owned()]),
        cmd: Some(Vec::new()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        env: Some(env),
        labels: Some(spec.labels.clone()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        host_config: Some(HostConfig {
            init: Some(true),
            auto_remove: Some(true),
            binds: Some(spec.binds.iter().map(bind).collect()),
            network_mode: spec.network.clone(),
            group_add: Some(spec.groups.iter().map(u32::to_string).collect()),
            memory: limit(spec.memory),
            nano_cpus: limit(spec.nano_cpus),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What the container's shell does before the first script, as root and with no more than a shell
/// needs: an image may lack `grep` and the like.
fn setup(spec: &ContainerSpec) -> String {
    let (uid, gid) = spec.user;
    // Tools such as git, ssh and npm fail for a user without a name.
    format!(
        r#"if [ {uid} != 0 ]; then
mkdir -p {HOME}; chown {uid}:{gid} {HOME}
known=; while IFS=: read -r name _ id _; do [ "$id" = {uid} ] && known=1; done < /etc/passwd
[ -n "$known" ] || echo 'xp:x:{uid}:{gid}:xp:{HOME}:/bin/sh' >> /etc/passwd
known=; while IFS=: read -r name _ id _; do [ "$id" = {gid} ] && known=1; done < /etc/group
[ -n "$known" ] || echo 'xp:x:{gid}:' >> /etc/group
else mkdir -p /root
fi 2> /dev/null
echo {READY}
"#
    )
}

/// Tells the refusal to start a shell that is not there from others.
fn no_shell(spec: &ContainerSpec, error: EngineError) -> EngineError {
    match error {
        EngineError::Refused { message, .. } if message.contains("/bin/sh") => {
            EngineError::NoShell {
                image: spec.image.clone(),
                output: message,
            }
        }
        error => error,
    }
}
