//! The first stage of a plan: the affected services and the image references to query.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::decide::plugin_unit;
use super::scripts::units;
use super::{Options, ServiceImage, Train, parallel, service_images};
use crate::model::event::Unit;
use crate::model::image::{Digest, ImageReference, Tag};
use crate::model::manifest::{
    BuilderName, Manifest, ManifestError, PlaceholderValues, Service, ServiceName, Template,
};
use crate::model::recipe::Recipe;
use crate::model::source::{CommitId, ReferenceOrigin, ServiceSource};

/// A service that may be part of the plan.
#[derive(Debug)]
pub(super) struct PlanCandidate<'a> {
    pub service: &'a Service,
    pub selected: bool,
    pub source: &'a ServiceSource,
    /// Whether its own working copy, or that of a service it needs, is built in place.
    pub is_local: bool,
    /// The image, tagged with its commit and, if it is a variant, the variant.
    pub image: ImageReference,
    /// What distinguishes the image from the commit's usual image.
    pub variant: Option<String>,
    /// The digest from a lock.
    pub pinned: Option<&'a Digest>,
    /// Additional tags, from the branch, the train, the manifest and the command line.
    pub tags: Vec<Tag>,
}

/// The selected services and their dependencies.
pub struct PlanDraft<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) options: &'a Options,
    pub(super) sources: &'a BTreeMap<ServiceName, ServiceSource>,
    pub(super) env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    images: BTreeMap<&'a ServiceName, ServiceImage>,
    /// In dependency order.
    pub(super) candidates: Vec<PlanCandidate<'a>>,
    /// The position of each candidate.
    positions: HashMap<&'a ServiceName, usize>,
    /// The working copies that are built in place.
    in_place: BTreeSet<&'a Path>,
}

