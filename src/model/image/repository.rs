//! Image repositories.

use std::fmt;
use std::str::FromStr;

use super::name::{InvalidImageName, check_path, invalid};
use super::registry::parse_registry;
use super::{Digest, ImageReference, Registry, RegistryPrefix, Tag};

/// An image repository: a path with an optional registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRepository {
    registry: Option<Registry>,
    path: String,
}

impl ImageRepository {
    /// Creates a repository in a registry; `path` must be valid.
    pub(super) fn of(registry: Registry, path: String) -> Self {
        Self {
            registry: Some(registry),
            path,
        }
    }

    /// Returns the registry; `None` for an image that stays in the local engine.
    pub fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }

    /// Returns the path in the registry, such as `x/zbackend`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Adds a prefix, unless the repository already has a registry.
    pub fn with_prefix(self, prefix: Option<&RegistryPrefix>) -> Self {
        match (self.registry, prefix) {
            (None, Some(prefix)) => Self {
                registry: Some(prefix.registry().clone()),
                path: match prefix.path() {
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

    /// Returns the name under which Docker Engine lists images in it: without the registry for Docker Hub.
    pub fn familiar_name(&self) -> String {
        let name = self.to_string();
        let hub = ["docker.io/", "index.docker.io/"];
        match hub.iter().find_map(|registry| name.strip_prefix(registry)) {
            Some(short) => short.strip_prefix("library/").unwrap_or(short).to_owned(),
            None => name,
        }
    }

    /// Returns a reference with this tag.
    pub fn tagged(&self, tag: Tag) -> ImageReference {
        ImageReference::from_tag(self.clone(), tag)
    }

    /// Returns a reference with this digest.
    pub fn with_digest(&self, digest: Digest) -> ImageReference {
        ImageReference::of_digest(self.clone(), digest)
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
        const WHAT: &str = "image name";
        let (registry, path) = split_registry(text);
        let registry = registry
            .map(|host| parse_registry(text, host))
            .transpose()?;
        if path.contains('@') {
            return invalid(text, WHAT, "must not have a digest");
        }
        if path.contains(':') {
            return invalid(text, WHAT, "must not have a tag, because xp sets the tags");
        }
        check_path(text, path)?;
        Ok(Self {
            registry,
            path: path.to_owned(),
        })
    }
}

/// Splits off the first part if it looks like a registry: it has a dot or a port, or is `localhost`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_distinguished_from_paths() {
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
    fn invalid_names_are_rejected() {
        for invalid in [
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
            assert!(invalid.parse::<ImageRepository>().is_err(), "{invalid}");
        }
        for valid in ["a", "a/b", "a__b", "a--b", "a.b/c_d", "0/1"] {
            assert!(valid.parse::<ImageRepository>().is_ok(), "{valid}");
        }
    }

    #[test]
    fn the_prefix_is_added_to_names_without_a_host() {
        let prefix: RegistryPrefix = "harbour.example.com/x".parse().unwrap();
        let below = |name: &str| {
            name.parse::<ImageRepository>()
                .unwrap()
                .with_prefix(Some(&prefix))
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
}
