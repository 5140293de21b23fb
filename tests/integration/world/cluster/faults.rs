//! The behavior of a namespace that a test chooses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::controller::Outcome;
use super::node::{Node, Order};
use super::resources::Resource;
use super::simulation::SimulatedRun;
use super::store::{State, key, now};

/// How a request fails.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// 403 with this reason, like an admission webhook or a quota.
    Forbidden(String),
    /// 500 with this message.
    InternalError(String),
    /// 503: the server is overloaded.
    Unavailable,
    /// The connection is reset.
    Reset,
    /// The regular response is delayed.
    Late(Duration),
}

/// Something that ends a pod from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// The node lacks memory: the pod fails with the reason `Evicted`.
    Evicted,
    /// The node is drained: the pod is deleted through the eviction API.
    Drained,
    /// The node is lost: the pod ends without a status, and its object is removed after this time.
    NodeLost(Duration),
}

/// How the stream of a log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCut {
    /// The connection is reset.
    Reset,
    /// The response ends regularly although the container still runs.
    End,
    /// Nothing more arrives, and the connection stays open.
    Hang,
}

/// Cuts of logs that a test has ordered.
#[derive(Clone, Debug)]
pub struct LogCuts {
    /// Bytes of the response before the cut.
    pub after: usize,
    pub how: LogCut,
    /// How many responses are cut.
    pub times: usize,
}

/// What runs the pods of a namespace.
#[derive(Clone)]
pub enum Runtime {
    /// An engine.
    Engine(Arc<Node>),
    /// A function that returns the outcome of a pod.
    Simulation(Arc<dyn Fn(&Value) -> SimulatedRun + Send + Sync>),
}

/// The behavior of one namespace.
#[derive(Default)]
pub struct Rules {
    /// Requests that fail: method, resource, and how.
    pub refusals: Vec<(String, String, Refusal)>,
    /// How long a rollout takes.
    pub rollout_time: Duration,
    /// Image substrings, and the outcome of rollouts that use them.
    pub outcomes: Vec<(String, Outcome)>,
    /// What runs pods; without it, pods and Jobs have the outcome of their rollout.
    pub runtime: Option<Runtime>,
    /// The scheduler's message, while it places no pods.
    pub unschedulable: Option<String>,
    pub log_cuts: Option<LogCuts>,
    /// The number of requests by verb and resource.
    pub counts: BTreeMap<String, usize>,
}

impl Rules {
    /// Returns how a request fails; `None` if it does not.
    pub fn refusal(&self, method: &str, resource: &str) -> Option<Refusal> {
        let is_meant = |(of, on, _): &&(String, String, _)| of == method && on == resource;
        let found = self.refusals.iter().find(is_meant);
        found.map(|(_, _, refusal)| refusal.clone())
    }
}

impl State {
    /// Returns what runs the pods of a namespace.
    pub fn runtime_of(&self, namespace: &str) -> Option<&Runtime> {
        let rules = self.rules.get(namespace);
        let own = rules.and_then(|rules| rules.runtime.as_ref());
        own.or(self.runtime.as_ref())
    }

    /// Sends a message to the thread of a pod, and returns whether it has one.
    pub fn order(&self, namespace: &str, pod: &str, order: Order) -> bool {
        let resource = Resource::by_plural("pods").expect("it is known");
        let uid = self
            .get(&key(resource, namespace, pod))
            .and_then(|pod| pod["metadata"]["uid"].as_str());
        let worker = uid.and_then(|uid| self.workers.get(uid));
        worker.is_some_and(|worker| worker.sender.send(order).is_ok())
    }

    /// Deletes a pod as `kubectl drain` does.
    pub fn evict(&mut self, namespace: &str, name: &str, grace: Option<u64>) -> Option<Value> {
        let resource = Resource::by_plural("pods").expect("it is known");
        let key = key(resource, namespace, name);
        let mut pod = self.get(&key)?.clone();
        if !pod["status"]["conditions"].is_array() {
            pod["status"]["conditions"] = json!([]);
        }
        if let Some(conditions) = pod["status"]["conditions"].as_array_mut() {
            conditions.push(json!({
                "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting", "lastTransitionTime": now(),
            }));
        }
        let pod = self.put(&key, pod);
        self.request_deletion(&key, grace, super::deletion::Propagation::Background);
        Some(pod)
    }
}
