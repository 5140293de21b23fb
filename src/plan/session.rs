//! The container of `xp run` and `xp shell`: that of a build, on the working copy.

use std::collections::BTreeMap;

use super::builder::external_plan;
use super::draft::{Candidate, Draft};
use super::place::Place;
use super::{ContainerStep, FolderBuilder, Folders, Inventory, Layout, Plan, Presence};
use crate::event::Unit;
use crate::image::{ImageQuery, ImageReference};
use crate::manifest::{BuilderImage, ManifestError, ServiceName};

/// The variable that tells tools that nobody watches.
const CI: &str = "CI";

impl Draft<'_> {
    /// Returns the container that a person works in, as the service's scripts would; none where the service
    /// has no builder.
    ///
    /// Somebody does watch, so `CI` is what it is for the caller.
    ///
    /// # Errors
    ///
    /// A variable that cannot be rendered.
    pub fn session(
        &self,
        service: &ServiceName,
        folders: &Folders,
        layout: &Layout,
    ) -> Result<Option<ContainerStep>, ManifestError> {
        let Some(mut step) = self.failed_container(service, folders, layout)? else {
            return Ok(None);
        };
        let is_own = |candidate: &&Candidate<'_>| candidate.service.name == *service;
        let candidate = self.candidates.iter().find(is_own);
        let builder = candidate.and_then(|it| it.service.builder.as_ref());
        if !builder.is_some_and(|builder| builder.env.contains_key(CI)) {
            step.env.remove(CI);
            step.env
                .extend((self.env)(CI).map(|value| (CI.to_owned(), value)));
        }
        Ok(Some(step))
    }

    /// Returns the container that the service's scripts run in, on the files as they are; none where the
    /// service has no builder.
    ///
    /// # Errors
    ///
    /// A variable that cannot be rendered.
    pub fn failed_container(
        &self,
        service: &ServiceName,
        folders: &Folders,
        layout: &Layout,
    ) -> Result<Option<ContainerStep>, ManifestError> {
        let is_own = |candidate: &&Candidate<'_>| candidate.service.name == *service;
        let candidate = self.candidates.iter().find(is_own);
        let found = candidate.and_then(|it| Some((it, it.service.builder.as_ref()?)));
        let Some((candidate, builder)) = found else {
            return Ok(None);
        };
        let Some(image) = builder_image(&builder.image, folders) else {
            return Ok(None);
        };
        // The files are there: how they would be brought is of no interest.
        let place = Place::of(candidate, self, layout, &mut Vec::new());
        let step = self.container(candidate, &place, builder, image, layout)?;
        Ok(Some(step))
    }
}

/// Returns what it takes that the engine has the image of a builder; nothing is pushed.
pub fn builder_plan(
    image: &BuilderImage,
    folders: &Folders,
    inventory: &Inventory,
    registries: &BTreeMap<ImageReference, Presence>,
) -> Plan {
    let unit = match image {
        BuilderImage::External(image) => Some(external_plan(image, inventory)),
        BuilderImage::Folder(name) => {
            let unit = Unit::Builder(name.clone());
            let folder = folders.get(&unit);
            folder.map(|folder| folder.plan(unit, inventory, registries, false, false))
        }
    };
    Plan {
        units: unit.into_iter().collect(),
        train: None,
    }
}

/// Returns what the engine is asked for to plan a builder.
pub fn builder_images(image: &BuilderImage, folders: &Folders) -> Vec<ImageQuery> {
    match image {
        BuilderImage::External(image) => vec![image.clone().into()],
        BuilderImage::Folder(name) => {
            let folder = folders.get(&Unit::Builder(name.clone()));
            folder.map(FolderBuilder::engine_images).unwrap_or_default()
        }
    }
}

/// Returns the name that the image of a builder has in the engine.
pub fn builder_image(image: &BuilderImage, folders: &Folders) -> Option<ImageReference> {
    match image {
        BuilderImage::External(image) => Some(image.clone()),
        BuilderImage::Folder(name) => {
            let folder = folders.get(&Unit::Builder(name.clone()));
            folder.map(|folder| folder.image.clone())
        }
    }
}
