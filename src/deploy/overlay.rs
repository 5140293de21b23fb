//! The overlay that xp generates: the user's own, with each image by its digest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path};

use serde_json::{Map, Value, json};

use super::configuration::FieldSpec;
use super::images::Named;
use crate::lock::Lock;
use crate::manifest::ServiceName;

/// An overlay around the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Its `kustomization.yaml`.
    pub kustomization: String,
    /// The file that tells kustomize where images stand, [`Overlay::FIELDS`].
    pub fields: String,
}

impl Overlay {
    /// The name of the file that tells kustomize where images stand.
    pub const FIELDS: &str = "image-fields.yaml";

    /// Returns the overlay, to be written to the folder `at`, around the user's in the folder `overlay`;
    /// both absolute, and without links. `options` are those that kustomize takes from the outermost one alone.
    pub fn around(
        overlay: &Path,
        at: &Path,
        named: &Named,
        set: &Lock,
        fields: &[FieldSpec],
        options: &Map<String, Value>,
    ) -> Self {
        let mut images: BTreeMap<&str, Value> = BTreeMap::new();
        for (service, names) in &named.services {
            let Some((repository, digest)) = pinned(set, service) else {
                continue;
            };
            for name in names {
                let entry = json!({"name": literal(name), "newName": repository, "digest": digest});
                images.insert(name, entry);
            }
        }
        let mut text = "# Written by `xp deploy`, which writes it anew each time.\n\
                        apiVersion: kustomize.config.k8s.io/v1beta1\n\
                        kind: Kustomization\n"
            .to_owned();
        // JSON is YAML that nothing has to be escaped for.
        _ = writeln!(text, "resources:\n  - {}", json!(relative(overlay, at)));
        _ = writeln!(text, "configurations:\n  - {}", Self::FIELDS);
        for (key, option) in options {
            _ = writeln!(text, "{key}: {option}");
        }
        _ = writeln!(text, "images:");
        for image in images.values() {
            _ = writeln!(text, "  - {image}");
        }
        if images.is_empty() {
            text.truncate(text.len() - "images:\n".len());
        }
        let mut configuration = "images:\n".to_owned();
        for field in fields {
            _ = writeln!(configuration, "  - {}", field.json());
        }
        Self {
            kustomization: text,
            fields: configuration,
        }
    }
}

/// Returns a name as kustomize has to be told it: as an expression, in which a point stands for any letter.
fn literal(name: &str) -> String {
    name.replace('.', "\\.")
}

/// Returns the image of a service as a set has it.
pub(super) fn pinned(set: &Lock, service: &ServiceName) -> Option<(String, String)> {
    let locked = set.services.get(service)?;
    let digest = locked.digest.as_ref()?;
    Some((locked.image.repository().to_string(), digest.to_string()))
}

/// Returns the path that leads from one folder to another; kustomize takes no absolute one.
fn relative(to: &Path, from: &Path) -> String {
    let common = to
        .components()
        .zip(from.components())
        .take_while(|(one, other)| one == other)
        .count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
        _ => None,
    });
    let parts: Vec<String> = up.chain(down).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_reached_by_a_relative_path() {
        let path = |to: &str, from: &str| relative(Path::new(to), Path::new(from));
        assert_eq!(
            path("/p/k8s/overlays/a b", "/p/.xp/deploy/e"),
            "../../../k8s/overlays/a b"
        );
        assert_eq!(path("/x/o", "/var/cache/e"), "../../../x/o");
        assert_eq!(
            path("/p/.xp/deploy/e/files/o", "/p/.xp/deploy/e/overlay"),
            "../files/o"
        );
    }

    #[test]
    fn each_name_gets_the_digest() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let set = crate::lock::parse(
            &format!(
                "version: 1\nservices:\n  a:\n    remote: https://h/a\n    reference: v1\n    commit: {}\n    \
                 image: h.example.com/x/a:{0}\n    digest: {digest}\n    recipe: \"0123456789\"\n",
                "a".repeat(40)
            ),
            "x",
        )
        .unwrap();
        let names = ["a", "h.example.com/x/a"].map(str::to_owned);
        let named = Named {
            services: BTreeMap::from([
                ("a".parse().unwrap(), names.into_iter().collect()),
                ("b".parse().unwrap(), ["b".to_owned()].into_iter().collect()),
            ]),
        };
        let options = Map::from_iter([("sortOptions".to_owned(), json!({"order": "fifo"}))]);
        let overlay = Overlay::around(
            Path::new("/p/o"),
            Path::new("/p/g"),
            &named,
            &set,
            &[],
            &options,
        );
        let entry = |name: &str| {
            format!(
                "  - {{\"name\":{},\"newName\":\"h.example.com/x/a\",\"digest\":\"{digest}\"}}\n",
                json!(name)
            )
        };
        assert_eq!(
            overlay.kustomization.split_once("resources:\n").unwrap().1,
            format!(
                "  - \"../o\"\nconfigurations:\n  - image-fields.yaml\nsortOptions: {{\"order\":\"fifo\"}}\nimages:\n{}{}",
                entry("a"),
                entry("h\\.example\\.com/x/a")
            )
        );
    }
}
