//! Creates the HTTP clients.
//!
//! A client that verifies certificates loads the system's bundle when it is created, which takes 60–90 ms. A process
//! therefore has one client without certificates for plain HTTP, and one with certificates that is created for the
//! first `https` URL. The library that loads the bundle honors `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, LOCATION};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{
    Certificate, Client, ClientBuilder, Identity, Method, NoProxy, Proxy, RequestBuilder, Response,
    Url,
};
use thiserror::Error;
use tokio::sync::OnceCell;

use super::retry::Retries;
use super::timeouts::Timeouts;
use crate::base::error::{Diagnostic, Exit, innermost};
use crate::base::units;

const MAXIMUM_REDIRECTS: usize = 10;

/// Hosts that are never reached through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that are set in the environment, as read by the settings.
#[derive(Clone, Default)]
pub struct Proxies {
    /// `http_proxy` (lower case only: the upper case one can be set by a CGI request).
    pub http: Option<String>,
    /// `https_proxy` or `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `all_proxy` or `ALL_PROXY`.
    pub all: Option<String>,
    /// `no_proxy` or `NO_PROXY`: hosts, domains and networks, separated by commas.
    pub none: Option<String>,
}

/// A client could not be created: a proxy URL, a certificate or a key is invalid.
#[derive(Debug, Clone, Error)]
#[error("cannot set up HTTP: {what}")]
pub struct HttpClientError {
    what: &'static str,
    #[source]
    cause: Option<RootCause>,
}

/// The innermost cause of an error; the outer ones are only the layers of the library.
#[derive(Debug, Clone, Error)]
#[error("{0}")]
struct RootCause(String);

impl Diagnostic for HttpClientError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        if self.what.contains("_proxy") {
            vec!["set it to http://host:port, or unset the variable".to_owned()]
        } else {
            Vec::new()
        }
    }
}

impl HttpClientError {
    fn new(what: &'static str, cause: reqwest::Error) -> Self {
        // A proxy URL may contain a password, and the library prints the URL.
        let cause = cause.without_url();
        let cause = Some(RootCause(innermost(&cause).to_string()));
        Self { what, cause }
    }
}

/// The HTTP clients of a process; a clone shares them.
#[derive(Clone)]
pub struct Http {
    shared: Arc<HttpState>,
}

struct HttpState {
    proxies: Vec<Proxy>,
    timeouts: Timeouts,
    retries: Retries,
    plain: Client,
    tls: OnceCell<Client>,
    unverified: OnceCell<Client>,
}

impl Http {
    /// Creates the client for plain HTTP. The one for TLS is created on first use.
    ///
    /// # Errors
    ///
    /// A proxy URL is invalid.
    pub fn new(
        proxies: &Proxies,
        timeouts: Timeouts,
        retries: Retries,
    ) -> Result<Self, HttpClientError> {
        // Fails only if a provider is already installed, which works just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self::with_proxies(read_proxies(proxies)?, timeouts, retries)
    }

    fn with_proxies(
        proxies: Vec<Proxy>,
        timeouts: Timeouts,
        retries: Retries,
    ) -> Result<Self, HttpClientError> {
        let plain = builder(&proxies, &timeouts)
            // With an empty list of roots, no certificates are loaded: [`Http::send`] follows redirects to TLS.
            .tls_certs_only([])
            .redirect(Policy::custom(redirect_without_tls))
            .build()
            .map_err(|cause| {
                HttpClientError::new("the HTTP library rejected its configuration", cause)
            })?;
        Ok(Self {
            shared: Arc::new(HttpState {
                proxies,
                timeouts,
                retries,
                plain,
                tls: OnceCell::new(),
                unverified: OnceCell::new(),
            }),
        })
    }

