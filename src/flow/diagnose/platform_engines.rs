//! Gathers facts about the engines that build images of other platforms.

use futures_util::future::join_all;

use super::DoctorContext;
use crate::client::engine::Engine;
use crate::flow::platform_engines;
use crate::model::doctor::{CheckFailure, PlatformEngineFacts};

/// Connects to the engines that the manifest names; empty if there are none.
pub(super) async fn engines(context: &DoctorContext<'_>) -> Vec<PlatformEngineFacts> {
    let Some(platform) = &context.platform else {
        return Vec::new();
    };
    let manifest = platform.manifest;
    let engines = manifest.engines.iter().filter(|_| !context.offline);
    let checks = engines.map(async |(platform, name)| {
        let own = async {
            let settings = platform_engines::settings(context.settings, manifest, name);
            let settings = settings.map_err(|error| CheckFailure::of(&error))?;
            let facts = async { Engine::connect(&settings).await?.facts().await };
            context.limited(format!("the engine `{name}`"), facts).await
        };
        PlatformEngineFacts {
            platform: platform.clone(),
            context: name.clone(),
            own: own.await.map(|facts| facts.platform()),
        }
    });
    join_all(checks).await
}
