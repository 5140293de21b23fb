//! A decoder that collects errors: it reports an invalid value and continues.
//!
//! The known keys of a mapping are those requested with [`Fields::take`]. A test compares them with the JSON
//! Schema.

use std::collections::BTreeSet;

use super::super::error::SourceProblem;
use super::super::name::ServiceName;
use super::super::node::{Node, NodeEntry, NodeKind};
use super::super::span::{LineIndex, Span};
use super::super::template::Template;
use crate::base::suggest;

/// State of the decoder: the text, the names of services, and the problems so far.
pub(crate) struct DecodeContext<'d> {
    /// The manifest's text.
    pub text: &'d str,
    /// Its line ends.
    pub lines: LineIndex,
    /// The names of all services, for placeholders and `needs`.
    pub services: BTreeSet<ServiceName>,
    /// The problems so far.
    pub problems: Vec<SourceProblem>,
    /// The path of each requested key.
    #[cfg(test)]
    pub known: BTreeSet<String>,
}

impl<'d> DecodeContext<'d> {
    pub fn new(text: &'d str, problems: Vec<SourceProblem>) -> Self {
        Self {
            text,
            lines: LineIndex::new(text),
            services: BTreeSet::new(),
            problems,
            #[cfg(test)]
            known: BTreeSet::new(),
        }
    }

    pub fn report(&mut self, problem: SourceProblem) {
        self.problems.push(problem);
    }
}

/// A value of the manifest, with its key for error messages.
#[derive(Clone)]
pub(crate) struct DecodedValue<'n> {
    pub node: &'n Node,
    /// The path of the key, such as `docker.args.FRONT`; in a service, it is relative to the service.
    pub path: String,
    /// The position of the key, or of the item for an item of a list.
    pub key_span: Span,
    pub is_item: bool,
}

/// The text of a scalar with its position.
#[derive(Clone, Copy)]
pub(crate) struct ScalarText<'n> {
    pub text: &'n str,
    pub span: Span,
}

