//! Phases with `inputs`: whether each one runs, or its result is restored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::phase_key::{FILE, PhaseKey, RESULT};
use super::staged::outputs;
use super::{Decided, PlanCandidate};
use crate::base::plural::abbreviated;
use crate::base::units::elapsed;
use crate::model::event::Phase;
use crate::model::image::{Digest, ImageReference, Labels};
use crate::model::manifest::{CachedPhase, ManifestError, ScriptPhase, ServiceName};
use crate::model::recipe::LABEL_STEPS;
use crate::model::source::{
    CommitId, GitUrl, InputFiles, PathSelection, ResolvedReference, ScopedPattern,
};
use crate::model::step_result::{StepKey, StepResult};

/// The maximum number of changes in a reason.
const NAMED_CHANGES: usize = 3;

/// The files that phases of a service read, to be listed from its repository.
#[derive(Debug, Clone, PartialEq)]
pub struct InputsQuery {
    pub service: ServiceName,
    pub remote: GitUrl,
    /// The working copy.
    pub dir: PathBuf,
    /// The reference to fetch if the commit is missing.
    pub resolved: ResolvedReference,
    pub commit: CommitId,
    /// The files of each phase.
    pub phases: Vec<(ScriptPhase, PathSelection)>,
    /// The outputs of each phase, if the working copy is built: they must not be there yet.
    pub outputs: Option<Vec<(ScriptPhase, Vec<String>)>>,
}

impl InputsQuery {
    /// Returns the patterns of a phase, as in the manifest.
    pub fn patterns(&self, phase: ScriptPhase) -> &[ScopedPattern] {
        let mut phases = self.phases.iter();
        let found = phases.find(|(it, _)| *it == phase);
        found
            .and_then(|(_, selection)| selection.only.as_deref())
            .unwrap_or_default()
    }
}

/// What the keys of phases are made of, besides the manifest.
#[derive(Debug, Clone, Default)]
pub struct StagedInputs {
    /// The files of each phase, or why they are unknown.
    pub files: BTreeMap<(ServiceName, ScriptPhase), Result<InputFiles, String>>,
    /// The phases whose outputs are in a working copy that is built: they are the user's.
    pub present: BTreeSet<(ServiceName, ScriptPhase)>,
    /// The digests of [`Decided::undetermined_images`]; `None` if unknown.
    pub digests: BTreeMap<ImageReference, Option<Digest>>,
    /// The platform of the engine, such as `linux/x86_64`.
    pub platform: String,
}

/// A result to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultQuery {
    pub service: ServiceName,
    pub phase: ScriptPhase,
    pub key: StepKey,
    /// The artifact in the service's own image repository; `None` without a registry.
    pub artifact: Option<ImageReference>,
    /// Whether a result that the registry does not have is pushed.
    pub is_published: bool,
    /// The service's latest image in the registry, whose label has the keys of its phases.
    pub latest: Option<ImageReference>,
}

impl ResultQuery {
    /// Returns the artifact with the result of another key, given the labels of an image of the service.
    pub fn earlier(&self, labels: &Labels) -> Option<ImageReference> {
        let keys: BTreeMap<String, String> = serde_json::from_str(labels.get(LABEL_STEPS)?).ok()?;
        let key: StepKey = keys.get(self.phase.as_str())?.parse().ok()?;
        let repository = self.artifact.as_ref()?.repository();
        Some(repository.tagged(key.tag()))
    }
}

/// A result that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundResult {
    pub result: StepResult,
    /// Whether the store of this machine has it.
    pub is_stored: bool,
    /// Whether the registry has it.
    pub is_published: bool,
}

/// What was found for phases with `inputs`.
#[derive(Debug, Clone, Default)]
pub struct StepResults {
    /// The results by service and phase.
    pub found: BTreeMap<(ServiceName, ScriptPhase), FoundResult>,
    /// For phases without one, the last result of this machine or of the latest image, whose inputs were different.
    pub previous: BTreeMap<(ServiceName, ScriptPhase), StepResult>,
}

