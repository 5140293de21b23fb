//! The steps that run a service's scripts: lines in its builder or in another image, and plugins.

use std::collections::BTreeMap;

use super::build_dir::{BuildDir, git_mounts};
use super::decide::Decided;
use super::draft::{PlanCandidate, PlanDraft};
use super::recipe::Folders;
use super::session::builder_image;
use super::{ContainerStep, PlaceStep, PluginStep, ScriptStep, Step, sidecars, staged};
use crate::model::environment;
use crate::model::event::{Phase, Unit};
use crate::model::image::ImageReference;
use crate::model::layout::Layout;
use crate::model::manifest::{
    Builder, BuilderImage, ManifestError, PluginItem, ScriptItem, ScriptLine, ScriptPhase,
    SecretSource, Service,
};

/// When scripts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptsAt {
    /// To create the files of the image, and to test them.
    BeforeImage,
    /// To verify the image.
    AfterImage,
}

impl Decided<'_> {
    /// Returns the steps that run the scripts: each container before the first item that runs in it, and sidecars
    /// before the first item that reaches them.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub(super) fn script_steps(
        &self,
        candidate: &PlanCandidate<'_>,
        build_dir: &BuildDir,
        layout: &Layout,
        at: ScriptsAt,
    ) -> Result<Vec<Step>, ManifestError> {
        let service = candidate.service;
        let phases = phases(service, self.draft.options.test);
        let phases = phases.filter(|(phase, items)| at.has(*phase) && !items.is_empty());
        let mut steps = Vec::new();
        let mut together = Vec::new();
        // Phases with outputs, and how many of them are in the export.
        let (mut earlier, mut placed) = (Vec::new(), 0);
        if at == ScriptsAt::AfterImage {
            earlier.extend(self.phases_with_outputs(candidate));
            placed = earlier.len();
        }
        for (phase, items) in phases {
            let verdict = self.phase_verdict(candidate, phase);
            let Some(verdict) = verdict.filter(|verdict| !verdict.is_in_place()) else {
                if placed < earlier.len() {
                    steps.push(place(candidate, &earlier[placed..], build_dir));
                    placed = earlier.len();
                }
                together.push((phase, items));
                continue;
            };
            let unstaged = std::mem::take(&mut together);
            steps.extend(self.phase_steps(candidate, build_dir, layout, &unstaged)?);
            steps.extend(self.staged_steps(candidate, verdict, items, &earlier, layout)?);
            if !staged::outputs(candidate, phase).is_empty() {
                earlier.push(phase);
            }
        }
        steps.extend(self.phase_steps(candidate, build_dir, layout, &together)?);
        if placed < earlier.len() {
            steps.push(place(candidate, &earlier[placed..], build_dir));
        }
        Ok(steps)
    }

    /// Returns the phases before the image with `inputs` and outputs.
    fn phases_with_outputs(&self, candidate: &PlanCandidate<'_>) -> Vec<ScriptPhase> {
        let phases = self.staged_phases(candidate);
        let with_outputs = phases.filter(|(phase, cached)| {
            let verdict = self.phase_verdict(candidate, *phase);
            let is_live = verdict.is_some_and(|verdict| !verdict.is_in_place());
            is_live && ScriptsAt::BeforeImage.has(*phase) && !cached.outputs.is_empty()
        });
        with_outputs.map(|(phase, _)| phase).collect()
    }

    /// Returns the steps of phases that run in the same folder.
    pub(super) fn phase_steps(
        &self,
        candidate: &PlanCandidate<'_>,
        build_dir: &BuildDir,
        layout: &Layout,
        phases: &[(ScriptPhase, &[ScriptItem])],
    ) -> Result<Vec<Step>, ManifestError> {
        let (service, draft) = (candidate.service, &self.draft);
        let (Some(builder), Some((last, _))) = (&service.builder, phases.last()) else {
            return Ok(Vec::new());
        };
        let mut steps = ScriptSteps {
            draft,
            candidate,
            build_dir,
            builder,
            folders: &self.folders,
            layout,
            started: Vec::new(),
            steps: Vec::new(),
        };
        let phases = || phases.iter().copied();
        let items = || phases().flat_map(|(_, items)| items);
        // The builder restores the owner of a plugin's files, so it must outlive the plugin.
        let images = service.images_of(items());
        if let (Some(own), Some(first)) = (&builder.image, images.first())
            && *first == own
        {
            steps.start(own)?;
        }
        for (phase, items) in phases() {
            for (index, item) in items.iter().enumerate() {
                steps.add(phase.as_str(), index, item)?;
            }
        }
        let steps = steps.steps;
        let mut steps = match last {
            _ if steps.is_empty() => steps,
            ScriptPhase::Verify => draft.with_verification(candidate, &self.folders, steps)?,
            _ => draft.with_sidecars(candidate, &self.folders, steps)?,
        };
        let writes_reports = if service.scripts.has(ScriptPhase::Test) {
            phases().any(|(phase, _)| phase.is_test())
        } else {
            let mut all = service.scripts.phases().into_iter();
            let later = all.any(|(phase, items)| {
                phase > *last && phase != ScriptPhase::Verify && !items.is_empty()
            });
            !later
        };
        for container in steps.iter_mut().filter_map(Step::container_mut) {
            container.expects_reports &= writes_reports;
        }
        Ok(steps)
    }
}

