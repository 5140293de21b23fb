//! Endpoints of an engine: a Unix socket, TCP, TLS, or ssh to its machine.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection as ConnectionInfo};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::ssh::SshHost;
use super::tls;
use crate::client::engine::{EngineError, EngineSettings};

/// How long an idle connection is kept: a new one over ssh costs a login.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long connecting to a host may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The idle time after which TCP keepalive probes start.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// The time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The number of unanswered probes after which the connection counts as lost.
const KEEPALIVE_PROBES: u32 = 3;

/// A connection to the engine over any transport.
pub trait EngineConnection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> EngineConnection for T {}

/// The endpoint of the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub enum EngineEndpoint {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A host and port.
    Tcp(String),
    /// A host and port with TLS.
    Tls {
        host: String,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    },
    /// A login to the engine's machine.
    Ssh(Arc<SshHost>),
}

impl EngineEndpoint {
    /// Parses the address in the settings.
    pub fn parse(settings: &EngineSettings) -> Result<Self, EngineError> {
        let address = settings.address.as_str();
        let invalid = || EngineError::Address(address.to_owned());
        let (scheme, rest) = address.split_once("://").ok_or_else(invalid)?;
        if rest.is_empty() {
            return Err(invalid());
        }
        match (scheme, &settings.tls) {
            ("unix", _) => Ok(Self::Unix(PathBuf::from(rest))),
            ("ssh", _) => Ok(Self::Ssh(Arc::new(
                SshHost::parse(rest).ok_or_else(invalid)?,
            ))),
            ("tcp" | "http", None) => Ok(Self::Tcp(host_and_port(rest, 2375).ok_or_else(invalid)?)),
            ("tcp" | "http" | "https", files) => {
                let host = host_and_port(rest, 2376).ok_or_else(invalid)?;
                let name = host
                    .rsplit_once(':')
                    .map_or(host.as_str(), |(name, _)| name);
                let name = name.trim_matches(['[', ']']).to_owned();
                Ok(Self::Tls {
                    name: ServerName::try_from(name).map_err(|_| invalid())?,
                    config: Arc::new(tls::configuration(files.as_ref())?),
                    host,
                })
            }
            _ => Err(invalid()),
        }
    }

    /// Opens a connection.
    pub async fn dial(&self) -> io::Result<Box<dyn EngineConnection>> {
        self.dial_within(CONNECT_TIMEOUT).await
    }

    /// Opens a connection, with a limit for each step.
    async fn dial_within(&self, limit: Duration) -> io::Result<Box<dyn EngineConnection>> {
        let tcp = async |host: &str| {
            let stream = tokio::time::timeout(limit, TcpStream::connect(host));
            let stream = stream.await.map_err(|_| io::ErrorKind::TimedOut)??;
            // Keystrokes in a terminal must be sent immediately.
            _ = stream.set_nodelay(true);
            keep_alive(&stream);
            io::Result::Ok(stream)
        };
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(host) => Box::new(tcp(host).await?),
            Self::Tls { host, name, config } => {
                let connector = tokio_rustls::TlsConnector::from(config.clone());
                let stream = connector.connect(name.clone(), tcp(host).await?);
                let stream = tokio::time::timeout(limit, stream);
                Box::new(stream.await.map_err(|_| io::ErrorKind::TimedOut)??)
            }
            Self::Ssh(host) => Box::new(host.connect().await?),
        })
    }

    /// Creates the library's client, which does not connect yet.
    ///
    /// `version` is the API version, if known.
    pub fn open(
        &self,
        seconds: u64,
        version: Option<&ClientVersion>,
    ) -> Result<Docker, bollard::errors::Error> {
        let version = version.unwrap_or(API_DEFAULT_VERSION);
        match self {
            Self::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), seconds, version)
            }
            Self::Tcp(_) | Self::Tls { .. } | Self::Ssh(_) => {
                // Unlike the library's own, this client reuses connections, because opening one is slow.
                let client = Client::builder(TokioExecutor::new())
                    .pool_timer(TokioTimer::new())
                    .pool_idle_timeout(IDLE_TIMEOUT)
                    .build(Connector(self.clone()));
                let transport = move |request: BollardRequest| {
                    let client = client.clone();
                    async move { Ok(client.request(request).await?) }
                };
                let name = Some("http://engine");
                Docker::connect_with_custom_transport(transport, name, seconds, version)
            }
        }
    }

    /// Returns whether the engine is certainly on another machine.
    pub fn is_remote(&self) -> bool {
        let is_loopback = |host: &str| {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            let name = name.trim_matches(['[', ']']);
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        };
        match self {
            Self::Unix(_) => false,
            Self::Tcp(host) | Self::Tls { host, .. } => !is_loopback(host),
            Self::Ssh(_) => true,
        }
    }
}

