//! Finds manifests without tags, which registries do not list.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::registry::{RegistryReader, builder_tags};
use crate::base::error::Failure;
use crate::client::registry::RegistryError;
use crate::flow::session::Session;
use crate::model::clean::{Action, CleanPlan, Contents, ImageContent, Place, RepositoryKind, plan};
use crate::model::event::Event;
use crate::model::image::{Digest, Registry};

/// The number of lookups at once.
const LOOKUPS: usize = 24;

/// A digest in the repository at a position.
type Lookup = (usize, Digest);

/// Adds the manifests without tags that matter: what a root or a kept image names, with its parts, and what describes an
/// image that is removed.
///
/// # Errors
///
/// Any answer is missing.
pub async fn complete(
    session: &Session,
    reader: &RegistryReader<'_>,
    mut contents: Contents,
) -> Result<Contents, Failure> {
    let builders = builder_tags(&contents.repositories);
    let mut known: BTreeSet<Lookup> = BTreeSet::new();
    let mut queried: BTreeSet<Lookup> = BTreeSet::new();
    let mut without_referrers = BTreeSet::new();
    session
        .events
        .emit(Event::stage("looking for images without tags"));
    loop {
        known.extend(
            contents
                .repositories
                .iter()
                .enumerate()
                .flat_map(|(position, it)| {
                    let digests = it
                        .images
                        .iter()
                        .flat_map(|image| std::iter::once(&image.digest).chain(&image.aliases));
                    digests.map(move |digest| (position, digest.clone()))
                }),
        );
        let plan = plan(&contents, Place::Registry);
        let (named, removed) = lookups(&contents, &plan);
        let mut lookups: BTreeSet<Lookup> = named;
        let new = removed.into_iter().filter(|it| queried.insert(it.clone()));
        for of_registry in by_registry(&contents, new) {
            lookups
                .extend(referrers(reader, &contents, of_registry, &mut without_referrers).await?);
        }
        lookups.retain(|lookup| !known.contains(lookup));
        if lookups.is_empty() {
            session.events.emit(Event::StageFinished);
            return Ok(contents);
        }
        known.extend(lookups.iter().cloned());
        let requests = lookups.into_iter().map(|(position, digest)| {
            let repository = &contents.repositories[position];
            let builders = &builders;
            async move {
                let found = reader.lookup(repository, builders, &digest).await?;
                Ok::<_, RegistryError>((position, found))
            }
        });
        let requests: Vec<_> = requests.collect();
        let found = futures_util::stream::iter(requests).buffer_unordered(LOOKUPS);
        let found: Vec<_> = found.try_collect().await?;
        for (position, images) in found {
            let repository = &mut contents.repositories[position];
            for image in images {
                if !repository.images.iter().any(|it| it.digest == image.digest) {
                    repository.images.push(image);
                }
            }
        }
    }
}

/// Returns the images of each registry.
fn by_registry(contents: &Contents, images: impl Iterator<Item = Lookup>) -> Vec<Vec<Lookup>> {
    let mut found: BTreeMap<Option<&Registry>, Vec<Lookup>> = BTreeMap::new();
    for image in images {
        let registry = contents.repositories[image.0].name.registry();
        found.entry(registry).or_default().push(image);
    }
    found.into_values().collect()
}

/// Returns what describes images of one registry. The first response shows whether it has an API for that.
async fn referrers(
    reader: &RegistryReader<'_>,
    contents: &Contents,
    images: Vec<Lookup>,
    without: &mut BTreeSet<Option<Registry>>,
) -> Result<Vec<Lookup>, RegistryError> {
    let query = |(position, digest): Lookup| async move {
        let name = &contents.repositories[position].name;
        let found = reader.client.referrers(name, &digest).await?;
        let found = found.map(|found| found.into_iter().map(|it| (position, it)).collect());
        Ok::<Option<Vec<Lookup>>, RegistryError>(found)
    };
    let mut images = images.into_iter();
    let Some(first) = images.next() else {
        return Ok(Vec::new());
    };
    let registry = contents.repositories[first.0].name.registry().cloned();
    if without.contains(&registry) {
        return Ok(Vec::new());
    }
    let Some(mut lookups) = query(first).await? else {
        without.insert(registry);
        return Ok(Vec::new());
    };
    let rest: Vec<_> = images.map(query).collect();
    let rest = futures_util::stream::iter(rest).buffer_unordered(LOOKUPS);
    let rest: Vec<Option<Vec<Lookup>>> = rest.try_collect().await?;
    lookups.extend(rest.into_iter().flatten().flatten());
    Ok(lookups)
}

/// Returns the digests to look up in repositories, and the images that are removed.
fn lookups(contents: &Contents, plan: &CleanPlan) -> (BTreeSet<Lookup>, Vec<Lookup>) {
    let positions: BTreeMap<String, usize> = contents
        .repositories
        .iter()
        .enumerate()
        .map(|(position, it)| (it.name.to_string(), position))
        .collect();
    let mut named = BTreeSet::new();
    let all: BTreeSet<&Digest> = contents
        .repositories
        .iter()
        .flat_map(|it| &it.images)
        .flat_map(|image| std::iter::once(&image.digest).chain(&image.aliases))
        .collect();
    let untagged = contents.roots.untagged.iter();
    for (repository, digest) in untagged.filter(|(_, digest)| !all.contains(digest)) {
        let services = contents.repositories.iter().enumerate();
        let services = services.filter(|(_, it)| match repository {
            Some(name) => it.name == *name,
            None => !it.kind.is_builder(),
        });
        named.extend(services.map(|(position, _)| (position, digest.clone())));
    }
    let mut removed = Vec::new();
    let mut kept: BTreeSet<(usize, &str)> = BTreeSet::new();
    for item in &plan.items {
        let Some(position) = positions.get(&item.group) else {
            continue;
        };
        match item.action {
            Action::Keep => _ = kept.insert((*position, item.name.as_str())),
            Action::Remove => {
                removed.extend(item.name.parse().ok().map(|digest| (*position, digest)));
            }
            Action::Untag => {}
        }
    }
    for (position, repository) in contents.repositories.iter().enumerate() {
        for image in &repository.images {
            let ImageContent::Built(built) = &image.content else {
                continue;
            };
            if !kept.contains(&(position, image.digest.as_str())) {
                continue;
            }
            for (service, need) in built.needs.iter().filter(|(_, need)| !all.contains(need)) {
                let of = contents.repositories.iter().position(|it| {
                    matches!(&it.kind, RepositoryKind::Service(name) if name.as_str() == service)
                });
                named.extend(of.map(|of| (of, need.clone())));
            }
        }
    }
    (named, removed)
}
