//! Copies files to and from containers, for engines that cannot access the files of this machine.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::body_try_stream;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
    UploadToContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::copy_back::{CopyBackReport, CopyBackTarget};
use super::main_shell::CONFIRM;
use super::pipe;
use crate::base::units;
use crate::client::engine::connect::endpoint::EngineEndpoint;
use crate::client::engine::container::builder::{BuilderContainer, CreatedContainer};
use crate::client::engine::container::copy_back;
use crate::client::engine::container::held::CreatedHeld;
use crate::client::engine::container::source_upload::{SentFiles, SourceUpload, UploadItem};
use crate::client::engine::{Engine, EngineError};

/// The interval of progress reports.
const TICK: std::time::Duration = std::time::Duration::from_millis(200);

/// How long the main shell may take to end the processes that scripts left running.
const RESPONSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// The usual path of the engine's socket on its machine.
pub const ENGINE_SOCKET: &str = "/var/run/docker.sock";

impl CreatedContainer {
    /// Copies files to the container before it is started, and returns those that will be copied back.
    ///
    /// # Errors
    ///
    /// If files cannot be read, or the engine rejects the request.
    pub async fn send(
        &self,
        items: Vec<UploadItem>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<SentFiles, EngineError> {
        send(&self.engine, &self.id, items, progress).await
    }

    /// Copies files of a container that never runs back, as [`BuilderContainer::copy_back`] does.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, the response is truncated, or files cannot be written.
    pub async fn copy_back(
        &self,
        path: &str,
        place: CopyBackTarget,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<CopyBackReport, EngineError> {
        copy_back_from(&self.engine, &self.id, path, place, progress, false).await
    }

    /// Reads files of a container that never runs, as [`BuilderContainer::read_files`] does.
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
}

impl BuilderContainer {
    /// Copies files of the container back; `path` is their path in the container.
    ///
    /// First ends all processes but the main shell, so that no script writes while the files are read.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request, the response is truncated, or files cannot be written.
    pub async fn copy_back(
        &self,
        path: &str,
        place: CopyBackTarget,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<CopyBackReport, EngineError> {
        self.end_processes().await?;
        copy_back_from(&self.engine, &self.id, path, place, progress, true).await
    }

    /// Reads regular files below a path of the container, by their path relative to it. `is_wanted` is called with that
    /// path, the size and the time of the last change. Stops after `limit` bytes.
    ///
    /// First ends all processes but the main shell, as [`Self::copy_back`] does.
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
        self.end_processes().await?;
        read_files(&self.engine, &self.id, path, limit, is_wanted).await
    }

    /// Ends the processes that scripts left running.
    async fn end_processes(&self) -> Result<(), EngineError> {
        let sent = self.send_command("9 -1").await;
        sent.map_err(|message| EngineError::Refused {
            action: "end the processes of the build".to_owned(),
            message,
            status: None,
        })?;
        // The wait also ends when the shell has ended.
        self.ensure_running().await
    }

    /// Keeps the container running when the connection ends. Returns its short id; `None` if that failed.
    pub async fn stay(&self) -> Option<String> {
        self.send_command("stay 1").await.ok()?;
        self.ensure_running().await.ok()?;
        Some(self.id.chars().take(12).collect())
    }

    /// Sends a command to the main shell, and waits until it was read.
    async fn send_command(&self, line: &str) -> Result<(), String> {
        let mut input = self.input.lock().await;
        let sent = async {
            input.write_all(format!("{line}\n").as_bytes()).await?;
            input.flush().await?;
            // The shell reads its commands in order: once it responds to the second, it has read the first.
            let responded = self.responded.notified();
            input.write_all(format!("{CONFIRM}\n").as_bytes()).await?;
            input.flush().await?;
            responded.await;
            std::io::Result::Ok(())
        };
        match tokio::time::timeout(RESPONSE_TIMEOUT, sent).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err(format!(
                "no response for {}",
                units::limit(RESPONSE_TIMEOUT)
            )),
        }
    }

    /// Returns an error if the container does not run.
    async fn ensure_running(&self) -> Result<(), EngineError> {
        ensure_usable(&self.engine, &self.id, true).await
    }
}

impl CreatedHeld {
    /// Copies further files to the container before it is started.
    ///
    /// # Errors
    ///
    /// If files cannot be read, or the engine rejects the request.
    pub async fn send_items(&self, items: Vec<UploadItem>) -> Result<(), EngineError> {
        send(&self.engine, &self.id, items, &|_| ()).await?;
        Ok(())
    }
}

/// Copies files to a container that does not run yet.
async fn send(
    engine: &Engine,
    id: &str,
    items: Vec<UploadItem>,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<SentFiles, EngineError> {
    let upload = SourceUpload::new(items);
    let sent = upload.sent();
    // A file's error is the actual cause: the engine only sees that the request ended early.
    let (failed, mut failure) = tokio::sync::mpsc::channel::<String>(1);
    let bytes = std::sync::Arc::new(AtomicU64::new(0));
    let counted = bytes.clone();
    let body = upload.stream().map(move |chunk| {
        match &chunk {
            Ok(chunk) => _ = counted.fetch_add(chunk.len() as u64, Ordering::Relaxed),
            Err(error) => _ = failed.try_send(error.to_string()),
        }
        chunk
    });
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let engine = engine.without_timeout();
    let upload = engine.upload_to_container(id, Some(options), body_try_stream(body));
    let mut upload = std::pin::pin!(upload);
    let mut ticks = tokio::time::interval(TICK);
    let result = loop {
        tokio::select! {
            result = &mut upload => break result,
            _ = ticks.tick() => progress(bytes.load(Ordering::Relaxed)),
        }
    };
    if let Err(error) = result {
        return Err(match failure.try_recv() {
            Ok(reason) => EngineError::Unsent(reason),
            Err(_) => EngineError::new("receive the files of the build", error),
        });
    }
    progress(bytes.load(Ordering::Relaxed));
    let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(sent)
}

/// Copies files of a container back, which `must_run` or not.
async fn copy_back_from(
    engine: &Engine,
    id: &str,
    path: &str,
    place: CopyBackTarget,
    progress: &(dyn Fn(u64) + Send + Sync),
    must_run: bool,
) -> Result<CopyBackReport, EngineError> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(path)
        .build();
    let long = engine.without_timeout();
    let mut archive = Box::pin(long.download_from_container(id, Some(options)));
    let action = "send the results of the build";
    let first = match archive.next().await {
        Some(Err(error)) => match EngineError::new(action, error) {
            // The container may be gone. It must be if the mount point itself is not found.
            error if error.status() == Some(404) => {
                if place.part.as_os_str().is_empty() {
                    return Err(EngineError::ContainerGone);
                }
                ensure_usable(engine, id, must_run).await?;
                None
            }
            error => return Err(error),
        },
        Some(first) => Some(first),
        None => {
            let message = "empty response".to_owned();
            return Err(EngineError::Refused {
                action: action.to_owned(),
                message,
                status: None,
            });
        }
    };
    let folder = place.folder.clone();
    let unwritten = move |source| EngineError::Unwritten {
        folder: folder.clone(),
        source,
    };
    let Some(first) = first else {
        // The folder was removed in the container.
        let gone = tokio::task::spawn_blocking(move || copy_back::unpack(&place, None));
        return crate::base::task::joined(gone.await).map_err(unwritten);
    };
    let bytes = std::sync::Arc::new(AtomicU64::new(0));
    let counted = bytes.clone();
    let chunks = futures_util::stream::iter([first]).chain(archive);
    let chunks = chunks.map(move |chunk| {
        if let Ok(chunk) = &chunk {
            counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        chunk.map_err(|error| {
            std::io::Error::other(crate::base::error::innermost(&error).to_string())
        })
    });
    let unpacked = pipe::read(chunks, move |reader| {
        copy_back::unpack(&place, Some(reader))
    });
    let mut unpacked = std::pin::pin!(unpacked);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            result = &mut unpacked => return result.map_err(unwritten),
            _ = ticks.tick() => progress(bytes.load(Ordering::Relaxed)),
        }
    }
}

