//! Image builds: with BuildKit, or by the classic builder where the engine has none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::BuildImageOptionsBuilder;
use bollard::{BollardRequest, body_full, body_try_stream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::context::Context;
use super::images::to_engine;
use super::messages::to_the_end;
use super::session::{Files, Offered, SecretValue, Session};
use super::{Engine, EngineError};
use crate::client::registry::Credentials;
use crate::image::{ImageReference, Registry};

/// What is built.
#[derive(Debug)]
pub struct ImageBuild<'a> {
    /// The folder that nothing outside of is read.
    pub root: &'a Path,
    /// The folder whose files the Dockerfile may copy.
    pub context: &'a Path,
    /// A folder in it that is left out.
    pub left_out: Option<&'a Path>,
    /// The Dockerfile.
    pub dockerfile: &'a Path,
    /// The stage; the last one where there is none.
    pub target: Option<&'a str>,
    /// The build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// The labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Whether nothing of the engine's build cache is used.
    pub fresh: bool,
    /// The image's name.
    pub name: &'a ImageReference,
    /// Credentials by registry, for the images that it is based on.
    pub credentials: HashMap<Registry, Credentials>,
    /// What instructions may mount by its id. Only BuildKit can, as with the agent.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The socket of the ssh agent, where instructions may use it.
    pub ssh_agent: Option<PathBuf>,
}

impl Engine {
    /// Builds an image; `output` gets what the build prints, `progress` the bytes of the context
    /// that were sent.
    ///
    /// The build is cancelled when the returned future is dropped.
    ///
    /// # Errors
    ///
    /// A context that cannot be read, or a build that fails: errors inside the stream included.
    pub async fn build(
        &self,
        build: &ImageBuild<'_>,
        output: &(dyn Fn(Bytes) + Send + Sync),
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), EngineError> {
        let context =
            Context::open(build.root, build.context, build.dockerfile)?.without(build.left_out);
        let context = Arc::new(context);
        let sending = match self.buildkit {
            true => Sending::Files,
            false => Sending::Archive,
        };
        let built = self
            .build_once(build, &context, sending, output, progress)
            .await;
        match built {
            // What BuildKit reads file by file has names of UTF-8; an archive has any.
            Err(Failed::Context(error)) if error.kind() == io::ErrorKind::InvalidFilename => {
                let sending = Sending::Archive;
                self.build_once(build, &context, sending, output, progress)
                    .await
            }
            built => built,
        }
        .map_err(EngineError::from)
    }

    async fn build_once(
        &self,
        build: &ImageBuild<'_>,
        context: &Arc<Context>,
        sending: Sending,
        output: &(dyn Fn(Bytes) + Send + Sync),
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Failed> {
        let to_map = |map: &BTreeMap<String, String>| -> HashMap<String, String> {
            map.iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        let mut options = BuildImageOptionsBuilder::default()
            .dockerfile(context.dockerfile())
            .t(&build.name.to_string())
            .rm(true)
            .forcerm(true)
            .nocache(build.fresh)
            .buildargs(&to_map(build.args))
            .labels(&to_map(build.labels));
        if let Some(target) = build.target {
            options = options.target(target);
        }
        let action = "build the image".to_owned();
        let credentials: HashMap<String, Credentials> = build
            .credentials
            .iter()
            .flat_map(|(registry, credentials)| {
                let names = names_of(registry).into_iter();
                names.map(move |name| (name, credentials.clone()))
            })
            .collect();
        let (context_failed, mut context_failure) = mpsc::channel::<io::Error>(1);
        let sent = Arc::new(AtomicU64::new(0));
        let (mut engine, mut session, mut in_header) = (self.patient(), None, None);
        if self.buildkit {
            let files = Files {
                context: Arc::clone(context),
                sent: Arc::clone(&sent),
                failed: context_failed.clone(),
            };
            let offered = Offered {
                credentials,
                secrets: build.secrets.clone(),
                ssh_agent: build.ssh_agent.clone(),
                files: (sending == Sending::Files).then_some(files),
            };
            // Kept until the build is over, however it ends.
            let opened = &*session.insert(Session::open(self, offered).await?);
            options = options.session(opened.id());
            engine = engine.with_request_modifier(by_buildkit);
        } else {
            let credentials = credentials.into_iter();
            in_header = Some(
                credentials
                    .map(|(name, it)| (name, to_engine(it)))
                    .collect(),
            );
        }

        let body = match sending {
            Sending::Files => {
                options = options.remote("client-session");
                // The client library insists on a body.
                body_full(Bytes::new())
            }
            Sending::Archive => {
                let archive = Arc::clone(context).stream();
                body_try_stream(counted(archive, Arc::clone(&sent), context_failed))
            }
        };
        let messages = engine.build_image(options.build(), in_header, Some(body));
        let mut stream = Box::pin(to_the_end(messages));
        let mut log = BuildLog::default();
        let mut told = 0;
        let mut tell = || {
            let sent = sent.load(Ordering::Relaxed);
            // Once all is sent, what the build prints is of more interest.
            if sent != told {
                told = sent;
                progress(sent);
            }
        };
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            let message = tokio::select! {
                message = stream.next() => message,
                _ = ticks.tick() => {
                    tell();
                    continue;
                }
            };
            let Some(message) = message else { break };
            let failed = match message {
                // The client library makes an error of it only where it has a message.
                Ok(BuildInfo {
                    error_detail: Some(detail),
                    ..
                }) => EngineError::refused(action, detail),
                Ok(message) => {
                    log.write(message, output);
                    continue;
                }
                Err(error) => EngineError::new(action, error),
            };
            // The context's own error is the cause; the engine only sees that something broke off.
            return Err(match context_failure.try_recv() {
                Ok(source) => Failed::Context(source),
                Err(_) => Failed::Engine(failed),
            });
        }
        tell();
        drop(session);
        Ok(())
    }
}

/// How a context gets to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// File by file, as BuildKit asks for them.
    Files,
    /// All of it, in one archive.
    Archive,
}

