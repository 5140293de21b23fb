//! The graph in Graphviz format.

use std::fmt::Write as _;

use super::{Graph, color};

impl Graph<'_> {
    /// Returns the graph for `dot`, with arrows from each service to its dependencies or dependents.
    pub fn dot(&self) -> String {
        let mut text = "digraph services {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white];\n".to_owned();
        for (name, node) in &self.services {
            let name = quoted(name.as_str());
            _ = match node.state {
                None => writeln!(text, "  {name};"),
                Some(state) => writeln!(
                    text,
                    "  {name} [label={}, tooltip={}, fillcolor=\"{}\"];",
                    quoted(&format!("{}\n{}", state.unit, state.decision)),
                    quoted(&state.reason),
                    color(state.decision)
                ),
            };
        }
        for (name, node) in &self.services {
            for to in &node.edges {
                let (from, to) = (quoted(name.as_str()), quoted(to.as_str()));
                _ = writeln!(text, "  {from} -> {to};");
            }
        }
        text.push_str("}\n");
        text
    }
}

/// Returns a text as a quoted Graphviz string.
pub(super) fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}
