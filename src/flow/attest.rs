//! Prepares what provenance and signatures need, before anything is built.

use tokio::task::spawn_blocking;

use super::programs::program;
use super::session::Session;
use crate::base::error::Failure;
use crate::base::nonce::nonce;
use crate::base::task::joined;
use crate::client::cosign::{Cosign, PublicKey};
use crate::client::git::file_commit;
use crate::execute::attest::AttestTools;
use crate::model::environment;
use crate::model::manifest::SigningKeys;
use crate::model::plan::{Plan, Step};
use crate::model::source::without_user_info;
use crate::model::supply::{BUILDER, ManifestOrigin};

/// Bytes that are signed to see whether two keys belong together.
const TEST: &[u8] = b"x-platform";

/// Fails if a plan attaches anything: the worker of a fleet knows which images it used, but has no key.
///
/// # Errors
///
/// See above.
pub fn refuse_on_fleet(plan: &Plan) -> Result<(), Failure> {
    let is_step = |step: &Step| matches!(step, Step::Sbom(_) | Step::Provenance(_) | Step::Sign(_));
    let mut units = plan.work();
    match units.find(|unit| unit.steps.iter().any(is_step)) {
        Some(unit) => Err(Failure::usage(format!(
            "`--fleet` does not attach or sign anything, but `supply` in the manifest requires it for {}\n\
             hint: build without `--fleet`, or remove `supply` from the manifest",
            unit.unit
        ))),
        None => Ok(()),
    }
}

/// Returns what the steps of a plan need. The keys and the password are checked by this.
///
/// # Errors
///
/// `cosign` is missing or too old, or a key cannot be used.
pub async fn tools(session: &Session, plan: &Plan) -> Result<AttestTools, Failure> {
    let is_step = |step: &Step| matches!(step, Step::Provenance(_) | Step::Sign(_));
    if !plan.work().any(|unit| unit.steps.iter().any(is_step)) {
        return Ok(AttestTools::default());
    }
    let supply = &session.manifest.supply;
    let signing = match &supply.sign {
        Some(keys) => Some(signer(session, keys).await?),
        None => None,
    };
    let file = session.manifest.file.clone();
    let found = joined(spawn_blocking(move || file_commit(&file)).await);
    let manifest = found.map(|found| ManifestOrigin {
        url: found.url.as_deref().map(without_user_info),
        commit: found.commit,
        path: found.path,
        is_modified: found.is_modified,
    });
    Ok(AttestTools {
        signing,
        manifest,
        builder: supply.builder.clone().unwrap_or_else(|| BUILDER.to_owned()),
        invocation: nonce(),
    })
}

/// Returns `cosign` and the public key that signatures are verified with; `None` if images are not signed.
///
/// # Errors
///
/// `cosign` is missing or too old, or there is no public key and the private one cannot be used.
pub async fn verifier(session: &Session) -> Result<Option<(Cosign, PublicKey)>, Failure> {
    let Some(keys) = &session.manifest.supply.sign else {
        return Ok(None);
    };
    let cosign = find(session).await?;
    let key = match &keys.public_key {
        Some(named) => PublicKey::Named(named.clone()),
        None => cosign.public_key(&keys.key).await.map_err(|error| {
            Failure::from(error).map_message(|message| {
                format!(
                    "{message}\nhint: to verify without the private key, set `supply.sign.publicKey`"
                )
            })
        })?,
    };
    Ok(Some((cosign, key)))
}

/// Returns `cosign` and the public key, after signing something with the private one.
async fn signer(session: &Session, keys: &SigningKeys) -> Result<(Cosign, PublicKey), Failure> {
    let cosign = find(session).await?;
    let signing = async {
        let derived = cosign.public_key(&keys.key).await?;
        let Some(named) = &keys.public_key else {
            return Ok(derived);
        };
        let public = PublicKey::Named(named.clone());
        let signature = cosign.sign(&keys.key, TEST).await?;
        if cosign.is_signed(&public, TEST, &signature).await? {
            return Ok(public);
        }
        Err(Failure::usage(format!(
            "{named} is not the public key of {}\n\
             hint: correct `supply.sign` in the manifest; `cosign public-key --key {}` prints the public key",
            keys.key, keys.key
        )))
    };
    let public = session.unless_interrupted(signing).await?;
    Ok((cosign, public))
}

async fn find(session: &Session) -> Result<Cosign, Failure> {
    let path = session.variable(environment::PATH.name).unwrap_or_default();
    let program = program("cosign", &path);
    let has_password = session
        .settings
        .variables
        .contains_key(environment::COSIGN_PASSWORD.name);
    Ok(Cosign::find(program, &session.manifest.folder, has_password).await?)
}
