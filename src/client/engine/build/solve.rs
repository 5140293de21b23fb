//! Builds with BuildKit's own API, like `docker build`.
//!
//! With the containerd image store, `POST /build` looks for base images in registries before it looks in the engine. So
//! it could use an older image than the planned one, or one of the same name on Docker Hub.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bollard::moby::buildkit::v1::control_client::ControlClient;
use bollard::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, ListWorkersRequest, SolveRequest, StatusRequest,
    StatusResponse,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::log::BuildLog;
use super::{
    BuildFailure, BuildWatcher, ContextProgress, ImageBuild, Sending, SolveMethod, Solved,
    by_engine_name, error_source,
};
use crate::base::nonce::nonce;
use crate::client::engine::build::context::ContextFolder;
use crate::client::engine::build::session::{
    BuildKitSession, ContextArchive, ContextFiles, SessionServices,
};
use crate::client::engine::connect::raw::EngineStream;
use crate::client::engine::{Engine, EngineError};
use crate::model::dockerfile::FailedInstruction;
use crate::model::image::{ImageReference, Platform};

const ACTION: &str = "build the image";

/// The exporter that stores images in the engine.
const EXPORTER: &str = "moby";

/// The key under which the exporter reports the image's id.
const IMAGE_ID: &str = "containerimage.digest";

/// How long to wait for the end of the log after the build.
const LOG_GRACE: Duration = Duration::from_secs(5);

/// The largest message that BuildKit may send, in bytes.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

impl Engine {
    pub(super) async fn solve(
        &self,
        build: &ImageBuild<'_>,
        context: &Arc<ContextFolder>,
        method: SolveMethod,
        watcher: BuildWatcher<'_>,
    ) -> Result<Solved, BuildFailure> {
        let mut sent = ContextProgress::new(watcher);
        let files = ContextFiles {
            context: Arc::clone(context),
            sent: Arc::clone(&sent.bytes),
            failed: sent.failed.clone(),
        };
        let archive = (method.sending == Sending::Archive).then(|| ContextArchive(files.clone()));
        let services = SessionServices {
            credentials: by_engine_name(&build.credentials),
            secrets: build.secrets.clone(),
            ssh_agent: build.ssh_agent.clone(),
            files: (method.sending == Sending::Files).then_some(files),
            archive,
        };
        // Must live until the end of the build.
        let session = BuildKitSession::open(self, services).await?;
        let client = ControlClient::new(self.buildkit_channel().await?)
            .max_decoding_message_size(LARGEST_MESSAGE);
        let request = SolveRequest {
            r#ref: format!("xp-{}{}", nonce(), nonce()),
            // Engines older than 23 support only this field, and newer ones still read it.
            exporter_deprecated: EXPORTER.to_owned(),
            session: session.id().to_owned(),
            frontend: "dockerfile.v0".to_owned(),
            frontend_attrs: attributes(build, context, method),
            cache: build.layers.map(|_| inline_layers()),
            ..SolveRequest::default()
        };
        let status = StatusRequest {
            r#ref: request.r#ref.clone(),
        };
        let (mut solver, mut observer) = (client.clone(), client);
        let mut solving = pin!(solver.solve(request));
        let mut log = SolveLog {
            lines: BuildLog::default(),
            messages: None,
        };
        let mut opening = pin!(observer.status(status));
        let mut is_opened = false;
        let solved = loop {
            tokio::select! {
                solved = &mut solving => break solved,
                opened = &mut opening, if !is_opened => {
                    is_opened = true;
                    // A build does not fail without its log.
                    log.messages = opened.ok().map(tonic::Response::into_inner);
                }
                status = next(&mut log.messages) => log.write(status, watcher),
                _ = sent.ticks.tick() => sent.report(),
            }
        };
        let rest = async {
            while log.messages.is_some() {
                let status = next(&mut log.messages).await;
                log.write(status, watcher);
            }
        };
        _ = tokio::time::timeout(LOG_GRACE, rest).await;
        log.lines.end(watcher.output);
        sent.report();
        match solved {
            Ok(response) => {
                let id = response.into_inner().exporter_response.remove(IMAGE_ID);
                let without_id = || EngineError::Refused {
                    action: ACTION.to_owned(),
                    message: "BuildKit returned no image id".to_owned(),
                    status: None,
                };
                Ok(Solved {
                    id: id.ok_or_else(without_id)?,
                    has_imports: log.lines.has_imports(),
                })
            }
            Err(status) => {
                let line = error_source::line(status.details()).map(FailedInstruction::Line);
                let failed = line
                    .or_else(|| FailedInstruction::in_message(status.message()))
                    // Engine 20.10 sends no details.
                    .or_else(|| log.lines.step());
                failed.into_iter().for_each(watcher.failed);
                Err(sent.failure(engine_error(&status)))
            }
        }
    }

