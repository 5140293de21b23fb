//! What of kustomize's own files matters to the overlay that xp generates: an overlay does not inherit what
//! its base says of where images stand.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::manifest::node::{Kind, Node};
use crate::manifest::yaml::read_rendered;

/// A field that holds an image, as kustomize's configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldSpec {
    /// The group of the API; all where there is none.
    pub group: Option<String>,
    /// The version of the API; all where there is none.
    pub version: Option<String>,
    /// The kind; all where there is none.
    pub kind: Option<String>,
    /// The field, its parts separated by `/`; lists are stepped into.
    pub path: String,
    /// Whether kustomize makes the field where it is not there: the same field is to be named the same.
    pub create: bool,
}

impl FieldSpec {
    /// Returns the field as kustomize's configuration has it.
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

/// The fields of Kubernetes' own kinds that kustomize does not look at: images that are mounted.
const IMAGE_VOLUMES: [(Option<&str>, &str); 3] = [
    (Some("Pod"), "spec/volumes/image/reference"),
    (None, "spec/template/spec/volumes/image/reference"),
    (
        Some("CronJob"),
        "spec/jobTemplate/spec/template/spec/volumes/image/reference",
    ),
];

/// Returns the fields that hold images, beside those that kustomize knows: Kubernetes' own, and those of
/// the user's configurations, each once.
pub fn image_fields(own: impl IntoIterator<Item = FieldSpec>) -> Vec<FieldSpec> {
    let own: BTreeSet<FieldSpec> = own.into_iter().collect();
    let made = |path: &str| own.iter().any(|it| it.create && it.path == path);
    let mut fields: Vec<FieldSpec> = IMAGE_VOLUMES
        .iter()
        // Kustomize refuses a field that is made here and not there.
        .filter(|(_, path)| !made(path))
        .map(|(kind, path)| FieldSpec {
            group: None,
            version: None,
            kind: kind.map(str::to_owned),
            path: (*path).to_owned(),
            create: false,
        })
        .collect();
    // The same field for one kind and for all kinds would be no error, and no gain.
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

/// What of a kustomization matters to xp.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kustomization {
    /// What it is made of: `resources`, `bases` and `components`; folders, files and URLs.
    pub parts: Vec<String>,
    /// The files of `configurations`.
    pub configurations: Vec<String>,
    /// Values that it makes secrets of.
    pub secrets: Vec<String>,
    /// Files with variables that it makes secrets of.
    pub secret_files: Vec<String>,
    /// What an overlay around it does not get from it: `sortOptions` and `buildMetadata`.
    pub options: Map<String, Value>,
}

impl Kustomization {
    /// The names that its file may have.
    pub const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

    /// Reads a kustomization; what kustomize itself refuses is left out.
    pub fn read(text: &str) -> Self {
        let mut found = Self::default();
        let documents = read_rendered(text).unwrap_or_default();
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
                        found.secrets.extend(of_inline(&text, &target));
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
                    found.secrets.extend(of_inline(&text, ""));
                }
            }
        }
        found
    }
}

/// Returns what may be secret in an inline patch, which kustomize quotes where it cannot read it: nothing where
/// it is for an object that is no Secret. `target` is the kind that it is said to be for.
fn of_inline(text: &str, target: &str) -> Vec<String> {
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
    // Line by line: what is no YAML has to be read as well.
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

/// Finds all texts below a node.
pub(super) fn scalars<'n>(node: Option<&'n Node>, found: &mut dyn FnMut(&'n str)) {
    match node.map(|node| &node.kind) {
        Some(Kind::Scalar { text, .. }) => found(text),
        Some(Kind::Sequence(nodes)) => nodes.iter().for_each(|node| scalars(Some(node), found)),
        Some(Kind::Mapping(entries)) => {
            entries
                .iter()
                .for_each(|entry| scalars(Some(&entry.value), found));
        }
        Some(Kind::Null) | None => {}
    }
}

/// Returns a node as JSON, its scalars as texts.
fn json_of(node: &Node) -> Option<Value> {
    Some(match &node.kind {
        Kind::Null => return None,
        Kind::Scalar { text, .. } => json!(text),
        Kind::Sequence(nodes) => nodes.iter().filter_map(json_of).collect(),
        Kind::Mapping(entries) => {
            let entries = entries.iter();
            let entries =
                entries.filter_map(|entry| Some((entry.key.clone(), json_of(&entry.value)?)));
            Value::Object(entries.collect())
        }
    })
}

impl FieldSpec {
    /// Reads the fields with images of one of kustomize's configurations.
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
    let Kind::Mapping(entries) = &node.kind else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    Some(&entry.value)
}

/// Returns the items of a list.
pub(super) fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.kind) {
        Some(Kind::Sequence(items)) => items,
        _ => &[],
    }
}

/// Returns a text, or the texts of a list.
fn texts(node: Option<&Node>) -> Vec<String> {
    let text = |node: &Node| match &node.kind {
        Kind::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    };
    match node {
        Some(node) if matches!(node.kind, Kind::Sequence(_)) => {
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
    fn what_matters_of_a_kustomization_is_read() {
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
    fn inline_patches_of_secrets_are_known() {
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
    fn a_field_that_is_made_is_named_so() {
        let own = "images: [{kind: Site, path: spec/image, create: true}, {kind: Pod, path: spec/volumes/image/reference, create: true}]";
        let fields = image_fields(FieldSpec::read(own));
        assert_eq!(fields.len(), 4);
        assert_eq!(
            fields[3].json().to_string(),
            r#"{"kind":"Site","path":"spec/image","create":true}"#
        );
    }

    #[test]
    fn a_field_that_is_known_already_is_not_named_twice() {
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
