//! Registries, and the prefix that puts images into one.

use std::fmt;
use std::str::FromStr;

use super::name::{InvalidImageName, check_path, invalid};

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

    /// Returns the path in the registry that images are put below, where there is one.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
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

/// Checks a registry's host and port; `text` is the whole name, for the error.
pub(super) fn parse_registry(text: &str, host: &str) -> Result<Registry, InvalidImageName> {
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
