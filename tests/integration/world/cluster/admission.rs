//! Checks of new objects beyond their validity: quotas and service accounts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::quantity;
use super::resources::Resource;
use super::status::Status;
use super::store::{Key, State, key};

/// Checks a new object.
pub fn admit(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
    object: &Value,
) -> Result<(), Status> {
    let namespaces = Resource::by_plural("namespaces").expect("it is known");
    let terminates = state
        .get(&key(namespaces, "", namespace))
        .is_some_and(|object| !object["metadata"]["deletionTimestamp"].is_null());
    if terminates && resource.namespaced {
        let because = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        return Err(Status::forbidden(resource, name, &because));
    }
    if resource.plural == "pods" {
        check_account(state, resource, namespace, name, object)?;
    }
    let requested = amounts(resource, object);
    for (quota_key, quota) in state.list("resourcequotas", namespace) {
        check_quota(state, quota_key, quota, &requested)
            .map_err(|because| Status::forbidden(resource, name, &because))?;
    }
    Ok(())
}

fn check_account(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
    pod: &Value,
) -> Result<(), Status> {
    let account = pod["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or("default");
    let accounts = Resource::by_plural("serviceaccounts").expect("it is known");
    if account == "default" || state.get(&key(accounts, namespace, account)).is_some() {
        return Ok(());
    }
    let because = format!(
        "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
    );
    Err(Status::forbidden(resource, name, &because))
}

fn check_quota(
    state: &State,
    quota_key: &Key,
    quota: &Value,
    requested: &BTreeMap<String, f64>,
) -> Result<(), String> {
    let hard = quota["spec"]["hard"].as_object();
    let hard: Vec<(&String, f64)> = hard
        .into_iter()
        .flatten()
        .filter_map(|(name, limit)| Some((name, quantity::parse(limit)?)))
        .collect();
    if requested.contains_key("pods") {
        let is_computed = |name: &str| name.contains("cpu") || name.contains("memory");
        let missing = hard.iter().map(|(name, _)| name.as_str());
        let missing = missing.filter(|name| is_computed(name) && !requested.contains_key(*name));
        let missing: Vec<&str> = missing.collect();
        if !missing.is_empty() {
            return Err(format!(
                "failed quota: {}: must specify {}",
                quota_key.2,
                missing.join(",")
            ));
        }
    }
    let used = used(state, &quota_key.1);
    let (mut asked, mut before, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for (name, limit) in hard {
        let Some(amount) = requested.get(name) else {
            continue;
        };
        let already = used.get(name).copied().unwrap_or(0.0);
        if already + amount > limit {
            asked.push(format!("{name}={}", quantity::format(*amount)));
            before.push(format!("{name}={}", quantity::format(already)));
            limits.push(format!("{name}={}", quantity::format(limit)));
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    Err(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        quota_key.2,
        asked.join(","),
        before.join(","),
        limits.join(",")
    ))
}

/// Updates the status of the quotas of a namespace.
pub fn update_quotas(state: &mut State, namespace: &str) {
    let quotas = state.list("resourcequotas", namespace).into_iter();
    let quotas: Vec<(Key, Value)> = quotas
        .map(|(key, quota)| (key.clone(), quota.clone()))
        .collect();
    if quotas.is_empty() {
        return;
    }
    let used = used(state, namespace);
    for (key, mut quota) in quotas {
        let hard = quota["spec"]["hard"].clone();
        let names = hard.as_object().into_iter().flatten();
        let of_hard = names.map(|(name, _)| {
            let amount = used.get(name).copied().unwrap_or(0.0);
            (name.clone(), Value::from(quantity::format(amount)))
        });
        let of_hard: serde_json::Map<_, _> = of_hard.collect();
        quota["status"] = json!({ "hard": hard, "used": of_hard });
        state.put(&key, quota);
    }
}

fn used(state: &State, namespace: &str) -> BTreeMap<String, f64> {
    let mut used = BTreeMap::new();
    for ((plural, of, _), object) in state.all() {
        if of != namespace {
            continue;
        }
        let phase = object["status"]["phase"].as_str();
        if *plural == "pods" && matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        let Some(resource) = Resource::by_plural(plural) else {
            continue;
        };
        for (name, amount) in amounts(resource, object) {
            *used.entry(name).or_insert(0.0) += amount;
        }
    }
    used
}

/// Returns how much an object takes of each resource of a quota.
fn amounts(resource: &Resource, object: &Value) -> BTreeMap<String, f64> {
    let mut amounts = BTreeMap::from([(format!("count/{}", resource.qualified()), 1.0)]);
    if resource.group.is_empty() {
        amounts.insert(resource.plural.to_owned(), 1.0);
    }
    if resource.plural != "pods" {
        return amounts;
    }
    for container in object["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let resources = &container["resources"];
        for what in ["cpu", "memory"] {
            let limit = quantity::parse(&resources["limits"][what]);
            let request = quantity::parse(&resources["requests"][what]).or(limit);
            for (name, amount) in [
                (format!("limits.{what}"), limit),
                (format!("requests.{what}"), request),
                (what.to_owned(), request),
            ] {
                if let Some(amount) = amount {
                    *amounts.entry(name).or_insert(0.0) += amount;
                }
            }
        }
    }
    amounts
}
