//! The client of the container engine's HTTP API. Only this module uses bollard.

mod build;
pub mod connect;
pub mod container;
mod document;
mod error;
mod exact_reader;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod network;
pub mod transfer;

use std::sync::Arc;
use std::time::Duration;

use bollard::models::SystemInfo;
use bollard::{BollardRequest, Docker};
use tokio::sync::OnceCell;

pub use crate::client::engine::build::context::dockerfile_in;
pub use crate::client::engine::build::session::SecretValue;
pub use crate::client::engine::connect::docker_context::{
    DockerContextError, current as docker_context, of_manifest as docker_context_of_manifest,
};
pub use crate::client::engine::connect::own_container::{NotMounted, OwnContainer};
pub use crate::client::engine::connect::raw::ProgramInput;
pub use crate::client::engine::connect::tls::EngineTls;
pub use crate::client::engine::container::archive::ENGINE_SOCKET;
pub use crate::client::engine::container::builder::{BuilderContainer, CreatedContainer};
pub use crate::client::engine::container::copy_back::{CopyBackReport, CopyBackTarget};
pub use crate::client::engine::container::held::{CreatedHeld, HeldContainer, HeldFile, HeldSpec};
pub use crate::client::engine::container::holder::Holder;
pub use crate::client::engine::container::program::{
    ContainerProgram, OutputChunk, ProgramOutput, ProgramSpec, SignalTarget, TerminalSize,
};
pub use crate::client::engine::container::source_files::SourceFilesError;
pub use crate::client::engine::container::source_upload::{SentFiles, UploadItem};
pub use crate::client::engine::container::spec::{Bind, ContainerSpec, HOME, MountSource};
pub use crate::client::engine::transfer::images::TransferWatcher;
pub use crate::client::engine::transfer::inventory::ListedImage;
pub use crate::client::engine::transfer::lookup::ImageContent;
pub use build::{BuildWatcher, ImageBuild};
pub use document::DocumentWrite;
pub use error::EngineError;
pub use network::Network;

use crate::client::engine::connect::endpoint::EngineEndpoint;
use crate::model::engine::EngineProperties;

/// The oldest API that xp supports: Docker 20.10.
const OLDEST_API: (usize, usize) = (1, 41);

/// For everything but builds, pushes and pulls.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// For checking whether the engine is still running.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// For builds, pushes and pulls: only a lost connection shows that the engine is gone.
const LONG_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// The address of the engine, and how to connect to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineSettings {
    /// From `DOCKER_HOST`, the docker context, or the first socket that was found.
    pub address: String,
    /// The files for TLS, if it is used.
    pub tls: Option<EngineTls>,
    /// The docker context that has the address.
    pub context: Option<String>,
    /// Why no engine is known: the docker context is invalid.
    pub context_error: Option<DockerContextError>,
    /// Whether the engine can access the files of this machine.
    pub file_access: FileAccess,
    /// Whether BuildKit may be used: not with `DOCKER_BUILDKIT=0`.
    pub buildkit: bool,
}

/// Whether the engine can access the files of this machine: `XP_REMOTE_ENGINE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileAccess {
    /// Not set; detect it.
    #[default]
    Unknown,
    /// It does.
    Shared,
    /// It does not.
    Remote,
}

/// A connection to the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    address: String,
    endpoint: EngineEndpoint,
    buildkit: bool,
    is_podman: bool,
    sees: FileAccess,
    /// The engine's facts, once they were queried.
    facts: Arc<OnceCell<EngineProperties>>,
    /// Whether it is Podman with a user's socket, which does not report that it is rootless.
    is_user_socket: bool,
}

impl Engine {
    /// Connects, and negotiates the API version with a single request.
    ///
    /// # Errors
    ///
    /// The address is invalid, or the engine does not respond or is too old.
    pub async fn connect(settings: &EngineSettings) -> Result<Self, EngineError> {
        if let Some(wrong) = &settings.context_error {
            return Err(EngineError::DockerContext(wrong.clone()));
        }
        let address = settings.address.clone();
        let endpoint = EngineEndpoint::parse(settings)?;
        let unreachable = |error: bollard::errors::Error| EngineError::Unreachable {
            address: address.clone(),
            source: crate::base::error::innermost(&error).to_string().into(),
        };
        let pinged = match &endpoint {
            EngineEndpoint::Unix(_) => connect::ping::ping(&endpoint).await,
            // An extra connection would cost another TLS handshake or login.
            EngineEndpoint::Tcp(_) | EngineEndpoint::Tls { .. } | EngineEndpoint::Ssh(_) => None,
        };
        let version = pinged.as_ref().map(|pinged| &pinged.version);
        let mut docker = endpoint
            .open(REQUEST_TIMEOUT.as_secs(), version)
            .map_err(unreachable)?
            .with_request_modifier(encode_credentials_for_urls);
        if pinged.is_none() {
            docker = docker.negotiate_version().await.map_err(unreachable)?;
        }
        let version = docker.client_version();
        if (version.major_version, version.minor_version) < OLDEST_API {
            return Err(EngineError::TooOld {
                address,
                found: version.to_string(),
            });
        }
        // Podman has the same API, but no BuildKit session.
        let is_podman = match pinged {
            Some(pinged) => pinged.is_podman,
            None => {
                let parts = docker.version().await.map_err(unreachable)?.components;
                let mut parts = parts.iter().flatten();
                parts.any(|component| component.name.contains("Podman"))
            }
        };
        Ok(Self {
            facts: Arc::default(),
            docker,
            is_user_socket: is_podman && is_user_socket(&address),
            address,
            buildkit: settings.buildkit && !is_podman,
            endpoint,
            is_podman,
            sees: settings.file_access,
        })
    }

