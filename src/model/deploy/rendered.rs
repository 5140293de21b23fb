//! The output of kustomize: objects, their images, and the workloads to wait for.

use std::collections::BTreeMap;
use std::fmt;

use super::configuration::{FieldSpec, get, items, scalars};
use crate::model::manifest::node::{Node, NodeKind};
use crate::model::manifest::yaml::read_rendered;

/// Rendered Kubernetes objects.
#[derive(Debug, Clone, Default)]
pub struct RenderedObjects {
    objects: Vec<Node>,
}

/// The identity of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// The API version, such as `apps/v1`.
    pub api: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    pub name: String,
    /// Its own `namespace` field.
    pub namespace: Option<String>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// An object with a rollout to wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// The kind as for `kubectl rollout`: `deployment`, `statefulset` or `daemonset`.
    pub kind: &'static str,
    pub name: String,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// An image in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectImage {
    pub object: Object,
    /// The image as written.
    pub image: String,
}

impl RenderedObjects {
    /// Reads the output of kustomize; `None` if it is not valid YAML.
    pub fn read(text: &str) -> Option<Self> {
        let mut objects = Vec::new();
        for node in read_rendered(text)? {
            match (text_of(&node, "kind"), get(&node, "items")) {
                (Some(kind), Some(list)) if kind.ends_with("List") => {
                    objects.extend(items(Some(list)).iter().cloned());
                }
                _ => objects.push(node),
            }
        }
        Some(Self { objects })
    }

    /// Returns the objects, in order.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        self.objects.iter().map(object)
    }

    /// Returns the workloads to wait for after applying.
    pub fn workloads(&self) -> Vec<Workload> {
        let workloads = self.all_workloads();
        let awaited = workloads.filter(|(_, why)| why.is_none());
        awaited.map(|(workload, _)| workload).collect()
    }

    /// Returns the workloads that do not roll out automatically, and why.
    pub fn manual_rollouts(&self) -> Vec<(Workload, &'static str)> {
        let workloads = self.all_workloads();
        workloads
            .filter_map(|(workload, why)| Some((workload, why?)))
            .collect()
    }

    /// Returns all workloads, each with the reason not to wait for it, if any.
    fn all_workloads(&self) -> impl Iterator<Item = (Workload, Option<&'static str>)> {
        self.objects.iter().filter_map(|node| {
            let object = object(node);
            let kind = match object.kind.as_str() {
                "Deployment" => "deployment",
                "StatefulSet" => "statefulset",
                "DaemonSet" => "daemonset",
                _ => return None,
            };
            let spec = get(node, "spec");
            let strategy = spec.and_then(|spec| get(spec, "updateStrategy"));
            let strategy = strategy.and_then(|strategy| text_of(strategy, "type"));
            let is_paused = spec.and_then(|spec| text_of(spec, "paused"));
            let why = match kind {
                "deployment" if is_paused.as_deref() == Some("true") => Some("it is paused"),
                "statefulset" | "daemonset" if strategy.as_deref() == Some("OnDelete") => {
                    Some("its update strategy is OnDelete")
                }
                _ => None,
            };
            let name = object.name;
            let workload = Workload { kind, name };
            object.api.starts_with("apps/").then_some((workload, why))
        })
    }

    /// Returns the images of containers and in additional fields, such as image volumes, one for each occurrence.
    pub fn images(&self, fields: &[FieldSpec]) -> Vec<ObjectImage> {
        let mut found = Vec::new();
        for node in &self.objects {
            let object = object(node);
            let mut images = Vec::new();
            containers(node, &mut images);
            for field in fields.iter().filter(|field| applies_to(field, &object)) {
                let parts: Vec<&str> = field.path.split('/').collect();
                find_field(node, &parts, &mut images);
            }
            let uses = images.into_iter().map(|image| ObjectImage {
                object: object.clone(),
                image: image.to_owned(),
            });
            found.extend(uses);
        }
        found
    }

    /// Returns the images of each object, in order.
    pub(super) fn images_by_object(&self, fields: &[FieldSpec]) -> BTreeMap<Object, Vec<String>> {
        let mut found: BTreeMap<Object, Vec<String>> = BTreeMap::new();
        for ObjectImage { object, image } in self.images(fields) {
            found.entry(object).or_default().push(image);
        }
        found
    }

    /// Returns all scalars below a key in all objects of a kind, such as `data` of `Secret`.
    pub(super) fn texts(&self, kind: &str, key: &str) -> Vec<&str> {
        let of_kind = |node: &&Node| text_of(node, "kind").as_deref() == Some(kind);
        let mut found = Vec::new();
        for node in self.objects.iter().filter(of_kind) {
            scalars(get(node, key), &mut |text| found.push(text));
        }
        found
    }
}

