//! A connection to one registry: scheme, TLS and authentication.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::RegistrySettings;
use super::auth::Challenge;
use super::certificates::certificates;
use super::credentials::Credentials;
use super::error::{RegistryError, message_of};
use super::response::RegistryResponse;
use super::send::ExpectedBody;
use super::token::Tokens;
use crate::client::http::{Http, HttpClientError};
use crate::client::retry::{TransientFailure, is_transient_status, retry_after};
use crate::model::image::{ImageReference, ImageRepository, Registry};

/// The number of concurrent requests to one registry. Most are small requests for manifests, so latency
/// dominates and concurrency saves round trips. Together with the connections of git and the engine, this
/// stays below 256 open files.
pub(super) const CONNECTIONS: usize = 100;

/// The number of uploads open at once in one registry.
const UPLOADS: usize = 8;

/// The request that checks whether a server is a registry.
pub(super) const PING: &str = "GET /v2/";

/// How far a registry is trusted before it has authenticated itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// TLS with a verified certificate.
    Verified,
    /// The registry is on this machine.
    Loopback,
    /// The engine lists the registry as insecure.
    Insecure,
}

/// The scheme of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistryScheme {
    /// HTTPS.
    Tls,
    /// HTTP without TLS.
    Plain,
}

/// A registry with a known scheme.
pub(super) struct RegistryHost {
    pub(super) registry: Registry,
    pub(super) http: Http,
    pub(super) client: Client,
    /// Scheme, host and port.
    pub(super) base: String,
    /// The last authentication challenge.
    challenge: Mutex<Challenge>,
    pub(super) credentials: Option<Credentials>,
    pub(super) tokens: Tokens,
    pub(super) limit: Semaphore,
    /// Limits concurrent uploads.
    pub(super) uploads: Semaphore,
}

