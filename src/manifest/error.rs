//! What is wrong with a manifest, and how it is shown.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{
    AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::document::Document;
use super::span::Span;

/// More problems than these are counted, not shown.
const SHOWN: usize = 50;

/// Everything that is wrong with a manifest, in the order of its lines.
///
/// `Display` is the whole report without colours: each problem with file, line, column, the line
/// itself with a caret, and a hint. There is no `source()`: a cause is part of the report.
#[derive(Debug, Clone)]
pub struct ManifestError {
    document: Arc<Document>,
    problems: Vec<Problem>,
}

impl ManifestError {
    /// Sorts the problems by position and leaves out those that were found twice, as happens with
    /// a value in `defaults` that each service inherits.
    pub(crate) fn new(document: &Arc<Document>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.span.cmp(&b.span).then_with(|| a.message.cmp(&b.message)));
        problems.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        Self {
            document: Arc::clone(document),
            problems,
        }
    }

    /// Makes the error of a file that could not be read, so that there is no text to show.
    pub(crate) fn unreadable(path: String, problem: Problem) -> Self {
        let document = Document {
            path,
            text: String::new(),
        };
        Self {
            document: Arc::new(document),
            problems: vec![problem],
        }
    }

    /// Returns the manifest's path, as the user named it.
    pub fn path(&self) -> &str {
        &self.document.path
    }

    /// Returns the single problems, in the order of the manifest's lines.
    pub fn problems(&self) -> impl ExactSizeIterator<Item = ReportedProblem<'_>> {
        self.problems.iter().map(|problem| ReportedProblem {
            problem,
            document: &self.document,
        })
    }

    /// Returns the report for people, with colours or without.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let text = self.document.without_passwords();
        let mut reports: Vec<String> = self
            .problems
            .iter()
            .take(SHOWN)
            .map(|problem| problem.render(&renderer, &self.document.path, &text))
            .collect();
        if self.problems.len() > SHOWN {
            let more = self.problems.len() - SHOWN;
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

/// One problem as a program may want it: for JSON output, or an editor.
pub struct ReportedProblem<'a> {
    problem: &'a Problem,
    document: &'a Document,
}

impl ReportedProblem<'_> {
    /// Returns what is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.problem.message
    }

    /// Returns line and column in characters, both from one; none where the whole file is meant.
    pub fn position(&self) -> Option<(usize, usize)> {
        Some(self.problem.span?.line_and_column(&self.document.text))
    }

    /// Returns what can be done about it.
    pub fn help(&self) -> &[String] {
        &self.problem.help
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    message: String,
    span: Option<Span>,
    label: String,
    related: Vec<(Span, String)>,
    help: Vec<String>,
}

impl Problem {
    /// Makes a problem with a place in the text.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::of_the_file(message)
        }
    }

    /// Makes a problem of the file as a whole.
    pub fn of_the_file(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            message,
            span: None,
            label: String::new(),
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Adds a word beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a second place, with a word about it.
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds what can be done about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds what can be done about it, where something is known.
    pub fn maybe_help(self, help: Option<impl Into<String>>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
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
        // The renderer shows the control characters that begin at 0, and passes on those that begin at 128,
        // which a terminal obeys as well.
        let is_control = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
        renderer.render(&[group]).replace(is_control, "\u{fffd}")
    }
}
