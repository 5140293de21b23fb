//! The manifest as a tree of text, lists and mappings, each with its place.
//!
//! Scalars stay as written: whether `1.10` or `no` is a text, a number or a boolean is for the key
//! to say, not for YAML.

use super::span::Span;

/// A value of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub kind: Kind,
    pub span: Span,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// No value, or a plain `null` or `~`.
    Null,
    /// A text, a number or a boolean, as written; `block` where it is a `|` or `>` block.
    Scalar { text: String, block: bool },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping; its keys are distinct.
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// Returns what the node is, for an error: "a list" where a text is expected.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }

    /// Returns about how many bytes a copy of the node takes.
    pub fn weight(&self) -> usize {
        const NODE: usize = size_of::<Entry>();
        NODE + match &self.kind {
            Kind::Null => 0,
            Kind::Scalar { text, .. } => text.len(),
            Kind::Sequence(items) => items.iter().map(Self::weight).sum(),
            Kind::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.key.len() + entry.value.weight())
                .sum(),
        }
    }

    /// Returns how many levels the tree below the node has.
    pub fn depth(&self) -> usize {
        1 + match &self.kind {
            Kind::Null | Kind::Scalar { .. } => 0,
            Kind::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.value.depth())
                .max()
                .unwrap_or(0),
        }
    }

    /// Returns the node with what it lacks taken from `defaults`: mappings merge key by key,
    /// lists and scalars replace.
    ///
    /// A value keeps the place where it is written, so an error in an inherited one points into
    /// the defaults.
    pub fn over(&self, defaults: &Self) -> Self {
        let (Kind::Mapping(own), Kind::Mapping(inherited)) = (&self.kind, &defaults.kind) else {
            return self.clone();
        };
        let inherited_value = |key: &str| {
            inherited
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.value)
        };
        let mut merged: Vec<Entry> = own
            .iter()
            .map(|entry| Entry {
                value: match inherited_value(&entry.key) {
                    Some(default) => entry.value.over(default),
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
            kind: Kind::Mapping(merged),
            span: self.span,
        }
    }
}
