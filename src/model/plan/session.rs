//! The container of `xp run` and `xp shell`: the builder container, with the working copy.

use std::collections::BTreeMap;

use super::build_dir::BuildDir;
use super::builder::{BuilderMode, external_plan};
use super::draft::PlanDraft;
use super::scripts::with_plugin;
use super::staged::StageFolder;
use super::{ContainerStep, FolderBuilder, Folders, Inventory, Plan, Presence, UnitPlan};
use crate::model::event::Unit;
use crate::model::image::{ImageQuery, ImageReference};
use crate::model::layout::Layout;
use crate::model::manifest::{BuilderImage, ManifestError, ScriptItem, ScriptPhase, ServiceName};

/// The variable that makes tools non-interactive.
const CI: &str = "CI";

impl PlanDraft<'_> {
    /// Returns the container for interactive work, set up like that of the service's scripts; `None` if the service has
    /// no builder.
    ///
    /// `CI` is passed through from the caller's environment, because the session may be interactive.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub fn session(
        &self,
        service: &ServiceName,
        folders: &Folders,
        layout: &Layout,
    ) -> Result<Option<ContainerStep>, ManifestError> {
        let Some(mut step) = self.script_container(service, None, None, folders, layout)? else {
            return Ok(None);
        };
        let candidate = self.candidate(service);
        let builder = candidate.and_then(|it| it.service.builder.as_ref());
        if !builder.is_some_and(|builder| builder.env.contains_key(CI)) {
            step.env.remove(CI);
            step.env
                .extend((self.env)(CI).map(|value| (CI.to_owned(), value)));
        }
        Ok(Some(step))
    }

    /// Returns the container of an item of the service's scripts, or else of its builder, with the files of a phase, or
    /// else the source files, as they are; `None` if there is no such image.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub fn script_container(
        &self,
        service: &ServiceName,
        item: Option<&ScriptItem>,
        phase: Option<ScriptPhase>,
        folders: &Folders,
        layout: &Layout,
    ) -> Result<Option<ContainerStep>, ManifestError> {
        let candidate = self.candidate(service);
        let found = candidate.and_then(|it| Some((it, it.service.builder.as_ref()?)));
        let Some((candidate, builder)) = found else {
            return Ok(None);
        };
        let image = item.and_then(ScriptItem::image);
        let image = image.or(builder.image.as_ref());
        let Some(image) = image.and_then(|image| builder_image(image, folders)) else {
            return Ok(None);
        };
        // The files exist already, so the steps that prepare them are not needed.
        let cached = &candidate.service.scripts.cached;
        let staged = phase.filter(|it| cached.contains_key(it) && candidate.source.local.is_none());
        let build_dir = match staged {
            Some(phase) => StageFolder::of(candidate, layout).build_dir(phase),
            None => BuildDir::of(candidate, self, folders, layout, &mut Vec::new()),
        };
        let step = self.container(candidate, &build_dir, builder, image, layout)?;
        Ok(Some(match item {
            Some(ScriptItem::Plugin(plugin)) => with_plugin(step, plugin),
            _ => step,
        }))
    }
}

/// Plans what is needed to have builder images in the engine, without pushing.
pub fn builder_plan(
    images: &[&BuilderImage],
    folders: &Folders,
    inventory: &Inventory,
    registries: &BTreeMap<ImageReference, Presence>,
) -> Plan {
    let mut units: Vec<UnitPlan> = Vec::new();
    for image in images {
        let unit = match image {
            BuilderImage::External(image) => Some(external_plan(image, inventory, None, false)),
            BuilderImage::Folder(name) => {
                let unit = Unit::Builder(name.clone());
                let folder = folders.get(&unit);
                folder
                    .map(|folder| folder.plan(unit, inventory, registries, BuilderMode::default()))
            }
        };
        let is_known = |unit: &UnitPlan| units.iter().any(|known| known.unit == unit.unit);
        units.extend(unit.filter(|unit| !is_known(unit)));
    }
    Plan { units, train: None }
}

/// Returns the images to query in the engine for [`builder_plan`].
pub fn builder_images(images: &[&BuilderImage], folders: &Folders) -> Vec<ImageQuery> {
    let queries = images.iter().flat_map(|image| match image {
        BuilderImage::External(image) => vec![image.clone().into()],
        BuilderImage::Folder(name) => {
            let folder = folders.get(&Unit::Builder(name.clone()));
            folder.map(FolderBuilder::engine_images).unwrap_or_default()
        }
    });
    queries.collect()
}

/// Returns the name of a builder's image in the engine.
pub fn builder_image(image: &BuilderImage, folders: &Folders) -> Option<ImageReference> {
    match image {
        BuilderImage::External(image) => Some(image.clone()),
        BuilderImage::Folder(name) => {
            let folder = folders.get(&Unit::Builder(name.clone()));
            folder.map(|folder| folder.image.clone())
        }
    }
}
