//! Checks the rendered objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::configuration::FieldSpec;
use super::images::{ImageNames, NamedImages};
use super::overlay::pinned;
use super::rendered::{Object, RenderedObjects};
use crate::base::error::{Diagnostic, Exit};
use crate::model::lock::Lock;
use crate::model::manifest::ServiceName;

/// Requested services with images that are not in the overlay.
#[derive(Debug, thiserror::Error)]
pub struct UnnamedServices {
    overlay: String,
    /// The services, with their expected image names.
    services: BTreeMap<ServiceName, Vec<String>>,
    /// The images in the overlay that do not belong to any service.
    others: BTreeSet<String>,
    /// Whether the names come from `deploy.images`.
    are_mapped: bool,
}

impl UnnamedServices {
    /// Checks that an overlay uses the images of these services.
    ///
    /// # Errors
    ///
    /// Every service with an image that is not used.
    pub fn check(
        overlay: &str,
        wanted: impl IntoIterator<Item = ServiceName>,
        are_mapped: bool,
        named: &NamedImages,
        names: &ImageNames,
        rendered: &RenderedObjects,
        fields: &[FieldSpec],
    ) -> Result<(), Self> {
        let unnamed = wanted
            .into_iter()
            .filter(|name| !named.services.contains_key(name));
        let expected = |name: &ServiceName| match names.mapped(name) {
            Some(mapped) => vec![mapped.to_owned()],
            None => names
                .expected(name)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        };
        let services: BTreeMap<ServiceName, Vec<String>> = unnamed
            .map(|name| (name.clone(), expected(&name)))
            .collect();
        if services.is_empty() {
            return Ok(());
        }
        let others = rendered.images(fields).into_iter();
        let others = others.filter(|it| names.service(&it.image).is_none());
        Err(Self {
            overlay: overlay.to_owned(),
            services,
            others: others.map(|it| it.image).collect(),
            are_mapped,
        })
    }
}

impl fmt::Display for UnnamedServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.are_mapped {
            write!(
                f,
                "{} uses no image that `deploy.images` lists",
                self.overlay
            )?;
        } else {
            write!(
                f,
                "{} uses no image of the services to deploy",
                self.overlay
            )?;
        }
        for (service, names) in &self.services {
            write!(f, "\n  {service}: no image {}", names.join(" or "))?;
        }
        Ok(())
    }
}

impl Diagnostic for UnnamedServices {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        if !self.others.is_empty() {
            let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
            hints.push(format!(
                "it has images that do not belong to any service: {}; map them to services in `deploy.images`",
                others.join(", ")
            ));
        }
        if !self.are_mapped {
            hints.push(
                "do not select a service that is only part of another service's image".to_owned(),
            );
        }
        hints
    }
}

/// Images of services that are not pinned after rendering.
#[derive(Debug, thiserror::Error)]
pub struct NotPinned {
    overlay: String,
    /// The problems, one for each image of an object.
    uses: BTreeSet<String>,
}

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the rendered {} has images that are not part of the release",
            self.overlay
        )?;
        for found in &self.uses {
            write!(f, "\n  {found}")?;
        }
        Ok(())
    }
}

impl Diagnostic for NotPinned {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "kustomize replaces images only in fields that it knows: add the field to a `configurations` file of that overlay, as described in kustomize's documentation"
                .to_owned(),
        ]
    }
}

/// Objects in other namespaces.
#[derive(Debug, thiserror::Error)]
pub struct ForeignNamespaces {
    overlay: String,
    namespace: String,
    objects: Vec<Object>,
}

impl fmt::Display for ForeignNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            overlay,
            namespace,
            objects,
        } = self;
        write!(
            f,
            "{overlay} has objects outside the environment's namespace {namespace}"
        )?;
        for object in objects {
            let found = object.namespace.as_deref().unwrap_or_default();
            write!(f, "\n  {object} is in {found}")?;
        }
        Ok(())
    }
}

impl Diagnostic for ForeignNamespaces {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "the overlay's `namespace` must be the same as the environment's in the manifest"
                .to_owned(),
        ]
    }
}