    /// Returns an engine that is never used, for runs whose work is done elsewhere: every request fails.
    ///
    /// # Errors
    ///
    /// The client cannot be created.
    pub fn absent(facts: EngineProperties) -> Result<Self, EngineError> {
        let address = "unix:///dev/null".to_owned();
        let endpoint = EngineEndpoint::Unix("/dev/null".into());
        let docker = endpoint.open(REQUEST_TIMEOUT.as_secs(), None);
        let docker = docker.map_err(|error| EngineError::Unreachable {
            address: address.clone(),
            source: crate::base::error::innermost(&error).to_string().into(),
        })?;
        Ok(Self {
            docker,
            address,
            endpoint,
            buildkit: true,
            is_podman: false,
            sees: FileAccess::Unknown,
            facts: Arc::new(OnceCell::new_with(Some(facts))),
            is_user_socket: false,
        })
    }

    /// Returns the address of the engine.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns facts about the engine, such as its insecure registries and whether it is rootless.
    ///
    /// The request is slow, so the result is cached.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn facts(&self) -> Result<EngineProperties, EngineError> {
        let query = async || {
            let info = self.docker.info().await;
            let info = info.map_err(|error| EngineError::new("describe itself", error))?;
            Ok(facts_of(&info, self.is_user_socket))
        };
        self.facts.get_or_try_init(query).await.cloned()
    }

    /// Returns why builds cannot have secrets and the ssh agent, and a hint; `None` if they can.
    pub fn no_buildkit_reason(&self) -> Option<(&'static str, &'static str)> {
        match (self.buildkit, self.is_podman) {
            (true, _) => None,
            (false, true) => Some((
                "the engine is Podman, which has no BuildKit session",
                "set DOCKER_HOST to the address of a Docker Engine",
            )),
            (false, false) => Some((
                "DOCKER_BUILDKIT=0 turns BuildKit off",
                "unset DOCKER_BUILDKIT",
            )),
        }
    }

    /// Returns why containers cannot run beside scripts, and a hint; `None` if they can.
    pub fn no_sidecars_reason(&self) -> Option<(&'static str, &'static str)> {
        self.is_podman.then_some((
            "the engine is Podman, with which sidecars and `scripts.verify` are not supported",
            "set DOCKER_HOST to the address of a Docker Engine, or use `--no-test`",
        ))
    }

    /// Returns whether the engine responds within a few seconds.
    pub async fn is_responsive(&self) -> bool {
        let response = tokio::time::timeout(PROBE_TIMEOUT, self.docker.ping());
        matches!(response.await, Ok(Ok(_)))
    }

    fn without_timeout(&self) -> Docker {
        self.docker.clone().with_timeout(LONG_TIMEOUT)
    }
}

/// Returns the facts in the engine's response.
fn facts_of(info: &SystemInfo, is_user_socket: bool) -> EngineProperties {
    let registries = info.registry_config.iter();
    let hosts = registries
        .clone()
        .flat_map(|config| config.index_configs.iter().flatten())
        .filter(|(_, index)| index.secure == Some(false))
        .map(|(host, _)| host.clone());
    let networks = registries
        .flat_map(|config| config.insecure_registry_cidrs.iter().flatten())
        .cloned();
    let rootless = info
        .security_options
        .iter()
        .flatten()
        .any(|option| option.contains("rootless"));
    let driver = info.driver_status.iter().flatten().flatten();
    EngineProperties {
        insecure_registries: hosts.chain(networks).collect(),
        rootless: rootless || is_user_socket,
        architecture: info.architecture.clone().unwrap_or_default(),
        containerd_store: driver
            .into_iter()
            .any(|it| it.starts_with("io.containerd.")),
    }
}

/// Returns whether the engine's socket belongs to a user other than root, who then runs the engine.
fn is_user_socket(address: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let socket = address.strip_prefix("unix://").map(std::fs::metadata);
    matches!(socket, Some(Ok(metadata)) if metadata.uid() != 0)
}

/// Converts credentials to URL-safe base64.
///
/// The client library uses the standard alphabet with `+` and `/`. The engine expects `-` and `_`, and silently ignores
/// credentials that it cannot decode: a push with a `~` in the password would fail.
fn encode_credentials_for_urls(mut request: BollardRequest) -> BollardRequest {
    for name in ["X-Registry-Auth", "X-Registry-Config"] {
        let Some(value) = request.headers_mut().get_mut(name) else {
            continue;
        };
        let encoded = value.to_str().unwrap_or_default();
        if let Ok(encoded) = encoded.replace('+', "-").replace('/', "_").parse() {
            *value = encoded;
            value.set_sensitive(true);
        }
    }
    request
}
