//! Parses a lock, reporting all problems at once with their lines.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::render::HEADER;
use super::{Lock, LockedService, VERSION};
use crate::base::error::{Diagnostic, Exit};
use crate::base::shell::quoted;
use crate::model::image::{ImageReference, Tag};
use crate::model::manifest::decode::context::{DecodeContext, DecodedValue, Fields};
use crate::model::manifest::decode::path::within_repository;
use crate::model::manifest::document::ManifestText;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::node::{Node, NodeKind};
use crate::model::manifest::span::Span;
use crate::model::manifest::yaml;
use crate::model::manifest::{ManifestError, ServiceName};
use crate::model::plan::BaseDigests;
use crate::model::recipe::InputDigest;
use crate::model::source::{CommitId, GitUrl, RefName, SourceRemote};

/// The hint for a damaged lock.
const RESTORE: &str = "xp does not change a lock that it cannot read: \
    restore the last good one from git, or delete the file and run `xp lock`";

/// An invalid lock: each problem with line, column and a hint.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{report}")]
pub struct InvalidLock {
    report: ManifestError,
}

impl InvalidLock {
    /// Creates the error for a file that could not be read.
    pub fn unreadable(file: &str, problem: SourceProblem) -> Self {
        Self {
            report: ManifestError::unreadable(file.to_owned(), problem),
        }
    }

    /// Returns the problems.
    pub fn report(&self) -> &ManifestError {
        &self.report
    }

    /// Returns the report, optionally with colors.
    pub fn render(&self, color: bool) -> String {
        self.report.render(color)
    }
}

impl Diagnostic for InvalidLock {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Parses a lock; `file` is its name in errors.
///
/// # Errors
///
/// All problems at once.
pub fn parse(text: &str, file: &str) -> Result<Lock, InvalidLock> {
    parse_set(text, file, true)
}

/// Parses the images of a deploy record. Unlike a lock, it may have images that were never pushed.
///
/// # Errors
///
/// All problems at once.
pub fn parse_deployed(text: &str, file: &str) -> Result<Lock, InvalidLock> {
    parse_set(text, file, false)
}

fn parse_set(text: &str, file: &str, requires_digests: bool) -> Result<Lock, InvalidLock> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = Arc::new(ManifestText {
        path: file.to_owned(),
        text: text.to_owned(),
    });
    let failed = |problems| {
        Err(InvalidLock {
            report: ManifestError::new(&document, problems),
        })
    };
    if let Some(problem) = merge_conflict(file, text) {
        return failed(vec![problem]);
    }
    let mut problems = Vec::new();
    let node = yaml::read(text, "lock", &mut problems);
    let node = match node {
        Some(node) if !matches!(node.kind, NodeKind::Null) => node,
        _ => {
            if problems.is_empty() {
                problems.push(SourceProblem::without_span("the lock is empty"));
            }
            return failed(problems.into_iter().map(|it| it.help(RESTORE)).collect());
        }
    };
    let mut cx = DecodeContext::new(text, problems);
    let services = root(&mut cx, &node, requires_digests);
    if !cx.problems.is_empty() {
        return failed(cx.problems);
    }
    Ok(Lock {
        services,
        header: Some(header(text)).filter(|header| header != HEADER),
    })
}

/// Returns a problem if there is a git conflict marker.
fn merge_conflict(file: &str, text: &str) -> Option<SourceProblem> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let is_marker = ["<<<<<<< ", ">>>>>>> ", "||||||| "]
            .iter()
            .any(|marker| line.starts_with(marker))
            || line.trim_end() == "=======";
        if is_marker {
            let span = Span::new(start, start + line.trim_end().len());
            let problem = SourceProblem::at(span, "the lock has an unresolved merge conflict")
                .help(format!(
                    "take one side with `git checkout --ours {0}` or `git checkout --theirs {0}`, then run `xp lock`",
                    quoted(file)
                ));
            return Some(problem);
        }
        start += line.len();
    }
    None
}

