//! The parts of the user's kustomize files that the generated overlay needs: an overlay does not inherit its base's
//! configuration of image fields.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::model::manifest::node::{Node, NodeKind};
use crate::model::manifest::yaml::read_rendered;

/// A field that contains an image, as in kustomize's configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldSpec {
    /// The API group; `None` for all.
    pub group: Option<String>,
    /// The API version; `None` for all.
    pub version: Option<String>,
    /// The kind; `None` for all.
    pub kind: Option<String>,
    /// The field's path, separated by `/`; lists are traversed implicitly.
    pub path: String,
    /// Whether kustomize creates the field if it is missing.
    pub create: bool,
}

impl FieldSpec {
    /// Returns the field in the format of kustomize's configuration.
    pub fn json(&self) -> Value {
        let parts = [
            ("group", &self.group),
            ("version", &self.version),
            ("kind", &self.kind),
        ];
        let parts = parts.into_iter();
        let mut map: Map<String, Value> = parts
            .filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))))
            .collect();
        map.insert("path".to_owned(), json!(self.path));
        if self.create {
            map.insert("create".to_owned(), json!(true));
        }
        Value::Object(map)
    }
}

/// Fields of built-in Kubernetes kinds that kustomize ignores: image volumes.
const IMAGE_VOLUMES: [(Option<&str>, &str); 3] = [
    (Some("Pod"), "spec/volumes/image/reference"),
    (None, "spec/template/spec/volumes/image/reference"),
    (
        Some("CronJob"),
        "spec/jobTemplate/spec/template/spec/volumes/image/reference",
    ),
];

/// Returns the fields with images beyond those that kustomize knows: those of built-in kinds and those in the user's
/// configurations, without duplicates.
pub fn image_fields(own: impl IntoIterator<Item = FieldSpec>) -> Vec<FieldSpec> {
    let own: BTreeSet<FieldSpec> = own.into_iter().collect();
    let is_created = |path: &str| own.iter().any(|it| it.create && it.path == path);
    let mut fields: Vec<FieldSpec> = IMAGE_VOLUMES
        .iter()
        // Kustomize rejects the same field with different `create` values.
        .filter(|(_, path)| !is_created(path))
        .map(|(kind, path)| FieldSpec {
            group: None,
            version: None,
            kind: kind.map(str::to_owned),
            path: (*path).to_owned(),
            create: false,
        })
        .collect();
    // A field that is listed for all kinds need not be repeated for one kind.
    let covered = |field: &FieldSpec, fields: &[FieldSpec]| {
        fields.iter().any(|known| {
            known.path == field.path && (known.kind.is_none() || known.kind == field.kind)
        })
    };
    for field in own {
        if !covered(&field, &fields) {
            fields.push(field);
        }
    }
    fields
}

/// The parts of a kustomization that matter to xp.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kustomization {
    /// `resources`, `bases` and `components`; folders, files and URLs.
    pub parts: Vec<String>,
    /// The files of `configurations`.
    pub configurations: Vec<String>,
    /// Literal values of generated secrets.
    pub secrets: Vec<String>,
    /// Env files of generated secrets.
    pub secret_files: Vec<String>,
    /// Options that a wrapping overlay does not inherit: `sortOptions` and `buildMetadata`.
    pub options: Map<String, Value>,
}

impl Kustomization {
    /// The possible file names.
    pub const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

    /// Reads a kustomization, ignoring anything that kustomize itself rejects.
    pub fn read(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }

