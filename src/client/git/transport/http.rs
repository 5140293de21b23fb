//! Smart HTTP: requests to a remote.

use std::error::Error as StdError;
use std::io;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::git::credentials::Login;
use crate::client::git::error::{GitErrorKind, address};
use crate::client::git::{GitClient, GitError};
use crate::client::retry::{is_transient, is_transient_status, retry_after};
use crate::source::GitUrl;

const MAXIMUM_REDIRECTS: usize = 5;

/// A remote that is asked over HTTP: where it lives now, and the login that it accepts.
pub(in crate::client::git) struct HttpRemote {
    client: GitClient,
    /// The URL as it was asked for; errors name it.
    url: GitUrl,
    /// Where redirections led to; credentials belong to it.
    current: GitUrl,
    base: String,
    login: Option<Login>,
}

struct Call {
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

    /// Asks what the remote has.
    pub(in crate::client::git) async fn advertisement(
        &mut self,
        version2: bool,
    ) -> Result<Response, GitError> {
        let call = Call {
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
                    "its type is `{}`, so no smart HTTP git server answers there",
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
        let response = self.send(&Call::upload_pack(body, version2)).await?;
        self.expect_success(response)
    }

    /// Sends a request of protocol version 2 without having asked whether the server speaks it; none where
    /// the server does not take it so, and is to be asked first.
    pub(in crate::client::git) async fn try_upload_pack(
        &mut self,
        body: Vec<u8>,
    ) -> Result<Option<Response>, GitError> {
        let response = self.send(&Call::upload_pack(body, true)).await?;
        let answers = response.status() == StatusCode::OK
            && content_type(&response) == "application/x-git-upload-pack-result";
        match response.status() {
            // Asking once more at once would not help. Servers of another time may answer with 500.
            status
                if is_transient_status(status.as_u16())
                    && status != StatusCode::INTERNAL_SERVER_ERROR =>
            {
                self.expect_success(response).map(Some)
            }
            _ => Ok(answers.then_some(response)),
        }
    }

    /// Reads a whole answer.
    pub(in crate::client::git) async fn read_all(
        &self,
        response: &mut Response,
        limit: usize,
    ) -> Result<Vec<u8>, GitError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|cause| self.broken(cause))? {
            if body.len() + chunk.len() > limit {
                return Err(GitError::protocol(&self.url, "it does not end"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Sends a request, with credentials where the server wants some.
    async fn send(&mut self, call: &Call) -> Result<Response, GitError> {
        let shared = self.client.shared.clone();
        if self.login.is_none() {
            self.login = shared
                .credentials
                .known(&shared.configuration, &self.current)
                .await;
        }
        let mut redirects = 0;
        // Each refusal uses up a source of credentials, so that the loop ends.
        loop {
            let response = self.send_once(call).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                if self.login.is_some() && self.login == Login::of_url(&self.current) {
                    return Err(self.refused(None));
                }
                let next = shared
                    .credentials
                    .next(
                        &shared.configuration,
                        &shared.environment,
                        &self.current,
                        self.login.as_ref(),
                    )
                    .await;
                match next {
                    Ok(login) => self.login = Some(login),
                    Err(none) => return Err(self.refused(none.complaint)),
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

    async fn send_once(&self, call: &Call) -> Result<Response, GitError> {
        let address = format!("{}{}", self.base, call.path);
        let address = Url::parse(&address).map_err(|cause| {
            GitError::new(GitErrorKind::Local, format!("{} is no URL", self.url)).because(cause)
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

    /// Moves to where the server says that the remote is; a login stays with the host it was found for.
    fn follow(&mut self, response: &Response, redirects: usize) -> Result<(), GitError> {
        let wrong = |reason: &str| GitError::protocol(&self.url, reason.to_owned());
        if redirects > MAXIMUM_REDIRECTS {
            return Err(wrong("it redirects in a circle"));
        }
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|location| response.url().join(location.to_str().ok()?).ok())
            .ok_or_else(|| wrong("it redirects to nowhere"))?;
        let base = target
            .as_str()
            .strip_suffix("/info/refs?service=git-upload-pack")
            .ok_or_else(|| wrong("it redirects to another page, such as one to sign in"))?
            .to_owned();
        let moved: GitUrl = base
            .parse()
            .map_err(|_| wrong("it redirects to what is no git remote"))?;
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
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                GitError::not_found(&self.url).because(format!("the server answered {status}"))
            }
            StatusCode::FORBIDDEN => match &self.login {
                Some(login) => GitError::new(
                    GitErrorKind::Authentication,
                    format!(
                        "the server does not let {} read {}",
                        self.shown_user(login),
                        self.url
                    ),
                ),
                None => GitError::new(
                    GitErrorKind::Refused,
                    format!("the server refuses to show {}", self.url),
                ),
            }
            .because(format!("the server answered {status}")),
            _ => {
                let error = GitError::new(
                    GitErrorKind::Refused,
                    format!("the server of {} failed", self.url),
                )
                .because(format!("the server answered {status}"));
                match is_transient_status(status.as_u16()) {
                    true => error.transient_after(retry_after(response.headers())),
                    false => error,
                }
            }
        })
    }

    /// Names the user of a login, unless the name may be a token.
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

    /// Says that no login, or a wrong one, was the reason.
    fn refused(&self, complaint: Option<String>) -> GitError {
        let error = match &self.login {
            Some(login) => GitError::new(
                GitErrorKind::Authentication,
                format!("the server refused {} for {}", self.shown_user(login), self.url),
            )
            .with_hint("check the password or token in the URL, ~/.netrc or git's credential helper"),
            None => GitError::new(
                GitErrorKind::Authentication,
                format!("the server asks for a user and a password for {}", self.url),
            )
            .with_hint("add them to ~/.netrc or to a git credential helper, or check the URL: servers ask for them also where a repository does not exist"),
        };
        match complaint {
            Some(complaint) => error.because(complaint),
            None => error,
        }
    }

    /// Makes the error for a request that got no answer, or lost it halfway.
    pub(in crate::client::git) fn broken(&self, cause: reqwest::Error) -> GitError {
        // The library would print the URL, credentials included.
        let cause = cause.without_url();
        if let Some(certificate) = certificate_error(&cause) {
            return GitError::new(
                GitErrorKind::HostKey,
                format!(
                    "the certificate of {} cannot be trusted for {}",
                    address(&self.current),
                    self.url
                ),
            )
            .because(certificate)
            .with_hint("SSL_CERT_FILE names a file of the CA certificates to trust");
        }
        let http = &self.client.shared.http;
        if cause.is_timeout() && !cause.is_connect() {
            return GitError::timed_out(&self.url, http.timeouts().stall);
        }
        let error = GitError::unreachable(&self.current).because(http.reason(&cause));
        match is_transient(&cause) {
            true => error.transient(),
            false => error,
        }
    }
}

impl Call {
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

/// Finds the reason why a certificate was refused, which the libraries wrap several times.
fn certificate_error(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    // An I/O error's source is that of the error inside it, which would be skipped.
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inside
        .and_then(|inside| certificate_error(inside))
        .or_else(|| error.source().and_then(certificate_error))
}
