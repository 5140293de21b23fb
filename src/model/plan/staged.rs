//! Plans phases with `inputs`: each runs in a folder of its own, or its result is restored.

use std::path::PathBuf;

use super::build_dir::BuildDir;
use super::draft::PlanCandidate;
use super::phases::{PhaseVerdict, selection};
use super::{Decided, ExportStep, KeepStep, RestoreStep, SavedResult, StageStep, Step, UnitPlan};
use crate::model::event::Phase;
use crate::model::layout::Layout;
use crate::model::manifest::{CachedPhase, ManifestError, ScriptItem, ScriptPhase};

/// The folder of a service in which its phases with `inputs` run.
pub(super) struct StageFolder {
    folder: PathBuf,
}

impl StageFolder {
    pub fn of(candidate: &PlanCandidate<'_>, layout: &Layout) -> Self {
        Self {
            folder: layout.stage(&candidate.service.name),
        }
    }

    /// Returns the folder that the scripts of a phase see. Each phase has one of its own, so that outputs can be moved
    /// from one to the next.
    fn files(&self, phase: ScriptPhase) -> PathBuf {
        self.folder.join(phase.as_str())
    }

    fn git_dir(&self) -> PathBuf {
        self.folder.join("git")
    }

    pub fn build_dir(&self, phase: ScriptPhase) -> BuildDir {
        BuildDir {
            files: self.files(phase),
            in_place: false,
            is_staged: true,
            commit_time: None,
            excluded: None,
        }
    }
}

impl Decided<'_> {
    /// Returns the steps of a phase with `inputs`. `earlier` are the earlier phases with outputs.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub(super) fn staged_steps(
        &self,
        candidate: &PlanCandidate<'_>,
        verdict: &PhaseVerdict,
        items: &[ScriptItem],
        earlier: &[ScriptPhase],
        layout: &Layout,
    ) -> Result<Vec<Step>, ManifestError> {
        let Some(cached) = candidate.service.scripts.cached.get(&verdict.phase) else {
            return Ok(Vec::new());
        };
        let run = self.run_steps(candidate, verdict, cached, items, earlier, layout)?;
        let Some(found) = verdict.restored() else {
            return Ok(run);
        };
        let artifact = self.artifact(candidate, verdict);
        let pushes = self.pushes(candidate);
        Ok(vec![Step::Restore(Box::new(RestoreStep {
            phase: verdict.phase.into(),
            result: found.result.clone(),
            is_stored: found.is_stored,
            artifact: artifact.clone().filter(|_| found.is_published),
            publish: artifact.filter(|_| pushes && !found.is_published),
            outputs: outputs(candidate, verdict.phase),
            files: StageFolder::of(candidate, layout).files(verdict.phase),
            otherwise: run,
            images: self.fallback_images(candidate, verdict.phase),
        }))])
    }

    fn run_steps(
        &self,
        candidate: &PlanCandidate<'_>,
        verdict: &PhaseVerdict,
        cached: &CachedPhase,
        items: &[ScriptItem],
        earlier: &[ScriptPhase],
        layout: &Layout,
    ) -> Result<Vec<Step>, ManifestError> {
        let (service, source, phase) = (candidate.service, candidate.source, verdict.phase);
        let Some(git) = service.source.git() else {
            return Ok(Vec::new());
        };
        let folder = StageFolder::of(candidate, layout);
        let build_dir = folder.build_dir(phase);
        let files = build_dir.files.clone();
        let stage = StageStep {
            phase: phase.into(),
            script_dir: match service.source.path() {
                Some(path) => files.join(path),
                None => files.clone(),
            },
            inputs: cached.inputs.iter().map(ToString::to_string).collect(),
            results: earlier.iter().map(|phase| Phase::from(*phase)).collect(),
            export: ExportStep {
                dir: self.draft.source_dir(service),
                commit: source.commit,
                selection: selection(candidate, cached),
                submodules: git.submodules,
                modules: layout.modules(),
                lfs: layout.lfs(),
                branch: None,
                remote: git.remote.clone(),
                export: files.clone(),
                git_dir: folder.git_dir(),
                is_old: true,
            },
        };
        let scripts = self.phase_steps(candidate, &build_dir, layout, &[(phase, items)])?;
        let keep = KeepStep {
            phase: phase.into(),
            files,
            outputs: outputs(candidate, phase),
            saved: verdict.key.as_ref().ok().map(|key| SavedResult {
                key: key.key,
                service: service.name.clone(),
                commit: source.commit,
                parts: key.parts.clone(),
                images: key.images.clone(),
                artifact: self
                    .artifact(candidate, verdict)
                    .filter(|_| self.pushes(candidate)),
            }),
        };
        let stage = std::iter::once(Step::Stage(Box::new(stage)));
        let keep = std::iter::once(Step::Keep(Box::new(keep)));
        Ok(stage.chain(scripts).chain(keep).collect())
    }

    /// Returns the artifact of a phase's result in the service's own image repository.
    fn artifact(
        &self,
        candidate: &PlanCandidate<'_>,
        verdict: &PhaseVerdict,
    ) -> Option<crate::model::image::ImageReference> {
        let repository = candidate.image.repository();
        let key = verdict.key.as_ref().ok()?;
        repository.registry()?;
        Some(repository.tagged(key.key.tag()))
    }

    fn pushes(&self, candidate: &PlanCandidate<'_>) -> bool {
        self.draft.options.push && !candidate.is_local
    }

    /// Returns the plans of the images that a phase needs if its result cannot be read.
    fn fallback_images(&self, candidate: &PlanCandidate<'_>, phase: ScriptPhase) -> Vec<UnitPlan> {
        let units = super::scripts::units_of(candidate.service, &|it| it == phase);
        let plans = units.iter().filter_map(|unit| self.fallback.get(unit));
        plans.cloned().collect()
    }
}

/// Returns the outputs of a phase, relative to the repository.
pub(super) fn outputs(candidate: &PlanCandidate<'_>, phase: ScriptPhase) -> Vec<String> {
    let service = candidate.service;
    let folder = service.source.path().map(String::as_str);
    let cached = service.scripts.cached.get(&phase);
    let outputs = cached.into_iter().flat_map(|cached| &cached.outputs);
    outputs.map(|output| output.in_repository(folder)).collect()
}
