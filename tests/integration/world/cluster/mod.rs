//! A Kubernetes API server for tests, with everything that the real `kubectl` needs to apply, wait, read and follow logs.
//! In a namespace that runs pods, those of Jobs are containers of an engine; otherwise it stores objects, and a test
//! chooses how rollouts end. `docs/contributing.md` lists its limitations.
//!
//! Tests share the server; each one uses its own [`Namespace`]s.

mod access;
mod admission;
mod api;
mod connections;
mod controller;
mod defaults;
mod deletion;
mod discovery;
mod events;
mod faults;
mod fields;
mod foreign;
mod http;
mod job_status;
mod jobs;
mod labels;
mod logs;
mod managers;
mod namespace;
mod node;
mod patch;
mod pods;
mod protobuf;
mod quantity;
mod reading;
mod resources;
mod review;
mod scheduler;
mod selector;
mod server;
mod simulation;
mod status;
mod store;
mod table;
mod users;
mod validation;
mod watch;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::Engine;

pub use access::Access;
pub use controller::Outcome;
use faults::Runtime;
pub use faults::{Disruption, LogCut, Refusal};
pub use foreign::ForeignCluster;
pub use namespace::Namespace;
pub use simulation::SimulatedRun;

use connections::Connections;
use namespace::Owner;
use node::Node;
use resources::Resource;
use store::{State, key};

/// How long pods may take to end with the server.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The server; stopped on drop.
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: Arc<ServerConfig>,
    connections: Connections,
    /// The address on which it listens.
    host: String,
    /// The certificate authority, in Base64.
    authority: String,
    /// The files of pods.
    folder: PathBuf,
}

impl Cluster {
    /// Starts the server with a certificate for `127.0.0.1` and its key, and a folder for the files of pods.
    pub fn start(
        folder: &Path,
        authority: &Path,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, String> {
        let tls = tls(certificate, key)?;
        let authority = fs::read(authority).map_err(|error| error.to_string())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            tls: Arc::new(tls),
            connections: Connections::default(),
            host: address.to_string(),
            authority: BASE64_STANDARD.encode(authority),
            folder: folder.to_owned(),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || server.listen(listener));
        let controller = Arc::clone(&shared);
        thread::spawn(move || controller.control());
        Ok(Self { shared })
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
            owner: Owner::Tests(Arc::clone(&self.shared)),
        }
    }

    /// Returns a kubeconfig with these contexts; the first one is current.
    pub fn kubeconfig(&self, contexts: &[(&str, Access)]) -> String {
        let nowhere = format!("127.0.0.1:{}", super::closed_port());
        let text = access::kubeconfig(
            &self.shared.host,
            &nowhere,
            &self.shared.authority,
            contexts,
        );
        // JSON is valid YAML.
        format!("{text:#}\n")
    }

    /// Runs the pods of all namespaces without rules of their own, like a cluster whose only node is this machine.
    pub fn run_all_pods(&self, engine: &Engine) {
        let node = Arc::new(Node::new(&self.shared, engine, "all", false));
        self.shared.state().runtime = Some(Runtime::Engine(node));
    }

    /// Returns the names of its namespaces.
    pub fn namespaces(&self) -> Vec<String> {
        let state = self.shared.state();
        let listed = state.list("namespaces", "").into_iter();
        listed.map(|(key, _)| key.2.clone()).collect()
    }

    /// Returns the number of requests.
    pub fn request_count(&self) -> usize {
        self.shared.state().requests.len()
    }

    /// Refuses connections for this time, and closes those that exist.
    pub fn refuse_connections(&self, time: Duration) {
        self.shared.state().refusing_until = Some(Instant::now() + time);
        self.wake_listener();
    }

    /// Answers nothing for this time, on new and existing connections.
    pub fn freeze(&self, time: Duration) {
        self.shared.state().frozen_until = Some(Instant::now() + time);
        self.shared.changed.notify_all();
    }

    /// Forgets past changes, so that watches from earlier revisions are rejected.
    pub fn forget_history(&self) {
        let mut state = self.shared.state();
        state.oldest_revision = state.revision() + 1;
    }

    /// Stops the server and the containers of its pods. Idempotent.
    pub fn stop(&self) {
        self.shared.end_pods();
        self.shared.wait_for_workers("", STOP_TIMEOUT);
        self.shared.state().stopped = true;
        self.shared.changed.notify_all();
        self.wake_listener();
    }

    fn wake_listener(&self) {
        let _ = TcpStream::connect(&self.shared.host);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
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
