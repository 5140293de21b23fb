//! The images to query in the engine.
//!
//! A query takes an engine a few milliseconds, so only images that the plan can use are queried.

use std::collections::BTreeSet;

use super::compare::ImageLookup;
use super::draft::{PlanCandidate, PlanDraft};
use super::recipe::Folders;
use super::{Decided, Inventory};
use crate::model::event::Unit;
use crate::model::image::{EngineImages, ImageQuery};
use crate::model::manifest::{ManifestError, ServiceName};
use crate::model::recipe::RecipeStatus;

impl PlanDraft<'_> {
    /// Returns the images to query if the registries have not been queried.
    pub fn engine_images(&self) -> BTreeSet<ImageQuery> {
        let candidates = self.candidates.iter();
        candidates.map(PlanCandidate::engine_query).collect()
    }

    /// Returns whether to query registries first: if nothing is pulled, an image that its registry has does not have
    /// to be in the engine, so the engine need not be queried for it.
    pub fn queries_registries_first(&self) -> bool {
        !self.options.pull
    }

    /// Returns the images to query in the engine after the registries were queried, for
    /// [`PlanDraft::queries_registries_first`]: all except those that are up to date in their registry and not needed
    /// by a build.
    ///
    /// # Errors
    ///
    /// A build argument or a variable cannot be rendered.
    pub fn engine_images_after_registries(
        &self,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<BTreeSet<ImageQuery>, ManifestError> {
        let compared = self.compare(inventory, folders)?;
        let is_settled = |candidate: &&PlanCandidate<'_>| {
            let comparison = compared.comparisons.get(&candidate.service.name);
            let in_registry = comparison.map(|comparison| &comparison.registry);
            let exists = matches!(
                in_registry,
                Some(ImageLookup::Found(
                    RecipeStatus::Verified | RecipeStatus::Unverified
                ))
            );
            exists && !candidate.is_local && !(self.options.force && candidate.selected)
        };
        let selected = self.candidates.iter().filter(|it| it.selected);
        let open = selected.filter(|candidate| !is_settled(candidate));
        let open: BTreeSet<ServiceName> = open.map(|it| it.service.name.clone()).collect();
        // A build of these services also uses the images of their dependencies.
        let queried = self.manifest.closure(&open);
        let candidates = self.candidates.iter();
        let queried = candidates.filter(|candidate| queried.contains(&candidate.service.name));
        Ok(queried.map(PlanCandidate::engine_query).collect())
    }
}

impl PlanCandidate<'_> {
    /// Returns the engine query for the image, by its commit tag.
    fn engine_query(&self) -> ImageQuery {
        ImageQuery {
            name: self.image.clone(),
            additional_names: self.names().collect(),
        }
    }
}

impl Decided<'_> {
    /// Returns the builder images to query in the engine.
    pub fn engine_builders(&self) -> BTreeSet<ImageQuery> {
        let images = self.builders().into_iter().flat_map(|unit| {
            let folder = self.folders.get(&unit);
            match (folder, unit) {
                (Some(folder), _) => folder.engine_images(),
                (None, Unit::External(image)) => vec![image.into()],
                (None, _) => Vec::new(),
            }
        });
        images.collect()
    }

    /// Adds the engine's response for [`Decided::engine_builders`].
    pub fn add_engine_images(&mut self, images: EngineImages) {
        self.inventory.engine.extend(images);
    }
}
