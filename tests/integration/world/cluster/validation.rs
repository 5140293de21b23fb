//! Validation of objects.

use serde_json::Value;

use super::labels;
use super::resources::Resource;
use super::status::Status;

/// The size of the data of a Secret or ConfigMap.
const MAX_DATA: usize = 1_048_576;

const METADATA: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];
const POD: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];
const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];
const JOB: &[&str] = &[
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completionMode",
    "completions",
    "managedBy",
    "manualSelector",
    "maxFailedIndexes",
    "parallelism",
    "podFailurePolicy",
    "podReplacementPolicy",
    "selector",
    "successPolicy",
    "suspend",
    "template",
    "ttlSecondsAfterFinished",
];
const SERVICE: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "trafficDistribution",
    "type",
];

/// Returns the members that objects of this kind can have, and those of their `spec`; `None` if anything is accepted.
fn members(
    kind: &str,
) -> (
    Option<&'static [&'static str]>,
    Option<&'static [&'static str]>,
) {
    let spec: &[&str] = &["spec", "status"];
    match kind {
        "Namespace" => (Some(spec), Some(&["finalizers"])),
        "ConfigMap" => (Some(&["data", "binaryData", "immutable"]), None),
        "Secret" => (Some(&["data", "stringData", "immutable", "type"]), None),
        "ServiceAccount" => (
            Some(&[
                "secrets",
                "imagePullSecrets",
                "automountServiceAccountToken",
            ]),
            None,
        ),
        "Service" => (Some(spec), Some(SERVICE)),
        "Pod" => (Some(spec), Some(POD)),
        "Deployment" => (
            Some(spec),
            Some(&[
                "minReadySeconds",
                "paused",
                "progressDeadlineSeconds",
                "replicas",
                "revisionHistoryLimit",
                "selector",
                "strategy",
                "template",
            ]),
        ),
        "StatefulSet" => (
            Some(spec),
            Some(&[
                "minReadySeconds",
                "ordinals",
                "persistentVolumeClaimRetentionPolicy",
                "podManagementPolicy",
                "replicas",
                "revisionHistoryLimit",
                "selector",
                "serviceName",
                "template",
                "updateStrategy",
                "volumeClaimTemplates",
            ]),
        ),
        "Job" => (Some(spec), Some(JOB)),
        "DaemonSet" => (
            Some(spec),
            Some(&[
                "minReadySeconds",
                "revisionHistoryLimit",
                "selector",
                "template",
                "updateStrategy",
            ]),
        ),
        "Event" | "Role" | "RoleBinding" | "ControllerRevision" => (None, None),
        _ => (Some(spec), None),
    }
}

/// Returns the paths of unknown fields.
pub fn unknown_fields(resource: &Resource, object: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut check = |value: &Value, path: &str, known: &[&str]| {
        let names = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name);
        let strangers = names.filter(|name| !known.contains(&name.as_str()));
        unknown.extend(strangers.map(|name| format!("{path}.{name}")));
    };
    let (top, spec) = members(resource.kind);
    if let Some(top) = top {
        check(
            object,
            "",
            &[&["apiVersion", "kind", "metadata"], top].concat(),
        );
    }
    check(&object["metadata"], ".metadata", METADATA);
    if let Some(spec) = spec {
        check(&object["spec"], ".spec", spec);
    }
    if let Some((pod, path)) = pod_spec(object) {
        check(pod, path, POD);
        for list in ["initContainers", "containers"] {
            for container in pod[list].as_array().into_iter().flatten() {
                let path = format!("{path}.{list}[name={}]", container["name"]);
                check(container, &path, CONTAINER);
            }
        }
    }
    unknown
}

fn pod_spec(object: &Value) -> Option<(&Value, &'static str)> {
    match object["kind"].as_str()? {
        "Pod" => Some((&object["spec"], ".spec")),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            Some((&object["spec"]["template"]["spec"], ".spec.template.spec"))
        }
        _ => None,
    }
}

