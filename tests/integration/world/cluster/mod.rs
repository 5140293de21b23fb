//! A Kubernetes API server for tests, with everything that the real `kubectl` needs to apply, wait and read. It stores
//! objects, and a test chooses how rollouts end. It runs no containers; `docs/contributing.md` lists other limitations.
//!
//! Tests share the server; each one uses its own [`Namespace`]s.

mod access;
mod api;
mod controller;
mod discovery;
mod fields;
mod http;
mod managers;
mod patch;
mod pods;
mod reading;
mod resources;
mod selector;
mod status;
mod store;
mod table;
mod validation;
mod watch;

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

pub use access::{Access, Refusal};
pub use controller::Outcome;

use api::{Call, Response};
use http::{Connection, Incoming};
use resources::Resource;
use status::Status;
use store::{ClusterRequest, State, key};

/// The server; stopped on drop.
pub struct Cluster {
    host: String,
    authority: String,
    shared: Arc<Shared>,
}

/// A namespace of one test.
pub struct Namespace {
    name: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: Arc<ServerConfig>,
}

impl Cluster {
    /// Starts the server with a certificate for `127.0.0.1` and its key.
    pub fn start(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, String> {
        let tls = tls(certificate, key)?;
        let authority = fs::read(authority).map_err(|error| error.to_string())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            tls: Arc::new(tls),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                if server.state().stopped {
                    return;
                }
                let server = Arc::clone(&server);
                // Ignore disconnected clients.
                thread::spawn(move || server.serve(tcp).ok());
            }
        });
        let controller = Arc::clone(&shared);
        thread::spawn(move || controller.control());
        Ok(Self {
            host: address.to_string(),
            authority: BASE64_STANDARD.encode(authority),
            shared,
        })
    }

    /// Creates a namespace; its name must be unique.
    pub fn namespace(&self, name: &str) -> Namespace {
        let resource = Resource::by_plural("namespaces").expect("it is known");
        let mut state = self.shared.state();
        let labels = json!({ "kubernetes.io/metadata.name": name });
        let mut object =
            json!({ "metadata": { "labels": labels }, "status": { "phase": "Active" } });
        state.begin(resource, "", name, &mut object);
        state.put(&key(resource, "", name), object);
        drop(state);
        self.shared.changed.notify_all();
        Namespace {
            name: name.to_owned(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns a kubeconfig with these contexts; the first one is current.
    pub fn kubeconfig(&self, contexts: &[(&str, Access)]) -> String {
        let nowhere = format!("127.0.0.1:{}", super::closed_port());
        let text = access::kubeconfig(&self.host, &nowhere, &self.authority, contexts);
        // JSON is valid YAML.
        format!("{text:#}\n")
    }

    /// Stops the server. Idempotent.
    pub fn stop(&self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
        // Wake the accept thread.
        let _ = TcpStream::connect(&self.host);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Namespace {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes requests with this method (`PATCH`) for this resource (`deployments`) fail.
    pub fn refuse(&self, method: &str, resource: &str, refusal: Refusal) {
        let mut state = self.shared.state();
        let rules = state.rules.entry(self.name.clone()).or_default();
        rules
            .refusals
            .push((method.to_owned(), resource.to_owned(), refusal));
    }

    /// Stops failing requests.
    pub fn refuse_nothing(&self) {
        let mut state = self.shared.state();
        state
            .rules
            .entry(self.name.clone())
            .or_default()
            .refusals
            .clear();
    }

    /// Sets the duration of rollouts that start from now on; zero by default.
    pub fn rollouts_take(&self, time: Duration) {
        let mut state = self.shared.state();
        state
            .rules
            .entry(self.name.clone())
            .or_default()
            .rollout_time = time;
    }

    /// Sets the outcome of rollouts with this text in their pod template, such as a part of an image name. The last
    /// call wins, and lets hanging rollouts continue.
    pub fn rollouts_of(&self, part: &str, outcome: Outcome) {
        let mut state = self.shared.state();
        let rules = state.rules.entry(self.name.clone()).or_default();
        rules.outcomes.insert(0, (part.to_owned(), outcome));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Returns a stored object.
    pub fn object(&self, resource: &str, name: &str) -> Option<Value> {
        let resource = Resource::by_plural(resource).expect("a resource of this server");
        let state = self.shared.state();
        state.get(&key(resource, &self.name, name)).cloned()
    }

    /// Returns the objects of a resource, by name.
    pub fn objects(&self, resource: &str) -> Vec<Value> {
        let state = self.shared.state();
        let listed = state.list(resource, &self.name).into_iter();
        listed.map(|(_, object)| object.clone()).collect()
    }

    /// Returns the requests for objects in the namespace.
    pub fn requests(&self) -> Vec<ClusterRequest> {
        let part = format!("/namespaces/{}/", self.name);
        let state = self.shared.state();
        let own = state
            .requests
            .iter()
            .filter(|request| request.path.contains(&part));
        own.cloned().collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    fn control(&self) {
        let mut state = self.state();
        while !state.stopped {
            let before = state.revision();
            let pause = controller::work(&mut state);
            if state.revision() != before {
                self.changed.notify_all();
            }
            state = self
                .changed
                .wait_timeout(state, pause)
                .expect("not poisoned")
                .0;
        }
    }

    fn serve(&self, tcp: TcpStream) -> io::Result<()> {
        let Some(mut connection) = Connection::new(Arc::clone(&self.tls), tcp) else {
            return Ok(());
        };
        while let Some(request) = connection.read()? {
            let refusal = self.refusal(&request);
            match refusal {
                Some(Refusal::Reset) => {
                    self.note(&request, 0);
                    connection.reset();
                    return Ok(());
                }
                Some(Refusal::Late(time)) => thread::sleep(time),
                _ => {}
            }
            let media_type = "application/json";
            let (code, media_type, body) = match self.answer(&request, refusal) {
                Ok(Done::Found(media_type, body)) => (200, media_type, body),
                Ok(Done::Called(Response::Object(code, body))) => (code, media_type, body),
                Err(status) => (status.code, media_type, status.body),
                Ok(Done::Text(media_type, text)) => {
                    self.note(&request, 200);
                    connection.respond(200, media_type, text)?;
                    continue;
                }
                Ok(Done::Called(Response::Watch(watch))) => {
                    self.note(&request, 200);
                    watch::stream(self, &mut connection, watch)?;
                    continue;
                }
            };
            self.note(&request, code);
            connection.respond(code, media_type, &body.to_string())?;
        }
        Ok(())
    }

    /// Returns how a test wants the request to fail.
    fn refusal(&self, request: &Incoming) -> Option<Refusal> {
        let call = Call::read(request).ok()?;
        let state = self.state();
        let rules = state.rules.get(&call.namespace)?;
        rules.refusal(&request.method, call.resource.plural)
    }

    fn answer(&self, request: &Incoming, refusal: Option<Refusal>) -> Result<Done, Status> {
        let access =
            Access::of(request.header("authorization")).ok_or_else(Status::unauthorized)?;
        if request.path == "/openapi/v2" {
            return Ok(Done::Text(
                discovery::OLD_SCHEMA_TYPE,
                discovery::OLD_SCHEMA,
            ));
        }
        if let Some((media_type, body)) = discovery::answer(&request.path, request.header("accept"))
        {
            return Ok(Done::Found(media_type, body));
        }
        let call = Call::read(request)?;
        match refusal {
            Some(Refusal::Forbidden(because)) => {
                return Err(Status::forbidden(call.resource, &call.name, &because));
            }
            Some(Refusal::InternalError(message)) => return Err(Status::internal(&message)),
            Some(Refusal::Unavailable) => {
                let message = "the server is currently unable to handle the request";
                return Err(Status::new(503, "ServiceUnavailable", message));
            }
            Some(Refusal::Reset | Refusal::Late(_)) | None => {}
        }
        let mut state = self.state();
        let before = state.revision();
        let answer = call.answer(&mut state, access);
        if state.revision() != before {
            self.changed.notify_all();
        }
        answer.map(Done::Called)
    }

    fn note(&self, request: &Incoming, status: u16) {
        let user = Access::of(request.header("authorization"));
        self.state().requests.push(ClusterRequest {
            method: request.method.clone(),
            path: request.target.clone(),
            user: user.map_or("", Access::name).to_owned(),
            user_agent: request.header("user-agent").to_owned(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            status,
        });
    }
}

/// A discovery document with its media type, or the response about objects.
enum Done {
    Found(&'static str, Value),
    Text(&'static str, &'static str),
    Called(Response),
}

fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| error.to_string())?;
    let chain: Result<Vec<_>, _> = chain.collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let tls = tls.with_no_client_auth().with_single_cert(chain, key);
    tls.map_err(|error| error.to_string())
}