    /// Reads a kustomization; `None` if it is not YAML.
    pub fn parse(text: &str) -> Option<Self> {
        let mut found = Self::default();
        let documents = read_rendered(text)?;
        for node in &documents {
            for key in ["resources", "bases", "components"] {
                found.parts.extend(texts(get(node, key)));
            }
            found
                .configurations
                .extend(texts(get(node, "configurations")));
            for generator in items(get(node, "secretGenerator")) {
                for literal in texts(get(generator, "literals")) {
                    let value = literal.split_once('=').map(|(_, value)| value.to_owned());
                    found.secrets.extend(value);
                    found.secrets.push(literal);
                }
                found.secret_files.extend(texts(get(generator, "envs")));
                found.secret_files.extend(texts(get(generator, "env")));
            }
            for key in ["sortOptions", "buildMetadata"] {
                let option = get(node, key).and_then(json_of);
                found
                    .options
                    .extend(option.map(|option| (key.to_owned(), option)));
            }
            for key in ["patches", "patchesJson6902"] {
                for patch in items(get(node, key)) {
                    let target = get(patch, "target").and_then(|target| get(target, "kind"));
                    let target = texts(target).concat();
                    for text in texts(get(patch, "patch")) {
                        found.secrets.extend(secrets_of_patch(&text, &target));
                    }
                }
            }
            for key in [
                "patchesStrategicMerge",
                "generators",
                "transformers",
                "resources",
            ] {
                let inline = texts(get(node, key)).into_iter();
                for text in inline.filter(|text| text.contains('\n')) {
                    found.secrets.extend(secrets_of_patch(&text, ""));
                }
            }
        }
        Some(found)
    }
}

/// Returns possible secrets in an inline patch, because kustomize quotes patches that it cannot parse in its errors.
/// Returns nothing if the patch is for a kind other than Secret. `target` is the kind in the patch's target.
fn secrets_of_patch(text: &str, target: &str) -> Vec<String> {
    const NO_SECRETS: [&str; 8] = [
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "namespace",
        "op",
        "path",
        "type",
    ];
    let documents = read_rendered(text);
    let kinds = documents.iter().flatten().map(|it| texts(get(it, "kind")));
    let kinds: Vec<String> = kinds.flatten().chain([target.to_owned()]).collect();
    let kinds: Vec<&String> = kinds.iter().filter(|kind| !kind.is_empty()).collect();
    let is_secret = kinds.is_empty() || kinds.iter().any(|kind| kind.contains("Secret"));
    if !is_secret && documents.is_some() {
        return Vec::new();
    }
    let mut values = Vec::new();
    // Line by line, because the patch may not be valid YAML.
    for line in text.lines().map(str::trim) {
        let line = line.trim_start_matches("- ");
        let (key, value) = line.split_once(':').unwrap_or(("", line));
        let quotes: &[char] = &['"', '\'', ' '];
        if !NO_SECRETS.contains(&key.trim_matches(quotes)) {
            values.push(value.trim().to_owned());
            values.push(value.trim_matches(quotes).to_owned());
        }
    }
    for node in documents.iter().flatten() {
        for key in ["data", "stringData", "value"] {
            scalars(get(node, key), &mut |text| values.push(text.to_owned()));
        }
        for operation in items(Some(node)) {
            scalars(get(operation, "value"), &mut |text| {
                values.push(text.to_owned());
            });
        }
    }
    values
}

/// Calls `found` with all scalars below a node.
pub(super) fn scalars<'n>(node: Option<&'n Node>, found: &mut dyn FnMut(&'n str)) {
    match node.map(|node| &node.kind) {
        Some(NodeKind::Scalar { text, .. }) => found(text),
        Some(NodeKind::Sequence(nodes)) => nodes.iter().for_each(|node| scalars(Some(node), found)),
        Some(NodeKind::Mapping(entries)) => {
            entries
                .iter()
                .for_each(|entry| scalars(Some(&entry.value), found));
        }
        Some(NodeKind::Null) | None => {}
    }
}

/// Returns a node as JSON, with all scalars as strings.
fn json_of(node: &Node) -> Option<Value> {
    Some(match &node.kind {
        NodeKind::Null => return None,
        NodeKind::Scalar { text, .. } => json!(text),
        NodeKind::Sequence(nodes) => nodes.iter().filter_map(json_of).collect(),
        NodeKind::Mapping(entries) => {
            let entries = entries.iter();
            let entries =
                entries.filter_map(|entry| Some((entry.key.clone(), json_of(&entry.value)?)));
            Value::Object(entries.collect())
        }
    })
}

