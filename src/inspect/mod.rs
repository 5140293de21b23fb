//! What the registries, the engine and the builder folders have.
//!
//! One HEAD a reference, all at once, and one request to the engine whatever it has. The labels of an
//! image are asked for once: they belong to its digest, and never change.

mod builders;
mod labels;
mod rights;
mod working_copies;

use std::collections::BTreeMap;

use futures_util::StreamExt as _;

pub use builders::{BuilderError, builder_names, folder_builder};
pub use labels::labels;
pub use rights::{NotPushed, push_rights};
pub use working_copies::{Asked, Found, compared, unpushed, working_copies};

use crate::client::registry::{RegistryClient, RegistryError};
use crate::error::{Diagnostic as _, chain};
use crate::image::ImageReference;
use crate::plan::{Presence, Refusal};

/// How many references are asked for at once; each registry limits its own share.
const AT_ONCE: usize = 256;

/// Asks the registries for each reference once.
///
/// A reference about which a registry could not tell is [`Presence::Unknown`], never absent.
pub async fn registries(
    client: &RegistryClient,
    images: Vec<ImageReference>,
) -> BTreeMap<ImageReference, Presence> {
    let asked = futures_util::stream::iter(images).map(|image| async move {
        let presence = match client.digest(&image).await {
            Ok(Some(digest)) => Presence::Present(digest),
            Ok(None) => Presence::Absent,
            Err(error) => Presence::Unknown(refusal(&error)),
        };
        (image, presence)
    });
    asked.buffer_unordered(AT_ONCE).collect().await
}

fn refusal(error: &RegistryError) -> Refusal {
    Refusal {
        why: chain(error).replace("\n  cause: ", ": "),
        hints: error.hints(),
    }
}
