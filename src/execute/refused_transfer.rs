//! Classifies rejected pushes and pulls. The engine passes on only part of the registry's response, so the registry
//! is queried directly if that is not enough.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::ExecuteContext;
use crate::base::error::{Diagnostic, Exit};
use crate::client::engine::EngineError;
use crate::client::registry::RegistryError;
use crate::model::image::{Digest, ImageReference, Registry};
use crate::model::plan::TransferRefusal;

/// The time limit for querying the registry.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A failed push or pull of the engine, with the registry's response to a query of xp.
#[derive(Debug, Error)]
pub struct RefusedTransfer {
    error: EngineError,
    image: ImageReference,
    is_push: bool,
    /// The classified reason.
    pub refusal: TransferRefusal,
    /// The registry's response to xp.
    registry_error: Option<RegistryError>,
    /// Whether the registry accepts uploads, so that it rejects only this tag or image.
    accepts_uploads: bool,
    /// Whether the push should have replaced an image, and the tag still points at that.
    replaces: bool,
}

impl fmt::Display for RefusedTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            EngineError::Refused { message, .. } if self.replaces => write!(
                f,
                "the registry does not allow overwriting {}: {message}",
                self.image
            )?,
            error => write!(f, "{error}")?,
        }
        match &self.registry_error {
            Some(registry_error) => write!(f, "; {registry_error}"),
            None => Ok(()),
        }
    }
}

impl RefusedTransfer {
    /// Classifies a failed push or pull, and queries the registry if the engine's error is unclear. Returns the error
    /// unchanged if the registry is not involved.
    pub async fn of(
        context: &ExecuteContext,
        image: &ImageReference,
        is_push: bool,
        error: EngineError,
    ) -> Result<Self, EngineError> {
        let EngineError::Refused {
            message, status, ..
        } = &error
        else {
            return Err(error);
        };
        let mut refused = Self {
            refusal: TransferRefusal::of(registry_status(*status), message),
            error,
            image: image.clone(),
            is_push,
            registry_error: None,
            accepts_uploads: false,
            replaces: false,
        };
        let is_unclear = match refused.refusal {
            // The registry may state how long to wait.
            TransferRefusal::RateLimit | TransferRefusal::Unknown => true,
            // An exceeded quota, for example, is often a 403.
            TransferRefusal::Rights => is_push,
            _ => false,
        };
        if is_unclear {
            refused.query_registry(context).await;
        }
        Ok(refused)
    }

    async fn query_registry(&mut self, context: &ExecuteContext) {
        let registry_error = async {
            if self.is_push {
                let check = context.registry.check_push(self.image.repository());
                check.await.map(drop)
            } else {
                context.registry.digest(&self.image).await.map(drop)
            }
        };
        match tokio::time::timeout(QUERY_TIMEOUT, registry_error).await {
            Ok(Ok(())) => self.accepts_uploads = true,
            Ok(Err(registry_error)) => {
                let refusal = match registry_error.rejection() {
                    Some((status, message)) => TransferRefusal::of(Some(status), message),
                    None => TransferRefusal::of(None, &registry_error.to_string()),
                };
                if refusal != TransferRefusal::Unknown {
                    self.refusal = refusal;
                }
                self.registry_error = Some(registry_error);
            }
            Err(_) => {}
        }
    }

    /// Returns how long to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        self.registry_error
            .as_ref()
            .and_then(RegistryError::retry_after)
    }

    /// Records that the push should have replaced the image `old`, which the tag pointed at when planning.
    pub async fn replacing(mut self, context: &ExecuteContext, old: &Digest) -> Self {
        if self.refusal == TransferRefusal::ImmutableTag {
            let now = context.registry.digest(&self.image).await;
            // Otherwise another push was first.
            self.replaces = now.ok().flatten().as_ref() == Some(old);
        }
        self
    }
}

/// Returns the status of the engine's response if it is the registry's.
fn registry_status(status: Option<u16>) -> Option<u16> {
    // All others may come from the engine itself.
    status.filter(|status| matches!(status, 408 | 425 | 429))
}

impl Diagnostic for RefusedTransfer {
    fn exit(&self) -> Exit {
        self.error.exit()
    }

    fn may_refuse_tag_move(&self) -> bool {
        matches!(
            self.refusal,
            TransferRefusal::ImmutableTag | TransferRefusal::Rights | TransferRefusal::Unknown
        )
    }

    fn lost_engine(&self) -> bool {
        self.error.lost_engine()
    }

    fn hints(&self) -> Vec<String> {
        if self.replaces {
            return vec![
                "use the existing image with `--trust-commit`, whatever it was built from"
                    .to_owned(),
                "or create a new commit, even an empty one, to get a new tag".to_owned(),
            ];
        }
        let registry = self.image.repository().registry();
        let registry = registry.cloned().unwrap_or_else(Registry::docker_hub);
        let mut hints = self.refusal.hints(registry.as_str());
        let is_unexplained = matches!(
            self.refusal,
            TransferRefusal::Rights | TransferRefusal::Unknown
        );
        if self.is_push && self.accepts_uploads && is_unexplained {
            hints.push(format!(
                "the registry accepts uploads to {}, so it rejects this tag or this image; its log may show why",
                self.image.repository()
            ));
        }
        if hints.is_empty() {
            hints = self.error.hints();
        }
        hints
    }
}