impl ForeignNamespaces {
    /// Checks that every object is in the namespace.
    ///
    /// # Errors
    ///
    /// Every object in another namespace.
    pub fn check(overlay: &str, namespace: &str, rendered: &RenderedObjects) -> Result<(), Self> {
        let foreign = rendered.objects().filter(|object| {
            let named = object.namespace.as_deref();
            named.is_some_and(|named| named != namespace)
        });
        let objects: Vec<Object> = foreign.collect();
        if objects.is_empty() {
            return Ok(());
        }
        Err(Self {
            overlay: overlay.to_owned(),
            namespace: namespace.to_owned(),
            objects,
        })
    }
}

impl NotPinned {
    /// Checks, position by position, that each image of a service is the one in `set`, and that all other images are
    /// the same as in `plain`, which was rendered without the generated overlay.
    ///
    /// # Errors
    ///
    /// Every image that differs.
    pub fn check(
        overlay: &str,
        plain: &RenderedObjects,
        rendered: &RenderedObjects,
        fields: &[FieldSpec],
        names: &ImageNames,
        set: &Lock,
    ) -> Result<(), Self> {
        let actual = rendered.images_by_object(fields);
        let mut uses = BTreeSet::new();
        for (object, images) in plain.images_by_object(fields) {
            for (index, before) in images.iter().enumerate() {
                let found = actual.get(&object).and_then(|images| images.get(index));
                let found = found.map_or("none", String::as_str);
                let Some(service) = names.service(before) else {
                    if found != before {
                        uses.insert(format!("{object} has {found} instead of {before}"));
                    }
                    continue;
                };
                let wanted = pinned(set, service);
                let is_pinned = wanted
                    .is_some_and(|(repository, digest)| found == format!("{repository}@{digest}"));
                if !is_pinned {
                    uses.insert(format!("{service}: {object} has {found}"));
                }
            }
        }
        if uses.is_empty() {
            return Ok(());
        }
        Err(Self {
            overlay: overlay.to_owned(),
            uses,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn images_are_checked_position_by_position() {
        let manifest = crate::model::manifest::parse(
            "registry: h.example.com\n\
             deploy: {path: k8s, environments: {e: {overlay: o, context: c, namespace: n}}}\n\
             services:\n\
             \x20 a: {dir: a, git: {remote: 'https://h/a'}, docker: {image: a.b}}\n\
             \x20 b: {dir: b, git: {remote: 'https://h/b'}, docker: {image: a-b}}\n",
            Path::new("/p/x-platform.yml"),
        )
        .unwrap();
        let names = ImageNames::of(&manifest, manifest.deploy.as_ref().unwrap());
        let entry = |name: &str, image: &str, digit: &str| {
            format!(
                "  {name}:\n    remote: https://h/{name}\n    reference: v1\n    commit: {0}\n    \
                 image: h.example.com/{image}:{0}\n    digest: sha256:{1}\n    recipe: \"0123456789\"\n",
                "a".repeat(40),
                digit.repeat(64)
            )
        };
        let set = entry("a", "a.b", "1") + &entry("b", "a-b", "2");
        let set = crate::model::lock::parse(&format!("version: 1\nservices:\n{set}"), "x").unwrap();
        let rendered = |images: [&str; 3]| {
            let containers = images
                .map(|image| format!("{{image: '{image}'}}"))
                .join(", ");
            let text =
                format!("kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{containers}]}}\n");
            RenderedObjects::read(&text).unwrap()
        };
        let plain = rendered(["a.b", "a-b:1", "a_b:1"]);
        let one = format!("h.example.com/a.b@sha256:{}", "1".repeat(64));
        let two = format!("h.example.com/a-b@sha256:{}", "2".repeat(64));
        let check = |images: [&str; 3]| {
            NotPinned::check("o", &plain, &rendered(images), &[], &names, &set)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check([&one, &two, "a_b:1"]), Ok(()));
        // Both are images of the set, but in the wrong position.
        let error = check([&one, &one, "a_b:1"]).unwrap_err();
        assert!(error.contains("b: Pod p has h.example.com/a.b@"), "{error}");
        let error = check([&one, &two, &one]).unwrap_err();
        assert!(error.ends_with("instead of a_b:1"), "{error}");
    }
}
