//! What an image was made from: the recipe of a service's image, the content id of a builder image, and
//! the labels that tell of them. Pure.

mod content;
mod inputs;
mod standing;

pub use content::{ContentHasher, ContentId};
pub use inputs::{InputDigest, InvalidRecipe, Recipe};
pub use standing::{Change, Standing};

/// The label with the commit that an image was built from.
pub const LABEL_REVISION: &str = "org.opencontainers.image.revision";
/// The label with the remote that the commit came from, without credentials.
pub const LABEL_SOURCE: &str = "org.opencontainers.image.source";
/// The label with the time of the commit, in RFC 3339: a rebuild of the same commit gets the same.
pub const LABEL_CREATED: &str = "org.opencontainers.image.created";
/// The label with the branch or tag that was built, or the commit where neither was named.
pub const LABEL_VERSION: &str = "org.opencontainers.image.version";
/// The label with the recipe: what of the build's inputs the commit does not say.
pub const LABEL_RECIPE: &str = "x-platform.recipe";
/// The label with the images of needed services that an image was built from: JSON, the engine's id by service.
pub const LABEL_NEEDS: &str = "x-platform.needs";
/// The label of an image that was built from a working copy, with the `cacheDir` of the xp that did.
///
/// Not the label of builder containers: a container has the labels of its image, and xp removes what
/// is left of its own.
pub const LABEL_LOCAL: &str = "x-platform.local";