/// Returns the step that adds the outputs of phases to the export.
fn place(candidate: &PlanCandidate<'_>, phases: &[ScriptPhase], build_dir: &BuildDir) -> Step {
    let outputs = phases.iter();
    let outputs = outputs.flat_map(|phase| staged::outputs(candidate, *phase));
    Step::Place(PlaceStep {
        results: phases.iter().map(|phase| Phase::from(*phase)).collect(),
        outputs: outputs.collect(),
        export: build_dir.files.clone(),
        in_place: build_dir.in_place,
    })
}

impl ScriptsAt {
    fn has(self, phase: ScriptPhase) -> bool {
        (phase == ScriptPhase::Verify) == (self == Self::AfterImage)
    }
}

/// Adds the settings of a plugin to its container.
pub(super) fn with_plugin(container: ContainerStep, plugin: &PluginItem) -> ContainerStep {
    let mut env = container.env;
    env.extend(plugin.with.variables());
    ContainerStep {
        env,
        config: Some(plugin.with.to_json()),
        secrets: plugin.secrets.clone(),
        ..container
    }
}

/// Returns the phases that run, with their items.
fn phases(service: &Service, test: bool) -> impl Iterator<Item = (ScriptPhase, &[ScriptItem])> {
    let phases = service.scripts.phases().into_iter();
    phases.filter(move |(phase, _)| test || !phase.is_test())
}

/// Returns the images that a service's scripts run in, as units; the builder's comes first.
pub(super) fn script_units(service: &Service, test: bool) -> impl Iterator<Item = Unit> + use<'_> {
    let items = phases(service, test).flat_map(|(_, items)| items);
    let images = service.images_of(items).into_iter();
    images.map(unit_of)
}

/// Returns the unit that provides an image.
pub(super) fn unit_of(image: &BuilderImage) -> Unit {
    match image {
        BuilderImage::Folder(name) => Unit::Builder(name.clone()),
        BuilderImage::External(image) => Unit::External(image.clone()),
    }
}

/// Returns the images that a service's scripts and sidecars run in, as units.
pub(super) fn units(service: &Service, test: bool) -> Vec<Unit> {
    units_of(service, &|phase| test || !phase.is_test())
}

/// Returns the images that scripts and sidecars of some phases run in, as units.
pub(super) fn units_of(service: &Service, runs: &dyn Fn(ScriptPhase) -> bool) -> Vec<Unit> {
    let phases = service.scripts.phases().into_iter();
    let items = phases.filter(|(phase, _)| runs(*phase));
    let images = service.images_of(items.flat_map(|(_, items)| items));
    let mut units: Vec<Unit> = images.into_iter().map(unit_of).collect();
    for unit in sidecars::units(service, runs) {
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    units
}

/// Collects the steps of a service's scripts.
struct ScriptSteps<'s> {
    draft: &'s PlanDraft<'s>,
    candidate: &'s PlanCandidate<'s>,
    build_dir: &'s BuildDir,
    builder: &'s Builder,
    folders: &'s Folders,
    layout: &'s Layout,
    /// The images whose containers were started.
    started: Vec<&'s BuilderImage>,
    steps: Vec<Step>,
}

impl<'s> ScriptSteps<'s> {
    fn add(
        &mut self,
        phase: &'static str,
        index: usize,
        item: &'s ScriptItem,
    ) -> Result<(), ManifestError> {
        match item {
            ScriptItem::Line(line) => {
                if let Some(image) = &self.builder.image {
                    self.start(image)?;
                    self.line(phase, line, image);
                }
            }
            ScriptItem::Run(item) => {
                self.start(&item.image)?;
                for line in &item.lines {
                    self.line(phase, line, &item.image);
                }
            }
            ScriptItem::Plugin(plugin) => self.plugin(phase, index, plugin)?,
        }
        Ok(())
    }

