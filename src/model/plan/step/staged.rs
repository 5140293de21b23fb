//! The steps of phases with `inputs`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExportStep, Step, join, relative};
use crate::model::event::Phase;
use crate::model::image::ImageReference;
use crate::model::manifest::ServiceName;
use crate::model::plan::UnitPlan;
use crate::model::source::CommitId;
use crate::model::step_result::{StepKey, StepResult};

/// See [`Step::Stage`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageStep {
    pub phase: Phase,
    /// The files of the commit, and where they go.
    pub export: ExportStep,
    /// The folder in which the scripts run; it may contain no inputs.
    pub script_dir: PathBuf,
    /// The patterns of the inputs, as in the manifest.
    pub inputs: Vec<String>,
    /// The earlier phases whose outputs are added.
    pub results: Vec<Phase>,
}

/// See [`Step::Keep`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeepStep {
    pub phase: Phase,
    /// The folder in which the phase ran.
    pub files: PathBuf,
    /// Its outputs, relative to that folder.
    pub outputs: Vec<String>,
    /// How the result is saved; `None` if its key is unknown.
    pub saved: Option<SavedResult>,
}

/// A result to save.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SavedResult {
    pub key: StepKey,
    pub service: ServiceName,
    pub commit: CommitId,
    /// The parts of the key, with values that are no secrets.
    pub parts: Vec<(String, String)>,
    /// The external images that the key is for, with their digests or IDs. If the engine has other ones by now, nothing
    /// is saved.
    pub images: Vec<(ImageReference, String)>,
    /// The artifact to push; `None` if nothing is pushed.
    pub artifact: Option<ImageReference>,
}

/// See [`Step::Restore`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreStep {
    pub phase: Phase,
    pub result: StepResult,
    /// Whether the store of this machine had the result.
    pub is_stored: bool,
    /// The artifact in the registry; `None` if the registry did not have it.
    pub artifact: Option<ImageReference>,
    /// The artifact to push, so that other machines have it, too.
    pub publish: Option<ImageReference>,
    /// The outputs, relative to the repository.
    pub outputs: Vec<String>,
    /// The folder for the outputs until a later step moves them.
    pub files: PathBuf,
    /// The steps to run if the result cannot be read.
    pub otherwise: Vec<Step>,
    /// The images that these steps need. Units of the plan may provide the same ones for others, perhaps later.
    pub images: Vec<UnitPlan>,
}

/// See [`Step::Place`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceStep {
    /// The phases whose outputs are added.
    pub results: Vec<Phase>,
    /// The outputs, relative to the repository.
    pub outputs: Vec<String>,
    /// The export, or the working copy.
    pub export: PathBuf,
    /// Whether that is the working copy, in which existing files stay.
    pub in_place: bool,
}

impl StageStep {
    pub(super) fn describe(&self) -> String {
        let inputs = if self.inputs.is_empty() {
            "no files".to_owned()
        } else {
            self.inputs.join(", ")
        };
        if self.results.is_empty() {
            return format!("with only {inputs}");
        }
        let results = join(self.results.iter().map(|phase| phase.as_str()));
        format!("with only {inputs} and the results of {results}")
    }
}

impl KeepStep {
    pub(super) fn describe(&self) -> String {
        let outputs = self.outputs.join(", ");
        match (&self.saved, self.outputs.is_empty()) {
            (None, true) => "not saved".to_owned(),
            (None, false) => format!("{outputs}, not saved"),
            (Some(_), true) => "save that it passed".to_owned(),
            (Some(_), false) => format!("save {outputs}"),
        }
    }
}

impl RestoreStep {
    pub(super) fn describe(&self) -> String {
        let commit: String = self.result.commit.chars().take(8).collect();
        let place = match (self.is_stored, &self.artifact) {
            (false, Some(artifact)) => artifact.repository().to_string(),
            _ => "this machine".to_owned(),
        };
        if self.outputs.is_empty() {
            format!("passed on {commit}, according to {place}")
        } else {
            let outputs = self.outputs.join(", ");
            format!("restore {outputs} of {commit} from {place}")
        }
    }
}

impl PlaceStep {
    pub(super) fn describe(&self, folder: &Path) -> String {
        let export = relative(&self.export, folder);
        format!("{} into {export}", self.outputs.join(", "))
    }
}
