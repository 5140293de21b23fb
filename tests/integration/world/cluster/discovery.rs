//! Discovery: the kinds that the server supports, and their schemas.

use serde_json::{Map, Value, json};

use super::resources::{RESOURCES, Resource, groups};

/// The media type of aggregated discovery, which takes a single response.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The media type of [`OLD_SCHEMA`].
pub const OLD_SCHEMA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// An older schema as a protocol buffer, which clients read for unknown kinds. It contains only its version, 2.0.
pub const OLD_SCHEMA: &str = "\n\u{3}2.0";

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// Returns the discovery document at a path and its media type; `None` for other paths.
pub fn answer(path: &str, accept: &str) -> Option<(&'static str, Value)> {
    let aggregated = accept.contains("as=APIGroupDiscoveryList") && accept.contains("v=v2;");
    let plain = |value| Some(("application/json", value));
    match path.trim_end_matches('/') {
        "/version" => plain(version()),
        "/readyz" | "/livez" | "/healthz" => plain(json!("ok")),
        "/api" if aggregated => Some((AGGREGATED, aggregate(&[""]))),
        "/apis" if aggregated => Some((AGGREGATED, aggregate(&groups()))),
        "/api" => plain(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => {
            let groups: Vec<_> = groups().into_iter().map(group).collect();
            plain(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        "/api/v1" => plain(resource_list("")),
        "/openapi/v3" => plain(schema_index()),
        path => {
            if let Some(rest) = path.strip_prefix("/openapi/v3/") {
                let group = rest
                    .strip_prefix("apis/")
                    .and_then(|rest| rest.strip_suffix("/v1"));
                let group = if rest == "api/v1" { Some("") } else { group };
                return plain(schema(group?));
            }
            let rest = path.strip_prefix("/apis/")?;
            let (name, versioned) = match rest.strip_suffix("/v1") {
                Some(name) => (name, true),
                None => (rest, false),
            };
            let name = groups().into_iter().find(|group| *group == name)?;
            plain(if versioned {
                resource_list(name)
            } else {
                group(name)
            })
        }
    }
}

fn version() -> Value {
    // Image volumes are stable since this version.
    json!({
        "major": "1", "minor": "33", "gitVersion": "v1.33.1", "gitCommit": "test",
        "gitTreeState": "clean", "buildDate": "2025-05-15T00:00:00Z", "goVersion": "none",
        "compiler": "none", "platform": "linux/amd64",
    })
}

fn of_group(group: &str) -> impl Iterator<Item = &'static Resource> {
    RESOURCES
        .iter()
        .filter(move |resource| resource.group == group)
}

fn group_version(group: &str) -> String {
    of_group(group)
        .next()
        .map(Resource::api_version)
        .unwrap_or_default()
}

fn group(name: &str) -> Value {
    let version = json!({ "groupVersion": group_version(name), "version": "v1" });
    json!({
        "kind": "APIGroup", "apiVersion": "v1",
        "name": name, "versions": [version], "preferredVersion": version,
    })
}

fn resource_list(group: &str) -> Value {
    let resources: Vec<_> = of_group(group)
        .map(|resource| {
            json!({
                "name": resource.plural, "singularName": resource.kind.to_lowercase(),
                "namespaced": resource.namespaced, "kind": resource.kind,
                "verbs": VERBS, "shortNames": resource.short_names,
            })
        })
        .collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group), "resources": resources,
    })
}

fn aggregate(groups: &[&str]) -> Value {
    let items: Vec<_> = groups
        .iter()
        .map(|group| {
            let resources: Vec<_> = of_group(group).map(aggregated_resource).collect();
            let metadata = match *group {
                "" => json!({ "creationTimestamp": null }),
                group => json!({ "name": group, "creationTimestamp": null }),
            };
            json!({
                "metadata": metadata,
                "versions": [{ "version": "v1", "resources": resources, "freshness": "Current" }],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    json!({
        "resource": resource.plural,
        "responseKind": {
            "group": resource.group, "version": resource.version, "kind": resource.kind,
        },
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.kind.to_lowercase(),
        "verbs": VERBS,
        "shortNames": resource.short_names,
    })
}

fn group_path(group: &str) -> String {
    match group {
        "" => "api/v1".to_owned(),
        group => format!("apis/{group}/v1"),
    }
}

fn schema_index() -> Value {
    let all = [&[""], groups().as_slice()].concat();
    let paths: Map<_, _> = all
        .into_iter()
        .map(group_path)
        .map(|path| {
            let url = format!("/openapi/v3/{path}?hash=1");
            (path, json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
}

/// The part of a schema that tells clients to leave validation to the server: patches support the parameter
/// `fieldValidation`.
fn schema(group: &str) -> Value {
    let paths: Map<_, _> = of_group(group)
        .map(|resource| {
            let place = if resource.namespaced {
                "namespaces/{namespace}/"
            } else {
                ""
            };
            let path = format!("/{}/{place}{}/{{name}}", group_path(group), resource.plural);
            let parameter =
                |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
            let patch = json!({
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": {
                    "group": group, "version": resource.version, "kind": resource.kind,
                },
                "parameters": [parameter("dryRun"), parameter("fieldValidation")],
                "responses": { "200": { "description": "OK" } },
            });
            (path, json!({ "patch": patch }))
        })
        .collect();
    json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.33.1" }, "paths": paths })
}
