//! The container engine, through its HTTP API. Nothing else names bollard.

mod archive;
mod base_registry;
mod build;
mod container;
mod container_spec;
mod context;
mod describe;
mod docker_context;
mod dockerignore;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod images;
mod lookup;
mod main_shell;
mod messages;
mod own_container;
mod parcel;
mod ping;
mod pipe;
mod probe;
mod program;
mod push;
mod raw;
mod results;
mod session;
mod ssh;
mod tls;
mod way;

use std::sync::Arc;
use std::time::Duration;

use bollard::models::SystemInfo;
use bollard::{BollardRequest, Docker};
use tokio::sync::OnceCell;

pub use archive::{ENGINE_SOCKET, nonce};
pub use build::{BuildWatcher, ImageBuild};
pub use container::{BuilderContainer, CreatedContainer};
pub use container_spec::{Bind, ContainerSpec, HOME, Source};
pub use context::{ContextError, dockerfile_in};
pub use describe::EngineDescription;
pub use docker_context::{DockerContext, DockerContextError, current as docker_context};
pub use error::EngineError;
pub use images::Watcher;
pub use lookup::ImageContent;
pub use own_container::{NotMounted, Origin, OwnContainer, OwnMount};
pub use parcel::{Item, Sent};
pub use program::{
    Addressee, Printed, Program, ProgramInput, ProgramOutput, ProgramSpec, TerminalSize,
};
pub use results::{Place, Returned};
pub use session::SecretValue;
pub use tls::EngineTls;

use way::Way;

/// The oldest API that has all that xp uses: Docker 20.10.
const OLDEST_API: (usize, usize) = (1, 41);

/// For everything but builds, pushes and pulls, which take as long as they take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// How long an engine that may have gone is waited for.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// For a build, a push or a pull: the connection itself is what tells that the engine is gone.
const LONG_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Where the engine is, and how xp talks to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineSettings {
    /// `DOCKER_HOST`, what docker's context says, or where the engine's socket is found.
    pub address: String,
    /// What TLS takes, where it is spoken.
    pub tls: Option<EngineTls>,
    /// The context of docker's that says so.
    pub context: Option<String>,
    /// Why no engine is known: a context that leads to none.
    pub wrong: Option<DockerContextError>,
    /// Whether the engine sees the files of this machine.
    pub sees: Sees,
    /// Whether BuildKit may be used: `DOCKER_BUILDKIT=0` says no.
    pub buildkit: bool,
}

/// Whether the engine sees the files of this machine: `XP_REMOTE_ENGINE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sees {
    /// Nobody says: it is found out.
    #[default]
    Unknown,
    /// It does.
    Everything,
    /// It does not.
    Nothing,
}

/// A connection to the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    address: String,
    way: Way,
    buildkit: bool,
    is_podman: bool,
    sees: Sees,
    /// What it says of itself, once it was asked.
    facts: Arc<OnceCell<EngineFacts>>,
    /// Whether it is a Podman whose socket a user owns: it does not say of itself that it is rootless.
    is_of_a_user: bool,
}

impl Engine {
    /// Connects, and agrees on a version of the API: one request.
    ///
    /// # Errors
    ///
    /// An address that is none, an engine that does not answer or is too old.
    pub async fn connect(settings: &EngineSettings) -> Result<Self, EngineError> {
        if let Some(wrong) = &settings.wrong {
            return Err(EngineError::DockerContext(wrong.clone()));
        }
        let address = settings.address.clone();
        let way = Way::of(settings)?;
        let unreachable = |error: bollard::errors::Error| EngineError::Unreachable {
            address: address.clone(),
            source: crate::error::innermost(&error).to_string().into(),
        };
        let pinged = match &way {
            Way::Unix(_) => ping::ping(&way).await,
            // A connection of its own would be one more login.
            Way::Tcp(_) | Way::Tls { .. } | Way::Ssh(_) => None,
        };
        let version = pinged.as_ref().map(|pinged| &pinged.version);
        let mut docker = way
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
        // Podman answers to the same API, but has no BuildKit session.
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
            is_of_a_user: is_podman && is_of_a_user(&address),
            address,
            buildkit: settings.buildkit && !is_podman,
            way,
            is_podman,
            sees: settings.sees,
        })
    }

    /// Returns where the engine is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the engine's description of itself: its insecure registries, whether it is rootless.
    ///
    /// It takes the engine some time to find out, so it is asked once.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn facts(&self) -> Result<EngineFacts, EngineError> {
        let ask = async || {
            let info = self.docker.info().await;
            let info = info.map_err(|error| EngineError::new("describe itself", error))?;
            Ok(EngineFacts::of(&info, self.is_of_a_user))
        };
        self.facts.get_or_try_init(ask).await.cloned()
    }

    /// Returns why builds have neither secrets nor the ssh agent, and what helps; none where they have.
    pub fn lacks_buildkit(&self) -> Option<(&'static str, &'static str)> {
        match (self.buildkit, self.is_podman) {
            (true, _) => None,
            (false, true) => Some((
                "the engine is Podman, which has no session of BuildKit's",
                "name a Docker Engine by DOCKER_HOST",
            )),
            (false, false) => Some((
                "DOCKER_BUILDKIT=0 turns BuildKit off",
                "unset DOCKER_BUILDKIT",
            )),
        }
    }

    /// Tells whether the engine answers, within a few seconds.
    pub async fn answers(&self) -> bool {
        let answer = tokio::time::timeout(PROBE_TIMEOUT, self.docker.ping());
        matches!(answer.await, Ok(Ok(_)))
    }

    fn patient(&self) -> Docker {
        self.docker.clone().with_timeout(LONG_TIMEOUT)
    }
}

/// What the engine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// The registries that it talks to without TLS or without checking it: hosts, and networks such
    /// as `10.0.0.0/8`.
    pub insecure_registries: Vec<String>,
    /// Whether its root is the user that runs it.
    pub rootless: bool,
    /// Whether it keeps images in the containerd image store.
    pub containerd_store: bool,
}

impl EngineFacts {
    fn of(info: &SystemInfo, is_of_a_user: bool) -> Self {
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
        Self {
            insecure_registries: hosts.chain(networks).collect(),
            rootless: rootless || is_of_a_user,
            containerd_store: driver
                .into_iter()
                .any(|it| it.starts_with("io.containerd.")),
        }
    }
}

/// Tells whether the engine's socket is that of a user, who then runs the engine.
fn is_of_a_user(address: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let socket = address.strip_prefix("unix://").map(std::fs::metadata);
    matches!(socket, Some(Ok(metadata)) if metadata.uid() != 0)
}

/// Writes credentials in the alphabet that the engine reads.
///
/// The client library uses that with `+` and `/`. The engine expects `-` and `_`, and takes what it
/// cannot read for no credentials at all: a password with a `~` could then not push.
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
