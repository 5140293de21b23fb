//! Which images the engine is asked for.
//!
//! One query costs an engine some milliseconds, so there is one for each image that the plan can use, and none
//! for images that only share a name with it.

use std::collections::BTreeSet;

use super::compare::Sighting;
use super::draft::{Candidate, Draft};
use super::recipe::Folders;
use super::{Decided, Inventory};
use crate::event::Unit;
use crate::image::{EngineImages, ImageQuery};
use crate::manifest::{ManifestError, ServiceName};
use crate::recipe::Standing;

impl Draft<'_> {
    /// Returns what the engine is asked for, whatever registries have.
    pub fn engine_images(&self) -> BTreeSet<ImageQuery> {
        let candidates = self.candidates.iter();
        candidates.map(Candidate::engine_query).collect()
    }

    /// Returns whether registries are asked first, as their answers may spare the engine's: where nothing is
    /// pulled, an image that its registry has needs not be in the engine.
    pub fn asks_registries_first(&self) -> bool {
        !self.options.pull
    }

    /// Returns what the engine is asked for once registries answered, for [`Draft::asks_registries_first`]: all
    /// but the images whose registry has them as today's inputs give them, and that no build needs.
    ///
    /// # Errors
    ///
    /// A build argument or a variable that cannot be rendered.
    pub fn engine_images_beside(
        &self,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<BTreeSet<ImageQuery>, ManifestError> {
        let compared = self.compare(inventory, folders)?;
        let is_settled = |candidate: &&Candidate<'_>| {
            let comparison = compared.comparisons.get(&candidate.service.name);
            let in_registry = comparison.map(|comparison| &comparison.registry);
            let is_there = matches!(
                in_registry,
                Some(Sighting::Found(Standing::Verified | Standing::Unverified))
            );
            is_there && !candidate.is_local && !(self.options.force && candidate.selected)
        };
        let selected = self.candidates.iter().filter(|it| it.selected);
        let open = selected.filter(|candidate| !is_settled(candidate));
        let open: BTreeSet<ServiceName> = open.map(|it| it.service.name.clone()).collect();
        // What such a service needs, a build of it starts from.
        let asked = self.manifest.closure(&open);
        let candidates = self.candidates.iter();
        let asked = candidates.filter(|candidate| asked.contains(&candidate.service.name));
        Ok(asked.map(Candidate::engine_query).collect())
    }
}

impl Candidate<'_> {
    /// Returns what the engine is asked for: the image by its commit.
    fn engine_query(&self) -> ImageQuery {
        ImageQuery {
            name: self.image.clone(),
            further_names: self.names().collect(),
        }
    }
}

impl Decided<'_> {
    /// Returns the images of builders that the engine is asked for, since they are needed.
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

    /// Adds what the engine has of [`Decided::engine_builders`].
    pub fn add_engine_images(&mut self, images: EngineImages) {
        self.inventory.engine.extend(images);
    }
}
