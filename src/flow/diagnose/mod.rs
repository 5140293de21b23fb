//! Gathers the facts that `xp doctor` evaluates. All checks run concurrently, each with a timeout, so that a
//! slow or broken service delays nothing else.
//!
//! Read-only: no folder is created, no image is pulled. The only exceptions are an upload that is opened in each
//! repository to check push access, and canceled immediately, and a Job for `--fleet`, which is removed.

mod builders;
mod clusters;
mod compose;
mod engine;
mod files;
mod fleet_pod;
mod fleets;
mod leftovers;
mod machine;
mod pending;
pub mod per_host_limit;
mod platform_engines;
mod registries;
mod remotes;
mod signing;
mod working_copies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{OnceCell, watch};

pub use files::space as free_space;
pub use pending::PendingChecks;

use crate::base::error::Diagnostic;
use crate::client::engine::Engine;
use crate::client::git::GitClient;
use crate::client::http::Http;
use crate::client::registry::RegistryClient;
use crate::host::settings::Settings;
use crate::model::doctor;
use crate::model::doctor::{CheckFailure, DoctorReport, Finding, ManifestFacts, Section, Severity};
use crate::model::manifest::{Manifest, Service, ServiceName};

use fleet_pod::ProbeJobs;

/// How long registry checks wait for the engine's list of insecure registries.
const ENGINE_STATE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long [`DoctorContext::close`] waits for uploads to be canceled.
const UPLOAD_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The environment to check.
pub struct DoctorContext<'a> {
    pub settings: &'a Settings,
    /// The platform; `None` if the manifest is missing or invalid.
    pub platform: Option<CheckedPlatform<'a>>,
    /// The HTTP clients.
    pub http: Http,
    /// The timeout of each check.
    pub limit: Duration,
    /// Whether to skip git remotes, registries and clusters.
    pub offline: bool,
    /// The registries that are used without TLS, besides those of the engine's list.
    pub insecure_registries: Vec<String>,
    /// The fleet of which a pod is started.
    pub fleet: Option<String>,
    /// The checks in progress.
    pub waiting: PendingChecks,
    probes: ProbeJobs,
    registry: OnceCell<RegistryClient>,
    engine: watch::Sender<Option<EngineState>>,
}

/// A manifest and the services to check.
pub struct CheckedPlatform<'a> {
    pub manifest: &'a Manifest,
    /// The services to check, including dependencies.
    pub services: BTreeSet<ServiceName>,
    /// xp's own folder.
    pub cache_dir: PathBuf,
    pub git: GitClient,
}

/// The state of the engine, shared with other checks.
#[derive(Clone, Default)]
struct EngineState {
    insecure_registries: Vec<String>,
    /// A connection; `None` if it does not respond.
    engine: Option<Engine>,
}

