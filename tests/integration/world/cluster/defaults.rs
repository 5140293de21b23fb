//! Defaults of new objects.

use serde_json::{Value, json};

use super::resources::Resource;

/// Sets the defaults that clients read; only a few of the real ones.
pub fn fill_in(resource: &Resource, object: &mut Value) {
    match resource.kind {
        "Namespace" => object["status"]["phase"] = "Active".into(),
        "Secret" => {
            set(object, "type", "Opaque".into());
            encode_strings(object);
        }
        "Service" => {
            let spec = &mut object["spec"];
            set(spec, "type", "ClusterIP".into());
            set(spec, "clusterIP", "10.96.0.10".into());
            set(spec, "sessionAffinity", "None".into());
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                set(port, "protocol", "TCP".into());
                let number = port["port"].clone();
                set(port, "targetPort", number);
            }
        }
        "Deployment" => {
            let spec = &mut object["spec"];
            set(spec, "replicas", 1.into());
            set(spec, "revisionHistoryLimit", 10.into());
            set(spec, "progressDeadlineSeconds", 600.into());
            set(&mut spec["strategy"], "type", "RollingUpdate".into());
        }
        "StatefulSet" => {
            let spec = &mut object["spec"];
            set(spec, "replicas", 1.into());
            set(&mut spec["updateStrategy"], "type", "RollingUpdate".into());
        }
        "DaemonSet" => set(
            &mut object["spec"]["updateStrategy"],
            "type",
            "RollingUpdate".into(),
        ),
        "Job" => fill_in_job(object),
        "Pod" => {
            set(&mut object["status"], "phase", "Pending".into());
            fill_in_pod(&mut object["spec"]);
            set(&mut object["spec"], "restartPolicy", "Always".into());
        }
        _ => {}
    }
    if resource.is_workload() {
        let pod = &mut object["spec"]["template"]["spec"];
        // Without a valid one, a Job is rejected.
        if resource.kind != "Job" {
            set(pod, "restartPolicy", "Always".into());
        }
        for container in pod["containers"].as_array_mut().into_iter().flatten() {
            for port in container["ports"].as_array_mut().into_iter().flatten() {
                set(port, "protocol", "TCP".into());
            }
        }
    }
}

fn fill_in_job(job: &mut Value) {
    let uid = job["metadata"]["uid"].clone();
    let name = job["metadata"]["name"].clone();
    let spec = &mut job["spec"];
    set(spec, "parallelism", 1.into());
    set(spec, "completions", 1.into());
    set(spec, "backoffLimit", 6.into());
    set(spec, "completionMode", "NonIndexed".into());
    set(spec, "suspend", false.into());
    set(spec, "podReplacementPolicy", "TerminatingOrFailed".into());
    const UID: &str = "batch.kubernetes.io/controller-uid";
    set(spec, "selector", json!({ "matchLabels": { UID: uid } }));
    let labels = &mut spec["template"]["metadata"]["labels"];
    set(labels, UID, uid.clone());
    set(labels, "controller-uid", uid);
    set(labels, "batch.kubernetes.io/job-name", name.clone());
    set(labels, "job-name", name.clone());
    fill_in_pod(&mut job["spec"]["template"]["spec"]);
}

fn fill_in_pod(spec: &mut Value) {
    set(spec, "terminationGracePeriodSeconds", 30.into());
    set(spec, "dnsPolicy", "ClusterFirst".into());
    set(spec, "schedulerName", "default-scheduler".into());
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let image = container["image"].as_str().unwrap_or_default();
            let last = image.rsplit('/').next().unwrap_or_default();
            let is_latest =
                !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
            let policy = if is_latest { "Always" } else { "IfNotPresent" };
            set(container, "imagePullPolicy", policy.into());
        }
    }
}

fn set(value: &mut Value, name: &str, default: Value) {
    if value[name].is_null() {
        value[name] = default;
    }
}

/// `stringData` is write-only.
fn encode_strings(secret: &mut Value) {
    use base64::Engine as _;
    let strings = secret
        .as_object_mut()
        .and_then(|members| members.shift_remove("stringData"));
    for (name, value) in strings
        .as_ref()
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let text = value.as_str().unwrap_or_default();
        secret["data"][name] = json!(base64::prelude::BASE64_STANDARD.encode(text));
    }
}
