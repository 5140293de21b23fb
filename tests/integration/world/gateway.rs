//! A scripted reverse proxy that records requests and simulates failures of a registry.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::access_log::Request;

/// A received request.
pub struct Incoming {
    pub method: String,
    /// With the query.
    pub path: String,
    headers: Vec<(String, String)>,
    /// The body as text; empty if it is large or has no Content-Length.
    pub body: String,
}

impl Incoming {
    /// Returns a header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns whether it comes from the engine rather than `xp`.
    pub fn is_of_engine(&self) -> bool {
        // Engines use various user agents: docker, containerd, buildkit, Go-http-client.
        let agent = self.header("user-agent");
        !agent.is_some_and(|agent| agent.starts_with("xp/"))
    }

    /// Returns whether it gets or puts an image manifest.
    pub fn is_about_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// The script's reply to a request.
pub enum Reply {
    /// Forward to the upstream server.
    Forward,
    /// Respond with a status, headers and a body.
    Response(u16, Vec<(&'static str, String)>, String),
    /// Simulate a connection fault.
    Broken(Fault),
}

/// A connection fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reset before the response.
    Reset,
    /// Close in the middle of the response.
    Truncated,
    /// Never respond; keep the connection open.
    Silent,
    /// Like `Silent`, and do not read a large body either.
    Unread,
    /// Stall in the middle of the response; keep the connection open.
    Stalled,
    /// Change one byte of the response: the second to last of the body.
    Changed,
    /// Respond in small chunks.
    Slow,
}

impl Reply {
    /// A response with only a status.
    pub fn status(status: u16) -> Self {
        Self::Response(status, Vec::new(), String::new())
    }

    /// A registry error.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        // Without a detail the engine does not recognize the error, and retries.
        let error =
            format!(r#"{{"code":"{code}","message":"{message}","detail":{{"is":"scripted"}}}}"#);
        let body = format!(r#"{{"errors":[{error}]}}"#);
        Self::json(status, &body)
    }

    /// A JSON response.
    pub fn json(status: u16, body: &str) -> Self {
        let media_type = vec![("Content-Type", "application/json".to_owned())];
        Self::Response(status, media_type, body.to_owned())
    }
}

/// Maximum size of a body passed to the script.
const MAX_SCRIPT_BODY: u64 = 64 * 1024;

/// First byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

type Script = dyn Fn(&Incoming) -> Reply + Send + Sync;

/// An HTTP server on its own port; stopped on drop.
pub struct Gateway {
    host: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Mutex<Option<String>>,
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

impl Gateway {
    /// Starts a proxy in front of `upstream`, a host with a port.
    pub fn before(
        upstream: &str,
        script: impl Fn(&Incoming) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(upstream.to_owned()), Box::new(script))
    }

    /// Starts a server without upstream.
    pub fn alone(script: impl Fn(&Incoming) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Box::new(script))
    }

    /// Like [`Gateway::before`], on a given free port.
    pub fn at(
        port: u16,
        upstream: &str,
        script: impl Fn(&Incoming) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(port, Some(upstream.to_owned()), Box::new(script))
    }

    /// Changes the upstream server.
    pub fn move_before(&self, upstream: &str) {
        let mut current = self.shared.upstream.lock().expect("not poisoned");
        *current = Some(upstream.to_owned());
    }

    /// Returns the host as in an image's name: `127.0.0.1:<port>`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("not poisoned").clone()
    }

    /// Returns the number of requests for image manifests with a method.
    pub fn manifest_requests(&self, method: &str) -> usize {
        let requests = self.requests();
        let about =
            |request: &&Request| request.method == method && request.path.contains("/manifests/");
        requests.iter().filter(about).count()
    }

    fn start(upstream: Option<String>, script: Box<Script>) -> Self {
        Self::listen(0, upstream, script)
    }

    fn listen(port: u16, upstream: Option<String>, script: Box<Script>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            script,
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if server.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let server = Arc::clone(&server);
                // Ignore disconnected clients.
                thread::spawn(move || server.serve(connection).ok());
            }
        });
        Self {
            host: format!("127.0.0.1:{port}"),
            shared,
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wake the accept thread.
        let _ = TcpStream::connect(&self.host);
    }
}

