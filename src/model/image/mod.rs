//! Image names: registries, repositories, tags, digests and references.
//!
//! Uses the grammar of the distribution project's `reference` package. Pure.

mod digest;
mod engine;
mod ids;
mod name;
mod reference;
mod registry;
mod repository;
mod tag;

pub use digest::Digest;
pub use engine::{EngineImage, EngineImages, ImageQuery, Labels, PublishedImage};
pub use ids::ImageIds;
pub use reference::ImageReference;
pub use registry::{Registry, RegistryPrefix};
pub use repository::ImageRepository;
pub use tag::Tag;

/// Implements `Serialize` as plain text.
macro_rules! serialize_as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
serialize_as_text!(Registry, ImageRepository, Tag, Digest, ImageReference);
