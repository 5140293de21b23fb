//! Events about objects.

use serde_json::{Value, json};

use super::resources::Resource;
use super::store::{Key, State, key, now};

/// Adds an event about an object, or counts a repeated one.
pub fn add(
    state: &mut State,
    about: &Value,
    component: &str,
    severity: &str,
    reason: &str,
    message: &str,
) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &about["metadata"];
    let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
    // As in Kubernetes, a namespace that is being deleted gets no new objects.
    let namespaces = Resource::by_plural("namespaces").expect("it is known");
    let of_namespace = state.get(&key(namespaces, "", &namespace));
    if of_namespace.is_none_or(|object| !object["metadata"]["deletionTimestamp"].is_null()) {
        return;
    }
    let prefix = format!("{name}.");
    let is_same = |event: &Value| {
        event["involvedObject"]["uid"] == metadata["uid"]
            && event["reason"] == reason
            && event["message"] == message
    };
    let events = state
        .list_with_prefix("events", &namespace, &prefix)
        .into_iter();
    let same: Option<(Key, Value)> = { events }
        .find(|(_, event)| is_same(event))
        .map(|(key, event)| (key.clone(), event.clone()));
    if let Some((key, mut event)) = same {
        event["count"] = (event["count"].as_u64().unwrap_or(1) + 1).into();
        event["lastTimestamp"] = now().into();
        state.put(&key, event);
        return;
    }
    let resource = Resource::by_plural("events").expect("it is known");
    let name = format!("{prefix}{:016x}", state.next_number());
    let mut event = json!({
        "metadata": {},
        "involvedObject": {
            "apiVersion": about["apiVersion"], "kind": about["kind"],
            "name": metadata["name"], "namespace": namespace, "uid": metadata["uid"],
        },
        "type": severity, "reason": reason, "message": message, "count": 1,
        "source": { "component": component }, "reportingComponent": component,
        "firstTimestamp": now(), "lastTimestamp": now(),
    });
    state.begin(resource, &namespace, &name, &mut event);
    state.put(&key(resource, &namespace, &name), event);
}
