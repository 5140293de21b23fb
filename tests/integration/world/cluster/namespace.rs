//! A namespace of one test: its behavior, its objects and the requests for them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::controller::Outcome;
use super::faults::{Disruption, LogCut, LogCuts, Refusal, Rules, Runtime};
use super::foreign::ForeignCluster;
use super::node::{Node, Order};
use super::resources::Resource;
use super::simulation::SimulatedRun;
use super::store::{ClusterRequest, key};
use super::{Shared, access, deletion::Propagation, scheduler};
use crate::case::skip;
use crate::world::Engine;

/// How long the containers of a namespace may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// A namespace of one test. When it is dropped, its containers are removed.
pub struct Namespace {
    pub(super) name: String,
    pub(super) owner: Owner,
}

/// The cluster of a namespace.
pub(super) enum Owner {
    /// The server of the tests.
    Tests(Arc<Shared>),
    /// A foreign cluster, whose behavior cannot be chosen.
    Foreign(Arc<ForeignCluster>),
}

impl Namespace {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the server of the tests; on a foreign cluster, the test is skipped.
    fn shared(&self) -> &Arc<Shared> {
        match &self.owner {
            Owner::Tests(shared) => shared,
            Owner::Foreign(_) => skip("it needs the cluster of the tests"),
        }
    }

    fn is_foreign(&self) -> bool {
        matches!(self.owner, Owner::Foreign(_))
    }

    fn change_rules(&self, change: impl FnOnce(&mut Rules)) {
        let mut state = self.shared().state();
        change(state.rules.entry(self.name.clone()).or_default());
        drop(state);
        self.shared().changed.notify_all();
    }

    /// Makes requests with this method (`PATCH`) for this resource (`deployments`, `pods/log`) fail.
    pub fn refuse(&self, method: &str, resource: &str, refusal: Refusal) {
        let refusal = (method.to_owned(), resource.to_owned(), refusal);
        self.change_rules(|rules| rules.refusals.push(refusal));
    }

    /// Stops failing requests.
    pub fn refuse_nothing(&self) {
        self.change_rules(|rules| rules.refusals.clear());
    }

    /// Sets the duration of rollouts that start from now on; zero by default.
    pub fn rollouts_take(&self, time: Duration) {
        if self.is_foreign() {
            return;
        }
        self.change_rules(|rules| rules.rollout_time = time);
    }

    /// Sets the outcome of rollouts with this text in their pod template, such as a part of an image name. The last
    /// call wins, and lets hanging rollouts continue.
    pub fn rollouts_of(&self, part: &str, outcome: Outcome) {
        if self.is_foreign() && outcome == Outcome::Succeeds {
            return;
        }
        self.change_rules(|rules| rules.outcomes.insert(0, (part.to_owned(), outcome)));
    }

    /// Runs the pods of Jobs, and those without an owner, as containers of an engine from now on.
    pub fn run_pods(&self, engine: &Engine) {
        self.run_pods_with(engine, false);
    }

    /// Like [`Namespace::run_pods`], with the network of the machine, on which the servers of tests listen.
    pub fn run_pods_on_host_network(&self, engine: &Engine) {
        self.run_pods_with(engine, true);
    }

    fn run_pods_with(&self, engine: &Engine, host_network: bool) {
        if self.is_foreign() {
            return;
        }
        let node = Node::new(self.shared(), engine, &self.name, host_network);
        self.change_rules(|rules| rules.runtime = Some(Runtime::Engine(Arc::new(node))));
    }

    /// Runs no containers: the function returns the outcome of each pod. It may read objects of the namespace.
    pub fn simulate_pods(&self, run: impl Fn(&Value) -> SimulatedRun + Send + Sync + 'static) {
        self.change_rules(|rules| rules.runtime = Some(Runtime::Simulation(Arc::new(run))));
    }

    /// Keeps new pods pending, with this message of the scheduler.
    pub fn hold_pods(&self, message: &str) {
        self.change_rules(|rules| rules.unschedulable = Some(message.to_owned()));
    }

    /// Schedules the pending pods.
    pub fn release_pods(&self) {
        self.change_rules(|rules| rules.unschedulable = None);
        scheduler::retry(&mut self.shared().state(), &self.name);
        self.shared().changed.notify_all();
    }

