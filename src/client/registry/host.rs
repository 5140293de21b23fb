//! One registry: how it is reached, what it asks for, and requests to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tokio::sync::{OnceCell, Semaphore};

use super::auth::{Challenge, token_of};
use super::certificates::certificates;
use super::credentials::Credentials;
use super::error::{RegistryError, message_of, root, shown};
use super::{MANIFEST_TYPES, RegistrySettings};
use crate::client::http::Http;
use crate::image::{Digest, ImageReference, ImageRepository, Registry};

/// How many requests are under way at once to one registry. Most are small questions for manifests,
/// and how many are asked at once decides how often the way to the registry is waited for. With
/// git's and the engine's own connections it stays below 256 open files.
const CONNECTIONS: usize = 100;

/// How many uploads are open at once in one registry.
const UPLOADS: usize = 8;

/// How often a request is sent before its failure is final.
const ATTEMPTS: u32 = 4;

/// The longest `Retry-After` that is followed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
    /// To cancel an upload, which some registries count as deleting.
    Delete,
}

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) enum Resource<'a> {
    /// The manifest of an image.
    Manifest(&'a ImageReference),
    /// A file that a manifest names.
    Blob(&'a ImageRepository, &'a Digest),
    /// The uploads to a repository.
    Uploads(&'a ImageRepository),
}

impl<'a> Resource<'a> {
    /// Returns the repository, and the path below it.
    fn path(self) -> (&'a ImageRepository, String) {
        match self {
            Self::Manifest(image) => {
                let reference = match (image.digest(), image.tag()) {
                    (Some(digest), _) => digest.as_str(),
                    (None, Some(tag)) => tag.as_str(),
                    (None, None) => "latest",
                };
                (image.repository(), format!("manifests/{reference}"))
            }
            Self::Blob(repository, digest) => (repository, format!("blobs/{digest}")),
            Self::Uploads(repository) => (repository, "blobs/uploads/".to_owned()),
        }
    }
}

/// Tokens by repository and what they are for; each is fetched once, however many wait for it.
type Tokens = Mutex<HashMap<(String, Access), Arc<OnceCell<String>>>>;

/// How far a registry is trusted before it has proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Not at all: TLS with a certificate that is known.
    Verified,
    /// It is this machine.
    Loopback,
    /// The engine lists it as insecure.
    Insecure,
}

/// One registry.
pub(super) struct Host {
    pub(super) registry: Registry,
    http: Http,
    pub(super) client: Client,
    /// Scheme, host and port.
    pub(super) base: String,
    /// What it asked for last.
    challenge: Mutex<Challenge>,
    credentials: Option<Credentials>,
    tokens: Tokens,
    limit: Semaphore,
    /// The uploads that are open at once.
    pub(super) uploads: Semaphore,
}

