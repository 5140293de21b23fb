//! The graph in the language of Mermaid, which pages of git servers draw.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Graph, colour};
use crate::manifest::ServiceName;
use crate::plan::Decision;

impl Graph<'_> {
    /// Returns the graph for Mermaid: an arrow leads from each service to what it needs.
    pub fn mermaid(&self) -> String {
        // A service may be called `end`, which is a word of the language; a number is none.
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
            for need in node.needs.iter().filter_map(|need| ids.get(need)) {
                _ = writeln!(text, "  {} --> {need}", ids[name]);
            }
        }
        for decision in decisions {
            text.push_str(&class(decision));
        }
        text
    }
}

fn class(decision: Decision) -> String {
    let fill = colour(decision);
    format!("  classDef {decision} fill:{fill},stroke:#888,color:#000\n")
}

/// Returns a text between quotes; a quote in it is written by its name.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "#quot;"))
}
