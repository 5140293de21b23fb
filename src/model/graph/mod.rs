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

/// What the edges of a graph lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphDirection {
    Dependencies,
    Dependents,
}

impl GraphDirection {
    /// Returns some services and all that the edges lead to from there.
    pub fn included(
        self,
        manifest: &Manifest,
        services: &BTreeSet<ServiceName>,
    ) -> BTreeSet<ServiceName> {
        match self {
            Self::Dependencies => manifest.closure(services),
            Self::Dependents => manifest.dependents_closure(services),
        }
    }
}

/// The selected services with their dependencies or dependents.
#[derive(Debug, Clone)]
pub struct Graph<'a> {
    direction: GraphDirection,
    services: BTreeMap<&'a ServiceName, GraphNode<'a>>,
}

/// A service of the graph.
#[derive(Debug, Clone)]
struct GraphNode<'a> {
    /// The direct dependencies or dependents.
    edges: BTreeSet<&'a ServiceName>,
    /// What a build would do with it; `None` without a plan.
    state: Option<&'a UnitPlan>,
}

impl<'a> Graph<'a> {
    /// Returns the graph of some services; with a plan, it includes the state of each.
    pub fn new(
        manifest: &'a Manifest,
        services: &BTreeSet<ServiceName>,
        direction: GraphDirection,
        plan: Option<&'a Plan>,
    ) -> Self {
        let states = plan.into_iter().flat_map(|plan| &plan.units);
        let states: BTreeMap<&ServiceName, &UnitPlan> = states
            .filter_map(|unit| match &unit.unit {
                Unit::Service(name) => Some((name, unit)),
                _ => None,
            })
            .collect();
        let included = direction.included(manifest, services);
        let mut nodes: BTreeMap<&ServiceName, GraphNode<'_>> = BTreeMap::new();
        for name in manifest.services.keys().filter(|it| included.contains(*it)) {
            let state = states.get(name).copied();
            let edges = BTreeSet::new();
            nodes.insert(name, GraphNode { edges, state });
        }
        for (name, service) in &manifest.services {
            for need in &service.needs {
                let (from, to) = match direction {
                    GraphDirection::Dependencies => (name, need),
                    GraphDirection::Dependents => (need, name),
                };
                if let Some(node) = nodes.get_mut(from) {
                    node.edges.insert(to);
                }
            }
        }
        Self {
            direction,
            services: nodes,
        }
    }

    /// Returns the services that no edge leads to, by name.
    fn roots(&self) -> impl Iterator<Item = &'a ServiceName> {
        let nodes = self.services.values();
        let reached: BTreeSet<&ServiceName> = nodes.flat_map(|node| node.edges.clone()).collect();
        let names = self.services.keys().copied();
        names.filter(move |name| !reached.contains(name))
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
