//! A reverse proxy of a test's own: it counts requests, and gives the answers that a real registry
//! never gives.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::access_log::Request;

/// A request as it arrived.
pub struct Incoming {
    pub method: String,
    /// With the query.
    pub path: String,
    headers: Vec<(String, String)>,
    /// What was sent, as text; empty where it was long or of no announced length.
    pub body: String,
}

impl Incoming {
    /// Returns a header; its name is written in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Tells whether it asks for an image manifest, or puts one.
    pub fn is_about_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// What the script wants to be done with a request.
pub enum Reply {
    /// The server behind answers.
    Forward,
    /// This is answered: a status, headers, a body.
    Answer(u16, Vec<(&'static str, String)>, String),
}

impl Reply {
    /// An answer without anything of its own.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }

    /// A registry's error answer.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        // Without a detail the engine does not know the error for what it is, and tries again.
        let error =
            format!(r#"{{"code":"{code}","message":"{message}","detail":{{"is":"scripted"}}}}"#);
        let body = format!(r#"{{"errors":[{error}]}}"#);
        Self::json(status, &body)
    }

    /// An answer in JSON.
    pub fn json(status: u16, body: &str) -> Self {
        let media_type = vec![("Content-Type", "application/json".to_owned())];
        Self::Answer(status, media_type, body.to_owned())
    }
}

/// The longest body that a script gets to see.
const MOST_READ: u64 = 64 * 1024;

/// With what a TLS connection begins.
const TLS_HANDSHAKE: u8 = 0x16;

type Script = dyn Fn(&Incoming) -> Reply + Send + Sync;

/// An HTTP server on a port of its own; it ends when it is dropped.
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
    /// Starts a proxy before the server at `upstream`, a host with a port.
    pub fn before(
        upstream: &str,
        script: impl Fn(&Incoming) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(upstream.to_owned()), Box::new(script))
    }

    /// Starts a server that only the script answers for.
    pub fn alone(script: impl Fn(&Incoming) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Box::new(script))
    }

    /// Puts the gateway before another server.
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

    /// Returns how many requests with that method were about image manifests.
    pub fn manifest_requests(&self, method: &str) -> usize {
        let requests = self.requests();
        let about =
            |request: &&Request| request.method == method && request.path.contains("/manifests/");
        requests.iter().filter(about).count()
    }

    fn start(upstream: Option<String>, script: Box<Script>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
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
                // A client that goes away is its own business.
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
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(&self.host);
    }
}

impl Shared {
    /// Serves one request; each has a connection of its own, which keeps this simple.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        // An engine tries TLS first, and is told at once that there is none.
        if reader.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
            return Ok(());
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head)? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut incoming = parse(&head);
        // A small body is read for the script; a large one is passed on as it comes.
        let length = incoming.header("content-length").unwrap_or("0");
        let mut body = Vec::new();
        if let Ok(length @ ..=MOST_READ) = length.parse() {
            reader.by_ref().take(length).read_to_end(&mut body)?;
        }
        incoming.body = String::from_utf8_lossy(&body).into_owned();
        match (self.script)(&incoming) {
            Reply::Forward => self.forward(&incoming, &head, &body, reader, client),
            Reply::Answer(status, headers, text) => {
                self.note(&incoming, status);
                let mut answer = format!("HTTP/1.1 {status} Scripted\r\nConnection: close\r\n");
                for (name, value) in headers {
                    answer.push_str(&format!("{name}: {value}\r\n"));
                }
                answer.push_str(&format!("Content-Length: {}\r\n\r\n", text.len()));
                if incoming.method != "HEAD" {
                    answer.push_str(&text);
                }
                client.write_all(answer.as_bytes())?;
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
        // Where there is none the connection ends, as it would with a server that has died.
        let server = TcpStream::connect(upstream.expect("a server behind"))?;
        let mut to_server = server.try_clone()?;
        let lines = head.trim_end().split("\r\n");
        let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        let head = kept.collect::<Vec<_>>().join("\r\n") + "\r\nConnection: close\r\n\r\n";
        to_server.write_all(head.as_bytes())?;
        to_server.write_all(body)?;
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
        let copied = io::copy(&mut from_server, &mut client);
        // Ends the copy of the other direction, too.
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        copied.map(drop)
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
