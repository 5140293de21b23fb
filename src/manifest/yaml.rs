//! YAML text to a [`Node`] tree.
//!
//! Built on the events of serde-saphyr's parser rather than on serde, which stops at the first
//! error and would have to guess the type of a scalar before the key is known.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, Tag,
};

use super::error::Problem;
use super::node::{Entry, Kind, Node};
use super::span::Span;

/// Levels of nesting; the deepest key of a manifest is at the fifth.
const MAX_DEPTH: usize = 32;

/// Levels of nesting of what a program rendered: the schema of a resource of Kubernetes may have fifty.
const MAX_RENDERED_DEPTH: usize = 200;

/// Bytes that anchors and aliases may copy. An anchor bomb needs a thousand times more; a manifest that uses
/// anchors to save typing, a thousandth.
const MAX_COPIED: usize = 4 << 20;

/// Reads the only document of a text, which errors call `what`: the manifest, or a lock.
///
/// Problems that leave a tree (duplicate keys, tags) are added to `problems`. Returns none where
/// the text is no YAML, or has no document or several.
pub(crate) fn read(text: &str, what: &'static str, problems: &mut Vec<Problem>) -> Option<Node> {
    match Reader::new(text, what, problems).document() {
        Ok(node) => node,
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

/// The documents of a file that is another tool's.
pub(crate) struct Foreign {
    /// The documents that are not empty.
    pub documents: Vec<Node>,
    /// The tags that mean something to that tool alone, by where their nodes start.
    pub tags: HashMap<usize, String>,
}

/// Reads all documents of another tool's file, whose tags are that tool's own business.
///
/// Returns none where the text is no YAML; what is wrong is added to `problems`.
pub(crate) fn read_foreign(
    text: &str,
    what: &'static str,
    problems: &mut Vec<Problem>,
) -> Option<Foreign> {
    let mut reader = Reader::new(text, what, problems);
    reader.foreign_tags = Some(HashMap::new());
    match reader.documents() {
        Ok(documents) => Some(Foreign {
            documents,
            tags: reader.foreign_tags.unwrap_or_default(),
        }),
        Err(problem) => {
            problems.push(*problem);
            None
        }
    }
}

/// Reads all documents that another tool rendered; none where the text is no YAML.
pub(crate) fn read_rendered(text: &str) -> Option<Vec<Node>> {
    let mut problems = Vec::new();
    let mut reader = Reader::with_depth(text, "rendered text", MAX_RENDERED_DEPTH, &mut problems);
    reader.foreign_tags = Some(HashMap::new());
    reader.documents().ok()
}

/// A problem after which nothing more can be read.
type Fatal = Box<Problem>;

struct Reader<'t, 'p> {
    text: &'t str,
    what: &'static str,
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    copied: usize,
    /// The unknown tags so far, where they are no mistake.
    foreign_tags: Option<HashMap<usize, String>>,
    problems: &'p mut Vec<Problem>,
}

impl<'t, 'p> Reader<'t, 'p> {
    fn new(text: &'t str, what: &'static str, problems: &'p mut Vec<Problem>) -> Self {
        Self::with_depth(text, what, MAX_DEPTH, problems)
    }

    fn with_depth(
        text: &'t str,
        what: &'static str,
        depth: usize,
        problems: &'p mut Vec<Problem>,
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

    fn documents(&mut self) -> Result<Vec<Node>, Fatal> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, span)?;
                    if !matches!(node.kind, Kind::Null) {
                        documents.push(node);
                    }
                }
            }
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Fatal> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(document),
                Event::DocumentStart(..) if document.is_some() => {
                    let message = format!("the {} has more than one YAML document", self.what);
                    let problem = Problem::at(span, message).label("the second one starts here");
                    return Err(Box::new(problem.help("remove the `---` between them")));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => document = Some(self.node(event, span)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Fatal> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or_default();
                Ok((event, Span::new(range.start, range.end)))
            }
            Some(Err(error)) => Err(Box::new(syntax_problem(&error, self.text, self.what))),
            // The parser ends with StreamEnd; this keeps a broken one from looping for ever.
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Fatal> {
        let (kind, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = self.check_tag(tag.as_deref(), span);
                let plain = style == ScalarStyle::Plain && !is_text;
                let kind = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null
                } else {
                    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    Kind::Scalar {
                        text: text.into_owned(),
                        block,
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
            _ => (Kind::Null, 0),
        };
        let span = match kind {
            // The start of a collection is an empty range, or one bracket.
            Kind::Sequence(_) | Kind::Mapping(_) => {
                Span::new(span.start, self.text.len()).first_line(self.text)
            }
            Kind::Null | Kind::Scalar { .. } => span,
        };
        let node = Node { kind, span };
        if anchor != 0 {
            self.count_copy(&node, node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self) -> Result<Kind, Fatal> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Kind::Sequence(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Kind, Fatal> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, Span> = HashMap::new();
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
            let Kind::Scalar { text, .. } = key.kind else {
                let message = format!("a key must be a text, and this one is {}", key.describe());
                self.problems.push(Problem::at(key.span, message));
                continue;
            };
            if let Some(first) = places.get(&text) {
                let problem = Problem::at(key.span, format!("the key `{text}` is there twice"))
                    .label("the second time")
                    .related(*first, "the first time");
                self.problems.push(problem);
                continue;
            }
            places.insert(text.clone(), key.span);
            entries.push(Entry {
                key: text,
                key_span: key.span,
                value,
            });
        }
        for value in merged {
            self.merge(&mut entries, value);
        }
        Ok(Kind::Mapping(entries))
    }

    /// Adds the entries of a merge key (`<<: *common`) that the mapping does not have itself.
    fn merge(&mut self, entries: &mut Vec<Entry>, value: Node) {
        match value.kind {
            Kind::Mapping(others) => {
                for other in others {
                    if entries.iter().all(|entry| entry.key != other.key) {
                        entries.push(other);
                    }
                }
            }
            Kind::Sequence(values) => values
                .into_iter()
                .for_each(|value| self.merge(entries, value)),
            Kind::Null | Kind::Scalar { .. } => {
                let message = "`<<` takes an alias of a mapping, such as `<<: *common`";
                self.problems.push(Problem::at(value.span, message));
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Fatal> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let message = "this alias stands within its own anchor";
            return Err(Box::new(Problem::at(span, message)));
        };
        self.count_copy(&node, span)?;
        Ok(node)
    }

    /// Counts a copy of a node for the anchor or alias at `span`.
    fn count_copy(&mut self, node: &Node, span: Span) -> Result<(), Fatal> {
        self.copied += node.weight();
        if self.copied <= MAX_COPIED && node.depth() <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!(
            "anchors and aliases such as this one copy more than {} MiB",
            MAX_COPIED >> 20
        );
        let help = "put what services share into `defaults`, and use fewer anchors";
        Err(Box::new(Problem::at(span, message).help(help)))
    }

    /// Reports a tag that xp does not know; tells whether the tag makes a scalar a text.
    fn check_tag(&mut self, tag: Option<&Tag>, span: Span) -> bool {
        let Some(tag) = tag else { return false };
        let is_text = tag.is_yaml_core_schema_tag("str") || tag.parts() == ("!", "");
        if !is_text && !tag.is_yaml_core_schema() {
            if let Some(tags) = &mut self.foreign_tags {
                tags.insert(span.start, tag.original().to_string());
                return false;
            }
            let message = format!("the YAML tag `{}` means nothing to xp", tag.original());
            self.problems.push(
                Problem::at(span.first_line(self.text), message)
                    .help("quote the value where its `!` belongs to the text"),
            );
        }
        is_text
    }
}

fn syntax_problem(error: &ScanError, text: &str, what: &str) -> Problem {
    let start = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let rest = text.get(start..).unwrap_or("");
    let next = rest.chars().next().filter(|c| !"\r\n".contains(*c));
    let span = Span::new(start, start + next.map_or(0, char::len_utf8));
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => {
            let message = format!("the {what} is nested more than {MAX_DEPTH} levels deep");
            return Problem::at(span, message);
        }
        ErrorKind::UnknownAnchor => {
            return Problem::at(span, "this alias has no anchor before it")
                .help("quote the value where its `*` belongs to the text");
        }
        _ => {}
    }
    let problem = Problem::at(span, format!("this is not YAML: {}", error.info()));
    let line = text
        .get(..start)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |newline| newline + 1);
    let line = text[line..].lines().next().unwrap_or("");
    if line.trim_start_matches(' ').starts_with('\t') {
        return problem.help("indent with spaces: YAML takes no tabs");
    }
    match next {
        Some('@' | '`' | '%' | '&' | '!') => {
            problem.help("quote a text that starts with a special character")
        }
        _ => problem,
    }
}