impl<'a> DoctorContext<'a> {
    /// Creates the environment to check.
    pub fn new(
        settings: &'a Settings,
        platform: Option<CheckedPlatform<'a>>,
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
            insecure_registries: Vec::new(),
            fleet: None,
            waiting: PendingChecks::default(),
            probes: ProbeJobs::default(),
            registry: OnceCell::new(),
            engine: watch::Sender::new(None),
        }
    }

    /// Runs and evaluates all checks.
    pub async fn run_checks(&self, manifest: &ManifestFacts) -> DoctorReport {
        let (
            machine,
            engine,
            engines,
            registries,
            remotes,
            builders,
            copies,
            clusters,
            compose,
            fleets,
            signing,
            leftovers,
        ) = tokio::join!(
            machine::machine(self),
            engine::engine(self),
            platform_engines::engines(self),
            registries::registries(self),
            remotes::remotes(self),
            builders::builders(self),
            working_copies::working_copies(self),
            clusters::clusters(self),
            compose::compose(self),
            fleets::fleets(self),
            signing::signing(self),
            leftovers::leftovers(self),
        );
        let mut sections = vec![doctor::manifest(manifest), doctor::machine(&machine)];
        sections.push(doctor::engine(&engine));
        sections.push(doctor::platform_engines(&engines));
        sections.extend(registries.iter().map(doctor::registry));
        if self.platform.is_some() {
            sections.push(doctor::remotes(&remotes.0, remotes.1.as_ref()));
            let has_builders = !builders.is_empty();
            sections.extend(has_builders.then(|| doctor::builders(&builders)));
            sections.push(doctor::working_copies(&copies));
            sections.extend(clusters.as_ref().map(doctor::clusters));
            sections.extend(compose.as_ref().map(doctor::compose));
            sections.extend(fleets.as_ref().map(doctor::fleets));
            sections.extend(signing.as_ref().map(doctor::signing));
            sections.extend(leftovers.as_ref().map(doctor::leftovers));
        }
        // Omit the machine if there is nothing to report.
        sections.retain(|section: &Section| !section.findings.is_empty());
        DoctorReport { sections }
    }

    /// Runs and evaluates the checks of what a unit needs in the pod of a fleet. Without `has_engine`, the engine was
    /// checked already, and does not respond.
    pub async fn run_pod_checks(&self, has_engine: bool) -> Vec<Finding> {
        let (engine, registries, remotes) = tokio::join!(
            engine::engine(self),
            registries::registries(self),
            remotes::remotes(self),
        );
        let mut findings = Vec::new();
        if has_engine {
            findings.extend(doctor::engine(&engine).findings);
        }
        let registries = registries.iter().map(doctor::registry);
        findings.extend(registries.flat_map(|section| section.findings));
        findings.extend(doctor::remotes(&remotes.0, remotes.1.as_ref()).findings);
        findings.retain(|finding| finding.severity != Severity::Note);
        findings
    }

    /// Cancels the uploads that are still open, and removes Jobs. Returns a text for each Job that may still exist.
    pub async fn close(&self) -> Vec<String> {
        let uploads = async {
            if let Some(registry) = self.registry.get() {
                registry.close_uploads(UPLOAD_CLOSE_TIMEOUT).await;
            }
        };
        let ((), left) = tokio::join!(uploads, self.probes.remove());
        left
    }

    /// Runs a check with the timeout.
    async fn limited<T, E: Diagnostic>(
        &self,
        what: String,
        check: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CheckFailure> {
        let _waiting = self.waiting.begin(&what);
        match tokio::time::timeout(self.limit, check).await {
            Ok(response) => response.map_err(|error| CheckFailure::of(&error)),
            Err(_) => Err(CheckFailure::timeout(&what, self.limit)),
        }
    }

    /// Returns the state of the engine, once known.
    async fn engine_state(&self) -> EngineState {
        let mut engine = self.engine.subscribe();
        let known = engine.wait_for(Option::is_some);
        match tokio::time::timeout(ENGINE_STATE_TIMEOUT, known).await {
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
            client.allow_insecure(&self.insecure_registries);
            client
        };
        self.registry.get_or_init(make).await
    }

    /// Returns the services to check; empty without a manifest.
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

    /// Returns a path, relative to the current folder if it is inside.
    fn shown(&self, path: &std::path::Path) -> String {
        let short = path.strip_prefix(&self.settings.directory).unwrap_or(path);
        short.display().to_string()
    }

    /// Returns the names of the services that match a predicate.
    fn services_with(&self, predicate: impl Fn(&Service) -> bool) -> Vec<String> {
        let services = self.services().filter(|service| predicate(service));
        services.map(|service| service.name.to_string()).collect()
    }
}

/// Groups items by key.
fn grouped<K: Ord, T>(items: impl IntoIterator<Item = (K, T)>) -> BTreeMap<K, Vec<T>> {
    let mut groups: BTreeMap<K, Vec<T>> = BTreeMap::new();
    for (key, item) in items {
        groups.entry(key).or_default().push(item);
    }
    groups
}
