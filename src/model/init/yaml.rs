//! YAML files of other tools, with errors that show the line.

use std::sync::Arc;

use crate::model::manifest::ManifestError;
use crate::model::manifest::document::ManifestText;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::node::{Node, NodeEntry, NodeKind};
use crate::model::manifest::yaml::{ForeignDocuments, read_foreign};

/// A parsed file, with its text for errors.
pub(super) struct YamlFile {
    document: Arc<ManifestText>,
    foreign: ForeignDocuments,
}

impl YamlFile {
    /// Parses a file; errors mention it by `path`.
    pub fn parse(path: &str, text: &str) -> Result<Self, ManifestError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = Arc::new(ManifestText {
            path: path.to_owned(),
            text: text.to_owned(),
        });
        let mut problems = Vec::new();
        match read_foreign(text, "file", &mut problems) {
            Some(foreign) if problems.is_empty() => Ok(Self { document, foreign }),
            _ => Err(ManifestError::new(&document, problems)),
        }
    }

    /// Returns the non-empty documents.
    pub fn documents(&self) -> &[Node] {
        &self.foreign.documents
    }

    /// Returns the first document, which must be a mapping; `None` if the file is empty.
    pub fn root(&self) -> Result<Option<&Node>, ManifestError> {
        match self.documents().first() {
            None => Ok(None),
            Some(root) => self.mapping(root, "the file").map(|_| Some(root)),
        }
    }

    /// Returns the application-specific tag of a node, such as `!reset`.
    pub fn tag(&self, node: &Node) -> Option<&str> {
        let tag = self.foreign.tags.get(&node.span.start)?;
        Some(tag)
    }

    /// Returns an error at a node.
    pub fn error(&self, node: &Node, message: impl Into<String>) -> ManifestError {
        self.error_with(node, message, None)
    }

    /// Returns an error at a node, with a help text.
    pub fn error_with(
        &self,
        node: &Node,
        message: impl Into<String>,
        help: Option<&str>,
    ) -> ManifestError {
        let span = node.span.first_line(&self.document.text);
        let problem = SourceProblem::at(span, message).maybe_help(help);
        ManifestError::new(&self.document, vec![problem])
    }

    /// Returns the entries of a mapping; null counts as empty.
    pub fn mapping<'n>(
        &self,
        node: &'n Node,
        what: &str,
    ) -> Result<&'n [NodeEntry], ManifestError> {
        match &node.kind {
            NodeKind::Mapping(entries) => Ok(entries),
            NodeKind::Null => Ok(&[]),
            _ => Err(self.error(
                node,
                format!("{what} must be a mapping, not {}", node.describe()),
            )),
        }
    }

    /// Returns the items of a list; null counts as empty.
    pub fn list<'n>(&self, node: &'n Node, what: &str) -> Result<&'n [Node], ManifestError> {
        match &node.kind {
            NodeKind::Sequence(items) => Ok(items),
            NodeKind::Null => Ok(&[]),
            _ => Err(self.error(
                node,
                format!("{what} must be a list, not {}", node.describe()),
            )),
        }
    }

    /// Returns a scalar as text; `None` if it is null.
    pub fn text<'n>(&self, node: &'n Node, what: &str) -> Result<Option<&'n str>, ManifestError> {
        match &node.kind {
            NodeKind::Scalar { text, .. } => Ok(Some(text)),
            NodeKind::Null => Ok(None),
            _ => Err(self.error(
                node,
                format!("{what} must be a string, not {}", node.describe()),
            )),
        }
    }

    /// Returns a scalar that is not quoted.
    pub fn plain<'n>(&self, node: &'n Node) -> Option<&'n str> {
        let NodeKind::Scalar {
            text, block: false, ..
        } = &node.kind
        else {
            return None;
        };
        let written = self.document.text.get(node.span.start..node.span.end)?;
        (written == text && self.tag(node).is_none()).then_some(text)
    }

    /// Returns the text under a key of a mapping.
    pub fn text_of<'n>(&self, node: &'n Node, key: &str) -> Result<Option<&'n str>, ManifestError> {
        match get(node, key) {
            Some(value) => self.text(value, &format!("`{key}`")),
            None => Ok(None),
        }
    }

    /// Returns the items under a key of a mapping.
    pub fn list_of<'n>(&self, node: &'n Node, key: &str) -> Result<&'n [Node], ManifestError> {
        match get(node, key) {
            Some(value) => self.list(value, &format!("`{key}`")),
            None => Ok(&[]),
        }
    }

    /// Returns the strings under a key of a mapping, given as a list or a single string.
    pub fn texts_of<'n>(&self, node: &'n Node, key: &str) -> Result<Vec<&'n str>, ManifestError> {
        let Some(value) = get(node, key) else {
            return Ok(Vec::new());
        };
        let what = format!("`{key}`");
        match &value.kind {
            NodeKind::Scalar { text, .. } => Ok(vec![text]),
            _ => {
                let items = self.list(value, &what)?.iter();
                let texts: Result<Vec<_>, _> = items.map(|item| self.text(item, &what)).collect();
                Ok(texts?.into_iter().flatten().collect())
            }
        }
    }
}

/// Returns the value under a key of a mapping.
pub(super) fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.kind {
        NodeKind::Mapping(entries) => {
            let entry = entries.iter().find(|entry| entry.key == key)?;
            Some(&entry.value)
        }
        _ => None,
    }
}

/// Returns the keys of a mapping that are not in a list, except `x-…` and those without a value, with a prefix.
pub(super) fn unknown_keys(node: &Node, known: &[&str], prefix: &str) -> Vec<String> {
    let NodeKind::Mapping(entries) = &node.kind else {
        return Vec::new();
    };
    let is_unset = |node: &Node| match &node.kind {
        NodeKind::Null => true,
        NodeKind::Scalar { text, .. } => text.is_empty() || text == "false",
        NodeKind::Sequence(items) => items.is_empty(),
        NodeKind::Mapping(entries) => entries.is_empty(),
    };
    let set = entries.iter().filter(|entry| !is_unset(&entry.value));
    let keys = set.map(|entry| entry.key.as_str());
    keys.filter(|key| !key.starts_with("x-") && !known.contains(key))
        .map(|key| format!("{prefix}{key}"))
        .collect()
}
