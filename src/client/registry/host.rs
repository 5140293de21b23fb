//! One registry: how it is reached, and what it asks for.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::RegistrySettings;
use super::answer::Answer;
use super::auth::Challenge;
use super::certificates::certificates;
use super::credentials::Credentials;
use super::error::{RegistryError, message_of};
use super::send::Expected;
use super::token::Tokens;
use crate::client::http::{Http, HttpClientError};
use crate::client::retry::{Trouble, is_transient_status, retry_after};
use crate::image::{ImageReference, ImageRepository, Registry};

/// How many requests are under way at once to one registry. Most are small questions for manifests,
/// and how many are asked at once decides how often the way to the registry is waited for. With
/// git's and the engine's own connections it stays below 256 open files.
pub(super) const CONNECTIONS: usize = 100;

/// How many uploads are open at once in one registry.
const UPLOADS: usize = 8;

/// With what a registry is asked whether it is there.
const GREETING: &str = "GET /v2/";

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

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// By TLS.
    Tls,
    /// By plain HTTP.
    Plain,
}

/// One registry.
pub(super) struct Host {
    pub(super) registry: Registry,
    pub(super) http: Http,
    pub(super) client: Client,
    /// Scheme, host and port.
    pub(super) base: String,
    /// What it asked for last.
    challenge: Mutex<Challenge>,
    pub(super) credentials: Option<Credentials>,
    pub(super) tokens: Tokens,
    pub(super) limit: Semaphore,
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
        let mut host = Self::of_address(http, registry, address, credentials);
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
                Err(error) if error.may_be_tls() => {
                    host.use_tls(http.tls().await.map_err(failed)?.clone());
                    return match host.ping_once().await {
                        Ok(()) => Ok(host),
                        Err(of_tls) if of_tls.is_about_certificate() => Err(of_tls),
                        // It was plain HTTP after all, and what broke it is what counts.
                        Err(_) => Err(error),
                    };
                }
                result => return result.map(|()| host),
            },
            // As the engine does it: TLS that nobody checks, else none.
            (None, Trust::Insecure) => {
                let tls = http.unverified().await.map_err(failed)?.clone();
                let attempts = http.retries().begin(registry.as_str(), GREETING);
                let (is_tls, answer) = attempts.run(|| host.greet_either_way(&tls)).await?;
                if is_tls {
                    host.use_tls(tls);
                }
                return host.take_greeting(&answer).map(|()| host);
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

    /// Returns a registry that asked for nothing when it was last spoken to, and is not greeted again.
    ///
    /// # Errors
    ///
    /// The certificates of the system cannot be loaded.
    pub async fn open(http: &Http, registry: &Registry, way: Way) -> Result<Self, HttpClientError> {
        let mut host = Self::of_address(http, registry, registry.as_str(), None);
        if way == Way::Tls {
            host.use_tls(http.tls().await?.clone());
        }
        Ok(host)
    }

    fn of_address(
        http: &Http,
        registry: &Registry,
        address: &str,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            registry: registry.clone(),
            http: http.clone(),
            client: http.plain().clone(),
            base: format!("http://{address}"),
            challenge: Mutex::new(Challenge::None),
            credentials,
            tokens: Mutex::default(),
            limit: Semaphore::new(CONNECTIONS),
            uploads: Semaphore::new(UPLOADS),
        }
    }

    /// Returns how it is spoken to, where it asks for nothing.
    pub fn open_way(&self) -> Option<Way> {
        let way = match self.base.starts_with("https:") {
            true => Way::Tls,
            false => Way::Plain,
        };
        (self.challenge() == Challenge::None).then_some(way)
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
        let request = || self.client.get(&url);
        let registry = self.registry.as_str();
        let answer = self.exchange(registry, GREETING, Expected::Answer, request);
        self.take_greeting(&answer.await?)
    }

    /// Like [`Host::ping`], but once: where another way was tried before.
    async fn ping_once(&self) -> Result<(), RegistryError> {
        let request = self.client.get(format!("{}/v2/", self.base));
        let (answer, _) = self.attempt(GREETING, Expected::Answer, request).await;
        self.take_greeting(&answer?)
    }

    /// Asks by TLS, and by plain HTTP where nobody answers to that; tells which of them it was.
    async fn greet_either_way(
        &self,
        tls: &Client,
    ) -> (Result<(bool, Answer), RegistryError>, Option<Trouble>) {
        let plain = format!("{}/v2/", self.base);
        let request = tls.get(plain.replacen("http:", "https:", 1));
        let (of_tls, tls_trouble) = self.attempt(GREETING, Expected::Answer, request).await;
        let of_tls = match of_tls {
            Ok(answer) => return (Ok((true, answer)), tls_trouble),
            Err(error) => error,
        };
        let request = self.client.get(&plain);
        let (of_plain, trouble) = self.attempt(GREETING, Expected::Answer, request).await;
        match of_plain {
            Ok(answer) => (Ok((false, answer)), trouble),
            // Who speaks no TLS at all is a registry of plain HTTP that fails now.
            Err(error) if tls_trouble.is_none() && trouble.is_some() => (Err(error), trouble),
            // Where neither answers, the failure of TLS says more.
            Err(_) => (Err(of_tls), tls_trouble),
        }
    }

    fn take_greeting(&self, answer: &Answer) -> Result<(), RegistryError> {
        let status = answer.status;
        // Such an answer says nothing of what the registry asks for.
        let is_final = status == StatusCode::BAD_REQUEST
            || is_transient_status(status.as_u16())
            || status.is_server_error();
        if is_final {
            return Err(self.refusal(None, answer));
        }
        self.set_challenge(Challenge::read(&answer.headers));
        Ok(())
    }

    pub(super) fn challenge(&self) -> Challenge {
        let challenge = self.challenge.lock();
        challenge.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_challenge(&self, challenge: Challenge) {
        *self
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = challenge;
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

    /// Makes an error of an answer that is no success. `image` is what was to be changed.
    pub fn refusal(&self, image: Option<&ImageReference>, answer: &Answer) -> RegistryError {
        let status = answer.status;
        let retry_after = retry_after(&answer.headers).map(|wait| wait.as_secs());
        let message = message_of(&answer.text());
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
                request: answer.request.clone(),
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

    /// Returns an answer's body.
    pub fn whole(&self, answer: &Answer) -> Result<Bytes, RegistryError> {
        let too_large = || self.unexpected("it is larger than it may be");
        answer.body().cloned().ok_or_else(too_large)
    }

    /// Returns whom it knows the requests to come from, for people.
    pub fn who(&self) -> String {
        self.credentials
            .as_ref()
            .map_or_else(|| "anonymous users".to_owned(), Credentials::who)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

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
        let http = Http::for_tests();
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
