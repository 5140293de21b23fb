//! Containers that run the entrypoint of their image, such as plugins and sidecars.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bollard::body_full;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, EndpointSettings, ExecConfig, HealthConfig, HostConfig, NetworkingConfig,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, EventsOptionsBuilder, StartContainerOptions,
    UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::watch;

use super::archive::read_files;
use super::builder::remove;
use super::holder::Holder;
use super::spec::{Bind, of_platform};
use crate::base::task::joined;
use crate::client::engine::connect::raw::OUTPUT_CAPACITY;
use crate::client::engine::{Engine, EngineError};
use crate::model::image::Platform;

/// How long the output may take to end after the container ended.
const OUTPUT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The configuration of a container that runs the entrypoint of its image.
#[derive(Debug, Clone, Default)]
pub struct HeldSpec {
    /// The image: a reference or an id.
    pub image: String,
    /// The platform of the image; `None` for the engine's own.
    pub platform: Option<Platform>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Further variables, which override those of the image.
    pub env: Vec<(String, String)>,
    /// The user and group; `None` for the image's own.
    pub user: Option<(u32, u32)>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Replaces the image's working folder.
    pub workdir: Option<String>,
    /// The labels.
    pub labels: HashMap<String, String>,
    /// The mounts, outer folders first.
    pub binds: Vec<Bind>,
    /// A container whose volumes are mounted, too.
    pub volumes_from: Option<String>,
    /// File systems in memory, by mount point, with their mount options.
    pub tmpfs: HashMap<String, String>,
    /// The network mode, or the name of a network; `None` for the engine's default.
    pub network: Option<String>,
    /// Further host names in that network.
    pub aliases: Vec<String>,
    /// The memory limit, in bytes.
    pub memory: Option<u64>,
    /// The CPU limit, in billionths of a CPU.
    pub nano_cpus: Option<u64>,
    /// Files to copy into the container before it starts; this also works with a remote engine.
    pub files: Vec<HeldFile>,
    /// Whether the container remains after its end, until it is removed, so that files can be read. Otherwise the engine
    /// removes it.
    pub remains: bool,
}

/// A file to copy into a container.
#[derive(Clone)]
pub struct HeldFile {
    /// The absolute path. The folder that contains it is created, readable by everyone.
    pub path: PathBuf,
    /// The content.
    pub bytes: Vec<u8>,
    /// The permissions.
    pub mode: u32,
    /// The user and group that it belongs to.
    pub owner: (u32, u32),
}

/// Without the content, which may be secret.
impl std::fmt::Debug for HeldFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.path.display(), self.bytes.len())
    }
}

/// A container that was not started yet. It must be started or removed.
pub struct CreatedHeld {
    pub(super) engine: Engine,
    pub(super) id: String,
    image: String,
}

/// A started container, which ends with its holder.
pub struct HeldContainer {
    engine: Engine,
    id: String,
    image: String,
    ended: watch::Receiver<Option<i64>>,
}

impl CreatedHeld {
    /// Creates a container that joins the holder's process namespace.
    ///
    /// # Errors
    ///
    /// If the engine rejects a request, or the image has no entrypoint.
    pub async fn create(
        engine: &Engine,
        spec: &HeldSpec,
        holder: &Holder,
    ) -> Result<Self, EngineError> {
        let options = of_platform(spec.platform.as_ref());
        let created = engine.docker.create_container(options, spec.body(holder));
        let created = created
            .await
            .map_err(|error| not_started(&spec.image, error))?;
        let created = Self {
            engine: engine.clone(),
            id: created.id,
            image: spec.image.clone(),
        };
        if let Err(error) = created.send(&spec.files).await {
            created.remove().await;
            return Err(error);
        }
        Ok(created)
    }

    async fn send(&self, files: &[HeldFile]) -> Result<(), EngineError> {
        if files.is_empty() {
            return Ok(());
        }
        let archive = archive(files).map_err(|error| EngineError::Unsent(error.to_string()))?;
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let body = body_full(Bytes::from(archive));
        let sent = self
            .engine
            .docker
            .upload_to_container(&self.id, Some(options), body);
        sent.await
            .map_err(|error| EngineError::new("receive the files of a container", error))
    }

