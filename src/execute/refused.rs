//! What a refused push or pull means: the engine passes on a part of the registry's answer, the registry itself the
//! whole.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::Context;
use crate::client::engine::EngineError;
use crate::client::registry::RegistryError;
use crate::error::{Diagnostic, Exit};
use crate::image::{Digest, ImageReference, Registry};
use crate::plan::TransferRefusal;

/// How long the registry is asked why it refused something.
const ASK: Duration = Duration::from_secs(60);

/// A push or a pull that the engine could not do, and what the registry said when xp asked it.
#[derive(Debug, Error)]
pub struct Refused {
    error: EngineError,
    image: ImageReference,
    is_push: bool,
    /// Why.
    pub refusal: TransferRefusal,
    /// The registry's own refusal.
    answer: Option<RegistryError>,
    /// Whether the registry was asked, and refuses nothing but this tag or image.
    takes_others: bool,
    /// Whether the tag names an image that was to be replaced, and still does.
    replaces: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            EngineError::Refused { message, .. } if self.replaces => write!(
                f,
                "the registry does not let {} be overwritten: {message}",
                self.image
            )?,
            error => write!(f, "{error}")?,
        }
        match &self.answer {
            Some(answer) => write!(f, "; {answer}"),
            None => Ok(()),
        }
    }
}

impl Refused {
    /// Classifies a failed push or pull, and asks the registry where the engine does not say enough. `None` where the
    /// registry has no part in it.
    pub async fn of(
        context: &Context,
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
            answer: None,
            takes_others: false,
            replaces: false,
        };
        let is_unclear = match refused.refusal {
            // How long to wait.
            TransferRefusal::RateLimit | TransferRefusal::Unknown => true,
            // A quota, for one, is often refused with 403.
            TransferRefusal::Rights => is_push,
            _ => false,
        };
        if is_unclear {
            refused.ask(context).await;
        }
        Ok(refused)
    }

    async fn ask(&mut self, context: &Context) {
        let answer = async {
            if self.is_push {
                let check = context.registry.check_push(self.image.repository());
                check.await.map(drop)
            } else {
                context.registry.digest(&self.image).await.map(drop)
            }
        };
        match tokio::time::timeout(ASK, answer).await {
            Ok(Ok(())) => self.takes_others = true,
            Ok(Err(answer)) => {
                let refusal = match answer.answer() {
                    Some((status, message)) => TransferRefusal::of(Some(status), message),
                    None => TransferRefusal::of(None, &answer.to_string()),
                };
                if refusal != TransferRefusal::Unknown {
                    self.refusal = refusal;
                }
                self.answer = Some(answer);
            }
            Err(_) => {}
        }
    }

    /// Returns how long the registry asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer.as_ref().and_then(RegistryError::retry_after)
    }

    /// Notes that the push was to replace an image: `old` is what the tag named when the plan was made.
    pub async fn replacing(mut self, context: &Context, old: &Digest) -> Self {
        if self.refusal == TransferRefusal::ImmutableTag {
            let now = context.registry.digest(&self.image).await;
            // Otherwise another push was faster.
            self.replaces = now.ok().flatten().as_ref() == Some(old);
        }
        self
    }
}

/// Returns the status of the engine's answer where it is the registry's.
fn registry_status(status: Option<u16>) -> Option<u16> {
    // Everything else may be the engine's own.
    status.filter(|status| matches!(status, 408 | 425 | 429))
}

impl Diagnostic for Refused {
    fn exit(&self) -> Exit {
        self.error.exit()
    }

    fn may_keep_tag(&self) -> bool {
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
                "`--trust-commit` goes on with the image that is there, whatever it was built from"
                    .to_owned(),
                "or build under another tag: a new commit gets one, even an empty one".to_owned(),
            ];
        }
        let registry = self.image.repository().registry();
        let registry = registry.cloned().unwrap_or_else(Registry::docker_hub);
        let mut hints = self.refusal.hints(registry.as_str());
        let is_unexplained = matches!(
            self.refusal,
            TransferRefusal::Rights | TransferRefusal::Unknown
        );
        if self.is_push && self.takes_others && is_unexplained {
            hints.push(format!(
                "the registry accepts uploads to {}, so it refuses this tag or this image; its log may show why",
                self.image.repository()
            ));
        }
        if hints.is_empty() {
            hints = self.error.hints();
        }
        hints
    }
}
