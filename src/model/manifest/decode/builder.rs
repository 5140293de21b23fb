//! Decodes `dockerBuilder` of a service.

use std::collections::BTreeMap;

use super::super::error::SourceProblem;
use super::super::name::BuilderName;
use super::super::service::{Builder, BuilderImage, BuilderUser, DEFAULT_WORKDIR, Mount};
use super::super::span::Span;
use super::super::template::Template;
use super::context::{DecodeContext, DecodedValue};
use super::docker::args;
use super::path::in_container;
use super::quantity;
use crate::model::environment::{XP_BRANCH, XP_COMMIT, XP_IMAGE, XP_SERVICE};
use crate::model::image::ImageReference;

/// Variables that xp sets in every builder.
const RESERVED: [&str; 4] = [
    XP_SERVICE.name,
    XP_COMMIT.name,
    XP_BRANCH.name,
    XP_IMAGE.name,
];

/// The valid parts of `dockerBuilder`.
pub(super) struct DecodedBuilder {
    /// Whether `image` is set, even if it is invalid.
    pub has_image: bool,
    image: Option<BuilderImage>,
    workdir: String,
    pub env: BTreeMap<String, Template>,
    pub user: BuilderUser,
    pub network: Option<String>,
    /// The position of `network`.
    pub network_span: Option<Span>,
    cache: Vec<String>,
    mounts: Vec<Mount>,
    ssh: bool,
    socket: bool,
    memory: Option<u64>,
    cpus: Option<u64>,
    /// The position of `ssh`.
    pub ssh_span: Option<Span>,
}

impl DecodedBuilder {
    /// Returns the builder.
    pub fn complete(self) -> Builder {
        let Self {
            has_image: _,
            image,
            workdir,
            env,
            user,
            network,
            network_span: _,
            cache,
            mounts,
            ssh,
            socket,
            memory,
            cpus,
            ssh_span: _,
        } = self;
        Builder {
            image,
            workdir,
            env,
            user,
            network,
            cache,
            mounts,
            ssh,
            socket,
            memory,
            cpus,
        }
    }
}

pub(super) fn builder(cx: &mut DecodeContext, value: &DecodedValue) -> Option<DecodedBuilder> {
    let mut fields = value.fields(cx)?;
    let mut targets = Vec::new();
    let image = fields.take("image");
    let has_image = image.is_some();
    let image = image.and_then(|value| value.parse_with(cx, builder_image));
    let workdir = fields.take("workdir").and_then(|value| {
        let workdir = value.parse_with(cx, in_container)?;
        targets.push((workdir.clone(), value.span(), "workdir"));
        Some(workdir)
    });
    let env = fields.take("env").map(|value| env(cx, &value));
    let user = fields
        .take("user")
        .and_then(|value| value.parse_with(cx, user));
    let network_value = fields.take("network");
    let network_span = network_value.as_ref().map(DecodedValue::span);
    let network = network_value.and_then(|value| value.parse_with(cx, network));
    let cache = fields.take("cache").map(|value| {
        each(
            cx,
            &value,
            "cache",
            in_container,
            &mut targets,
            Clone::clone,
        )
    });
    let mounts = fields.take("mounts").map(|value| {
        each(cx, &value, "mount", mount, &mut targets, |mount: &Mount| {
            mount.target.clone()
        })
    });
    let ssh = fields.take("ssh");
    let ssh_span = ssh.as_ref().map(DecodedValue::span);
    let ssh = ssh.and_then(|value| value.boolean(cx));
    let socket = fields.take("socket").and_then(|value| value.boolean(cx));
    let memory = fields
        .take("memory")
        .and_then(|value| value.parse_with(cx, quantity::memory));
    let cpus = fields
        .take("cpus")
        .and_then(|value| value.parse_with(cx, quantity::cpus));
    fields.finish(cx);
    check_distinct(cx, &targets);
    Some(DecodedBuilder {
        has_image,
        image,
        workdir: workdir.unwrap_or_else(|| DEFAULT_WORKDIR.to_owned()),
        env: env.unwrap_or_default(),
        user: user.unwrap_or(BuilderUser::Caller),
        network,
        network_span,
        cache: cache.unwrap_or_default(),
        mounts: mounts.unwrap_or_default(),
        ssh: ssh.unwrap_or(false),
        socket: socket.unwrap_or(false),
        memory,
        cpus,
        ssh_span,
    })
}

/// Parses the image of a builder, of an item or of a plugin.
pub(super) fn builder_image(text: &str) -> Result<BuilderImage, String> {
    let Some(folder) = text.strip_prefix("builders/") else {
        return match text.parse() {
            Ok(image) => Ok(BuilderImage::External(image)),
            Err(error) => Err(error.to_string()),
        };
    };
    // Users write a tag out of habit (`:newest`), but the content ID determines the image.
    let (name, tag) = folder.split_once(':').unwrap_or((folder, "newest"));
    let name: BuilderName = name.parse().map_err(|error| format!("{error}"))?;
    let reference: Result<ImageReference, _> = format!("{}:{tag}", name.repository()).parse();
    match reference {
        Ok(reference) if reference.digest().is_none() => Ok(BuilderImage::Folder(name)),
        Ok(_) => Err("a builder image that xp builds must not have a digest".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn env(cx: &mut DecodeContext, value: &DecodedValue) -> BTreeMap<String, Template> {
    for (entry, _) in value
        .entries(cx)
        .iter()
        .filter(|(entry, _)| RESERVED.contains(&&*entry.key))
    {
        cx.report(SourceProblem::at(
            entry.key_span,
            format!("`{}` is reserved: xp sets it", entry.key),
        ));
    }
    // `entries` has already reported a value that is not a mapping.
    match value.node.kind {
        super::NodeKind::Mapping(_) => args(cx, value, "environment variable"),
        _ => BTreeMap::new(),
    }
}

fn user(text: &str) -> Result<BuilderUser, String> {
    match text {
        "caller" => return Ok(BuilderUser::Caller),
        "root" => return Ok(BuilderUser::Root),
        _ => {}
    }
    if let Some((uid, gid)) = text.split_once(':')
        && let (Some(uid), Some(gid)) = (id(uid), id(gid))
    {
        return Ok(BuilderUser::Ids { uid, gid });
    }
    Err(format!(
        "invalid user `{text}`: must be `caller`, `root`, or numeric IDs such as `1000:1000`"
    ))
}

fn id(text: &str) -> Option<u32> {
    // The kernel uses the highest number for "no user"; `parse` alone would accept a sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(text)?
        .parse()
        .ok()
        .filter(|id| *id != u32::MAX)
}

pub(super) fn network(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("container:").unwrap_or(text);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "invalid network `{text}`: must be `bridge`, `host`, `none`, `container:NAME`, or the name of a network"
        ))
    }
}

