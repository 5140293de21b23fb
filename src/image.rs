//! Names of images: registries, repositories, tags, digests and references.
//!
//! The grammar is that of the distribution project's `reference` package. Pure.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest as _, Sha1};
use thiserror::Error;

use crate::source::CommitId;

/// The host, and where named the port, of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry(String);

impl Registry {
    /// Returns Docker Hub, which images without a host come from.
    pub fn docker_hub() -> Self {
        Self("docker.io".to_owned())
    }

    /// Tells whether this is one of the names of Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        matches!(
            self.as_str(),
            "docker.io" | "index.docker.io" | "registry-1.docker.io"
        )
    }

    /// Returns the host with its port, as it stands in an image's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host without its port and without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        match self.0.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.0.split(':').next().unwrap_or(&self.0),
        }
    }

    /// Tells whether the host is this machine, for which engines and xp allow plain HTTP.
    pub fn is_loopback(&self) -> bool {
        self.host() == "localhost"
            || self
                .host()
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot name an image, or a part of such a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {what}: {reason}")]
pub struct InvalidImageName {
    text: String,
    what: &'static str,
    reason: &'static str,
}

fn invalid<T>(text: &str, what: &'static str, reason: &'static str) -> Result<T, InvalidImageName> {
    Err(InvalidImageName {
        text: text.to_owned(),
        what,
        reason,
    })
}

/// The repository of an image: a path, and the registry it lives in where it names one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRepository {
    registry: Option<Registry>,
    path: String,
}

impl ImageRepository {
    /// Returns the registry; none for an image that stays in the local engine.
    pub fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }

    /// Returns the path below the registry, such as `x/zbackend`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the repository below a prefix, or itself where it names a registry already.
    pub fn below(self, prefix: Option<&RegistryPrefix>) -> Self {
        match (self.registry, prefix) {
            (None, Some(prefix)) => Self {
                registry: Some(prefix.registry.clone()),
                path: match &prefix.path {
                    Some(path) => format!("{path}/{}", self.path),
                    None => self.path,
                },
            },
            (registry, _) => Self {
                registry,
                path: self.path,
            },
        }
    }

    /// Returns the reference of one tag.
    pub fn tagged(&self, tag: Tag) -> ImageReference {
        ImageReference {
            repository: self.clone(),
            tag: Some(tag),
            digest: None,
        }
    }
}

impl fmt::Display for ImageRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.registry {
            Some(registry) => write!(f, "{registry}/{}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

impl FromStr for ImageRepository {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "an image name";
        let (registry, path) = split_registry(text);
        let registry = registry
            .map(|host| parse_registry(text, host))
            .transpose()?;
        if path.contains('@') {
            return invalid(text, WHAT, "a digest is not expected here");
        }
        if path.contains(':') {
            return invalid(text, WHAT, "a tag is not expected here: xp makes the tags");
        }
        check_path(text, path)?;
        Ok(Self {
            registry,
            path: path.to_owned(),
        })
    }
}

/// The first part names a registry when it looks like a host: a dot, a port, or `localhost`.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.starts_with('[') =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn parse_registry(text: &str, host: &str) -> Result<Registry, InvalidImageName> {
    const WHAT: &str = "an image name";
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (
                "ipv6",
                after
                    .strip_prefix(':')
                    .or((!after.is_empty()).then_some(after)),
            ),
            _ => return invalid(text, WHAT, "the registry's IPv6 address is wrong"),
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return invalid(
            text,
            WHAT,
            "the registry's port is not a number up to 65535",
        );
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if !name.split('.').all(label) {
        return invalid(text, WHAT, "the registry is not a host name");
    }
    Ok(Registry(host.to_owned()))
}

