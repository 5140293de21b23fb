//! Requests to a registry, with authentication and retries.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, StatusCode, Url};

use super::MANIFEST_TYPES;
use super::auth::Challenge;
use super::credentials::Credentials;
use super::error::{RegistryError, message_of};
use super::host::{PING, RegistryHost};
use super::resource::{Access, Resource};
use super::response::RegistryResponse;
use super::token::TokenScope;
use crate::client::retry::{TransientFailure, is_transient, is_transient_status, retry_after};
use crate::model::image::{Digest, ImageReference, ImageRepository};

/// A request to a registry.
struct RegistryRequest<'a> {
    method: Method,
    url: &'a str,
    /// For messages.
    request: &'a str,
    expected: ExpectedBody<'a>,
    /// Media type and bytes.
    body: Option<(&'a str, Bytes)>,
    /// The path of another repository that is read.
    mounted_from: Option<String>,
}

/// The kind of body that a response must have.
#[derive(Clone, Copy)]
pub(super) enum ExpectedBody<'a> {
    /// Anything.
    Any,
    /// A manifest or blob, with this digest if it is known.
    Content(Option<&'a Digest>),
}

impl RegistryHost {
    /// Sends a request and returns the response, regardless of its status.
    pub(super) async fn send(
        &self,
        method: Method,
        resource: Resource<'_>,
        access: Access,
        body: Option<(&str, Bytes)>,
    ) -> Result<RegistryResponse, RegistryError> {
        let path = self.repository(resource.path().0);
        let url = self.url(resource);
        let request = resource.request(&method);
        let expected = match method {
            Method::GET => ExpectedBody::Content(resource.digest()),
            _ => ExpectedBody::Any,
        };
        let request = RegistryRequest {
            method,
            url: &url,
            request: &request,
            expected,
            body,
            mounted_from: resource.mounted_from().map(|from| self.repository(from)),
        };
        self.deliver(request, &path, access).await
    }

    pub(super) fn url(&self, resource: Resource<'_>) -> String {
        let (repository, name) = resource.path();
        format!("{}/v2/{}/{name}", self.base, self.repository(repository))
    }

    /// Sends a request to a URL of this registry, with a token for the repository at `path`.
    pub(super) async fn send_to(
        &self,
        method: Method,
        url: &str,
        path: &str,
        access: Access,
    ) -> Result<RegistryResponse, RegistryError> {
        let request = format!("{method} of an upload to {path}");
        let request = RegistryRequest {
            method,
            url,
            request: &request,
            expected: ExpectedBody::Any,
            body: None,
            mounted_from: None,
        };
        self.deliver(request, path, access).await
    }

    /// Gets a page of a list of the repository at `path`; `name` is the request for messages.
    pub(super) async fn page(
        &self,
        url: &str,
        path: &str,
        name: &str,
    ) -> Result<RegistryResponse, RegistryError> {
        let request = RegistryRequest {
            method: Method::GET,
            url,
            request: name,
            expected: ExpectedBody::Any,
            body: None,
            mounted_from: None,
        };
        self.deliver(request, path, Access::Pull).await
    }

    async fn deliver(
        &self,
        request: RegistryRequest<'_>,
        path: &str,
        access: Access,
    ) -> Result<RegistryResponse, RegistryError> {
        let RegistryRequest {
            method,
            url,
            request: name,
            expected,
            body,
            mounted_from,
        } = request;
        let mounted_from = mounted_from.as_deref();
        let _permit = self.limit.acquire().await;
        let mut is_retry = false;
        loop {
            let challenge = self.challenge();
            let token = match &challenge {
                Challenge::Bearer { realm, service } => {
                    let scope = TokenScope {
                        path,
                        access,
                        mounted_from,
                    };
                    Some(self.token(realm, service.as_deref(), scope).await?)
                }
                _ => None,
            };
            let request = || {
                let mut request = self
                    .client
                    .request(method.clone(), url)
                    .header(ACCEPT, MANIFEST_TYPES);
                if method == Method::POST {
                    // The library omits it without a body, but some servers require it.
                    request = request.header(CONTENT_LENGTH, 0);
                }
                if let Some((media_type, bytes)) = &body {
                    request = request
                        .header(CONTENT_TYPE, *media_type)
                        .body(bytes.clone());
                }
                self.with_credentials(request, token.as_deref(), &challenge)
            };
            let registry = self.registry.as_str();
            let reply = self.exchange(registry, name, expected, request).await?;
            if reply.status != StatusCode::UNAUTHORIZED || is_retry {
                return Ok(reply);
            }
            is_retry = true;
            // Some registries allow anonymous access to `/v2/` and send their challenge only here.
            let required = Challenge::read(&reply.headers);
            if token.is_some() {
                self.forget_token(TokenScope {
                    path,
                    access,
                    mounted_from,
                });
            } else if required == Challenge::None || required == challenge {
                return Ok(reply);
            }
            if required != Challenge::None {
                self.set_challenge(required);
            }
        }
    }

