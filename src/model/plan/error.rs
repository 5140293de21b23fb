//! Errors of planning.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::{Presence, QueryFailure, UnsharedImage};
use crate::base::error::{Diagnostic, Exit};
use crate::model::image::ImageReference;
use crate::model::manifest::ManifestError;
use crate::model::recipe::InvalidRecipe;

/// Why planning failed.
#[derive(Debug, Error)]
pub enum PlanError {
    /// A build argument, a variable or a tag cannot be rendered.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A query to a registry failed.
    #[error(transparent)]
    Unknown(#[from] UnknownImages),
    /// The recipe of an image cannot be read.
    #[error(transparent)]
    Recipe(#[from] UnreadableRecipes),
    /// An image of another part of the plan cannot be awaited.
    #[error(transparent)]
    Unshared(#[from] UnsharedImage),
}

/// The maximum number of images listed for each reason.
const NAMED_IMAGES: usize = 3;

/// Images in registries that could not be queried, by reason.
#[derive(Debug, thiserror::Error)]
pub struct UnknownImages(BTreeMap<QueryFailure, Vec<ImageReference>>);

impl fmt::Display for UnknownImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.0.values().map(Vec::len).sum();
        let images = match count {
            1 => "an image exists".to_owned(),
            _ => format!("{count} images exist"),
        };
        // Only a "not found" from the registry itself means that an image is missing.
        write!(f, "cannot tell whether {images}; nothing was built")?;
        // Images of the same registry usually share one reason.
        for (refusal, images) in &self.0 {
            write!(f, "\n  {}", refusal.why)?;
            for image in images.iter().take(NAMED_IMAGES) {
                write!(f, "\n    {image}")?;
            }
            if images.len() > NAMED_IMAGES {
                write!(f, "\n    and {} more", images.len() - NAMED_IMAGES)?;
            }
        }
        Ok(())
    }
}

impl UnknownImages {
    /// Creates an error about one image.
    pub fn of(image: &ImageReference, refusal: QueryFailure) -> Self {
        Self(BTreeMap::from([(refusal, vec![image.clone()])]))
    }

    /// Creates an error about several images, by reason.
    pub(super) fn new(images: BTreeMap<QueryFailure, Vec<ImageReference>>) -> Self {
        Self(images)
    }

    /// Fails if any image is neither present nor absent.
    ///
    /// # Errors
    ///
    /// A query to a registry failed.
    pub fn check<'i>(
        registry: impl IntoIterator<Item = (&'i ImageReference, &'i Presence)>,
    ) -> Result<(), Self> {
        let mut unknown: BTreeMap<QueryFailure, Vec<ImageReference>> = BTreeMap::new();
        for (image, presence) in registry {
            if let Presence::Unknown(refusal) = presence {
                let images = unknown.entry(refusal.clone()).or_default();
                images.push(image.clone());
            }
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Self(unknown))
        }
    }
}

impl Diagnostic for UnknownImages {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        QueryFailure::hints_of(self.0.keys())
    }
}

/// Images with an unreadable `x-platform.recipe` label.
#[derive(Debug, Error)]
pub struct UnreadableRecipes(pub(super) Vec<(ImageReference, InvalidRecipe)>);

impl fmt::Display for UnreadableRecipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot tell what these images were built from; nothing was built")?;
        for (image, invalid) in self.0.iter().take(NAMED_IMAGES) {
            write!(f, "\n  {image}: {invalid}")?;
        }
        if self.0.len() > NAMED_IMAGES {
            write!(f, "\n  and {} more", self.0.len() - NAMED_IMAGES)?;
        }
        Ok(())
    }
}

impl Diagnostic for UnreadableRecipes {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let is_later =
            |(_, invalid): &(_, InvalidRecipe)| matches!(invalid, InvalidRecipe::NewerVersion(_));
        let newer = self.0.iter().any(is_later);
        let mut hints = Vec::new();
        hints.extend(newer.then(|| "a newer xp can read it".to_owned()));
        hints.push("`--trust-commit` accepts an image by its commit alone".to_owned());
        hints.push("`--force` rebuilds the selected services".to_owned());
        hints
    }
}
