//! Requests to a registry: with what it asks for, and again where they fail in a way that may pass.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, StatusCode};

use super::MANIFEST_TYPES;
use super::answer::Answer;
use super::auth::Challenge;
use super::credentials::Credentials;
use super::error::{RegistryError, message_of};
use super::host::Host;
use super::resource::{Access, Resource};
use crate::client::retry::{Trouble, is_transient, is_transient_status, retry_after};
use crate::image::{Digest, ImageReference};

/// A request.
struct Sent<'a> {
    method: Method,
    url: &'a str,
    /// In words.
    request: &'a str,
    expected: Expected<'a>,
    /// Its media type, and its bytes.
    body: Option<(&'a str, Bytes)>,
}

/// What is to come.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    /// Anything.
    Answer,
    /// A file of an image, with that digest where it is known.
    File(Option<&'a Digest>),
}

impl Host {
    /// Sends a request; any answer that is worth reading is returned.
    pub(super) async fn send(
        &self,
        method: Method,
        resource: Resource<'_>,
        access: Access,
        body: Option<(&str, Bytes)>,
    ) -> Result<Answer, RegistryError> {
        let path = self.repository(resource.path().0);
        let url = self.url(resource);
        let request = resource.request(&method);
        let expected = match method {
            Method::GET => Expected::File(resource.digest()),
            _ => Expected::Answer,
        };
        let sent = Sent {
            method,
            url: &url,
            request: &request,
            expected,
            body,
        };
        self.deliver(sent, &path, access).await
    }

    fn url(&self, resource: Resource<'_>) -> String {
        let (repository, name) = resource.path();
        format!("{}/v2/{}/{name}", self.base, self.repository(repository))
    }

    /// Sends a request to a URL of this registry, with a token for a repository's path.
    pub(super) async fn send_to(
        &self,
        method: Method,
        url: &str,
        path: &str,
        access: Access,
    ) -> Result<Answer, RegistryError> {
        let request = format!("{method} of an upload to {path}");
        let sent = Sent {
            method,
            url,
            request: &request,
            expected: Expected::Answer,
            body: None,
        };
        self.deliver(sent, path, access).await
    }

    async fn deliver(
        &self,
        sent: Sent<'_>,
        path: &str,
        access: Access,
    ) -> Result<Answer, RegistryError> {
        let Sent {
            method,
            url,
            request: name,
            expected,
            body,
        } = sent;
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
            let registry = self.registry.as_str();
            let answer = self.exchange(registry, name, expected, request).await?;
            if answer.status != StatusCode::UNAUTHORIZED || is_second {
                return Ok(answer);
            }
            is_second = true;
            // Some registries let everybody ask `/v2/`, and say only here what they ask for.
            let asked = Challenge::read(&answer.headers);
            if token.is_some() {
                self.forget_token(path, access);
            } else if asked == Challenge::None || asked == challenge {
                return Ok(answer);
            }
            if asked != Challenge::None {
                self.set_challenge(asked);
            }
        }
    }

    /// Returns the digest of a reference, or why the registry does not tell it, where no login would change that.
    pub(super) async fn plain_digest(
        &self,
        image: &ImageReference,
    ) -> Option<Result<Digest, RegistryError>> {
        let resource = Resource::Manifest(image);
        let url = self.url(resource);
        let request = || self.client.head(&url).header(ACCEPT, MANIFEST_TYPES);
        let name = resource.request(&Method::HEAD);
        let registry = self.registry.as_str();
        let answer = self.exchange(registry, &name, Expected::Answer, request);
        let answer = answer.await.ok()?;
        match answer.status {
            StatusCode::OK => {
                let digest = answer.header("docker-content-digest")?;
                digest.parse().ok().map(Ok)
            }
            // It may be that somebody else answers there now.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => None,
            _ => Some(Err(self.refusal(None, &answer))),
        }
    }

    /// Sends a request until the answer is whole and good, or bad for good; `name` is the request in words.
    pub(super) async fn exchange(
        &self,
        server: &str,
        name: &str,
        expected: Expected<'_>,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, RegistryError> {
        let attempts = self.http.retries().begin(server, name);
        attempts
            .run(|| self.attempt(name, expected, request()))
            .await
    }

    /// Sends a request once; tells what was wrong where that may pass.
    pub(super) async fn attempt(
        &self,
        name: &str,
        expected: Expected<'_>,
        request: RequestBuilder,
    ) -> (Result<Answer, RegistryError>, Option<Trouble>) {
        let read = async { Answer::read(name, request.send().await?).await };
        let answer = match read.await {
            Ok(answer) => answer,
            Err(error) => {
                let why = error.without_url();
                let reason = self.http.reason(&why);
                let trouble = is_transient(&why).then(|| Trouble::new(reason.clone()));
                let error = RegistryError::Unreachable {
                    registry: self.registry.clone(),
                    request: name.to_owned(),
                    reason,
                    why,
                };
                return (Err(error), trouble);
            }
        };
        if is_transient_status(answer.status.as_u16()) {
            let why = match message_of(&answer.text()) {
                message if message.is_empty() => answer.status.to_string(),
                message => format!("{}: {message}", answer.status),
            };
            let retry_after = retry_after(&answer.headers);
            return (Ok(answer), Some(Trouble { why, retry_after }));
        }
        let corruption = match expected {
            Expected::File(digest) if answer.status == StatusCode::OK => answer.corruption(digest),
            _ => None,
        };
        match corruption {
            Some(what) => (Err(self.unexpected(what)), Some(Trouble::new(what))),
            None => (Ok(answer), None),
        }
    }
}
