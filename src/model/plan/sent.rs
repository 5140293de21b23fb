//! A unit as JSON, for the machine that runs it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{ContainerStep, Decision, ExportStep, ImageNames, Step, UnitPlan};
use crate::model::event::Unit;
use crate::model::image::ImageReference;
use crate::model::manifest::SecretSource;
use crate::model::source::CommitId;

/// A unit: what running its steps needs
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Unit")]
pub(super) struct SentUnit {
    /// The service, or `builders/` and the name of a builder
    unit: Unit,
    /// The commit of a service
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<CommitId>,
    /// The image, tagged with its commit or content
    image: ImageReference,
    /// Its other names
    #[serde(default)]
    names: ImageNames,
    /// The units that it uses
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    after: Vec<Unit>,
    /// The combined timeout for scripts and image build, in seconds
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
    /// The steps, in order
    steps: Vec<Step>,
}

impl From<UnitPlan> for SentUnit {
    fn from(plan: UnitPlan) -> Self {
        Self {
            unit: plan.unit,
            commit: plan.commit,
            image: plan.image,
            names: plan.names,
            after: plan.after,
            timeout: plan.timeout.map(|it| it.as_secs_f64()),
            steps: plan.steps,
        }
    }
}

impl From<SentUnit> for UnitPlan {
    fn from(sent: SentUnit) -> Self {
        Self {
            unit: sent.unit,
            commit: sent.commit,
            source: None,
            image: sent.image,
            names: sent.names,
            decision: Decision::Build,
            reason: String::new(),
            changes: Vec::new(),
            recipe: None,
            after: sent.after,
            phases: Vec::new(),
            steps: sent.steps,
            held: 0,
            timeout: sent
                .timeout
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            in_place: None,
            remote: None,
        }
    }
}

impl UnitPlan {
    /// Calls `change` for each path of this machine in the steps.
    pub fn for_each_path(&mut self, change: &mut dyn FnMut(&mut PathBuf)) {
        for step in &mut self.steps {
            step.for_each_path(change);
        }
    }

    /// Calls `change` for the source of each secret in the steps.
    pub fn for_each_secret(&mut self, change: &mut dyn FnMut(&mut SecretSource)) {
        for step in &mut self.steps {
            step.for_each_secret(change);
        }
    }
}

impl Step {
    fn for_each_path(&mut self, change: &mut dyn FnMut(&mut PathBuf)) {
        match self {
            Self::Sync(step) => change(&mut step.dir),
            Self::Export(step) => step.for_each_path(change),
            Self::Fetch(step) => change(&mut step.export),
            Self::Container(step) => step.for_each_path(change),
            Self::Plugin(step) => step.container.for_each_path(change),
            Self::Stage(step) => {
                step.export.for_each_path(change);
                change(&mut step.script_dir);
            }
            Self::Keep(step) => change(&mut step.files),
            Self::Restore(step) => {
                change(&mut step.files);
                for step in &mut step.otherwise {
                    step.for_each_path(change);
                }
                for unit in &mut step.images {
                    unit.for_each_path(change);
                }
            }
            Self::Place(step) => change(&mut step.export),
            Self::Image(step) => {
                change(&mut step.root);
                change(&mut step.folder);
                change(&mut step.context);
                step.excluded.iter_mut().for_each(&mut *change);
                change(&mut step.dockerfile);
            }
            Self::Sidecars(_)
            | Self::Script(_)
            | Self::NameImage { .. }
            | Self::EngineTag { .. }
            | Self::Push(_)
            | Self::Sbom(_)
            | Self::Provenance(_)
            | Self::Sign(_)
            | Self::RegistryTag { .. }
            | Self::Await(_)
            | Self::Pull { .. } => {}
        }
    }

    fn for_each_secret(&mut self, change: &mut dyn FnMut(&mut SecretSource)) {
        match self {
            Self::Fetch(step) => step.call.secrets.values_mut().for_each(change),
            Self::Container(step) => step.secrets.values_mut().for_each(change),
            Self::Plugin(step) => {
                step.container.secrets.values_mut().for_each(&mut *change);
                step.item.secrets.values_mut().for_each(change);
            }
            Self::Restore(step) => {
                for step in &mut step.otherwise {
                    step.for_each_secret(change);
                }
                for unit in &mut step.images {
                    unit.for_each_secret(change);
                }
            }
            Self::Image(step) => step.secrets.values_mut().for_each(change),
            Self::Sync(_)
            | Self::Export(_)
            | Self::Sidecars(_)
            | Self::Script(_)
            | Self::Stage(_)
            | Self::Keep(_)
            | Self::Place(_)
            | Self::NameImage { .. }
            | Self::EngineTag { .. }
            | Self::Push(_)
            | Self::Sbom(_)
            | Self::Provenance(_)
            | Self::Sign(_)
            | Self::RegistryTag { .. }
            | Self::Await(_)
            | Self::Pull { .. } => {}
        }
    }
}

impl ExportStep {
    fn for_each_path(&mut self, change: &mut dyn FnMut(&mut PathBuf)) {
        change(&mut self.dir);
        change(&mut self.modules);
        change(&mut self.lfs);
        change(&mut self.export);
        change(&mut self.git_dir);
    }
}

impl ContainerStep {
    fn for_each_path(&mut self, change: &mut dyn FnMut(&mut PathBuf)) {
        change(&mut self.source);
        for mount in &mut self.git {
            change(&mut mount.source);
        }
        for (folder, _) in &mut self.caches {
            change(folder);
        }
    }
}

impl JsonSchema for UnitPlan {
    fn schema_name() -> Cow<'static, str> {
        SentUnit::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        SentUnit::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SentUnit::json_schema(generator)
    }
}