fn check_path(text: &str, path: &str) -> Result<(), InvalidImageName> {
    const WHAT: &str = "an image name";
    if path.is_empty() {
        return invalid(text, WHAT, "it names no repository");
    }
    if text.len() > 255 {
        return invalid(text, WHAT, "it is longer than 255 characters");
    }
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return invalid(text, WHAT, "upper-case letters are not allowed");
    }
    for part in path.split('/') {
        if part.is_empty() {
            return invalid(text, WHAT, "it has an empty part between slashes");
        }
        if !part
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        {
            return invalid(
                text,
                WHAT,
                "only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed",
            );
        }
        let is_separator = |c: char| "._-".contains(c);
        if part.starts_with(is_separator) || part.ends_with(is_separator) {
            return invalid(text, WHAT, "a part starts or ends with `.`, `_` or `-`");
        }
        let separators = part
            .split(|c: char| !is_separator(c))
            .filter(|run| !run.is_empty());
        if !separators
            .into_iter()
            .all(|run| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-'))
        {
            return invalid(
                text,
                WHAT,
                "between letters stand `.`, `_`, `__` or dashes, not mixed",
            );
        }
    }
    Ok(())
}

/// What `registry:` of the manifest names: a registry, and a path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPrefix {
    registry: Registry,
    path: Option<String>,
}

impl RegistryPrefix {
    /// Returns the registry's host.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl fmt::Display for RegistryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}/{path}", self.registry),
            None => self.registry.fmt(f),
        }
    }
}

impl FromStr for RegistryPrefix {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "a registry";
        if text.contains("://") {
            return invalid(text, WHAT, "leave out the `https://`");
        }
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let (host, path) = match trimmed.split_once('/') {
            Some((host, path)) => (host, Some(path)),
            None => (trimmed, None),
        };
        if !host.contains(['.', ':']) && host != "localhost" {
            return invalid(
                text,
                WHAT,
                "it must start with a host such as harbour.example.com",
            );
        }
        let registry = parse_registry(text, host)?;
        if let Some(path) = path {
            check_path(text, path)?;
        }
        Ok(Self {
            registry,
            path: path.map(str::to_owned),
        })
    }
}

/// A tag of an image: at most 128 of `[A-Za-z0-9_.-]`, the first not `.` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The longest a tag may be, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// Returns the tag of a commit: its 40 digits.
    pub fn from_commit(commit: CommitId) -> Self {
        Self(commit.to_string())
    }

    /// Returns the tag of a branch.
    ///
    /// Every character outside `[A-Za-z0-9_.-]` becomes `-`. A name that is changed so gets `-` and
    /// eight digits of its SHA-1, so that `a/b` and `a-b` never share a tag.
    pub fn from_branch(branch: &str) -> Self {
        let slug: String = branch
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "_.-".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        if slug == branch
            && let Ok(tag) = slug.parse()
        {
            return tag;
        }
        let hash: String = Sha1::digest(branch)
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let room = Self::MAX_LENGTH - hash.len() - 1;
        let mut slug: String = slug.chars().take(room).collect();
        if slug.starts_with(['.', '-']) {
            slug.replace_range(..1, "_");
        }
        Self(format!("{slug}-{hash}"))
    }

    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "a tag";
        if text.is_empty() {
            return invalid(text, WHAT, "it is empty");
        }
        if text.len() > Self::MAX_LENGTH {
            return invalid(text, WHAT, "it is longer than 128 characters");
        }
        if text.starts_with(['.', '-']) {
            return invalid(text, WHAT, "it starts with `.` or `-`");
        }
        if !text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        {
            return invalid(
                text,
                WHAT,
                "only letters, digits, `_`, `.` and `-` are allowed",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// The digest of an image manifest or a layer, such as `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Returns the digest as text, its algorithm included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "a digest";
        let Some((algorithm, hex)) = text.split_once(':') else {
            return invalid(text, WHAT, "sha256:… is expected");
        };
        if algorithm.is_empty()
            || !algorithm
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+._-".contains(c))
            || hex.len() < 32
            || !hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
        {
            return invalid(text, WHAT, "sha256: and 64 hexadecimal digits are expected");
        }
        Ok(Self(text.to_owned()))
    }
}