    /// Returns a client that never retries.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        use super::retry::Policy;
        let once = Policy {
            attempts: 1,
            ..Policy::REQUEST
        };
        let (proxies, timeouts) = (Proxies::default(), Timeouts::default());
        Self::new(&proxies, timeouts, Retries::silent(once)).unwrap()
    }

    /// Returns clients without a limit for the time until the response: the library counts it from the start of a
    /// request, so it would end a large upload. The caller watches the progress.
    ///
    /// # Errors
    ///
    /// The library rejects its settings.
    pub fn for_uploads(&self) -> Result<Self, HttpClientError> {
        let timeouts = Timeouts {
            stall: Duration::from_secs(24 * 60 * 60),
            ..self.shared.timeouts
        };
        Self::with_proxies(
            self.shared.proxies.clone(),
            timeouts,
            self.shared.retries.clone(),
        )
    }

    /// Returns the retries that all requests share.
    pub fn retries(&self) -> &Retries {
        &self.shared.retries
    }

    /// Returns the timeouts of the requests.
    pub fn timeouts(&self) -> Timeouts {
        self.shared.timeouts
    }

    /// Returns in a few words why a request got no complete response, without its URL.
    pub fn reason(&self, error: &reqwest::Error) -> String {
        let timeouts = self.timeouts();
        if error.is_timeout() && error.is_connect() {
            let limit = units::limit(timeouts.connect);
            return format!("the connection timed out after {limit}");
        }
        if error.is_timeout() {
            return format!("no data received for {}", units::limit(timeouts.stall));
        }
        let cause = innermost(error);
        match cause.downcast_ref::<reqwest::Error>() {
            Some(_) => "no reason given".to_owned(),
            None => cause.to_string(),
        }
    }

    /// Returns the client for `http` URLs, which trusts no certificates.
    pub fn plain(&self) -> &Client {
        &self.shared.plain
    }

    /// Returns the client for `https` URLs; the first call loads the system's certificates.
    ///
    /// # Errors
    ///
    /// The system's certificates cannot be loaded.
    pub async fn tls(&self) -> Result<&Client, HttpClientError> {
        let make = || async {
            let builder = builder(&self.shared.proxies, &self.shared.timeouts);
            blocking(move || {
                builder.build().map_err(|cause| {
                    HttpClientError::new("the system's CA certificates cannot be loaded", cause)
                })
            })
            .await
        };
        self.shared.tls.get_or_try_init(make).await
    }

    /// Returns the client for `https` URLs that does not verify certificates: only for registries that the engine
    /// lists as insecure.
    ///
    /// # Errors
    ///
    /// The library rejects its settings.
    pub async fn unverified(&self) -> Result<&Client, HttpClientError> {
        let make = || async {
            let builder = builder(&self.shared.proxies, &self.shared.timeouts)
                .tls_certs_only([])
                .tls_danger_accept_invalid_certs(true);
            let failed =
                |cause| HttpClientError::new("the HTTP library rejected its configuration", cause);
            builder.build().map_err(failed)
        };
        self.shared.unverified.get_or_try_init(make).await
    }

    /// Sends a request. A redirect from plain HTTP to TLS, such as that of a registry to its storage, is followed with
    /// the system's certificates and without credentials.
    ///
    /// # Errors
    ///
    /// There is no complete response.
    pub async fn send(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let (client, request) = request.build_split();
        let request = request?;
        let (method, mut headers) = (request.method().clone(), request.headers().clone());
        let response = client.execute(request).await?;
        let is_read = matches!(method, Method::GET | Method::HEAD);
        let Some(target) = tls_target(&response).filter(|_| is_read) else {
            return Ok(response);
        };
        let Ok(client) = self.tls().await else {
            return Ok(response);
        };
        headers.remove(AUTHORIZATION);
        client.request(method, target).headers(headers).send().await
    }

    /// Returns the client for a URL's scheme.
    ///
    /// # Errors
    ///
    /// See [`Http::tls`].
    pub async fn for_url(&self, url: &Url) -> Result<&Client, HttpClientError> {
        if url.scheme() == "https" {
            self.tls().await
        } else {
            Ok(self.plain())
        }
    }

    /// Creates a client that trusts further certificates besides the system's, and may have a client certificate, as
    /// configured in a registry's `certs.d` folder.
    ///
    /// `roots` are PEM bundles, `identity` is a PEM certificate chain with its key.
    ///
    /// # Errors
    ///
    /// A certificate or key is invalid.
    pub async fn with_certificates(
        &self,
        roots: Vec<Vec<u8>>,
        identity: Option<Vec<u8>>,
    ) -> Result<Client, HttpClientError> {
        let mut certificates = Vec::new();
        for bundle in roots {
            let bundle = Certificate::from_pem_bundle(&bundle)
                .map_err(|cause| HttpClientError::new("invalid CA certificate", cause))?;
            certificates.extend(bundle);
        }
        let mut builder =
            builder(&self.shared.proxies, &self.shared.timeouts).tls_certs_merge(certificates);
        if let Some(pem) = identity {
            let identity = Identity::from_pem(&pem).map_err(|cause| {
                HttpClientError::new("invalid client certificate or key", cause)
            })?;
            builder = builder.identity(identity);
        }
        blocking(move || {
            builder
                .build()
                .map_err(|cause| HttpClientError::new("the certificates cannot be used", cause))
        })
        .await
    }
}

async fn blocking<T, F>(make: F) -> Result<T, HttpClientError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, HttpClientError> + Send + 'static,
{
    tokio::task::spawn_blocking(make)
        .await
        .unwrap_or(Err(HttpClientError {
            what: "interrupted",
            cause: None,
        }))
}

