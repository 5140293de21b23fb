//! Maps images in kustomize and compose files to services.

use std::collections::{BTreeMap, BTreeSet};

use super::configuration::FieldSpec;
use super::rendered::{ObjectImage, RenderedObjects};
use crate::model::image::ImageRepository;
use crate::model::lock::Lock;
use crate::model::manifest::{Deploy, Manifest, ServiceName};

/// The names that kustomize files may use for the images of services.
#[derive(Debug, Clone, Default)]
pub struct ImageNames {
    by_name: BTreeMap<String, ServiceName>,
    repositories: BTreeMap<ServiceName, ImageRepository>,
    /// The names in `deploy.images`.
    mapped: BTreeMap<ServiceName, String>,
}

/// The services with images in the kustomize files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedImages {
    /// The services, with the image names that are used.
    pub services: BTreeMap<ServiceName, BTreeSet<String>>,
}

impl ImageNames {
    /// Returns the names from a manifest: for each service the one in `deploy.images` or else `docker.image` as
    /// written, and the full name with the registry.
    pub fn of(manifest: &Manifest, deploy: &Deploy) -> Self {
        let mut names = Self {
            mapped: deploy.images.clone(),
            ..Self::default()
        };
        for (name, service) in &manifest.services {
            let repository = &service.docker.image;
            names.by_name.insert(repository.to_string(), name.clone());
            names.repositories.insert(name.clone(), repository.clone());
        }
        for (name, service) in &manifest.services {
            let written = match deploy.images.get(name) {
                Some(mapped) => Some(mapped.clone()),
                None => without_prefix(manifest, &service.docker.image),
            };
            // Full names take precedence over short names of other services.
            if let Some(written) = written {
                names.by_name.entry(written).or_insert(name.clone());
            }
        }
        names
    }

    /// Adds the names in a lock that was deployed earlier: the kustomize files of that time may use another registry or
    /// other names.
    pub fn with_set(mut self, set: &Lock) -> Self {
        for (service, locked) in &set.services {
            let repository = locked.image.repository().to_string();
            self.by_name.entry(repository).or_insert(service.clone());
        }
        self
    }

    /// Returns the service of an image, ignoring tag and digest.
    pub fn service(&self, image: &str) -> Option<&ServiceName> {
        self.by_name.get(name_of(image))
    }

    /// Returns the services of the manifest.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.repositories.keys()
    }

    /// Returns the repository of a service's image.
    pub fn repository(&self, service: &ServiceName) -> Option<&ImageRepository> {
        self.repositories.get(service)
    }

    /// Returns the services with images in the rendered objects.
    pub fn named(&self, rendered: &RenderedObjects, fields: &[FieldSpec]) -> NamedImages {
        let mut named = NamedImages::default();
        for ObjectImage { image, .. } in rendered.images(fields) {
            if let Some(service) = self.service(&image) {
                let names = named.services.entry(service.clone()).or_default();
                names.insert(name_of(&image).to_owned());
            }
        }
        named
    }

    /// Returns the names that kustomize files may use for the image of a service.
    pub fn expected(&self, service: &ServiceName) -> Vec<&str> {
        let names = self.by_name.iter();
        names
            .filter(|(_, of)| *of == service)
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Returns a service's image name in `deploy.images`.
    pub fn mapped(&self, service: &ServiceName) -> Option<&str> {
        self.mapped.get(service).map(String::as_str)
    }

    /// Returns the services in `deploy.images`.
    pub fn all_mapped(&self) -> impl Iterator<Item = &ServiceName> {
        self.mapped.keys()
    }
}

/// Returns an image's name as in the manifest, without the registry prefix.
fn without_prefix(manifest: &Manifest, repository: &ImageRepository) -> Option<String> {
    let prefix = manifest.registry.as_ref()?;
    if repository.registry() != Some(prefix.registry()) {
        return None;
    }
    match prefix.path() {
        None => Some(repository.path().to_owned()),
        Some(path) => {
            let rest = repository.path().strip_prefix(&format!("{path}/"))?;
            Some(rest.to_owned())
        }
    }
}

/// Returns the name of an image, without tag and digest.
pub(super) fn name_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[last..].find(':') {
        Some(colon) => &name[..last + colon],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_have_no_tag_and_digest() {
        for (image, name) in [
            ("a", "a"),
            ("a:1", "a"),
            ("h:5000/a", "h:5000/a"),
            ("h:5000/a:1@sha256:x", "h:5000/a"),
        ] {
            assert_eq!(name_of(image), name);
        }
    }

    #[test]
    fn a_service_is_found_by_each_of_its_names() {
        let manifest = crate::model::manifest::parse(
            "registry: h.example.com/x\n\
             deploy: {path: k8s, images: {b: front}, environments: {e: {overlay: o, context: c, namespace: n}}}\n\
             services:\n\
             \x20 a: {dir: a, git: {remote: 'https://h/a'}, docker: {image: team/a}}\n\
             \x20 b: {dir: b, git: {remote: 'https://h/b'}, docker: {image: b}}\n",
            Path::new("/p/x-platform.yml"),
        )
        .unwrap();
        let names = ImageNames::of(&manifest, manifest.deploy.as_ref().unwrap());
        let service = |image: &str| names.service(image).map(ServiceName::as_str);
        assert_eq!(service("team/a:master"), Some("a"));
        assert_eq!(service("h.example.com/x/team/a@sha256:0"), Some("a"));
        assert_eq!(service("front"), Some("b"));
        assert_eq!(service("b"), None);
        assert_eq!(service("other/team/a"), None);
        let set = crate::model::lock::parse(
            &format!(
                "version: 1\nservices:\n  a:\n    remote: https://h/a\n    reference: v1\n    commit: {0}\n    \
                 image: old.example.com/y/a:{0}\n    digest: sha256:{1}\n    recipe: \"0123456789\"\n",
                "a".repeat(40),
                "1".repeat(64)
            ),
            "x",
        );
        let names = names.clone().with_set(&set.unwrap());
        let service = |image: &str| names.service(image).map(ServiceName::as_str);
        assert_eq!(service("old.example.com/y/a:1"), Some("a"));
        assert_eq!(service("team/a:master"), Some("a"));
    }
}
