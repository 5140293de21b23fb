//! Streams changes to clients.

use std::io;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Connection;
use super::reading::Watch;
use super::status::Status;
use super::store::{Change, State};
use super::{Shared, table};

/// How often to check whether the client has disconnected.
const DISCONNECT_CHECK_INTERVAL: Duration = Duration::from_millis(500);
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);

/// Sends changes to a client until the timeout or until it disconnects.
pub fn stream(shared: &Shared, connection: &mut Connection, mut watch: Watch) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(watch.seconds);
    connection.begin_chunks("application/json")?;
    if let Some(revision) = watch.too_old {
        return expire(connection, watch.after, revision);
    }
    let mut marked = Instant::now();
    for object in std::mem::take(&mut watch.first) {
        connection.chunk(event(&watch, "ADDED", &object).as_bytes())?;
    }
    if watch.marks_first {
        connection.chunk(bookmark(&watch, true).as_bytes())?;
    }
    loop {
        shared.wait_while_frozen();
        if watch.wants_bookmarks && marked.elapsed() >= BOOKMARK_INTERVAL {
            marked = Instant::now();
            connection.chunk(bookmark(&watch, false).as_bytes())?;
        }
        let mut state = shared.state();
        let news = news(&watch, &state);
        watch.after = state.revision();
        if news.is_empty() {
            if state.stopped || Instant::now() >= deadline || connection.is_over() {
                break;
            }
            state = wait(shared, state);
        }
        drop(state);
        for line in news {
            connection.chunk(line.as_bytes())?;
        }
    }
    connection.chunk(b"")
}

/// Tells the client to list again.
fn expire(connection: &mut Connection, after: u64, oldest: u64) -> io::Result<()> {
    let status = Status::new(
        410,
        "Expired",
        format!("too old resource version: {after} ({oldest})"),
    );
    let line = format!("{}\n", json!({ "type": "ERROR", "object": status.body }));
    connection.chunk(line.as_bytes())?;
    connection.chunk(b"")
}

fn wait<'a>(shared: &'a Shared, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let waited = shared
        .changed
        .wait_timeout(state, DISCONNECT_CHECK_INTERVAL);
    waited.expect("not poisoned").0
}

fn news(watch: &Watch, state: &State) -> Vec<String> {
    let changes = state.changes_after(watch.after).iter();
    let meant = changes.filter(|change| {
        let (plural, namespace, _) = &change.key;
        *plural == watch.resource.plural
            && (!watch.resource.namespaced
                || watch.namespace.is_empty()
                || *namespace == watch.namespace)
            && watch.selector.selects(&change.object)
    });
    let line = |change: &Change| event(watch, change.kind, &change.object);
    meant.map(line).collect()
}

fn event(watch: &Watch, kind: &str, object: &Value) -> String {
    let table = |object| table::table(std::slice::from_ref(object), watch.resource.plural, 0);
    let object = if watch.as_table {
        table(object)
    } else {
        object.clone()
    };
    format!("{}\n", json!({ "type": kind, "object": object }))
}

/// Returns a bookmark, which can mark the end of the existing objects.
fn bookmark(watch: &Watch, ends_first: bool) -> String {
    let mut object = json!({
        "apiVersion": watch.resource.api_version(), "kind": watch.resource.kind,
        "metadata": {
            "resourceVersion": watch.after.to_string(),
        },
    });
    if ends_first {
        object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    format!("{}\n", json!({ "type": "BOOKMARK", "object": object }))
}
