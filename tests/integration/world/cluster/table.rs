//! Lists as tables, for `kubectl get`.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns objects of one kind as a table.
pub fn table(objects: &[Value], plural: &str, revision: u64) -> Value {
    let columns = columns(plural);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|name| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({ "name": name, "type": "string", "format": format, "description": "", "priority": 0 })
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<String> = columns.iter().map(|column| cell(object, column)).collect();
            let partial = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            });
            json!({ "cells": cells, "object": partial })
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": { "resourceVersion": revision.to_string() },
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn columns(plural: &str) -> &'static [&'static str] {
    match plural {
        "deployments" => &["Name", "Ready", "Up-to-date", "Available", "Age"],
        "statefulsets" => &["Name", "Ready", "Age"],
        "jobs" => &["Name", "Status", "Completions", "Duration", "Age"],
        "pods" => &["Name", "Ready", "Status", "Restarts", "Age"],
        "configmaps" => &["Name", "Data", "Age"],
        "secrets" => &["Name", "Type", "Data", "Age"],
        "services" => &["Name", "Type", "Cluster-IP", "Age"],
        "events" => &["Last Seen", "Type", "Reason", "Object", "Message"],
        "namespaces" => &["Name", "Status", "Age"],
        _ => &["Name", "Age"],
    }
}

fn cell(object: &Value, column: &str) -> String {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let containers = status["containerStatuses"].as_array();
    let is_pod = object["kind"] == "Pod";
    match column {
        "Name" => text(&object["metadata"]["name"]),
        "Ready" if is_pod => {
            let ready = containers
                .into_iter()
                .flatten()
                .filter(|status| status["ready"] == true);
            format!("{}/{}", ready.count(), containers.map_or(0, Vec::len))
        }
        "Ready" => format!(
            "{}/{}",
            number(&status["readyReplicas"]),
            number(&spec["replicas"])
        ),
        "Status" if is_pod => pod_status(object),
        "Status" if object["kind"] == "Job" => job_status(object),
        "Completions" => format!(
            "{}/{}",
            number(&status["succeeded"]),
            number(&spec["completions"])
        ),
        "Duration" => age(&status["startTime"]),
        "Status" => text(&status["phase"]),
        "Restarts" => containers
            .and_then(|all| all.first())
            .map_or(0, |one| number(&one["restartCount"]))
            .to_string(),
        "Up-to-date" => number(&status["updatedReplicas"]).to_string(),
        "Available" => number(&status["availableReplicas"]).to_string(),
        "Data" => object["data"]
            .as_object()
            .map_or(0, serde_json::Map::len)
            .to_string(),
        "Type" if object["kind"] == "Service" => text(&spec["type"]),
        "Type" => text(&object["type"]),
        "Cluster-IP" => text(&spec["clusterIP"]),
        "Reason" => text(&object["reason"]),
        "Message" => text(&object["message"]),
        "Object" => {
            let about = &object["involvedObject"];
            format!(
                "{}/{}",
                text(&about["kind"]).to_lowercase(),
                text(&about["name"])
            )
        }
        "Last Seen" => age(&object["lastTimestamp"]),
        _ => age(&object["metadata"]["creationTimestamp"]),
    }
}

/// Returns the status of a pod as `kubectl get` shows it.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let reason_of = |container: &Value| {
        let state = &container["state"];
        let reasons = [&state["waiting"]["reason"], &state["terminated"]["reason"]];
        reasons
            .into_iter()
            .find_map(|reason| reason.as_str().map(str::to_owned))
    };
    let of = |list: &str| status[list].as_array().into_iter().flatten();
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating".to_owned();
    }
    if let Some(reason) = status["reason"].as_str() {
        return reason.to_owned();
    }
    let specs = pod["spec"]["initContainers"].as_array();
    let is_sidecar = |name: &Value| {
        let mut specs = specs.into_iter().flatten();
        specs.any(|spec| spec["name"] == *name && spec["restartPolicy"] == "Always")
    };
    let blocked = of("initContainerStatuses").find(|one| {
        let waits = if is_sidecar(&one["name"]) {
            status["phase"] == "Pending"
        } else {
            one["state"]["terminated"]["exitCode"] != 0
        };
        waits && one["state"]["running"].is_null()
    });
    let reason = match blocked {
        Some(blocked) => reason_of(blocked).map(|reason| format!("Init:{reason}")),
        None => of("containerStatuses").find_map(reason_of),
    };
    reason.unwrap_or_else(|| status["phase"].as_str().unwrap_or_default().to_owned())
}

fn job_status(job: &Value) -> String {
    let mut conditions = job["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .rev();
    let last = conditions.find(|condition| condition["status"] == "True");
    let name = last.and_then(|condition| condition["type"].as_str());
    name.unwrap_or("Running").to_owned()
}

fn age(time: &Value) -> String {
    let then = OffsetDateTime::parse(time.as_str().unwrap_or_default(), &Rfc3339);
    then.map_or_else(
        |_| "<unknown>".to_owned(),
        |then| {
            format!(
                "{}s",
                (OffsetDateTime::now_utc() - then).whole_seconds().max(0)
            )
        },
    )
}
