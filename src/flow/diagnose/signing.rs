//! Gathers facts about what signs images.

use super::DoctorContext;
use crate::client::cosign::Cosign;
use crate::flow::programs::program;
use crate::model::doctor::SigningFacts;
use crate::model::environment;

/// Checks that `cosign` and the private key can be used; `None` if images are not signed.
pub(super) async fn signing(context: &DoctorContext<'_>) -> Option<SigningFacts> {
    let manifest = &context.platform.as_ref()?.manifest;
    let keys = manifest.supply.sign.as_ref()?;
    let path = context.settings.variables.get(environment::PATH.name);
    let program = program("cosign", path.map_or("", String::as_str));
    let variables = &context.settings.variables;
    let has_password = variables.contains_key(environment::COSIGN_PASSWORD.name);
    let find = Cosign::find(program, &manifest.folder, has_password);
    let cosign = match context.limited("cosign".to_owned(), find).await {
        Ok(cosign) => cosign,
        Err(failure) => {
            return Some(SigningFacts {
                cosign: Err(failure),
                key: None,
            });
        }
    };
    let used = cosign.public_key(&keys.key);
    let used = context.limited(format!("the key {}", keys.key), used).await;
    Some(SigningFacts {
        cosign: Ok(()),
        key: Some((keys.key.clone(), used.map(drop))),
    })
}
