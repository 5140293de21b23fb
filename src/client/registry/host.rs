//! One registry: how it is reached, what it asks for, and requests to it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tokio::sync::{OnceCell, Semaphore};

use super::auth::{Challenge, token_of};
use super::credentials::Credentials;
use super::error::{RegistryError, message_of};
use super::{MANIFEST_TYPES, RegistrySettings};
use crate::client::http::Http;
use crate::image::{ImageReference, Registry};

/// How many requests are under way at once to one registry.
const CONNECTIONS: usize = 32;

/// How often a request is sent before its failure is final.
const ATTEMPTS: u32 = 4;

/// The longest that a `Retry-After` is followed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
}

/// Tokens by repository and what they are for; each is fetched once, however many wait for it.
type Tokens = Mutex<HashMap<(String, Access), Arc<OnceCell<String>>>>;

/// One registry.
pub(super) struct Host {
    registry: Registry,
    client: Client,
    /// Scheme, host and port.
    base: String,
    challenge: Challenge,
    credentials: Option<Credentials>,
    tokens: Tokens,
    limit: Semaphore,
}

impl Host {
    /// Finds out how a registry is reached: one request.
    pub async fn find(
        http: &Http,
        settings: &RegistrySettings,
        registry: &Registry,
        credentials: Option<Credentials>,
        may_be_plain: bool,
    ) -> Result<Self, RegistryError> {
        let certificates = certificates(settings, registry)?;
        let address = match registry.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        };
        let mut host = Self {
            registry: registry.clone(),
            client: http.plain().clone(),
            base: format!("http://{address}"),
            challenge: Challenge::None,
            credentials,
            tokens: Mutex::default(),
            limit: Semaphore::new(CONNECTIONS),
        };
        // No credentials are sent before it is clear how the registry is spoken to. Plain HTTP
        // comes first where it is allowed: it costs no certificates, and a server that speaks TLS
        // refuses it at once.
        if may_be_plain && certificates.is_none() {
            let answer = host
                .retry(|| host.client.get(format!("{}/v2/", host.base)))
                .await;
            match answer {
                Ok(answer) if answer.status() != StatusCode::BAD_REQUEST => {
                    host.challenge = Challenge::read(answer.headers());
                    return Ok(host);
                }
                Err(RegistryError::Unreachable { source, .. }) if source.is_connect() => {
                    return Err(RegistryError::Unreachable {
                        registry: registry.clone(),
                        source,
                    });
                }
                _ => {}
            }
        }
        let failed = |source| RegistryError::Client {
            registry: registry.clone(),
            source,
        };
        host.client = match certificates {
            Some((roots, identity)) => http
                .with_certificates(roots, identity)
                .await
                .map_err(failed)?,
            None => http.tls().await.map_err(failed)?.clone(),
        };
        host.base = format!("https://{address}");
        let answer = host
            .retry(|| host.client.get(format!("{}/v2/", host.base)))
            .await?;
        host.challenge = Challenge::read(answer.headers());
        Ok(host)
    }

    /// Sends a request about a manifest; any answer that is worth reading is returned.
    pub async fn send(
        &self,
        method: Method,
        image: &ImageReference,
        access: Access,
        body: Option<(&str, Bytes)>,
    ) -> Result<Response, RegistryError> {
        let _permit = self.limit.acquire().await;
        let path = self.repository(image);
        let reference = match (image.digest(), image.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag.as_str(),
            (None, None) => "latest",
        };
        let url = format!("{}/v2/{path}/manifests/{reference}", self.base);
        let mut fresh = false;
        loop {
            let token = match &self.challenge {
                Challenge::Bearer { .. } => Some(self.token(&path, access).await?),
                _ => None,
            };
            let request = || {
                let mut request = self
                    .client
                    .request(method.clone(), &url)
                    .header(ACCEPT, MANIFEST_TYPES);
                if let Some((media_type, bytes)) = &body {
                    request = request
                        .header(CONTENT_TYPE, *media_type)
                        .body(bytes.clone());
                }
                match (&token, &self.challenge, &self.credentials) {
                    (Some(token), _, _) => request.bearer_auth(token),
                    (None, Challenge::Basic, Some(Credentials::Password { user, password })) => {
                        request.basic_auth(user, Some(password))
                    }
                    _ => request,
                }
            };
            let answer = self.retry(request).await?;
            // A token may have run out since it was fetched.
            if answer.status() == StatusCode::UNAUTHORIZED && token.is_some() && !fresh {
                fresh = true;
                self.tokens
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&(path.clone(), access));
                continue;
            }
            return Ok(answer);
        }
    }

    /// Docker Hub keeps the images without a folder under `library`.
    fn repository(&self, image: &ImageReference) -> String {
        let path = image.repository().path();
        let is_hub = matches!(
            self.registry.as_str(),
            "docker.io" | "index.docker.io" | "registry-1.docker.io"
        );
        if is_hub && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        }
    }

    async fn token(&self, path: &str, access: Access) -> Result<String, RegistryError> {
        let cell = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.entry((path.to_owned(), access)).or_default().clone()
        };
        cell.get_or_try_init(|| self.fetch_token(path, access))
            .await
            .cloned()
    }

    async fn fetch_token(&self, path: &str, access: Access) -> Result<String, RegistryError> {
        let Challenge::Bearer { realm, service } = &self.challenge else {
            return Ok(String::new());
        };
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{path}:{actions}");
        let malformed = || RegistryError::Unauthorized {
            registry: self.registry.clone(),
            who: self.who(),
            message: format!("its token server `{realm}` is no URL"),
        };
        let mut url: reqwest::Url = realm.parse().map_err(|_| malformed())?;
        let mut form = vec![("scope", scope.as_str())];
        if let Some(service) = service {
            form.push(("service", service.as_str()));
        }
        let answer = match &self.credentials {
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
                let request = || {
                    let form = "application/x-www-form-urlencoded";
                    self.client
                        .post(url.clone())
                        .header(CONTENT_TYPE, form)
                        .body(body.clone())
                };
                self.retry(request).await?
            }
            credentials => {
                url.query_pairs_mut().extend_pairs(form);
                let request = || match credentials {
                    Some(Credentials::Password { user, password }) => self
                        .client
                        .get(url.clone())
                        .basic_auth(user, Some(password)),
                    _ => self.client.get(url.clone()),
                };
                self.retry(request).await?
            }
        };
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        match token_of(&text) {
            Some(token) if status.is_success() => Ok(token),
            _ => Err(RegistryError::Unauthorized {
                registry: self.registry.clone(),
                who: self.who(),
                message: if status.is_success() {
                    "its token server gives no token".to_owned()
                } else {
                    format!("its token server answers {status}: {}", message_of(&text))
                },
            }),
        }
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
                    retry_after(&answer)
                }
                Err(source) => {
                    let source = source.without_url();
                    // Nobody listens, or the certificate is wrong: another try makes no difference.
                    if attempt == ATTEMPTS || source.is_connect() || source.is_builder() {
                        return Err(RegistryError::Unreachable {
                            registry: self.registry.clone(),
                            source,
                        });
                    }
                    None
                }
            };
            let backoff = Duration::from_millis(200 * 2_u64.pow(attempt));
            tokio::time::sleep(wait.unwrap_or(backoff).min(LONGEST_WAIT)).await;
            attempt += 1;
        }
    }

    /// Makes an error of an answer that is no success.
    pub async fn refusal(
        &self,
        image: &ImageReference,
        method: &'static str,
        answer: Response,
    ) -> RegistryError {
        let status = answer.status();
        let text = self
            .body(image, answer, 64 * 1024)
            .await
            .unwrap_or_default();
        let message = message_of(&String::from_utf8_lossy(&text));
        let (registry, who) = (self.registry.clone(), self.who());
        match status {
            StatusCode::UNAUTHORIZED => RegistryError::Unauthorized {
                registry,
                who,
                message,
            },
            StatusCode::FORBIDDEN => {
                let verb = if method == "PUT" { "write" } else { "read" };
                let action = format!("{verb} {}", image.repository());
                RegistryError::Denied {
                    registry,
                    who,
                    action,
                    message,
                }
            }
            status => RegistryError::Status {
                method,
                image: Box::new(image.clone()),
                status: status.as_u16(),
                message,
            },
        }
    }

    /// Makes an error of an answer that is no registry's.
    pub fn unexpected(&self, image: &ImageReference, what: &str) -> RegistryError {
        RegistryError::Unexpected {
            image: Box::new(image.clone()),
            what: what.to_owned(),
        }
    }

    /// Reads an answer's body, up to a limit.
    pub async fn body(
        &self,
        image: &ImageReference,
        mut answer: Response,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        let mut body = BytesMut::new();
        loop {
            let chunk = answer
                .chunk()
                .await
                .map_err(|source| RegistryError::Unreachable {
                    registry: self.registry.clone(),
                    source: source.without_url(),
                })?;
            let Some(chunk) = chunk else {
                return Ok(body.freeze());
            };
            if body.len() + chunk.len() > limit {
                return Err(self.unexpected(image, "it is too large for a manifest"));
            }
            body.extend_from_slice(&chunk);
        }
    }

    fn who(&self) -> String {
        self.credentials
            .as_ref()
            .map_or_else(|| "anonymous access".to_owned(), Credentials::who)
    }
}

