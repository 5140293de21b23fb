//! An image that somebody else pushed while this one was built.

use crate::image::{ImageReference, Labels};
use crate::recipe::{LABEL_RECIPE, LABEL_REVISION, Recipe, Standing};
use crate::source::CommitId;

/// What makes an image that appeared in the registry meanwhile as good as the one that is to be pushed: then it
/// is taken, and nothing is pushed over it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rival {
    /// The further names that the image has in the engine, whosever it is.
    pub names: Vec<ImageReference>,
    /// What it has to be.
    pub wanted: Wanted,
}

/// What an image has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Anything: the name tells all that matters, as that of a builder does, which is its content.
    Any,
    /// Built from that commit by that recipe.
    Built {
        /// The commit.
        commit: CommitId,
        /// Its recipe.
        recipe: Recipe,
        /// An input that is not compared: one that others have in vain.
        ignored: Option<&'static str>,
    },
}

impl Wanted {
    /// Tells whether an image with these labels is as good. One that says nothing of itself is not: nobody
    /// knows that it is the same.
    pub fn is_met_by(&self, labels: &Labels) -> bool {
        match self {
            Self::Any => true,
            Self::Built {
                commit,
                recipe,
                ignored,
            } => {
                let label = labels.get(LABEL_RECIPE).map(String::as_str);
                let is_same = Standing::of(label, recipe, *ignored) == Ok(Standing::Verified);
                let revision = labels.get(LABEL_REVISION);
                is_same && revision.is_some_and(|it| *it == commit.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::TESTS;

    fn recipe(inputs: &[(&'static str, &str)]) -> Recipe {
        let mut recipe = Recipe::default();
        for (name, value) in inputs {
            recipe.add(*name, value);
        }
        recipe
    }

    fn labels(recipe: &Recipe, commit: &str) -> Labels {
        Labels::from([
            (LABEL_RECIPE.to_owned(), recipe.to_string()),
            (LABEL_REVISION.to_owned(), commit.to_owned()),
        ])
    }

    #[test]
    fn only_what_was_built_of_the_same_is_taken() {
        let commit = "0123456789012345678901234567890123456789";
        let tested = recipe(&[("docker.file", "Dockerfile"), (TESTS, "make test")]);
        let untested = tested.without(TESTS);
        let wanted = |recipe: &Recipe, ignored| Wanted::Built {
            commit: commit.parse().unwrap(),
            recipe: recipe.clone(),
            ignored,
        };
        let strict = wanted(&tested, None);
        assert!(strict.is_met_by(&labels(&tested, commit)));
        assert!(!strict.is_met_by(&labels(&untested, commit)));
        assert!(!strict.is_met_by(&labels(&tested, &commit.replace('0', "f"))));
        assert!(!strict.is_met_by(&labels(&tested.clone().of_working_copy(), commit)));
        assert!(!strict.is_met_by(&Labels::new()));
        let mut damaged = labels(&tested, commit);
        damaged.insert(LABEL_RECIPE.to_owned(), "{".to_owned());
        assert!(!strict.is_met_by(&damaged));
        // Whoever runs no tests is content with an image that passed them.
        assert!(wanted(&tested, Some(TESTS)).is_met_by(&labels(&tested, commit)));
        assert!(wanted(&tested, Some(TESTS)).is_met_by(&labels(&untested, commit)));
        assert!(Wanted::Any.is_met_by(&Labels::new()));
    }
}
