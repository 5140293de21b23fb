//! Minimal HTTP over TLS: sequential requests, and responses with a length or in chunks.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use reqwest::Url;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A received request.
pub struct Incoming {
    pub method: String,
    /// With the query, as sent.
    pub target: String,
    /// Without the query.
    pub path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Incoming {
    /// Returns a header by its lowercase name; empty if missing.
    pub fn header(&self, name: &str) -> &str {
        find(&self.headers, name)
    }

    /// Returns a query parameter; empty if missing.
    pub fn parameter(&self, name: &str) -> &str {
        find(&self.query, name)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

/// A client's connection.
pub struct Connection {
    stream: BufReader<StreamOwned<ServerConnection, TcpStream>>,
}

impl Connection {
    /// Starts TLS on a connection.
    pub fn new(tls: Arc<ServerConfig>, tcp: TcpStream) -> Option<Self> {
        tcp.set_nodelay(true).ok()?;
        let session = ServerConnection::new(tls).ok()?;
        let stream = BufReader::new(StreamOwned::new(session, tcp));
        Some(Self { stream })
    }

    /// Reads a request; `None` if the client has disconnected.
    pub fn read(&mut self) -> io::Result<Option<Incoming>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.stream.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, target) = (word(), word());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = if find(&headers, "transfer-encoding") == "chunked" {
            self.read_chunks()?
        } else {
            let length = find(&headers, "content-length").parse().unwrap_or(0);
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            body
        };

        let url = Url::parse(&format!("https://server{target}")).map_err(io::Error::other)?;
        Ok(Some(Incoming {
            method,
            path: url.path().to_owned(),
            query: url.query_pairs().into_owned().collect(),
            target,
            headers,
            body,
        }))
    }

    /// Reads a body of unknown length, such as that of `kubectl create --raw`.
    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            // With its line end.
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Writes a response.
    pub fn respond(&mut self, code: u16, media_type: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        let reason = if code < 400 { "OK" } else { "Refused" };
        let head = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.write(head + body)
    }

    /// Starts a chunked response.
    pub fn begin_chunks(&mut self, media_type: &str) -> io::Result<()> {
        self.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
    }

    /// Writes a chunk; an empty one ends the response.
    pub fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let head = format!("{:x}\r\n", bytes.len());
        self.write([head.as_bytes(), bytes, b"\r\n"].concat())
    }

    /// Returns whether the client has disconnected or sent unexpected data.
    pub fn is_over(&mut self) -> bool {
        let tcp = self.stream.get_ref().get_ref();
        let _ = tcp.set_nonblocking(true);
        let seen = tcp.peek(&mut [0]);
        let _ = tcp.set_nonblocking(false);
        !matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Resets the connection, like a crashing server.
    pub fn reset(self) {
        let tcp = self.stream.get_ref().get_ref();
        let _ = rustix::net::sockopt::set_socket_linger(tcp, Some(std::time::Duration::ZERO));
    }

    fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }
}
