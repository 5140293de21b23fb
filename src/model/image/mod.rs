//! Image names: registries, repositories, tags, digests and references.
//!
//! Uses the grammar of the distribution project's `reference` package. Pure.

mod digest;
mod engine;
mod ids;
mod name;
mod platform;
mod reference;
mod registry;
mod repository;
mod tag;

pub use digest::Digest;
pub use engine::{EngineImage, EngineImages, ImageQuery, Labels, PlatformImage, PublishedImage};
pub use ids::ImageIds;
pub use platform::Platform;
pub use reference::ImageReference;
pub use registry::{Registry, RegistryPrefix};
pub use repository::ImageRepository;
pub use tag::Tag;

use crate::base::text::{read_as_text, write_as_text};

write_as_text!(Registry, ImageRepository, Tag, Digest, ImageReference);
read_as_text!(Tag, Digest, ImageReference);
