//! Verifies images: their signatures, and whether their provenance is consistent with them.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;

use super::attest;
use super::lock;
use super::plan::Resolved;
use super::request::{EngineUse, LockRequest, ReferenceOverrides};
use super::session::Session;
use crate::base::error::{Diagnostic, Exit, Failure, chain, hint_lines};
use crate::base::plural::count_of;
use crate::client::registry::RegistryClient;
use crate::execute::attest::{AttestError, Verifier, platforms};
use crate::model::event::Event;
use crate::model::image::{Digest, ImageRepository};
use crate::model::lock::Lock;
use crate::model::manifest::{EnvironmentName, ServiceName};
use crate::model::plan::{ImageToVerify, Inventory, PlanDraft};
use crate::model::supply::{
    Expected, Finding, ImageVerdict, UnknownCause, VerifyResults, source_uri,
};

/// The number of images that are verified concurrently; each needs a few requests and processes.
const CONCURRENCY: usize = 8;

/// Returns the images of the current commits of some services.
///
/// # Errors
///
/// A remote or registry does not respond.
pub async fn current(
    session: &Session,
    services: BTreeSet<ServiceName>,
    references: ReferenceOverrides,
) -> Result<Lock, Failure> {
    let request = LockRequest {
        services,
        references,
        test: true,
        trust_commit: false,
        engine: EngineUse::None,
        built: Default::default(),
    };
    let empty = Lock::default();
    let fresh = lock::fresh(session, &request, &empty, None);
    Ok(session.unless_interrupted(fresh).await?.lock)
}

/// Verifies the images of a set.
///
/// # Errors
///
/// There is nothing to verify them by, or `cosign` or the key cannot be used. What a registry does not tell is a result.
pub async fn set(session: &Session, set: &Lock) -> Result<VerifyResults, Failure> {
    check_supply(session)?;
    // The engine is optional here: it only provides the list of insecure registries.
    let facts = session.engine().await.map(|(_, facts)| facts);
    let registry = session.registry(&facts.unwrap_or_default());
    let manifest = &session.manifest;
    let images = set.services.iter().map(|(name, entry)| {
        let service = manifest.services.get(name);
        let image = ImageToVerify {
            service: name.clone(),
            repository: entry.image.repository().clone(),
            digest: entry.digest.clone(),
            expected: Expected {
                commit: entry.commit,
                source: source_uri(&entry.remote, None),
            },
            has_provenance: service.map_or(manifest.supply.provenance, |service| {
                manifest.has_provenance(service)
            }),
        };
        ImageToVerify {
            digest: image
                .digest
                .filter(|_| image.repository.registry().is_some()),
            ..image
        }
    });
    verified(session, &registry, images.collect()).await
}

/// Fails unless every image of a set verifies.
///
/// # Errors
///
/// An image does not verify, or it cannot be known.
pub async fn require(
    session: &Session,
    images: &Lock,
    environment: &EnvironmentName,
) -> Result<(), Failure> {
    let results = set(session, images).await?;
    verdict(&results, &format!("nothing was deployed to {environment}"))
}

/// Returns an error if an image does not verify, or if it cannot be known; `consequence` is what did not happen.
///
/// # Errors
///
/// See above.
pub fn verdict(results: &VerifyResults, consequence: &str) -> Result<(), Failure> {
    let consequence = match consequence {
        "" => String::new(),
        consequence => format!("; {consequence}"),
    };
    let unknown: Vec<_> = results.unknown().collect();
    if !unknown.is_empty() {
        let lines = unknown
            .iter()
            .map(|(image, cause)| format!("\n  {}: {}", image.service, cause.why));
        let mut hints: Vec<String> = Vec::new();
        for hint in unknown.iter().flat_map(|(_, cause)| &cause.hints) {
            if !hints.contains(hint) {
                hints.push(hint.clone());
            }
        }
        let message = format!(
            "error: cannot tell whether {} verify{consequence}{}{}",
            count_of(unknown.len(), "image"),
            lines.collect::<String>(),
            hint_lines(&hints)
        );
        return Err(Failure::rendered(Exit::Outside, message));
    }
    let rejected: Vec<&ImageVerdict> = results.rejected().collect();
    if rejected.is_empty() {
        return Ok(());
    }
    let lines = rejected.iter().filter_map(|image| {
        let problem = image.problem()?;
        Some(format!(
            "\n  {}: {problem} ({})",
            image.service, image.image
        ))
    });
    let message = format!(
        "error: {} of {} not verify{consequence}{}\n\
         hint: an image that this platform did not sign may come from anyone who can push; `xp build --force SERVICE` builds, signs and pushes it again",
        rejected.len(),
        match results.images.len() {
            1 => "1 image does".to_owned(),
            count => format!("{} do", count_of(count, "image")),
        },
        lines.collect::<String>()
    );
    Err(Failure::rendered(Exit::ServiceFailed, message))
}

