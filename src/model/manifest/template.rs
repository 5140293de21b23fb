//! Strings with `${{ … }}` placeholders.

use std::collections::BTreeSet;
use std::fmt;

use super::error::SourceProblem;
use super::name::ServiceName;
use super::span::Span;
use crate::base::suggest;

/// A string whose `${{ … }}` placeholders are replaced once commits are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pub(super) parts: Vec<TemplatePart>,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TemplatePart {
    Text(String),
    Placeholder(Placeholder, Span),
}

/// A parsed placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placeholder {
    ServiceName,
    ServiceCommit,
    ServiceBranch,
    ImageOf(ServiceName),
    CommitOf(ServiceName),
    Environment(String),
}

impl Template {
    /// Creates a template that consists of an environment variable.
    pub(super) fn of_variable(name: &str, span: Span) -> Self {
        Self {
            text: format!("${{{{ env.{name} }}}}"),
            parts: vec![TemplatePart::Placeholder(
                Placeholder::Environment(name.to_owned()),
                span,
            )],
            span,
        }
    }

    /// Returns the text as written, including placeholders.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// Returns the services whose image or commit the template uses.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Placeholder(
                Placeholder::ImageOf(name) | Placeholder::CommitOf(name),
                _,
            ) => Some(name),
            _ => None,
        })
    }

    /// Returns the services whose image the template uses.
    pub(super) fn images(&self) -> impl Iterator<Item = &ServiceName> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Placeholder(Placeholder::ImageOf(name), _) => Some(name),
            _ => None,
        })
    }

    /// Returns the service, if the template is exactly the image of one.
    pub(super) fn image_of(&self) -> Option<&ServiceName> {
        match self.parts.as_slice() {
            [TemplatePart::Placeholder(Placeholder::ImageOf(name), _)] => Some(name),
            _ => None,
        }
    }

    /// Returns whether the template uses the service's own commit or branch.
    pub fn names_source(&self) -> bool {
        self.parts.iter().any(|part| {
            matches!(
                part,
                TemplatePart::Placeholder(
                    Placeholder::ServiceCommit | Placeholder::ServiceBranch,
                    _
                )
            )
        })
    }

    /// Returns whether the template uses an environment variable.
    pub fn reads_environment(&self) -> bool {
        self.parts.iter().any(|part| {
            matches!(
                part,
                TemplatePart::Placeholder(Placeholder::Environment(_), _)
            )
        })
    }

    /// Returns whether the template has only placeholders, so that showing it reveals no value.
    pub fn is_only_placeholders(&self) -> bool {
        self.literals().next().is_none() && !self.parts.is_empty()
    }

    /// Returns the parts that are not placeholders.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Text(text) => Some(text.as_str()),
            TemplatePart::Placeholder(..) => None,
        })
    }

    /// Parses the text at `span` of the document.
    pub(super) fn parse(
        text: &str,
        span: Span,
        document: &str,
        services: &BTreeSet<ServiceName>,
    ) -> Result<Self, Vec<SourceProblem>> {
        let mut parts = Vec::new();
        let mut problems = Vec::new();
        let mut spans = placeholder_spans(span, document).into_iter();
        let mut rest = text;
        while let Some(start) = rest.find("${{") {
            if start > 0 {
                parts.push(TemplatePart::Text(rest[..start].to_owned()));
            }
            let placeholder_span = spans.next().unwrap_or(span);
            let after = &rest[start + 3..];
            let Some(end) = after.find("}}") else {
                let unclosed =
                    Span::new(placeholder_span.start, span.end.min(placeholder_span.end));
                problems.push(
                    SourceProblem::at(unclosed, "unclosed `${{`").help("write `${{ name }}`"),
                );
                rest = "";
                break;
            };
            match placeholder(after[..end].trim(), placeholder_span, services) {
                Ok(placeholder) => {
                    parts.push(TemplatePart::Placeholder(placeholder, placeholder_span))
                }
                Err(problem) => problems.push(*problem),
            }
            rest = &after[end + 2..];
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        if problems.is_empty() {
            Ok(Self {
                text: text.to_owned(),
                parts,
                span,
            })
        } else {
            Err(problems)
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn placeholder(
    name: &str,
    span: Span,
    services: &BTreeSet<ServiceName>,
) -> Result<Placeholder, Box<SourceProblem>> {
    match name {
        "service.name" => return Ok(Placeholder::ServiceName),
        "service.commit" => return Ok(Placeholder::ServiceCommit),
        "service.branch" => return Ok(Placeholder::ServiceBranch),
        _ => {}
    }
    if let Some(variable) = name.strip_prefix("env.") {
        return if is_variable(variable) {
            Ok(Placeholder::Environment(variable.to_owned()))
        } else {
            let message = format!("invalid environment variable name `{variable}`");
            Err(Box::new(SourceProblem::at(span, message)))
        };
    }
    if let Some(rest) = name.strip_prefix("services.")
        && let Some((service, property)) = rest.rsplit_once('.')
        && matches!(property, "image" | "commit")
    {
        let names = || services.iter().map(ServiceName::as_str);
        return match ServiceName::find(services, service) {
            Some(name) if property == "image" => Ok(Placeholder::ImageOf(name.clone())),
            Some(name) => Ok(Placeholder::CommitOf(name.clone())),
            None => {
                let problem = SourceProblem::at(span, format!("unknown service `{service}`"))
                    .maybe_help(suggest::hint(service, "known services", names()));
                Err(Box::new(problem))
            }
        };
    }
    let mut known: Vec<String> = ["service.name", "service.commit", "service.branch"]
        .map(str::to_owned)
        .to_vec();
    for service in services {
        known.push(format!("services.{service}.image"));
        known.push(format!("services.{service}.commit"));
    }
    // Only the prefix can be corrected, not the name of the variable.
    if let Some((prefix, variable)) = name.split_once('.')
        && is_variable(variable)
        && matches!(prefix, "ENV" | "Env" | "environment" | "envs")
    {
        known.push(format!("env.{variable}"));
    }
    let problem = SourceProblem::at(span, format!("unknown placeholder `{name}`"));
    Err(Box::new(
        match suggest::nearest(name, known.iter().map(String::as_str)) {
            Some(nearest) => problem.help(suggest::did_you_mean(format!("${{{{ {nearest} }}}}"))),
            None => problem.help(
                "known placeholders: `service.name`, `service.commit`, `service.branch`, \
             `services.NAME.image`, `services.NAME.commit`, `env.NAME`",
            ),
        },
    ))
}

/// Returns whether a string is a valid name of an environment variable or build argument.
pub(super) fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns the positions of the placeholders of a scalar. The source text may differ from the value (quotes,
/// escapes, folded lines), but the placeholders are in the same order.
fn placeholder_spans(span: Span, document: &str) -> Vec<Span> {
    let source = document.get(span.start..span.end).unwrap_or("");
    source
        .match_indices("${{")
        .map(|(index, _)| {
            let rest = &source[index..];
            let line = rest.lines().next().unwrap_or(rest).trim_end().len();
            let length = rest.find("}}").map_or(line, |end| (end + 2).min(line));
            Span::new(span.start + index, span.start + index + length)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, Vec<SourceProblem>> {
        let services = ["zfrontend", "a.b"].map(|name| name.parse().unwrap());
        let services = BTreeSet::from(services);
        Template::parse(text, Span::new(0, text.len()), text, &services)
    }

    #[test]
    fn placeholders_are_found() {
        let template =
            parse("x${{ service.name }}-${{services.a.b.image}}$y${{ env.A_1 }}").unwrap();
        let name = "a.b".parse().unwrap();
        assert_eq!(
            template.parts,
            [
                TemplatePart::Text("x".to_owned()),
                TemplatePart::Placeholder(Placeholder::ServiceName, Span::new(1, 20)),
                TemplatePart::Text("-".to_owned()),
                TemplatePart::Placeholder(Placeholder::ImageOf(name), Span::new(21, 44)),
                TemplatePart::Text("$y".to_owned()),
                TemplatePart::Placeholder(
                    Placeholder::Environment("A_1".to_owned()),
                    Span::new(46, 60)
                ),
            ]
        );
        assert!(template.reads_environment());
        assert_eq!(template.services().count(), 1);
    }

    #[test]
    fn strings_without_placeholders_are_unchanged() {
        for text in [
            "",
            "plain",
            "$X",
            "${X}",
            "{{ x }}",
            "$ {{",
            "}}",
            "\u{20ac}${",
        ] {
            let template = parse(text).unwrap();
            assert_eq!(template.literals().collect::<String>(), text);
            assert_eq!(template.as_written(), text);
        }
    }

    #[test]
    fn every_invalid_placeholder_is_reported() {
        assert_eq!(
            parse("${{ x }}${{ service.nam }}${{ env. }}${{ services.q.image }}")
                .unwrap_err()
                .len(),
            4
        );
        assert_eq!(parse("${{ }}").unwrap_err().len(), 1);
        assert_eq!(parse("a ${{ service.name").unwrap_err().len(), 1);
    }
}
