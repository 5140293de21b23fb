//! Gathers facts about registries: connection, login and push access.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{DoctorContext, grouped};
use crate::client::registry::{CredentialSource, Credentials, RegistryClient, RegistryError};
use crate::flow::diagnose::per_host_limit::PerHostLimit;
use crate::model::doctor::{CredentialOrigin, PushAccess, RegistryFacts, RepositoryFacts};
use crate::model::image::{ImageRepository, Registry, Tag};
use crate::model::manifest::{BuilderImage, Service};
use crate::model::source::GitReference;

/// Maximum number of concurrent requests to a registry, equal to the client's limit of open uploads.
const MAX_CONCURRENT: usize = 8;

/// Queries each registry that images are pushed to.
pub(super) async fn registries(context: &DoctorContext<'_>) -> Vec<RegistryFacts> {
    let repositories = repositories(context);
    if repositories.is_empty() {
        return Vec::new();
    }
    let client = context.registry().await;
    let by_registry = repositories.into_iter().filter_map(|(repository, tag)| {
        let registry = repository.registry()?.clone();
        Some((registry, (repository, tag)))
    });
    let queries = grouped(by_registry)
        .into_iter()
        .map(|(registry, repositories)| one(context, client, registry, repositories));
    join_all(queries).await
}

async fn one(
    context: &DoctorContext<'_>,
    client: &RegistryClient,
    registry: Registry,
    repositories: Vec<(ImageRepository, Tag)>,
) -> RegistryFacts {
    let name = format!("the registry {registry}");
    let credentials = client.credentials(&registry);
    let user = context.limited(format!("the credential helper for {registry}"), credentials);
    let user = user.await.map(|found| found.as_ref().map(Credentials::who));
    let mut facts = RegistryFacts {
        host: registry.to_string(),
        origin: origin(client.credential_source(&registry)),
        is_loopback: registry.is_loopback(),
        address: None,
        repositories: Vec::new(),
        user,
    };
    if facts.user.is_err() || context.offline {
        return facts;
    }
    let address = context
        .limited(name.clone(), client.address(&registry))
        .await;
    if address.is_ok() {
        let (name, limit) = (&name, &PerHostLimit::new(MAX_CONCURRENT));
        let queries = repositories.iter().map(|(repository, tag)| async move {
            let what = || format!("{name}, queried for {repository},");
            let image = repository.tagged(tag.clone());
            let pull = async { client.digest(&image).await.map(drop) };
            let push = async {
                let check = client.check_push(repository).await?;
                Ok::<_, RegistryError>(PushAccess {
                    cancel_error: check.cancel_error,
                })
            };
            let (pull, push) = tokio::join!(
                limit.run(context, what(), pull),
                limit.run(context, what(), push)
            );
            RepositoryFacts {
                name: repository.to_string(),
                pull,
                push: Some(push),
            }
        });
        facts.repositories = join_all(queries).await;
    }
    facts.address = Some(address);
    facts
}

fn origin(source: CredentialSource) -> CredentialOrigin {
    match source {
        CredentialSource::NotConfigured => CredentialOrigin::NotConfigured,
        CredentialSource::File(path) => CredentialOrigin::File(path.display().to_string()),
        CredentialSource::Helper(helper) => CredentialOrigin::Helper(helper),
    }
}

/// Returns the repositories that images are pushed to, with a tag that xp sets in each.
fn repositories(context: &DoctorContext<'_>) -> BTreeMap<ImageRepository, Tag> {
    let Some(platform) = &context.platform else {
        return BTreeMap::new();
    };
    let prefix = platform.manifest.registry.as_ref();
    let mut repositories = BTreeMap::new();
    for service in context.services() {
        let image = service.docker.image.clone();
        repositories.entry(image).or_insert_with(|| tag(service));
        for image in service.images() {
            if let BuilderImage::Folder(name) = image
                && let Ok(repository) = format!("builders/{name}").parse::<ImageRepository>()
            {
                let newest = Tag::from_branch("newest");
                repositories.insert(repository.with_prefix(prefix), newest);
            }
        }
    }
    repositories.retain(|repository, _| repository.registry().is_some());
    repositories
}

/// Returns the branch's tag, which need not exist.
fn tag(service: &Service) -> Tag {
    match service.source.reference() {
        GitReference::Named(name) => {
            let name = name.as_str();
            Tag::from_branch(name.strip_prefix("origin/").unwrap_or(name))
        }
        _ => Tag::from_branch("latest"),
    }
}
