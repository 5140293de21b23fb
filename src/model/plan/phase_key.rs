//! The keys of phases with `inputs`: a digest of everything that the result depends on.
//!
//! Settings that only affect where and how fast a phase runs are not part of a key, as in recipes: mounts, caches, the
//! network, limits, and the values of secrets.

use super::draft::PlanCandidate;
use super::phases::StagedInputs;
use super::recipe::{Input, InputValue};
use super::script_inputs::script_inputs;
use super::sidecars;
use super::{Decided, builder_image};
use crate::model::event::Unit;
use crate::model::image::{ImageReference, Tag};
use crate::model::manifest::{
    Builder, BuilderImage, BuilderUser, ManifestError, ScriptItem, ScriptPhase, SidecarImage,
};
use crate::model::recipe::{InputDigest, Recipe};
use crate::model::source::{InputFile, InputFiles};
use crate::model::step_result::StepKey;

/// The version of the keys: results of other versions are not found.
const FORMAT: &str = "1";

/// The maximum number of files whose IDs are kept with a result, so that a later plan can name those that changed.
const MAX_NAMED_FILES: usize = 400;

/// The maximum length of the name of a part.
const MAX_NAME: usize = 200;

/// The start of the names of parts that are files.
pub(super) const FILE: &str = "file ";

/// The start of the names of parts that are results of earlier phases.
pub(super) const RESULT: &str = "result of ";

/// The key of a phase.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PhaseKey {
    pub key: StepKey,
    /// Its parts, with values that are no secrets.
    pub parts: Vec<(String, String)>,
    /// The images of the phase in the engine, and their identities.
    pub images: Vec<(ImageReference, String)>,
}

/// Collects the parts of a key.
#[derive(Default)]
struct KeyParts {
    /// Everything that is hashed. The length of each value is hashed too, so different lists have different digests.
    hashed: Vec<u8>,
    shown: Vec<(String, String)>,
    images: Vec<(ImageReference, String)>,
}

impl KeyParts {
    /// Adds a part that is shown as it is.
    fn plain(&mut self, name: &str, value: &str) {
        self.hash(name, value.as_bytes());
        self.show(name, value.to_owned());
    }

    fn hash(&mut self, name: &str, value: &[u8]) {
        for text in [name.as_bytes(), value] {
            self.hashed.extend((text.len() as u64).to_be_bytes());
            self.hashed.extend(text);
        }
    }

    fn show(&mut self, name: &str, value: String) {
        self.shown
            .push((name.chars().take(MAX_NAME).collect(), value));
    }

    /// Adds a part of which only a short digest is shown, because it may be secret or long.
    fn input(&mut self, input: &Input<'_>) {
        match &input.value {
            InputValue::Text(text) => self.hash(&input.name, text.as_bytes()),
            InputValue::Rendered(text, _) => self.hash(&input.name, text.as_bytes()),
            InputValue::Content(_, content) => {
                self.hash(&input.name, content.to_string().as_bytes());
            }
            InputValue::Needed(tag, recipe) => {
                self.hash(&input.name, format!("{tag} {recipe}").as_bytes());
            }
            InputValue::List(items) => {
                self.hash(&input.name, &(items.len() as u64).to_be_bytes());
                for item in items {
                    self.hash("", item.as_bytes());
                }
            }
        }
        let mut recipe = Recipe::default();
        input.add_to(&mut recipe);
        let digest = recipe.input(&input.name).map(InputDigest::as_str);
        self.show(&input.name, digest.unwrap_or_default().to_owned());
    }

    fn files(&mut self, files: &[InputFile]) {
        let are_named = files.len() <= MAX_NAMED_FILES;
        for file in files {
            self.hash(&format!("{FILE}{:o}", file.mode), &file.path);
            self.hash("", file.id.as_bytes());
            if are_named {
                let value = format!("{:o} {}", file.mode, file.id);
                self.show(&format!("{FILE}{}", file.shown_path()), value);
            }
        }
        if !are_named {
            self.folders(files);
        }
    }

