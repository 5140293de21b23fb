//! Gathers the facts that `xp doctor` judges: everything at once, each within a time limit, so that what
//! is slow or broken holds up nothing else.
//!
//! Nothing is changed: no folder is made, no image is pulled. The one thing that is opened, an upload to
//! each repository that is pushed to, is cancelled at once.

mod builders;
mod clusters;
mod engine;
mod files;
mod machine;
mod registries;
mod remotes;
mod turns;
mod waiting;
mod working_copies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{OnceCell, watch};

pub(crate) use files::program;
pub use waiting::Waiting;

use crate::client::engine::Engine;
use crate::client::git::GitClient;
use crate::client::http::Http;
use crate::client::registry::RegistryClient;
use crate::doctor::{self, Checkup, ManifestFacts, Section, Trouble};
use crate::error::Diagnostic;
use crate::manifest::{Manifest, Service, ServiceName};
use crate::settings::Settings;

/// How long the questions to registries wait for the engine's list of insecure ones.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the end of a checkup waits for uploads to be cancelled.
const CLOSING: Duration = Duration::from_secs(5);

/// What is examined.
pub struct Surroundings<'a> {
    /// What the environment says.
    pub settings: &'a Settings,
    /// The manifest and what it takes; none where there is none, or it is wrong.
    pub platform: Option<Platform<'a>>,
    /// The HTTP clients.
    pub http: Http,
    /// How long each question may take.
    pub limit: Duration,
    /// Whether no git remote and no registry is asked.
    pub offline: bool,
    /// What is waited for.
    pub waiting: Waiting,
    registry: OnceCell<RegistryClient>,
    engine: watch::Sender<Option<EngineState>>,
}

/// A manifest, and what is looked at of it.
pub struct Platform<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The services, what they need included.
    pub services: BTreeSet<ServiceName>,
    /// The folder that is xp's own.
    pub cache_dir: PathBuf,
    /// The client of all git remotes.
    pub git: GitClient,
}

/// What other questions need of the engine.
#[derive(Clone, Default)]
struct EngineState {
    insecure_registries: Vec<String>,
    /// A connection to it; none where it does not answer.
    engine: Option<Engine>,
}

impl<'a> Surroundings<'a> {
    /// Returns what is to be examined.
    pub fn new(
        settings: &'a Settings,
        platform: Option<Platform<'a>>,
        http: Http,
        limit: Duration,
        offline: bool,
    ) -> Self {
        Self {
            settings,
            platform,
            http,
            limit,
            offline,
            waiting: Waiting::default(),
            registry: OnceCell::new(),
            engine: watch::Sender::new(None),
        }
    }

    /// Asks everything, and judges the answers.
    pub async fn examine(&self, manifest: &ManifestFacts) -> Checkup {
        let (machine, engine, registries, remotes, builders, copies, clusters) = tokio::join!(
            machine::machine(self),
            engine::engine(self),
            registries::registries(self),
            remotes::remotes(self),
            builders::builders(self),
            working_copies::working_copies(self),
            clusters::clusters(self),
        );
        let mut sections = vec![doctor::manifest(manifest), doctor::machine(&machine)];
        sections.push(doctor::engine(&engine));
        sections.extend(registries.iter().map(doctor::registry));
        if self.platform.is_some() {
            sections.push(doctor::remotes(&remotes.0, remotes.1.as_ref()));
            let has_builders = !builders.is_empty();
            sections.extend(has_builders.then(|| doctor::builders(&builders)));
            sections.push(doctor::working_copies(&copies));
            sections.extend(clusters.as_ref().map(doctor::clusters));
        }
        // A machine of which nothing is to be said is no subject.
        sections.retain(|section: &Section| !section.findings.is_empty());
        Checkup { sections }
    }

    /// Cancels what was opened to ask, where that was not done yet.
    pub async fn close(&self) {
        if let Some(registry) = self.registry.get() {
            registry.close_uploads(CLOSING).await;
        }
    }

    /// Waits for an answer, for so long as it may take.
    async fn limited<T, E: Diagnostic>(
        &self,
        what: String,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        let _waiting = self.waiting.begin(&what);
        match tokio::time::timeout(self.limit, question).await {
            Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
            Err(_) => Err(Trouble::late(&what, self.limit)),
        }
    }

    /// Returns what is known of the engine by then.
    async fn engine_state(&self) -> EngineState {
        let mut engine = self.engine.subscribe();
        let known = engine.wait_for(Option::is_some);
        match tokio::time::timeout(PATIENCE, known).await {
            Ok(Ok(state)) => state.clone().unwrap_or_default(),
            _ => EngineState::default(),
        }
    }

    async fn registry(&self) -> &RegistryClient {
        let make = || async {
            let insecure = self.engine_state().await.insecure_registries;
            let settings = self.settings.registry.clone();
            let client = RegistryClient::new(self.http.clone(), settings);
            client.allow_insecure(&insecure);
            client
        };
        self.registry.get_or_init(make).await
    }

    /// Returns the services that are looked at; none without a manifest.
    fn services(&self) -> impl Iterator<Item = &Service> {
        let platform = self.platform.iter();
        platform.flat_map(|platform| {
            let services = &platform.manifest.services;
            platform
                .services
                .iter()
                .filter_map(|name| services.get(name))
        })
    }

    /// Returns a path as short as it can be written from where xp runs.
    fn shown(&self, path: &std::path::Path) -> String {
        let short = path.strip_prefix(&self.settings.directory).unwrap_or(path);
        short.display().to_string()
    }

    /// Returns the services for which something holds.
    fn services_with(&self, holds: impl Fn(&Service) -> bool) -> Vec<String> {
        let services = self.services().filter(|service| holds(service));
        services.map(|service| service.name.to_string()).collect()
    }
}

/// Puts services below what they have in common, in its order.
fn grouped<K: Ord, T>(items: impl IntoIterator<Item = (K, T)>) -> BTreeMap<K, Vec<T>> {
    let mut groups: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for (key, item) in items {
        groups.entry(key).or_default().push(item);
    }
    groups
}
