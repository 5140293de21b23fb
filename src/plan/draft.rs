//! Which services are concerned, and which references are to be looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::decide::builder_unit;
use super::{Options, ServiceImage, Train, service_images};
use crate::event::Unit;
use crate::image::{Digest, ImageReference, Tag};
use crate::manifest::{
    BuilderName, Manifest, ManifestError, Service, ServiceName, Template, Values,
};
use crate::recipe::Recipe;
use crate::source::{CommitId, Origin, ServiceSource};

/// A service that the plan may be about.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub service: &'a Service,
    pub selected: bool,
    pub source: &'a ServiceSource,
    /// Whether a working copy takes part: its own is built in place, or that of a service it needs.
    pub is_local: bool,
    /// The image by its commit, and by the variant where it is one.
    pub image: ImageReference,
    /// What tells the image from the commit's usual one.
    pub variant: Option<String>,
    /// What a lock pins the image to.
    pub pinned: Option<&'a Digest>,
    /// The further tags: the branch's, the train's, the manifest's, the command line's.
    pub tags: Vec<Tag>,
}

/// The services of a selection and all that they need.
pub struct Draft<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) options: &'a Options,
    pub(super) sources: &'a BTreeMap<ServiceName, ServiceSource>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    images: BTreeMap<&'a ServiceName, ServiceImage>,
    /// Each after those that it needs.
    pub(super) candidates: Vec<Candidate<'a>>,
    /// The working copies that are built in place.
    in_place: BTreeSet<&'a Path>,
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
        let mut draft = Self::without_tags(manifest, selected, sources, options, env);
        let tags = draft
            .candidates
            .iter()
            .map(|candidate| draft.tags(candidate));
        let tags = tags.collect::<Result<Vec<_>, _>>()?;
        for (candidate, tags) in draft.candidates.iter_mut().zip(tags) {
            candidate.tags = tags;
        }
        Ok(draft)
    }

    /// Returns the services that the plan may be about.
    pub fn services(&self) -> BTreeSet<ServiceName> {
        let names = self.candidates.iter().map(|it| it.service.name.clone());
        names.collect()
    }

    /// Drafts without the further tags: for what only looks, and may lack a variable that a tag names.
    pub fn without_tags(
        manifest: &'a Manifest,
        selected: &BTreeSet<ServiceName>,
        sources: &'a BTreeMap<ServiceName, ServiceSource>,
        options: &'a Options,
        env: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let mut images = service_images(manifest, sources);
        for (name, pinned) in &options.pinned {
            if let Some(image) = images.get_mut(name)
                && let Some(commit) = sources.get(name).map(|source| source.commit)
            {
                image.variant = pinned.tag.variant_of(commit).map(str::to_owned);
                image.image = image.image.repository().tagged(pinned.tag.clone());
            }
        }
        let concerned = manifest.closure(selected);
        let order = manifest.order().into_iter();
        let candidates: Vec<Candidate<'a>> = order
            .filter(|name| concerned.contains(*name))
            .filter_map(|name| {
                let ServiceImage {
                    image,
                    variant,
                    is_local,
                } = images.get(name)?.clone();
                Some(Candidate {
                    service: manifest.services.get(name)?,
                    is_local,
                    selected: selected.contains(name),
                    source: sources.get(name)?,
                    image,
                    variant,
                    pinned: options.pinned.get(name).and_then(|it| it.digest.as_ref()),
                    tags: Vec::new(),
                })
            })
            .collect();
        images.retain(|name, _| concerned.contains(*name));
        let in_place = candidates
            .iter()
            .filter(|candidate| candidate.source.local.is_some())
            .map(|candidate| candidate.service.dir.as_path())
            .collect();
        Self {
            manifest,
            options,
            sources,
            env,
            images,
            candidates,
            in_place,
        }
    }

    /// Returns an image's further tags: the branch's, the train's, the manifest's, the command line's.
    fn tags(&self, candidate: &Candidate<'_>) -> Result<Vec<Tag>, ManifestError> {
        let Candidate {
            service,
            source,
            image,
            variant,
            ..
        } = candidate;
        if !self.options.moving_tags {
            return Ok(self.distinct(image, self.options.tags.iter().cloned()));
        }
        // The branch's tag names what the branch's commit gives with the manifest's references.
        let branch = variant.as_deref().or_else(|| source.short_name());
        let mut tags: Vec<Tag> = branch.map(Tag::from_branch).into_iter().collect();
        if candidate.selected {
            // So that each image of the preview set is found by the train's name.
            tags.extend(self.train_tag());
        }
        for template in &service.docker.tags {
            let render = |values: &Values<'_>| self.manifest.render_tag(template, values);
            let tag = self.with_values(service, source, render)?;
            tags.push(match variant {
                // `${{ service.branch }}-latest` is a branch's tag too.
                Some(variant) if template.names_source() => tag.with_variant(variant),
                _ => tag,
            });
        }
        tags.extend(self.options.tags.iter().cloned());
        Ok(self.distinct(image, tags))
    }

    /// Returns each tag once, and not that of the image itself.
    fn distinct(&self, image: &ImageReference, tags: impl IntoIterator<Item = Tag>) -> Vec<Tag> {
        let mut seen: BTreeSet<Tag> = image.tag().cloned().into_iter().collect();
        let mut tags: Vec<Tag> = tags.into_iter().collect();
        tags.retain(|tag| seen.insert(tag.clone()));
        tags
    }

    /// Returns how a service's image is called.
    pub fn image(&self, service: &ServiceName) -> Option<&ServiceImage> {
        self.images.get(service)
    }

    /// Returns the tag that all images of the preview set get.
    fn train_tag(&self) -> Option<Tag> {
        let branch = self.options.train.as_ref()?.as_str();
        // `origin/x` means the branch `x`, as in the manifest.
        let branch = branch.strip_prefix("origin/").unwrap_or(branch);
        Some(Tag::from_branch(branch))
    }

    /// Returns the topic train, and how many services are on it.
    pub(super) fn train(&self) -> Option<Train> {
        let is_on_it = |candidate: &&Candidate<'_>| candidate.source.origin == Origin::Branch;
        Some(Train {
            branch: self.options.train.clone()?,
            on_it: self.candidates.iter().filter(is_on_it).count(),
            services: self.candidates.len(),
        })
    }

    /// Tells whether a working copy is built in place, perhaps for another service of its repository.
    pub(super) fn is_built_in_place(&self, dir: &Path) -> bool {
        self.in_place.contains(dir)
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

    /// Renders a template, as a shell reads it, whose value comes from the caller's environment; none for
    /// any other.
    pub(super) fn render_for_shell(
        &self,
        template: &Template,
        service: &Service,
        source: &ServiceSource,
    ) -> Result<Option<String>, ManifestError> {
        if !template.reads_environment() {
            return Ok(None);
        }
        let render = |values: &Values<'_>| self.manifest.render_for_shell(template, values);
        self.with_values(service, source, render).map(Some)
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
            let named = self.images.get(name)?;
            Some((named.image.to_string(), self.sources.get(name)?.commit))
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
            branch: source.built_as().short_name(),
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
            let image = candidate.registry_image();
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
    /// Returns the name by which the registry is asked for the image: its tag, or the digest that a lock pins it to,
    /// wherever the tag is by now.
    pub fn registry_image(&self) -> ImageReference {
        match self.pinned {
            Some(digest) => self.image.repository().with_digest(digest.clone()),
            None => self.image.clone(),
        }
    }

    /// Returns the name of the image that this recipe makes, which never moves.
    pub fn identity(&self, recipe: &Recipe) -> ImageReference {
        let tag = Tag::from_recipe(self.source.commit, &recipe.identity());
        self.image.repository().tagged(tag)
    }

    /// Returns the image's further names.
    pub fn names(&self) -> impl Iterator<Item = ImageReference> + use<'_> {
        self.tags
            .iter()
            .map(|tag| self.image.repository().tagged(tag.clone()))
    }
}
