//! Images of the platform in the engine.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{self, BuilderTags, PlatformContext};
use super::{environments, locks};
use crate::base::error::{Diagnostic as _, Failure, chain};
use crate::client::engine::{Engine, ListedImage};
use crate::flow::session::Session;
use crate::model::clean::{
    CleanItem, CleanPlan, Contents, ImageContent, OpenReferences, Place, Repository,
    RepositoryKind, Roots, StoredImage, Untagging, plan,
};
use crate::model::event::Event;
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};
use crate::model::manifest::CleanKeep;
use crate::model::recipe::LABEL_LOCAL;

/// What Podman adds to names without a registry.
const PODMAN: &str = "localhost/";

/// Reads the images of the platform, and what the engine itself uses.
///
/// # Errors
///
/// The engine does not respond.
pub async fn read(
    session: &Session,
    engine: &Engine,
    names: &BTreeMap<ImageRepository, RepositoryKind>,
    roots: &mut Roots,
) -> Result<Vec<Repository>, Failure> {
    session
        .events
        .emit(Event::stage("reading the images of the engine"));
    let read = async {
        environments::in_engine(&session.manifest, engine, roots).await?;
        list(engine, names).await
    };
    let listed = session.unless_interrupted(read).await;
    session.events.emit(Event::StageFinished);
    let listed = listed?;
    let platform = PlatformContext::of(session);
    Ok(repositories(platform, names, &listed))
}

/// Returns about what a clean-up would remove, without other machines: branches may exist, and locks in the history of
/// the platform's repository are not read.
///
/// # Errors
///
/// The engine does not respond, or the folder of a builder cannot be read.
pub async fn estimate(
    platform: PlatformContext<'_>,
    engine: &Engine,
    now: i64,
) -> Result<CleanPlan, Failure> {
    let manifest = platform.manifest;
    let names = super::repositories(manifest)?;
    let mut roots = Roots::default();
    locks::working_files(&manifest.folder, &mut roots);
    super::current_builders(manifest, &mut roots)?;
    environments::in_engine(manifest, engine, &mut roots).await?;
    for name in manifest.services.keys() {
        let references = OpenReferences::default();
        roots.services.insert(name.clone(), references);
    }
    let listed = list(engine, &names).await?;
    let keep = manifest.clean.keep;
    let contents = Contents {
        repositories: repositories(platform, &names, &listed),
        roots,
        // The last commit of a branch is probably its tip.
        keep: CleanKeep {
            commits: keep.commits.max(1),
            ..keep
        },
        now,
    };
    Ok(plan(&contents, Place::Engine))
}

/// Returns the images with a name in one of the repositories.
async fn list(
    engine: &Engine,
    names: &BTreeMap<ImageRepository, RepositoryKind>,
) -> Result<Vec<ListedImage>, Failure> {
    let patterns = names.keys().flat_map(|name| {
        let name = name.familiar_name();
        [format!("{PODMAN}{name}"), name]
    });
    Ok(engine.images_in(patterns).await?)
}

fn repositories(
    platform: PlatformContext<'_>,
    names: &BTreeMap<ImageRepository, RepositoryKind>,
    listed: &[ListedImage],
) -> Vec<Repository> {
    let builders = builder_tags(names, listed);
    let repositories = names.iter().map(|(name, kind)| {
        let images = listed.iter();
        let images = images.filter_map(|image| stored(platform, name, kind, image, &builders));
        Repository {
            name: name.clone(),
            kind: kind.clone(),
            images: images.collect(),
            // An engine removes names one by one.
            untagging: Untagging::Works,
        }
    });
    repositories.collect()
}

/// Returns the tags of an image in one repository.
fn tags_in(name: &ImageRepository, image: &ListedImage) -> Vec<Tag> {
    let names = image.names.iter().filter_map(|text| {
        let text = text.strip_prefix(PODMAN).unwrap_or(text);
        let found: ImageReference = text.parse().ok()?;
        let is_same = found.repository().familiar_name() == name.familiar_name();
        found.tag().filter(|_| is_same).cloned()
    });
    names.collect()
}

