//! Platforms of images.

use std::fmt;
use std::str::FromStr;

use super::name::{InvalidImageName, invalid};
use crate::base::text::{read_as_text, write_as_text};

/// The operating system of all images that are built.
const LINUX: &str = "linux";

/// The platform of an image: `linux/amd64`, or with a variant of the processor, `linux/arm/v7`.
///
/// Different names of the same platform are equal: they are normalized as container engines do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    system: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Returns the platform with these names, as an index or a configuration has them; `None` if it has no system or
    /// architecture.
    pub fn new(system: &str, architecture: &str, variant: &str) -> Option<Self> {
        let is_name = |name: &str| {
            let is_character = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_character)
        };
        if !is_name(system) || !is_name(architecture) || !(variant.is_empty() || is_name(variant)) {
            return None;
        }
        let (architecture, variant) = normalized(architecture, variant);
        Some(Self {
            system: system.to_ascii_lowercase(),
            architecture,
            variant: (!variant.is_empty()).then_some(variant),
        })
    }

    /// Returns the platform of a machine with Linux, by its architecture as the kernel names it, such as `x86_64`.
    pub fn of_machine(architecture: &str) -> Option<Self> {
        Self::new(LINUX, architecture, "")
    }

    /// Returns the platform as the end of a tag, such as `linux-arm64`.
    pub fn slug(&self) -> String {
        self.to_string().replace('/', "-")
    }

    /// Returns the operating system.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// Returns the architecture, as Go names it.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the variant of the processor.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }
}

/// Returns the usual names of an architecture and its variant, as containerd normalizes them.
fn normalized(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i686", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf" | "armv7l", _) | ("arm", "" | "7" | "v7") => ("arm", "v7"),
        ("armel" | "armv6l", _) | ("arm", "6" | "v6") => ("arm", "v6"),
        ("arm", "5" | "v5") => ("arm", "v5"),
        ("arm", "8" | "v8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.system, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "platform";
        const EXPECTED: &str = "expected `linux/ARCHITECTURE`, such as linux/arm64";
        let parts: Vec<&str> = text.split('/').collect();
        let platform = match parts.as_slice() {
            [system, architecture] => Self::new(system, architecture, ""),
            [system, architecture, variant] if !variant.is_empty() => {
                Self::new(system, architecture, variant)
            }
            _ => None,
        };
        match platform {
            Some(platform) => Ok(platform),
            None => invalid(text, WHAT, EXPECTED),
        }
    }
}

write_as_text!(Platform);
read_as_text!(Platform);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_same_platform_are_equal() {
        let normal = |text: &str| text.parse::<Platform>().unwrap().to_string();
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
        assert_eq!(
            Platform::of_machine("armv7l").unwrap().slug(),
            "linux-arm-v7"
        );
    }

    #[test]
    fn invalid_platforms_are_rejected() {
        for text in [
            "",
            "arm64",
            "linux",
            "linux/",
            "/arm64",
            "linux/arm/",
            "linux/a/b/c",
            "linux/arm 64",
            "linux/ärm",
            "linux/${{ env.X }}",
        ] {
            let error = text.parse::<Platform>().unwrap_err().to_string();
            assert!(error.contains("linux/arm64"), "{text}: {error}");
        }
        // BuildKit lists attestations for it.
        assert!(Platform::new("", "", "").is_none());
    }
}
