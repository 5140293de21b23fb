//! Image references.

use std::fmt;
use std::str::FromStr;

use super::name::InvalidImageName;
use super::{Digest, ImageRepository, Registry, Tag};

/// A reference to an image: a repository with a tag, a digest, both, or neither.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    repository: ImageRepository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// Creates a reference with a tag.
    pub(super) fn from_tag(repository: ImageRepository, tag: Tag) -> Self {
        Self {
            repository,
            tag: Some(tag),
            digest: None,
        }
    }

    /// Creates a reference with a digest.
    pub(super) fn of_digest(repository: ImageRepository, digest: Digest) -> Self {
        Self {
            repository,
            tag: None,
            digest: Some(digest),
        }
    }

    pub fn repository(&self) -> &ImageRepository {
        &self.repository
    }

    /// Returns the tag, if any.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Returns the digest, if any.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the reference with the default registry and tag, if it has none: Docker Hub and `latest`.
    pub fn with_defaults(&self) -> Self {
        let hub = || format!("{}/{self}", Registry::docker_hub()).parse::<Self>();
        let mut full = match self.repository.registry() {
            Some(_) => self.clone(),
            None => hub().unwrap_or_else(|_| self.clone()),
        };
        if full.tag.is_none() && full.digest.is_none() {
            full.tag = "latest".parse().ok();
        }
        full
    }

    /// Returns the name under which Docker Engine lists the image: with a tag or a digest, never both, and without
    /// the registry for Docker Hub.
    pub fn familiar_name(&self) -> String {
        let repository = self.repository.familiar_name();
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{repository}@{digest}"),
            (None, Some(tag)) => format!("{repository}:{tag}"),
            (None, None) => format!("{repository}:latest"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_parsed() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let reference: ImageReference = format!("localhost:5000/a/b:1.0@{digest}").parse().unwrap();
        assert_eq!(reference.repository().to_string(), "localhost:5000/a/b");
        assert_eq!(reference.tag().unwrap().as_str(), "1.0");
        assert_eq!(reference.digest().unwrap().as_str(), digest);
        let plain: ImageReference = "localhost:5000/a".parse().unwrap();
        assert_eq!(plain.tag(), None);
    }

    #[test]
    fn the_default_registry_and_tag_are_added() {
        let full = |text: &str| text.parse::<ImageReference>().unwrap().with_defaults();
        assert_eq!(full("node").to_string(), "docker.io/node:latest");
        assert_eq!(full("node:22").familiar_name(), "node:22");
        assert_eq!(
            full("localhost:5000/a").to_string(),
            "localhost:5000/a:latest"
        );
        let digest = format!("localhost:5000/a@sha256:{}", "0".repeat(64));
        assert_eq!(full(&digest).to_string(), digest);
    }

    #[test]
    fn the_familiar_name_omits_docker_hub() {
        let familiar = |text: &str| text.parse::<ImageReference>().unwrap().familiar_name();
        assert_eq!(familiar("docker.io/library/node:22"), "node:22");
        assert_eq!(familiar("docker.io/acme/node"), "acme/node:latest");
        assert_eq!(familiar("localhost:5000/a:1"), "localhost:5000/a:1");
        let digest = format!("sha256:{}", "0".repeat(64));
        let both = format!("docker.io/library/node:22@{digest}");
        assert_eq!(familiar(&both), format!("node@{digest}"));
    }
}
