//! The paths that are looked for in many trees, as a tree themselves.

use std::collections::BTreeMap;

/// Some paths, by their folders.
#[derive(Debug)]
pub(super) struct PathTrie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Vec<u8>, usize>,
    /// How many of the wanted paths end here or below, and are still looked for.
    wanted: usize,
    parent: Option<usize>,
}

/// A place of a [`PathTrie`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(usize);

impl PathTrie {
    /// The repository's own folder.
    pub(super) const ROOT: NodeId = NodeId(0);

    /// Makes a trie without a path.
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }

    /// Adds a path, relative and without `.` and `..`, and returns its place; it may be added often.
    pub(super) fn add(&mut self, path: &str) -> NodeId {
        let mut at = 0;
        self.nodes[at].wanted += 1;
        for part in path.split('/') {
            at = match self.nodes[at].children.get(part.as_bytes()) {
                Some(child) => *child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node {
                        parent: Some(at),
                        ..Node::default()
                    });
                    self.nodes[at]
                        .children
                        .insert(part.as_bytes().to_vec(), child);
                    child
                }
            };
            self.nodes[at].wanted += 1;
        }
        NodeId(at)
    }

    /// Takes back one [`PathTrie::add`] of the path at a place.
    pub(super) fn remove(&mut self, node: NodeId) {
        let mut next = Some(node.0);
        while let Some(at) = next {
            self.nodes[at].wanted = self.nodes[at].wanted.saturating_sub(1);
            next = self.nodes[at].parent;
        }
    }

    /// Returns the place of a child by its name, where a path below it is still looked for.
    pub(super) fn child(&self, node: NodeId, name: &[u8]) -> Option<NodeId> {
        let child = *self.nodes[node.0].children.get(name)?;
        (self.nodes[child].wanted > 0).then_some(NodeId(child))
    }

    /// Tells whether paths go on below a place.
    pub(super) fn has_children(&self, node: NodeId) -> bool {
        !self.nodes[node.0].children.is_empty()
    }
}
