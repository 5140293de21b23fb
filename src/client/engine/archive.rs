//! Files to and from containers of an engine that does not see those of this machine.

use std::collections::HashMap;
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

use super::container::{BuilderContainer, CreatedContainer};
use super::parcel::{Item, Parcel, Sent};
use super::results::{self, Place, Returned};
use super::way::Way;
use super::{Engine, EngineError, pipe};

/// How often it is told how much was sent or received.
const TICK: std::time::Duration = std::time::Duration::from_millis(200);

/// How long the main shell may take to end what scripts left running.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// The path by which every container has the engine's socket of its machine, most often.
pub const ENGINE_SOCKET: &str = "/var/run/docker.sock";

impl CreatedContainer {
    /// Gives the container files before it is started, and returns what was sent of those that come back.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, and where the engine refuses.
    pub async fn send(
        &self,
        items: Vec<Item>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Sent, EngineError> {
        let parcel = Parcel::new(items);
        let sent = parcel.sent();
        // The file's own error is the cause; the engine only sees a request that broke off.
        let (failed, mut failure) = tokio::sync::mpsc::channel::<String>(1);
        let bytes = std::sync::Arc::new(AtomicU64::new(0));
        let counted = bytes.clone();
        let body = parcel.stream().map(move |chunk| {
            match &chunk {
                Ok(chunk) => _ = counted.fetch_add(chunk.len() as u64, Ordering::Relaxed),
                Err(error) => _ = failed.try_send(error.to_string()),
            }
            chunk
        });
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let engine = self.engine.patient();
        let upload = engine.upload_to_container(&self.id, Some(options), body_try_stream(body));
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
                Err(_) => EngineError::new("take the files of the build", error),
            });
        }
        progress(bytes.load(Ordering::Relaxed));
        let sent = std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(sent)
    }
}

impl BuilderContainer {
    /// Brings files of the container back; `path` is where those of `place` are there.
    ///
    /// Before that, every process but the main shell ends: no script may write while the files are read.
    ///
    /// # Errors
    ///
    /// Where the engine refuses or its answer breaks off, and files that cannot be written.
    pub async fn bring_back(
        &self,
        path: &str,
        place: Place,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Returned, EngineError> {
        self.end_processes().await?;
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        let engine = self.engine.patient();
        let mut archive = Box::pin(engine.download_from_container(&self.id, Some(options)));
        let action = "send the results of the build";
        let first = match archive.next().await {
            Some(Err(error)) => match EngineError::new(action, error) {
                // A container that is gone is not found either, and the volume's own folder cannot vanish.
                error if error.status() == Some(404) => {
                    if place.part.as_os_str().is_empty() {
                        return Err(EngineError::ContainerGone);
                    }
                    self.is_there().await?;
                    None
                }
                error => return Err(error),
            },
            Some(first) => Some(first),
            None => {
                let message = "its answer is empty".to_owned();
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
            // The folder is gone there.
            let gone = tokio::task::spawn_blocking(move || results::unpack(&place, None));
            return crate::task::joined(gone.await).map_err(unwritten);
        };
        let bytes = std::sync::Arc::new(AtomicU64::new(0));
        let counted = bytes.clone();
        let chunks = futures_util::stream::iter([first]).chain(archive);
        let chunks = chunks.map(move |chunk| {
            if let Ok(chunk) = &chunk {
                counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            chunk
                .map_err(|error| std::io::Error::other(crate::error::innermost(&error).to_string()))
        });
        let unpacked = pipe::read(chunks, move |reader| results::unpack(&place, Some(reader)));
        let mut unpacked = std::pin::pin!(unpacked);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                result = &mut unpacked => return result.map_err(unwritten),
                _ = ticks.tick() => progress(bytes.load(Ordering::Relaxed)),
            }
        }
    }

    /// Ends what scripts left running.
    async fn end_processes(&self) -> Result<(), EngineError> {
        let told = self.tell("9 -1").await;
        told.map_err(|message| EngineError::Refused {
            action: "end the processes of the build".to_owned(),
            message,
            status: None,
        })?;
        // It is told as well when the shell has ended.
        self.is_there().await
    }

    /// Has the container stay when the connection ends, and returns its name, where it can stay.
    pub async fn stay(&self) -> Option<String> {
        self.tell("stay 1").await.ok()?;
        self.is_there().await.ok()?;
        Some(self.id.chars().take(12).collect())
    }

    /// Tells the main shell something, and waits until it has read that.
    async fn tell(&self, line: &str) -> Result<(), String> {
        let mut input = self.input.lock().await;
        let told = async {
            input.write_all(format!("{line}\n").as_bytes()).await?;
            input.flush().await?;
            // The shell reads its lines one after the other: once it answers, it has read the first one too.
            let answered = self.answered.notified();
            input.write_all(b"answer\n").await?;
            input.flush().await?;
            answered.await;
            std::io::Result::Ok(())
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, told).await {
            Ok(told) => told.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer for {} s", ANSWER_TIMEOUT.as_secs())),
        }
    }

    /// Makes sure that the container runs.
    async fn is_there(&self) -> Result<(), EngineError> {
        let options = None::<bollard::query_parameters::InspectContainerOptions>;
        let found = self.engine.docker.inspect_container(&self.id, options);
        match found.await {
            Ok(found)
                if found
                    .state
                    .as_ref()
                    .is_none_or(|it| it.running != Some(false)) =>
            {
                Ok(())
            }
            Ok(_) => Err(EngineError::ContainerGone),
            Err(error) => match EngineError::new("describe the builder container", error) {
                error if error.status() == Some(404) => Err(EngineError::ContainerGone),
                error => Err(error),
            },
        }
    }
}

impl Engine {
    /// Returns where the engine's socket is on its machine, where its address says so.
    pub fn socket_of_host(&self) -> Option<&str> {
        match &self.way {
            Way::Ssh(host) => host.socket(),
            _ => None,
        }
    }

    /// Returns the labels of a volume; none where it does not exist.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn volume(&self, name: &str) -> Result<Option<HashMap<String, String>>, EngineError> {
        match self.docker.inspect_volume(name).await {
            Ok(volume) => Ok(Some(volume.labels)),
            Err(error) => match EngineError::new("describe a volume", error) {
                error if error.status() == Some(404) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Makes a volume.
    ///
    /// # Errors
    ///
    /// Where the engine refuses.
    pub async fn create_volume(
        &self,
        name: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), EngineError> {
        let wanted = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..Default::default()
        };
        let created = self.docker.create_volume(wanted).await;
        created
            .map(drop)
            .map_err(|error| EngineError::new("make a volume", error))
    }

    /// Removes the volumes with all of these labels that no container has: somebody else who removes a
    /// container leaves them.
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

    /// Removes a volume, and tells whether it is gone: one that is in use stays.
    pub async fn remove_volume(&self, name: &str) -> bool {
        let options = None::<RemoveVolumeOptions>;
        self.docker.remove_volume(name, options).await.is_ok()
    }
}

/// Returns what nothing else is called.
pub fn nonce() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    // The standard library's hasher keys are random for each instance.
    let random = std::collections::hash_map::RandomState::new().build_hasher();
    format!("{:016x}", random.finish())
}
