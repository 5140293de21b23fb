//! The inputs of a service's build and its recipe.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::draft::{PlanCandidate, PlanDraft};
use super::script_inputs::script_inputs;
use super::{FolderBuilder, sidecars};
use crate::model::event::Unit;
use crate::model::image::Tag;
use crate::model::manifest::{
    BuilderImage, BuilderName, BuilderUser, CachedPhase, ManifestError, ScriptPhase, ServiceName,
    Template,
};
use crate::model::recipe::{ContentId, PLATFORMS, Recipe};
use crate::model::source::ExcludePattern;

/// The builders that are built from folders, by unit.
pub type Folders = BTreeMap<Unit, FolderBuilder>;

/// One input of a build, named after its manifest key.
pub(super) struct Input<'a> {
    pub name: Cow<'static, str>,
    pub value: InputValue<'a>,
}

/// The hashed value of an input.
pub(super) enum InputValue<'a> {
    Text(Cow<'a, str>),
    List(Vec<&'a str>),
    /// A rendered template, which may be secret.
    Rendered(String, &'a Template),
    /// The content of a builder's folder.
    Content(&'a BuilderName, ContentId),
    /// A needed service: the tag of its source and its own recipe.
    Needed(Tag, Recipe),
}

impl<'a> Input<'a> {
    /// Returns the input of an image: the content of a folder, or the reference; `None` if the folder was not read.
    pub fn image(
        name: impl Into<Cow<'static, str>>,
        image: &'a BuilderImage,
        folders: &Folders,
    ) -> Option<Self> {
        Some(match image {
            BuilderImage::Folder(builder) => {
                let folder = folders.get(&Unit::Builder(builder.clone()))?;
                Self {
                    name: name.into(),
                    value: InputValue::Content(builder, folder.content.clone()),
                }
            }
            BuilderImage::External(image) => Self::text(name, image.to_string()),
        })
    }

    pub fn text(name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        Self {
            name: name.into(),
            value: InputValue::Text(value.into()),
        }
    }

    pub fn add_to(&self, recipe: &mut Recipe) {
        match &self.value {
            InputValue::Text(text) => recipe.add(self.name.clone(), text),
            InputValue::Rendered(text, _) => recipe.add(self.name.clone(), text),
            InputValue::Content(_, content) => recipe.add(self.name.clone(), &content.to_string()),
            InputValue::Needed(tag, needed) => {
                let needed = needed.without_platforms();
                recipe.add(self.name.clone(), &format!("{tag} {needed}"));
            }
            InputValue::List(items) => recipe.add_list(self.name.clone(), items.iter().copied()),
        }
    }
}

/// Returns the files that a phase reads and writes as inputs: a phase with `inputs` does not see other files.
fn file_inputs<'b>(phase: ScriptPhase, cached: &CachedPhase) -> [Input<'b>; 2] {
    let sorted = |mut items: Vec<String>| {
        items.sort_unstable();
        items.join("\n")
    };
    let inputs = cached.inputs.iter().map(ToString::to_string).collect();
    let outputs = cached.outputs.iter().map(ToString::to_string).collect();
    let name = |key: &str| format!("scripts.{}.{key}", phase.as_str());
    [
        Input::text(name("inputs"), sorted(inputs)),
        Input::text(name("outputs"), sorted(outputs)),
    ]
}

impl PlanDraft<'_> {
    /// Returns the recipes of services and of their dependencies.
    ///
    /// # Errors
    ///
    /// A build argument or a variable cannot be rendered.
    pub fn recipes(
        &self,
        services: &BTreeSet<ServiceName>,
        folders: &Folders,
    ) -> Result<BTreeMap<ServiceName, Recipe>, ManifestError> {
        let wanted = self.manifest.closure(services);
        let recipes = self.values_in_order(|candidate, recipes| {
            let is_wanted = wanted.contains(&candidate.service.name);
            let recipe = is_wanted.then(|| self.recipe(candidate, folders, recipes));
            recipe.transpose()
        });
        recipes.map_err(|first| self.invalid_templates(&wanted).unwrap_or(first))
    }

    /// Returns the errors of all arguments and variables that cannot be rendered, such as all unset variables at once.
    fn invalid_templates(&self, services: &BTreeSet<ServiceName>) -> Option<ManifestError> {
        let candidates = self.candidates.iter();
        let candidates = candidates.filter(|it| services.contains(&it.service.name));
        let errors = candidates.flat_map(|candidate| {
            let service = candidate.service;
            let builder = service.builder.iter();
            let builder = builder.filter(|_| !service.scripts.is_empty());
            let variables = builder.flat_map(|builder| builder.env.values());
            let beside = sidecars::templates(service).map(|(_, template)| template);
            let templates = service.docker.args.values().chain(variables).chain(beside);
            templates.filter_map(|template| self.render_for_recipe(template, candidate).err())
        });
        ManifestError::combined(errors)
    }

    /// Returns the recipe of one service; `recipes` must contain those of its dependencies.
    pub(super) fn recipe(
        &self,
        candidate: &PlanCandidate<'_>,
        folders: &Folders,
        recipes: &BTreeMap<ServiceName, Recipe>,
    ) -> Result<Recipe, ManifestError> {
        let mut recipe = Recipe::default();
        for input in self.inputs(candidate, folders, recipes)? {
            input.add_to(&mut recipe);
        }
        Ok(recipe)
    }

    /// Returns the inputs of a build except the commit.
    ///
    /// Settings that only affect where and how fast a build runs are not inputs: mounts, caches, the network, limits.
    pub(super) fn inputs<'b>(
        &'b self,
        candidate: &'b PlanCandidate<'_>,
        folders: &Folders,
        recipes: &BTreeMap<ServiceName, Recipe>,
    ) -> Result<Vec<Input<'b>>, ManifestError> {
        let service = candidate.service;
        let mut inputs = Vec::new();
        if let Some(path) = service.source.path() {
            inputs.push(Input::text("git.path", path));
        }
        let git = service.source.git();
        if let Some(git) = git.filter(|git| !git.include.is_empty()) {
            let items = git.include.iter().map(String::as_str).collect();
            inputs.push(Input {
                name: "git.include".into(),
                value: InputValue::List(items),
            });
        }
        if let Some(git) = git.filter(|git| !git.exclude.is_empty()) {
            let patterns = git.exclude.iter().map(ExcludePattern::as_str);
            let mut patterns: Vec<&str> = patterns.collect();
            patterns.sort_unstable();
            inputs.push(Input {
                name: "git.exclude".into(),
                value: InputValue::List(patterns),
            });
        }
        // Only if enabled, so that recipes of existing images stay the same.
        if git.is_some_and(|git| git.submodules) {
            inputs.push(Input::text("git.submodules", "true"));
        }
        self.builder_inputs(candidate, folders, &mut inputs)?;
        for (phase, items) in service.scripts.phases() {
            script_inputs(phase.as_str(), items, folders, &mut inputs);
            let cached = service.scripts.cached.get(&phase);
            inputs.extend(cached.into_iter().flat_map(|it| file_inputs(phase, it)));
        }
        self.sidecar_inputs(candidate, folders, &mut inputs)?;
        inputs.push(Input::text("docker.file", service.docker.file.as_str()));
        inputs.push(Input::text(
            "docker.context",
            service.docker.context.as_str(),
        ));
        if let Some(target) = &service.docker.target {
            inputs.push(Input::text("docker.target", target));
        }
        for (name, template) in &service.docker.args {
            inputs.push(self.template_input(format!("docker.args.{name}"), candidate, template)?);
        }
        // Only the IDs of secrets: an image does not contain the values, so a new token does not change it.
        if !service.docker.secrets.is_empty() {
            inputs.push(Input {
                name: "docker.secrets".into(),
                value: InputValue::List(
                    service.docker.secrets.keys().map(String::as_str).collect(),
                ),
            });
        }
        if service.docker.ssh {
            inputs.push(Input::text("docker.ssh", "true"));
        }
        let platforms = candidate.platforms_input();
        inputs.extend(platforms.map(|it| Input::text(PLATFORMS, it)));
        if service.scripts.once && !candidate.platforms().is_empty() {
            // The files of the images are those of the engine's own platform.
            inputs.push(Input::text("scripts.once", "true"));
        }
        for needed in &service.needs {
            let tag = self.sources.get(needed).map(Tag::from_source);
            let (Some(tag), Some(recipe)) = (tag, recipes.get(needed)) else {
                continue;
            };
            inputs.push(Input {
                name: format!("needs.{needed}").into(),
                value: InputValue::Needed(tag, recipe.clone()),
            });
        }
        Ok(inputs)
    }

    /// Adds the inputs of the builder, if there are scripts to run.
    fn builder_inputs<'b>(
        &'b self,
        candidate: &'b PlanCandidate<'_>,
        folders: &Folders,
        inputs: &mut Vec<Input<'b>>,
    ) -> Result<(), ManifestError> {
        let service = candidate.service;
        let Some(builder) = service
            .builder
            .as_ref()
            .filter(|_| !service.scripts.is_empty())
        else {
            return Ok(());
        };
        let used = service.images_of(service.scripts.items());
        if let Some(image) = builder.image.as_ref().filter(|image| used.contains(image)) {
            inputs.extend(Input::image("dockerBuilder.image", image, folders));
        }
        inputs.push(Input::text("dockerBuilder.workdir", &builder.workdir));
        // The caller's IDs differ between machines.
        let user = match builder.user {
            BuilderUser::Caller => "caller".to_owned(),
            BuilderUser::Root => "root".to_owned(),
            BuilderUser::Ids { uid, gid } => format!("{uid}:{gid}"),
        };
        inputs.push(Input::text("dockerBuilder.user", user));
        for (name, template) in &builder.env {
            let name = format!("dockerBuilder.env.{name}");
            inputs.push(self.template_input(name, candidate, template)?);
        }
        Ok(())
    }

    pub(super) fn template_input<'b>(
        &self,
        name: String,
        candidate: &PlanCandidate<'_>,
        template: &'b Template,
    ) -> Result<Input<'b>, ManifestError> {
        let rendered = self.render_for_recipe(template, candidate)?;
        Ok(Input {
            name: name.into(),
            value: InputValue::Rendered(rendered, template),
        })
    }
}
