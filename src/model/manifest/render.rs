//! Replaces placeholders, once commits are known.

use super::Manifest;
use super::error::{ManifestError, SourceProblem};
use super::name::ServiceName;
use super::template::{Placeholder, Template, TemplatePart};
use crate::base::shell::quoted;
use crate::base::suggest;
use crate::model::image::Tag;
use crate::model::source::CommitId;

/// Values of the placeholders of one service.
#[derive(Clone, Copy)]
pub struct PlaceholderValues<'a> {
    /// `service.name`
    pub service: &'a ServiceName,
    /// `service.commit`
    pub commit: CommitId,
    /// `service.branch`; `None` for a tag or a bare commit.
    pub branch: Option<&'a str>,
    /// `services.NAME.image`, the full reference by commit tag, and `services.NAME.commit`.
    pub services: &'a dyn Fn(&ServiceName) -> Option<(String, CommitId)>,
    /// `env.NAME`
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A path in a service's `git` section that does not exist in its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidGitPath {
    /// `git.path`, or an item of `git.include`; empty for `git.exclude`.
    pub path: String,
    /// The error message.
    pub message: String,
    /// The entries of the folder it was expected in.
    pub near: Vec<String>,
    /// A hint.
    pub help: Option<String>,
}

/// A missing input from the caller's machine, such as the file of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingInput {
    pub service: ServiceName,
    /// The manifest key that requires it, such as `docker.secrets.npm`.
    pub key: String,
    /// The error message.
    pub message: String,
    /// A hint.
    pub help: String,
}

impl Manifest {
    /// Replaces all placeholders of a template.
    ///
    /// # Errors
    ///
    /// An environment variable is not set, the service is not built from a branch, or a service was not resolved.
    /// All of them are reported at once, with their positions.
    pub fn render(
        &self,
        template: &Template,
        values: &PlaceholderValues,
    ) -> Result<String, ManifestError> {
        self.render_parts(template, values, |_, value| value.to_owned())
    }

    /// Renders a template as one shell word. Environment variables stay references, which the shell expands and
    /// reports if they are not set.
    ///
    /// # Errors
    ///
    /// Same as [`Manifest::render`].
    pub fn render_for_shell(
        &self,
        template: &Template,
        values: &PlaceholderValues,
    ) -> Result<String, ManifestError> {
        self.render_parts(template, values, |placeholder, value| match placeholder {
            Some(Placeholder::Environment(name)) => format!("\"${{{name}?}}\""),
            _ => quoted(value).into_owned(),
        })
    }

    /// Renders a template, formatting each part with `written`, which gets the placeholder, if any, and its value.
    fn render_parts(
        &self,
        template: &Template,
        values: &PlaceholderValues,
        written: impl Fn(Option<&Placeholder>, &str) -> String,
    ) -> Result<String, ManifestError> {
        let mut text = String::new();
        let mut problems = Vec::new();
        for part in &template.parts {
            match part {
                TemplatePart::Text(part) => text.push_str(&written(None, part)),
                TemplatePart::Placeholder(placeholder, span) => match value_of(placeholder, values)
                {
                    Ok(value) => text.push_str(&written(Some(placeholder), &value)),
                    Err((message, help)) => {
                        problems.push(SourceProblem::at(*span, message).help(help))
                    }
                },
            }
        }
        if problems.is_empty() {
            Ok(text)
        } else {
            Err(ManifestError::new(&self.document, problems))
        }
    }

    /// Creates the error for paths that do not exist in their repositories.
    pub fn invalid_git_paths(
        &self,
        wrong: impl IntoIterator<Item = (ServiceName, InvalidGitPath)>,
    ) -> ManifestError {
        let problems = wrong.into_iter().map(|(service, wrong)| {
            let span = self
                .spans
                .get(&service)
                .and_then(|spans| spans.paths.get(&wrong.path).or(spans.exclude.as_ref()));
            let problem = match span {
                Some(span) => {
                    SourceProblem::at(span.first_line(&self.document.text), wrong.message)
                }
                None => SourceProblem::without_span(wrong.message),
            };
            let near = wrong.near.iter().map(String::as_str);
            problem
                .maybe_help(suggest::hint(&wrong.path, "folders there", near))
                .maybe_help(wrong.help)
        });
        ManifestError::new(&self.document, problems.collect())
    }

    /// Creates the error for inputs that are missing on this machine, such as the file of a secret.
    pub fn missing_inputs(&self, missing: impl IntoIterator<Item = MissingInput>) -> ManifestError {
        let problems = missing.into_iter().map(|missing| {
            let spans = self.spans.get(&missing.service);
            let span = spans.and_then(|spans| spans.inputs.get(&missing.key));
            let message = format!("service `{}`: {}", missing.service, missing.message);
            let problem = match span {
                Some(span) => SourceProblem::at(span.first_line(&self.document.text), message),
                None => SourceProblem::without_span(message),
            };
            problem.help(missing.help)
        });
        ManifestError::new(&self.document, problems.collect())
    }

    /// Renders a template of `docker.tags`.
    ///
    /// # Errors
    ///
    /// Same as [`Manifest::render`]; the result is not a valid tag, or is reserved for another commit's image.
    pub fn render_tag(
        &self,
        template: &Template,
        values: &PlaceholderValues,
    ) -> Result<Tag, ManifestError> {
        let text = self.render(template, values)?;
        let failed = |message: String| {
            let span = template.span.first_line(&self.document.text);
            SourceProblem::at(span, message).label("after placeholders were replaced")
        };
        let failure = |problem| ManifestError::new(&self.document, vec![problem]);
        let tag: Tag = text
            .parse()
            .map_err(|error| failure(failed(format!("{error}"))))?;
        match tag.named_commit() {
            Some(commit) if commit != values.commit => {
                let message =
                    format!("the tag `{tag}` is reserved for the image of another commit");
                let help = "add a prefix before the commit, such as `from-`";
                Err(failure(failed(message).help(help)))
            }
            _ => Ok(tag),
        }
    }
}

/// Returns the value of a placeholder, or the error message and a hint.
fn value_of(
    placeholder: &Placeholder,
    values: &PlaceholderValues,
) -> Result<String, (String, String)> {
    let unresolved = |name: &ServiceName| {
        let message = format!("the commit of service `{name}` is unknown");
        (message, "this is a bug in xp; report it".to_owned())
    };
    match placeholder {
        Placeholder::ServiceName => Ok(values.service.to_string()),
        Placeholder::ServiceCommit => Ok(values.commit.to_string()),
        Placeholder::ServiceBranch => values.branch.map(str::to_owned).ok_or_else(|| {
            let message = format!("service `{}` is not built from a branch", values.service);
            (
                message,
                "its `git.reference` is a tag or a commit; use `service.commit`".to_owned(),
            )
        }),
        Placeholder::ImageOf(name) => (values.services)(name)
            .map(|(image, _)| image)
            .ok_or_else(|| unresolved(name)),
        Placeholder::CommitOf(name) => (values.services)(name)
            .map(|(_, commit)| commit.to_string())
            .ok_or_else(|| unresolved(name)),
        Placeholder::Environment(name) => (values.env)(name).ok_or_else(|| {
            let message = format!("environment variable `{name}` is not set");
            (
                message,
                format!("set it, to an empty value if necessary: `{name}=… xp …`"),
            )
        }),
    }
}
