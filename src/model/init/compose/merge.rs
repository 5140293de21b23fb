//! Merging of a service that is defined in several files.

use super::super::build::{ArgValue, BuildContext};
use super::super::interpolation::Interpolated;

/// A service as defined in one file.
#[derive(Debug, Default)]
pub(super) struct ComposeService {
    pub file: String,
    pub image: Option<Interpolated>,
    pub build: Option<PartialBuild>,
    /// Whether `build: !reset null` removes the `build` of earlier files.
    pub resets_build: bool,
}

/// `build` as defined in one file.
#[derive(Debug, Default)]
pub(super) struct PartialBuild {
    pub context: Option<BuildContext>,
    pub dockerfile: Option<String>,
    pub target: Option<String>,
    pub args: Vec<(String, ArgValue)>,
    pub needs: Vec<String>,
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
            build,
            resets_build: false,
        }
    }
}

impl PartialBuild {
    fn over(self, earlier: Self) -> Self {
        let mut args = earlier.args;
        for (name, value) in self.args {
            match args.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => args.push((name, value)),
            }
        }
        Self {
            context: self.context.or(earlier.context),
            dockerfile: self.dockerfile.or(earlier.dockerfile),
            target: self.target.or(earlier.target),
            args,
            needs: [earlier.needs, self.needs].concat(),
            todos: [earlier.todos, self.todos].concat(),
        }
    }
}
