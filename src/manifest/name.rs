//! Names that a manifest gives: of services, builders and environments.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::image::ImageRepository;

/// The name of a service: a letter or digit, then letters, digits, `.`, `_` and `-`; at most 63.
///
/// It is part of container names and file names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// The longest a name may be, in characters.
    pub const MAX_LENGTH: usize = 63;

    /// Returns the one of that name.
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
/// It is also the last part of the image's name, `builders/<name>`, and obeys its rules.
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

/// The name of an environment that is deployed to: lower-case letters and digits, and `-` between them; at
/// most 40.
///
/// It is part of the name of an object in the cluster, and of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentName(String);

impl EnvironmentName {
    /// The longest a name may be, in characters.
    pub const MAX_LENGTH: usize = 40;

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that cannot name a service, a builder or an environment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` cannot name {what}: {reason}")]
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
                what: "a service",
                reason,
            })
        };
        if text.len() > Self::MAX_LENGTH {
            return invalid("it is longer than 63 characters");
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return invalid("it must start with a letter or a digit");
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
        let is_inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_right = text.starts_with(is_inside)
            && text.ends_with(is_inside)
            && text.chars().all(|c| is_inside(c) || c == '-');
        let reason = match text.len() <= Self::MAX_LENGTH {
            true if is_right => return Ok(Self(text.to_owned())),
            true => "lower-case letters and digits are allowed, and `-` between them",
            false => "it is longer than 40 characters",
        };
        Err(InvalidName {
            text: text.to_owned(),
            what: "an environment",
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
                what: "a builder",
                reason,
            })
        };
        if text.split('/').any(|part| part == "..") {
            return invalid("`..` would leave the folder of the builders");
        }
        if text.contains('/') {
            return invalid("a builder is one folder, without `/`");
        }
        match format!("builders/{text}").parse() {
            Ok(repository) if text.len() <= 128 => Ok(Self {
                name: text.to_owned(),
                repository,
            }),
            _ => {
                invalid("lower-case letters and digits are allowed, and `.`, `_`, `-` between them")
            }
        }
    }
}

/// Shows and serialises a name as the text that people write.
macro_rules! show_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Widths and fills are honoured, for tables.
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
show_as_text!(ServiceName, BuilderName, EnvironmentName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for right in ["a", "Z9", "0", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(right.parse::<ServiceName>().unwrap().as_str(), right);
        }
        for wrong in [
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
            assert!(wrong.parse::<ServiceName>().is_err(), "{wrong}");
        }
        for right in ["a", "go-1.22", "x_y"] {
            assert_eq!(right.parse::<BuilderName>().unwrap().as_str(), right);
        }
        for wrong in [
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
            assert!(wrong.parse::<BuilderName>().is_err(), "{wrong}");
        }
        for right in ["a", "0", "review-42", &"x".repeat(40)] {
            assert_eq!(right.parse::<EnvironmentName>().unwrap().as_str(), right);
        }
        for wrong in ["", "A", "-a", "a-", "a.b", "a/b", "..", &"x".repeat(41)] {
            assert!(wrong.parse::<EnvironmentName>().is_err(), "{wrong}");
        }
        assert_eq!(
            format!("{:<3}|", "a".parse::<ServiceName>().unwrap()),
            "a  |"
        );
    }
}
