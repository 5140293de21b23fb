//! Gathers facts about builder images.

use futures_util::future::join_all;
use tokio::task::spawn_blocking;

use super::{CheckedPlatform, DoctorContext, grouped};
use crate::base::task::joined;
use crate::flow::survey;
use crate::model::doctor::{BuilderFacts, BuilderLocation, CheckFailure};
use crate::model::image::ImageReference;
use crate::model::manifest::{BuilderImage, Service};

/// Looks up the builder image of each service with scripts, and the images of its sidecars.
pub(super) async fn builders(context: &DoctorContext<'_>) -> Vec<BuilderFacts> {
    let Some(platform) = &context.platform else {
        return Vec::new();
    };
    let used = context.services().flat_map(|service: &Service| {
        let images = service.used_images().into_iter();
        images.map(|image| (image.to_string(), (image, service.name.to_string())))
    });
    let queries = grouped(used).into_iter().map(|(name, users)| async move {
        let services = users.iter().map(|(_, service)| service.clone()).collect();
        match users[0].0 {
            BuilderImage::Folder(_) => folder(context, platform, name, users[0].0, services).await,
            BuilderImage::External(image) => external(context, name, image, services).await,
        }
    });
    join_all(queries).await
}

async fn folder(
    context: &DoctorContext<'_>,
    platform: &CheckedPlatform<'_>,
    name: String,
    image: &BuilderImage,
    services: Vec<String>,
) -> BuilderFacts {
    let mut facts = BuilderFacts {
        image: name.clone(),
        is_folder: true,
        location: Err(CheckFailure::timeout(&name, context.limit)),
        services,
        name,
    };
    let BuilderImage::Folder(builder) = image.clone() else {
        return facts;
    };
    let manifest = platform.manifest.clone();
    // Reads every file of the folder.
    let read =
        async { joined(spawn_blocking(move || survey::folder_builder(&manifest, &builder)).await) };
    let what = format!("the folder of {}", facts.name);
    facts.location = match context.limited(what, read).await {
        Ok((_, folder)) => {
            facts.image = short_tag(&folder.image);
            let engine = in_engine(context, &folder.image).await;
            let has_registry = folder.image.repository().registry().is_some();
            let registry = if has_registry && !context.offline {
                Some(in_registry(context, &folder.image).await)
            } else {
                None
            };
            Ok(BuilderLocation { engine, registry })
        }
        Err(failure) => Err(failure),
    };
    facts
}

async fn external(
    context: &DoctorContext<'_>,
    name: String,
    image: &ImageReference,
    services: Vec<String>,
) -> BuilderFacts {
    let engine = in_engine(context, image).await;
    // An image in the engine is never pulled.
    let registry = match engine {
        Some(true) => None,
        _ if context.offline => None,
        _ => Some(in_registry(context, &image.with_defaults()).await),
    };
    BuilderFacts {
        image: name.clone(),
        name,
        is_folder: false,
        services,
        location: Ok(BuilderLocation { engine, registry }),
    }
}

/// Returns whether the engine has an image; `None` if it does not respond.
async fn in_engine(context: &DoctorContext<'_>, image: &ImageReference) -> Option<bool> {
    let engine = context.engine_state().await.engine?;
    let what = format!("the engine, queried for {image},");
    let found = context.limited(what, engine.image(image)).await;
    found.ok().map(|found| found.is_some())
}

async fn in_registry(
    context: &DoctorContext<'_>,
    image: &ImageReference,
) -> Result<bool, CheckFailure> {
    let client = context.registry().await;
    let what = match image.repository().registry() {
        Some(registry) => format!("the registry {registry}, queried for {image},"),
        None => format!("the registry of {image}"),
    };
    let found = context.limited(what, client.digest(image)).await?;
    Ok(found.is_some())
}

/// Returns the abbreviated content tag of an image.
fn short_tag(image: &ImageReference) -> String {
    match image.tag() {
        Some(tag) => tag.as_str().chars().take(8).collect(),
        None => image.to_string(),
    }
}
