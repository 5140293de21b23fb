//! The ways to an engine: a socket, TCP, TLS, or ssh to its machine.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection as Described};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::ssh::SshHost;
use super::{EngineError, EngineSettings, tls};

/// How long a connection that nothing is asked on is kept: one by ssh takes a login.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take until a host is reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// When the system begins to ask whether the other end of a silent connection is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// How long it waits for each answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How often it asks before the connection counts as broken.
const KEEPALIVE_PROBES: u32 = 3;

/// A connection to the engine, whatever carries it.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A way to the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A host and port.
    Tcp(String),
    /// A host and port, encrypted.
    Tls {
        host: String,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    },
    /// A login on the engine's machine.
    Ssh(Arc<SshHost>),
}

impl Way {
    /// Reads where the engine is.
    pub(super) fn of(settings: &EngineSettings) -> Result<Self, EngineError> {
        let address = settings.address.as_str();
        let wrong = || EngineError::Address(address.to_owned());
        let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
        if rest.is_empty() {
            return Err(wrong());
        }
        match (scheme, &settings.tls) {
            ("unix", _) => Ok(Self::Unix(PathBuf::from(rest))),
            ("ssh", _) => Ok(Self::Ssh(Arc::new(SshHost::parse(rest).ok_or_else(wrong)?))),
            ("tcp" | "http", None) => Ok(Self::Tcp(host_and_port(rest, 2375).ok_or_else(wrong)?)),
            ("tcp" | "http" | "https", files) => {
                let host = host_and_port(rest, 2376).ok_or_else(wrong)?;
                let name = host
                    .rsplit_once(':')
                    .map_or(host.as_str(), |(name, _)| name);
                let name = name.trim_matches(['[', ']']).to_owned();
                Ok(Self::Tls {
                    name: ServerName::try_from(name).map_err(|_| wrong())?,
                    config: Arc::new(tls::configuration(files.as_ref())?),
                    host,
                })
            }
            _ => Err(wrong()),
        }
    }

    /// Opens a connection.
    pub(super) async fn dial(&self) -> io::Result<Box<dyn Connection>> {
        self.dial_within(CONNECT_TIMEOUT).await
    }

    /// Opens a connection, of which no step takes longer.
    async fn dial_within(&self, longest: Duration) -> io::Result<Box<dyn Connection>> {
        let tcp = async |host: &str| {
            let limit = tokio::time::timeout(longest, TcpStream::connect(host));
            let stream = limit.await.map_err(|_| io::ErrorKind::TimedOut)??;
            // Each key that is typed is to arrive at once.
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
                let limit = tokio::time::timeout(longest, stream);
                Box::new(limit.await.map_err(|_| io::ErrorKind::TimedOut)??)
            }
            Self::Ssh(host) => Box::new(host.connect().await?),
        })
    }

    /// Returns the client library's connection, which opens none yet.
    ///
    /// `version` is that of the API, where it is known already.
    pub(super) fn open(
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
                // Unlike those of the library it keeps connections, as opening one takes a while.
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

    /// Tells whether the engine is on another machine for sure.
    pub(super) fn is_another_machine(&self) -> bool {
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

/// Has the system notice that nobody is at the other end any more: a script may say nothing for hours, and
/// a firewall forgets a connection that nothing is sent on.
fn keep_alive(stream: &TcpStream) {
    use rustix::net::sockopt;
    // What a system does not know of these, it does without.
    _ = sockopt::set_socket_keepalive(stream, true);
    _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES);
}

/// Returns `host:port`, with the port that engines usually have where there is none.
fn host_and_port(text: &str, usual: u16) -> Option<String> {
    let host = text.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '@', '?', '#']) {
        return None;
    }
    let after_name = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    match after_name.rsplit_once(':') {
        None => Some(format!("{host}:{usual}")),
        Some((_, port)) => port.parse::<u16>().ok().map(|_| host.to_owned()),
    }
}

/// Opens connections for the HTTP library.
#[derive(Clone)]
struct Connector(Way);

impl tower_service::Service<hyper::Uri> for Connector {
    type Response = TokioIo<Dialled>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Uri) -> Self::Future {
        let way = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(Dialled(way.dial().await?))) })
    }
}

/// A connection as the HTTP library takes it.
struct Dialled(Box<dyn Connection>);

impl Described for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Dialled {
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

    fn way(address: &str) -> Result<Way, EngineError> {
        Way::of(&EngineSettings {
            address: address.to_owned(),
            ..EngineSettings::default()
        })
    }

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        let host = |address: &str| match way(address) {
            Ok(Way::Tcp(host)) => host,
            other => panic!("{address}: {other:?}"),
        };
        assert_eq!(host("tcp://engine"), "engine:2375");
        assert_eq!(host("tcp://engine:4000/"), "engine:4000");
        assert_eq!(host("tcp://[::1]"), "[::1]:2375");
        for wrong in [
            "engine:2375",
            "tcp://",
            "tcp://a:b",
            "tcp://a/b",
            "ftp://a",
            "ssh://",
        ] {
            assert!(
                matches!(way(wrong), Err(EngineError::Address(_))),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn silent_connections_are_kept_alive() {
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
    async fn a_handshake_that_nobody_answers_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let way = Way::of(&EngineSettings {
            address: format!("https://{address}"),
            ..EngineSettings::default()
        });
        let way = way.unwrap();
        let dialled = way.dial_within(Duration::from_millis(100));
        let error = dialled.await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_socket_and_the_loopback_may_be_this_machine() {
        let far = |address: &str| way(address).unwrap().is_another_machine();
        assert!(!far("unix:///x.sock") && !far("tcp://127.0.0.2:1") && !far("tcp://[::1]:1"));
        assert!(!far("tcp://localhost:1") && far("tcp://engine:1") && far("ssh://localhost"));
    }
}
