//! Decodes an environment that is a compose project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::super::deploy::ComposeEnvironment;
use super::super::error::SourceProblem;
use super::super::name::{EnvironmentName, ServiceName};
use super::super::node::NodeKind;
use super::context::{DecodeContext, DecodedValue, Fields};
use super::path::within_folder;
use crate::base::suggest;

/// The keys of an environment that is a compose project.
pub(super) struct ComposeFields<'n> {
    compose: Option<DecodedValue<'n>>,
    project: Option<DecodedValue<'n>>,
    profiles: Option<DecodedValue<'n>>,
    services: Option<DecodedValue<'n>>,
}

impl<'n> ComposeFields<'n> {
    pub(super) fn take(fields: &mut Fields<'n>) -> Self {
        Self {
            compose: fields.take("compose"),
            project: fields.take("project"),
            profiles: fields.take("profiles"),
            services: fields.take("services"),
        }
    }

    /// Returns whether the environment is a compose project.
    pub(super) fn is_used(&self) -> bool {
        self.compose.is_some()
    }

    /// Reports the keys that require `compose`.
    pub(super) fn report_unused(&self, cx: &mut DecodeContext, name: &EnvironmentName) {
        let keys = [
            ("project", &self.project),
            ("profiles", &self.profiles),
            ("services", &self.services),
        ];
        for (key, value) in keys {
            if let Some(value) = value {
                let message = format!("environment `{name}` has `{key}` but no `compose`");
                cx.report(
                    SourceProblem::at(value.key_span, message)
                        .help("add its compose file: `compose: docker-compose.yml`"),
                );
            }
        }
    }

    /// Decodes the environment.
    pub(super) fn environment(
        self,
        cx: &mut DecodeContext,
        name: &EnvironmentName,
        timeout: Duration,
        verify: bool,
    ) -> Option<ComposeEnvironment> {
        let files = self.compose.and_then(|value| files(cx, &value));
        let project = match self.project {
            None => Some(None),
            Some(value) => value.parse_with(cx, project).map(Some),
        };
        let profiles = self.profiles.map(|value| {
            let items = value.items(cx).into_iter();
            items
                .filter_map(|item| item.parse_with(cx, profile))
                .collect()
        });
        let services = self
            .services
            .map(|value| services(cx, &value))
            .unwrap_or_default();
        Some(ComposeEnvironment {
            name: name.clone(),
            files: files?,
            project: project?,
            profiles: profiles.unwrap_or_default(),
            services,
            timeout,
            verify,
        })
    }
}

/// Returns one text or a list of texts.
fn one_or_more<'n>(cx: &mut DecodeContext, value: &DecodedValue<'n>) -> Vec<DecodedValue<'n>> {
    match value.node.kind {
        NodeKind::Scalar { .. } => vec![value.clone()],
        _ => value.items(cx),
    }
}

fn files(cx: &mut DecodeContext, value: &DecodedValue) -> Option<Vec<PathBuf>> {
    let items = one_or_more(cx, value);
    if items.is_empty() {
        if matches!(value.node.kind, NodeKind::Sequence(_)) {
            let message = format!("{} must not be empty", value.subject());
            cx.report(SourceProblem::at(value.span(), message));
        }
        return None;
    }
    let files = items
        .into_iter()
        .map(|item| item.parse_with(cx, within_folder));
    // Every problem is reported.
    let files: Vec<Option<PathBuf>> = files.collect();
    files.into_iter().collect()
}

fn services(cx: &mut DecodeContext, value: &DecodedValue) -> BTreeMap<ServiceName, Vec<String>> {
    let mut services = BTreeMap::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (entry, value) in value.entries(cx) {
        let service = ServiceName::find(&cx.services, &entry.key).cloned();
        if service.is_none() {
            let names = cx.services.iter().map(ServiceName::as_str);
            let hint = suggest::hint(&entry.key, "known services", names);
            let span = entry.key_span.first_line(cx.text);
            let message = format!("unknown service `{}`", entry.key);
            cx.report(SourceProblem::at(span, message).maybe_help(hint));
        }
        let mut names = Vec::new();
        for item in one_or_more(cx, &value) {
            let Some(name) = item.parse_with(cx, compose_service) else {
                continue;
            };
            if !taken.insert(name.clone()) {
                let message = format!("compose service `{name}` is listed twice");
                let span = item.span().first_line(cx.text);
                cx.report(SourceProblem::at(span, message).help("it can run only one image"));
            }
            names.push(name);
        }
        services.extend(service.map(|service| (service, names)));
    }
    services
}

fn project(text: &str) -> Result<String, String> {
    let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.starts_with(is_inside) && text.chars().all(|c| is_inside(c) || "_-".contains(c)) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "invalid project name `{text}`: must be lowercase letters, digits, `_` and `-`, starting with a letter or digit"
    ))
}

fn profile(text: &str) -> Result<String, String> {
    name("profile", text)
}

fn compose_service(text: &str) -> Result<String, String> {
    name("compose service", text)
}

/// Checks a name with the rules of the compose specification.
fn name(what: &str, text: &str) -> Result<String, String> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_first = |c: char| is_inside(c) && c != '-';
    if text.starts_with(is_first) && text.chars().all(is_inside) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "invalid {what} `{text}`: must be letters, digits, `.`, `_` and `-`, and not start with `-`"
    ))
}
