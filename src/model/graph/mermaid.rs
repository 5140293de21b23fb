//! The graph in Mermaid format, which git servers render.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Graph, color};
use crate::model::manifest::ServiceName;
use crate::model::plan::Decision;

impl Graph<'_> {
    /// Returns the graph for Mermaid, with arrows from each service to its dependencies or dependents.
    pub fn mermaid(&self) -> String {
        // Numbered IDs, because a service's name may be a Mermaid keyword such as `end`.
        let ids: BTreeMap<&ServiceName, String> = self
            .services
            .keys()
            .enumerate()
            .map(|(number, name)| (*name, format!("s{number}")))
            .collect();
        let mut text = "flowchart LR\n".to_owned();
        let mut decisions = Vec::new();
        for (name, node) in &self.services {
            let id = &ids[name];
            _ = match node.state {
                None => writeln!(text, "  {id}[{}]", quoted(name.as_str())),
                Some(state) => {
                    if !decisions.contains(&state.decision) {
                        decisions.push(state.decision);
                    }
                    let label = format!("{name}<br>{}", state.decision);
                    writeln!(text, "  {id}[{}]:::{}", quoted(&label), state.decision)
                }
            };
        }
        for (name, node) in &self.services {
            for to in node.edges.iter().filter_map(|to| ids.get(to)) {
                _ = writeln!(text, "  {} --> {to}", ids[name]);
            }
        }
        for decision in decisions {
            text.push_str(&class(decision));
        }
        text
    }
}

fn class(decision: Decision) -> String {
    let fill = color(decision);
    format!("  classDef {decision} fill:{fill},stroke:#888,color:#000\n")
}

/// Returns a text as a quoted Mermaid string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "#quot;"))
}