/// Marks the images of a draft that do not verify, so that they are built again; an image that a lock names must verify.
///
/// # Errors
///
/// It cannot be known whether an image verifies.
pub async fn reject(
    session: &Session,
    draft: &PlanDraft<'_>,
    resolved: &Resolved,
    inventory: &mut Inventory,
) -> Result<(), Failure> {
    check_supply(session)?;
    let images = draft.images_to_verify(inventory);
    if images.is_empty() {
        return Ok(());
    }
    let registry = &resolved.clients.registry;
    let repositories: Vec<_> = images
        .iter()
        .map(|image| (image.repository.clone(), image.digest.clone()))
        .collect();
    let results = verified(session, registry, images).await?;
    let is_certain = results.unknown().next().is_none();
    if !is_certain || resolved.is_locked() {
        verdict(&results, "nothing was built")?;
    }
    for ((repository, digest), image) in repositories.into_iter().zip(&results.images) {
        if let (Some(problem), Some(digest)) = (image.problem(), digest) {
            let why = format!("does not verify: {problem}");
            inventory.reject(&repository.with_digest(digest), why);
        }
    }
    Ok(())
}

fn check_supply(session: &Session) -> Result<(), Failure> {
    let manifest = &session.manifest;
    let mut services = manifest.services.values();
    if manifest.supply.is_verifiable() || services.any(|it| it.supply.provenance == Some(true)) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "nothing to verify images by: {} sets neither `supply.sign` nor `supply.provenance`\n\
         hint: add `supply: {{provenance: true, sign: {{key: cosign.key, publicKey: cosign.pub}}}}`",
        manifest.file_name()
    )))
}

async fn verified(
    session: &Session,
    registry: &RegistryClient,
    images: Vec<ImageToVerify>,
) -> Result<VerifyResults, Failure> {
    let signing = attest::verifier(session).await?;
    let what = format!("verifying {}", count_of(images.len(), "image"));
    session.events.emit(Event::stage(what));
    let verifier = Verifier {
        registry,
        signing: signing.as_ref().map(|(cosign, key)| (cosign, key)),
    };
    let verifier = &verifier;
    let requests = futures_util::stream::iter(images)
        .map(|image| async move { judged(verifier, &image).await });
    let results = async { Ok(requests.buffered(CONCURRENCY).collect().await) };
    let results = session.unless_interrupted(results).await;
    session.events.emit(Event::StageFinished);
    Ok(VerifyResults { images: results? })
}

/// Judges an image, and the images of its platforms if it is an index.
async fn judged(verifier: &Verifier<'_>, image: &ImageToVerify) -> ImageVerdict {
    let ImageToVerify {
        service,
        repository,
        ..
    } = image;
    let name = match &image.digest {
        Some(digest) => repository.with_digest(digest.clone()).to_string(),
        None => repository.to_string(),
    };
    let verdict = |finding, platforms| ImageVerdict {
        service: service.to_string(),
        image: name.clone(),
        commit: image.expected.commit.to_string(),
        finding,
        platforms,
    };
    let Some(digest) = &image.digest else {
        return verdict(Finding::Missing, Vec::new());
    };
    let children = match platforms(verifier.registry, repository, digest).await {
        Ok(Some(children)) => children,
        Ok(None) => return verdict(Finding::Missing, Vec::new()),
        Err(error) => return verdict(unknown(&error), Vec::new()),
    };
    if verifier.signing.is_none() && !image.has_provenance {
        return verdict(Finding::NotRequired, Vec::new());
    }
    let finding = of_image(verifier, image, digest).await;
    let finding = finding.unwrap_or_else(|error| unknown(&error));
    let mut platforms = Vec::new();
    for child in children {
        let of_platform = of_platform(verifier, repository, &child).await;
        let mut of_platform = of_platform.unwrap_or_else(|error| unknown(&error));
        // The signed index names it by digest.
        if of_platform == Finding::Unsigned && finding == Finding::Verified {
            of_platform = Finding::Verified;
        }
        platforms.push((child.to_string(), of_platform));
    }
    verdict(finding, platforms)
}

async fn of_image(
    verifier: &Verifier<'_>,
    image: &ImageToVerify,
    digest: &Digest,
) -> Result<Finding, AttestError> {
    let repository = &image.repository;
    let signature = verifier.signature(repository, digest).await?;
    if signature != Finding::Verified || !image.has_provenance {
        return Ok(signature);
    }
    verifier
        .provenance(repository, digest, &image.expected)
        .await
}

async fn of_platform(
    verifier: &Verifier<'_>,
    repository: &ImageRepository,
    digest: &Digest,
) -> Result<Finding, AttestError> {
    let name = repository.with_digest(digest.clone());
    if verifier.registry.digest(&name).await?.is_none() {
        return Ok(Finding::Missing);
    }
    verifier.signature(repository, digest).await
}

fn unknown(error: &impl Diagnostic) -> Finding {
    Finding::Unknown(UnknownCause {
        why: chain(error).replace("\n  cause: ", ": "),
        hints: error.hints(),
    })
}