    /// Shows one digest for each folder at the top.
    fn folders(&mut self, files: &[InputFile]) {
        let folder = |file: &InputFile| {
            let mut parts = file.path.split(|byte| *byte == b'/');
            let first = parts.next().unwrap_or_default().to_vec();
            InputFile {
                path: first,
                mode: 0,
                id: String::new(),
            }
            .shown_path()
        };
        for chunk in files.chunk_by(|a, b| folder(a) == folder(b)) {
            let Some(first) = chunk.first() else {
                continue;
            };
            let mut recipe = Recipe::default();
            let ids = chunk.iter().map(|file| file.id.as_str());
            recipe.add_list(FILE, ids);
            let digest = recipe.input(FILE).map(InputDigest::as_str);
            let name = format!("{FILE}{}", folder(first));
            self.show(&name, digest.unwrap_or_default().to_owned());
        }
    }

    fn finish(self) -> PhaseKey {
        PhaseKey {
            key: StepKey::of(&self.hashed),
            parts: self.shown,
            images: self.images,
        }
    }
}

impl Decided<'_> {
    /// Returns the key of a phase, or why it is unknown. `earlier` has the keys of the earlier phases with outputs.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub(super) fn phase_key(
        &self,
        candidate: &PlanCandidate<'_>,
        phase: ScriptPhase,
        inputs: &StagedInputs,
        earlier: &[(ScriptPhase, &Result<PhaseKey, String>)],
    ) -> Result<Result<PhaseKey, String>, ManifestError> {
        let service = candidate.service;
        let Some(cached) = service.scripts.cached.get(&phase) else {
            return Ok(Err("it has no `inputs`".to_owned()));
        };
        if phase == ScriptPhase::Verify {
            return Ok(Err("it depends on the new image".to_owned()));
        }
        let files = match inputs.files.get(&(service.name.clone(), phase)) {
            Some(Ok(files)) => files,
            Some(Err(why)) => return Ok(Err(why.clone())),
            None => return Ok(Err("its inputs are unknown".to_owned())),
        };
        let Some(builder) = &service.builder else {
            return Ok(Err("it has no builder".to_owned()));
        };
        let mut parts = KeyParts::default();
        parts.plain("format", FORMAT);
        parts.plain("platform", &inputs.platform);
        let phases = service.scripts.phases();
        let items = phases.iter().filter(|(it, _)| *it == phase);
        let items: Vec<&ScriptItem> = items.flat_map(|(_, items)| *items).collect();
        for image in service.images_of(items.iter().copied()) {
            if let Err(unknown) = self.add_image(&mut parts, image, inputs) {
                return Ok(Err(unknown));
            }
        }
        self.add_builder(&mut parts, candidate, builder)?;
        let mut commands = Vec::new();
        for (_, items) in phases.iter().filter(|(it, _)| *it == phase) {
            script_inputs(phase.as_str(), items, &self.folders, &mut commands);
        }
        let mut outputs: Vec<String> = cached.outputs.iter().map(ToString::to_string).collect();
        outputs.sort_unstable();
        commands.push(Input {
            name: format!("scripts.{}.outputs", phase.as_str()).into(),
            value: InputValue::List(outputs.iter().map(String::as_str).collect()),
        });
        for input in &commands {
            parts.input(input);
            // Its content is another part.
            if input.name.ends_with("].image") || input.name.ends_with("].plugin") {
                parts.shown.pop();
            }
        }
        if let Err(unknown) = self.add_sidecars(&mut parts, candidate, phase, inputs)? {
            return Ok(Err(unknown));
        }
        for (earlier, key) in earlier {
            match key {
                Ok(key) => parts.plain(
                    &format!("{RESULT}{}", earlier.as_str()),
                    &key.key.to_string(),
                ),
                Err(_) => {
                    let why = format!("the key of `{}` is unknown", earlier.as_str());
                    return Ok(Err(why));
                }
            }
        }
        if service.source.git().is_some_and(|git| git.submodules) {
            parts.plain("git.submodules", "true");
        }
        let InputFiles { files, attributes } = files;
        let listed: Vec<InputFile> = attributes.iter().chain(files).cloned().collect();
        parts.files(&listed);
        Ok(Ok(parts.finish()))
    }

    fn add_builder(
        &self,
        parts: &mut KeyParts,
        candidate: &PlanCandidate<'_>,
        builder: &Builder,
    ) -> Result<(), ManifestError> {
        parts.plain("dockerBuilder.workdir", &builder.workdir);
        if let Some(path) = candidate.service.source.path() {
            parts.plain("git.path", path);
        }
        // The caller's IDs differ between machines.
        let user = match builder.user {
            BuilderUser::Caller => "caller".to_owned(),
            BuilderUser::Root => "root".to_owned(),
            BuilderUser::Ids { uid, gid } => format!("{uid}:{gid}"),
        };
        parts.plain("dockerBuilder.user", &user);
        for (name, template) in &builder.env {
            // What scripts see, unlike in a recipe.
            let value = self
                .draft
                .render(template, candidate.service, candidate.source)?;
            parts.input(&Input {
                name: format!("dockerBuilder.env.{name}").into(),
                value: InputValue::Rendered(value, template),
            });
        }
        Ok(())
    }

    /// Adds an image by what it contains, not by its name.
    fn add_image(
        &self,
        parts: &mut KeyParts,
        image: &BuilderImage,
        inputs: &StagedInputs,
    ) -> Result<(), String> {
        let unknown = || format!("the digest of {image} is unknown");
        let name = builder_image(image, &self.folders).ok_or_else(unknown)?;
        let identity = match image {
            BuilderImage::Folder(builder) => {
                let folder = self.folders.get(&Unit::Builder(builder.clone()));
                folder.map(|folder| folder.content.to_string())
            }
            BuilderImage::External(external) => self.external_identity(external, inputs),
        };
        let identity = identity.ok_or_else(|| {
            let unknown = unknown();
            if self.draft.options.fleet.is_some() {
                format!("{unknown}: no registry reports it, and a fleet does not use this machine's engine")
            } else {
                unknown
            }
        })?;
        parts.plain(&image.to_string(), &identity);
        if matches!(image, BuilderImage::External(_)) {
            parts.images.push((name, identity));
        }
        Ok(())
    }

    /// Returns the digest of an external image that the build will use.
    fn external_identity(&self, image: &ImageReference, inputs: &StagedInputs) -> Option<String> {
        if let Some(digest) = image.digest() {
            return Some(digest.to_string());
        }
        match inputs.digests.get(&image.with_defaults()) {
            Some(digest) => digest.as_ref().map(ToString::to_string),
            None => self.inventory.engine_identity(image),
        }
    }

    fn add_sidecars(
        &self,
        parts: &mut KeyParts,
        candidate: &PlanCandidate<'_>,
        phase: ScriptPhase,
        inputs: &StagedInputs,
    ) -> Result<Result<(), String>, ManifestError> {
        let service = candidate.service;
        for (name, sidecar) in service.used_sidecars() {
            if !sidecar.phases.contains(&phase) {
                continue;
            }
            match &sidecar.image {
                SidecarImage::Image(image) => {
                    if let Err(unknown) = self.add_image(parts, image, inputs) {
                        return Ok(Err(unknown));
                    }
                    parts.plain(&format!("sidecars.{name}.image"), &image.to_string());
                }
                SidecarImage::Service { service, .. } => {
                    let tag = self.draft.sources.get(service).map(Tag::from_source);
                    let (Some(tag), Some(recipe)) = (tag, self.recipes.get(service)) else {
                        return Ok(Err(format!("the image of {service} is unknown")));
                    };
                    parts.input(&Input {
                        name: format!("sidecars.{name}.image").into(),
                        value: InputValue::Needed(tag, recipe.clone()),
                    });
                }
            }
            if let Some(command) = &sidecar.settings.command {
                parts.input(&Input {
                    name: format!("sidecars.{name}.command").into(),
                    value: InputValue::List(command.iter().map(String::as_str).collect()),
                });
            }
            for (variable, template) in &sidecar.settings.env {
                let value = self.draft.render(template, service, candidate.source)?;
                parts.input(&Input {
                    name: format!("sidecars.{name}.env.{variable}").into(),
                    value: InputValue::Rendered(value, template),
                });
            }
        }
        Ok(Ok(()))
    }

    /// Returns the external images of a phase and its sidecars.
    pub(super) fn external_images<'c>(
        &self,
        candidate: &PlanCandidate<'c>,
        phase: ScriptPhase,
    ) -> Vec<&'c ImageReference> {
        let service = candidate.service;
        let phases = service.scripts.phases().into_iter();
        let items = phases.filter(|(it, _)| *it == phase);
        let images = service.images_of(items.flat_map(|(_, items)| items));
        let beside = sidecars::images(service, phase);
        let external = images
            .into_iter()
            .chain(beside)
            .filter_map(|image| match image {
                BuilderImage::External(image) => Some(image),
                BuilderImage::Folder(_) => None,
            });
        external.collect()
    }
}