/// The decision for one phase with `inputs`.
#[derive(Debug)]
pub(super) struct PhaseVerdict {
    pub phase: ScriptPhase,
    /// The key, or why it is unknown.
    pub key: Result<PhaseKey, String>,
    pub found: Option<FoundResult>,
    /// Why a result is not restored.
    pub refused: Option<&'static str>,
    /// Whether the phase runs with only its inputs, if it runs; in a working copy, not always.
    pub is_staged: bool,
    pub previous: Option<StepResult>,
}

/// How a phase with `inputs` is planned.
#[derive(Debug, Clone, PartialEq)]
pub struct PhasePlan {
    pub phase: Phase,
    /// The key of its result; `None` if it is unknown.
    pub key: Option<StepKey>,
    /// The result to restore; `None` if the phase runs.
    pub restored: Option<RestoredFrom>,
    /// The reason, human-readable.
    pub reason: String,
    /// The files and values that differ from those of the last result on this machine.
    pub changes: Vec<String>,
}

/// Where a result comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredFrom {
    /// The commit that the phase ran on.
    pub commit: String,
    /// Whether the result is fetched from the registry.
    pub is_from_registry: bool,
    /// How long the phase ran, in seconds.
    pub seconds: f64,
}

impl PhasePlan {
    /// Returns in a sentence whether the phase runs, and why.
    pub fn explanation(&self) -> String {
        let Self { phase, reason, .. } = self;
        match &self.restored {
            Some(_) => format!("`{phase}` is restored: {reason}"),
            None if self.changes.is_empty() => format!("`{phase}` runs: {reason}"),
            None => format!("`{phase}` runs: {}", self.changes.join(", ")),
        }
    }
}

impl PhaseVerdict {
    /// Returns the result to restore.
    pub fn restored(&self) -> Option<&FoundResult> {
        self.found.as_ref().filter(|_| self.refused.is_none())
    }

    /// Returns whether the phase runs in the working copy.
    pub fn is_in_place(&self) -> bool {
        !self.is_staged && self.restored().is_none()
    }

    fn plan(&self) -> PhasePlan {
        let mut plan = PhasePlan {
            phase: Phase::from(self.phase),
            key: self.key.as_ref().ok().map(|key| key.key),
            restored: None,
            reason: String::new(),
            changes: Vec::new(),
        };
        if let Some(FoundResult {
            result, is_stored, ..
        }) = self.restored()
        {
            plan.restored = Some(RestoredFrom {
                commit: result.commit.clone(),
                is_from_registry: !is_stored,
                seconds: result.seconds,
            });
            let place = if *is_stored {
                "on this machine"
            } else {
                "in the registry"
            };
            let what = if result.outputs.is_some() {
                "ran on"
            } else {
                "passed on"
            };
            let commit: String = result.commit.chars().take(8).collect();
            let saves = elapsed(std::time::Duration::from_secs_f64(result.seconds));
            plan.reason = format!("{what} {commit}, result {place}, saves {saves}");
            return plan;
        }
        if let (Ok(key), Some(previous)) = (&self.key, &self.previous) {
            plan.changes = changes(&key.parts, &previous.parts);
        }
        if self.is_in_place() {
            let why = match (&self.key, self.refused) {
                (Err(why), _) => why,
                (Ok(_), Some(option)) => option,
                (Ok(_), None) => "no result for these inputs",
            };
            plan.reason = format!("in the working copy: {why}");
            return plan;
        }
        plan.reason = match (&self.key, self.refused) {
            (_, Some(option)) => option.to_owned(),
            (Err(why), None) => why.clone(),
            (Ok(_), None) if plan.changes.is_empty() => "no result for these inputs".to_owned(),
            (Ok(_), None) => abbreviated(&plan.changes, NAMED_CHANGES),
        };
        plan
    }
}

/// Returns what differs between the parts of two keys.
fn changes(now: &[(String, String)], before: &[(String, String)]) -> Vec<String> {
    let by_name = |parts: &[(String, String)]| -> BTreeMap<String, String> {
        parts.iter().cloned().collect()
    };
    let (now, before) = (by_name(now), by_name(before));
    let names: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    let change = |name: &String| {
        let verb = match (before.get(name), now.get(name)) {
            (Some(before), Some(now)) if before == now => return None,
            (Some(_), Some(_)) => "changed",
            (None, _) => "is new",
            (_, None) => "is gone",
        };
        let shown = name.strip_prefix(FILE).unwrap_or(name);
        // Names of results come from registries.
        let shown: String = shown.chars().flat_map(char::escape_debug).collect();
        let the = if name.starts_with(RESULT) { "the " } else { "" };
        Some(format!("{the}{shown} {verb}"))
    };
    names.into_iter().filter_map(change).collect()
}

