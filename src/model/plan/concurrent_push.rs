//! Images that another run pushed while this one was being built.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::image::{ImageReference, Labels};
use crate::model::recipe::{LABEL_RECIPE, LABEL_REVISION, Recipe, RecipeStatus};
use crate::model::source::CommitId;

/// How to handle an image that another run pushed in the meantime. If that image is equivalent, it is used, and nothing
/// is pushed over it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConcurrentPush {
    /// The additional names that the image gets in the engine.
    pub names: Vec<ImageReference>,
    /// The condition for an equivalent image.
    pub wanted: Equivalence,
}

/// Condition under which an image of another run is equivalent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Equivalence {
    /// Always: the name identifies the content, as with builder images.
    Any,
    /// Built from this commit by this recipe.
    Built {
        commit: CommitId,
        recipe: Recipe,
        /// Whether an image must have passed the same tests.
        is_tested: bool,
    },
}

impl Equivalence {
    /// Returns whether an image with these labels is equivalent. An image without labels is not, because its inputs
    /// are unknown.
    pub fn accepts(&self, labels: &Labels) -> bool {
        match self {
            Self::Any => true,
            Self::Built {
                commit,
                recipe,
                is_tested,
            } => {
                let label = labels.get(LABEL_RECIPE).map(String::as_str);
                let is_same =
                    RecipeStatus::of(label, recipe, *is_tested) == Ok(RecipeStatus::Verified);
                let revision = labels.get(LABEL_REVISION);
                is_same && revision.is_some_and(|it| *it == commit.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_images_with_the_same_inputs_are_equivalent() {
        let commit = "0123456789012345678901234567890123456789";
        let tested = recipe(&[("docker.file", "Dockerfile"), ("scripts.test", "make test")]);
        let untested = tested.without_tests();
        let wanted = |recipe: &Recipe, is_tested| Equivalence::Built {
            commit: commit.parse().unwrap(),
            recipe: recipe.clone(),
            is_tested,
        };
        let strict = wanted(&tested, true);
        assert!(strict.accepts(&labels(&tested, commit)));
        assert!(!strict.accepts(&labels(&untested, commit)));
        assert!(!strict.accepts(&labels(&tested, &commit.replace('0', "f"))));
        assert!(!strict.accepts(&labels(&tested.clone().of_working_copy(), commit)));
        assert!(!strict.accepts(&Labels::new()));
        let mut damaged = labels(&tested, commit);
        damaged.insert(LABEL_RECIPE.to_owned(), "{".to_owned());
        assert!(!strict.accepts(&damaged));
        // With `--no-test`, an image that passed its tests is fine too.
        assert!(wanted(&tested, false).accepts(&labels(&tested, commit)));
        assert!(wanted(&tested, false).accepts(&labels(&untested, commit)));
        assert!(Equivalence::Any.accepts(&Labels::new()));
    }
}