    /// Returns the platforms for which the engine can run instructions of a Dockerfile: its own, and those that it
    /// emulates.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn build_platforms(&self) -> Result<Vec<Platform>, EngineError> {
        let mut client = ControlClient::new(self.buildkit_channel().await?);
        let workers = client.list_workers(ListWorkersRequest::default()).await;
        let workers = workers
            .map_err(|status| engine_error(&status))?
            .into_inner();
        let platforms = workers.record.into_iter().flat_map(|it| it.platforms);
        let platforms =
            platforms.filter_map(|it| Platform::new(&it.os, &it.architecture, &it.variant));
        Ok(platforms.collect())
    }

    /// Opens a connection to BuildKit's API.
    async fn buildkit_channel(&self) -> Result<Channel, EngineError> {
        let stream = self
            .upgrade("/grpc", "Upgrade: h2c\r\n", "", ACTION)
            .await?;
        let connector = SingleConnection(Some(stream.into_stream()));
        // The address is not used, because the connection is already open.
        let endpoint = Endpoint::from_static("http://buildkit");
        let channel = endpoint.connect_with_connector(connector).await;
        channel.map_err(|error| EngineError::Broken {
            action: ACTION.to_owned(),
            source: crate::base::error::innermost(&error).to_string().into(),
        })
    }
}

/// Returns the options of the Dockerfile frontend.
fn attributes(
    build: &ImageBuild<'_>,
    context: &ContextFolder,
    method: SolveMethod,
) -> HashMap<String, String> {
    // The plan refers to the images in the engine; pull only missing ones from a registry.
    let mode = if build.pulls { "pull" } else { "local" };
    let mut attributes = HashMap::from([
        ("filename".to_owned(), context.dockerfile().to_owned()),
        ("image-resolve-mode".to_owned(), mode.to_owned()),
    ]);
    if let Some(platform) = build.platform {
        attributes.insert("platform".to_owned(), platform.to_string());
    }
    if method.sending == Sending::Archive {
        attributes.insert("context".to_owned(), ContextArchive::URL.to_owned());
    }
    if let Some(target) = build.target {
        attributes.insert("target".to_owned(), target.to_owned());
    }
    if method.fresh {
        // An empty value means all stages.
        attributes.insert("no-cache".to_owned(), String::new());
    }
    if let Some(images) = build.layers.filter(|_| method.imports && !method.fresh) {
        attributes.insert("cache-imports".to_owned(), cache_imports(images));
    }
    let args = build.args.iter();
    attributes.extend(args.map(|(name, value)| (format!("build-arg:{name}"), value.clone())));
    let labels = build.labels.iter();
    attributes.extend(labels.map(|(name, value)| (format!("label:{name}"), value.clone())));
    attributes
}

/// Returns the images to import layers from, as the Dockerfile frontend expects them.
fn cache_imports(images: &[ImageReference]) -> String {
    let entries = images.iter().map(|image| {
        json!({ "Type": "registry", "Attrs": { "ref": image.with_defaults().to_string() } })
    });
    entries.collect::<Value>().to_string()
}

/// Returns the option that adds a description of the layers to the image.
fn inline_layers() -> CacheOptions {
    CacheOptions {
        exports: vec![CacheOptionsEntry {
            r#type: "inline".to_owned(),
            ..CacheOptionsEntry::default()
        }],
        ..CacheOptions::default()
    }
}

/// The log of a build, while the engine sends it.
struct SolveLog {
    lines: BuildLog,
    messages: Option<Streaming<StatusResponse>>,
}

impl SolveLog {
    fn write(&mut self, status: Option<StatusResponse>, watcher: BuildWatcher<'_>) {
        match status {
            Some(status) => self.lines.write_status(status, watcher.output),
            None => self.messages = None,
        }
    }
}

/// Returns the next message; never resolves if there is no stream.
async fn next(messages: &mut Option<Streaming<StatusResponse>>) -> Option<StatusResponse> {
    match messages {
        Some(messages) => messages.message().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

fn engine_error(status: &Status) -> EngineError {
    use std::error::Error as _;
    // There is a source only if the connection failed.
    match status.source() {
        Some(source) => EngineError::Broken {
            action: ACTION.to_owned(),
            source: crate::base::error::innermost(source).to_string().into(),
        },
        None => EngineError::refused_with(ACTION, status.message()),
    }
}

/// Passes an open connection to the client library.
struct SingleConnection(Option<EngineStream>);

impl tower_service::Service<hyper::Uri> for SingleConnection {
    type Response = TokioIo<EngineStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Uri) -> Self::Future {
        // There is no reconnect: if the connection is lost, the build has failed.
        let stream = self.0.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_imported_by_full_names() {
        let images = ["app:master", "r.example.com:5000/x/app:topic"].map(|it| it.parse().unwrap());
        assert_eq!(
            cache_imports(&images),
            r#"[{"Type":"registry","Attrs":{"ref":"docker.io/app:master"}},{"Type":"registry","Attrs":{"ref":"r.example.com:5000/x/app:topic"}}]"#
        );
        assert_eq!(cache_imports(&[]), "[]");
    }
}
