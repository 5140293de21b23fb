//! Scripts that run once for each platform of an image, each time in images of that platform.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decide::Decided;
use super::draft::PlanCandidate;
use super::{ContainerStep, ImageStep, PlannedImage, Step};
use crate::model::environment::XP_PLATFORM;
use crate::model::image::{ImageReference, Platform};

/// An image that scripts for another platform than the engine's own run in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolchainStep {
    /// The image, as the following steps name it.
    pub image: ImageReference,
    pub platform: Platform,
    /// How it is built if neither the engine nor its registry has it; `None` for an image of a registry.
    pub build: Option<Box<ImageStep>>,
    /// Whether it is pushed after it was built.
    pub is_pushed: bool,
    /// Whether the newest image of its tag is used, even if the engine has another one.
    pub is_refreshed: bool,
}

impl ToolchainStep {
    pub(super) fn describe(&self) -> String {
        let Self {
            image, platform, ..
        } = self;
        let otherwise = if self.build.is_some() {
            "pulled or built"
        } else {
            "pulled"
        };
        format!("{image} for {platform}, {otherwise} if it is missing")
    }
}

impl Decided<'_> {
    /// Returns whether a platform is the own one of the engine that runs everything else.
    pub(super) fn is_engines_own(&self, platform: &Platform) -> bool {
        self.inventory.engine_platform.as_ref() == Some(platform)
            && !self.draft.manifest.engines.contains_key(platform)
    }

    /// Returns the steps of scripts for a platform, given those for the engine's own one.
    pub(super) fn steps_for_platform(
        &self,
        candidate: &PlanCandidate<'_>,
        scripts: &[Step],
        platform: &Platform,
    ) -> Vec<Step> {
        let mut moved = MovedScripts {
            decided: self,
            candidate,
            platform,
            is_own: self.is_engines_own(platform),
            toolchains: Vec::new(),
        };
        let mut steps = scripts.to_vec();
        for step in &mut steps {
            moved.add(step);
        }
        let toolchains = moved.toolchains.into_iter();
        let toolchains = toolchains.map(|step| Step::Toolchain(Box::new(step)));
        toolchains.chain(steps).collect()
    }
}

/// Changes the steps of scripts for a platform.
struct MovedScripts<'m> {
    decided: &'m Decided<'m>,
    candidate: &'m PlanCandidate<'m>,
    platform: &'m Platform,
    is_own: bool,
    /// The images that they run in.
    toolchains: Vec<ToolchainStep>,
}

impl MovedScripts<'_> {
    fn add(&mut self, step: &mut Step) {
        if let Some(container) = step.container_mut() {
            self.container(container);
            return;
        }
        match step {
            Step::Script(script) => {
                if let Some(image) = &mut script.image {
                    *image = self.name(image);
                }
            }
            // Servers run on the engine's own platform; on another engine, that is this one.
            Step::Sidecars(sidecars) if self.has_engine() => {
                sidecars.platform = Some(self.platform.clone());
                for container in &mut sidecars.containers {
                    if let PlannedImage::Named(image) = &mut container.image {
                        *image = self.provided(image);
                    }
                }
            }
            _ => {}
        }
    }

    fn container(&mut self, container: &mut ContainerStep) {
        let name = XP_PLATFORM.name.to_owned();
        let value = self.platform.to_string();
        container.env.entry(name).or_insert(value);
        if self.is_own {
            return;
        }
        container.image = self.provided(&container.image);
        container.platform = Some(self.platform.clone());
        // Programs of one platform are of no use to another one.
        for (folder, _) in &mut container.caches {
            let name = folder.file_name().unwrap_or_default();
            let name = format!("{}-{}", name.to_string_lossy(), self.platform.slug());
            folder.set_file_name(name);
        }
    }

    /// Returns whether another engine builds for the platform.
    fn has_engine(&self) -> bool {
        let engines = &self.decided.draft.manifest.engines;
        engines.contains_key(self.platform)
    }

    /// Returns the name of an image for the platform: those that are built have a tag for each one.
    fn name(&self, image: &ImageReference) -> ImageReference {
        let mut folders = self.decided.folders.values();
        let is_built = !self.is_own && folders.any(|folder| folder.image == *image);
        match image.tag().filter(|_| is_built) {
            Some(tag) => image.repository().tagged(tag.for_platform(self.platform)),
            None => image.clone(),
        }
    }

    /// Returns the name of an image for the platform, and adds the step that provides it.
    fn provided(&mut self, image: &ImageReference) -> ImageReference {
        let name = self.name(image);
        if self.toolchains.iter().any(|step| step.image == name) {
            return name;
        }
        let draft = &self.decided.draft;
        let mut folders = self.decided.folders.values();
        let folder = folders.find(|folder| folder.image == *image);
        let build = folder.map(|folder| {
            Box::new(ImageStep {
                platform: Some(self.platform.clone()),
                engine: draft.manifest.engines.get(self.platform).cloned(),
                ..folder.image_step(vec![name.clone()])
            })
        });
        self.toolchains.push(ToolchainStep {
            image: name.clone(),
            platform: self.platform.clone(),
            is_pushed: build.is_some()
                && draft.options.push
                && name.repository().registry().is_some(),
            is_refreshed: draft.options.refresh_bases || draft.tracks_bases(self.candidate),
            build,
        });
        name
    }
}