impl FieldSpec {
    /// Reads the fields with images from a kustomize configuration.
    pub fn read(text: &str) -> Vec<Self> {
        let documents = read_rendered(text).unwrap_or_default();
        let specs = documents.iter().flat_map(|node| items(get(node, "images")));
        let field = |node: &Node, key: &str| texts(get(node, key)).into_iter().next();
        specs
            .filter_map(|node| {
                Some(Self {
                    group: field(node, "group"),
                    version: field(node, "version"),
                    kind: field(node, "kind"),
                    path: field(node, "path")?,
                    create: field(node, "create").as_deref() == Some("true"),
                })
            })
            .collect()
    }
}

/// Returns the value of a key.
pub(super) fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let NodeKind::Mapping(entries) = &node.kind else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    Some(&entry.value)
}

/// Returns the items of a list.
pub(super) fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.kind) {
        Some(NodeKind::Sequence(items)) => items,
        _ => &[],
    }
}

/// Returns the text of a scalar, or the texts of a list.
fn texts(node: Option<&Node>) -> Vec<String> {
    let text = |node: &Node| match &node.kind {
        NodeKind::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    };
    match node {
        Some(node) if matches!(node.kind, NodeKind::Sequence(_)) => {
            items(Some(node)).iter().filter_map(text).collect()
        }
        Some(node) => text(node).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kustomization_is_read() {
        let found = Kustomization::read(
            "resources: [../base, https://h/x?ref=v1]\nbases:\n  - b\nconfigurations: [a.yaml]\n\
             secretGenerator:\n  - {name: s, literals: [key=hunter2], envs: [secret.env]}\n",
        );
        assert_eq!(found.parts, ["../base", "https://h/x?ref=v1", "b"]);
        assert_eq!(found.configurations, ["a.yaml"]);
        assert_eq!(found.secrets, ["hunter2", "key=hunter2"]);
        assert_eq!(found.secret_files, ["secret.env"]);
        assert_eq!(
            Kustomization::read("resources: {a: ["),
            Kustomization::default()
        );
    }

    #[test]
    fn secrets_in_inline_patches_are_found() {
        let found = |patch: &str| Kustomization::read(patch).secrets;
        let broken =
            "patches:\n- patch: |-\n    kind: Secret\n    stringData:\n      a: \"canary-123\n";
        assert!(found(broken).contains(&"canary-123".to_owned()));
        let nested =
            "patchesStrategicMerge:\n- |-\n  kind: Secret\n  stringData: {a: canary-123}\n";
        assert!(found(nested).contains(&"canary-123".to_owned()));
        let json = "patches:\n- target: {kind: Secret}\n  patch: '[{op: add, path: /data/a, value: canary-123}]'\n";
        assert!(found(json).contains(&"canary-123".to_owned()));
        let other = "patches:\n- patch: |-\n    kind: Deployment\n    spec: {replicas: 1234}\n";
        assert!(found(other).is_empty());
    }

    #[test]
    fn created_fields_are_marked() {
        let own = "images: [{kind: Site, path: spec/image, create: true}, {kind: Pod, path: spec/volumes/image/reference, create: true}]";
        let fields = image_fields(FieldSpec::read(own));
        assert_eq!(fields.len(), 4);
        assert_eq!(
            fields[3].json().to_string(),
            r#"{"kind":"Site","path":"spec/image","create":true}"#
        );
    }

    #[test]
    fn known_fields_are_not_listed_twice() {
        let own = FieldSpec::read(
            "images:\n- {kind: Deployment, path: spec/template/spec/volumes/image/reference}\n\
             - {group: x.example.com, kind: Site, path: spec/image}\n- {kind: Wrong}\n",
        );
        assert_eq!(own.len(), 2);
        let fields = image_fields(own);
        assert_eq!(fields.len(), 4);
        assert_eq!(
            fields[3].json().to_string(),
            r#"{"group":"x.example.com","kind":"Site","path":"spec/image"}"#
        );
    }
}
