//! Image builds with BuildKit, or with the classic builder if the engine does not have it.
//!
//! A built image has no name: the caller names it after checking it.

pub mod base_registry;
mod classic;
pub mod context;
pub mod dockerignore;
mod error_source;
pub mod instruction_error;
mod log;
pub mod session;
mod solve;
mod vertex_lines;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Interval;

use super::{Engine, EngineError};
use crate::client::engine::build::context::ContextFolder;
use crate::client::engine::build::session::SecretValue;
use crate::client::registry::Credentials;
use crate::model::dockerfile::FailedInstruction;
use crate::model::image::{ImageReference, Platform, Registry};
use crate::model::source::PathSelection;

/// The interval at which the progress of sending the context is reported.
const TICK: Duration = Duration::from_millis(200);

/// The number of attempts to build an image if the engine fails because of concurrent builds.
const ATTEMPTS: u32 = 8;

/// The note if the engine cannot reuse layers of images in a registry.
const NO_LAYERS: &[u8] =
    b"note: docker.cache has no effect, because the engine does not build with BuildKit\n";

const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The inputs of an image build.
#[derive(Debug)]
pub struct ImageBuild<'a> {
    /// The folder outside of which nothing is read.
    pub root: &'a Path,
    /// The build context.
    pub context: &'a Path,
    /// If not empty, the only files and folders of the context to send, relative to `root`.
    pub selected: &'a PathSelection,
    /// A folder in the context to exclude.
    pub excluded: Option<&'a Path>,
    /// The Dockerfile.
    pub dockerfile: &'a Path,
    /// The target stage; `None` for the last one.
    pub target: Option<&'a str>,
    /// The build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// The labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The platform to build for; `None` for the engine's own.
    pub platform: Option<&'a Platform>,
    /// Whether to pull the base images instead of using those of the engine.
    pub pulls: bool,
    /// Whether to ignore the build cache of the engine.
    pub fresh: bool,
    /// If set, the image describes its layers for later builds, and layers of these images are reused. Only BuildKit
    /// does this.
    pub layers: Option<&'a [ImageReference]>,
    /// Credentials for the registries of base images and layers.
    pub credentials: HashMap<Registry, Credentials>,
    /// Secrets that instructions may mount, by id. Like the ssh agent, these need BuildKit.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The socket of the ssh agent, if instructions may use it.
    pub ssh_agent: Option<PathBuf>,
}

/// Callbacks for the progress of a build.
#[derive(Clone, Copy)]
pub struct BuildWatcher<'a> {
    /// Receives the output of the build.
    pub output: &'a (dyn Fn(Bytes) + Send + Sync),
    /// Receives the number of bytes of the context that were sent.
    pub progress: &'a (dyn Fn(u64) + Send + Sync),
    /// Receives the instruction of the Dockerfile at which the build failed, if it is known.
    pub failed: &'a (dyn Fn(FailedInstruction) + Send + Sync),
}

impl Engine {
    /// Builds an image without a name, and returns its id.
    ///
    /// Base images that the engine has are used from there; only others are pulled from a registry.
    ///
    /// The build is canceled when the returned future is dropped.
    ///
    /// # Errors
    ///
    /// If the context cannot be read or the build fails, including errors inside the stream.
    pub async fn build(
        &self,
        build: &ImageBuild<'_>,
        watcher: BuildWatcher<'_>,
    ) -> Result<String, EngineError> {
        let context = ContextFolder::open(build.root, build.context, build.dockerfile)?
            .only(build.root, build.selected)?
            .without(build.excluded);
        let context = Arc::new(context);
        if !self.buildkit {
            if build.layers.is_some() {
                (watcher.output)(Bytes::from_static(NO_LAYERS));
            }
            return Ok(self.build_classic(build, context, watcher).await?);
        }
        let mut method = SolveMethod {
            sending: Sending::Files,
            fresh: build.fresh,
            imports: !build.fresh,
        };
        let mut attempt = 1;
        loop {
            let failure = match self.solve(build, &context, method, watcher).await {
                Ok(solved) => return Ok(self.described(build, &context, method, solved).await),
                Err(failure) => failure,
            };
            match failure {
                // BuildKit requires UTF-8 names when it reads single files, but not in an archive.
                BuildFailure::Context(error)
                    if error.kind() == io::ErrorKind::InvalidFilename
                        && method.sending == Sending::Files =>
                {
                    method.sending = Sending::Archive;
                    continue;
                }
                // Another build exported the same image concurrently. A retry finds all steps in the cache.
                BuildFailure::Engine(error)
                    if error.is_simultaneous_export() && attempt < ATTEMPTS => {}
                // The cache still lists a step, but its files were removed with a canceled build. It usually notices in
                // the next build; if not, the steps are run again.
                BuildFailure::Engine(error)
                    if error.is_missing_snapshot() && attempt < ATTEMPTS =>
                {
                    method.fresh |= attempt + 1 == ATTEMPTS;
                }
                failure => return Err(failure.into()),
            }
            attempt += 1;
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}

impl Engine {
    /// Returns the id of an image that describes all of its layers.
    ///
    /// With the classic image store, an image does not describe layers that were imported for it. They are in the build
    /// cache now, so the same build without imports costs little.
    async fn described(
        &self,
        build: &ImageBuild<'_>,
        context: &Arc<ContextFolder>,
        method: SolveMethod,
        solved: Solved,
    ) -> String {
        let facts = self.facts().await;
        let is_complete = facts.is_ok_and(|facts| facts.containerd_store);
        if build.layers.is_none() || !solved.has_imports || is_complete {
            return solved.id;
        }
        let method = SolveMethod {
            imports: false,
            ..method
        };
        let silent = BuildWatcher {
            output: &|_| (),
            progress: &|_| (),
            failed: &|_| (),
        };
        let again = self.solve(build, context, method, silent).await;
        again.map_or(solved.id, |again| again.id)
    }
}

/// Settings that may change between the attempts of a build.
#[derive(Debug, Clone, Copy)]
struct SolveMethod {
    sending: Sending,
    /// Whether to ignore the build cache of the engine.
    fresh: bool,
    /// Whether to import layers.
    imports: bool,
}

/// A built image.
struct Solved {
    /// Its id.
    id: String,
    /// Whether layers may have been imported.
    has_imports: bool,
}

/// How the context is sent to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Single files, as BuildKit requests them.
    Files,
    /// The whole context in one archive.
    Archive,
}

/// The progress and the first error of sending a context.
struct ContextProgress<'a> {
    bytes: Arc<AtomicU64>,
    reported: u64,
    ticks: Interval,
    failed: mpsc::Sender<io::Error>,
    failure: mpsc::Receiver<io::Error>,
    watcher: BuildWatcher<'a>,
}

impl<'a> ContextProgress<'a> {
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

    /// Reports the number of sent bytes only if it has changed, to keep the build's output visible once everything is
    /// sent.
    fn report(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if bytes != self.reported {
            self.reported = bytes;
            (self.watcher.progress)(bytes);
        }
    }

    /// Returns why the build failed. An error of the context is the actual cause: the engine only sees that the
    /// transfer ended early.
    fn failure(&mut self, error: EngineError) -> BuildFailure {
        match self.failure.try_recv() {
            Ok(source) => BuildFailure::Context(source),
            Err(_) => BuildFailure::Engine(error),
        }
    }
}

/// Why a build failed.
enum BuildFailure {
    /// A file of the context could not be read.
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

/// Returns the credentials by the engine's names of the registries. Docker Hub has different names for BuildKit and for
/// the classic builder.
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