impl Shared {
    /// Serves one request per connection, for simplicity.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        // An engine tries TLS first. Docker 20.10 treats a closed connection as a server without TLS; newer versions
        // expect an HTTP error response to invalid requests.
        if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
            client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            return client.shutdown(Shutdown::Write);
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head)? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut incoming = parse(&head);
        // A small body is read for the script; a large one is streamed.
        let length = incoming.header("content-length").unwrap_or("0");
        let mut body = Vec::new();
        if let Ok(length @ ..=MAX_SCRIPT_BODY) = length.parse() {
            reader.by_ref().take(length).read_to_end(&mut body)?;
        }
        incoming.body = String::from_utf8_lossy(&body).into_owned();
        match (self.script)(&incoming) {
            Reply::Forward => self.forward(&incoming, &head, &body, reader, client),
            Reply::Broken(Fault::Reset) => {
                self.note(&incoming, 0);
                // Closing a socket with unread data resets it.
                rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
                Ok(())
            }
            Reply::Broken(Fault::Silent) => {
                self.note(&incoming, 0);
                self.hold(&client);
                Ok(())
            }
            Reply::Broken(Fault::Unread) => {
                self.note(&incoming, 0);
                while !self.stopped.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(200));
                }
                Ok(())
            }
            Reply::Broken(fault) => {
                // A server that waits for EOF would delay its response.
                let rest = incoming.header("content-length").unwrap_or("0").parse();
                let rest = rest.unwrap_or(0_u64).saturating_sub(body.len() as u64);
                reader.by_ref().take(rest).read_to_end(&mut body)?;
                self.note(&incoming, 0);
                let response = self.response(&head, &body)?;
                self.spoil(fault, response, client)
            }
            Reply::Response(status, headers, text) => {
                self.note(&incoming, status);
                let mut response = format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\n");
                for (name, value) in headers {
                    response.push_str(&format!("{name}: {value}\r\n"));
                }
                response.push_str(&format!("Content-Length: {}\r\n\r\n", text.len()));
                if incoming.method != "HEAD" {
                    response.push_str(&text);
                }
                client.write_all(response.as_bytes())?;
                client.shutdown(Shutdown::Write)
            }
        }
    }

    fn forward(
        &self,
        incoming: &Incoming,
        head: &str,
        body: &[u8],
        mut reader: BufReader<TcpStream>,
        mut client: TcpStream,
    ) -> io::Result<()> {
        let upstream = self.upstream.lock().expect("not poisoned").clone();
        // Without an upstream, close the connection, like a crashed server.
        let server = TcpStream::connect(upstream.expect("a server behind"))?;
        let mut to_server = server.try_clone()?;
        let pass_on = || {
            to_server.write_all(closing(head).as_bytes())?;
            to_server.write_all(body)?;
            let mut to_server = to_server.try_clone()?;
            thread::spawn(move || io::copy(&mut reader, &mut to_server));

            let mut from_server = BufReader::new(server.try_clone()?);
            let mut status_line = String::new();
            from_server.read_line(&mut status_line)?;
            let status = status_line
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok());
            self.note(incoming, status.unwrap_or(502));
            client.write_all(status_line.as_bytes())?;
            io::copy(&mut from_server, &mut client)
        };
        let copied = pass_on();
        // Stop the copy in the other direction as well: the client of a dead server must not wait.
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        copied.map(drop)
    }

    /// Returns the complete response of the upstream server.
    fn response(&self, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let upstream = self.upstream.lock().expect("not poisoned").clone();
        let mut server = TcpStream::connect(upstream.expect("a server behind"))?;
        server.write_all(closing(head).as_bytes())?;
        server.write_all(body)?;
        let mut response = Vec::new();
        server.read_to_end(&mut response)?;
        Ok(response)
    }

    /// Sends a response with a fault.
    fn spoil(&self, fault: Fault, mut response: Vec<u8>, mut client: TcpStream) -> io::Result<()> {
        let end_of_head = response.windows(4).position(|it| it == b"\r\n\r\n");
        let start = end_of_head.map_or(0, |at| at + 4);
        // A response without a body is truncated in the middle of its headers.
        let middle = match response.len() - start {
            0 => start / 2,
            length => start + length / 2,
        };
        match fault {
            Fault::Changed => {
                if let Some(byte) = response[start..].iter_mut().rev().nth(1) {
                    *byte ^= 1;
                }
                client.write_all(&response)?;
            }
            Fault::Slow => {
                for part in response.chunks(response.len().div_ceil(8).max(1)) {
                    thread::sleep(Duration::from_millis(150));
                    client.write_all(part)?;
                }
            }
            Fault::Stalled => {
                client.write_all(&response[..middle])?;
                self.hold(&client);
            }
            _ => client.write_all(&response[..middle])?,
        }
        client.shutdown(Shutdown::Both)
    }

    /// Keeps a connection open until the client or the test closes it.
    fn hold(&self, client: &TcpStream) {
        _ = client.set_read_timeout(Some(Duration::from_millis(200)));
        let mut client = client;
        let mut byte = [0; 1024];
        while !self.stopped.load(Ordering::Relaxed) {
            match client.read(&mut byte) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn note(&self, incoming: &Incoming, status: u16) {
        let request = Request {
            method: incoming.method.clone(),
            path: incoming.path.clone(),
            status,
        };
        self.requests.lock().expect("not poisoned").push(request);
    }
}

/// Returns the head of a request with `Connection: close`.
fn closing(head: &str) -> String {
    let lines = head.trim_end().split("\r\n");
    let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    kept.collect::<Vec<_>>().join("\r\n") + "\r\nConnection: close\r\n\r\n"
}

fn parse(head: &str) -> Incoming {
    let mut lines = head.lines();
    let mut request = lines.next().unwrap_or_default().split(' ');
    let mut word = || request.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Incoming {
        method,
        path,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: String::new(),
    }
}