/// Why a build failed.
enum Failed {
    /// A file of the context could not be sent.
    Context(io::Error),
    Engine(EngineError),
}

impl From<EngineError> for Failed {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<Failed> for EngineError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Context(source) => Self::ContextFile(source.to_string()),
            Failed::Engine(error) => error,
        }
    }
}

/// Counts the bytes of an archive, and tells why it breaks off.
fn counted(
    archive: impl Stream<Item = io::Result<Bytes>>,
    sent: Arc<AtomicU64>,
    failed: mpsc::Sender<io::Error>,
) -> impl Stream<Item = io::Result<Bytes>> {
    archive.map(move |chunk| match chunk {
        Ok(bytes) => {
            sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes)
        }
        Err(error) => {
            let told = io::Error::new(error.kind(), error.to_string());
            _ = failed.try_send(error);
            Err(told)
        }
    })
}

/// Returns what the engine calls a registry when it asks for its credentials: Docker Hub has a name
/// for BuildKit, and another one for the classic builder.
fn names_of(registry: &Registry) -> Vec<String> {
    if registry.is_docker_hub() {
        ["registry-1.docker.io", "https://index.docker.io/v1/"]
            .map(str::to_owned)
            .to_vec()
    } else {
        vec![registry.to_string()]
    }
}

/// Asks for a build by BuildKit.
///
/// Where the client library is told so, it opens a session of its own, which has no secrets.
fn by_buildkit(mut request: BollardRequest) -> BollardRequest {
    let mut parts = request.uri().clone().into_parts();
    let changed = parts.path_and_query.as_ref().and_then(|whole| {
        let parameters = whole.query()?.split('&').map(|parameter| match parameter {
            "version=1" => "version=2",
            parameter => parameter,
        });
        let query = parameters.collect::<Vec<_>>().join("&");
        format!("{}?{query}", whole.path()).parse().ok()
    });
    if changed.is_some() {
        parts.path_and_query = changed;
    }
    if let Ok(uri) = hyper::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Turns a build's messages into lines.
#[derive(Default)]
struct BuildLog {
    /// The steps whose names were printed.
    begun: HashSet<String>,
    /// The steps whose end was printed.
    ended: HashSet<String>,
}

impl BuildLog {
    fn write(&mut self, message: BuildInfo, output: &(dyn Fn(Bytes) + Send + Sync)) {
        if let Some(text) = message.stream {
            output(text.into());
        }
        match message.aux {
            Some(BuildInfoAux::BuildKit(status)) => self.write_status(status, output),
            Some(BuildInfoAux::Default(_)) | None => {}
        }
        // What the classic builder says while it pulls a base image.
        if let (Some(status), None) = (
            message.status,
            message.progress_detail.and_then(|detail| detail.total),
        ) {
            output(format!("{status}\n").into());
        }
    }

    fn write_status(&mut self, status: StatusResponse, output: &(dyn Fn(Bytes) + Send + Sync)) {
        for vertex in status.vertexes {
            if vertex.started.is_some() && self.begun.insert(vertex.digest.clone()) {
                let cached = if vertex.cached { " CACHED" } else { "" };
                output(format!("{}{cached}\n", vertex.name).into());
            }
            if vertex.completed.is_some()
                && self.ended.insert(vertex.digest)
                && !vertex.error.is_empty()
            {
                output(format!("ERROR: {}\n", vertex.error).into());
            }
        }
        for log in status.logs {
            output(log.msg.into());
        }
        for warning in status.warnings {
            let mut line = b"warning: ".to_vec();
            line.extend(warning.short);
            line.push(b'\n');
            output(line.into());
        }
    }
}
