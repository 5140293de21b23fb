//! A relay that adds latency between a client and a server, limits what the client sends, and counts traffic.
//!
//! The kernel of many machines has no `netem`. Here each direction is delayed by half a round trip, and
//! the first data of a client by one more, the time it takes to connect.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Traffic of a relay since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Number of connections.
    pub connections: u64,
    /// Bytes in both directions.
    pub bytes: u64,
}

/// A relay on its own port.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    round_trip_micros: AtomicU64,
    /// Bytes per second from all clients together; 0 for no limit.
    upload_rate: AtomicU64,
    /// When the bytes sent so far are through.
    upload_end: Mutex<Option<Instant>>,
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Relay {
    /// Starts a relay to a local port, initially without delay.
    pub fn start(runtime: &Handle, server: u16) -> Self {
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(client, server, Arc::clone(&accepting)));
            }
        });
        Self { port, shared }
    }

    /// Returns the port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the round-trip time.
    pub fn set_round_trip(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).expect("a short time");
        self.shared
            .round_trip_micros
            .store(micros, Ordering::Relaxed);
    }

    /// Limits what clients send, in bytes per second; `None` for no limit.
    pub fn set_upload_rate(&self, rate: Option<u64>) {
        self.shared
            .upload_rate
            .store(rate.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns the traffic since the start.
    pub fn passed(&self) -> Passed {
        Passed {
            connections: self.shared.connections.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip_micros.load(Ordering::Relaxed))
    }

    /// Returns when that many bytes of a client are through.
    fn uploaded(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let rate = self.upload_rate.load(Ordering::Relaxed);
        if rate == 0 {
            return now;
        }
        #[expect(clippy::cast_precision_loss, reason = "a time for people")]
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut end = self.upload_end.lock().expect("not poisoned");
        let through = end.map_or(now, |end| end.max(now)) + takes;
        *end = Some(through);
        through
    }
}

async fn relay(client: TcpStream, server: u16, shared: Arc<Shared>) {
    let connected = Instant::now() + shared.round_trip();
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await else {
        return;
    };
    // Disable Nagle's algorithm, which delays small packets.
    _ = client.set_nodelay(true);
    _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = hold_up(from_client, to_server, connected, Arc::clone(&shared), true);
    let back = hold_up(from_server, to_client, connected, shared, false);
    tokio::join!(there, back);
}

/// Forwards data and EOF, delayed by half a round trip, and by the limit of uploads.
async fn hold_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    earliest: Instant,
    shared: Arc<Shared>,
    is_upload: bool,
) {
    // Enough chunks to fill a long and fast line. Bounded, because a reader that stops must block the writer.
    let (sender, mut held) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            shared.bytes.fetch_add(length as u64, Ordering::Relaxed);
            let mut due = Instant::now().max(earliest) + shared.round_trip() / 2;
            if is_upload {
                let through = shared.uploaded(length);
                // Like a full line, so that the client notices.
                sleep_until(through).await;
                due = due.max(through);
            }
            if sender.send((due, buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = held.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