/// Returns the comment at the top.
fn header(text: &str) -> String {
    let comment = |line: &&str| line.starts_with('#') || line.trim().is_empty();
    let lines = text.lines().take_while(comment);
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

fn root(
    cx: &mut DecodeContext,
    node: &Node,
    requires_digests: bool,
) -> BTreeMap<ServiceName, LockedService> {
    let mut services = BTreeMap::new();
    let value = DecodedValue {
        node,
        path: String::new(),
        key_span: node.span,
        is_item: false,
    };
    if !matches!(node.kind, NodeKind::Mapping(_)) {
        let message = format!(
            "the lock must be a mapping with the key `services`, not {}",
            node.describe()
        );
        cx.report(SourceProblem::at(node.span.first_line(cx.text), message).help(RESTORE));
        return services;
    }
    let Some(mut fields) = value.fields(cx) else {
        return services;
    };
    // Without a version, xp did not write it; of a newer version, nothing else can be checked.
    match fields.take("version") {
        Some(version) if !check_version(cx, &version) => return services,
        Some(_) => {}
        None => cx.report(SourceProblem::without_span("the lock has no `version`").help(RESTORE)),
    }
    match fields.take("services") {
        None => cx.report(SourceProblem::without_span("the lock has no `services`").help(RESTORE)),
        Some(value) => {
            for (entry, value) in value.entries(cx) {
                let name = match entry.key.parse::<ServiceName>() {
                    Ok(name) => Some(name),
                    Err(error) => {
                        let span = entry.key_span.first_line(cx.text);
                        cx.report(SourceProblem::at(span, error.to_string()));
                        None
                    }
                };
                let service = service(cx, &value, requires_digests);
                services.extend(name.zip(service));
            }
        }
    }
    fields.finish(cx);
    services
}

fn check_version(cx: &mut DecodeContext, value: &DecodedValue) -> bool {
    let Some(text) = value.text(cx) else {
        return false;
    };
    let span = text.span.first_line(cx.text);
    match text.text.parse::<u64>() {
        Ok(VERSION) => return true,
        Ok(newer) if newer > VERSION => {
            let message = format!(
                "the lock was written by a newer xp: its format version is {newer}, but this xp supports {VERSION}"
            );
            cx.report(
                SourceProblem::at(span, message).help("use that version of xp or a later one"),
            );
        }
        _ => {
            let message = format!("invalid lock version `{}`", text.text);
            cx.report(SourceProblem::at(span, message).help(RESTORE));
        }
    }
    false
}

fn service(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    requires_digest: bool,
) -> Option<LockedService> {
    let mut fields = value.fields(cx)?;
    let remote = match fields.take("scm") {
        Some(plugin) => plugin
            .text(cx)
            .map(|it| SourceRemote::Plugin(it.text.to_owned())),
        None => {
            let remote = required(cx, &mut fields, "remote", value);
            let remote = remote.and_then(|it| it.parse_with(cx, self::remote));
            remote.map(SourceRemote::Git)
        }
    };
    let reference = required(cx, &mut fields, "reference", value).and_then(|it| it.parse(cx));
    let name = fields.take("name").map(|it| it.parse_with(cx, full_name));
    let path = fields
        .take("path")
        .map(|it| it.parse_with(cx, within_repository));
    let commit = required(cx, &mut fields, "commit", value);
    let commit: Option<CommitId> = commit.and_then(|it| it.parse(cx));
    let image_value = required(cx, &mut fields, "image", value);
    let image = image_value
        .as_ref()
        .and_then(|it| it.parse::<ImageReference>(cx));
    let digest = fields.take("digest").map(|it| it.parse(cx));
    let has_registry = |image: &ImageReference| image.repository().registry().is_some();
    if requires_digest && digest.is_none() && image.as_ref().is_some_and(has_registry) {
        // Without it, any image that the tag points to later would be used.
        let name = value.path.trim_start_matches("services.");
        let message = format!("service `{name}` has no `digest`, but its image is in a registry");
        cx.report(SourceProblem::at(value.key_span, message).help(RESTORE));
    }
    let recipe = required(cx, &mut fields, "recipe", value);
    let recipe = recipe.and_then(|it| it.parse_with(cx, self::recipe));
    let builder = fields.take("builder").map(|it| it.parse(cx));
    let bases = fields.take("bases").map(|it| bases(cx, &it));
    fields.finish(cx);
    if let (Some(commit), Some(image), Some(value)) = (commit, &image, &image_value) {
        let belongs =
            |tag: &Tag| *tag == Tag::from_commit(commit) || tag.variant_of(commit).is_some();
        if !image.tag().is_some_and(belongs) || image.digest().is_some() {
            let span = value.node.span.first_line(cx.text);
            let message =
                "`image` and `commit` do not match: the image's tag must begin with the commit";
            cx.report(
                SourceProblem::at(span, message)
                    .help("the lock was edited manually; run `xp lock` to write both fields and everything that depends on them"),
            );
        }
    }
    Some(LockedService {
        remote: remote?,
        reference: reference?,
        name: optional(name)?,
        path: optional(path)?,
        commit: commit?,
        image: image?,
        digest: optional(digest)?,
        recipe: recipe?,
        builder: optional(builder)?,
        bases: bases.unwrap_or_default(),
    })
}

/// Returns base images with their digests. Invalid ones are reported.
fn bases(cx: &mut DecodeContext, value: &DecodedValue) -> BaseDigests {
    let mut bases = BaseDigests::new();
    for (entry, value) in value.entries(cx) {
        let digest = value.parse(cx);
        match entry.key.parse::<ImageReference>() {
            Ok(base) => bases.extend(digest.map(|digest| (base, digest))),
            Err(error) => {
                let span = entry.key_span.first_line(cx.text);
                cx.report(SourceProblem::at(span, error.to_string()));
            }
        }
    }
    bases
}

/// Returns a required value.
fn required<'n>(
    cx: &mut DecodeContext,
    fields: &mut Fields<'n>,
    key: &'static str,
    service: &DecodedValue,
) -> Option<DecodedValue<'n>> {
    let value = fields.take(key);
    if value.is_none() {
        let name = service.path.trim_start_matches("services.");
        let message = format!("service `{name}` has no `{key}`");
        cx.report(SourceProblem::at(service.key_span, message).help(RESTORE));
    }
    value
}

