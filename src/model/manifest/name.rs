//! Names of services, sidecars, builders and environments.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::base::text::read_as_text;
use crate::model::image::ImageRepository;

/// The name of a service: a letter or digit, then letters, digits, `.`, `_` and `-`; at most 63.
///
/// Container names and file names contain it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// The maximum length in characters.
    pub const MAX_LENGTH: usize = 63;

    /// Returns the service with that name.
    pub(super) fn find<'s>(services: &'s BTreeSet<Self>, name: &str) -> Option<&'s Self> {
        services.get(&name.parse().ok()?)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The folder of a builder image, below `builders.dir`, such as `zbackend`.
///
/// It is also the last part of the image's name, `builders/<name>`, so it follows the same rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuilderName {
    name: String,
    repository: ImageRepository,
}

impl BuilderName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the repository of the builder's image, `builders/<name>`, without a registry.
    pub fn repository(&self) -> ImageRepository {
        self.repository.clone()
    }
}

/// The name of a deployment environment: lowercase letters and digits, and `-` between them; at most 40.
///
/// The names of a folder and of an object in the cluster contain it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentName(String);

impl EnvironmentName {
    /// The maximum length in characters.
    pub const MAX_LENGTH: usize = 40;

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a sidecar: its host name in the network of the scripts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SidecarName(String);

impl SidecarName {
    /// The maximum length in characters: that of a label in DNS.
    pub const MAX_LENGTH: usize = 63;

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An invalid name of a service, sidecar, builder or environment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid {what} name `{text}`: {reason}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
    reason: &'static str,
}

impl FromStr for ServiceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason| {
            Err(InvalidName {
                text: text.to_owned(),
                what: "service",
                reason,
            })
        };
        if text.len() > Self::MAX_LENGTH {
            return invalid("longer than 63 characters");
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return invalid("must start with a letter or digit");
        }
        if !text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        {
            return invalid("only letters, digits, `.`, `_` and `-` are allowed");
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for EnvironmentName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reason = if text.len() > Self::MAX_LENGTH {
            "longer than 40 characters"
        } else if is_host_label(text) {
            return Ok(Self(text.to_owned()));
        } else {
            "only lowercase letters, digits, and `-` between them are allowed"
        };
        Err(InvalidName {
            text: text.to_owned(),
            what: "environment",
            reason,
        })
    }
}

impl FromStr for SidecarName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reason = if text.len() > Self::MAX_LENGTH {
            "longer than 63 characters"
        } else if !is_host_label(text) {
            "it is a host name: only lowercase letters, digits, and `-` between them are allowed"
        } else if text == "localhost" {
            "`localhost` is the container itself"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(InvalidName {
            text: text.to_owned(),
            what: "sidecar",
            reason,
        })
    }
}

impl FromStr for BuilderName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason| {
            Err(InvalidName {
                text: text.to_owned(),
                what: "builder",
                reason,
            })
        };
        if text.split('/').any(|part| part == "..") {
            return invalid("must not contain `..`");
        }
        if text.contains('/') {
            return invalid("must be a single folder, without `/`");
        }
        match format!("builders/{text}").parse() {
            Ok(repository) if text.len() <= 128 => Ok(Self {
                name: text.to_owned(),
                repository,
            }),
            _ => invalid(
                "only lowercase letters, digits, and `.`, `_`, `-` between them are allowed",
            ),
        }
    }
}

/// Returns whether a name consists of lowercase letters and digits, and `-` between them.
fn is_host_label(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_inside)
        && text.ends_with(is_inside)
        && text.chars().all(|c| is_inside(c) || c == '-')
}

/// Implements `Display` and `Serialize` as plain text.
macro_rules! show_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Supports width and fill, for tables.
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}
show_as_text!(ServiceName, SidecarName, BuilderName, EnvironmentName);
read_as_text!(ServiceName, BuilderName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names() {
        for valid in ["db", "0", "redis-6", &"x".repeat(63)] {
            assert_eq!(valid.parse::<SidecarName>().unwrap().as_str(), valid);
        }
        for invalid in [
            "",
            "DB",
            "-db",
            "db-",
            "a.b",
            "a_b",
            "a b",
            "localhost",
            &"x".repeat(64),
        ] {
            assert!(invalid.parse::<SidecarName>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn names_are_validated() {
        for valid in ["a", "Z9", "0", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(valid.parse::<ServiceName>().unwrap().as_str(), valid);
        }
        for invalid in [
            "",
            ".a",
            "-a",
            "_a",
            "a b",
            "a/b",
            "ä",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(invalid.parse::<ServiceName>().is_err(), "{invalid}");
        }
        for valid in ["a", "go-1.22", "x_y"] {
            assert_eq!(valid.parse::<BuilderName>().unwrap().as_str(), valid);
        }
        for invalid in [
            "",
            "..",
            "../x",
            "a/b",
            "A",
            ".a",
            "a:1",
            "a b",
            &"x".repeat(200),
        ] {
            assert!(invalid.parse::<BuilderName>().is_err(), "{invalid}");
        }
        for valid in ["a", "0", "review-42", &"x".repeat(40)] {
            assert_eq!(valid.parse::<EnvironmentName>().unwrap().as_str(), valid);
        }
        for invalid in ["", "A", "-a", "a-", "a.b", "a/b", "..", &"x".repeat(41)] {
            assert!(invalid.parse::<EnvironmentName>().is_err(), "{invalid}");
        }
        assert_eq!(
            format!("{:<3}|", "a".parse::<ServiceName>().unwrap()),
            "a  |"
        );
    }
}
