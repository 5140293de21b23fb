//! Parts of a service that stand in several files.

use super::super::build::{Context, Value};
use super::super::interpolate::Interpolated;

/// A service as far as one file has it.
#[derive(Debug, Default)]
pub(super) struct Partial {
    pub file: String,
    pub image: Option<Interpolated>,
    pub build: Option<PartialBuild>,
    /// `build: !reset null` takes away what an earlier file has.
    pub resets_build: bool,
}

/// `build` as far as one file has it.
#[derive(Debug, Default)]
pub(super) struct PartialBuild {
    pub context: Option<Context>,
    pub dockerfile: Option<String>,
    pub target: Option<String>,
    pub args: Vec<(String, Value)>,
    pub needs: Vec<String>,
    pub todos: Vec<String>,
}

impl Partial {
    /// Returns the service with what it lacks taken from an earlier one.
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
