//! Parses YAML text into a [`Node`] tree.
//!
//! Uses the events of serde-saphyr's parser instead of serde, which stops at the first error and would guess the
//! type of a scalar before the key is known.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, Tag,
};

use super::error::SourceProblem;
use super::node::{Node, NodeEntry, NodeKind};
use super::span::Span;

/// The maximum nesting depth; the deepest key of a manifest is at level five.
const MAX_DEPTH: usize = 32;

/// The maximum nesting depth of rendered YAML: the schema of a Kubernetes resource may have fifty levels.
const MAX_RENDERED_DEPTH: usize = 200;

/// The maximum number of bytes that anchors and aliases may copy. An anchor bomb needs a thousand times more, and
/// a normal manifest a thousandth.
const MAX_COPIED: usize = 4 << 20;

/// Parses a text with a single document. Errors call it `what`, such as `manifest` or `lock`.
///
/// Problems are added to `problems`. Returns `None` for invalid YAML, and for no document or several.
pub(crate) fn read(
    text: &str,
    what: &'static str,
    problems: &mut Vec<SourceProblem>,
) -> Option<Node> {
    match YamlReader::new(text, what, problems).document() {
        Ok(node) => node,
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

/// The documents of a file that belongs to another tool.
pub(crate) struct ForeignDocuments {
    /// The non-empty documents.
    pub documents: Vec<Node>,
    /// Tags specific to that tool, by the start offset of their nodes.
    pub tags: HashMap<usize, String>,
}

/// Parses all documents of another tool's file, and accepts its tags.
///
/// Returns `None` for invalid YAML, and adds the error to `problems`.
pub(crate) fn read_foreign(
    text: &str,
    what: &'static str,
    problems: &mut Vec<SourceProblem>,
) -> Option<ForeignDocuments> {
    let mut reader = YamlReader::new(text, what, problems);
    reader.foreign_tags = Some(HashMap::new());
    match reader.documents() {
        Ok(documents) => Some(ForeignDocuments {
            documents,
            tags: reader.foreign_tags.unwrap_or_default(),
        }),
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

/// Parses all documents that another tool rendered; `None` for invalid YAML.
pub(crate) fn read_rendered(text: &str) -> Option<Vec<Node>> {
    let mut problems = Vec::new();
    let mut reader =
        YamlReader::with_depth(text, "rendered text", MAX_RENDERED_DEPTH, &mut problems);
    reader.foreign_tags = Some(HashMap::new());
    reader.documents().ok()
}

/// A problem that ends parsing.
type FatalProblem = Box<SourceProblem>;

struct YamlReader<'t, 'p> {
    text: &'t str,
    what: &'static str,
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    copied: usize,
    /// The unknown tags so far, if they are accepted.
    foreign_tags: Option<HashMap<usize, String>>,
    problems: &'p mut Vec<SourceProblem>,
}

impl<'t, 'p> YamlReader<'t, 'p> {
    fn new(text: &'t str, what: &'static str, problems: &'p mut Vec<SourceProblem>) -> Self {
        Self::with_depth(text, what, MAX_DEPTH, problems)
    }

    fn with_depth(
        text: &'t str,
        what: &'static str,
        depth: usize,
        problems: &'p mut Vec<SourceProblem>,
    ) -> Self {
        let options = serde_saphyr::granit_parser::options! {
            flow_nesting_limit: depth,
            block_nesting_limit: depth,
            emit_comments: false,
        };
        Self {
            text,
            what,
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            copied: 0,
            foreign_tags: None,
            problems,
        }
    }

    fn documents(&mut self) -> Result<Vec<Node>, FatalProblem> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, span)?;
                    if !matches!(node.kind, NodeKind::Null) {
                        documents.push(node);
                    }
                }
            }
        }
    }

    fn document(&mut self) -> Result<Option<Node>, FatalProblem> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(document),
                Event::DocumentStart(..) if document.is_some() => {
                    let message = format!("the {} has more than one YAML document", self.what);
                    let problem =
                        SourceProblem::at(span, message).label("the second document starts here");
                    return Err(Box::new(problem.help("remove the `---` between them")));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => document = Some(self.node(event, span)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), FatalProblem> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or_default();
                Ok((event, Span::new(range.start, range.end)))
            }
            Some(Err(error)) => Err(Box::new(syntax_problem(&error, self.text, self.what))),
            // The parser ends with StreamEnd; this avoids an endless loop if it ever does not.
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, FatalProblem> {
        let (kind, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = self.check_tag(tag.as_deref(), span);
                let plain = style == ScalarStyle::Plain && !is_text;
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    NodeKind::Null
                } else {
                    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    NodeKind::Scalar {
                        text: text.into_owned(),
                        block,
                        plain,
                    }
                };
                (kind, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                (self.sequence()?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), span);
                (self.mapping()?, anchor)
            }
            _ => (NodeKind::Null, 0),
        };
        let span = match kind {
            // The event of a collection covers only its start: an empty range or one bracket.
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => {
                Span::new(span.start, self.text.len()).first_line(self.text)
            }
            NodeKind::Null | NodeKind::Scalar { .. } => span,
        };
        let node = Node { kind, span };
        if anchor != 0 {
            self.count_copy(&node, node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self) -> Result<NodeKind, FatalProblem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(NodeKind::Sequence(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<NodeKind, FatalProblem> {
        let mut entries: Vec<NodeEntry> = Vec::new();
        let mut key_spans: HashMap<String, Span> = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            if is_merge {
                merged.push(value);
                continue;
            }
            let NodeKind::Scalar { text, .. } = key.kind else {
                let message = format!("a key must be a string, not {}", key.describe());
                self.problems.push(SourceProblem::at(key.span, message));
                continue;
            };
            if let Some(first) = key_spans.get(&text) {
                let problem = SourceProblem::at(key.span, format!("duplicate key `{text}`"))
                    .label("used again here")
                    .related(*first, "first used here");
                self.problems.push(problem);
                continue;
            }
            key_spans.insert(text.clone(), key.span);
            entries.push(NodeEntry {
                key: text,
                key_span: key.span,
                value,
            });
        }
        for value in merged {
            self.merge(&mut entries, value);
        }
        Ok(NodeKind::Mapping(entries))
    }

    /// Adds the entries of a merge key (`<<: *common`), unless the mapping has the same key.
    fn merge(&mut self, entries: &mut Vec<NodeEntry>, value: Node) {
        match value.kind {
            NodeKind::Mapping(others) => {
                for other in others {
                    if entries.iter().all(|entry| entry.key != other.key) {
                        entries.push(other);
                    }
                }
            }
            NodeKind::Sequence(values) => values
                .into_iter()
                .for_each(|value| self.merge(entries, value)),
            NodeKind::Null | NodeKind::Scalar { .. } => {
                let message = "`<<` must be an alias of a mapping, such as `<<: *common`";
                self.problems.push(SourceProblem::at(value.span, message));
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, FatalProblem> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let message = "this alias is inside its own anchor";
            return Err(Box::new(SourceProblem::at(span, message)));
        };
        self.count_copy(&node, span)?;
        Ok(node)
    }

    /// Counts the copy of a node for the anchor or alias at `span`.
    fn count_copy(&mut self, node: &Node, span: Span) -> Result<(), FatalProblem> {
        self.copied += node.approximate_size();
        if self.copied <= MAX_COPIED && node.depth() <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!(
            "anchors and aliases such as this one expand to more than {} MiB",
            MAX_COPIED >> 20
        );
        let help = "move shared values to `defaults`, and use fewer anchors";
        Err(Box::new(SourceProblem::at(span, message).help(help)))
    }

    /// Reports an unknown tag; returns whether the tag makes a scalar a string.
    fn check_tag(&mut self, tag: Option<&Tag>, span: Span) -> bool {
        let Some(tag) = tag else { return false };
        let is_text = tag.is_yaml_core_schema_tag("str") || tag.parts() == ("!", "");
        if !is_text && !tag.is_yaml_core_schema() {
            if let Some(tags) = &mut self.foreign_tags {
                tags.insert(span.start, tag.original().to_string());
                return false;
            }
            let message = format!("unknown YAML tag `{}`", tag.original());
            self.problems.push(
                SourceProblem::at(span.first_line(self.text), message)
                    .help("quote the value if the `!` is part of it"),
            );
        }
        is_text
    }
}

fn syntax_problem(error: &ScanError, text: &str, what: &str) -> SourceProblem {
    let start = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let rest = text.get(start..).unwrap_or("");
    let next = rest.chars().next().filter(|c| !"\r\n".contains(*c));
    let span = Span::new(start, start + next.map_or(0, char::len_utf8));
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => {
            let message = format!("the {what} is nested more than {MAX_DEPTH} levels deep");
            return SourceProblem::at(span, message);
        }
        ErrorKind::UnknownAnchor => {
            return SourceProblem::at(span, "this alias has no anchor")
                .help("quote the value if the `*` is part of it");
        }
        _ => {}
    }
    let problem = SourceProblem::at(span, format!("invalid YAML: {}", error.info()));
    let line = text
        .get(..start)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |newline| newline + 1);
    let line = text[line..].lines().next().unwrap_or("");
    if line.trim_start_matches(' ').starts_with('\t') {
        return problem.help("indent with spaces: YAML does not allow tabs");
    }
    match next {
        Some('@' | '`' | '%' | '&' | '!') => {
            problem.help("quote a value that starts with a special character")
        }
        _ => problem,
    }
}
