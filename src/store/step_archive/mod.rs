//! Archives of a phase's outputs: a tar file in zstd.
//!
//! Archives come from registries, so [`unpack`] trusts nothing in them: it extracts to a new folder next to the target,
//! accepts only what [`pack`] writes, and moves outputs into place after everything was checked, including the digest.
//! Owners and extended attributes are not kept.

mod error;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod header;
mod links;
mod outputs;
mod pack;
mod place;
mod staging;
mod stream;
mod times;
mod unpack;

pub use error::ArchiveError;
pub use pack::pack;
pub use unpack::unpack;

#[cfg(test)]
mod tests;
