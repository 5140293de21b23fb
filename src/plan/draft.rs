//! Which services are concerned, and which references are to be looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Options;
use super::decide::builder_unit;
use crate::event::Unit;
use crate::image::{ImageReference, Tag};
use crate::manifest::{
    BuilderName, Manifest, ManifestError, Service, ServiceName, Template, Values,
};
use crate::source::{CommitId, ServiceSource};

/// A service that the plan may be about.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub service: &'a Service,
    pub selected: bool,
    pub source: &'a ServiceSource,
    /// Whether a working copy takes part: its own is built in place, or that of a service it needs.
    pub is_local: bool,
    /// The image by its commit.
    pub image: ImageReference,
    /// The further tags: the branch's, the manifest's, the command line's.
    pub tags: Vec<Tag>,
}

/// The services of a selection and all that they need.
pub struct Draft<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) options: &'a Options,
    pub(super) sources: &'a BTreeMap<ServiceName, ServiceSource>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Each after those that it needs.
    pub(super) candidates: Vec<Candidate<'a>>,
}

impl<'a> Draft<'a> {
    /// Drafts a plan for the selected services.
    ///
    /// `sources` has an entry for each of them and for each one that they need.
    ///
    /// # Errors
    ///
    /// A tag of the manifest that cannot be rendered, or is no legal tag.
    pub fn new(
        manifest: &'a Manifest,
        selected: &BTreeSet<ServiceName>,
        sources: &'a BTreeMap<ServiceName, ServiceSource>,
        options: &'a Options,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ManifestError> {
        let mut draft = Self {
            manifest,
            options,
            sources,
            env,
            candidates: Vec::new(),
        };
        let concerned = manifest.closure(selected);
        for name in manifest
            .order()
            .into_iter()
            .filter(|name| concerned.contains(*name))
        {
            let (Some(service), Some(source)) = (manifest.services.get(name), sources.get(name))
            else {
                continue;
            };
            let candidate = draft.candidate(service, source, selected.contains(name))?;
            draft.candidates.push(candidate);
        }
        Ok(draft)
    }

    fn candidate(
        &self,
        service: &'a Service,
        source: &'a ServiceSource,
        selected: bool,
    ) -> Result<Candidate<'a>, ManifestError> {
        let repository = &service.docker.image;
        let commit_tag = Tag::from_source(source);
        let mut tags: Vec<Tag> = source
            .short_name()
            .map(Tag::from_branch)
            .into_iter()
            .collect();
        for template in &service.docker.tags {
            let render = |values: &Values<'_>| self.manifest.render_tag(template, values);
            tags.push(self.with_values(service, source, render)?);
        }
        tags.extend(self.options.tags.iter().cloned());
        let mut seen = BTreeSet::from([commit_tag.clone()]);
        tags.retain(|tag| seen.insert(tag.clone()));
        // Those that it needs come before it.
        let mut before = self
            .candidates
            .iter()
            .filter(|candidate| candidate.is_local);
        let needs_local = before.any(|candidate| service.needs.contains(&candidate.service.name));
        Ok(Candidate {
            service,
            is_local: source.local.is_some() || needs_local,
            selected,
            source,
            image: repository.tagged(commit_tag),
            tags,
        })
    }

    /// Tells whether a working copy is built in place, perhaps for another service of its repository.
    pub(super) fn is_built_in_place(&self, dir: &Path) -> bool {
        self.candidates
            .iter()
            .any(|candidate| candidate.source.local.is_some() && candidate.service.dir == dir)
    }

    /// Renders a template of the manifest for a service.
    pub(super) fn render(
        &self,
        template: &Template,
        service: &Service,
        source: &ServiceSource,
    ) -> Result<String, ManifestError> {
        self.with_values(service, source, |values| {
            self.manifest.render(template, values)
        })
    }

    /// Renders a template for a recipe: where an image lies is no part of what it is, and the images
    /// of needed services are inputs of their own.
    pub(super) fn render_for_recipe(
        &self,
        template: &Template,
        candidate: &Candidate<'_>,
    ) -> Result<String, ManifestError> {
        let services = |name: &ServiceName| {
            let commit = self.sources.get(name)?.commit;
            Some((format!("the image of {name}"), commit))
        };
        let values = self.values(candidate.service, candidate.source, &services);
        self.manifest.render(template, &values)
    }

    /// Calls `use_values` with what the placeholders of a service stand for.
    fn with_values<T>(
        &self,
        service: &Service,
        source: &ServiceSource,
        use_values: impl FnOnce(&Values<'_>) -> T,
    ) -> T {
        let services = |name: &ServiceName| {
            let image = &self.manifest.services.get(name)?.docker.image;
            let source = self.sources.get(name)?;
            let image = image.tagged(Tag::from_source(source));
            Some((image.to_string(), source.commit))
        };
        use_values(&self.values(service, source, &services))
    }

    fn values<'v>(
        &'v self,
        service: &'v Service,
        source: &'v ServiceSource,
        services: &'v dyn Fn(&ServiceName) -> Option<(String, CommitId)>,
    ) -> Values<'v> {
        Values {
            service: &service.name,
            commit: source.commit,
            branch: source.short_name(),
            services,
            env: self.env,
        }
    }

    /// Returns the builder folders that the services' scripts run in; their content is an input.
    pub fn builder_folders(&self) -> BTreeSet<BuilderName> {
        let folder = |candidate: &Candidate<'_>| match builder_unit(candidate) {
            Some(Unit::Builder(name)) => Some(name),
            _ => None,
        };
        self.candidates.iter().filter_map(folder).collect()
    }

    /// Returns the references that registries are asked for: of each service the commit's, and the
    /// further tags, since a branch may have moved to a commit that was built before.
    ///
    /// Of a service that is built in place the commit's alone may be of use, and nothing where it
    /// differs from the commit: no registry has that.
    pub fn images(&self) -> Vec<ImageReference> {
        let wanted = |candidate: &Candidate<'_>| {
            let image = candidate.image.clone();
            let is_asked = image.repository().registry().is_some();
            match candidate.source.local {
                _ if !is_asked || candidate.source.changes().is_some() => Vec::new(),
                Some(_) => vec![image],
                None => std::iter::once(image).chain(candidate.names()).collect(),
            }
        };
        self.candidates.iter().flat_map(wanted).collect()
    }
}

impl Candidate<'_> {
    /// Returns the image's further names.
    pub fn names(&self) -> impl Iterator<Item = ImageReference> {
        self.tags
            .iter()
            .map(|tag| self.image.repository().tagged(tag.clone()))
    }
}
