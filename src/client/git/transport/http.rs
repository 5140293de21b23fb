//! Smart HTTP requests.

use std::error::Error as StdError;
use std::io;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::git::error::{GitErrorKind, address};
use crate::client::git::transport::credentials::Login;
use crate::client::git::{GitClient, GitError};
use crate::client::retry::{is_transient, is_transient_status, retry_after};
use crate::model::source::GitUrl;

const MAX_REDIRECTS: usize = 5;

/// A remote over HTTP: its current URL and login.
pub(in crate::client::git) struct HttpRemote {
    client: GitClient,
    /// The requested URL, for errors.
    url: GitUrl,
    /// The URL after redirects, for which credentials are looked up.
    current: GitUrl,
    base: String,
    login: Option<Login>,
}

struct HttpCall {
    method: Method,
    path: &'static str,
    body: Option<Bytes>,
    version2: bool,
}

impl HttpRemote {
    pub(in crate::client::git) fn new(client: &GitClient, url: &GitUrl) -> Result<Self, GitError> {
        Ok(Self {
            client: client.clone(),
            url: url.clone(),
            current: url.clone(),
            base: url.without_credentials(),
            login: Login::of_url(url),
        })
    }

    /// Requests the reference advertisement.
    pub(in crate::client::git) async fn advertisement(
        &mut self,
        version2: bool,
    ) -> Result<Response, GitError> {
        let call = HttpCall {
            method: Method::GET,
            path: "/info/refs?service=git-upload-pack",
            body: None,
            version2,
        };
        let response = self.send(&call).await?;
        let response = self.expect_success(response)?;
        if content_type(&response) != "application/x-git-upload-pack-advertisement" {
            return Err(GitError::protocol(
                &self.url,
                format!(
                    "its content type is `{}`, so this is not a smart HTTP git server",
                    content_type(&response)
                ),
            ));
        }
        Ok(response)
    }

    /// Sends a request to `git-upload-pack`.
    pub(in crate::client::git) async fn upload_pack(
        &mut self,
        body: Vec<u8>,
        version2: bool,
    ) -> Result<Response, GitError> {
        let response = self.send(&HttpCall::upload_pack(body, version2)).await?;
        self.expect_success(response)
    }

    /// Sends a request of protocol version 2 without first checking that the server supports it; `None` if the
    /// server rejects it, and the advertisement must be requested first.
    pub(in crate::client::git) async fn try_upload_pack(
        &mut self,
        body: Vec<u8>,
    ) -> Result<Option<Response>, GitError> {
        let response = self.send(&HttpCall::upload_pack(body, true)).await?;
        let responses = response.status() == StatusCode::OK
            && content_type(&response) == "application/x-git-upload-pack-result";
        match response.status() {
            // Requesting the advertisement would not help. Old servers may reject the request with 500.
            status
                if is_transient_status(status.as_u16())
                    && status != StatusCode::INTERNAL_SERVER_ERROR =>
            {
                self.expect_success(response).map(Some)
            }
            _ => Ok(responses.then_some(response)),
        }
    }

