//! The graph in the language of Graphviz.

use std::fmt::Write as _;

use super::{Graph, colour};

impl Graph<'_> {
    /// Returns the graph for `dot`: an arrow leads from each service to what it needs.
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
                    colour(state.decision)
                ),
            };
        }
        for (name, node) in &self.services {
            for need in node.needs {
                let (from, to) = (quoted(name.as_str()), quoted(need.as_str()));
                _ = writeln!(text, "  {from} -> {to};");
            }
        }
        text.push_str("}\n");
        text
    }
}

/// Returns a text as Graphviz reads it between quotes, where only these have a meaning of their own.
pub(super) fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}