impl Host {
    /// Finds out how a registry is reached: one request.
    pub async fn find(
        http: &Http,
        settings: &RegistrySettings,
        registry: &Registry,
        credentials: Option<Credentials>,
        trust: Trust,
    ) -> Result<Self, RegistryError> {
        let certificates = certificates(settings, registry)?;
        let address = match registry.is_docker_hub() {
            true => "registry-1.docker.io",
            false => registry.as_str(),
        };
        let mut host = Self {
            registry: registry.clone(),
            http: http.clone(),
            client: http.plain().clone(),
            base: format!("http://{address}"),
            challenge: Mutex::new(Challenge::None),
            credentials,
            tokens: Mutex::default(),
            limit: Semaphore::new(CONNECTIONS),
            uploads: Semaphore::new(UPLOADS),
        };
        let failed = |source| RegistryError::Client {
            registry: registry.clone(),
            source,
        };
        // No credentials are sent before it is clear how the registry is spoken to.
        match (certificates, trust) {
            // On this machine plain HTTP comes first: it costs no certificates, and a server that
            // speaks TLS refuses it at once.
            (None, Trust::Loopback) => match host.ping().await {
                // What a server that speaks TLS says to plain HTTP.
                Err(RegistryError::Status { status, .. }) if status == StatusCode::BAD_REQUEST => {}
                Err(RegistryError::Unreachable { why, .. }) if !why.is_connect() => {}
                result => return result.map(|()| host),
            },
            // As the engine does it: TLS that nobody checks, else none.
            (None, Trust::Insecure) => {
                host.use_tls(http.unverified().await.map_err(failed)?.clone());
                let tls = host.ping().await;
                if !matches!(tls, Err(RegistryError::Unreachable { .. })) {
                    return tls.map(|()| host);
                }
                host.client = http.plain().clone();
                host.base = format!("http://{address}");
                return match (host.ping().await, tls) {
                    (Ok(()), _) => Ok(host),
                    // Where neither answers, the failure of TLS says more.
                    (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
                };
            }
            (Some((roots, identity)), _) => {
                host.use_tls(
                    http.with_certificates(roots, identity)
                        .await
                        .map_err(failed)?,
                );
                return host.ping().await.map(|()| host);
            }
            (None, Trust::Verified) => {}
        }
        host.use_tls(http.tls().await.map_err(failed)?.clone());
        host.ping().await?;
        Ok(host)
    }

    fn use_tls(&mut self, client: Client) {
        self.client = client;
        if let Some(address) = self.base.strip_prefix("http://") {
            self.base = format!("https://{address}");
        }
    }

    /// Asks whether there is a registry, and what it asks for.
    async fn ping(&self) -> Result<(), RegistryError> {
        let url = format!("{}/v2/", self.base);
        let answer = self.retry(|| self.client.get(&url)).await?;
        let status = answer.status();
        // Such an answer says nothing of what the registry asks for.
        let is_final = status == StatusCode::BAD_REQUEST
            || status == StatusCode::TOO_MANY_REQUESTS
            || status.is_server_error();
        if is_final {
            return Err(self.refusal("GET /v2/", None, answer).await);
        }
        self.set_challenge(Challenge::read(answer.headers()));
        Ok(())
    }

    fn challenge(&self) -> Challenge {
        let challenge = self.challenge.lock();
        challenge.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_challenge(&self, challenge: Challenge) {
        *self
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = challenge;
    }

    /// Sends a request; any answer that is worth reading is returned.
    pub async fn send(
        &self,
        method: Method,
        resource: Resource<'_>,
        access: Access,
        body: Option<(&str, Bytes)>,
    ) -> Result<Response, RegistryError> {
        let (repository, name) = resource.path();
        let path = self.repository(repository);
        let url = format!("{}/v2/{path}/{name}", self.base);
        self.send_to(method, &url, &path, access, body).await
    }

    /// Sends a request to a URL of this registry, with a token for a repository's path.
    pub async fn send_to(
        &self,
        method: Method,
        url: &str,
        path: &str,
        access: Access,
        body: Option<(&str, Bytes)>,
    ) -> Result<Response, RegistryError> {
        let _permit = self.limit.acquire().await;
        let mut is_second = false;
        loop {
            let challenge = self.challenge();
            let token = match &challenge {
                Challenge::Bearer { realm, service } => {
                    Some(self.token(realm, service.as_deref(), path, access).await?)
                }
                _ => None,
            };
            let request = || {
                let mut request = self
                    .client
                    .request(method.clone(), url)
                    .header(ACCEPT, MANIFEST_TYPES);
                if method == Method::POST {
                    // The library leaves it out of a request without a body, and some servers insist.
                    request = request.header(CONTENT_LENGTH, 0);
                }
                if let Some((media_type, bytes)) = &body {
                    request = request
                        .header(CONTENT_TYPE, *media_type)
                        .body(bytes.clone());
                }
                match (&token, &challenge, &self.credentials) {
                    (Some(token), _, _) => request.bearer_auth(token),
                    (None, Challenge::Basic, Some(Credentials::Password { user, password })) => {
                        request.basic_auth(user, Some(password))
                    }
                    _ => request,
                }
            };
            let answer = self.retry(request).await?;
            if answer.status() != StatusCode::UNAUTHORIZED || is_second {
                return Ok(answer);
            }
            is_second = true;
            // Some registries let everybody ask `/v2/`, and say only here what they ask for.
            let asked = Challenge::read(answer.headers());
            if token.is_some() {
                // It may have run out since it was fetched.
                let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                tokens.remove(&(path.to_owned(), access));
            } else if asked == Challenge::None || asked == challenge {
                return Ok(answer);
            }
            if asked != Challenge::None {
                self.set_challenge(asked);
            }
        }
    }

    /// Docker Hub keeps the images without a folder under `library`.
    pub fn repository(&self, repository: &ImageRepository) -> String {
        let path = repository.path();
        if self.registry.is_docker_hub() && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        path: &str,
        access: Access,
    ) -> Result<String, RegistryError> {
        let cell = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.entry((path.to_owned(), access)).or_default().clone()
        };
        cell.get_or_try_init(|| self.fetch_token(realm, service, path, access))
            .await
            .cloned()
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        path: &str,
        access: Access,
    ) -> Result<String, RegistryError> {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        let scope = format!("repository:{path}:{actions}");
        let failed = |server: &str, what: String| RegistryError::TokenServer {
            registry: self.registry.clone(),
            server: server.to_owned(),
            what,
        };
        let mut url: reqwest::Url = realm
            .parse()
            .map_err(|_| failed(&shown(realm), "is no URL".to_owned()))?;
        let server = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let mut form = vec![("scope", scope.as_str())];
        form.extend(service.map(|service| ("service", service)));
        let client = self.token_client(&url).await?;
        let request: Box<dyn Fn() -> RequestBuilder + Send + Sync> = match &self.credentials {
            Some(Credentials::IdentityToken(token)) => {
                form.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "xp"),
                    ("refresh_token", token.as_str()),
                ]);
                let mut encoded = url.clone();
                encoded.set_query(None);
                encoded.query_pairs_mut().extend_pairs(form);
                let body = encoded.query().unwrap_or_default().to_owned();
                Box::new(move || {
                    let form = "application/x-www-form-urlencoded";
                    let request = client.post(url.clone()).header(CONTENT_TYPE, form);
                    request.body(body.clone())
                })
            }
            credentials => {
                url.query_pairs_mut().extend_pairs(form);
                Box::new(move || match credentials {
                    Some(Credentials::Password { user, password }) => {
                        client.get(url.clone()).basic_auth(user, Some(password))
                    }
                    _ => client.get(url.clone()),
                })
            }
        };
        let answer = self.retry(request).await.map_err(|error| match error {
            RegistryError::Unreachable { why, .. } => {
                failed(&server, format!("does not answer: {}", root(&why)))
            }
            error => error,
        })?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        let said = match message_of(&text) {
            message if message.is_empty() => String::new(),
            message => format!(": {message}"),
        };
        match token_of(&text) {
            Some(token) if status.is_success() => Ok(token),
            _ if status.is_success() => Err(failed(&server, "gives no token".to_owned())),
            _ if matches!(status.as_u16(), 400 | 401 | 403) => Err(RegistryError::Unauthorized {
                registry: self.registry.clone(),
                who: self.who(),
                message: format!("its token server {server} answers {status}{said}"),
            }),
            _ => Err(failed(&server, format!("answers {status}{said}"))),
        }
    }

    /// Returns the client for the token server, which may be spoken to in another way.
    async fn token_client(&self, url: &reqwest::Url) -> Result<Client, RegistryError> {
        let is_https = url.scheme() == "https";
        if is_https == self.base.starts_with("https:") {
            return Ok(self.client.clone());
        }
        let client = self.http.for_url(url).await;
        client.cloned().map_err(|source| RegistryError::Client {
            registry: self.registry.clone(),
            source,
        })
    }

    /// Sends a request again while it fails in a way that may pass.
    async fn retry(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, RegistryError> {
        let mut attempt = 1;
        loop {
            let wait = match request().send().await {
                Ok(answer) => {
                    let transient = matches!(answer.status().as_u16(), 429 | 500 | 502 | 503 | 504);
                    if !transient || attempt == ATTEMPTS {
                        return Ok(answer);
                    }
                    match retry_after(&answer) {
                        // Nobody waits so long in front of a terminal.
                        Some(wait) if wait > LONGEST_WAIT => return Ok(answer),
                        wait => wait,
                    }
                }
                Err(error) => {
                    let why = error.without_url();
                    // Nobody listens, or the certificate is wrong: another try makes no difference.
                    if attempt == ATTEMPTS || why.is_connect() || why.is_builder() {
                        return Err(RegistryError::Unreachable {
                            registry: self.registry.clone(),
                            why,
                        });
                    }
                    None
                }
            };
            let backoff = Duration::from_millis(200 * 2_u64.pow(attempt));
            tokio::time::sleep(wait.unwrap_or(backoff)).await;
            attempt += 1;
        }
    }

    /// Makes an error of an answer that is no success. `image` is what was to be changed.
    pub async fn refusal(
        &self,
        method: &str,
        image: Option<&ImageReference>,
        answer: Response,
    ) -> RegistryError {
        let status = answer.status();
        let retry_after = retry_after(&answer).map(|wait| wait.as_secs());
        let text = self.body(answer, 64 * 1024).await.unwrap_or_default();
        let message = message_of(&String::from_utf8_lossy(&text));
        let (registry, who) = (self.registry.clone(), self.who());
        match status {
            StatusCode::UNAUTHORIZED => RegistryError::Unauthorized {
                registry,
                who,
                message,
            },
            StatusCode::FORBIDDEN => RegistryError::Denied {
                registry,
                who,
                action: match image {
                    Some(image) => format!("write {}", image.repository()),
                    None => "read".to_owned(),
                },
                message,
            },
            status => RegistryError::Status {
                registry,
                request: match image {
                    Some(image) => format!("{method} {image}"),
                    None => method.to_owned(),
                },
                status,
                message,
                retry_after,
            },
        }
    }

    /// Makes an error of an answer that is no registry's.
    pub fn unexpected(&self, what: &str) -> RegistryError {
        RegistryError::Unexpected {
            registry: self.registry.clone(),
            what: what.to_owned(),
        }
    }

    /// Reads an answer's body, up to a limit.
    pub async fn body(&self, mut answer: Response, limit: usize) -> Result<Bytes, RegistryError> {
        let mut body = BytesMut::new();
        loop {
            let chunk = answer
                .chunk()
                .await
                .map_err(|error| RegistryError::Unreachable {
                    registry: self.registry.clone(),
                    why: error.without_url(),
                })?;
            let Some(chunk) = chunk else {
                return Ok(body.freeze());
            };
            if body.len() + chunk.len() > limit {
                return Err(self.unexpected("it is larger than it may be"));
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Returns whom it knows the requests to come from, for people.
    pub fn who(&self) -> String {
        self.credentials
            .as_ref()
            .map_or_else(|| "anonymous users".to_owned(), Credentials::who)
    }
}

/// Reads `Retry-After` in seconds; a date is not followed, as clocks differ.
fn retry_after(answer: &Response) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::client::http::Proxies;

    /// Answers plain HTTP, and drops a connection that begins with TLS.
    fn plain_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut first = [0; 1];
                if connection.read_exact(&mut first).is_ok() && first == *b"G" {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    _ = connection.write_all(answer);
                }
            }
        });
        address
    }

    async fn find(address: &str, trust: Trust) -> Result<Host, RegistryError> {
        let repository: ImageRepository = format!("{address}/x").parse().unwrap();
        let registry = repository.registry().unwrap();
        let http = Http::new(&Proxies::default()).unwrap();
        Host::find(&http, &RegistrySettings::default(), registry, None, trust).await
    }

    #[tokio::test]
    async fn plain_http_is_spoken_only_where_it_may_be() {
        let address = plain_server();
        for trust in [Trust::Loopback, Trust::Insecure] {
            let host = find(&address, trust)
                .await
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(host.base, format!("http://{address}"), "{trust:?}");
        }
        assert!(find(&address, Trust::Verified).await.is_err());
    }

    #[tokio::test]
    async fn a_listed_registry_that_nobody_is_behind_fails_by_tls() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = find(&closed.to_string(), Trust::Insecure)
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, RegistryError::Unreachable { .. }),
            "{error}"
        );
    }
}
