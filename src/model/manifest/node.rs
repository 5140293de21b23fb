//! The manifest as a tree of scalars, lists and mappings, each with its position.
//!
//! Scalars stay as written: the key decides whether `1.10` or `no` is a string, a number or a boolean, not YAML.

use super::span::Span;

/// A value of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub kind: NodeKind,
    pub span: Span,
}

/// The type and content of a value.
#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    /// No value, or a plain `null` or `~`.
    Null,
    /// A string, number or boolean as written; `block` for a `|` or `>` block, `plain` without quotes.
    Scalar {
        text: String,
        block: bool,
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping with distinct keys.
    Mapping(Vec<NodeEntry>),
}

/// A key of a mapping with its value.
#[derive(Debug, Clone)]
pub(crate) struct NodeEntry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// Returns the type of the node for an error, such as "a list".
    pub fn describe(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "null",
            NodeKind::Scalar { .. } => "a string",
            NodeKind::Sequence(_) => "a list",
            NodeKind::Mapping(_) => "a mapping",
        }
    }

    /// Returns the approximate size of a copy of the node in bytes.
    pub fn approximate_size(&self) -> usize {
        const NODE: usize = size_of::<NodeEntry>();
        NODE + match &self.kind {
            NodeKind::Null => 0,
            NodeKind::Scalar { text, .. } => text.len(),
            NodeKind::Sequence(items) => items.iter().map(Self::approximate_size).sum(),
            NodeKind::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.key.len() + entry.value.approximate_size())
                .sum(),
        }
    }

    /// Returns the number of levels of the tree.
    pub fn depth(&self) -> usize {
        1 + match &self.kind {
            NodeKind::Null | NodeKind::Scalar { .. } => 0,
            NodeKind::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            NodeKind::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.value.depth())
                .max()
                .unwrap_or(0),
        }
    }

    /// Merges a service over the defaults, without the default source if the service has another kind of source.
    pub fn merged_over_defaults(&self, defaults: &Self) -> Self {
        let (NodeKind::Mapping(own), NodeKind::Mapping(inherited)) = (&self.kind, &defaults.kind)
        else {
            return self.merged_over(defaults);
        };
        let has = |key: &str| own.iter().any(|entry| entry.key == key);
        let other = match (has("git"), has("scm")) {
            (true, false) => "scm",
            (false, true) => "git",
            _ => return self.merged_over(defaults),
        };
        let kept = inherited.iter().filter(|entry| entry.key != other);
        self.merged_over(&Self {
            kind: NodeKind::Mapping(kept.cloned().collect()),
            span: defaults.span,
        })
    }

    /// Merges the node over `defaults`: mappings merge key by key, lists and scalars replace.
    ///
    /// A value keeps its position, so an error in an inherited value points into the defaults.
    pub fn merged_over(&self, defaults: &Self) -> Self {
        let (NodeKind::Mapping(own), NodeKind::Mapping(inherited)) = (&self.kind, &defaults.kind)
        else {
            return self.clone();
        };
        let inherited_value = |key: &str| {
            inherited
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.value)
        };
        let mut merged: Vec<NodeEntry> = own
            .iter()
            .map(|entry| NodeEntry {
                value: match inherited_value(&entry.key) {
                    Some(default) => entry.value.merged_over(default),
                    None => entry.value.clone(),
                },
                ..entry.clone()
            })
            .collect();
        merged.extend(
            inherited
                .iter()
                .filter(|entry| own.iter().all(|own| own.key != entry.key))
                .cloned(),
        );
        Self {
            kind: NodeKind::Mapping(merged),
            span: self.span,
        }
    }
}
