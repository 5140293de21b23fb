//! A trie of the paths to look up in many trees.

use std::collections::BTreeMap;

/// A trie of paths, by folder.
#[derive(Debug)]
pub struct PathTrie {
    nodes: Vec<TrieNode>,
}

#[derive(Debug, Default)]
struct TrieNode {
    children: BTreeMap<Vec<u8>, usize>,
    /// How many pending paths end here or below.
    pending: usize,
    parent: Option<usize>,
}

/// A node of a [`PathTrie`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

impl PathTrie {
    /// The root folder of the repository.
    pub const ROOT: NodeId = NodeId(0);

    /// Returns an empty trie.
    pub fn new() -> Self {
        Self {
            nodes: vec![TrieNode::default()],
        }
    }

    /// Adds a path, relative and without `.` and `..`, and returns its node; a path may be added repeatedly.
    pub fn add(&mut self, path: &str) -> NodeId {
        let mut at = 0;
        self.nodes[at].pending += 1;
        for part in path.split('/') {
            at = match self.nodes[at].children.get(part.as_bytes()) {
                Some(child) => *child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(TrieNode {
                        parent: Some(at),
                        ..TrieNode::default()
                    });
                    self.nodes[at]
                        .children
                        .insert(part.as_bytes().to_vec(), child);
                    child
                }
            };
            self.nodes[at].pending += 1;
        }
        NodeId(at)
    }

    /// Undoes one [`PathTrie::add`] of the path at a node.
    pub fn remove(&mut self, node: NodeId) {
        let mut next = Some(node.0);
        while let Some(at) = next {
            self.nodes[at].pending = self.nodes[at].pending.saturating_sub(1);
            next = self.nodes[at].parent;
        }
    }

    /// Returns a child node by name, if a path at or below it is pending.
    pub fn child(&self, node: NodeId, name: &[u8]) -> Option<NodeId> {
        let child = *self.nodes[node.0].children.get(name)?;
        (self.nodes[child].pending > 0).then_some(NodeId(child))
    }

    /// Returns whether a node has children.
    pub fn has_children(&self, node: NodeId) -> bool {
        !self.nodes[node.0].children.is_empty()
    }
}
