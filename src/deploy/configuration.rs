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
    let mut fields: Vec<FieldSpec> = IMAGE_VOLUMES
        .iter()
        .map(|(kind, path)| FieldSpec {
            group: None,
            version: None,
            kind: kind.map(str::to_owned),
            path: (*path).to_owned(),
        })
        .collect();
    // The same field for one kind and for all kinds would be no error, and no gain.
    let covered = |field: &FieldSpec, fields: &[FieldSpec]| {
        fields.iter().any(|known| {
            known.path == field.path && (known.kind.is_none() || known.kind == field.kind)
        })
    };
    let own: BTreeSet<FieldSpec> = own.into_iter().collect();
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
        }
        found
    }
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