    fn with_credentials(
        &self,
        request: RequestBuilder,
        token: Option<&str>,
        challenge: &Challenge,
    ) -> RequestBuilder {
        match (token, challenge, &self.credentials) {
            (Some(token), _, _) => request.bearer_auth(token),
            (None, Challenge::Basic, Some(Credentials::Password { user, password })) => {
                request.basic_auth(user, Some(password))
            }
            _ => request,
        }
    }

    /// Adds authentication to a request with a body that cannot be repeated, as the last challenge requires.
    pub(super) async fn authorized(
        &self,
        request: RequestBuilder,
        repository: &ImageRepository,
        access: Access,
    ) -> Result<RequestBuilder, RegistryError> {
        let challenge = self.challenge();
        let token = match &challenge {
            Challenge::Bearer { realm, service } => {
                let path = self.repository(repository);
                let scope = TokenScope {
                    path: &path,
                    access,
                    mounted_from: None,
                };
                Some(self.token(realm, service.as_deref(), scope).await?)
            }
            _ => None,
        };
        Ok(self.with_credentials(request, token.as_deref(), &challenge))
    }

    /// Returns whether a URL is of this registry, and not of a storage server.
    pub(super) fn is_own_url(&self, url: &Url) -> bool {
        let base = self.base.parse::<Url>();
        base.is_ok_and(|base| base.origin() == url.origin())
    }

    /// Returns the digest of a reference without authentication, or the registry's error unless a login could help.
    pub(super) async fn anonymous_digest(
        &self,
        image: &ImageReference,
    ) -> Option<Result<Digest, RegistryError>> {
        let resource = Resource::Manifest(image);
        let url = self.url(resource);
        let request = || self.client.head(&url).header(ACCEPT, MANIFEST_TYPES);
        let name = resource.request(&Method::HEAD);
        let registry = self.registry.as_str();
        let reply = self.exchange(registry, &name, ExpectedBody::Any, request);
        let reply = reply.await.ok()?;
        match reply.status {
            StatusCode::OK => {
                let digest = reply.header("docker-content-digest")?;
                digest.parse().ok().map(Ok)
            }
            // The address may now belong to another server.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => None,
            _ => Some(Err(self.refusal(None, &reply))),
        }
    }

    /// Sends a request, with retries on transient failures; `name` is the request for messages.
    pub(super) async fn exchange(
        &self,
        server: &str,
        name: &str,
        expected: ExpectedBody<'_>,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<RegistryResponse, RegistryError> {
        let attempts = self.http.retries().begin(server, name);
        attempts
            .run(|| self.attempt(name, expected, request()))
            .await
    }

    /// Sends a request once. The second value is the failure if it is transient.
    pub(super) async fn attempt(
        &self,
        name: &str,
        expected: ExpectedBody<'_>,
        request: RequestBuilder,
    ) -> (
        Result<RegistryResponse, RegistryError>,
        Option<TransientFailure>,
    ) {
        let read = async {
            let response = if name == PING {
                // Its scheme is that of all requests.
                request.send().await?
            } else {
                self.http.send(request).await?
            };
            RegistryResponse::read(name, response).await
        };
        let reply = match read.await {
            Ok(reply) => reply,
            Err(error) => {
                let why = error.without_url();
                let reason = self.http.reason(&why);
                let failure = is_transient(&why).then(|| TransientFailure::new(reason.clone()));
                let error = RegistryError::Unreachable {
                    registry: self.registry.clone(),
                    request: name.to_owned(),
                    reason,
                    why,
                };
                return (Err(error), failure);
            }
        };
        if is_transient_status(reply.status.as_u16()) {
            let why = match message_of(&reply.text()) {
                message if message.is_empty() => reply.status.to_string(),
                message => format!("{}: {message}", reply.status),
            };
            let retry_after = retry_after(&reply.headers);
            return (Ok(reply), Some(TransientFailure { why, retry_after }));
        }
        let corruption = match expected {
            ExpectedBody::Content(digest) if reply.status == StatusCode::OK => {
                reply.corruption(digest)
            }
            _ => None,
        };
        match corruption {
            Some(what) => (
                Err(self.unexpected(what)),
                Some(TransientFailure::new(what)),
            ),
            None => (Ok(reply), None),
        }
    }
}