impl Decided<'_> {
    /// Returns the files of phases with `inputs` to list: those of services that are built.
    pub fn inputs_queries(&self) -> Vec<InputsQuery> {
        let queries = self.builds().filter_map(|candidate| {
            let (service, source) = (candidate.service, candidate.source);
            let git = service.source.git()?;
            let phases = self.staged_phases(candidate);
            let phases = phases.map(|(phase, cached)| (phase, selection(candidate, cached)));
            let phases: Vec<_> = phases.collect();
            let all = phases.iter().map(|(phase, _)| *phase);
            let outputs: Vec<_> = all.map(|it| (it, outputs(candidate, it))).collect();
            (!phases.is_empty()).then(|| InputsQuery {
                service: service.name.clone(),
                remote: git.remote.clone(),
                dir: self.draft.manifest.folder.join(&service.dir),
                resolved: source.sync_reference(),
                commit: source.commit,
                outputs: source.local.is_some().then_some(outputs),
                phases,
            })
        });
        queries.collect()
    }

    /// Returns the phases of a service with `inputs`.
    pub(super) fn staged_phases<'c>(
        &self,
        candidate: &PlanCandidate<'c>,
    ) -> impl Iterator<Item = (ScriptPhase, &'c CachedPhase)> + use<'c> {
        let (service, test) = (candidate.service, self.draft.options.test);
        let phases = service.scripts.cached.iter();
        phases
            .map(|(phase, cached)| (*phase, cached))
            .filter(move |(phase, _)| service.scripts.has(*phase) && (test || !phase.is_test()))
    }

    /// Returns the external images of these phases whose digests the engine does not know, or that may be replaced.
    pub fn undetermined_images(&self) -> Vec<ImageReference> {
        let mut images: Vec<ImageReference> = Vec::new();
        // Builds of working copies need no network.
        for candidate in self.builds().filter(|it| it.source.local.is_none()) {
            let is_followed =
                self.draft.options.refresh_bases || self.draft.tracks_bases(candidate);
            for (phase, _) in self.staged_phases(candidate) {
                for image in self.external_images(candidate, phase) {
                    let is_known = image.digest().is_some()
                        || !is_followed && self.inventory.in_engine(image).is_some();
                    let image = image.with_defaults();
                    if !is_known && !images.contains(&image) {
                        images.push(image);
                    }
                }
            }
        }
        images
    }

    /// Computes the keys of phases with `inputs`, and returns the results to look for.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub fn add_phases(&mut self, inputs: &StagedInputs) -> Result<Vec<ResultQuery>, ManifestError> {
        let (mut all, mut queries) = (BTreeMap::new(), Vec::new());
        for candidate in self.builds() {
            let mut verdicts: Vec<PhaseVerdict> = Vec::new();
            for (phase, _) in self.staged_phases(candidate) {
                let with_outputs = |verdict: &&PhaseVerdict| {
                    let cached = candidate.service.scripts.cached.get(&verdict.phase);
                    cached.is_some_and(|cached| !cached.outputs.is_empty())
                };
                let earlier = verdicts.iter().filter(with_outputs);
                let earlier: Vec<_> = earlier.map(|it| (it.phase, &it.key)).collect();
                let key = self.phase_key(candidate, phase, inputs, &earlier)?;
                let name = (candidate.service.name.clone(), phase);
                let is_present = inputs.present.contains(&name);
                let refused = self.refused(candidate);
                let refused = refused.or(is_present.then_some("its outputs exist"));
                // Only then are the results of earlier phases known.
                let is_staged = candidate.source.local.is_none()
                    || key.is_ok()
                        && !is_present
                        && verdicts.iter().filter(with_outputs).all(|it| it.is_staged);
                // If its archive could not be read, the phase could not run with only its inputs.
                let depends = !is_staged && !outputs(candidate, phase).is_empty();
                let refused =
                    refused.or(depends.then_some("an earlier phase runs in the working copy"));
                if let (Ok(key), None) = (&key, refused) {
                    let repository = candidate.image.repository();
                    let is_local = candidate.source.local.is_some();
                    let latest = candidate.names().next();
                    let has_registry = repository.registry().is_some() && !is_local;
                    queries.push(ResultQuery {
                        service: candidate.service.name.clone(),
                        phase,
                        key: key.key,
                        latest: latest.filter(|_| has_registry),
                        is_published: self.draft.options.push && !candidate.is_local,
                        artifact: has_registry.then(|| repository.tagged(key.key.tag())),
                    });
                }
                verdicts.push(PhaseVerdict {
                    phase,
                    key,
                    found: None,
                    refused,
                    is_staged,
                    previous: None,
                });
            }
            if !verdicts.is_empty() {
                all.insert(candidate.service.name.clone(), verdicts);
            }
        }
        self.phases = all;
        Ok(queries)
    }

    fn refused(&self, candidate: &PlanCandidate<'_>) -> Option<&'static str> {
        let options = &self.draft.options;
        if options.force && candidate.selected {
            return Some(if options.no_cache {
                "--no-cache"
            } else {
                "--force"
            });
        }
        (!options.restore).then_some("--no-restore")
    }

    /// Adds the results that were found.
    pub fn add_results(&mut self, mut results: StepResults) {
        for (service, verdicts) in &mut self.phases {
            for verdict in verdicts {
                let name = (service.clone(), verdict.phase);
                verdict.found = results.found.remove(&name);
                verdict.previous = results.previous.remove(&name);
            }
        }
    }

    /// Returns the decision for a phase; `None` if it has no `inputs`.
    pub(super) fn phase_verdict(
        &self,
        candidate: &PlanCandidate<'_>,
        phase: ScriptPhase,
    ) -> Option<&PhaseVerdict> {
        let verdicts = self.phases.get(&candidate.service.name)?;
        verdicts.iter().find(|verdict| verdict.phase == phase)
    }

    /// Returns whether a phase is restored.
    pub(super) fn is_restored(&self, candidate: &PlanCandidate<'_>, phase: ScriptPhase) -> bool {
        let verdict = self.phase_verdict(candidate, phase);
        verdict.is_some_and(|verdict| verdict.restored().is_some())
    }

    /// Returns the label with the keys of a service's phases.
    pub(super) fn steps_label(&self, candidate: &PlanCandidate<'_>) -> Option<(String, String)> {
        let verdicts = self.phases.get(&candidate.service.name)?;
        let keys = verdicts.iter().filter_map(|verdict| {
            let key = verdict.key.as_ref().ok()?;
            Some((verdict.phase.as_str(), key.key.to_string()))
        });
        let keys: BTreeMap<&str, String> = keys.collect();
        let text = serde_json::to_string(&keys).ok()?;
        (!keys.is_empty() && !candidate.is_local).then(|| (LABEL_STEPS.to_owned(), text))
    }

    /// Returns the plans of a service's phases with `inputs`.
    pub(super) fn phase_plans(&self, candidate: &PlanCandidate<'_>) -> Vec<PhasePlan> {
        let verdicts = self.phases.get(&candidate.service.name);
        verdicts
            .into_iter()
            .flatten()
            .map(PhaseVerdict::plan)
            .collect()
    }
}

/// Returns the files that a phase reads.
pub(super) fn selection(candidate: &PlanCandidate<'_>, cached: &CachedPhase) -> PathSelection {
    let source = &candidate.service.source;
    let folder = source.path().map(String::as_str);
    let patterns = cached.inputs.iter().map(|it| it.scoped(folder)).collect();
    source.selection().only(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named() {
        let parts = |parts: &[(&str, &str)]| -> Vec<(String, String)> {
            let parts = parts.iter();
            parts
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let before = parts(&[("file a", "1"), ("file b", "1"), ("scripts.build", "1")]);
        let now = parts(&[
            ("file a", "2"),
            ("file c\u{1b}", "1"),
            ("scripts.build", "1"),
            ("result of prepare", "1"),
        ]);
        assert_eq!(
            changes(&now, &before),
            [
                "a changed",
                "b is gone",
                "c\\u{1b} is new",
                "the result of prepare is new"
            ]
        );
        assert!(changes(&now, &now).is_empty());
    }
}