fn builder(proxies: &[Proxy], timeouts: &Timeouts) -> ClientBuilder {
    let mut builder = Client::builder()
        .user_agent(concat!("xp/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.stall)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(Policy::custom(redirect))
        // The settings already contain the environment's proxies. Loopback is never proxied.
        .no_proxy();
    for proxy in proxies {
        builder = builder.proxy(proxy.clone());
    }
    builder
}

/// Follows redirects, except those of git's own URLs: the git client follows these itself, because it must learn
/// the new address and the library would turn a redirected `POST` into a `GET`. The library drops credentials when
/// the host or port changes.
fn redirect(attempt: Attempt<'_>) -> Action {
    let from_git = attempt.previous().last().is_some_and(|from| {
        from.path().ends_with("/git-upload-pack") || from.path().ends_with("/info/refs")
    });
    if from_git {
        attempt.stop()
    } else if attempt.previous().len() > MAXIMUM_REDIRECTS {
        attempt.error("too many redirects")
    } else {
        attempt.follow()
    }
}

/// Follows redirects, except those to TLS.
fn redirect_without_tls(attempt: Attempt<'_>) -> Action {
    if attempt.url().scheme() == "https" {
        attempt.stop()
    } else {
        redirect(attempt)
    }
}

/// Returns where a response redirects to, if that is TLS and the response did not use it.
fn tls_target(response: &Response) -> Option<Url> {
    if !response.status().is_redirection() || response.url().scheme() != "http" {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let target = response.url().join(location).ok()?;
    (target.scheme() == "https").then_some(target)
}

fn read_proxies(proxies: &Proxies) -> Result<Vec<Proxy>, HttpClientError> {
    let exceptions = match &proxies.none {
        Some(hosts) => format!("{hosts},{LOOPBACK}"),
        None => LOOPBACK.to_owned(),
    };
    let mut read = Vec::new();
    // The first proxy that matches a URL wins, so the general one comes last.
    type Make = fn(String) -> reqwest::Result<Proxy>;
    let kinds: [(&Option<String>, Make, &'static str); 3] = [
        (&proxies.http, Proxy::http, "invalid URL in http_proxy"),
        (&proxies.https, Proxy::https, "invalid URL in https_proxy"),
        (&proxies.all, Proxy::all, "invalid URL in all_proxy"),
    ];
    for (proxy, make, invalid) in kinds {
        if let Some(url) = proxy.as_ref().filter(|url| !url.trim().is_empty()) {
            // Like curl, treat `proxy.example.com:3128` as a plain HTTP proxy.
            let url = if url.contains("://") {
                url.clone()
            } else {
                format!("http://{url}")
            };
            let proxy = make(url).map_err(|cause| HttpClientError::new(invalid, cause))?;
            read.push(proxy.no_proxy(NoProxy::from_string(&exceptions)));
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::retry::Policy;

    fn with(proxies: &Proxies) -> Result<Http, HttpClientError> {
        let retries = Retries::silent(Policy::REQUEST);
        Http::new(proxies, Timeouts::default(), retries)
    }

    #[test]
    fn only_redirects_to_tls_are_followed_with_certificates() {
        let target = |status: u16, location: &str| {
            let response = hyper::Response::builder().status(status);
            let response = response.header("location", location).body("").unwrap();
            tls_target(&Response::from(response)).map(|url| url.to_string())
        };
        let storage = "https://storage.example.com/blob?signature=x";
        assert_eq!(target(307, storage).as_deref(), Some(storage));
        assert_eq!(target(307, "http://storage.example.com/blob"), None);
        assert_eq!(target(307, "/blob"), None);
        assert_eq!(target(200, storage), None);
    }

    #[test]
    fn an_invalid_proxy_is_reported_without_its_password() {
        let proxies = Proxies {
            https: Some("http://bob:s3cret@bad host".to_owned()),
            ..Proxies::default()
        };
        let wrong = with(&proxies).err().unwrap();
        let message = crate::base::error::chain(&wrong);
        assert!(message.contains("https_proxy"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }

    #[tokio::test]
    async fn the_proxy_of_a_scheme_is_preferred_to_the_general_one() {
        let [of_scheme, general] =
            [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let url =
            |proxy: &std::net::TcpListener| Some(format!("http://{}", proxy.local_addr().unwrap()));
        let proxies = Proxies {
            http: url(&of_scheme),
            all: url(&general),
            none: Some("direct.example.com".to_owned()),
            ..Proxies::default()
        };
        let http = with(&proxies).unwrap();
        let request = http.plain().get("http://far.example.com/").send();
        let response = tokio::task::spawn_blocking(move || {
            use std::io::{Read as _, Write as _};
            let (mut connection, _) = of_scheme.accept().unwrap();
            let mut start = [0; 27];
            connection.read_exact(&mut start).unwrap();
            connection
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .unwrap();
            start
        });
        assert_eq!(request.await.unwrap().status(), 204);
        assert_eq!(&response.await.unwrap(), b"GET http://far.example.com/");
        // A direct connection fails here, because no proxy resolves the name.
        assert!(
            http.plain()
                .get("http://direct.example.com/")
                .send()
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn an_invalid_certificate_is_an_error_without_a_url() {
        let http = Http::for_tests();
        let wrong = http
            .with_certificates(vec![], Some(b"nothing".to_vec()))
            .await
            .unwrap_err();
        assert!(wrong.to_string().contains("client certificate"), "{wrong}");
    }
}
