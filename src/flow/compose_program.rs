//! Finds `docker compose`, and the engine for it.

use std::path::Path;

use super::programs::program;
use crate::client::compose::{ComposeEngine, ComposeError, ComposeProgram};
use crate::host::settings::Settings;
use crate::model::environment;

/// Finds a usable version of `docker compose`.
pub async fn find(settings: &Settings, folder: &Path) -> Result<ComposeProgram, ComposeError> {
    let path = settings.variables.get(environment::PATH.name);
    let path = path.map_or("", String::as_str);
    let (docker, standalone) = (program("docker", path), program("docker-compose", path));
    ComposeProgram::find(docker, standalone, folder).await
}

/// Returns the engine that compose must use: the one that xp uses.
pub fn engine(settings: &Settings) -> ComposeEngine {
    match &settings.engine.context {
        Some(context) => ComposeEngine::Context(context.clone()),
        None => ComposeEngine::Address(settings.engine.address.clone()),
    }
}
