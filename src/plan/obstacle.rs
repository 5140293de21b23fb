//! What keeps services from being decided.

use std::collections::BTreeMap;

use super::{PlanError, Refusal, Sighting, UnknownImages, UnreadableRecipes};
use crate::image::ImageReference;
use crate::recipe::{InvalidRecipe, Standing};

/// What keeps one service from being decided.
pub(super) enum Obstacle {
    Unknown(Refusal),
    Recipe(InvalidRecipe),
}

/// Returns how an image stands, where it is there.
pub(super) fn known(sighting: &Sighting) -> Result<Option<&Standing>, Obstacle> {
    match sighting {
        Sighting::NotAsked | Sighting::Absent | Sighting::OfWorkingCopy => Ok(None),
        Sighting::Found(standing) => Ok(Some(standing)),
        Sighting::Unknown(refusal) => Err(Obstacle::Unknown(refusal.clone())),
        Sighting::Damaged(invalid) => Err(Obstacle::Recipe(invalid.clone())),
    }
}

/// Everything that keeps services from being decided.
#[derive(Default)]
pub(super) struct Obstacles {
    unknown: BTreeMap<Refusal, Vec<ImageReference>>,
    recipes: Vec<(ImageReference, InvalidRecipe)>,
}

impl Obstacles {
    pub fn add(&mut self, image: &ImageReference, obstacle: Obstacle) {
        match obstacle {
            Obstacle::Unknown(refusal) => {
                self.unknown.entry(refusal).or_default().push(image.clone());
            }
            Obstacle::Recipe(invalid) => self.recipes.push((image.clone(), invalid)),
        }
    }

    /// Makes an error of them, where there are any.
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
