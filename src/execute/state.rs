//! What is learnt on the way through a unit's steps.

use std::path::PathBuf;

use super::needs::UsedImages;
use crate::image::{Digest, ImageReference};

/// An image that a registry has by its identity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The identity tag.
    pub identity: ImageReference,
    /// What it names.
    pub digest: Digest,
}

/// What the steps of a unit learn, and the later ones need.
#[derive(Default)]
pub struct UnitState {
    /// The commit's time, in seconds since 1970.
    pub commit_time: Option<i64>,
    /// The images of needed services that the image was built from, once it is built.
    pub used: Option<UsedImages>,
    /// The image in the registry, once it is pushed.
    pub published: Option<Published>,
    /// The folder with the working copy's git objects.
    pub objects: Option<PathBuf>,
    /// The folders that it borrows objects from, by the very same paths.
    pub borrowed_objects: Vec<PathBuf>,
}