/// Validates an object.
pub fn check(resource: &Resource, old: Option<&Value>, object: &Value) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let invalid = |field: &str, problem: &str| Err(Status::invalid(resource, name, field, problem));
    if !is_subdomain(name) && resource.group != "rbac.authorization.k8s.io" {
        let problem = format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case \
             alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        );
        return invalid("metadata.name", &problem);
    }
    labels::check(resource, name, object)?;
    let spec = &object["spec"];
    match resource.kind {
        "Job" => check_job(resource, name, old, spec)?,
        "ConfigMap" | "Secret" => {
            let size: usize = ["data", "binaryData"]
                .iter()
                .flat_map(|member| object[member].as_object().into_iter().flatten())
                .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
                .sum();
            // Values of Secrets are in Base64 here.
            let size = if resource.kind == "Secret" {
                size / 4 * 3
            } else {
                size
            };
            if size > MAX_DATA {
                let problem = format!("Too long: may not be more than {MAX_DATA} bytes");
                return invalid("data", &problem);
            }
            let data = object["data"].as_object().into_iter().flatten();
            if let Some((key, _)) = { data }.find(|(_, value)| !value.is_string()) {
                return Err(Status::bad_request(format!(
                    "{} in version \"v1\" cannot be handled as a {}: json: cannot unmarshal into Go \
                     struct field {}.data of type string ({key})",
                    resource.kind, resource.kind, resource.kind
                )));
            }
            if old.is_some_and(|old| old["immutable"] == true && old["data"] != object["data"]) {
                return invalid(
                    "data",
                    "Forbidden: field is immutable when `immutable` is set",
                );
            }
        }
        "Service"
            if spec["ports"].as_array().is_none_or(Vec::is_empty)
                && spec["clusterIP"] != "None"
                && spec["type"] != "ExternalName" =>
        {
            return invalid("spec.ports", "Required value");
        }
        "Deployment" | "StatefulSet" | "DaemonSet" => {
            let selector = &spec["selector"]["matchLabels"];
            let labels = &spec["template"]["metadata"]["labels"];
            if spec["selector"].is_null() {
                return invalid("spec.selector", "Required value");
            }
            let pairs = selector.as_object().into_iter().flatten();
            if { pairs }.any(|(name, value)| labels[name] != *value) {
                let problem =
                    format!("Invalid value: {labels}: `selector` does not match template `labels`");
                return invalid("spec.template.metadata.labels", &problem);
            }
            if old.is_some_and(|old| old["spec"]["selector"] != spec["selector"]) {
                let problem = format!("Invalid value: {}: field is immutable", spec["selector"]);
                return invalid("spec.selector", &problem);
            }
        }
        _ => {}
    }
    let Some((pod, path)) = pod_spec(object) else {
        return Ok(());
    };
    let path = path.trim_start_matches('.');
    let containers = pod["containers"].as_array();
    if containers.is_none_or(Vec::is_empty) {
        return invalid(&format!("{path}.containers"), "Required value");
    }
    for (at, container) in containers.into_iter().flatten().enumerate() {
        for member in ["name", "image"] {
            if container[member].as_str().is_none_or(str::is_empty) {
                return invalid(
                    &format!("{path}.containers[{at}].{member}"),
                    "Required value",
                );
            }
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volumes = pod["volumes"].as_array();
            if !volumes
                .is_some_and(|volumes| volumes.iter().any(|volume| volume["name"] == mount["name"]))
            {
                let field = format!("{path}.containers[{at}].volumeMounts[0].name");
                return invalid(&field, &format!("Not found: {}", mount["name"]));
            }
        }
    }
    Ok(())
}

fn check_job(
    resource: &Resource,
    name: &str,
    old: Option<&Value>,
    spec: &Value,
) -> Result<(), Status> {
    let invalid = |field: &str, problem: &str| Err(Status::invalid(resource, name, field, problem));
    if name.len() > 63 {
        let problem = format!("Invalid value: {name:?}: must be no more than 63 characters");
        return invalid("metadata.name", &problem);
    }
    match spec["template"]["spec"]["restartPolicy"].as_str() {
        Some("Never" | "OnFailure") => {}
        None | Some("Always") => {
            let problem = r#"Required value: valid values: "OnFailure", "Never""#;
            return invalid("spec.template.spec.restartPolicy", problem);
        }
        Some(other) => {
            let problem =
                format!(r#"Unsupported value: {other:?}: supported values: "OnFailure", "Never""#);
            return invalid("spec.template.spec.restartPolicy", &problem);
        }
    }
    let Some(old) = old else { return Ok(()) };
    // The template can change while the Job is suspended and has not started; that is not supported here.
    for member in ["template", "selector", "completions", "podFailurePolicy"] {
        if old["spec"][member] != spec[member] {
            let problem = format!("Invalid value: {}: field is immutable", spec[member]);
            return invalid(&format!("spec.{member}"), &problem);
        }
    }
    Ok(())
}

fn is_subdomain(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(is_word)
        && name.ends_with(is_word)
        && name.len() <= 253
        && name.chars().all(|c| is_word(c) || c == '-' || c == '.')
}
