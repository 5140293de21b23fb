//! A part of a plan, when other runs build the other parts: a shard, or only the given services.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::decide::ServiceVerdict;
use super::{Decision, Equivalence, PlanDraft};
use crate::base::error::{Diagnostic, Exit};
use crate::base::{seconds, units};
use crate::model::image::{Digest, ImageReference};
use crate::model::manifest::ServiceName;
use crate::model::shard::Shard;

/// The part of a plan that this run carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its services.
    pub services: BTreeSet<ServiceName>,
    /// The shards of all services; empty if the part is not a shard.
    pub shards: BTreeMap<ServiceName, Shard>,
    /// How long to wait for an image that another run builds.
    pub wait_limit: Duration,
}

impl Part {
    /// Returns who builds a service of another part.
    fn owner(&self, service: &ServiceName) -> String {
        match self.shards.get(service) {
            Some(shard) => format!("shard {shard}"),
            None => "another run".to_owned(),
        }
    }
}

/// See [`Step::Await`](super::Step::Await).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AwaitStep {
    /// The tag that the image gets in the registry.
    pub image: ImageReference,
    /// Who builds it, such as `shard 1/2`.
    pub owner: String,
    /// The image that has the tag now, and will be replaced.
    pub replaced: Option<Digest>,
    /// The condition for the right image.
    pub wanted: Equivalence,
    /// How long to wait.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub limit: Duration,
}

impl AwaitStep {
    pub(super) fn describe(&self) -> String {
        let (owner, limit) = (&self.owner, units::limit(self.limit));
        format!("wait up to {limit} until {owner} has pushed {}", self.image)
    }
}

/// An image that another run builds, and that this one cannot get.
#[derive(Debug, Error)]
#[error("{dependent} needs the image of {service}, which {owner} builds, but {why}")]
pub struct UnsharedImage {
    dependent: ServiceName,
    service: ServiceName,
    owner: String,
    why: &'static str,
    hint: &'static str,
}

impl Diagnostic for UnsharedImage {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec![self.hint.to_owned()]
    }
}

impl PlanDraft<'_> {
    /// Restricts decisions to the part of this run. Of the other services, only those remain that a build of this part
    /// needs; if they have to be built or pushed, the run waits for them.
    pub(super) fn restrict(
        &self,
        verdicts: &mut BTreeMap<ServiceName, ServiceVerdict>,
    ) -> Result<(), UnsharedImage> {
        let Some(part) = &self.options.part else {
            return Ok(());
        };
        let mut dependents: BTreeMap<&ServiceName, &ServiceName> = BTreeMap::new();
        for candidate in &self.candidates {
            let name = &candidate.service.name;
            let uses_needed = |verdict: &ServiceVerdict| {
                matches!(verdict.decision, Decision::Build | Decision::Push)
            };
            if part.services.contains(name) && verdicts.get(name).is_some_and(uses_needed) {
                let needs = candidate.service.needs.iter();
                dependents.extend(needs.map(|need| (need, name)));
            }
        }
        for candidate in &self.candidates {
            let name = &candidate.service.name;
            if part.services.contains(name) {
                continue;
            }
            let Some(dependent) = dependents.get(name) else {
                verdicts.remove(name);
                continue;
            };
            let Some(verdict) = verdicts.get_mut(name) else {
                continue;
            };
            // Tags are set by the run that the service belongs to.
            verdict.registry_tags.clear();
            match verdict.decision {
                Decision::Build | Decision::Push => {
                    let has_registry = candidate.image.repository().registry().is_some();
                    let refusal = self.refusal(has_registry, candidate.selected);
                    if let Some((why, hint)) = refusal {
                        return Err(UnsharedImage {
                            dependent: (*dependent).clone(),
                            service: name.clone(),
                            owner: part.owner(name),
                            why,
                            hint,
                        });
                    }
                    *verdict = ServiceVerdict {
                        decision: Decision::Pull,
                        reason: format!("{} builds it: {}", part.owner(name), verdict.reason),
                        changes: std::mem::take(&mut verdict.changes),
                        registry_tags: Vec::new(),
                        engine_names: match self.options.fleet {
                            Some(_) => Vec::new(),
                            None => candidate.names().collect(),
                        },
                        other_name: None,
                        awaited_from: Some(part.owner(name)),
                    };
                }
                Decision::Tag if verdict.engine_names.is_empty() => {
                    verdict.decision = Decision::Skip;
                }
                Decision::Tag | Decision::Pull | Decision::Skip => {}
            }
        }
        Ok(())
    }

    /// Returns why an image of another part cannot be awaited, and what to do.
    fn refusal(
        &self,
        has_registry: bool,
        is_selected: bool,
    ) -> Option<(&'static str, &'static str)> {
        if !has_registry {
            return Some((
                "it has no registry to get it from",
                "set `registry` in the manifest, or build all services in one run",
            ));
        }
        if !self.options.push {
            return Some((
                "`--no-push` keeps images on the machine that builds them",
                "omit `--no-push`, or build all services in one run",
            ));
        }
        (self.options.force && is_selected).then_some((
            "with `--force`, its new image has the same name as the existing one",
            "build with `--force` in one run, or omit it",
        ))
    }
}
