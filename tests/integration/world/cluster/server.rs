//! Serves the connections of clients, and runs the controllers.

use std::collections::BTreeSet;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::api::{Call, Response};
use super::faults::Refusal;
use super::http::{Connection, Incoming};
use super::logs;
use super::node::{self, Order};
use super::status::Status;
use super::store::{ClusterRequest, Key, State};
use super::users::User;
use super::{Shared, admission, controller, discovery, jobs, review, scheduler, simulation, watch};

const MEDIA_TYPE: &str = "application/json";

/// A document with its media type, or the response about objects.
enum Reply {
    Document(u16, &'static str, Value),
    Text(&'static str, &'static str),
    Objects(Response),
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Waits for a change, but not longer than this.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, limit);
        waited.expect("not poisoned").0
    }

    /// Accepts connections until the server stops.
    pub(super) fn listen(self: Arc<Self>, listener: TcpListener) {
        let mut listener = Some(listener);
        while let Some(listening) = listener.take() {
            let accepted = listening.accept();
            let refuses = {
                let state = self.state();
                if state.stopped {
                    return;
                }
                state.refusing_until
            };
            if let Some(until) = refuses {
                drop((accepted, listening));
                listener = self.refuse_until(until);
                continue;
            }
            listener = Some(listening);
            let Ok((tcp, _)) = accepted else { continue };
            let server = Arc::clone(&self);
            thread::spawn(move || {
                let copy = tcp.try_clone().ok();
                let number = copy.map(|copy| server.connections.add(copy));
                // Ignore disconnected clients.
                let _ = server.serve(tcp);
                if let Some(number) = number {
                    server.connections.remove(number);
                }
            });
        }
    }

    /// Nothing listens until then; returns the new listener.
    fn refuse_until(&self, until: Instant) -> Option<TcpListener> {
        self.connections.close();
        let mut state = self.state();
        while !state.stopped && Instant::now() < until {
            let rest = until.saturating_duration_since(Instant::now());
            state = self.wait(state, rest);
        }
        state.refusing_until = None;
        drop(state);
        // Another process may briefly use the port for an outgoing connection.
        for _ in 0..500 {
            if let Ok(listener) = TcpListener::bind(&self.host) {
                return Some(listener);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// Waits while the server is frozen.
    pub(super) fn wait_while_frozen(&self) {
        let mut state = self.state();
        while let Some(until) = state.frozen_until {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() || state.stopped {
                return;
            }
            state = self.wait(state, rest);
        }
    }

    /// Runs the controllers until the server stops.
    pub(super) fn control(self: &Arc<Self>) {
        let mut state = self.state();
        while !state.stopped {
            let before = state.revision();
            let mut pause = controller::work(&mut state);
            let now = Instant::now();
            let touched = state.take_touched();
            let due = [
                jobs::work(&mut state, &touched, now),
                simulation::work(&mut state, now),
            ];
            scheduler::work(&mut state, &touched);
            node::start_pods(self, &mut state, &touched);
            state.finish_deletions();
            for namespace in namespaces_of(&touched) {
                admission::update_quotas(&mut state, &namespace);
            }
            for due in due.into_iter().flatten() {
                pause = pause.min(due.saturating_duration_since(now));
            }
            let new = simulation::new_pods(&state, touched.iter());
            if state.revision() != before {
                self.changed.notify_all();
            }
            if !new.is_empty() {
                drop(state);
                self.simulate(new);
                state = self.state();
            }
            if !state.has_touched() {
                state = self.wait(state, pause);
            }
        }
    }

    /// Changes a pod if it still exists.
    pub(super) fn change_pod(&self, key: &Key, uid: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        let pod = state.get(key).cloned();
        if let Some(mut pod) = pod.filter(|pod| pod["metadata"]["uid"] == uid) {
            change(&mut pod);
            state.put(key, pod);
            self.changed.notify_all();
        }
    }

    /// Removes a pod that has ended.
    pub(super) fn remove_pod(&self, key: &Key, uid: &str) {
        let mut state = self.state();
        state.workers.remove(uid);
        if state
            .get(key)
            .is_some_and(|pod| pod["metadata"]["uid"] == uid)
        {
            state.delete(key, true);
        }
        self.changed.notify_all();
    }

    /// Waits until the pods of a namespace have ended; an empty one means all.
    pub(super) fn wait_for_workers(&self, namespace: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        let is_meant = |of: &str| namespace.is_empty() || of == namespace;
        while state
            .workers
            .values()
            .any(|worker| is_meant(&worker.namespace))
        {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            state = self.wait(state, rest);
        }
    }

    /// Ends all pods.
    pub(super) fn end_pods(&self) {
        for worker in self.state().workers.values() {
            let _ = worker.sender.send(Order::Delete(Duration::ZERO));
        }
    }

    fn serve(self: &Arc<Self>, tcp: TcpStream) -> io::Result<()> {
        self.wait_while_frozen();
        let Some(mut connection) = Connection::new(Arc::clone(&self.tls), tcp) else {
            return Ok(());
        };
        while let Some(request) = connection.read()? {
            self.wait_while_frozen();
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
            let answer = self.answer(&request, refusal);
            self.wait_while_frozen();
            let (code, media_type, body) = match answer {
                Ok(Reply::Document(code, media_type, body)) => (code, media_type, body),
                Ok(Reply::Objects(Response::Object(code, body))) => (code, MEDIA_TYPE, body),
                Err(status) => (status.code, MEDIA_TYPE, status.body),
                Ok(Reply::Text(media_type, text)) => {
                    self.note(&request, 200);
                    connection.respond(200, media_type, text)?;
                    continue;
                }
                Ok(Reply::Objects(Response::Watch(watch))) => {
                    self.note(&request, 200);
                    watch::stream(self, &mut connection, watch)?;
                    continue;
                }
                Ok(Reply::Objects(Response::Log(log))) => {
                    self.note(&request, 200);
                    if let Err(error) = logs::send(self, &mut connection, log) {
                        connection.reset();
                        return Err(error);
                    }
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
        rules.refusal(&request.method, &call.resource_name())
    }

    fn answer(&self, request: &Incoming, refusal: Option<Refusal>) -> Result<Reply, Status> {
        let user = User::of(request.header("authorization")).ok_or_else(Status::unauthorized)?;
        if request.path == "/openapi/v2" {
            return Ok(Reply::Text(
                discovery::OLD_SCHEMA_TYPE,
                discovery::OLD_SCHEMA,
            ));
        }
        if let Some((media_type, body)) = discovery::answer(&request.path, request.header("accept"))
        {
            return Ok(Reply::Document(200, media_type, body));
        }
        let mut state = self.state();
        if request.method == "POST"
            && let Some(review) = review::answer(&state, request, &user)
        {
            return Ok(Reply::Document(201, MEDIA_TYPE, review?));
        }
        let call = Call::read(request)?;
        let rules = state.rules.entry(call.namespace.clone()).or_default();
        let counted = format!("{} {}", call.verb(), call.resource_name());
        *rules.counts.entry(counted).or_default() += 1;
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
        let before = state.revision();
        let answer = call.answer(&mut state, &user);
        if state.revision() != before {
            self.changed.notify_all();
        }
        answer.map(Reply::Objects)
    }

    fn note(&self, request: &Incoming, status: u16) {
        let user = User::of(request.header("authorization"));
        self.state().requests.push(ClusterRequest {
            method: request.method.clone(),
            path: request.target.clone(),
            user: user.map_or_else(String::new, |user| user.name()),
            user_agent: request.header("user-agent").to_owned(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            status,
        });
    }
}

fn namespaces_of(keys: &BTreeSet<Key>) -> BTreeSet<String> {
    keys.iter().map(|key| key.1.clone()).collect()
}
