//! The graph as a text tree.

use std::collections::BTreeSet;

use super::{Graph, GraphNode};
use crate::base::table::aligned;
use crate::model::manifest::ServiceName;

/// A service that has not been printed yet.
struct PendingRow<'a> {
    name: &'a ServiceName,
    /// The prefix of its name.
    prefix: String,
    /// The prefix of the services below it.
    indent: String,
}

impl<'a> Graph<'a> {
    /// Returns a tree for each service that no edge leads to, with the states. What the edges of a service lead to is
    /// printed only the first time.
    pub fn tree(&self) -> String {
        let mut rows = Vec::new();
        let mut shown = BTreeSet::new();
        // An explicit stack, because a long chain of services could overflow the thread's stack.
        let mut stack: Vec<PendingRow<'a>> = Vec::new();
        for root in self.roots() {
            stack.push(PendingRow {
                name: root,
                prefix: String::new(),
                indent: String::new(),
            });
            while let Some(pending) = stack.pop() {
                let Some(node) = self.services.get(pending.name) else {
                    continue;
                };
                let is_first = shown.insert(pending.name);
                rows.push(row(&pending, node, is_first));
                if is_first {
                    stack.extend(below(&pending, node).into_iter().rev());
                }
            }
        }
        aligned(&rows)
    }
}

/// Returns the services below one, in order.
fn below<'a>(pending: &PendingRow<'a>, node: &GraphNode<'a>) -> Vec<PendingRow<'a>> {
    let indent = &pending.indent;
    let last = node.edges.len().saturating_sub(1);
    let rows = node.edges.iter().enumerate().map(|(index, name)| {
        let (branch, rest) = if index == last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        PendingRow {
            name,
            prefix: format!("{indent}{branch}"),
            indent: format!("{indent}{rest}"),
        }
    });
    rows.collect()
}

fn row(pending: &PendingRow<'_>, node: &GraphNode<'_>, is_first: bool) -> Vec<String> {
    let PendingRow { name, prefix, .. } = pending;
    if !is_first {
        return vec![format!("{prefix}{name} (above)")];
    }
    let mut row = vec![format!("{prefix}{name}")];
    row.extend(
        node.state
            .into_iter()
            .flat_map(|state| [state.decision.to_string(), state.reason.clone()]),
    );
    row
}