/// Returns an error if a container does not exist, or does not run although it `must_run`.
async fn ensure_usable(engine: &Engine, id: &str, must_run: bool) -> Result<(), EngineError> {
    let options = None::<bollard::query_parameters::InspectContainerOptions>;
    match engine.docker.inspect_container(id, options).await {
        Ok(found) => {
            let state = found.state.as_ref();
            if must_run && state.is_some_and(|it| it.running == Some(false)) {
                return Err(EngineError::ContainerGone);
            }
            Ok(())
        }
        Err(error) => match EngineError::new("inspect the builder container", error) {
            error if error.status() == Some(404) => Err(EngineError::ContainerGone),
            error => Err(error),
        },
    }
}

/// Reads regular files below a path of a container.
pub(super) async fn read_files(
    engine: &Engine,
    id: &str,
    path: &Path,
    limit: u64,
    is_wanted: impl Fn(&Path, u64, u64) -> bool + Send + 'static,
) -> Result<Vec<(PathBuf, Vec<u8>)>, EngineError> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(&path.display().to_string())
        .build();
    let engine = engine.without_timeout();
    let mut archive = Box::pin(engine.download_from_container(id, Some(options)));
    let action = "send files of the container";
    let first = match archive.next().await {
        None => return Ok(Vec::new()),
        Some(Err(error)) => {
            let error = EngineError::new(action, error);
            // There is no such path.
            return if error.status() == Some(404) {
                Ok(Vec::new())
            } else {
                Err(error)
            };
        }
        Some(first) => first,
    };
    let chunks = futures_util::stream::iter([first]).chain(archive);
    let chunks = chunks.map(|chunk| {
        chunk.map_err(|error| {
            std::io::Error::other(crate::base::error::innermost(&error).to_string())
        })
    });
    let read = pipe::read(chunks, move |reader| files_in(reader, limit, &is_wanted));
    read.await.map_err(|error| EngineError::Refused {
        action: action.to_owned(),
        message: error.to_string(),
        status: None,
    })
}