impl<'a> PlanDraft<'a> {
    /// Drafts a plan for the selected services.
    ///
    /// `sources` must have an entry for each of them and of their dependencies.
    ///
    /// # Errors
    ///
    /// A tag of the manifest cannot be rendered, or is not a valid tag.
    pub fn new(
        manifest: &'a Manifest,
        selected: &BTreeSet<ServiceName>,
        sources: &'a BTreeMap<ServiceName, ServiceSource>,
        options: &'a Options,
        env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Self, ManifestError> {
        let mut draft = Self::without_tags(manifest, selected, sources, options, env);
        let tags = parallel::map(&draft.candidates, |candidate| draft.tags(candidate));
        let mut errors = Vec::new();
        for (candidate, tags) in draft.candidates.iter_mut().zip(tags) {
            match tags {
                Ok(tags) => candidate.tags = tags,
                Err(error) => errors.push(error),
            }
        }
        ManifestError::combined(errors).map_or(Ok(draft), Err)
    }

    /// Returns the services that may be part of the plan.
    pub fn services(&self) -> BTreeSet<ServiceName> {
        let names = self.candidates.iter().map(|it| it.service.name.clone());
        names.collect()
    }

    /// Drafts without additional tags, for read-only commands: variables that tags use may be unset.
    pub fn without_tags(
        manifest: &'a Manifest,
        selected: &BTreeSet<ServiceName>,
        sources: &'a BTreeMap<ServiceName, ServiceSource>,
        options: &'a Options,
        env: &'a (dyn Fn(&str) -> Option<String> + Sync),
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
        let candidates: Vec<PlanCandidate<'a>> = order
            .filter(|name| concerned.contains(*name))
            .filter_map(|name| {
                let ServiceImage {
                    image,
                    variant,
                    is_local,
                } = images.get(name)?.clone();
                Some(PlanCandidate {
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
        let names = candidates.iter().map(|candidate| &candidate.service.name);
        let positions = names.zip(0..).collect();
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
            positions,
            in_place,
        }
    }

    /// Returns an image's additional tags, from the branch, the train, the manifest and the command line.
    fn tags(&self, candidate: &PlanCandidate<'_>) -> Result<Vec<Tag>, ManifestError> {
        let PlanCandidate {
            service,
            source,
            image,
            variant,
            ..
        } = candidate;
        if !self.options.moving_tags {
            return Ok(self.distinct(image, self.options.tags.iter().cloned()));
        }
        // The branch's own tag is only for builds with the manifest's references.
        let branch = variant.as_deref().or_else(|| source.short_name());
        let mut tags: Vec<Tag> = branch.map(Tag::from_branch).into_iter().collect();
        if candidate.selected {
            // Every image of a preview can then be found by the train's name.
            tags.extend(self.train_tag());
        }
        for template in &service.docker.tags {
            let render =
                |values: &PlaceholderValues<'_>| self.manifest.render_tag(template, values);
            let tag = self.with_values(service, source, render)?;
            tags.push(match variant {
                // `${{ service.branch }}-latest` is a branch tag too.
                Some(variant) if template.names_source() => tag.with_variant(variant),
                _ => tag,
            });
        }
        tags.extend(self.options.tags.iter().cloned());
        Ok(self.distinct(image, tags))
    }

    /// Returns the tags without duplicates and without the image's own tag.
    fn distinct(&self, image: &ImageReference, tags: impl IntoIterator<Item = Tag>) -> Vec<Tag> {
        let mut seen: BTreeSet<Tag> = image.tag().cloned().into_iter().collect();
        let mut tags: Vec<Tag> = tags.into_iter().collect();
        tags.retain(|tag| seen.insert(tag.clone()));
        tags
    }

    /// Returns the candidate of a service.
    pub(super) fn candidate(&self, service: &ServiceName) -> Option<&PlanCandidate<'a>> {
        self.candidates.get(*self.positions.get(service)?)
    }

    /// Returns the image name of a service.
    pub fn image(&self, service: &ServiceName) -> Option<&ServiceImage> {
        self.images.get(service)
    }

    /// Returns the tag that all images of a preview get.
    fn train_tag(&self) -> Option<Tag> {
        let branch = self.options.train.as_ref()?.as_str();
        // `origin/x` means the branch `x`, as in the manifest.
        let branch = branch.strip_prefix("origin/").unwrap_or(branch);
        Some(Tag::from_branch(branch))
    }

    /// Returns the topic train with its service counts.
    pub(super) fn train(&self) -> Option<Train> {
        let is_on_it =
            |candidate: &&PlanCandidate<'_>| candidate.source.origin == ReferenceOrigin::Branch;
        Some(Train {
            branch: self.options.train.clone()?,
            services_on_branch: self.candidates.iter().filter(is_on_it).count(),
            services: self.candidates.len(),
        })
    }

    /// Returns whether a working copy is built in place, possibly for another service in the same repository.
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

    /// Renders a template that uses the caller's environment as shell text; `None` for any other template.
    pub(super) fn render_for_shell(
        &self,
        template: &Template,
        service: &Service,
        source: &ServiceSource,
    ) -> Result<Option<String>, ManifestError> {
        if !template.reads_environment() {
            return Ok(None);
        }
        let render =
            |values: &PlaceholderValues<'_>| self.manifest.render_for_shell(template, values);
        self.with_values(service, source, render).map(Some)
    }

    /// Renders a template for a recipe: independent of image locations, because the images of needed services are
    /// separate inputs.
    pub(super) fn render_for_recipe(
        &self,
        template: &Template,
        candidate: &PlanCandidate<'_>,
    ) -> Result<String, ManifestError> {
        self.render_for_recipe_as(template, candidate, &ServiceName::to_string)
    }

    /// Like [`PlanDraft::render_for_recipe`], with other names for the needed services.
    pub(super) fn render_for_recipe_as(
        &self,
        template: &Template,
        candidate: &PlanCandidate<'_>,
        names: &dyn Fn(&ServiceName) -> String,
    ) -> Result<String, ManifestError> {
        let services = |name: &ServiceName| {
            let commit = self.sources.get(name)?.commit;
            Some((format!("the image of {}", names(name)), commit))
        };
        let values = self.values(candidate.service, candidate.source, &services);
        self.manifest.render(template, &values)
    }

    /// Calls `use_values` with the placeholder values of a service.
    fn with_values<T>(
        &self,
        service: &Service,
        source: &ServiceSource,
        use_values: impl FnOnce(&PlaceholderValues<'_>) -> T,
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
    ) -> PlaceholderValues<'v> {
        PlaceholderValues {
            service: &service.name,
            commit: source.commit,
            branch: source.build_reference().short_name(),
            services,
            env: self.env,
        }
    }

    /// Returns the folder builders that the services use, including the plugins that fetch their sources.
    pub fn builder_folders(&self) -> BTreeSet<BuilderName> {
        let candidates = self.candidates.iter();
        let used = candidates.flat_map(|candidate| {
            let units = units(candidate.service, true).into_iter();
            units
                .chain(plugin_unit(candidate))
                .chain(self.sbom_unit(candidate))
        });
        let folders = used.filter_map(|unit| match unit {
            Unit::Builder(name) => Some(name),
            _ => None,
        });
        folders.collect()
    }

    /// Returns the references to query in registries: for each service the commit's tag and the additional tags,
    /// since a branch may have moved to a commit that was built before.
    ///
    /// For a service that is built in place, only the commit's tag can be useful, and nothing if the working copy
    /// has changes.
    pub fn images(&self) -> Vec<ImageReference> {
        let wanted = |candidate: &PlanCandidate<'_>| {
            let image = candidate.registry_image();
            let has_registry = image.repository().registry().is_some();
            match candidate.source.local {
                _ if !has_registry || candidate.source.changes().is_some() => Vec::new(),
                Some(_) => vec![image],
                None => std::iter::once(image).chain(candidate.names()).collect(),
            }
        };
        self.candidates.iter().flat_map(wanted).collect()
    }
}

impl PlanCandidate<'_> {
    /// Returns the reference to query in the registry: the tag, or the digest from a lock, because the tag may have
    /// moved since.
    pub fn registry_image(&self) -> ImageReference {
        match self.pinned {
            Some(digest) => self.image.repository().with_digest(digest.clone()),
            None => self.image.clone(),
        }
    }

    /// Returns the identity tag of the image with this recipe, which never moves.
    pub fn identity(&self, recipe: &Recipe) -> ImageReference {
        let tag = Tag::from_recipe(self.source.commit, recipe.identity());
        self.image.repository().tagged(tag)
    }

    /// Returns the image's additional names.
    pub fn names(&self) -> impl Iterator<Item = ImageReference> + use<'_> {
        self.tags
            .iter()
            .map(|tag| self.image.repository().tagged(tag.clone()))
    }
}
