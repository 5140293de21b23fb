//! Access tokens from token servers, each for one repository and kind of access.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Url};
use tokio::sync::OnceCell;

use super::auth::token_of;
use super::credentials::Credentials;
use super::error::{RegistryError, message_of, shown};
use super::host::RegistryHost;
use super::resource::Access;
use super::send::ExpectedBody;
use crate::model::image::ImageRepository;

/// Tokens by repository path, access and the path of a second repository, each fetched once.
pub(super) type Tokens = Mutex<HashMap<(String, Access, Option<String>), Arc<OnceCell<String>>>>;

/// What a token permits.
#[derive(Clone, Copy)]
pub(super) struct TokenScope<'a> {
    /// The path of the repository.
    pub path: &'a str,
    pub access: Access,
    /// The path of another repository that may be read.
    pub mounted_from: Option<&'a str>,
}

impl TokenScope<'_> {
    fn key(self) -> (String, Access, Option<String>) {
        let from = self.mounted_from.map(str::to_owned);
        (self.path.to_owned(), self.access, from)
    }

    /// Returns the scopes to request.
    fn scopes(self) -> Vec<String> {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        let own = format!("repository:{}:{actions}", self.path);
        let from = self
            .mounted_from
            .map(|from| format!("repository:{from}:pull"));
        std::iter::once(own).chain(from).collect()
    }
}

impl RegistryHost {
    /// Returns the token for a repository; concurrent callers share one fetch.
    pub(super) async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: TokenScope<'_>,
    ) -> Result<String, RegistryError> {
        let cell = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.entry(scope.key()).or_default().clone()
        };
        cell.get_or_try_init(|| self.fetch_token(realm, service, scope))
            .await
            .cloned()
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: TokenScope<'_>,
    ) -> Result<String, RegistryError> {
        let scopes = scope.scopes();
        let failed = |server: &str, what: String| RegistryError::TokenServer {
            registry: self.registry.clone(),
            server: server.to_owned(),
            what,
        };
        let mut url: Url = realm
            .parse()
            .map_err(|_| failed(&shown(realm), "is not a valid URL".to_owned()))?;
        let server = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let joined = scopes.join(" ");
        let mut form: Vec<(&str, &str)> = Vec::new();
        form.extend(service.map(|service| ("service", service)));
        let client = self.token_client(&url).await?;
        let request: Box<dyn Fn() -> RequestBuilder + Send + Sync> = match &self.credentials {
            Some(Credentials::IdentityToken(token)) => {
                form.extend([
                    ("scope", joined.as_str()),
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
                form.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
                url.query_pairs_mut().extend_pairs(form);
                Box::new(move || match credentials {
                    Some(Credentials::Password { user, password }) => {
                        client.get(url.clone()).basic_auth(user, Some(password))
                    }
                    _ => client.get(url.clone()),
                })
            }
        };
        let exchange = self.exchange(&server, "request for a token", ExpectedBody::Any, request);
        let response = exchange.await.map_err(|error| match error {
            RegistryError::Unreachable { reason, .. } => {
                failed(&server, format!("did not respond: {reason}"))
            }
            error => error,
        })?;
        let (status, text) = (response.status, response.text());
        let detail = match message_of(&text) {
            message if message.is_empty() => String::new(),
            message => format!(": {message}"),
        };
        match token_of(&text) {
            Some(token) if status.is_success() => Ok(token),
            _ if status.is_success() => Err(failed(&server, "returned no token".to_owned())),
            _ if matches!(status.as_u16(), 400 | 401 | 403) => Err(RegistryError::Unauthorized {
                registry: self.registry.clone(),
                who: self.who(),
                message: format!("its token server {server} returned {status}{detail}"),
            }),
            _ => Err(failed(&server, format!("returned {status}{detail}"))),
        }
    }

    /// Forgets a rejected token, which may have expired.
    pub(super) fn forget_token(&self, scope: TokenScope<'_>) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.remove(&scope.key());
    }

    /// Forgets all tokens for a repository; returns whether there were any.
    pub(super) fn forget_tokens(&self, repository: &ImageRepository) -> bool {
        let path = self.repository(repository);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tokens.len();
        tokens.retain(|(of, _, _), _| *of != path);
        tokens.len() < before
    }

    /// Returns the client for the token server, which may use a different scheme.
    async fn token_client(&self, url: &Url) -> Result<Client, RegistryError> {
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
}
