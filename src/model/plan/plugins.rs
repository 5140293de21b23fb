//! Validates the settings of plugins with the descriptions of their images.

use std::collections::BTreeMap;

use super::draft::PlanDraft;
use super::recipe::Folders;
use super::{Decided, FolderBuilder};
use crate::model::event::Unit;
use crate::model::image::{ImageReference, Labels};
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::{BuilderImage, ManifestError, PluginItem, ScriptItem, Service};
use crate::model::plugin::{PluginDescription, PluginUse, problems};

impl PlanDraft<'_> {
    /// Checks the plugins that are built from folders, by the labels in their Dockerfiles.
    ///
    /// # Errors
    ///
    /// A label is invalid, or rejects settings.
    pub fn check_folder_plugins(&self, folders: &Folders) -> Result<(), ManifestError> {
        let services = self.candidates.iter().map(|candidate| candidate.service);
        let found = services.flat_map(|service| folder_problems(service, folders));
        match self.manifest.rejected(found.collect()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Returns the problems of a service's plugins that are built from folders.
pub(crate) fn folder_problems(service: &Service, folders: &Folders) -> Vec<SourceProblem> {
    let of_phases = plugins(service)
        .flat_map(|(key, plugin)| in_folder(&PluginUse::step(&key, plugin), folders));
    let of_source = source_problems(service, folders).into_iter();
    of_source.chain(of_phases).collect()
}

/// Returns the problems of the plugin that reads a service's source, if it is built from a folder.
pub(crate) fn source_problems(service: &Service, folders: &Folders) -> Vec<SourceProblem> {
    let plugin = service.source.plugin().map(PluginUse::scm);
    plugin.map_or_else(Vec::new, |plugin| in_folder(&plugin, folders))
}

/// Returns the problems of a plugin, according to the label in the Dockerfile of its folder.
fn in_folder(plugin: &PluginUse<'_>, folders: &Folders) -> Vec<SourceProblem> {
    let folder = match plugin.image {
        BuilderImage::Folder(name) => folders.get(&Unit::Builder(name.clone())),
        BuilderImage::External(_) => None,
    };
    let label = folder.and_then(|folder: &FolderBuilder| folder.plugin.as_deref());
    let description = label.map(PluginDescription::parse).transpose();
    problems(plugin, &description)
}

impl Decided<'_> {
    /// Returns the images of plugins to describe: those that builds use and that the engine does not have.
    pub fn missing_plugins(&self) -> Vec<ImageReference> {
        let mut images: Vec<ImageReference> = Vec::new();
        for (_, _, image) in self.external_plugins() {
            let image = image.with_defaults();
            if self.inventory.in_engine(&image).is_none() && !images.contains(&image) {
                images.push(image);
            }
        }
        images
    }

    /// Checks the plugins that builds use, by the labels of their images in the engine, or else those in `published`.
    /// An image whose labels are unknown is checked again before it is run.
    ///
    /// # Errors
    ///
    /// A label is invalid, or rejects settings.
    pub fn check_plugins(
        &self,
        published: &BTreeMap<ImageReference, Labels>,
    ) -> Result<(), ManifestError> {
        let found = self.external_plugins().flat_map(|(key, plugin, image)| {
            let in_engine = self.inventory.in_engine(image).map(|found| &found.labels);
            let labels = in_engine.or_else(|| published.get(&image.with_defaults()));
            let description = labels.map_or(Ok(None), PluginDescription::of);
            problems(&PluginUse::step(&key, plugin), &description)
        });
        match self.draft.manifest.rejected(found.collect()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Returns the plugins of builds that are not built from folders.
    fn external_plugins(&self) -> impl Iterator<Item = (String, &PluginItem, &ImageReference)> {
        let builds = self.builds().map(|candidate| candidate.service);
        builds
            .flat_map(plugins)
            .filter_map(|(key, plugin)| match &plugin.image {
                BuilderImage::External(image) => Some((key, plugin, image)),
                BuilderImage::Folder(_) => None,
            })
    }
}

/// Returns the plugins of a service with their positions, such as `scripts.build[0]`.
fn plugins(service: &Service) -> impl Iterator<Item = (String, &PluginItem)> {
    let phases = service.scripts.phases().into_iter();
    phases.flat_map(|(phase, items)| {
        let items = items.iter().enumerate();
        items.filter_map(move |(index, item)| match item {
            ScriptItem::Plugin(plugin) => {
                Some((format!("scripts.{}[{index}]", phase.as_str()), plugin))
            }
            ScriptItem::Line(_) | ScriptItem::Run(_) => None,
        })
    })
}