fn mount(text: &str) -> Result<Mount, String> {
    let invalid = || {
        format!(
            "invalid mount `{text}`: expected a form such as `~/.m2:/cache/m2` or `/etc/ssl:/etc/ssl:ro`"
        )
    };
    let (source, rest) = text.split_once(':').ok_or_else(invalid)?;
    let (target, read_only) = match rest.split_once(':') {
        None => (rest, false),
        Some((target, "ro")) => (target, true),
        Some((target, "rw")) => (target, false),
        Some((_, mode)) => {
            return Err(format!("invalid mount mode `{mode}`: must be `ro` or `rw`"));
        }
    };
    let is_absolute = source.starts_with('/') || source == "~" || source.starts_with("~/");
    if !is_absolute || source.chars().any(char::is_control) {
        return Err(format!(
            "`{source}` must be an absolute path, or start with `~/`"
        ));
    }
    if source.split('/').any(|part| part == "..") {
        return Err(format!("`{source}` must not contain `..`"));
    }
    Ok(Mount {
        source: source.to_owned(),
        target: in_container(target)?,
        read_only,
    })
}

/// A container path in use, the position of its key, and the kind of key.
type ContainerTarget = (String, Span, &'static str);

fn each<T>(
    cx: &mut DecodeContext,
    list: &DecodedValue,
    what: &'static str,
    parse: fn(&str) -> Result<T, String>,
    targets: &mut Vec<ContainerTarget>,
    target: impl Fn(&T) -> String,
) -> Vec<T> {
    let mut parsed = Vec::new();
    for item in list.items(cx) {
        if let Some(value) = item.parse_with(cx, parse) {
            targets.push((target(&value), item.span(), what));
            parsed.push(value);
        }
    }
    parsed
}

/// Rejects mounts of the same path early: the engine would fail late, with an obscure error.
fn check_distinct(cx: &mut DecodeContext, targets: &[ContainerTarget]) {
    for (index, (path, span, what)) in targets.iter().enumerate() {
        if let Some((_, first, other)) = targets[..index].iter().find(|(other, ..)| other == path) {
            let problem =
                SourceProblem::at(*span, format!("container path `{path}` is used twice"))
                    .label(format!("by this {what}"))
                    .related(*first, format!("by this {other}"));
            cx.report(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builder_folders_and_external_images() {
        let folder = |name: &str| Ok(BuilderImage::Folder(name.parse().unwrap()));
        assert_eq!(
            builder_image("builders/zbackend:newest"),
            folder("zbackend")
        );
        assert_eq!(builder_image("builders/zbackend"), folder("zbackend"));
        assert!(matches!(
            builder_image("golang:1.22"),
            Ok(BuilderImage::External(_))
        ));
        assert!(matches!(
            builder_image("x/builders/a"),
            Ok(BuilderImage::External(_))
        ));
        let digest = format!("builders/a:1@sha256:{}", "0".repeat(64));
        for invalid in [
            "builders/",
            "builders/..",
            "builders/../x",
            "builders/a/b",
            "builders/a:",
            "builders/A",
            "UPPER",
            &digest,
        ] {
            assert!(builder_image(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn users() {
        assert_eq!(user("caller"), Ok(BuilderUser::Caller));
        assert_eq!(user("root"), Ok(BuilderUser::Root));
        assert_eq!(
            user("1000:100"),
            Ok(BuilderUser::Ids {
                uid: 1000,
                gid: 100
            })
        );
        for invalid in [
            "",
            "1000",
            "me",
            "a:b",
            "-1:0",
            "+1:0",
            "1:",
            ":1",
            "1:2:3",
            "4294967296:0",
            "4294967295:0",
        ] {
            assert!(user(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn mounts() {
        let mount_of =
            |text: &str| mount(text).map(|mount| (mount.source, mount.target, mount.read_only));
        assert_eq!(
            mount_of("~/.m2:/m2"),
            Ok(("~/.m2".to_owned(), "/m2".to_owned(), false))
        );
        assert_eq!(
            mount_of("/a:/b/:ro"),
            Ok(("/a".to_owned(), "/b".to_owned(), true))
        );
        for invalid in [
            "",
            "/a",
            "a:/b",
            "./a:/b",
            "/a:b",
            "/a:/",
            "/a:/b:x",
            "/a:/b:ro:ro",
            "~user/x:/b",
            "/../a:/b",
            ":/b",
        ] {
            assert!(mount(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn networks() {
        for valid in ["none", "host", "bridge", "container:abc", "my_net-1.x"] {
            assert!(network(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "a b", "container:", "-x", "a:b"] {
            assert!(network(invalid).is_err(), "{invalid}");
        }
    }
}
