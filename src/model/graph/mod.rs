//! The dependency graph of services, with the decision for each. Pure.

mod dot;
mod json;
mod mermaid;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::event::Unit;
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::plan::{Decision, Plan, UnitPlan};

/// The selected services and their dependencies.
#[derive(Debug, Clone)]
pub struct Graph<'a> {
    services: BTreeMap<&'a ServiceName, GraphNode<'a>>,
}

/// A service of the graph.
#[derive(Debug, Clone)]
struct GraphNode<'a> {
    needs: &'a BTreeSet<ServiceName>,
    /// What a build would do with it; `None` without a plan.
    state: Option<&'a UnitPlan>,
}

impl<'a> Graph<'a> {
    /// Returns the graph of some services; with a plan, it includes the state of each.
    pub fn new(
        manifest: &'a Manifest,
        services: &BTreeSet<ServiceName>,
        plan: Option<&'a Plan>,
    ) -> Self {
        let states = plan.into_iter().flat_map(|plan| &plan.units);
        let states: BTreeMap<&ServiceName, &UnitPlan> = states
            .filter_map(|unit| match &unit.unit {
                Unit::Service(name) => Some((name, unit)),
                _ => None,
            })
            .collect();
        let included = manifest.closure(services);
        let node = |(name, service): (&'a ServiceName, &'a crate::model::manifest::Service)| {
            let node = GraphNode {
                needs: &service.needs,
                state: states.get(name).copied(),
            };
            included.contains(name).then_some((name, node))
        };
        Self {
            services: manifest.services.iter().filter_map(node).collect(),
        }
    }

    /// Returns the services that no other service needs, by name.
    fn roots(&self) -> impl Iterator<Item = &'a ServiceName> {
        let needed: BTreeSet<&ServiceName> = self
            .services
            .values()
            .flat_map(|node| node.needs.iter())
            .collect();
        let names = self.services.keys().copied();
        names.filter(move |name| !needed.contains(name))
    }
}

/// Returns the fill color for a decision.
fn color(decision: Decision) -> &'static str {
    match decision {
        Decision::Skip => "#d9f2d9",
        Decision::Tag | Decision::Pull | Decision::Push => "#d9e8f6",
        Decision::Build => "#fbe0b5",
    }
}
