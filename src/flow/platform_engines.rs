//! Connects to the engines that build images of other platforms.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::session::Session;
use crate::base::error::Failure;
use crate::client::engine::{
    DockerContextError, Engine, EngineSettings, FileAccess, docker_context_of_manifest,
};
use crate::execute::{ExecuteContext, PlatformEngines};
use crate::host::settings::Settings;
use crate::model::engine::EngineProperties;
use crate::model::image::Platform;
use crate::model::manifest::Manifest;
use crate::model::plan::{Plan, Step};

/// Connects to the engines that the manifest names for the platforms of the plan's images, and returns their contexts.
///
/// # Errors
///
/// A docker context does not exist, or its engine does not respond.
pub async fn connect(
    session: &Session,
    plan: &Plan,
    context: &ExecuteContext,
) -> Result<PlatformEngines, Failure> {
    let steps = plan.work().flat_map(|unit| &unit.steps);
    let contexts: BTreeMap<&Platform, &String> = steps
        .filter_map(|step| match step {
            Step::Image(step) => step.platform.as_ref().zip(step.engine.as_ref()),
            _ => None,
        })
        .collect();
    let mut engines = PlatformEngines::new();
    for (platform, name) in contexts {
        let (engine, facts) = connect_to(session, name).await?;
        engines.insert(platform.clone(), Arc::new(context.on_engine(engine, facts)));
    }
    Ok(engines)
}

/// Connects to the engine of a docker context, and reads its facts.
///
/// # Errors
///
/// The context does not exist, or its engine does not respond.
pub async fn connect_to(
    session: &Session,
    context: &str,
) -> Result<(Engine, EngineProperties), Failure> {
    let settings = settings(&session.settings, &session.manifest, context)?;
    let connected = async {
        let engine = Engine::connect(&settings).await?;
        let facts = engine.facts().await?;
        Ok((engine, facts))
    };
    session.unless_interrupted(connected).await
}

/// Returns how to connect to the engine of a docker context.
///
/// # Errors
///
/// The context does not exist or cannot be read.
pub fn settings(
    settings: &Settings,
    manifest: &Manifest,
    context: &str,
) -> Result<EngineSettings, DockerContextError> {
    let folder = settings.registry.docker_config.as_deref();
    let context = docker_context_of_manifest(folder, context, &manifest.file_name())?;
    Ok(EngineSettings {
        address: context.address,
        tls: context.tls,
        context: Some(context.name),
        context_error: None,
        // It builds from what is sent to it.
        file_access: FileAccess::Remote,
        buildkit: settings.engine.buildkit,
    })
}
