//! Registries, by the OCI distribution protocol, on the HTTP client that git uses too.
//!
//! Only manifests are moved here, and the configurations with their labels read: layers are pushed and
//! pulled by the engine, which has them. That is four requests of the protocol, and they have to be exactly these: one HEAD an image, on the
//! connections of a shared client, with every answer but the registry's own not-found an error. The
//! general client libraries ask `/v2/` before each request, make an HTTP client of their own and hide
//! why a token was refused.

mod answer;
mod auth;
mod certificates;
mod credentials;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host;
mod insecure;
mod labels;
mod push_check;
mod resource;
mod send;
mod token;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

pub use credentials::{CredentialSource, Credentials};
pub use error::RegistryError;
pub use host::Way;
pub use push_check::PushCheck;

use crate::client::http::Http;
use crate::image::{Digest, ImageReference, Registry, Tag};
use certificates::certificates;
use host::{CONNECTIONS, Host, Trust};
use insecure::InsecureRegistries;
use resource::{Access, Resource};

/// The kinds of manifests that are understood: Docker's schema 2 and OCI's, single and by platform.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// How long a credential helper may take, which may ask somebody for a password.
const HELPER_TIMEOUT: Duration = Duration::from_secs(120);

/// Where credentials and certificates of registries are found.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// The folder with Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// The folders that hold a folder of certificates for each registry, `certs.d`.
    pub certificates: Vec<PathBuf>,
}

/// An image manifest as the registry keeps it: its bytes are what its digest is of.
#[derive(Debug, Clone)]
pub struct ImageManifest {
    media_type: String,
    bytes: Bytes,
}

/// A client of all registries. Cheap to clone.
#[derive(Clone)]
pub struct RegistryClient {
    shared: Arc<Shared>,
}

struct Shared {
    http: Http,
    settings: RegistrySettings,
    /// The registries that the engine talks to without TLS.
    insecure: OnceLock<InsecureRegistries>,
    hosts: Cells<Arc<Host>>,
    credentials: Cells<Option<Credentials>>,
    /// The uploads that are open, to be cancelled even where nobody waits for the answer.
    uploads: TaskTracker,
}

/// Something by registry, or why it is not known: found out once, however many ask for it.
type Cells<T> = Mutex<HashMap<Registry, Arc<Cell<T>>>>;

type Cell<T> = OnceCell<Result<T, Arc<RegistryError>>>;

fn cell<T>(cells: &Cells<T>, registry: &Registry) -> Arc<Cell<T>> {
    let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    cells
        .entry(registry.clone())
        .or_insert_with(|| Arc::new(OnceCell::new()))
        .clone()
}