fn object(node: &Node) -> Object {
    let metadata = get(node, "metadata");
    let meta = |key: &str| metadata.and_then(|metadata| text_of(metadata, key));
    Object {
        api: text_of(node, "apiVersion").unwrap_or_default(),
        kind: text_of(node, "kind").unwrap_or_default(),
        name: meta("name")
            .or_else(|| meta("generateName"))
            .unwrap_or_default(),
        namespace: meta("namespace"),
    }
}

fn text_of(node: &Node, key: &str) -> Option<String> {
    match &get(node, key)?.kind {
        NodeKind::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

fn applies_to(field: &FieldSpec, object: &Object) -> bool {
    let (group, version) = object.api.split_once('/').unwrap_or(("", &object.api));
    let matches = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    matches(&field.group, group)
        && matches(&field.version, version)
        && matches(&field.kind, &object.kind)
}

/// Finds the images of containers in pod templates at any depth.
fn containers<'n>(node: &'n Node, images: &mut Vec<&'n str>) {
    match &node.kind {
        NodeKind::Sequence(nodes) => nodes.iter().for_each(|node| containers(node, images)),
        NodeKind::Mapping(entries) => {
            for entry in entries {
                if matches!(
                    entry.key.as_str(),
                    "containers" | "initContainers" | "ephemeralContainers"
                ) {
                    for container in items(Some(&entry.value)) {
                        find_field(container, &["image"], images);
                    }
                }
                containers(&entry.value, images);
            }
        }
        NodeKind::Null | NodeKind::Scalar { .. } => {}
    }
}

/// Finds the values of a field, traversing lists.
fn find_field<'n>(node: &'n Node, parts: &[&str], images: &mut Vec<&'n str>) {
    match (&node.kind, parts) {
        (NodeKind::Sequence(nodes), _) => nodes
            .iter()
            .for_each(|node| find_field(node, parts, images)),
        (NodeKind::Scalar { text, .. }, []) => images.push(text),
        (NodeKind::Mapping(_), [part, rest @ ..]) => {
            if let Some(below) = get(node, part.trim_end_matches("[]")) {
                find_field(below, rest, images);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::configuration::image_fields;
    use super::*;

    const TEXT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: n}
spec:
  template:
    spec:
      initContainers: [{image: one}]
      containers:
      - image: two:1
      volumes:
      - image: {reference: 'three'}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: b}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: two:1}]}}}}}
---
apiVersion: x.example.com/v1
kind: Site
metadata: {name: c}
spec: {image: four, other: five}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: d}
data: {image: six}
";

    #[test]
    fn images_are_found_in_all_fields() {
        let rendered = RenderedObjects::read(TEXT).unwrap();
        let found = |own: &str| {
            let fields = image_fields(FieldSpec::read(own));
            let images = rendered.images(&fields).into_iter();
            let found: Vec<String> = images
                .map(|it| format!("{}: {}", it.object, it.image))
                .collect();
            found
        };
        let usual = [
            "Deployment a: one",
            "Deployment a: two:1",
            "Deployment a: three",
            "CronJob b: two:1",
        ];
        assert_eq!(found(""), usual);
        assert_eq!(
            found("images: [{kind: Site, group: x.example.com, path: spec/image}]")[4],
            "Site c: four"
        );
        assert_eq!(
            found("images: [{kind: Site, group: y, path: spec/image}]"),
            usual
        );
    }

    #[test]
    fn only_workloads_are_waited_for() {
        let rendered = RenderedObjects::read(TEXT).unwrap();
        let workloads = rendered.workloads();
        assert_eq!(workloads.len(), 1);
        assert_eq!(workloads[0].to_string(), "deployment/a");
        assert_eq!(rendered.objects().count(), 4);
    }

    #[test]
    fn lists_are_expanded() {
        let text =
            "apiVersion: v1\nkind: List\nitems:\n- {kind: Secret, data: {a: eHg=, b: {c: [d]}}}\n";
        let rendered = RenderedObjects::read(text).unwrap();
        // At any depth: values that the cluster would reject are secrets too.
        assert_eq!(rendered.texts("Secret", "data"), ["eHg=", "d"]);
    }

    #[test]
    fn manual_rollouts_are_not_waited_for() {
        let text = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\nspec: {updateStrategy: {type: OnDelete}}\n---\n\
                    apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec: {paused: true}\n---\n\
                    apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: c}\nspec: {paused: false}\n";
        let rendered = RenderedObjects::read(text).unwrap();
        let names: Vec<String> = rendered
            .workloads()
            .iter()
            .map(Workload::to_string)
            .collect();
        assert_eq!(names, ["deployment/c"]);
        let others = rendered.manual_rollouts();
        let others: Vec<String> = others
            .iter()
            .map(|(it, why)| format!("{it}: {why}"))
            .collect();
        assert_eq!(
            others,
            [
                "daemonset/a: its update strategy is OnDelete",
                "deployment/b: it is paused"
            ]
        );
    }
}
