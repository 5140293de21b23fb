//! The graph as JSON.

use serde_json::{Value, json};

use super::{Graph, GraphDirection, GraphNode};
use crate::model::manifest::ServiceName;

/// The version of the format. Not incremented when keys are added.
const VERSION: u64 = 1;

impl Graph<'_> {
    /// Returns the graph as a JSON document with a trailing newline: the services by name, each with its direct
    /// dependencies or dependents.
    pub fn json(&self) -> String {
        let services = self.services.iter();
        let services: Vec<Value> = services
            .map(|(name, node)| self.service(name, node))
            .collect();
        let document = json!({ "version": VERSION, "services": services });
        format!("{document:#}\n")
    }

    fn service(&self, name: &ServiceName, node: &GraphNode<'_>) -> Value {
        let key = match self.direction {
            GraphDirection::Dependencies => "needs",
            GraphDirection::Dependents => "neededBy",
        };
        let edges: Vec<&str> = node.edges.iter().map(|name| name.as_str()).collect();
        let mut service = json!({ "service": name.as_str(), key: edges });
        if let Some(state) = node.state {
            let source = state.source.as_ref();
            service["decision"] = json!(state.decision.to_string());
            service["reason"] = json!(state.reason);
            service["reference"] = json!(source.and_then(|source| source.short_name()));
            service["commit"] = json!(state.commit);
            service["image"] = json!(state.image.to_string());
        }
        service
    }
}
