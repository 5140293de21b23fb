//! Image builds: by BuildKit, or by the classic builder where the engine has none.
//!
//! A built image has no name yet: the caller names it once it was checked.

mod classic;
mod log;
mod solve;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Interval;

use super::context::Context;
use super::session::SecretValue;
use super::{Engine, EngineError};
use crate::client::registry::Credentials;
use crate::image::Registry;

/// How often the progress of sending the context is reported.
const TICK: Duration = Duration::from_millis(200);

/// How often the export of an image is tried, while other builds export the same one.
const EXPORTS: u32 = 8;

const BETWEEN_EXPORTS: Duration = Duration::from_millis(100);

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
    /// Credentials by registry, for the images that it is based on.
    pub credentials: HashMap<Registry, Credentials>,
    /// What instructions may mount by its id. Only BuildKit can, as with the agent.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The socket of the ssh agent, where instructions may use it.
    pub ssh_agent: Option<PathBuf>,
}

/// Who is told how a build goes on.
#[derive(Clone, Copy)]
pub struct BuildWatcher<'a> {
    /// Gets what the build prints.
    pub output: &'a (dyn Fn(Bytes) + Send + Sync),
    /// Gets the number of bytes of the context that were sent.
    pub progress: &'a (dyn Fn(u64) + Send + Sync),
}

impl Engine {
    /// Builds an image and returns the engine's id of it. The image gets no name.
    ///
    /// The images that the Dockerfile names are taken from the engine where it has them; a registry is asked only
    /// for the others.
    ///
    /// The build is cancelled when the returned future is dropped.
    ///
    /// # Errors
    ///
    /// A context that cannot be read, or a build that fails: errors inside the stream included.
    pub async fn build(
        &self,
        build: &ImageBuild<'_>,
        watcher: BuildWatcher<'_>,
    ) -> Result<String, EngineError> {
        let context =
            Context::open(build.root, build.context, build.dockerfile)?.without(build.left_out);
        let context = Arc::new(context);
        if !self.buildkit {
            return Ok(self.build_classic(build, context, watcher).await?);
        }
        let (mut sending, mut attempts) = (Sending::Files, 1);
        loop {
            match self.solve(build, &context, sending, watcher).await {
                // What BuildKit reads file by file has names of UTF-8; an archive has any.
                Err(BuildFailure::Context(error))
                    if error.kind() == io::ErrorKind::InvalidFilename
                        && sending == Sending::Files =>
                {
                    sending = Sending::Archive;
                }
                // Another build exported the same image at the same moment. What was built is in the cache.
                Err(BuildFailure::Engine(error))
                    if error.is_simultaneous_export() && attempts < EXPORTS =>
                {
                    attempts += 1;
                    tokio::time::sleep(BETWEEN_EXPORTS).await;
                }
                built => return Ok(built?),
            }
        }
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

/// The sending of a context, as the build sees it.
struct Sent<'a> {
    bytes: Arc<AtomicU64>,
    reported: u64,
    ticks: Interval,
    failed: mpsc::Sender<io::Error>,
    failure: mpsc::Receiver<io::Error>,
    watcher: BuildWatcher<'a>,
}

impl<'a> Sent<'a> {
    fn new(watcher: BuildWatcher<'a>) -> Self {
        let (failed, failure) = mpsc::channel(1);
        Self {
            bytes: Arc::default(),
            reported: 0,
            ticks: tokio::time::interval(TICK),
            failed,
            failure,
            watcher,
        }
    }

    /// Reports how much was sent so far, where that is news: once all is sent, what the build prints is of more
    /// interest.
    fn report(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if bytes != self.reported {
            self.reported = bytes;
            (self.watcher.progress)(bytes);
        }
    }

    /// Returns why the build failed. The context's own error is the cause; the engine only sees that something
    /// broke off.
    fn failure(&mut self, error: EngineError) -> BuildFailure {
        match self.failure.try_recv() {
            Ok(source) => BuildFailure::Context(source),
            Err(_) => BuildFailure::Engine(error),
        }
    }
}

/// Why a build failed.
enum BuildFailure {
    /// A file of the context could not be sent.
    Context(io::Error),
    Engine(EngineError),
}

impl From<EngineError> for BuildFailure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<BuildFailure> for EngineError {
    fn from(failed: BuildFailure) -> Self {
        match failed {
            BuildFailure::Context(source) => Self::ContextFile(source.to_string()),
            BuildFailure::Engine(error) => error,
        }
    }
}

/// Returns the credentials by what the engine calls each registry when it asks for them: Docker Hub has a name for
/// BuildKit, and another one for the classic builder.
fn by_engine_name(credentials: &HashMap<Registry, Credentials>) -> HashMap<String, Credentials> {
    let named = credentials.iter().flat_map(|(registry, credentials)| {
        let names = if registry.is_docker_hub() {
            vec![
                "registry-1.docker.io".to_owned(),
                "https://index.docker.io/v1/".to_owned(),
            ]
        } else {
            vec![registry.to_string()]
        };
        names
            .into_iter()
            .map(move |name| (name, credentials.clone()))
    });
    named.collect()
}