/// Reads `Retry-After` in seconds; a date is not followed, as clocks differ.
fn retry_after(answer: &Response) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_secs)
}

type Certificates = (Vec<Vec<u8>>, Option<Vec<u8>>);

/// Reads the registry's folder of `certs.d`: `*.crt` are authorities, `*.cert` with the `*.key` of the
/// same name is the client's own.
fn certificates(
    settings: &RegistrySettings,
    registry: &Registry,
) -> Result<Option<Certificates>, RegistryError> {
    for folder in &settings.certificates {
        let Ok(entries) = fs::read_dir(folder.join(registry.as_str())) else {
            continue;
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let with = |extension: &str| {
            let extension = extension.to_owned();
            paths
                .iter()
                .filter(move |path| path.extension().is_some_and(|found| *found == *extension))
        };
        let roots = with("crt")
            .map(|path| read(path))
            .collect::<Result<Vec<_>, _>>()?;
        let identity = match with("cert").next() {
            Some(cert) => {
                let mut pem = read(cert)?;
                pem.push(b'\n');
                pem.extend(read(&cert.with_extension("key"))?);
                Some(pem)
            }
            None => None,
        };
        if !roots.is_empty() || identity.is_some() {
            return Ok(Some((roots, identity)));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    fs::read(path).map_err(|source| RegistryError::Certificate {
        path: path.display().to_string(),
        source,
    })
}
