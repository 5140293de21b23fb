//! Builder containers, which live exactly as long as the connection that holds them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ListContainersOptionsBuilder, PruneContainersOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, Notify};

use super::main_shell::{READY, RESPONSE, main_script};
use crate::client::engine::connect::raw::OUTPUT_CAPACITY;
use crate::client::engine::container::spec::{ContainerSpec, of_platform};
use crate::client::engine::{Engine, EngineError};

/// How long restoring the owner of the build's files may take.
const RESTORE_OWNER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the engine may take to remove a container.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of attempts to remove ended containers that depend on each other.
const PRUNE_ATTEMPTS: u32 = 4;

/// The longest interval when polling the engine.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// The number of attempts to get the exit code of a script after its output has ended.
const END_ATTEMPTS: u32 = 25;

/// A builder container that was not started yet. It must be started or removed.
pub struct CreatedContainer {
    pub engine: Engine,
    pub id: String,
}

/// A running builder container.
///
/// Its main process is a shell that reads commands from the connection, such as to send a signal to a process. When
/// the connection ends for any reason, the shell restores the owner of the files and exits. That ends the container,
/// which the engine then removes.
pub struct BuilderContainer {
    pub engine: Engine,
    pub id: String,
    pub user: (u32, u32),
    /// Commands to the shell, one per line. Closing it ends the container.
    pub input: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Notified when the shell responds.
    pub responded: Arc<Notify>,
    /// Whether the shell restores the owner of files when the connection ends.
    restores_owner: bool,
}

impl CreatedContainer {
    /// Creates a container.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request.
    pub async fn create(engine: &Engine, spec: &ContainerSpec) -> Result<Self, EngineError> {
        let created = engine
            .docker
            .create_container(of_platform(spec.platform.as_ref()), spec.body())
            .await
            .map_err(|error| not_started(spec, error))?;
        Ok(Self {
            engine: engine.clone(),
            id: created.id,
        })
    }

    /// Starts the container, and creates a home folder and names for the user and group.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, or the image has no shell.
    pub async fn start(&self, spec: &ContainerSpec) -> Result<BuilderContainer, EngineError> {
        // Attach before starting it, so that it never runs without a connection.
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self
            .engine
            .without_timeout()
            .attach_container(&self.id, Some(options))
            .await
            .map_err(|error| not_started(spec, error))?;
        let options = None::<bollard::query_parameters::StartContainerOptions>;
        self.engine
            .docker
            .start_container(&self.id, options)
            .await
            .map_err(|error| no_shell(spec, not_started(spec, error)))?;
        let mut input = attached.input;
        let mut output = attached.output;
        let mut printed = String::new();
        let ready = async {
            input.write_all(main_script(spec).as_bytes()).await.ok()?;
            input.flush().await.ok()?;
            while let Some(Ok(chunk)) = output.next().await {
                printed.push_str(&String::from_utf8_lossy(&chunk.into_bytes()));
                if printed.lines().any(|line| line.trim() == READY) {
                    return Some(());
                }
            }
            None
        };
        if ready.await.is_none() {
            return Err(EngineError::NoShell {
                image: spec.image.clone(),
                output: printed,
            });
        }
        // Drain the output, which consists only of responses of the main shell.
        let responded = Arc::new(Notify::new());
        let notify = responded.clone();
        tokio::spawn(async move {
            while let Some(chunk) = output.next().await {
                if chunk.is_ok_and(|chunk| {
                    String::from_utf8_lossy(&chunk.into_bytes()).contains(RESPONSE)
                }) {
                    notify.notify_one();
                }
            }
            // Wake up waiters when the connection ends.
            notify.notify_one();
        });
        Ok(BuilderContainer {
            engine: self.engine.clone(),
            id: self.id.clone(),
            user: spec.user,
            input: Mutex::new(input),
            responded,
            restores_owner: spec.restores_owner(),
        })
    }

    /// Removes the container, if it was not started or failed to start.
    pub async fn remove(&self) {
        remove(&self.engine, &self.id).await;
    }
}