    /// Starts the container of an image, unless it runs already.
    fn start(&mut self, image: &'s BuilderImage) -> Result<(), ManifestError> {
        if self.started.contains(&image) {
            return Ok(());
        }
        self.started.push(image);
        // Every folder builder of a build was inspected.
        if let Some(name) = builder_image(image, self.folders) {
            let container = self.container(name)?;
            self.steps.push(Step::Container(Box::new(container)));
        }
        Ok(())
    }

    fn line(&mut self, phase: &'static str, line: &ScriptLine, image: &BuilderImage) {
        let is_own = self.builder.image.as_ref() == Some(image);
        let image = builder_image(image, self.folders);
        self.steps.push(Step::Script(ScriptStep {
            phase: Phase::from(phase.to_owned()),
            image: image.filter(|_| !is_own),
            text: line.text.clone(),
            file: self.draft.manifest.file_name(),
            line: line.line,
        }));
    }

    fn plugin(
        &mut self,
        phase: &'static str,
        index: usize,
        plugin: &PluginItem,
    ) -> Result<(), ManifestError> {
        let Some(name) = builder_image(&plugin.image, self.folders) else {
            return Ok(());
        };
        for source in plugin.secrets.values() {
            // Report a missing variable before anything runs; the value itself is not part of the plan.
            if let SecretSource::Environment { value, .. } = source {
                let Self { candidate, .. } = *self;
                self.draft
                    .render(value, candidate.service, candidate.source)?;
            }
        }
        let container = with_plugin(self.container(name)?, plugin);
        self.steps.push(Step::Plugin(Box::new(PluginStep {
            phase: Phase::from(phase.to_owned()),
            item: plugin.clone(),
            container,
            key: format!("scripts.{phase}[{index}]"),
            file: self.draft.manifest.file_name(),
        })));
        Ok(())
    }

    fn container(&self, image: ImageReference) -> Result<ContainerStep, ManifestError> {
        let Self {
            candidate,
            build_dir,
            builder,
            layout,
            ..
        } = *self;
        self.draft
            .container(candidate, build_dir, builder, image, layout)
    }
}

impl PlanDraft<'_> {
    /// Returns the container for the scripts of a service.
    pub(super) fn container(
        &self,
        candidate: &PlanCandidate<'_>,
        build_dir: &BuildDir,
        builder: &Builder,
        image: ImageReference,
        layout: &Layout,
    ) -> Result<ContainerStep, ManifestError> {
        let (service, source) = (candidate.service, candidate.source);
        let ci = (environment::BUILDER_CI.name.to_owned(), "true".to_owned());
        let of_commit = [
            (
                environment::XP_SERVICE.name.to_owned(),
                service.name.to_string(),
            ),
            (
                environment::XP_COMMIT.name.to_owned(),
                source.commit.to_string(),
            ),
            (
                environment::XP_BRANCH.name.to_owned(),
                source
                    .build_reference()
                    .short_name()
                    .unwrap_or_default()
                    .to_owned(),
            ),
            (
                environment::XP_IMAGE.name.to_owned(),
                candidate.image.to_string(),
            ),
        ];
        let mut env = BTreeMap::from([ci]);
        // They would make every commit's result different.
        env.extend(of_commit.into_iter().filter(|_| !build_dir.is_staged));
        if let Some(time) = build_dir.commit_time {
            env.insert(
                environment::SOURCE_DATE_EPOCH.name.to_owned(),
                time.to_string(),
            );
        }
        let mut env_for_shell = BTreeMap::new();
        for (name, template) in &builder.env {
            env.insert(name.clone(), self.render(template, service, source)?);
            let shell_value = self.render_for_shell(template, service, source)?;
            env_for_shell.extend(shell_value.map(|value| (name.clone(), value)));
        }
        let script_dir = match service.source.path() {
            Some(path) => format!("{}/{path}", builder.workdir.trim_end_matches('/')),
            None => builder.workdir.clone(),
        };
        let cache = |path: &String| (layout.cache(&service.name, path), path.clone());
        Ok(ContainerStep {
            image,
            platform: None,
            source: build_dir.files.clone(),
            in_place: build_dir.in_place,
            is_staged: build_dir.is_staged,
            git: if build_dir.is_staged {
                Vec::new()
            } else {
                git_mounts(candidate, &builder.workdir, layout)
            },
            workdir: builder.workdir.clone(),
            script_dir,
            env,
            env_for_shell,
            user: builder.user,
            network: builder.network.clone(),
            caches: builder.cache.iter().map(cache).collect(),
            mounts: builder.mounts.clone(),
            ssh: builder.ssh,
            socket: builder.socket,
            memory: builder.memory,
            nano_cpus: builder.cpus,
            config: None,
            secrets: BTreeMap::new(),
            reports: service.scripts.reports.clone(),
            has_sidecars: false,
            expects_reports: self.options.test && !service.scripts.reports.is_empty(),
        })
    }
}
