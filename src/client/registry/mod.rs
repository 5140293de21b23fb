//! Client for registries (OCI distribution protocol), on the HTTP client that git uses too.
//!
//! It handles manifests, configurations for their labels, copies between registries, and artifacts; the engine pushes and pulls
//! the layers of images that are built. That takes few requests of the protocol, and control over them: one HEAD per image, on connections of a
//! shared client, and every response except the registry's own not-found is an error. The general client
//! libraries request `/v2/` before each request, create their own HTTP client and hide why a token was refused.

mod artifact;
mod attachment;
mod auth;
mod certificates;
mod copy;
mod credentials;
mod delete;
mod download;
mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod host;
mod index;
mod insecure;
mod labels;
mod manifest;
mod page;
mod push_check;
mod referrers;
mod resource;
mod response;
mod send;
mod stored;
mod tag_list;
mod token;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Client, Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

pub use artifact::NewArtifact;
pub use attachment::{AttachedLayer, NewAttachment};
pub use copy::ImageCopier;
pub use credentials::{CredentialSource, Credentials};
pub use delete::TagDeletion;
pub use error::RegistryError;
pub use host::RegistryScheme;
pub use stored::{StoredConfiguration, StoredManifest};

use crate::base::units;
use crate::client::http::Http;
use crate::model::image::{Digest, ImageReference, ImageRepository, Registry};
use certificates::certificates;
use host::{CONNECTIONS, RegistryHost, Trust};
use insecure::InsecureRegistries;
use resource::{Access, Resource};

/// The supported manifest types: Docker schema 2 and OCI, single- and multi-platform.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The time limit of a credential helper, which may prompt for a password.
const CREDENTIAL_HELPER_TIMEOUT: Duration = Duration::from_secs(120);

/// Locations of registry credentials and certificates.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// The folder with Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// The `certs.d` folders, with a folder of certificates per registry.
    pub certificates: Vec<PathBuf>,
}

/// A client for all registries. Cheap to clone.
#[derive(Clone)]
pub struct RegistryClient {
    shared: Arc<RegistryClientState>,
}

struct RegistryClientState {
    http: Http,
    settings: RegistrySettings,
    /// The registries that the engine contacts without TLS.
    insecure: OnceLock<InsecureRegistries>,
    hosts: PerRegistry<Arc<RegistryHost>>,
    credentials: PerRegistry<Option<Credentials>>,
    /// The clients for uploads: see [`Http::for_uploads`].
    uploaders: PerRegistry<Client>,
    /// The open uploads, canceled even if the caller no longer waits.
    uploads: TaskTracker,
}

/// A value or error per registry, computed once.
type PerRegistry<T> = Mutex<HashMap<Registry, Arc<Cell<T>>>>;

type Cell<T> = OnceCell<Result<T, Arc<RegistryError>>>;

fn cell<T>(cells: &PerRegistry<T>, registry: &Registry) -> Arc<Cell<T>> {
    let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    cells
        .entry(registry.clone())
        .or_insert_with(|| Arc::new(OnceCell::new()))
        .clone()
}

impl RegistryClient {
    /// Returns a client; it does no I/O before the first request.
    pub fn new(http: Http, settings: RegistrySettings) -> Self {
        Self {
            shared: Arc::new(RegistryClientState {
                http,
                settings,
                insecure: OnceLock::new(),
                hosts: Mutex::default(),
                credentials: Mutex::default(),
                uploaders: Mutex::default(),
                uploads: TaskTracker::new(),
            }),
        }
    }

    /// Sets the registries, besides those on this machine, that may be contacted without TLS. Call it once,
    /// before the first request to any of them.
    pub fn allow_insecure(&self, registries: &[String]) {
        let registries = registries.iter().cloned();
        let insecure = &self.shared.insecure;
        insecure.get_or_init(|| InsecureRegistries::new(registries));
    }

    /// Connects to registries in the background, ahead of the first request.
    ///
    /// An error is kept, and returned by the first request to that registry.
    pub fn preconnect(&self, registries: impl IntoIterator<Item = Registry>) {
        for registry in registries {
            let client = self.clone();
            tokio::spawn(async move { client.host_of(&registry).await.map(drop) });
        }
    }

