//! Finds images in kustomize files under a name that a service no longer has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::configuration::FieldSpec;
use super::images::{ImageNames, NamedImages, name_of};
use super::record::Deployment;
use super::rendered::RenderedObjects;
use crate::base::error::{Diagnostic, Exit};
use crate::base::plural::join_with_and;
use crate::model::image::ImageRepository;
use crate::model::manifest::ServiceName;

/// Images that the last deploy replaced with those of services, and that would now be applied as they are written,
/// because a service or its image was renamed.
#[derive(Debug, thiserror::Error)]
pub struct FormerNames {
    overlay: String,
    deploy: u64,
    images: BTreeMap<String, ServiceName>,
}

impl FormerNames {
    /// Checks that the overlay uses no image under the former name of a service in the last deploy.
    ///
    /// # Errors
    ///
    /// Every such image.
    pub fn check(
        overlay: &str,
        last: Option<&Deployment>,
        named: &NamedImages,
        names: &ImageNames,
        rendered: &RenderedObjects,
        fields: &[FieldSpec],
    ) -> Result<(), Self> {
        let Some(last) = last else {
            return Ok(());
        };
        let others = foreign(names, rendered, fields);
        let gone = last.set.services.iter();
        let gone = gone.filter(|(service, _)| !named.services.contains_key(*service));
        let images: BTreeMap<String, ServiceName> = gone
            .flat_map(|(service, locked)| {
                let repository = locked.image.repository();
                let of_service = others.iter().filter(|name| is_name_of(name, repository));
                of_service.map(|name| (name.clone(), service.clone()))
            })
            .collect();
        if images.is_empty() {
            return Ok(());
        }
        Err(Self {
            overlay: overlay.to_owned(),
            deploy: last.number,
            images,
        })
    }
}

impl fmt::Display for FormerNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} has images that no longer belong to a service",
            self.overlay
        )?;
        for (image, service) in &self.images {
            let deploy = self.deploy;
            write!(
                f,
                "\n  {image}: replaced with the image of {service} in deploy {deploy}"
            )?;
        }
        Ok(())
    }
}

impl Diagnostic for FormerNames {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        let images: Vec<String> = self.images.keys().map(|it| format!("`{it}`")).collect();
        vec![format!(
            "if a service or its image was renamed, set {} as its name in `deploy.images`, or use the new name in the kustomize files",
            join_with_and(&images)
        )]
    }
}

/// Returns the images in the overlay that have the name of a skipped service, but belong to no service.
pub fn homonyms(
    skipped: &[&ServiceName],
    names: &ImageNames,
    rendered: &RenderedObjects,
    fields: &[FieldSpec],
) -> BTreeSet<String> {
    let others = foreign(names, rendered, fields).into_iter();
    others
        .filter(|image| skipped.iter().any(|service| service.as_str() == image))
        .collect()
}

/// Returns the names of the images that belong to no service.
fn foreign(
    names: &ImageNames,
    rendered: &RenderedObjects,
    fields: &[FieldSpec],
) -> BTreeSet<String> {
    let images = rendered.images(fields).into_iter();
    images
        .filter(|it| names.service(&it.image).is_none())
        .map(|it| name_of(&it.image).to_owned())
        .collect()
}

/// Returns whether the name is that of the repository, complete or below a registry's prefix.
fn is_name_of(name: &str, repository: &ImageRepository) -> bool {
    let full = repository.to_string();
    full.strip_suffix(name)
        .is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_a_name_below_each_prefix() {
        let repository: ImageRepository = "h.example.com/x/team/a".parse().unwrap();
        for name in ["h.example.com/x/team/a", "x/team/a", "team/a", "a"] {
            assert!(is_name_of(name, &repository), "{name}");
        }
        for name in ["b", "m/a", "y/team/a", "h.example.com/x/team/a/b"] {
            assert!(!is_name_of(name, &repository), "{name}");
        }
    }
}
