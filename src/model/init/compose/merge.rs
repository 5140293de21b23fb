//! Merging of a service that is defined in several files.

use std::collections::BTreeSet;

use super::super::build::{ArgValue, BuildContext};
use super::super::interpolation::Interpolated;

/// A service as defined in one file.
#[derive(Debug, Default)]
pub(super) struct ComposeService {
    pub file: String,
    pub image: Option<Interpolated>,
    /// `platform`
    pub platform: Option<String>,
    pub build: Option<PartialBuild>,
    /// Whether `build: !reset null` removes the `build` of earlier files.
    pub resets_build: bool,
    /// Keys of the service that affect its build and were not converted.
    pub unsupported: BTreeSet<String>,
}

/// `build` as defined in one file.
#[derive(Debug, Default)]
pub(super) struct PartialBuild {
    pub context: Option<BuildContext>,
    pub dockerfile: Option<String>,
    pub target: Option<String>,
    pub args: Vec<(String, ArgValue)>,
    /// `additional_contexts`
    pub contexts: Vec<(String, String)>,
    /// The build secrets: id and name of the top-level secret.
    pub secrets: Vec<(String, String)>,
    pub ssh: bool,
    pub cache: bool,
    pub platforms: Vec<String>,
    pub tags: Vec<String>,
    /// Keys that were not converted.
    pub unsupported: BTreeSet<String>,
    pub todos: Vec<String>,
}

impl ComposeService {
    /// Merges over a service of an earlier file.
    pub fn over(self, earlier: Self) -> Self {
        let build = match (self.build, earlier.build) {
            (Some(own), Some(earlier)) if !self.resets_build => Some(own.over(earlier)),
            (None, earlier) if !self.resets_build => earlier,
            (own, _) => own,
        };
        Self {
            file: self.file,
            image: self.image.or(earlier.image),
            platform: self.platform.or(earlier.platform),
            build,
            resets_build: false,
            unsupported: &self.unsupported | &earlier.unsupported,
        }
    }
}

impl PartialBuild {
    fn over(self, earlier: Self) -> Self {
        Self {
            context: self.context.or(earlier.context),
            dockerfile: self.dockerfile.or(earlier.dockerfile),
            target: self.target.or(earlier.target),
            args: merged(self.args, earlier.args),
            contexts: merged(self.contexts, earlier.contexts),
            secrets: merged(self.secrets, earlier.secrets),
            ssh: self.ssh || earlier.ssh,
            cache: self.cache || earlier.cache,
            platforms: [earlier.platforms, self.platforms].concat(),
            tags: [earlier.tags, self.tags].concat(),
            unsupported: &self.unsupported | &earlier.unsupported,
            todos: [earlier.todos, self.todos].concat(),
        }
    }
}

/// Merges pairs by name; the later value replaces the earlier one in its position.
pub(super) fn merged<T>(
    later: Vec<(String, T)>,
    mut earlier: Vec<(String, T)>,
) -> Vec<(String, T)> {
    for (name, value) in later {
        match earlier.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => earlier.push((name, value)),
        }
    }
    earlier
}