/// Reads the wanted files of an archive, whose names begin with that of the requested folder or file.
fn files_in(
    reader: &mut dyn Read,
    limit: u64,
    is_wanted: &dyn Fn(&Path, u64, u64) -> bool,
) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut total = 0;
    for entry in tar::Archive::new(reader).entries()? {
        let mut entry = entry?;
        let path: PathBuf = entry.path()?.components().skip(1).collect();
        let header = entry.header();
        let is_file = header.entry_type().is_file();
        let (size, modified) = (entry.size(), header.mtime()?);
        if !is_file || !is_wanted(&path, size, modified) {
            continue;
        }
        total += size;
        if total > limit {
            break;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.push((path, bytes));
    }
    Ok(files)
}

impl Engine {
    /// Returns the path of the engine's socket on its machine, if the address has it.
    pub fn host_socket(&self) -> Option<&str> {
        match &self.endpoint {
            EngineEndpoint::Ssh(host) => host.socket(),
            _ => None,
        }
    }

    /// Returns the labels of a volume; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn volume(&self, name: &str) -> Result<Option<HashMap<String, String>>, EngineError> {
        match self.docker.inspect_volume(name).await {
            Ok(volume) => Ok(Some(volume.labels)),
            Err(error) => match EngineError::new("inspect a volume", error) {
                error if error.status() == Some(404) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Creates a volume.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request.
    pub async fn create_volume(
        &self,
        name: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), EngineError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..Default::default()
        };
        let created = self.docker.create_volume(request).await;
        created
            .map(drop)
            .map_err(|error| EngineError::new("create a volume", error))
    }

    /// Removes the unused volumes with all of these labels, which are left behind if another program removes the
    /// container.
    pub async fn remove_volumes(&self, labels: &HashMap<String, String>) {
        let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
        let filters = HashMap::from([
            ("label".to_owned(), labels.collect()),
            ("dangling".to_owned(), vec!["true".to_owned()]),
        ]);
        let options = ListVolumesOptionsBuilder::default()
            .filters(&filters)
            .build();
        let Ok(found) = self.docker.list_volumes(Some(options)).await else {
            return;
        };
        for volume in found.volumes.into_iter().flatten() {
            self.remove_volume(&volume.name).await;
        }
    }

    /// Removes a volume, and returns whether that succeeded: it fails if the volume is in use.
    pub async fn remove_volume(&self, name: &str) -> bool {
        let options = None::<RemoveVolumeOptions>;
        self.docker.remove_volume(name, options).await.is_ok()
    }
}
