//! Build inputs of images: recipes of service images, content IDs of builder images, and their labels. Pure.

mod content;
mod inputs;
pub mod status;

pub use crate::model::recipe::status::{ChangeKind, RecipeChange, RecipeStatus};
pub use content::{ContentHasher, ContentId};
pub use inputs::{InputDigest, InvalidRecipe, PLATFORMS, Recipe, is_test_input};

/// The label with the commit that an image was built from.
pub const LABEL_REVISION: &str = "org.opencontainers.image.revision";
/// The label with the remote that the commit came from, without credentials.
pub const LABEL_SOURCE: &str = "org.opencontainers.image.source";
/// The label with the time of the commit in RFC 3339, so a rebuild of the same commit has the same value.
pub const LABEL_CREATED: &str = "org.opencontainers.image.created";
/// The label with the branch or tag that was built, or the commit if there was neither.
pub const LABEL_VERSION: &str = "org.opencontainers.image.version";
/// The label with the name of the service, which scripts can read but the recipe does not contain.
pub const LABEL_SERVICE: &str = "x-platform.service";
/// The label with the recipe: the inputs of the build other than the commit.
pub const LABEL_RECIPE: &str = "x-platform.recipe";
/// The label with the images of needed services that were used: a JSON object with the engine's image ID by service.
pub const LABEL_NEEDED_IMAGES: &str = "x-platform.needs";
/// The label with the service, and what is attached last to its image after the push.
pub const LABEL_SUPPLY: &str = "x-platform.supply";
/// The label with the platform, of an image that is part of an index.
pub const LABEL_PLATFORM: &str = "x-platform.platform";
/// The label with the keys of the phases with `inputs`: a JSON object with the key by phase.
pub const LABEL_STEPS: &str = "x-platform.steps";
/// The label with the base images that were used, if all their digests are known: a JSON object with the digest in the
/// registry by name.
pub const LABEL_BASES: &str = "x-platform.bases";
/// The label of an image that was built from a working copy, with the `cacheDir` of the platform.
///
/// Different from the label of builder containers: a container inherits the labels of its image, and xp removes its
/// own leftover containers.
pub const LABEL_LOCAL: &str = "x-platform.local";
