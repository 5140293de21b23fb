//! Compares existing images with the current recipe.

use std::fmt;

use super::inputs::{InvalidRecipe, Recipe, printable};
use crate::model::image::Platform;

/// A changed input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeChange {
    name: String,
    kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Changed,
    Added,
    Removed,
    /// Another image was built from the same inputs.
    Rebuilt,
    /// A tag points at another image now.
    Moved,
    /// The image does not record it.
    Unknown,
    /// An index does not have it.
    Missing,
    /// Another tool built it.
    Foreign,
}

impl RecipeChange {
    pub fn new(name: impl Into<String>, kind: ChangeKind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }

    /// Creates a change of the commit, which is not part of the recipe.
    pub fn of_commit() -> Self {
        Self {
            name: "commit".to_owned(),
            kind: ChangeKind::Changed,
        }
    }

    /// Creates a change of a needed image, which was rebuilt from the same inputs.
    pub fn of_needed_image(service: &str) -> Self {
        Self::new(format!("needs.{service}"), ChangeKind::Rebuilt)
    }

    /// Creates a change of the image itself, which another run rebuilt from the same inputs.
    pub fn of_image() -> Self {
        Self::new("image", ChangeKind::Rebuilt)
    }

    /// Creates a change of a base image.
    pub fn of_base(image: &str) -> Self {
        Self::new(format!("bases.{image}"), ChangeKind::Moved)
    }

    /// Creates a change of an image that does not record its base images.
    pub fn of_unknown_bases() -> Self {
        Self::new("bases", ChangeKind::Unknown)
    }

    /// Creates a change of the image of one platform.
    pub fn of_platform(platform: &Platform, kind: ChangeKind) -> Self {
        Self::new(format!("platforms.{platform}"), kind)
    }

    /// Returns the name of the input.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether a needed image was built again from the same inputs.
    pub fn is_rebuilt_need(&self) -> bool {
        self.kind == ChangeKind::Rebuilt && self.name.starts_with("needs.")
    }

    /// Returns the kind of change: `changed`, `added`, `removed`, `rebuilt`, `moved`, `unknown`,
    /// `missing` or `foreign`.
    pub fn verb(&self) -> &'static str {
        match self.kind {
            ChangeKind::Changed => "changed",
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Rebuilt => "rebuilt",
            ChangeKind::Moved => "moved",
            ChangeKind::Unknown => "unknown",
            ChangeKind::Missing => "missing",
            ChangeKind::Foreign => "foreign",
        }
    }
}

impl fmt::Display for RecipeChange {
    /// Writes a short sentence, such as `scripts.build changed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            ChangeKind::Changed => "changed",
            ChangeKind::Added => "is new",
            ChangeKind::Removed => "is gone",
            ChangeKind::Rebuilt => "was rebuilt",
            ChangeKind::Moved => "moved",
            ChangeKind::Unknown => "are not recorded",
            ChangeKind::Missing => "is missing",
            ChangeKind::Foreign => "was not built by xp",
        };
        write!(f, "{} {verb}", printable(&self.name))
    }
}

/// Whether an existing image matches the current recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipeStatus {
    /// It was built from the same inputs.
    Verified,
    /// It has no recipe: it was built by another tool, or by an xp without recipes.
    Unverified,
    /// It was built from other inputs.
    Stale(Vec<RecipeChange>),
}

impl RecipeStatus {
    /// Compares an image's label with the current recipe; unless `is_tested`, without the inputs of tests.
    ///
    /// # Errors
    ///
    /// The label is not a valid recipe.
    pub fn of(
        label: Option<&str>,
        current: &Recipe,
        is_tested: bool,
    ) -> Result<Self, InvalidRecipe> {
        let Some(label) = label else {
            return Ok(Self::Unverified);
        };
        let changes = current.stale_inputs(&label.parse()?, is_tested);
        Ok(if changes.is_empty() {
            Self::Verified
        } else {
            Self::Stale(changes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_verified_unverified_or_stale() {
        let mut now = Recipe::default();
        now.add("a", "1");
        now.add("scripts.test", "x");
        let recipe_status = |label: Option<&str>| RecipeStatus::of(label, &now, true).unwrap();
        assert_eq!(
            recipe_status(Some(&now.to_string())),
            RecipeStatus::Verified
        );
        assert_eq!(recipe_status(None), RecipeStatus::Unverified);
        // The images of an index are compared one by one.
        let mut of_index = now.clone();
        of_index.add_list("docker.platforms", ["linux/amd64", "linux/arm64"]);
        assert_eq!(
            recipe_status(Some(&of_index.to_string())),
            RecipeStatus::Verified
        );
        assert_ne!(of_index.identity(), now.identity());
        assert_eq!(*of_index.without_platforms(), now);
        let untested = now.without_tests().to_string();
        assert!(matches!(
            recipe_status(Some(&untested)),
            RecipeStatus::Stale(_)
        ));
        assert_eq!(
            RecipeStatus::of(Some(&untested), &now, false),
            Ok(RecipeStatus::Verified)
        );
    }
}