impl RegistryClient {
    /// Returns a client; nothing is read or asked before the first request.
    pub fn new(http: Http, settings: RegistrySettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                http,
                settings,
                insecure: OnceLock::new(),
                hosts: Mutex::default(),
                credentials: Mutex::default(),
                uploads: TaskTracker::new(),
            }),
        }
    }

    /// Says which registries, besides those on this machine, may be asked without TLS. It is said once,
    /// and before any of them is asked for something.
    pub fn allow_insecure(&self, registries: &[String]) {
        let registries = registries.iter().cloned();
        let insecure = &self.shared.insecure;
        insecure.get_or_init(|| InsecureRegistries::new(registries));
    }

    /// Begins to find out how registries are reached; nobody waits for it before the first request.
    ///
    /// A failure is kept, and told to whoever asks that registry for something.
    pub fn approach(&self, registries: impl IntoIterator<Item = Registry>) {
        for registry in registries {
            let client = self.clone();
            tokio::spawn(async move { client.host_of(&registry).await.map(drop) });
        }
    }

    /// Returns the digest of a reference, or none where the registry says that it has no such image.
    ///
    /// # Errors
    ///
    /// Everything but a clear answer of the registry itself.
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
            // An answer to HEAD has no text, so a proxy's 404 looks like the registry's: ask again.
            StatusCode::NOT_FOUND => return self.absent(&host, image).await,
            _ => return Err(host.refusal(None, &answer)),
        }
        match answer.header("docker-content-digest").map(str::parse) {
            Some(Ok(digest)) => Ok(Some(digest)),
            Some(Err(_)) => Err(host.unexpected("its digest is none")),
            // The header is optional: then the manifest itself tells.
            None => self.manifest(image).await.map(|manifest| Some(manifest.1)),
        }
    }

    /// Returns the registries that were reached, and the way to each that asks for nothing.
    pub fn reached(&self) -> BTreeMap<Registry, Option<Way>> {
        let hosts = self.shared.hosts.lock();
        let hosts = hosts.unwrap_or_else(PoisonError::into_inner);
        let reached = hosts.iter().filter_map(|(registry, host)| {
            let host = host.get()?.as_ref().ok()?;
            Some((registry.clone(), host.open_way()))
        });
        reached.collect()
    }

    /// Returns the digests of references from a registry that asked for nothing when it was last reached: one
    /// request each, without a greeting.
    ///
    /// What the registry does not answer for good within that time is left out, and so is an image that it does not
    /// have: [`RegistryClient::digest`] tells more.
    pub async fn digests_of_open(
        &self,
        registry: &Registry,
        way: Way,
        images: Vec<ImageReference>,
        within: Duration,
    ) -> Vec<(ImageReference, Result<Digest, RegistryError>)> {
        let (http, settings) = (&self.shared.http, &self.shared.settings);
        // What is known is no reason to trust anybody more.
        let may_be_plain = registry.is_loopback() || self.may_be_insecure(registry);
        let has_own_certificates = !matches!(certificates(settings, registry), Ok(None));
        if way == Way::Plain && !may_be_plain || has_own_certificates || registry.is_docker_hub() {
            return Vec::new();
        }
        let Ok(host) = Host::open(http, registry, way).await else {
            return Vec::new();
        };
        let host = &host;
        let asked = futures_util::stream::iter(images).map(|image| async move {
            let answer = host.plain_digest(&image).await?;
            Some((image, answer))
        });
        let answers = asked.buffer_unordered(CONNECTIONS);
        let answers = answers.take_until(tokio::time::sleep(within));
        answers.filter_map(std::future::ready).collect().await
    }

    async fn absent(
        &self,
        host: &Host,
        image: &ImageReference,
    ) -> Result<Option<Digest>, RegistryError> {
        let answer = host
            .send(Method::GET, Resource::Manifest(image), Access::Pull, None)
            .await?;
        match answer.status {
            StatusCode::NOT_FOUND => {}
            StatusCode::OK => {
                return Err(host.unexpected("it answers HEAD with 404, and GET with the image"));
            }
            _ => return Err(host.refusal(None, &answer)),
        }
        if error::says_not_found(&answer.text()) {
            Ok(None)
        } else {
            Err(host.unexpected("something answers 404 that is no registry, perhaps a proxy"))
        }
    }

    /// Returns a manifest and its digest.
    async fn manifest(
        &self,
        image: &ImageReference,
    ) -> Result<(ImageManifest, Digest), RegistryError> {
        let host = self.host(image).await?;
        let answer = host
            .send(Method::GET, Resource::Manifest(image), Access::Pull, None)
            .await?;
        if answer.status != StatusCode::OK {
            return Err(host.refusal(None, &answer));
        }
        let media_type = answer.header("content-type").unwrap_or_default().to_owned();
        let bytes = host.whole(&answer)?;
        // The header is optional: it is the digest of the bytes.
        let told = answer.header("docker-content-digest").map(str::to_owned);
        let digest = told.unwrap_or_else(|| sha256(&bytes));
        let digest = digest
            .parse()
            .map_err(|_| host.unexpected("its digest is none"))?;
        Ok((ImageManifest { media_type, bytes }, digest))
    }

    /// Gives an image that the registry has further tags; no layer moves.
    ///
    /// # Errors
    ///
    /// Where the registry lacks the image, or refuses.
    pub async fn set_tags(
        &self,
        image: &ImageReference,
        tags: &[Tag],
    ) -> Result<(), RegistryError> {
        if tags.is_empty() {
            return Ok(());
        }
        let (manifest, _) = self.manifest(image).await?;
        let host = self.host(image).await?;
        for tag in tags {
            let name = image.repository().tagged(tag.clone());
            let body = Some((manifest.media_type.as_str(), manifest.bytes.clone()));
            let answer = host
                .send(Method::PUT, Resource::Manifest(&name), Access::Push, body)
                .await?;
            if !answer.status.is_success() {
                return Err(host.refusal(Some(&name), &answer));
            }
        }
        Ok(())
    }

    /// Returns the credentials for a registry, for the engine to use; none where there are none.
    ///
    /// # Errors
    ///
    /// A configuration that cannot be read, or a credential helper that is missing or fails.
    pub async fn credentials(
        &self,
        registry: &Registry,
    ) -> Result<Option<Credentials>, RegistryError> {
        let cell = cell(&self.shared.credentials, registry);
        let find = || async {
            let settings_folder = self.shared.settings.docker_config.clone();
            let folder = settings_folder.clone();
            let registry = registry.clone();
            // A credential helper is a process, and may ask a keychain.
            let asked = registry.clone();
            let find =
                tokio::task::spawn_blocking(move || credentials::find(folder.as_deref(), &asked));
            let found = match tokio::time::timeout(HELPER_TIMEOUT, find).await {
                Ok(found) => found.unwrap_or(Ok(None)),
                Err(_) => Err(RegistryError::Helper {
                    helper: credentials::helper_of(settings_folder.as_deref(), &registry),
                    registry,
                    what: format!("gave no answer within {} s", HELPER_TIMEOUT.as_secs()),
                }),
            };
            found.map_err(Arc::new)
        };
        // A failure is kept too: a helper that asks somebody for a password asks once.
        let found = cell.get_or_init(find).await;
        found.clone().map_err(RegistryError::Known)
    }

    /// Returns where the credentials for a registry come from; no credential helper is asked.
    pub fn credential_source(&self, registry: &Registry) -> CredentialSource {
        let folder = self.shared.settings.docker_config.as_deref();
        credentials::source_of(folder, registry)
    }

    /// Tells how a registry is reached, such as `https://harbour.example.com`, once it answers.
    ///
    /// # Errors
    ///
    /// A registry that does not answer, or is none, and credentials that cannot be read.
    pub async fn address(&self, registry: &Registry) -> Result<String, RegistryError> {
        Ok(self.host_of(registry).await?.base.clone())
    }

    /// Returns the registry of an image.
    async fn host(&self, image: &ImageReference) -> Result<Arc<Host>, RegistryError> {
        let Some(registry) = image.repository().registry() else {
            return Err(RegistryError::NoRegistry(image.to_string()));
        };
        self.host_of(registry).await
    }

    /// Returns a registry. A failure is kept: with many images it would otherwise be waited for once
    /// an image.
    async fn host_of(&self, registry: &Registry) -> Result<Arc<Host>, RegistryError> {
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

    async fn find_host(&self, registry: &Registry) -> Result<Arc<Host>, RegistryError> {
        let credentials = self.credentials(registry).await?;
        let trust = if registry.is_loopback() {
            Trust::Loopback
        } else if self.may_be_insecure(registry) {
            Trust::Insecure
        } else {
            Trust::Verified
        };
        Host::find(
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
