//! The graph as a tree of text.

use std::collections::BTreeSet;

use super::{Graph, Node};
use crate::manifest::ServiceName;
use crate::plan::table::aligned;

/// A service that is still to be shown.
struct Waiting<'a> {
    name: &'a ServiceName,
    /// What stands before its name.
    lead: String,
    /// What stands before those that it needs.
    indent: String,
}

impl<'a> Graph<'a> {
    /// Returns a tree below each service that nothing needs, a line each with its state. What stands
    /// above with all that it needs is not told again.
    pub fn tree(&self) -> String {
        let mut rows = Vec::new();
        let mut shown = BTreeSet::new();
        // With an explicit stack: a chain of services may be longer than the thread's stack is deep.
        let mut stack: Vec<Waiting<'a>> = Vec::new();
        for root in self.roots() {
            stack.push(Waiting {
                name: root,
                lead: String::new(),
                indent: String::new(),
            });
            while let Some(waiting) = stack.pop() {
                let Some(node) = self.services.get(waiting.name) else {
                    continue;
                };
                let is_first = shown.insert(waiting.name);
                rows.push(row(&waiting, node, is_first));
                if is_first {
                    stack.extend(below(&waiting, node).into_iter().rev());
                }
            }
        }
        aligned(&rows)
    }
}

/// Returns those that a service needs, in their order.
fn below<'a>(waiting: &Waiting<'a>, node: &Node<'a>) -> Vec<Waiting<'a>> {
    let indent = &waiting.indent;
    let last = node.needs.len().saturating_sub(1);
    let needs = node.needs.iter().enumerate().map(|(index, name)| {
        let (branch, rest) = match index == last {
            true => ("└── ", "    "),
            false => ("├── ", "│   "),
        };
        Waiting {
            name,
            lead: format!("{indent}{branch}"),
            indent: format!("{indent}{rest}"),
        }
    });
    needs.collect()
}

fn row(waiting: &Waiting<'_>, node: &Node<'_>, is_first: bool) -> Vec<String> {
    let Waiting { name, lead, .. } = waiting;
    if !is_first {
        return vec![format!("{lead}{name} (above)")];
    }
    let mut row = vec![format!("{lead}{name}")];
    row.extend(
        node.state
            .into_iter()
            .flat_map(|state| [state.decision.to_string(), state.reason.clone()]),
    );
    row
}