    /// Returns the digest of a reference, or `None` if the registry reports that it does not exist.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself.
    pub async fn digest(&self, image: &ImageReference) -> Result<Option<Digest>, RegistryError> {
        let host = self.host(image).await?;
        let answer = host
            .send(Method::HEAD, Resource::Manifest(image), Access::Pull, None)
            .await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND
                if answer
                    .headers
                    .contains_key("docker-distribution-api-version") =>
            {
                return Ok(None);
            }
            // A response to HEAD has no body, so a proxy's 404 looks like the registry's: check with GET.
            StatusCode::NOT_FOUND => return self.absent(&host, image).await,
            _ => return Err(host.refusal(None, &answer)),
        }
        match answer.header("docker-content-digest").map(str::parse) {
            Some(Ok(digest)) => Ok(Some(digest)),
            Some(Err(_)) => Err(host.unexpected("it returned an invalid digest")),
            // The header is optional: compute the digest from the manifest.
            None => Ok(Some(host.manifest(image).await?.digest)),
        }
    }

    /// Returns the registries that were reached, with the scheme of each that requires no authentication.
    pub fn known_schemes(&self) -> BTreeMap<Registry, Option<RegistryScheme>> {
        let hosts = self.shared.hosts.lock();
        let hosts = hosts.unwrap_or_else(PoisonError::into_inner);
        let reached = hosts.iter().filter_map(|(registry, host)| {
            let host = host.get()?.as_ref().ok()?;
            Some((registry.clone(), host.anonymous_scheme()))
        });
        reached.collect()
    }

    /// Returns the digests of references from a registry that required no authentication last time: one request
    /// each, without a ping.
    ///
    /// Omits images without a conclusive response within that time, and images that the registry does not have: use
    /// [`RegistryClient::digest`] for those.
    pub async fn anonymous_digests(
        &self,
        registry: &Registry,
        way: RegistryScheme,
        images: Vec<ImageReference>,
        within: Duration,
    ) -> Vec<(ImageReference, Result<Digest, RegistryError>)> {
        let (http, settings) = (&self.shared.http, &self.shared.settings);
        // A scheme from an earlier run grants no additional trust.
        let may_be_plain = registry.is_loopback() || self.may_be_insecure(registry);
        let has_own_certificates = !matches!(certificates(settings, registry), Ok(None));
        if way == RegistryScheme::Plain && !may_be_plain
            || has_own_certificates
            || registry.is_docker_hub()
        {
            return Vec::new();
        }
        let Ok(host) = RegistryHost::open(http, registry, way).await else {
            return Vec::new();
        };
        let host = &host;
        let requests = futures_util::stream::iter(images).map(|image| async move {
            let answer = host.anonymous_digest(&image).await?;
            Some((image, answer))
        });
        let answers = requests.buffer_unordered(CONNECTIONS);
        let answers = answers.take_until(tokio::time::sleep(within));
        answers.filter_map(std::future::ready).collect().await
    }

    async fn absent(
        &self,
        host: &RegistryHost,
        image: &ImageReference,
    ) -> Result<Option<Digest>, RegistryError> {
        match host.find_manifest(image).await? {
            None => Ok(None),
            Some(_) => Err(host.unexpected("HEAD returned 404, but GET returned the image")),
        }
    }

    /// Returns the credentials for a registry, for the engine to use.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be read, or a credential helper is missing or fails.
    pub async fn credentials(
        &self,
        registry: &Registry,
    ) -> Result<Option<Credentials>, RegistryError> {
        let cell = cell(&self.shared.credentials, registry);
        let find = || async {
            let settings_folder = self.shared.settings.docker_config.clone();
            let folder = settings_folder.clone();
            let registry = registry.clone();
            // A credential helper is a process that may block on a keychain.
            let requested = registry.clone();
            let find = tokio::task::spawn_blocking(move || {
                credentials::find(folder.as_deref(), &requested)
            });
            let found = match tokio::time::timeout(CREDENTIAL_HELPER_TIMEOUT, find).await {
                Ok(found) => found.unwrap_or(Ok(None)),
                Err(_) => Err(RegistryError::Helper {
                    helper: credentials::helper_of(settings_folder.as_deref(), &registry),
                    registry,
                    what: format!(
                        "did not respond within {}",
                        units::limit(CREDENTIAL_HELPER_TIMEOUT)
                    ),
                }),
            };
            found.map_err(Arc::new)
        };
        // An error is kept too: a helper that prompts for a password should prompt once.
        let found = cell.get_or_init(find).await;
        found.clone().map_err(RegistryError::Known)
    }

    /// Returns where the credentials for a registry come from, without running a helper.
    pub fn credential_source(&self, registry: &Registry) -> CredentialSource {
        let folder = self.shared.settings.docker_config.as_deref();
        credentials::source_of(folder, registry)
    }

    /// Returns the base URL of a registry, such as `https://harbour.example.com`, once it responds.
    ///
    /// # Errors
    ///
    /// If the registry does not respond or is not a registry, or the credentials cannot be read.
    pub async fn address(&self, registry: &Registry) -> Result<String, RegistryError> {
        Ok(self.host_of(registry).await?.base.clone())
    }

    /// Returns the registry of an image.
    async fn host(&self, image: &ImageReference) -> Result<Arc<RegistryHost>, RegistryError> {
        let Some(registry) = image.repository().registry() else {
            return Err(RegistryError::NoRegistry(image.to_string()));
        };
        self.host_of(registry).await
    }

    /// Returns the registry of a repository.
    async fn host_of_repository(
        &self,
        repository: &ImageRepository,
    ) -> Result<Arc<RegistryHost>, RegistryError> {
        match repository.registry() {
            Some(registry) => self.host_of(registry).await,
            None => Err(RegistryError::NoRegistry(repository.to_string())),
        }
    }

    /// Returns the client for uploads to a registry, with the same trust as the one for other requests.
    async fn upload_client(&self, host: &RegistryHost) -> Result<Client, RegistryError> {
        let registry = &host.registry;
        let cell = cell(&self.shared.uploaders, registry);
        let make = || async {
            let failed = |source| RegistryError::Client {
                registry: registry.clone(),
                source,
            };
            let http = self.shared.http.for_uploads().map_err(failed)?;
            if !host.base.starts_with("https:") {
                return Ok(http.plain().clone());
            }
            let client = match certificates(&self.shared.settings, registry)? {
                Some((roots, identity)) => http.with_certificates(roots, identity).await,
                None if !registry.is_loopback() && self.may_be_insecure(registry) => {
                    http.unverified().await.cloned()
                }
                None => http.tls().await.cloned(),
            };
            client.map_err(failed)
        };
        let client = cell.get_or_init(|| async { make().await.map_err(Arc::new) });
        client.await.clone().map_err(RegistryError::Known)
    }

    /// Returns a registry. An error is kept, so that many images do not wait for the same timeout each.
    async fn host_of(&self, registry: &Registry) -> Result<Arc<RegistryHost>, RegistryError> {
        let cell = cell(&self.shared.hosts, registry);
        let found = cell
            .get_or_init(|| async { self.find_host(registry).await.map_err(Arc::new) })
            .await;
        found.clone().map_err(RegistryError::Known)
    }

    fn may_be_insecure(&self, registry: &Registry) -> bool {
        let insecure = self.shared.insecure.get();
        insecure.is_some_and(|insecure| insecure.contains(registry))
    }

    async fn find_host(&self, registry: &Registry) -> Result<Arc<RegistryHost>, RegistryError> {
        let credentials = self.credentials(registry).await?;
        let trust = if registry.is_loopback() {
            Trust::Loopback
        } else if self.may_be_insecure(registry) {
            Trust::Insecure
        } else {
            Trust::Verified
        };
        RegistryHost::find(
            &self.shared.http,
            &self.shared.settings,
            registry,
            credentials,
            trust,
        )
        .await
        .map(Arc::new)
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