    /// Starts the container; `output` receives its output.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, such as for a program that does not exist. The container is removed then.
    pub async fn start(
        self,
        output: impl Fn(Bytes) + Send + 'static,
    ) -> Result<HeldContainer, EngineError> {
        let created = SystemTime::now();
        // Wait and attach before starting it: the engine forgets a container that ended.
        let (engine, id) = (self.engine.clone(), self.id.clone());
        let mut exit = tokio::spawn(async move { exit_code(&engine, &id, created).await });
        tokio::task::yield_now().await;
        let options = AttachContainerOptionsBuilder::default();
        let options = options.stream(true).stdout(true).stderr(true).build();
        let engine = self.engine.without_timeout();
        let started = async {
            let attached = engine.attach_container(&self.id, Some(options)).await?;
            let options = None::<StartContainerOptions>;
            self.engine
                .docker
                .start_container(&self.id, options)
                .await?;
            Ok(attached.output)
        };
        let mut stream = match started.await {
            Ok(stream) => stream,
            Err(error) => {
                exit.abort();
                self.remove().await;
                return Err(not_started(&self.image, error));
            }
        };
        let printed = tokio::spawn(async move {
            while let Some(Ok(chunk)) = stream.next().await {
                match chunk {
                    LogOutput::StdIn { .. } => {}
                    chunk => output(chunk.into_bytes()),
                }
            }
        });
        let (sender, ended) = watch::channel(None);
        let (engine, id) = (self.engine.clone(), self.id.clone());
        tokio::spawn(async move {
            let code = tokio::select! {
                code = &mut exit => joined(code),
                // It may have ended before the engine received the first request, which then waits forever.
                Some(code) = end_of(&engine, &id, "not-running") => Some(code),
            };
            exit.abort();
            // A process of another container may still hold the output.
            _ = tokio::time::timeout(OUTPUT_TIMEOUT, printed).await;
            if let Some(code) = code {
                _ = sender.send(Some(code));
            }
        });
        Ok(HeldContainer {
            engine: self.engine,
            id: self.id,
            image: self.image,
            ended,
        })
    }

    /// Returns the container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Removes the container.
    pub async fn remove(&self) {
        remove(&self.engine, &self.id).await;
    }
}

impl HeldContainer {
    /// Returns the engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until the container has ended and all of its output was received, and returns its exit code.
    ///
    /// # Errors
    ///
    /// If the engine does not know how the container ended.
    pub async fn wait(&self) -> Result<i64, EngineError> {
        let mut ended = self.ended.clone();
        let code = ended.wait_for(Option::is_some).await;
        code.ok()
            .and_then(|code| *code)
            .ok_or_else(|| EngineError::UnknownEnd(self.image.clone()))
    }

    /// Returns the exit code, if the container has ended.
    pub fn exit_code(&self) -> Option<i64> {
        *self.ended.borrow()
    }

    /// Runs a command in the container as its user, and returns the exit code and the output.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, or the container has ended.
    pub async fn exec(&self, command: &[String]) -> Result<(i64, Vec<u8>), EngineError> {
        let name = command.first().cloned().unwrap_or_default();
        let failed = |error| match EngineError::new(format!("run `{name}`"), error) {
            error if matches!(error.status(), Some(404 | 409)) => EngineError::ContainerGone,
            error => error,
        };
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let engine = self.engine.without_timeout();
        let exec = engine.create_exec(&self.id, config).await.map_err(failed)?;
        let start = StartExecOptions {
            output_capacity: Some(OUTPUT_CAPACITY),
            ..Default::default()
        };
        let mut printed = Vec::new();
        let started = engine.start_exec(&exec.id, Some(start)).await;
        if let StartExecResults::Attached { mut output, .. } = started.map_err(failed)? {
            while let Some(chunk) = output.next().await {
                printed.extend(chunk.map_err(failed)?.into_bytes());
            }
        }
        let state = self.engine.exit_state(&exec.id).await.map_err(failed)?;
        match state.exit_code {
            Some(code) if state.running != Some(true) => Ok((code, printed)),
            _ => Err(EngineError::ContainerGone),
        }
    }

    /// Reads regular files below a path of the container, as [`super::builder::BuilderContainer::read_files`] does. The
    /// container must be running or remain.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, or the response is invalid.
    pub async fn read_files(
        &self,
        path: &Path,
        limit: u64,
        is_wanted: impl Fn(&Path, u64, u64) -> bool + Send + 'static,
    ) -> Result<Vec<(PathBuf, Vec<u8>)>, EngineError> {
        read_files(&self.engine, &self.id, path, limit, is_wanted).await
    }