impl BuilderContainer {
    /// Runs a shell command line with additional variables, `NAME=VALUE`, and returns its exit code; `output` receives
    /// its output.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, or the container ended.
    pub async fn run(
        &self,
        line: &str,
        dir: &str,
        env: Vec<String>,
        output: &(dyn Fn(Bytes) + Send + Sync),
    ) -> Result<i64, EngineError> {
        let (uid, gid) = self.user;
        let failed = |error| match EngineError::new("run a line of a script", error) {
            // The container is removed as soon as it ends.
            error if matches!(error.status(), Some(404 | 409)) => EngineError::ContainerGone,
            error => error,
        };
        let engine = self.engine.without_timeout();
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // `-e` stops a script at the first line that fails. Both outputs share a stream, because separate ones
            // lose the order of lines.
            cmd: Some(vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                r#"exec /bin/sh -ec "$0" 2>&1"#.to_owned(),
                line.to_owned(),
            ]),
            user: Some(format!("{uid}:{gid}")),
            working_dir: Some(dir.to_owned()),
            env: Some(env),
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
        let state = self.engine.exit_state(&exec.id).await.map_err(failed)?;
        match (state.running, state.exit_code) {
            (Some(true), _) | (_, None) => Err(EngineError::ContainerGone),
            (_, Some(code)) => Ok(code),
        }
    }

    /// Ends the container and waits until it is removed.
    pub async fn remove(self) {
        _ = self.input.into_inner().shutdown().await;
        if self.restores_owner {
            // The shell restores the owner of files, and the engine then removes the container.
            wait_until_gone(&self.engine, &self.id, RESTORE_OWNER_TIMEOUT).await;
        }
        remove(&self.engine, &self.id).await;
    }
}

impl Engine {
    /// Returns how a program in a container ended. The engine may need a moment to know after the end of the output.
    pub(super) async fn exit_state(
        &self,
        exec: &str,
    ) -> Result<ExecInspectResponse, bollard::errors::Error> {
        for attempt in 0..END_ATTEMPTS {
            let inspected = self.docker.inspect_exec(exec).await?;
            if inspected.running != Some(true) {
                return Ok(inspected);
            }
            pause(attempt).await;
        }
        self.docker.inspect_exec(exec).await
    }

    /// Removes the containers and networks with a label, and returns the number of containers.
    ///
    /// A run that was killed between creating and starting a container leaves it behind, and its networks.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn remove_leftovers(&self, label: &str, value: &str) -> Result<usize, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
        let pruned = if self.is_podman {
            self.prune(&filters).await
        } else {
            0
        };
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|error| EngineError::new("list its containers", error))?;
        // Concurrently, because a holder may be removed only after those that it holds.
        let ids = found.iter().filter_map(|container| container.id.as_deref());
        join_all(ids.map(|id| remove(self, id))).await;
        self.remove_networks(label, value).await?;
        Ok(pruned + found.len())
    }

    /// Removes the ended containers that match filters, and returns their number.
    ///
    /// Podman leaves a container that shared the process namespace of another one in a state that the client library
    /// does not know, so it could not even be listed.
    async fn prune(&self, filters: &HashMap<String, Vec<String>>) -> usize {
        let mut pruned = 0;
        // A container is only removed after those that use its namespace.
        for _ in 0..PRUNE_ATTEMPTS {
            let options = PruneContainersOptionsBuilder::default().filters(filters);
            let response = self.docker.prune_containers(Some(options.build())).await;
            let removed = response.ok().and_then(|it| it.containers_deleted);
            match removed.map_or(0, |removed| removed.len()) {
                0 => break,
                removed => pruned += removed,
            }
        }
        pruned
    }
}

/// Removes a container, running or not, and waits for a limited time until it is gone.
pub(super) async fn remove(engine: &Engine, id: &str) {
    let options = RemoveContainerOptionsBuilder::default();
    let options = options.force(true).v(true).build();
    let gone = async {
        let mut attempt = 0;
        loop {
            // Podman refuses it while another container of the same process namespace exists.
            _ = engine
                .docker
                .remove_container(id, Some(options.clone()))
                .await;
            if !exists(engine, id).await {
                return;
            }
            pause(attempt).await;
            attempt += 1;
        }
    };
    _ = tokio::time::timeout(REMOVAL_TIMEOUT, gone).await;
}

async fn wait_until_gone(engine: &Engine, id: &str, limit: Duration) {
    let gone = async {
        let mut attempt = 0;
        while exists(engine, id).await {
            pause(attempt).await;
            attempt += 1;
        }
    };
    _ = tokio::time::timeout(limit, gone).await;
}

async fn exists(engine: &Engine, id: &str) -> bool {
    let options = None::<bollard::query_parameters::InspectContainerOptions>;
    engine.docker.inspect_container(id, options).await.is_ok()
}

/// Waits before polling again, only milliseconds at first.
async fn pause(attempt: u32) {
    let pause = Duration::from_millis(2 << attempt.min(10));
    tokio::time::sleep(pause.min(MAX_PAUSE)).await;
}

fn not_started(spec: &ContainerSpec, error: bollard::errors::Error) -> EngineError {
    EngineError::new(format!("start a container of {}", spec.image), error)
}

/// Converts the error of an image without a shell.
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
