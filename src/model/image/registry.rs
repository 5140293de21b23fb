//! Registries and the registry prefix of images.

use std::fmt;
use std::str::FromStr;

use super::ImageRepository;
use super::name::{InvalidImageName, check_path, invalid};

/// The host of a registry, with an optional port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry(String);

impl Registry {
    /// Returns Docker Hub, the default registry for images without a host.
    pub fn docker_hub() -> Self {
        Self("docker.io".to_owned())
    }

    /// Returns whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        matches!(
            self.as_str(),
            "docker.io" | "index.docker.io" | "registry-1.docker.io"
        )
    }

    /// Returns the host with its port, as written in image names.
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

    /// Returns whether the host is this machine, for which engines and xp allow plain HTTP.
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

/// The `registry` of the manifest: a registry with an optional path.
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

    /// Returns the path prefix of images in the registry, if any.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Returns the repository with this path below the prefix.
    pub fn below(&self, path: &str) -> ImageRepository {
        let path = match &self.path {
            Some(prefix) => format!("{prefix}/{path}"),
            None => path.to_owned(),
        };
        ImageRepository::of(self.registry.clone(), path)
    }

    /// Returns the prefix as a repository, if it has a path.
    pub fn as_repository(&self) -> Option<ImageRepository> {
        let path = self.path.clone()?;
        Some(ImageRepository::of(self.registry.clone(), path))
    }

    /// Returns the prefix without the last component of its path.
    pub fn parent(&self) -> Option<Self> {
        let path = self.path.as_ref()?;
        Some(Self {
            registry: self.registry.clone(),
            path: path.rsplit_once('/').map(|(parent, _)| parent.to_owned()),
        })
    }

    /// Returns the path of a repository below this prefix, if it is below.
    pub fn path_below<'r>(&self, repository: &'r ImageRepository) -> Option<&'r str> {
        if repository.registry() != Some(&self.registry) {
            return None;
        }
        match &self.path {
            Some(path) => repository
                .path()
                .strip_prefix(path.as_str())?
                .strip_prefix('/'),
            None => Some(repository.path()),
        }
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
        const WHAT: &str = "registry";
        if text.contains("://") {
            return invalid(text, WHAT, "remove `https://`");
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
                "must start with a host such as harbour.example.com",
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

/// Parses a registry's host and port; `text` is the whole name, for the error.
pub(super) fn parse_registry(text: &str, host: &str) -> Result<Registry, InvalidImageName> {
    const WHAT: &str = "image name";
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (
                "ipv6",
                after
                    .strip_prefix(':')
                    .or((!after.is_empty()).then_some(after)),
            ),
            _ => return invalid(text, WHAT, "invalid IPv6 address of the registry"),
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
            "the registry's port must be a number up to 65535",
        );
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if !name.split('.').all(label) {
        return invalid(text, WHAT, "invalid host name of the registry");
    }
    Ok(Registry(host.to_owned()))
}
