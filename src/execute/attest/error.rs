//! Errors of attaching and checking.

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::client::cosign::CosignError;
use crate::client::registry::RegistryError;

/// Provenance or a signature could not be attached or checked.
#[derive(Debug, Error)]
pub enum AttestError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Cosign(#[from] CosignError),
}

impl Diagnostic for AttestError {
    fn exit(&self) -> Exit {
        match self {
            Self::Registry(error) => error.exit(),
            Self::Cosign(error) => error.exit(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Registry(error) => error.hints(),
            Self::Cosign(error) => error.hints(),
        }
    }
}
