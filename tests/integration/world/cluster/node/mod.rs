//! The node: runs pods as containers of an engine, one thread per pod.

mod container;
mod ending;
mod engine;
mod environment;
mod images;
mod privileged;
mod probes;
mod starting;
mod status;
mod volumes;
mod worker;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;

pub use engine::EngineApi;

use super::Shared;
use super::faults::Runtime;
use super::store::{Key, State, WorkerHandle};
use crate::world::{Engine, run_prefix};
use probes::Finding;
use worker::Worker;

/// Where the pods of a namespace run.
pub struct Node {
    pub engine: EngineApi,
    /// The files of pods, in a folder that the engine sees at the same path.
    pub folder: PathBuf,
    /// An image with a program that waits, for the container that holds the namespaces of a pod.
    pub pause_image: String,
    /// Whether all pods use the network of the machine.
    pub host_network: bool,
    /// The prefix of the names of containers.
    pub prefix: String,
}

impl Node {
    /// Returns a node for the pods of a namespace.
    pub fn new(shared: &Shared, engine: &Engine, namespace: &str, host_network: bool) -> Self {
        Self {
            engine: EngineApi::new(engine.host()),
            folder: shared.folder.clone(),
            pause_image: engine.busybox().to_owned(),
            host_network,
            prefix: format!("{}-{namespace}", run_prefix()),
        }
    }
}

/// A message to the thread of a pod.
#[derive(Debug)]
pub enum Order {
    /// Ends the pod within this time, and removes it.
    Delete(Duration),
    /// Kills a container. The status reports the given reason.
    Kill(String, Option<&'static str>),
    /// Ends the pod as if the node lacked resources, with this message.
    Evict(String),
    /// Ends the pod as if its node was lost. The object is removed after this time.
    Lose(Duration),
    /// A container of the engine has ended: its index, ID and state.
    Exited(usize, String, Value),
    /// A probe has a result: the index and ID of the container.
    Probed(usize, String, Finding),
}

/// Why a container does not run yet.
#[derive(Debug)]
pub struct Waiting {
    pub reason: &'static str,
    pub message: String,
}

impl Waiting {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }
}

/// Starts the threads of pods that were assigned to a node.
pub fn start_pods(shared: &Arc<Shared>, state: &mut State, touched: &BTreeSet<Key>) {
    for key in touched.iter().filter(|key| key.0 == "pods") {
        let Some(pod) = state.get(key) else { continue };
        let uid = pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let is_ours = pod["metadata"]["annotations"]["test/workload"].is_null();
        let is_new = pod["status"]["phase"] == "Pending" && !pod["spec"]["nodeName"].is_null();
        if !is_ours || !is_new || state.workers.contains_key(&uid) {
            continue;
        }
        let Some(Runtime::Engine(node)) = state.runtime_of(&key.1).cloned() else {
            continue;
        };
        let (sender, orders) = mpsc::channel();
        let worker = Worker::new(
            Arc::clone(shared),
            node,
            key.clone(),
            pod,
            sender.clone(),
            orders,
        );
        let namespace = key.1.clone();
        state
            .workers
            .insert(uid, WorkerHandle { namespace, sender });
        thread::spawn(move || worker.run());
    }
}

fn uses_host_network(pod: &Value) -> bool {
    pod["spec"]["hostNetwork"] == true
}
