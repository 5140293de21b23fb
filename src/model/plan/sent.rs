//! A unit as JSON, for the machine that runs it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{ContainerStep, Decision, ExportStep, ImageNames, ImageStep, Step, UnitPlan};
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

/// What in a unit differs on another machine.
enum LocalValue<'v> {
    Path(&'v mut PathBuf),
    Secret(&'v mut SecretSource),
}

/// Receives each of them.
type Visit<'v> = &'v mut dyn FnMut(LocalValue<'_>);

impl UnitPlan {
    /// Calls `change` for each path of this machine in the steps.
    pub fn for_each_path(&mut self, change: &mut dyn FnMut(&mut PathBuf)) {
        self.visit(&mut |value| {
            if let LocalValue::Path(path) = value {
                change(path);
            }
        });
    }

    /// Calls `change` for the source of each secret in the steps.
    pub fn for_each_secret(&mut self, change: &mut dyn FnMut(&mut SecretSource)) {
        self.visit(&mut |value| {
            if let LocalValue::Secret(source) = value {
                change(source);
            }
        });
    }

    fn visit(&mut self, visit: Visit<'_>) {
        for step in &mut self.steps {
            step.visit(visit);
        }
    }
}

impl Step {
    fn visit(&mut self, visit: Visit<'_>) {
        match self {
            Self::Sync(step) => path(visit, &mut step.dir),
            Self::Export(step) => step.visit(visit),
            Self::Fetch(step) => {
                path(visit, &mut step.export);
                secrets(visit, step.call.secrets.values_mut());
            }
            Self::Container(step) => step.visit(visit),
            Self::Plugin(step) => {
                step.container.visit(visit);
                secrets(visit, step.item.secrets.values_mut());
            }
            Self::Stage(step) => {
                step.export.visit(visit);
                path(visit, &mut step.script_dir);
            }
            Self::Keep(step) => path(visit, &mut step.files),
            Self::Restore(step) => {
                path(visit, &mut step.files);
                for step in &mut step.otherwise {
                    step.visit(visit);
                }
                for unit in &mut step.images {
                    unit.visit(visit);
                }
            }
            Self::Place(step) => path(visit, &mut step.export),
            Self::Image(step) => step.visit(visit),
            Self::Toolchain(step) => {
                if let Some(step) = &mut step.build {
                    step.visit(visit);
                }
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
}

impl ExportStep {
    fn visit(&mut self, visit: Visit<'_>) {
        path(visit, &mut self.dir);
        path(visit, &mut self.modules);
        path(visit, &mut self.lfs);
        path(visit, &mut self.export);
        path(visit, &mut self.git_dir);
    }
}

impl ImageStep {
    fn visit(&mut self, visit: Visit<'_>) {
        path(visit, &mut self.root);
        path(visit, &mut self.folder);
        path(visit, &mut self.context);
        if let Some(excluded) = &mut self.excluded {
            path(visit, excluded);
        }
        path(visit, &mut self.dockerfile);
        secrets(visit, self.secrets.values_mut());
    }
}

impl ContainerStep {
    fn visit(&mut self, visit: Visit<'_>) {
        path(visit, &mut self.source);
        for mount in &mut self.git {
            path(visit, &mut mount.source);
        }
        for (folder, _) in &mut self.caches {
            path(visit, folder);
        }
        secrets(visit, self.secrets.values_mut());
    }
}

fn path(visit: Visit<'_>, path: &mut PathBuf) {
    visit(LocalValue::Path(path));
}

fn secrets<'s>(visit: Visit<'_>, sources: impl Iterator<Item = &'s mut SecretSource>) {
    for source in sources {
        visit(LocalValue::Secret(source));
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
