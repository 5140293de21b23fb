//! Carries out the steps of a plan, and chooses nothing.

mod again;
mod bases;
mod builder;
mod by_hand;
mod commits;
mod dockerfile_hint;
mod identity;
mod image;
mod in_place;
pub mod lock;
mod mark;
mod needs;
mod publish;
pub mod reach;
mod refused;
mod remote;
pub mod rollout;
mod scheduler;
pub mod secrets;
pub mod session;
mod source;
mod state;
mod stop;
pub mod sync;
mod unit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

pub use commits::{CommitsError, CommitsRequest, commits_between};
pub use scheduler::run;
pub use source::{Sources, check_out_working_copy, run_export, sync_working_copy};
pub use state::UnitState;
pub use stop::{StepError, Stop};

use crate::client::engine::{Engine, EngineError, EngineFacts};
use crate::client::registry::RegistryClient;
use crate::client::retry::Retries;
use crate::event::Events;
use crate::plan::Layout;
use crate::settings::Caller;
use reach::Reach;

/// What the steps are carried out with.
pub struct Context {
    /// The engine.
    pub engine: Engine,
    /// What the engine says of itself.
    pub facts: EngineFacts,
    /// How the engine sees the files of this machine, once it was asked for.
    pub reach: OnceCell<Reach>,
    /// Held while objects of git are sent to a remote engine.
    pub sending: Mutex<()>,
    /// The registries.
    pub registry: RegistryClient,
    /// The git remotes and the working copies.
    pub sources: Sources,
    /// When a push or a pull of the engine is begun again.
    pub transfers: Retries,
    /// How long a push or a pull of the engine may go without any progress.
    pub transfer_timeout: Duration,
    /// Where events go.
    pub events: Events,
    /// Where xp's own files are.
    pub layout: Layout,
    /// The folder of the manifest, which relative mounts start from.
    pub folder: PathBuf,
    /// Who runs xp.
    pub caller: Caller,
    /// The variables of the environment, for secrets of image builds.
    pub variables: BTreeMap<String, String>,
    /// Set when everything is to stop.
    pub cancel: CancellationToken,
    /// How many units are worked on at once.
    pub jobs: usize,
    /// Whether the first failure stops everything.
    pub fail_fast: bool,
}

impl Context {
    /// Returns how the engine sees the files of this machine; asked for where something is to be mounted.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn reach(&self) -> Result<&Reach, EngineError> {
        let find = || Reach::find(&self.engine, self.layout.root());
        self.reach.get_or_try_init(find).await
    }
}

/// The label with the `cacheDir` that a container works for, whose lock xp holds meanwhile: as the engine
/// knows it, since two containers may have two folders at the same path.
pub const LABEL_FOLDER: &str = "x-platform.folder";

/// The label with the service that a container works for.
pub const LABEL_SERVICE: &str = "x-platform.service";
