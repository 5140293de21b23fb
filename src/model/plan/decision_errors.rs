//! Errors that prevent a decision about a service.

use std::collections::BTreeMap;

use super::{ImageLookup, PlanError, QueryFailure, UnknownImages, UnreadableRecipes};
use crate::model::image::ImageReference;
use crate::model::recipe::{InvalidRecipe, RecipeStatus};

/// Why no decision can be made for a service.
pub(super) enum DecisionError {
    Unknown(QueryFailure),
    Recipe(InvalidRecipe),
}

/// Returns the recipe status of an image, or `None` if it does not exist.
pub(super) fn status_of(lookup: &ImageLookup) -> Result<Option<&RecipeStatus>, DecisionError> {
    match lookup {
        ImageLookup::NotQueried | ImageLookup::Absent | ImageLookup::FromWorkingCopy => Ok(None),
        ImageLookup::Found(recipe_status) => Ok(Some(recipe_status)),
        ImageLookup::Unknown(refusal) => Err(DecisionError::Unknown(refusal.clone())),
        ImageLookup::UnreadableRecipe(invalid) => Err(DecisionError::Recipe(invalid.clone())),
    }
}

/// The decision errors of all services.
#[derive(Default)]
pub(super) struct DecisionErrors {
    unknown: BTreeMap<QueryFailure, Vec<ImageReference>>,
    recipes: Vec<(ImageReference, InvalidRecipe)>,
}

impl DecisionErrors {
    pub fn add(&mut self, image: &ImageReference, error: DecisionError) {
        match error {
            DecisionError::Unknown(refusal) => {
                self.unknown.entry(refusal).or_default().push(image.clone());
            }
            DecisionError::Recipe(invalid) => self.recipes.push((image.clone(), invalid)),
        }
    }

    /// Returns an error if there are any.
    pub fn check(self) -> Result<(), PlanError> {
        if !self.unknown.is_empty() {
            return Err(UnknownImages::new(self.unknown).into());
        }
        if !self.recipes.is_empty() {
            return Err(UnreadableRecipes(self.recipes).into());
        }
        Ok(())
    }
}
