//! Decodes `docker` of a service.

use std::collections::BTreeMap;

use super::super::error::SourceProblem;
use super::super::node::NodeKind;
use super::super::service::{BaseTracking, Docker, SecretSource};
use super::super::source_path::SourcePath;
use super::super::span::Span;
use super::super::template::Template;
use super::check_variable;
use super::context::{DecodeContext, DecodedValue};
use super::secrets::{secrets, ssh};
use crate::model::image::{ImageRepository, Platform, RegistryPrefix, Tag};

/// The valid parts of `docker`.
pub(super) struct DecodedDocker {
    pub image: Option<(ImageRepository, Span)>,
    /// Whether `docker.image` is set, even if it is invalid.
    pub has_image: bool,
    file: SourcePath,
    context: SourcePath,
    target: Option<String>,
    pub args: BTreeMap<String, Template>,
    pub secrets: BTreeMap<String, SecretSource>,
    ssh: bool,
    pub tags: Vec<Template>,
    bases: BaseTracking,
    cache: bool,
    pub platforms: Vec<Platform>,
    /// The positions of inputs from the caller's machine, by key.
    pub input_spans: BTreeMap<String, Span>,
}

impl DecodedDocker {
    /// Returns the Dockerfile.
    pub fn file(&self) -> &SourcePath {
        &self.file
    }

    /// Returns the settings, if the image's name is valid.
    pub fn complete(self) -> Option<Docker> {
        let Self {
            image,
            has_image: _,
            file,
            context,
            target,
            args,
            secrets,
            ssh,
            tags,
            bases,
            cache,
            platforms,
            input_spans: _,
        } = self;
        Some(Docker {
            image: image?.0,
            file,
            context,
            target,
            args,
            secrets,
            ssh,
            tags,
            bases,
            cache,
            platforms,
        })
    }
}

pub(super) fn docker(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    registry: Option<&RegistryPrefix>,
) -> Option<DecodedDocker> {
    let mut fields = value.fields(cx)?;
    let image = fields.take("image");
    let has_image = image.is_some();
    let image = image.and_then(|value| {
        let image: ImageRepository = value.parse(cx)?;
        Some((image.with_prefix(registry), value.span()))
    });
    let file = fields
        .take("file")
        .and_then(|value| value.parse_with(cx, dockerfile));
    let context = fields
        .take("context")
        .and_then(|value| value.parse_with(cx, SourcePath::parse));
    let target = fields
        .take("target")
        .and_then(|value| value.parse_with(cx, target));
    let args = fields
        .take("args")
        .map(|value| args(cx, &value, "build argument"));
    let mut input_spans = BTreeMap::new();
    let secrets = fields
        .take("secrets")
        .map(|value| secrets(cx, &value, &mut input_spans));
    let ssh = fields.take("ssh").and_then(|value| {
        input_spans.insert("docker.ssh".to_owned(), value.span());
        ssh(cx, &value)
    });
    let tags = fields.take("tags").map(|value| tags(cx, &value));
    let bases = fields
        .take("bases")
        .and_then(|value| value.parse_with(cx, bases));
    let cache = fields.take("cache").and_then(|value| value.boolean(cx));
    let platforms = fields.take("platforms").map(|value| {
        input_spans.insert("docker.platforms".to_owned(), value.key_span);
        platforms(cx, &value)
    });
    fields.finish(cx);
    Some(DecodedDocker {
        image,
        has_image,
        file: file.unwrap_or_else(SourcePath::dockerfile),
        context: context.unwrap_or_default(),
        target,
        args: args.unwrap_or_default(),
        secrets: secrets.unwrap_or_default(),
        ssh: ssh.unwrap_or(false),
        tags: tags.unwrap_or_default(),
        bases: bases.unwrap_or_default(),
        cache: cache.unwrap_or(false),
        platforms: platforms.unwrap_or_default(),
        input_spans,
    })
}

fn bases(text: &str) -> Result<BaseTracking, String> {
    match text {
        "track" => Ok(BaseTracking::Track),
        "ignore" => Ok(BaseTracking::Ignore),
        _ => Err(format!("must be `track` or `ignore`, not `{text}`")),
    }
}

/// Decodes the platforms of an image.
fn platforms(cx: &mut DecodeContext, value: &DecodedValue) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    let items = value.items(cx);
    if items.is_empty() && matches!(&value.node.kind, NodeKind::Sequence(_)) {
        let message = format!("`{}` must not be empty", value.path);
        cx.report(SourceProblem::at(value.key_span, message));
    }
    for item in items {
        let Some(platform) = item.parse_with(cx, platform) else {
            continue;
        };
        if platforms.contains(&platform) {
            let message = format!("`{platform}` is listed twice");
            cx.report(SourceProblem::at(item.span().first_line(cx.text), message));
        } else {
            platforms.push(platform);
        }
    }
    platforms
}

pub(super) fn platform(text: &str) -> Result<Platform, String> {
    let platform: Platform = text.parse().map_err(|error| format!("{error}"))?;
    match platform.system() {
        "linux" => Ok(platform),
        _ => Err(format!(
            "invalid platform `{text}`: xp builds images for Linux only, such as linux/arm64"
        )),
    }
}

fn dockerfile(text: &str) -> Result<SourcePath, String> {
    let path = SourcePath::parse(text)?;
    if path.is_top_folder() {
        return Err(format!("`{text}` is a folder, not a Dockerfile"));
    }
    Ok(path)
}

fn target(text: &str) -> Result<String, String> {
    let is_first = |c: char| c.is_ascii_alphanumeric();
    if text.starts_with(is_first) && text.chars().all(|c| is_first(c) || "._-".contains(c)) {
        Ok(text.to_owned())
    } else {
        Err(format!("invalid Dockerfile stage name `{text}`"))
    }
}

/// Decodes a mapping of build arguments or environment variables.
pub(super) fn args(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    what: &str,
) -> BTreeMap<String, Template> {
    let mut args = BTreeMap::new();
    for (entry, value) in value.entries(cx) {
        check_variable(cx, entry, what);
        if let Some(template) = value.template(cx) {
            args.insert(entry.key.clone(), template);
        }
    }
    args
}

fn tags(cx: &mut DecodeContext, value: &DecodedValue) -> Vec<Template> {
    let mut tags = Vec::new();
    for item in value.items(cx) {
        let Some(tag) = item.template(cx) else {
            continue;
        };
        match check_tag(&tag) {
            Ok(()) => tags.push(tag),
            Err(message) => cx.report(SourceProblem::at(item.span().first_line(cx.text), message)),
        }
    }
    tags
}

/// Validates a tag as far as possible before its placeholders are replaced.
fn check_tag(tag: &Template) -> Result<(), String> {
    let literals: String = tag.literals().collect();
    let has_placeholders = literals != tag.as_written();
    // A placeholder may come first, so the rest need not be valid at the start of a tag.
    let sample = if has_placeholders {
        format!("x{literals}")
    } else {
        literals
    };
    sample.parse::<Tag>().map(|_| ()).map_err(|error| {
        if has_placeholders {
            format!("invalid tag `{tag}`: only letters, digits, `_`, `.` and `-` are allowed")
        } else {
            error.to_string()
        }
    })
}