impl RegistryHost {
    /// Detects the scheme of a registry, mostly with one request.
    pub async fn find(
        http: &Http,
        settings: &RegistrySettings,
        registry: &Registry,
        credentials: Option<Credentials>,
        trust: Trust,
    ) -> Result<Self, RegistryError> {
        let certificates = certificates(settings, registry)?;
        let address = if registry.is_docker_hub() {
            "registry-1.docker.io"
        } else {
            registry.as_str()
        };
        let mut host = Self::of_address(http, registry, address, credentials);
        let failed = |source| RegistryError::Client {
            registry: registry.clone(),
            source,
        };
        // No credentials are sent before the scheme is known.
        match (certificates, trust) {
            // Plain HTTP first: it needs no certificates, and a TLS server rejects it at once.
            (None, Trust::Loopback) => match host.ping().await {
                // The response of a TLS server to plain HTTP.
                Err(RegistryError::Status { status, .. }) if status == StatusCode::BAD_REQUEST => {}
                Err(error) if error.may_be_tls() => {
                    host.use_tls(http.tls().await.map_err(failed)?.clone());
                    return match host.ping_once().await {
                        Ok(()) => Ok(host),
                        Err(of_tls) if of_tls.is_about_certificate() => Err(of_tls),
                        // It was plain HTTP after all, so the first error counts.
                        Err(_) => Err(error),
                    };
                }
                result => return result.map(|()| host),
            },
            // Same as the engine: unverified TLS, else plain HTTP.
            (None, Trust::Insecure) => {
                let tls = http.unverified().await.map_err(failed)?.clone();
                let attempts = http.retries().begin(registry.as_str(), PING);
                let (is_tls, reply) = attempts.run(|| host.ping_either_scheme(&tls)).await?;
                if is_tls {
                    host.use_tls(tls);
                }
                return host.accept_ping(&reply).map(|()| host);
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

    /// Returns a registry that required no authentication last time, without a ping.
    ///
    /// # Errors
    ///
    /// If the certificates of the system cannot be loaded.
    pub async fn open(
        http: &Http,
        registry: &Registry,
        way: RegistryScheme,
    ) -> Result<Self, HttpClientError> {
        let mut host = Self::of_address(http, registry, registry.as_str(), None);
        if way == RegistryScheme::Tls {
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

    /// Returns the scheme if the registry requires no authentication.
    pub fn anonymous_scheme(&self) -> Option<RegistryScheme> {
        let scheme = if self.base.starts_with("https:") {
            RegistryScheme::Tls
        } else {
            RegistryScheme::Plain
        };
        (self.challenge() == Challenge::None).then_some(scheme)
    }

    fn use_tls(&mut self, client: Client) {
        self.client = client;
        if let Some(address) = self.base.strip_prefix("http://") {
            self.base = format!("https://{address}");
        }
    }

    /// Checks that the registry responds, and stores its challenge.
    async fn ping(&self) -> Result<(), RegistryError> {
        let url = format!("{}/v2/", self.base);
        let request = || self.client.get(&url);
        let registry = self.registry.as_str();
        let reply = self.exchange(registry, PING, ExpectedBody::Any, request);
        self.accept_ping(&reply.await?)
    }

    /// Like [`RegistryHost::ping`], but without retries.
    async fn ping_once(&self) -> Result<(), RegistryError> {
        let request = self.client.get(format!("{}/v2/", self.base));
        let (reply, _) = self.attempt(PING, ExpectedBody::Any, request).await;
        self.accept_ping(&reply?)
    }

    /// Pings with TLS, then with plain HTTP. Returns whether TLS worked.
    async fn ping_either_scheme(
        &self,
        tls: &Client,
    ) -> (
        Result<(bool, RegistryResponse), RegistryError>,
        Option<TransientFailure>,
    ) {
        let plain = format!("{}/v2/", self.base);
        let request = tls.get(plain.replacen("http:", "https:", 1));
        let (of_tls, tls_failure) = self.attempt(PING, ExpectedBody::Any, request).await;
        let of_tls = match of_tls {
            Ok(reply) => return (Ok((true, reply)), tls_failure),
            Err(error) => error,
        };
        let request = self.client.get(&plain);
        let (of_plain, failure) = self.attempt(PING, ExpectedBody::Any, request).await;
        match of_plain {
            Ok(reply) => (Ok((false, reply)), failure),
            // A registry without TLS that is failing now.
            Err(error) if tls_failure.is_none() && failure.is_some() => (Err(error), failure),
            // If neither responds, the TLS error is more informative.
            Err(_) => (Err(of_tls), tls_failure),
        }
    }

    fn accept_ping(&self, reply: &RegistryResponse) -> Result<(), RegistryError> {
        let status = reply.status;
        // Such a response carries no challenge.
        let is_final = status == StatusCode::BAD_REQUEST
            || is_transient_status(status.as_u16())
            || status.is_server_error();
        if is_final {
            return Err(self.refusal(None, reply));
        }
        self.set_challenge(Challenge::read(&reply.headers));
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

    /// Returns the path of a repository; Docker Hub keeps official images under `library`.
    pub fn repository(&self, repository: &ImageRepository) -> String {
        let path = repository.path();
        if self.registry.is_docker_hub() && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        }
    }

    /// Returns the error for a response that is not a success. `image` is the image of a write.
    pub fn refusal(
        &self,
        image: Option<&ImageReference>,
        reply: &RegistryResponse,
    ) -> RegistryError {
        let status = reply.status;
        let retry_after = retry_after(&reply.headers).map(|wait| wait.as_secs());
        let message = message_of(&reply.text());
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
                action: match image.map(|image| (image.repository(), image.tag())) {
                    Some((repository, Some(tag))) => format!("set the tag {tag} of {repository}"),
                    Some((repository, None)) => format!("write {repository}"),
                    None => "read".to_owned(),
                },
                message,
            },
            status => RegistryError::Status {
                registry,
                request: reply.request.clone(),
                status,
                message,
                retry_after,
            },
        }
    }

    /// Returns the error for a response that no registry should send.
    pub fn unexpected(&self, what: &str) -> RegistryError {
        RegistryError::Unexpected {
            registry: self.registry.clone(),
            what: what.to_owned(),
        }
    }

    /// Returns the body of a response.
    pub fn body(&self, reply: &RegistryResponse) -> Result<Bytes, RegistryError> {
        let too_large = || self.unexpected("it is too large");
        reply.body().cloned().ok_or_else(too_large)
    }

    /// Returns the user that the registry sees, for messages.
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

    /// Serves plain HTTP, and drops TLS connections.
    fn plain_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut first = [0; 1];
                if connection.read_exact(&mut first).is_ok() && first == *b"G" {
                    let reply =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    _ = connection.write_all(reply);
                }
            }
        });
        address
    }

    async fn find(address: &str, trust: Trust) -> Result<RegistryHost, RegistryError> {
        let repository: ImageRepository = format!("{address}/x").parse().unwrap();
        let registry = repository.registry().unwrap();
        let http = Http::for_tests();
        RegistryHost::find(&http, &RegistrySettings::default(), registry, None, trust).await
    }

    #[tokio::test]
    async fn plain_http_is_used_only_for_loopback_and_insecure_registries() {
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
    async fn an_unreachable_insecure_registry_reports_the_tls_error() {
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