fn builder_tags(
    names: &BTreeMap<ImageRepository, RepositoryKind>,
    listed: &[ListedImage],
) -> BuilderTags {
    let builders = names.iter().filter(|(_, kind)| kind.is_builder());
    let tags = builders.flat_map(|(name, _)| listed.iter().flat_map(|it| tags_in(name, it)));
    images::builder_tags(tags)
}

fn stored(
    platform: PlatformContext<'_>,
    name: &ImageRepository,
    kind: &RepositoryKind,
    image: &ListedImage,
    builders: &BuilderTags,
) -> Option<StoredImage> {
    let tags = tags_in(name, image);
    if tags.is_empty() {
        return None;
    }
    let digests = image.digests.iter().filter_map(|name| name.split_once('@'));
    let digests = digests.filter_map(|(_, digest)| digest.parse().ok());
    let aliases: BTreeSet<Digest> = digests.collect();
    let digest = images::id_digest(&image.id)?;
    let content = match kind {
        RepositoryKind::Builder => ImageContent::Builder,
        RepositoryKind::Service(_) => images::content(platform, &image.labels, builders),
    };
    // An image of a working copy belongs to the platform that built it.
    let owner = image.labels.get(LABEL_LOCAL);
    let own = platform.cache_dir.display().to_string();
    let content = match owner {
        Some(owner) if *owner != own => {
            ImageContent::Foreign(format!("built from working copies of {owner}"))
        }
        _ => content,
    };
    let start = digest.as_str().rsplit(':').next().unwrap_or_default();
    let start = start
        .get(..16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    Some(StoredImage {
        aliases: aliases.into_iter().collect(),
        tags,
        content,
        children: Vec::new(),
        subject: None,
        created: image.created.and_then(images::known_time),
        blobs: vec![(start.unwrap_or_default(), image.size)],
        digest,
    })
}

/// Removes the names of images, and those that were the last ones with their images. Returns the number of items that
/// were removed, and those that the engine refuses to remove.
///
/// # Errors
///
/// The engine does not respond.
pub async fn remove(
    session: &Session,
    engine: &Engine,
    items: &[&CleanItem],
) -> Result<(usize, Vec<(CleanItem, String)>), Failure> {
    let (mut done, mut skipped) = (0, Vec::new());
    session
        .events
        .emit(Event::stage("removing images from the engine"));
    let mut failed = None;
    'items: for item in items {
        let Ok(name) = item.group.parse::<ImageRepository>() else {
            continue;
        };
        for tag in item.tags.iter().filter_map(|tag| tag.parse::<Tag>().ok()) {
            let name = name.tagged(tag);
            // The engine removes whatever the name refers to by now.
            let removed = match engine.image(&name).await {
                Ok(Some(found))
                    if images::id_digest(&found.id).is_some_and(|it| it.as_str() == item.name) =>
                {
                    engine.remove_image_name(&name.familiar_name()).await
                }
                Ok(_) => Ok(false),
                Err(error) => Err(error),
            };
            match removed {
                Ok(_) => {}
                // A container that was created meanwhile uses it.
                Err(error) if error.status() == Some(409) => {
                    skipped.push(((*item).clone(), chain(&error)));
                    continue 'items;
                }
                Err(error) => {
                    failed = Some(error);
                    break 'items;
                }
            }
        }
        done += 1;
    }
    session.events.emit(Event::StageFinished);
    match failed {
        None => Ok((done, skipped)),
        Some(error) => {
            let hints: String = error
                .hints()
                .iter()
                .map(|it| format!("\nhint: {it}"))
                .collect();
            let text = format!(
                "{}; {done} images were removed from the engine{hints}",
                chain(&error)
            );
            Err(Failure::outside(text))
        }
    }
}