    /// Ends a running pod from outside.
    #[track_caller]
    pub fn disrupt(&self, pod: &str, disruption: Disruption) {
        let mut state = self.shared().state();
        let was_sent = match disruption {
            Disruption::Evicted => {
                let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 64Mi.";
                state.order(&self.name, pod, Order::Evict(message.to_owned()))
            }
            Disruption::NodeLost(time) => state.order(&self.name, pod, Order::Lose(time)),
            Disruption::Drained => state.evict(&self.name, pod, None).is_some(),
        };
        drop(state);
        self.shared().changed.notify_all();
        assert!(was_sent, "the pod {pod} does not run");
    }

    /// Kills a container like `kill -9`, or like the kernel for lack of memory.
    #[track_caller]
    pub fn kill_container(&self, pod: &str, container: &str, out_of_memory: bool) {
        let reason = out_of_memory.then_some("OOMKilled");
        let order = Order::Kill(container.to_owned(), reason);
        let was_sent = self.shared().state().order(&self.name, pod, order);
        assert!(was_sent, "the pod {pod} does not run");
    }

    /// Cuts the next responses with a log, each after this number of bytes.
    pub fn cut_logs(&self, after: usize, how: LogCut, times: usize) {
        self.change_rules(|rules| rules.log_cuts = Some(LogCuts { after, how, times }));
    }

    /// Returns a kubeconfig with one context, whose user is a service account of the namespace. The Roles that are
    /// bound to it apply.
    pub fn account_kubeconfig(&self, context: &str, account: &str) -> String {
        let (host, authority) = (&self.shared().host, &self.shared().authority);
        let text = access::account_kubeconfig(host, authority, context, &self.name, account);
        format!("{text:#}\n")
    }

    /// Returns a stored object.
    pub fn object(&self, resource: &str, name: &str) -> Option<Value> {
        if let Owner::Foreign(cluster) = &self.owner {
            return cluster.object(&self.name, resource, name);
        }
        let resource = Resource::by_plural(resource).expect("a resource of this server");
        let state = self.shared().state();
        state.get(&key(resource, &self.name, name)).cloned()
    }

    /// Returns the objects of a resource, by name.
    pub fn objects(&self, resource: &str) -> Vec<Value> {
        if let Owner::Foreign(cluster) = &self.owner {
            return cluster.objects(&self.name, resource);
        }
        let state = self.shared().state();
        let listed = state.list(resource, &self.name).into_iter();
        listed.map(|(_, object)| object.clone()).collect()
    }

    /// Returns the requests for objects in the namespace.
    pub fn requests(&self) -> Vec<ClusterRequest> {
        let part = format!("/namespaces/{}/", self.name);
        let state = self.shared().state();
        let own = state
            .requests
            .iter()
            .filter(|request| request.path.contains(&part));
        own.cloned().collect()
    }

    /// Returns the number of requests for objects in the namespace by verb and resource, such as `create jobs` and
    /// `get pods/log`.
    pub fn request_counts(&self) -> BTreeMap<String, usize> {
        let state = self.shared().state();
        let rules = state.rules.get(&self.name);
        rules.map(|rules| rules.counts.clone()).unwrap_or_default()
    }

    /// Removes all objects and containers.
    fn remove(&self) {
        if let Owner::Foreign(cluster) = &self.owner {
            cluster.delete(&self.name);
            return;
        }
        let resource = Resource::by_plural("namespaces").expect("it is known");
        let mut state = self.shared().state();
        for worker in state.workers.values() {
            if worker.namespace == self.name {
                let _ = worker.sender.send(Order::Delete(Duration::ZERO));
            }
        }
        let key = key(resource, "", &self.name);
        state.request_deletion(&key, Some(0), Propagation::Background);
        drop(state);
        self.shared().changed.notify_all();
        self.shared().wait_for_workers(&self.name, END_TIMEOUT);
        // Volumes that outlive their pods.
        let claims = self.shared().folder.join("claims").join(&self.name);
        let _ = fs::remove_dir_all(claims);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.remove();
    }
}