/// Returns an optional value; `None` if it is invalid, which was reported.
fn optional<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}

fn remote(text: &str) -> Result<GitUrl, String> {
    let url: GitUrl = text.parse().map_err(display)?;
    if url.password().is_some() || url.has_secret_user() {
        return Err("a lock must not contain credentials".to_owned());
    }
    Ok(url)
}

fn full_name(text: &str) -> Result<RefName, String> {
    let name: RefName = text.parse().map_err(display)?;
    if !text.starts_with("refs/") {
        return Err(format!(
            "must be a full name such as `refs/heads/master`, not `{text}`"
        ));
    }
    Ok(name)
}

fn recipe(text: &str) -> Result<InputDigest, String> {
    InputDigest::parse(text).ok_or_else(|| format!("invalid recipe digest `{text}`"))
}

fn display(error: impl fmt::Display) -> String {
    error.to_string()
}

/// Returns the number of the first line with a comment other than the one at the top. `xp lock` would lose it.
pub fn line_with_comment(text: &str) -> Option<usize> {
    let rest = text.lines().enumerate().skip(header(text).lines().count());
    let mut commented = rest.filter(|(_, line)| {
        line.match_indices('#').any(|(at, _)| {
            let before = &line[..at];
            let is_quoted = ['"', '\'']
                .iter()
                .any(|quote| before.matches(*quote).count() % 2 == 1);
            !is_quoted && (before.trim().is_empty() || before.ends_with([' ', '\t']))
        })
    });
    commented.next().map(|(index, _)| index + 1)
}