/// A reference to one image: its repository, with a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    repository: ImageRepository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// Returns the repository.
    pub fn repository(&self) -> &ImageRepository {
        &self.repository
    }

    /// Returns the tag where the reference names one.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Returns the digest where the reference names one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the reference below a prefix, or itself where it names a registry already.
    pub fn below(self, prefix: Option<&RegistryPrefix>) -> Self {
        Self {
            repository: self.repository.below(prefix),
            ..self
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageReference {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let after_slash = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[after_slash..].split_once(':') {
            Some((last, tag)) => (&name[..after_slash + last.len()], Some(tag.parse()?)),
            None => (name, None),
        };
        Ok(Self {
            repository: name.parse()?,
            tag,
            digest,
        })
    }
}

/// Serialises a name as the text that people write.
macro_rules! serialize_as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
serialize_as_text!(Registry, ImageRepository, Tag, Digest, ImageReference);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_a_path() {
        let repository: ImageRepository = "harbour.example.com/x/zbackend".parse().unwrap();
        assert_eq!(
            repository.registry().unwrap().as_str(),
            "harbour.example.com"
        );
        assert_eq!(repository.path(), "x/zbackend");
        let local: ImageRepository = "x/zbackend".parse().unwrap();
        assert_eq!(local.registry(), None);
        let port: ImageRepository = "localhost:5000/a".parse().unwrap();
        assert!(port.registry().unwrap().is_loopback());
        assert_eq!(port.to_string(), "localhost:5000/a");
    }

    #[test]
    fn illegal_names_are_refused() {
        for wrong in [
            "",
            "A",
            "x/",
            "/x",
            "a//b",
            "-a",
            "a-",
            "a._b",
            "a:1",
            "a@b",
            "a b",
            "ä",
            "host.example:99999/a",
            "ho_st.example/a",
            "h.example/",
            &"a".repeat(256),
        ] {
            assert!(wrong.parse::<ImageRepository>().is_err(), "{wrong}");
        }
        for right in ["a", "a/b", "a__b", "a--b", "a.b/c_d", "0/1"] {
            assert!(right.parse::<ImageRepository>().is_ok(), "{right}");
        }
    }

    #[test]
    fn a_prefix_goes_before_names_without_a_host() {
        let prefix: RegistryPrefix = "harbour.example.com/x".parse().unwrap();
        let below = |name: &str| {
            name.parse::<ImageRepository>()
                .unwrap()
                .below(Some(&prefix))
                .to_string()
        };
        assert_eq!(below("zbackend"), "harbour.example.com/x/zbackend");
        assert_eq!(
            below("other.example.com/zbackend"),
            "other.example.com/zbackend"
        );
        assert!(
            "https://harbour.example.com"
                .parse::<RegistryPrefix>()
                .is_err()
        );
        assert!("harbour".parse::<RegistryPrefix>().is_err());
    }

    #[test]
    fn branch_tags_are_legal_and_distinct() {
        assert_eq!(Tag::from_branch("master").as_str(), "master");
        let slashed = Tag::from_branch("feature/x");
        assert!(slashed.as_str().starts_with("feature-x-"), "{slashed}");
        assert_eq!(slashed.as_str().len(), "feature-x-".len() + 8);
        assert_ne!(slashed, Tag::from_branch("feature-x"));
        for odd in ["-x", ".x", "ü", &"x".repeat(300), "a b", "…"] {
            let tag = Tag::from_branch(odd);
            assert_eq!(tag.as_str().parse::<Tag>().as_ref(), Ok(&tag), "{odd}");
        }
    }

    #[test]
    fn references_are_taken_apart() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let reference: ImageReference = format!("localhost:5000/a/b:1.0@{digest}").parse().unwrap();
        assert_eq!(reference.repository().to_string(), "localhost:5000/a/b");
        assert_eq!(reference.tag().unwrap().as_str(), "1.0");
        assert_eq!(reference.digest().unwrap().as_str(), digest);
        let plain: ImageReference = "localhost:5000/a".parse().unwrap();
        assert_eq!(plain.tag(), None);
    }
}
