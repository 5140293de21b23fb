//! Builder containers: alive exactly as long as the connection that holds them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, Notify};

use super::container_spec::ContainerSpec;
use super::main_shell::{ANSWER, READY, main_script};
use super::{Engine, EngineError};

/// How long it may take to give the files of a build back to their owner.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the engine may take to remove a container.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest pause between two questions to the engine whether something has happened.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How often the engine is asked whether a script that said its last has ended.
const END_ATTEMPTS: u32 = 25;

/// The size of the chunks in which a script's output is read.
pub(super) const OUTPUT_CAPACITY: usize = 64 * 1024;

/// A builder container that does not run yet: it is to be started or removed.
pub struct CreatedContainer {
    pub(super) engine: Engine,
    pub(super) id: String,
}

/// A running builder container.
///
/// Its main process is a shell that reads from the connection held here, and sends the signals that it is
/// told to the processes of the container. When that connection ends,
/// for whatever reason, the shell gives the files back to their owner and ends, and with it the
/// container, which the engine then removes.
pub struct BuilderContainer {
    pub(super) engine: Engine,
    pub(super) id: String,
    pub(super) user: (u32, u32),
    /// Held: its end is the container's end. A line that is written to it is a signal to be sent.
    pub(super) input: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Told when the shell answers.
    pub(super) answered: Arc<Notify>,
    /// Whether the shell has something to do when the connection ends.
    gives_back: bool,
}

impl CreatedContainer {
    /// Creates a container.
    ///
    /// # Errors
    ///
    /// Where the engine refuses.
    pub async fn create(engine: &Engine, spec: &ContainerSpec) -> Result<Self, EngineError> {
        let options = None::<bollard::query_parameters::CreateContainerOptions>;
        let created = engine
            .docker
            .create_container(options, spec.body())
            .await
            .map_err(|error| not_started(spec, error))?;
        Ok(Self {
            engine: engine.clone(),
            id: created.id,
        })
    }

    /// Starts the container and prepares it: a home, and names for the user and the group.
    ///
    /// # Errors
    ///
    /// Where the engine refuses, or the image has no shell.
    pub async fn start(&self, spec: &ContainerSpec) -> Result<BuilderContainer, EngineError> {
        // Before it is started: so it never runs without somebody at the other end.
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self
            .engine
            .patient()
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
        let mut said = String::new();
        let greeted = async {
            input.write_all(main_script(spec).as_bytes()).await.ok()?;
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
        // Draining keeps the connection from filling up; the main shell says no more than an answer.
        let answered = Arc::new(Notify::new());
        let notify = answered.clone();
        tokio::spawn(async move {
            while let Some(chunk) = output.next().await {
                if chunk.is_ok_and(|chunk| {
                    String::from_utf8_lossy(&chunk.into_bytes()).contains(ANSWER)
                }) {
                    notify.notify_one();
                }
            }
            // Nobody waits for an answer that will not come.
            notify.notify_one();
        });
        Ok(BuilderContainer {
            engine: self.engine.clone(),
            id: self.id.clone(),
            user: spec.user,
            input: Mutex::new(input),
            answered,
            gives_back: spec.gives_back(),
        })
    }

    /// Removes the container, where it was not started or its start did not come to its end.
    pub async fn remove(&self) {
        remove(&self.engine, &self.id).await;
    }
}

impl BuilderContainer {
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
        let (uid, gid) = self.user;
        let failed = |error| match EngineError::new("run a script's line", error) {
            // The container is removed as soon as it ends.
            error if matches!(error.status(), Some(404 | 409)) => EngineError::ContainerGone,
            error => error,
        };
        let engine = self.engine.patient();
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // `-e`: of a script of several lines the first failing one counts. One stream for both
            // outputs, as two lose the order in which lines were printed.
            cmd: Some(vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                r#"exec /bin/sh -ec "$0" 2>&1"#.to_owned(),
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
        let ended = self.ended(&exec.id).await.map_err(failed)?;
        match (ended.running, ended.exit_code) {
            (Some(true), _) | (_, None) => Err(EngineError::ContainerGone),
            (_, Some(code)) => Ok(code),
        }
    }

    /// Asks how a script ended. Its output may end a moment before the engine knows.
    pub(super) async fn ended(
        &self,
        exec: &str,
    ) -> Result<ExecInspectResponse, bollard::errors::Error> {
        for attempt in 0..END_ATTEMPTS {
            let inspected = self.engine.docker.inspect_exec(exec).await?;
            if inspected.running != Some(true) {
                return Ok(inspected);
            }
            pause(attempt).await;
        }
        self.engine.docker.inspect_exec(exec).await
    }

    /// Ends the container and waits until it is gone.
    pub async fn remove(self) {
        _ = self.input.into_inner().shutdown().await;
        if self.gives_back {
            // The shell does its last work, and the engine then removes the container.
            wait_until_gone(&self.engine, &self.id, GIVE_BACK_TIMEOUT).await;
        }
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
    wait_until_gone(engine, id, REMOVAL_TIMEOUT).await;
}

async fn wait_until_gone(engine: &Engine, id: &str, limit: Duration) {
    let gone = async {
        let options = || None::<bollard::query_parameters::InspectContainerOptions>;
        let mut attempt = 0;
        while engine.docker.inspect_container(id, options()).await.is_ok() {
            pause(attempt).await;
            attempt += 1;
        }
    };
    _ = tokio::time::timeout(limit, gone).await;
}

/// Waits a moment before the engine is asked again: what it does takes milliseconds most often.
async fn pause(attempt: u32) {
    let pause = Duration::from_millis(2 << attempt.min(10));
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
}

fn not_started(spec: &ContainerSpec, error: bollard::errors::Error) -> EngineError {
    EngineError::new(format!("start a container of {}", spec.image), error)
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