    /// Reads the whole response.
    pub(in crate::client::git) async fn read_all(
        &self,
        response: &mut Response,
        limit: usize,
    ) -> Result<Vec<u8>, GitError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|cause| self.broken(cause))? {
            if body.len() + chunk.len() > limit {
                return Err(GitError::protocol(&self.url, "the response is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Sends a request, with credentials if the server requires them.
    async fn send(&mut self, call: &HttpCall) -> Result<Response, GitError> {
        let shared = self.client.shared.clone();
        if self.login.is_none() {
            self.login = shared
                .credentials
                .accepted_login(&shared.configuration, &self.current)
                .await;
        }
        shared.credentials.record_contact(&self.url).await;
        let mut redirects = 0;
        // Each rejection uses up a source of credentials, so the loop terminates.
        loop {
            let response = self.send_once(call).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                if self.login.is_some() && self.login == Login::of_url(&self.current) {
                    return Err(self.refused(None));
                }
                let next = shared
                    .credentials
                    .next_login(
                        &shared.configuration,
                        &shared.environment,
                        &self.current,
                        self.login.as_ref(),
                    )
                    .await;
                match next {
                    Ok(login) => self.login = Some(login),
                    Err(no_login) => return Err(self.refused(no_login.helper_message)),
                }
            } else if call.method == Method::GET && response.status().is_redirection() {
                redirects += 1;
                self.follow(&response, redirects)?;
            } else {
                if let Some(login) = &self.login
                    && response.status().is_success()
                {
                    shared
                        .credentials
                        .accept(&shared.configuration, &self.current, login)
                        .await;
                }
                return Ok(response);
            }
        }
    }

    async fn send_once(&self, call: &HttpCall) -> Result<Response, GitError> {
        let address = format!("{}{}", self.base, call.path);
        let address = Url::parse(&address).map_err(|cause| {
            GitError::new(GitErrorKind::Local, format!("invalid URL {}", self.url)).because(cause)
        })?;
        let client = self
            .client
            .shared
            .http
            .for_url(&address)
            .await
            .map_err(|cause| {
                GitError::new(GitErrorKind::Local, format!("cannot reach {}", self.url))
                    .because(cause)
            })?;
        let mut request = client.request(call.method.clone(), address);
        if call.version2 {
            request = request.header("Git-Protocol", HeaderValue::from_static("version=2"));
        }
        if let Some(body) = &call.body {
            request = request
                .header(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-git-upload-pack-request"),
                )
                .header(
                    ACCEPT,
                    HeaderValue::from_static("application/x-git-upload-pack-result"),
                )
                .body(body.clone());
        }
        if let Some(Login { user, password }) = &self.login {
            request = request.basic_auth(user, Some(password));
        }
        request.send().await.map_err(|cause| self.broken(cause))
    }

    /// Follows a redirect; the login is dropped if the host changes.
    fn follow(&mut self, response: &Response, redirects: usize) -> Result<(), GitError> {
        let invalid = |reason: &str| GitError::protocol(&self.url, reason.to_owned());
        if redirects > MAX_REDIRECTS {
            return Err(invalid("too many redirects"));
        }
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|location| response.url().join(location.to_str().ok()?).ok())
            .ok_or_else(|| invalid("the redirect has no valid location"))?;
        let base = target
            .as_str()
            .strip_suffix("/info/refs?service=git-upload-pack")
            .ok_or_else(|| invalid("it redirects to another page, possibly a login page"))?
            .to_owned();
        let moved: GitUrl = base
            .parse()
            .map_err(|_| invalid("it redirects to a URL that is not a git remote"))?;
        if moved.origin() != self.current.origin() {
            self.login = Login::of_url(&moved);
        }
        self.base = moved.without_credentials();
        self.current = moved;
        Ok(())
    }

    fn expect_success(&self, response: Response) -> Result<Response, GitError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => GitError::not_found(&self.url)
                .because(format!("the server responded with {status}")),
            StatusCode::FORBIDDEN => match &self.login {
                Some(login) => GitError::new(
                    GitErrorKind::Authentication,
                    format!(
                        "the server denied {} access to {}",
                        self.shown_user(login),
                        self.url
                    ),
                ),
                None => GitError::new(
                    GitErrorKind::Refused,
                    format!("the server denied access to {}", self.url),
                ),
            }
            .because(format!("the server responded with {status}")),
            _ => {
                let error = GitError::new(
                    GitErrorKind::Refused,
                    format!("the server of {} failed", self.url),
                )
                .because(format!("the server responded with {status}"));
                if is_transient_status(status.as_u16()) {
                    error.transient_after(retry_after(response.headers()))
                } else {
                    error
                }
            }
        })
    }

    /// Returns the user of a login for messages, unless it may be a token.
    fn shown_user(&self, login: &Login) -> String {
        let is_secret = [&self.url, &self.current]
            .iter()
            .any(|url| url.has_secret_user() && url.user() == Some(&login.user));
        if is_secret {
            "the user of the URL".to_owned()
        } else {
            format!("the user `{}`", login.user)
        }
    }

    /// Returns the error for a missing or rejected login.
    fn refused(&self, helper_message: Option<String>) -> GitError {
        let error = match &self.login {
            Some(login) => GitError::new(
                GitErrorKind::Authentication,
                format!("the server rejected {} for {}", self.shown_user(login), self.url),
            )
            .with_hint("check the password or token in the URL, ~/.netrc or git's credential helper"),
            None => GitError::new(
                GitErrorKind::Authentication,
                format!("the server requires a user and a password for {}", self.url),
            )
            .with_hint("add them to ~/.netrc or to a git credential helper, or check the URL: servers also require them for repositories that do not exist"),
        };
        match helper_message {
            Some(helper_message) => error.because(helper_message),
            None => error,
        }
    }

    /// Returns the error for a request without a complete response.
    pub(in crate::client::git) fn broken(&self, cause: reqwest::Error) -> GitError {
        // reqwest would print the URL, including credentials.
        let cause = cause.without_url();
        if let Some(certificate) = certificate_error(&cause) {
            return GitError::new(
                GitErrorKind::HostKey,
                format!(
                    "the certificate of {} is not trusted, for {}",
                    address(&self.current),
                    self.url
                ),
            )
            .because(certificate)
            .with_hint("set SSL_CERT_FILE to a file with the CA certificates to trust");
        }
        let http = &self.client.shared.http;
        if cause.is_timeout() && !cause.is_connect() {
            return GitError::timed_out(&self.url, http.timeouts().stall);
        }
        let error = GitError::unreachable(&self.current).because(http.reason(&cause));
        if is_transient(&cause) {
            error.transient()
        } else {
            error
        }
    }
}

impl HttpCall {
    fn upload_pack(body: Vec<u8>, version2: bool) -> Self {
        Self {
            method: Method::POST,
            path: "/git-upload-pack",
            body: Some(body.into()),
            version2,
        }
    }
}

fn content_type(response: &Response) -> &str {
    let value = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .unwrap_or("")
        .trim()
}

/// Returns why a certificate was rejected; the libraries wrap this error several times.
fn certificate_error(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    // `source()` of an I/O error skips the error that it wraps.
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inside
        .and_then(|inside| certificate_error(inside))
        .or_else(|| error.source().and_then(certificate_error))
}