impl<'n> DecodedValue<'n> {
    /// Returns the text of a scalar as written, which may contain placeholders.
    pub fn raw_text(&self, cx: &mut DecodeContext) -> Option<ScalarText<'n>> {
        let NodeKind::Scalar { text, .. } = &self.node.kind else {
            self.expected(cx, "a string");
            return None;
        };
        if text.contains('\0') {
            let message = format!("{} must not contain NUL characters", self.subject());
            cx.report(SourceProblem::at(
                self.node.span.first_line(cx.text),
                message,
            ));
            return None;
        }
        Some(ScalarText {
            text,
            span: self.node.span,
        })
    }

    /// Returns the text of a scalar as written; rejects empty text and placeholders.
    pub fn text(&self, cx: &mut DecodeContext) -> Option<ScalarText<'n>> {
        let text = self.raw_text(cx)?;
        if text.text.contains("${{") {
            let message = format!("{} does not support `${{{{ … }}}}`", self.subject());
            cx.report(SourceProblem::at(text.span.first_line(cx.text), message).help(
                "placeholders are supported in `docker.args`, `docker.tags` and `dockerBuilder.env`",
            ));
            return None;
        }
        if text.text.trim().is_empty() {
            cx.report(SourceProblem::at(
                self.span(),
                format!("{} must not be empty", self.subject()),
            ));
            return None;
        }
        Some(text)
    }

    /// Parses the text with `FromStr`.
    pub fn parse<T>(&self, cx: &mut DecodeContext) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        self.parse_with(cx, |text| text.parse())
    }

    /// Parses the text with a function, and reports its error.
    pub fn parse_with<T, E: std::fmt::Display>(
        &self,
        cx: &mut DecodeContext,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(cx)?;
        match parse(text.text) {
            Ok(value) => Some(value),
            Err(error) => {
                let span = text.span.first_line(cx.text);
                cx.report(
                    SourceProblem::at(span, error.to_string()).label(format!("in `{}`", self.path)),
                );
                None
            }
        }
    }

    /// Parses the text as a template.
    pub fn template(&self, cx: &mut DecodeContext) -> Option<Template> {
        let text = self.raw_text(cx)?;
        match Template::parse(text.text, text.span, cx.text, &cx.services) {
            Ok(template) => Some(template),
            Err(problems) => {
                cx.problems.extend(problems);
                None
            }
        }
    }

    /// Returns a boolean: only `true` or `false`, not YAML's other spellings.
    pub fn boolean(&self, cx: &mut DecodeContext) -> Option<bool> {
        let text = self.text(cx)?;
        match text.text {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            other => {
                let message = format!("`{}` must be `true` or `false`, not `{other}`", self.path);
                let meant = match other.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "1" => Some("write `true`"),
                    "no" | "off" | "n" | "0" => Some("write `false`"),
                    _ => None,
                };
                cx.report(
                    SourceProblem::at(text.span.first_line(cx.text), message).maybe_help(meant),
                );
                None
            }
        }
    }

    /// Returns the items of a list.
    pub fn items(&self, cx: &mut DecodeContext) -> Vec<Self> {
        let NodeKind::Sequence(items) = &self.node.kind else {
            self.expected(cx, "a list");
            return Vec::new();
        };
        let value = |node: &'n Node| DecodedValue {
            node,
            path: self.path.clone(),
            key_span: node.span,
            is_item: true,
        };
        items.iter().map(value).collect()
    }

    /// Returns the entries of a mapping with arbitrary keys.
    pub fn entries(&self, cx: &mut DecodeContext) -> Vec<(&'n NodeEntry, Self)> {
        let NodeKind::Mapping(entries) = &self.node.kind else {
            self.expected(cx, "a mapping");
            return Vec::new();
        };
        let value = |entry: &'n NodeEntry| DecodedValue {
            node: &entry.value,
            path: format!("{}.{}", self.path, entry.key),
            key_span: entry.key_span,
            is_item: false,
        };
        entries.iter().map(|entry| (entry, value(entry))).collect()
    }

    /// Returns the fields of a mapping with a fixed set of keys.
    pub fn fields(&self, cx: &mut DecodeContext) -> Option<Fields<'n>> {
        let NodeKind::Mapping(entries) = &self.node.kind else {
            self.expected(cx, "a mapping");
            return None;
        };
        Some(Fields {
            entries,
            path: self.path.clone(),
            known: Vec::new(),
            rejected: Vec::new(),
        })
    }

    /// Returns the range to underline: the value, or its key if the value is empty.
    pub fn span(&self) -> Span {
        let is_empty = self.node.span.start >= self.node.span.end;
        if is_empty {
            self.key_span
        } else {
            self.node.span
        }
    }

    /// Returns the subject of an error message about the value.
    pub fn subject(&self) -> String {
        if self.is_item {
            format!("an item of `{}`", self.path)
        } else {
            format!("`{}`", self.path)
        }
    }

    fn expected(&self, cx: &mut DecodeContext, expected: &str) {
        let span = self.span().first_line(cx.text);
        let problem = match self.node.kind {
            NodeKind::Null => SourceProblem::at(span, format!("{} has no value", self.subject()))
                .help(format!("set it to {expected}, or remove it")),
            _ => {
                let found = self.node.describe();
                SourceProblem::at(
                    span,
                    format!("{} must be {expected}, not {found}", self.subject()),
                )
                .maybe_help(self.help_for(expected, cx.text))
            }
        };
        cx.report(problem);
    }

    fn help_for(&self, expected: &str, text: &str) -> Option<String> {
        match (&self.node.kind, expected) {
            (
                NodeKind::Scalar {
                    block: false, text, ..
                },
                "a list",
            ) if !text.is_empty() => Some(format!("write it as a list with one item: `- {text}`")),
            // YAML parses `- echo a: b` as a mapping, which is surprising.
            (NodeKind::Mapping(entries), "a string") if entries.len() == 1 => {
                let span = self.node.span.first_line(text);
                let line = text.get(span.start..span.end)?;
                (!line.starts_with('{') && line.contains(": "))
                    .then(|| format!("`: ` makes this a mapping; quote the string: `'{line}'`"))
            }
            _ => None,
        }
    }
}

/// The fields of a mapping with a fixed set of keys.
pub(crate) struct Fields<'n> {
    entries: &'n [NodeEntry],
    path: String,
    known: Vec<&'static str>,
    /// Keys that were reported.
    rejected: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Returns the value of a key, and adds it to the known keys.
    pub fn take(&mut self, key: &'static str) -> Option<DecodedValue<'n>> {
        self.known.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let path = self.path_of(key);
        Some(DecodedValue {
            node: &entry.value,
            path,
            key_span: entry.key_span,
            is_item: false,
        })
    }

    /// Reports a key that is not supported here but elsewhere, so that the message can say why.
    pub fn reject(&mut self, cx: &mut DecodeContext, key: &'static str, why: &str, help: &str) {
        self.rejected.push(key);
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == key) {
            let message = format!("`{}` {why}", self.path_of(key));
            cx.report(SourceProblem::at(entry.key_span, message).help(help));
        }
    }

    /// Reports every unknown key.
    pub fn finish(self, cx: &mut DecodeContext) {
        for entry in self
            .entries
            .iter()
            .filter(|entry| !self.known.contains(&&*entry.key))
            .filter(|entry| !self.rejected.contains(&&*entry.key))
        {
            let message = match self.path.as_str() {
                "" => format!("unknown key `{}`", entry.key),
                path => format!("unknown key `{}` in `{path}`", entry.key),
            };
            let hint = suggest::hint(&entry.key, "known keys", self.known.iter().copied());
            cx.report(SourceProblem::at(entry.key_span, message).maybe_help(hint));
        }
        #[cfg(test)]
        cx.known
            .extend(self.known.iter().map(|key| self.path_of(key)));
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}
