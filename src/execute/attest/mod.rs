//! Provenance and signatures of images: attaches them after a push, and checks those that are attached.

mod error;
mod provenance;
mod sbom;
mod sign;
mod verifier;

pub use error::AttestError;
pub use provenance::provenance;
pub use sbom::sbom;
pub use sign::sign;
pub use verifier::{Verifier, platforms};

use crate::client::cosign::{Cosign, PublicKey};
use crate::model::supply::ManifestOrigin;

/// What the steps need besides the clients of every run.
#[derive(Debug, Clone, Default)]
pub struct AttestTools {
    /// `cosign` and the public key, if images are signed.
    pub signing: Option<(Cosign, PublicKey)>,
    /// The commit of the manifest, if it is in a repository.
    pub manifest: Option<ManifestOrigin>,
    /// The URI of the builder.
    pub builder: String,
    /// The name of this run.
    pub invocation: String,
}
