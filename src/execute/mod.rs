//! Runs the steps of a plan; makes no decisions.

pub mod attest;
mod awaited;
mod bases;
mod builder;
mod commits;
mod dockerfile_hint;
pub mod fleet;
pub mod folder_files;
mod identity;
mod image;
mod in_place;
mod limit;
mod milestones;
mod other_dockerfiles;
pub mod path_mapping;
mod platforms;
mod plugin;
mod publish;
mod refused_transfer;
mod remote;
mod reproduce;
mod results;
mod retry;
pub mod rollout;
mod scheduler;
pub mod scm;
mod script_run;
pub mod secrets;
pub mod session;
mod session_lock;
mod sidecars;
mod source;
mod state;
mod step_error;
pub mod sync;
mod toolchain;
mod turn;
mod unit;
mod used_images;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use bases::RefreshedBases;
pub use commits::{CommitsRequest, commits_between};
pub use platforms::PlatformEngines;
use results::Uploads;
pub use results::remove_leftover_files;
pub use scheduler::run;
pub use source::{Sources, check_out_working_copy, run_export, sync_working_copy};
pub use state::UnitState;
pub use step_error::{StepError, Stop};
pub use toolchain::Toolchains;
pub use unit::run_alone;

use crate::base::caller::Caller;
use crate::client::engine::{Engine, EngineError};
use crate::client::registry::RegistryClient;
use crate::client::retry::Retries;
use crate::execute::attest::AttestTools;
use crate::execute::fleet::Fleet;
use crate::execute::path_mapping::PathMapping;
use crate::model::engine::EngineProperties;
use crate::model::event::{Events, Unit};
use crate::model::layout::Layout;
use crate::model::trace::RunTrace;
use crate::store::step_results::StepStore;

/// The clients and settings that steps need. Clones share the state of the run.
#[derive(Clone)]
pub struct ExecuteContext {
    pub engine: Engine,
    /// Facts about the engine.
    pub facts: EngineProperties,
    /// The contexts of the engines that build for other platforms.
    pub engines: PlatformEngines,
    /// How the engine accesses this machine's files, once known.
    pub path_mapping: Arc<OnceCell<PathMapping>>,
    /// Held while git objects are sent to a remote engine.
    pub sending: Arc<Mutex<()>>,
    /// The images of scripts for other platforms that this run provided.
    pub toolchains: Toolchains,
    pub registry: RegistryClient,
    /// The trace that the run belongs to.
    pub trace: Option<RunTrace>,
    /// Base images that were pulled again.
    pub bases: Arc<RefreshedBases>,
    /// Git remotes and working copies.
    pub sources: Arc<Sources>,
    /// The retry policy for pushes and pulls of the engine.
    pub transfers: Retries,
    /// How long a push or pull of the engine may make no progress.
    pub transfer_timeout: Duration,
    /// The results of phases on this machine.
    pub steps: Arc<StepStore>,
    /// The results that are being pushed.
    pub uploads: Arc<Uploads>,
    /// What provenance and signatures need.
    pub attest: AttestTools,
    /// The images that were provided because a result could not be read.
    pub provided: Arc<Mutex<BTreeSet<Unit>>>,
    /// The event sink.
    pub events: Events,
    /// The paths of xp's own files.
    pub layout: Layout,
    /// The folder of the manifest; relative mounts are resolved against it.
    pub folder: PathBuf,
    /// The user who runs xp.
    pub caller: Caller,
    /// Environment variables, for secrets of image builds.
    pub variables: BTreeMap<String, String>,
    /// Set on cancellation.
    pub cancel: CancellationToken,
    /// The number of units to work on concurrently, apart from transfers.
    pub jobs: usize,
    /// Whether to stop at the first failure.
    pub fail_fast: bool,
    /// The fleet that runs the units, instead of the engine.
    pub fleet: Option<Arc<Fleet>>,
}

impl ExecuteContext {
    /// Returns the context of the same run on another engine.
    pub fn on_engine(&self, engine: Engine, facts: EngineProperties) -> Self {
        Self {
            engine,
            facts,
            engines: PlatformEngines::default(),
            path_mapping: Arc::default(),
            sending: Arc::default(),
            toolchains: Toolchains::default(),
            bases: Arc::default(),
            ..self.clone()
        }
    }

    /// Returns how the engine accesses this machine's files, detected on first use.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn path_mapping(&self) -> Result<&PathMapping, EngineError> {
        let find = || PathMapping::find(&self.engine, self.layout.root());
        self.path_mapping.get_or_try_init(find).await
    }
}

/// The label with the `cacheDir` of a build container, as the engine sees it: in two containers, the same path may be
/// two folders.
pub const LABEL_FOLDER: &str = "x-platform.folder";

/// The label with the service of a container.
pub const LABEL_SERVICE: &str = "x-platform.service";
