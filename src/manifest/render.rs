//! Placeholders to values, once commits are known.

use super::Manifest;
use super::error::{ManifestError, Problem};
use super::name::ServiceName;
use super::suggest;
use super::template::{Part, Placeholder, Template};
use crate::image::Tag;
use crate::shell::quoted;
use crate::source::CommitId;

/// What the placeholders of one service stand for.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// `service.name`
    pub service: &'a ServiceName,
    /// `service.commit`
    pub commit: CommitId,
    /// `service.branch`; none for a tag or a bare commit.
    pub branch: Option<&'a str>,
    /// `services.NAME.image`, the full reference by commit tag, and `services.NAME.commit`.
    pub services: &'a dyn Fn(&ServiceName) -> Option<(String, CommitId)>,
    /// `env.NAME`
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A path of a service's `git` that its repository does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongPath {
    /// `git.path`, or an item of `git.include`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// What stands where it was looked for.
    pub near: Vec<String>,
    /// What can be done about it.
    pub help: Option<String>,
}

/// What a service takes of the caller's machine, and is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingInput {
    /// The service.
    pub service: ServiceName,
    /// The key that asks for it, such as `docker.secrets.npm`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What can be done about it.
    pub help: String,
}

impl Manifest {
    /// Returns a template's text with every placeholder replaced.
    ///
    /// # Errors
    ///
    /// A variable that is not set, a branch where the service has none, and a service that was
    /// not resolved, with the place in the manifest; all of them at once.
    pub fn render(&self, template: &Template, values: &Values) -> Result<String, ManifestError> {
        self.render_parts(template, values, |_, value| value.to_owned())
    }

    /// Returns a template's text as a word of a shell, in which variables of the environment stand by
    /// their names: the shell replaces them, and complains about one that is not set.
    ///
    /// # Errors
    ///
    /// As [`Manifest::render`].
    pub fn render_for_shell(
        &self,
        template: &Template,
        values: &Values,
    ) -> Result<String, ManifestError> {
        self.render_parts(template, values, |placeholder, value| match placeholder {
            Some(Placeholder::Environment(name)) => format!("\"${{{name}?}}\""),
            _ => quoted(value).into_owned(),
        })
    }

    /// Returns a template's text, each part as `written` has it: the placeholder, and what it stands for.
    fn render_parts(
        &self,
        template: &Template,
        values: &Values,
        written: impl Fn(Option<&Placeholder>, &str) -> String,
    ) -> Result<String, ManifestError> {
        let mut text = String::new();
        let mut problems = Vec::new();
        for part in &template.parts {
            match part {
                Part::Text(part) => text.push_str(&written(None, part)),
                Part::Placeholder(placeholder, span) => match value_of(placeholder, values) {
                    Ok(value) => text.push_str(&written(Some(placeholder), &value)),
                    Err((message, help)) => problems.push(Problem::at(*span, message).help(help)),
                },
            }
        }
        if problems.is_empty() {
            Ok(text)
        } else {
            Err(ManifestError::new(&self.document, problems))
        }
    }

    /// Returns the error of paths of `git` that the repository does not have, each with its service,
    /// what is wrong with it, and what helps.
    pub fn wrong_paths(
        &self,
        wrong: impl IntoIterator<Item = (ServiceName, WrongPath)>,
    ) -> ManifestError {
        let problems = wrong.into_iter().map(|(service, wrong)| {
            let span = self
                .places
                .get(&service)
                .and_then(|places| places.paths.get(&wrong.path));
            let problem = match span {
                Some(span) => Problem::at(span.first_line(&self.document.text), wrong.message),
                None => Problem::of_the_file(wrong.message),
            };
            let near = wrong.near.iter().map(String::as_str);
            problem
                .maybe_help(suggest::hint(&wrong.path, "the folders there", near))
                .maybe_help(wrong.help)
        });
        ManifestError::new(&self.document, problems.collect())
    }

    /// Returns the error of what services take of this machine and is not there, such as a secret's file.
    pub fn missing_inputs(&self, missing: impl IntoIterator<Item = MissingInput>) -> ManifestError {
        let problems = missing.into_iter().map(|missing| {
            let places = self.places.get(&missing.service);
            let span = places.and_then(|places| places.inputs.get(&missing.key));
            let message = format!("service `{}`: {}", missing.service, missing.message);
            let problem = match span {
                Some(span) => Problem::at(span.first_line(&self.document.text), message),
                None => Problem::of_the_file(message),
            };
            problem.help(missing.help)
        });
        ManifestError::new(&self.document, problems.collect())
    }

    /// Returns the tag that a template of `docker.tags` becomes.
    ///
    /// # Errors
    ///
    /// As [`Manifest::render`], and a text that is not a legal tag, or that of another commit's image.
    pub fn render_tag(&self, template: &Template, values: &Values) -> Result<Tag, ManifestError> {
        let text = self.render(template, values)?;
        let failed = |message: String| {
            let span = template.span.first_line(&self.document.text);
            Problem::at(span, message).label("with its placeholders replaced")
        };
        let failure = |problem| ManifestError::new(&self.document, vec![problem]);
        let tag: Tag = text
            .parse()
            .map_err(|error| failure(failed(format!("{error}"))))?;
        match tag.named_commit() {
            Some(commit) if commit != values.commit => {
                let message = format!("the tag `{tag}` is that of the image of another commit");
                let help = "put something before the commit, such as `from-`";
                Err(failure(failed(message).help(help)))
            }
            _ => Ok(tag),
        }
    }
}

/// Returns a value, or what is wrong and what helps.
fn value_of(placeholder: &Placeholder, values: &Values) -> Result<String, (String, String)> {
    let unresolved = |name: &ServiceName| {
        let message = format!("the commit of service `{name}` is not known here");
        (
            message,
            "this is a mistake in xp, worth a report".to_owned(),
        )
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
            let message = format!("the environment variable `{name}` is not set");
            (
                message,
                format!("set it: `{name}=… xp …`, empty if need be"),
            )
        }),
    }
}
