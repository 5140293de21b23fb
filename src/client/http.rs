//! The one place that makes HTTP clients.
//!
//! A client that verifies certificates loads the system's bundle when it is made, which takes
//! 60–90 ms. So a process has one client without certificates for plain HTTP, and one with them
//! that is made when the first `https` URL is asked for. `SSL_CERT_FILE` and `SSL_CERT_DIR` are
//! honoured by the library that loads the bundle.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy, Url};
use thiserror::Error;
use tokio::sync::OnceCell;

/// How long to wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may stay silent in the middle of an answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

const MAXIMUM_REDIRECTS: usize = 10;

/// Hosts that are never reached through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that the environment names, as read by the settings.
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

/// A client could not be made: a proxy's URL, a certificate or a key is wrong.
#[derive(Debug, Clone, Error)]
#[error("cannot set up an HTTP client: {what}")]
pub struct HttpClientError {
    what: &'static str,
    #[source]
    cause: Option<Arc<reqwest::Error>>,
}

impl HttpClientError {
    fn new(what: &'static str, cause: reqwest::Error) -> Self {
        // A proxy's URL may hold a password, and the library prints the URL.
        Self {
            what,
            cause: Some(Arc::new(cause.without_url())),
        }
    }
}

/// The HTTP clients of a process; a clone shares them.
#[derive(Clone)]
pub struct Http {
    shared: Arc<Shared>,
}

struct Shared {
    proxies: Vec<Proxy>,
    plain: Client,
    tls: OnceCell<Client>,
}

impl Http {
    /// Makes the client for plain HTTP; that for TLS follows when it is needed.
    ///
    /// # Errors
    ///
    /// A proxy's URL that cannot be read.
    pub fn new(proxies: &Proxies) -> Result<Self, HttpClientError> {
        // Fails only where a provider is installed already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxies = read_proxies(proxies)?;
        let plain = builder(&proxies)
            // An empty list of roots, so that nothing is loaded.
            .tls_certs_only([])
            .build()
            .map_err(|cause| HttpClientError::new("the library refuses its settings", cause))?;
        Ok(Self {
            shared: Arc::new(Shared {
                proxies,
                plain,
                tls: OnceCell::new(),
            }),
        })
    }

    /// Returns the client for `http` URLs, which trusts no certificate at all.
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
            let proxies = self.shared.proxies.clone();
            blocking(move || {
                builder(&proxies).build().map_err(|cause| {
                    HttpClientError::new("the system's CA certificates cannot be loaded", cause)
                })
            })
            .await
        };
        self.shared.tls.get_or_try_init(make).await
    }

    /// Returns the client for a URL's scheme.
    ///
    /// # Errors
    ///
    /// As for [`Http::tls`].
    pub async fn for_url(&self, url: &Url) -> Result<&Client, HttpClientError> {
        if url.scheme() == "https" {
            self.tls().await
        } else {
            Ok(self.plain())
        }
    }

    /// Makes a client that trusts more certificates than the system's, and may name itself by one:
    /// what a registry's `certs.d` folder asks for.
    ///
    /// `roots` holds PEM bundles, `identity` a PEM certificate chain and its key.
    ///
    /// # Errors
    ///
    /// A certificate or key that cannot be read.
    pub async fn with_certificates(
        &self,
        roots: Vec<Vec<u8>>,
        identity: Option<Vec<u8>>,
    ) -> Result<Client, HttpClientError> {
        let mut certificates = Vec::new();
        for bundle in roots {
            let bundle = Certificate::from_pem_bundle(&bundle)
                .map_err(|cause| HttpClientError::new("a CA certificate cannot be read", cause))?;
            certificates.extend(bundle);
        }
        let mut builder = builder(&self.shared.proxies).tls_certs_merge(certificates);
        if let Some(pem) = identity {
            let identity = Identity::from_pem(&pem).map_err(|cause| {
                HttpClientError::new("the client certificate or its key cannot be read", cause)
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

/// Tells whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn blocking<T, F>(make: F) -> Result<T, HttpClientError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, HttpClientError> + Send + 'static,
{
    tokio::task::spawn_blocking(make)
        .await
        .unwrap_or(Err(HttpClientError {
            what: "it was interrupted",
            cause: None,
        }))
}

fn builder(proxies: &[Proxy]) -> ClientBuilder {
    let mut builder = Client::builder()
        .user_agent(concat!("xp/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(Policy::custom(redirect))
        // The environment is read by the settings, and loopback is never proxied.
        .no_proxy();
    for proxy in proxies {
        builder = builder.proxy(proxy.clone());
    }
    builder
}

/// Follows redirections, except those that change what was asked.
///
/// The library turns a redirected `POST` into a `GET`, which would be another request to another
/// service; git's own URLs are followed by the git client, which must learn the new address. Credentials
/// are dropped by the library when the host or port changes.
fn redirect(attempt: Attempt<'_>) -> Action {
    let from_git = attempt.previous().last().is_some_and(|from| {
        from.path().ends_with("/git-upload-pack") || from.path().ends_with("/info/refs")
    });
    if from_git {
        attempt.stop()
    } else if attempt.previous().len() > MAXIMUM_REDIRECTS {
        attempt.error("too many redirections")
    } else {
        attempt.follow()
    }
}

fn read_proxies(proxies: &Proxies) -> Result<Vec<Proxy>, HttpClientError> {
    let exceptions = match &proxies.none {
        Some(hosts) => format!("{hosts},{LOOPBACK}"),
        None => LOOPBACK.to_owned(),
    };
    let wrong = |cause| HttpClientError::new("the URL of a proxy cannot be read", cause);
    let mut read = Vec::new();
    // The first proxy that matches a URL is taken, so the general one comes last.
    for (proxy, make) in [
        (
            &proxies.http,
            Proxy::http as fn(String) -> reqwest::Result<Proxy>,
        ),
        (&proxies.https, Proxy::https as fn(String) -> _),
        (&proxies.all, Proxy::all as fn(String) -> _),
    ] {
        if let Some(url) = proxy.as_ref().filter(|url| !url.trim().is_empty()) {
            // As curl does, `proxy.example.com:3128` is taken for a plain HTTP proxy.
            let url = if url.contains("://") {
                url.clone()
            } else {
                format!("http://{url}")
            };
            read.push(
                make(url)
                    .map_err(wrong)?
                    .no_proxy(NoProxy::from_string(&exceptions)),
            );
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "10.0.0.1", "localhost.example.com", "::2"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn proxies_are_read_in_the_order_of_their_precision() {
        let proxies = Proxies {
            all: Some("proxy.example.com:3128".to_owned()),
            http: Some("http://bob:secret@proxy.example.com:8080".to_owned()),
            https: Some(String::new()),
            none: Some("internal.example.com".to_owned()),
        };
        assert_eq!(read_proxies(&proxies).unwrap().len(), 2);
        assert!(Http::new(&proxies).is_ok());
    }

    #[tokio::test]
    async fn a_wrong_certificate_is_an_error_without_a_url() {
        let http = Http::new(&Proxies::default()).unwrap();
        let wrong = http
            .with_certificates(vec![], Some(b"nothing".to_vec()))
            .await
            .unwrap_err();
        assert!(wrong.to_string().contains("client certificate"), "{wrong}");
    }
}