/// Enables TCP keepalive, to notice a dead peer and to keep firewalls from dropping an idle connection: a script may
/// print nothing for hours.
fn keep_alive(stream: &TcpStream) {
    use rustix::net::sockopt;
    // Not all systems support all of these options.
    _ = sockopt::set_socket_keepalive(stream, true);
    _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES);
}

/// Returns `host:port`, with a default port.
fn host_and_port(text: &str, default: u16) -> Option<String> {
    let host = text.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '@', '?', '#']) {
        return None;
    }
    let after_name = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    match after_name.rsplit_once(':') {
        None => Some(format!("{host}:{default}")),
        Some((_, port)) => port.parse::<u16>().ok().map(|_| host.to_owned()),
    }
}

/// Opens connections for the HTTP library.
#[derive(Clone)]
struct Connector(EngineEndpoint);

impl tower_service::Service<hyper::Uri> for Connector {
    type Response = TokioIo<DialedConnection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Uri) -> Self::Future {
        let endpoint = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(DialedConnection(endpoint.dial().await?))) })
    }
}

/// A connection for the HTTP library.
struct DialedConnection(Box<dyn EngineConnection>);

impl ConnectionInfo for DialedConnection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for DialedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for DialedConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str) -> Result<EngineEndpoint, EngineError> {
        EngineEndpoint::parse(&EngineSettings {
            address: address.to_owned(),
            ..EngineSettings::default()
        })
    }

    #[test]
    fn addresses_are_parsed_like_docker_does() {
        let host = |address: &str| match endpoint(address) {
            Ok(EngineEndpoint::Tcp(host)) => host,
            other => panic!("{address}: {other:?}"),
        };
        assert_eq!(host("tcp://engine"), "engine:2375");
        assert_eq!(host("tcp://engine:4000/"), "engine:4000");
        assert_eq!(host("tcp://[::1]"), "[::1]:2375");
        for invalid in [
            "engine:2375",
            "tcp://",
            "tcp://a:b",
            "tcp://a/b",
            "ftp://a",
            "ssh://",
        ] {
            assert!(
                matches!(endpoint(invalid), Err(EngineError::Address(_))),
                "{invalid}"
            );
        }
    }

    #[tokio::test]
    async fn idle_connections_are_kept_alive() {
        use rustix::net::sockopt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        assert!(!sockopt::socket_keepalive(&stream).unwrap());
        keep_alive(&stream);
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), KEEPALIVE_IDLE);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), KEEPALIVE_PROBES);
    }

    #[tokio::test]
    async fn a_hanging_handshake_times_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = EngineEndpoint::parse(&EngineSettings {
            address: format!("https://{address}"),
            ..EngineSettings::default()
        });
        let endpoint = endpoint.unwrap();
        let connection = endpoint.dial_within(Duration::from_millis(100));
        let error = connection.await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn sockets_and_loopback_addresses_may_be_this_machine() {
        let far = |address: &str| endpoint(address).unwrap().is_remote();
        assert!(!far("unix:///x.sock") && !far("tcp://127.0.0.2:1") && !far("tcp://[::1]:1"));
        assert!(!far("tcp://localhost:1") && far("tcp://engine:1") && far("ssh://localhost"));
    }
}
