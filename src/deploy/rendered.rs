//! What kustomize rendered: the objects, their images, and what has to be waited for.

use std::collections::BTreeMap;
use std::fmt;

use super::configuration::{FieldSpec, get, items, scalars};
use crate::manifest::node::{Kind, Node};
use crate::manifest::yaml::read_rendered;

/// Objects for a cluster.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    objects: Vec<Node>,
}

/// An object, by what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Such as `apps/v1`.
    pub api: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The namespace that it names itself.
    pub namespace: Option<String>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// An object whose rollout can be waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// As `kubectl rollout` takes it: `deployment`, `statefulset` or `daemonset`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// An image that an object names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Whose it is.
    pub object: Object,
    /// As it is written.
    pub image: String,
}

impl Rendered {
    /// Reads what kustomize printed; none where that is no YAML.
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

    /// Returns the objects, in their order.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        self.objects.iter().map(object)
    }

    /// Returns what is waited for after it was applied.
    pub fn workloads(&self) -> Vec<Workload> {
        let workloads = self.all_workloads();
        let awaited = workloads.filter(|(_, why)| why.is_none());
        awaited.map(|(workload, _)| workload).collect()
    }

    /// Returns the workloads that roll out whenever somebody else says so, and why.
    pub fn not_awaited(&self) -> Vec<(Workload, &'static str)> {
        let workloads = self.all_workloads();
        workloads
            .filter_map(|(workload, why)| Some((workload, why?)))
            .collect()
    }

    /// Returns all workloads, and why one is not waited for.
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

    /// Returns the images that containers run, that are mounted, and that stand in further fields; one for
    /// each place.
    pub fn images(&self, fields: &[FieldSpec]) -> Vec<ImageUse> {
        let mut found = Vec::new();
        for node in &self.objects {
            let object = object(node);
            let mut images = Vec::new();
            containers(node, &mut images);
            for field in fields.iter().filter(|field| is_of(field, &object)) {
                let parts: Vec<&str> = field.path.split('/').collect();
                at(node, &parts, &mut images);
            }
            let uses = images.into_iter().map(|image| ImageUse {
                object: object.clone(),
                image: image.to_owned(),
            });
            found.extend(uses);
        }
        found
    }

    /// Returns the images of each object, in the order of their places there.
    pub(super) fn images_by_object(&self, fields: &[FieldSpec]) -> BTreeMap<Object, Vec<String>> {
        let mut found: BTreeMap<Object, Vec<String>> = BTreeMap::new();
        for ImageUse { object, image } in self.images(fields) {
            found.entry(object).or_default().push(image);
        }
        found
    }

    /// Returns all texts below a key of each object of a kind, such as `data` of `Secret`.
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
        Kind::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

fn is_of(field: &FieldSpec, object: &Object) -> bool {
    let (group, version) = object.api.split_once('/').unwrap_or(("", &object.api));
    let matches = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    matches(&field.group, group)
        && matches(&field.version, version)
        && matches(&field.kind, &object.kind)
}

/// Finds the images of containers, wherever a template of a pod stands.
fn containers<'n>(node: &'n Node, images: &mut Vec<&'n str>) {
    match &node.kind {
        Kind::Sequence(nodes) => nodes.iter().for_each(|node| containers(node, images)),
        Kind::Mapping(entries) => {
            for entry in entries {
                if matches!(
                    entry.key.as_str(),
                    "containers" | "initContainers" | "ephemeralContainers"
                ) {
                    for container in items(Some(&entry.value)) {
                        at(container, &["image"], images);
                    }
                }
                containers(&entry.value, images);
            }
        }
        Kind::Null | Kind::Scalar { .. } => {}
    }
}

/// Finds the texts of a field; lists are stepped into.
fn at<'n>(node: &'n Node, parts: &[&str], images: &mut Vec<&'n str>) {
    match (&node.kind, parts) {
        (Kind::Sequence(nodes), _) => nodes.iter().for_each(|node| at(node, parts, images)),
        (Kind::Scalar { text, .. }, []) => images.push(text),
        (Kind::Mapping(_), [part, rest @ ..]) => {
            if let Some(below) = get(node, part.trim_end_matches("[]")) {
                at(below, rest, images);
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
    fn images_are_found_where_they_stand() {
        let rendered = Rendered::read(TEXT).unwrap();
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
    fn only_what_rolls_out_is_waited_for() {
        let rendered = Rendered::read(TEXT).unwrap();
        let workloads = rendered.workloads();
        assert_eq!(workloads.len(), 1);
        assert_eq!(workloads[0].to_string(), "deployment/a");
        assert_eq!(rendered.objects().count(), 4);
    }

    #[test]
    fn a_list_is_its_items() {
        let text =
            "apiVersion: v1\nkind: List\nitems:\n- {kind: Secret, data: {a: eHg=, b: {c: [d]}}}\n";
        let rendered = Rendered::read(text).unwrap();
        // However deep: what a cluster would refuse is a secret all the same.
        assert_eq!(rendered.texts("Secret", "data"), ["eHg=", "d"]);
    }

    #[test]
    fn what_rolls_out_by_hand_is_not_waited_for() {
        let text = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\nspec: {updateStrategy: {type: OnDelete}}\n---\n\
                    apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec: {paused: true}\n---\n\
                    apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: c}\nspec: {paused: false}\n";
        let rendered = Rendered::read(text).unwrap();
        let names: Vec<String> = rendered
            .workloads()
            .iter()
            .map(Workload::to_string)
            .collect();
        assert_eq!(names, ["deployment/c"]);
        let others = rendered.not_awaited();
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