    /// Removes the container, running or not.
    pub async fn remove(&self) {
        remove(&self.engine, &self.id).await;
    }
}

impl HeldSpec {
    fn body(&self, holder: &Holder) -> ContainerCreateBody {
        let limit =
            |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
        // The engine's own checks begin late; sidecars run the command themselves.
        let no_check = HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..Default::default()
        };
        let env = self.env.iter();
        let mounts = self.binds.iter().map(|bind| bind.mount(&self.labels));
        let network = self.network.clone().filter(|_| !self.aliases.is_empty());
        let networking_config = network.map(|network| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                network,
                EndpointSettings {
                    aliases: Some(self.aliases.clone()),
                    ..Default::default()
                },
            )])),
        });
        ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: self.entrypoint.clone(),
            cmd: self.command.clone(),
            user: self.user.map(|(uid, gid)| format!("{uid}:{gid}")),
            working_dir: self.workdir.clone(),
            env: Some(env.map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(self.labels.clone()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            healthcheck: Some(no_check),
            host_config: Some(HostConfig {
                auto_remove: Some(!self.remains),
                pid_mode: Some(format!("container:{}", holder.id())),
                mounts: Some(mounts.collect()),
                volumes_from: self.volumes_from.clone().map(|id| vec![id]),
                tmpfs: Some(self.tmpfs.clone()),
                network_mode: self.network.clone(),
                group_add: Some(self.groups.iter().map(u32::to_string).collect()),
                memory: limit(self.memory),
                nano_cpus: limit(self.nano_cpus),
                ..Default::default()
            }),
            networking_config,
            ..Default::default()
        }
    }
}

/// Waits for the next end of a container and returns its exit code; `None` if the engine does not know it.
async fn exit_code(engine: &Engine, id: &str, created: SystemTime) -> Option<i64> {
    match end_of(engine, id, "next-exit").await {
        Some(code) => Some(code),
        // It ended, and was removed, before the engine received the request.
        None => exit_code_of_event(engine, id, created).await,
    }
}

/// Waits for a condition of the engine, and returns the container's exit code; `None` if the request fails.
async fn end_of(engine: &Engine, id: &str, condition: &str) -> Option<i64> {
    let options = WaitContainerOptionsBuilder::default();
    let options = options.condition(condition).build();
    let waiting = engine.without_timeout();
    let mut ended = Box::pin(waiting.wait_container(id, Some(options)));
    match ended.next().await? {
        Ok(ended) => Some(ended.status_code),
        Err(Error::DockerContainerWaitError { code, .. }) => Some(code),
        Err(_) => None,
    }
}

/// Returns the exit code of a container that ended since a time.
async fn exit_code_of_event(engine: &Engine, id: &str, since: SystemTime) -> Option<i64> {
    let seconds = |time: SystemTime| {
        let elapsed = time.duration_since(SystemTime::UNIX_EPOCH);
        elapsed.unwrap_or_default().as_secs().to_string()
    };
    let filters = HashMap::from([("container", vec![id]), ("event", vec!["die"])]);
    let options = EventsOptionsBuilder::default()
        // The clock of a remote engine may differ.
        .since(&seconds(since - std::time::Duration::from_secs(3600)))
        .until(&seconds(SystemTime::now()))
        .filters(&filters)
        .build();
    let mut events = Box::pin(engine.docker.events(Some(options)));
    let event = events.next().await?.ok()?;
    event.actor?.attributes?.get("exitCode")?.parse().ok()
}

fn archive(files: &[HeldFile]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut folders = std::collections::BTreeSet::new();
    for file in files {
        let path = file.path.strip_prefix("/").unwrap_or(&file.path);
        if let Some(folder) = path.parent().filter(|it| folders.insert(it.to_owned())) {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, folder, std::io::empty())?;
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        header.set_uid(file.owner.0.into());
        header.set_gid(file.owner.1.into());
        header.set_size(file.bytes.len() as u64);
        archive.append_data(&mut header, path, file.bytes.as_slice())?;
    }
    archive.into_inner()
}

fn not_started(image: &str, error: Error) -> EngineError {
    match EngineError::new(format!("start a container of {image}"), error) {
        // Docker says so when it creates the container, and Podman when it starts it.
        EngineError::Refused { message, .. }
            if message.to_lowercase().contains("no command specified")
                || message.contains("exec: \"\": ") =>
        {
            EngineError::NoEntrypoint(image.to_owned())
        }
        error => error,
    }
}
