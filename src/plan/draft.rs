//! Which services are concerned, and which references are to be looked for.

use std::collections::{BTreeMap, BTreeSet};

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
        let commit_tag = Tag::from_commit(source.commit);
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
        Ok(Candidate {
            service,
            selected,
            source,
            image: repository.tagged(commit_tag),
            tags,
        })
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
            let commit = self.sources.get(name)?.commit;
            Some((image.tagged(Tag::from_commit(commit)).to_string(), commit))
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
    pub fn images(&self) -> Vec<ImageReference> {
        let in_registry =
            |candidate: &&Candidate<'_>| candidate.image.repository().registry().is_some();
        let candidates = self.candidates.iter().filter(in_registry);
        candidates
            .flat_map(|candidate| std::iter::once(candidate.image.clone()).chain(candidate.names()))
            .collect()
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
