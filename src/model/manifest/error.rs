//! Errors in a manifest, with source snippets.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{
    AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::document::ManifestText;
use super::span::Span;
use crate::base::redact::with_masked_urls;

/// The number of problems to show; further ones are only counted.
const MAX_SHOWN: usize = 50;

/// All problems of a manifest, in the order of its lines.
///
/// `Display` is the whole report without colors: each problem with file, line, column, the line
/// itself with a caret, and a hint. There is no `source()`: a cause is part of the report.
#[derive(Debug, Clone)]
pub struct ManifestError {
    document: Arc<ManifestText>,
    problems: Vec<SourceProblem>,
}

impl ManifestError {
    /// Sorts the problems by position and removes duplicates: a value in `defaults` is checked again for each
    /// service that inherits it.
    pub(crate) fn new(document: &Arc<ManifestText>, mut problems: Vec<SourceProblem>) -> Self {
        problems.sort_by(|a, b| a.span.cmp(&b.span).then_with(|| a.message.cmp(&b.message)));
        problems.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        Self {
            document: Arc::clone(document),
            problems,
        }
    }

    /// Combines errors of one manifest; `None` if there are none.
    pub(crate) fn combined(errors: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let Self {
            document,
            mut problems,
        } = errors.next()?;
        problems.extend(errors.flat_map(|error| error.problems));
        Some(Self::new(&document, problems))
    }

    /// Creates an error for a file that could not be read, so there is no text to show.
    pub(crate) fn unreadable(path: String, problem: SourceProblem) -> Self {
        let document = ManifestText {
            path,
            text: String::new(),
        };
        Self {
            document: Arc::new(document),
            problems: vec![problem],
        }
    }

    /// Returns the manifest's path as the user gave it.
    pub fn path(&self) -> &str {
        &self.document.path
    }

    /// Returns the problems, in the order of the manifest's lines.
    pub fn problems(&self) -> impl ExactSizeIterator<Item = ReportedProblem<'_>> {
        self.problems.iter().map(|problem| ReportedProblem {
            problem,
            document: &self.document,
        })
    }

    /// Returns the report for a terminal, with or without colors.
    pub fn render(&self, color: bool) -> String {
        self.render_first(MAX_SHOWN, color)
    }

    /// Returns the report, however long it is.
    pub fn render_all(&self, color: bool) -> String {
        self.render_first(self.problems.len(), color)
    }

    fn render_first(&self, limit: usize, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let text = with_masked_urls(&self.document.text);
        let mut reports: Vec<String> = self
            .problems
            .iter()
            .take(limit)
            .map(|problem| problem.render(&renderer, &self.document.path, &text))
            .collect();
        let more = self.problems.len().saturating_sub(limit);
        if more > 0 {
            let title = Level::ERROR.primary_title(format!("{more} more problems are not shown"));
            reports.push(renderer.render(&[annotate_snippets::Group::with_title(title)]));
        }
        reports.join("\n\n")
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ManifestError {}

/// One problem as data, for JSON output or an editor.
pub struct ReportedProblem<'a> {
    problem: &'a SourceProblem,
    document: &'a ManifestText,
}

impl ReportedProblem<'_> {
    /// Returns the one-line message.
    pub fn message(&self) -> &str {
        &self.problem.message
    }

    /// Returns the 1-based line and column in characters; `None` if the problem is about the whole file.
    pub fn position(&self) -> Option<(usize, usize)> {
        Some(self.problem.span?.line_and_column(&self.document.text))
    }

    /// Returns the hints.
    pub fn help(&self) -> &[String] {
        &self.problem.help
    }
}

/// One problem and its position.
#[derive(Debug, Clone)]
pub(crate) struct SourceProblem {
    message: String,
    span: Option<Span>,
    label: String,
    related: Vec<(Span, String)>,
    help: Vec<String>,
}

impl SourceProblem {
    /// Creates a problem at a position of the text.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::without_span(message)
        }
    }

    /// Creates a problem of the file as a whole.
    pub fn without_span(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            message,
            span: None,
            label: String::new(),
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Adds a label next to the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a second position with its label.
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds a hint.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a hint if there is one.
    pub fn maybe_help(self, help: Option<impl Into<String>>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Returns the message and the hints, for a place that cannot show the line.
    pub fn into_text(self) -> (String, Vec<String>) {
        (self.message, self.help)
    }

    fn render(&self, renderer: &Renderer, path: &str, text: &str) -> String {
        let title = Level::ERROR.primary_title(normalize_untrusted_str(&self.message));
        let path = normalize_untrusted_str(path);
        let mut group = match self.span {
            Some(span) => {
                let primary = AnnotationKind::Primary.span(span.start..span.end);
                let related = self.related.iter().map(|(span, label)| {
                    AnnotationKind::Context
                        .span(span.start..span.end)
                        .label(label)
                });
                title.element(
                    Snippet::source(text)
                        .path(path)
                        .annotation(primary.label(&self.label))
                        .annotations(related),
                )
            }
            None => title.element(Origin::path(path)),
        };
        for help in &self.help {
            group = group.element(
                Level::HELP
                    .with_name("hint")
                    .message(normalize_untrusted_str(help)),
            );
        }
        // The renderer escapes the C0 control characters, but not the C1 ones, which terminals also interpret.
        let is_c1_control = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
        renderer.render(&[group]).replace(is_c1_control, "\u{fffd}")
    }
}
