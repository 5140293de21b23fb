//! Gathers facts about the compose projects of the environments.

use std::path::Path;

use futures_util::future::join_all;

use super::DoctorContext;
use crate::client::compose::{Compose, ComposeProgram};
use crate::flow::compose_program;
use crate::model::doctor::{CheckFailure, ComposeFacts};
use crate::model::manifest::{ComposeEnvironment, Environment};

/// Checks that compose is installed and accepts the files of each environment; `None` if no environment uses it.
pub(super) async fn compose(context: &DoctorContext<'_>) -> Option<ComposeFacts> {
    let platform = context.platform.as_ref()?;
    let deploy = platform.manifest.deploy.as_ref()?;
    let environments = deploy.environments.values().filter_map(|it| match it {
        Environment::Compose(environment) => Some(environment),
        Environment::Cluster(_) => None,
    });
    let environments: Vec<&ComposeEnvironment> = environments.collect();
    if environments.is_empty() {
        return None;
    }
    let folder = &platform.manifest.folder;
    let program = compose_program::find(context.settings, folder);
    let program = context.limited("docker compose".to_owned(), program).await;
    let checks = environments.into_iter().map(|environment| {
        let program = &program;
        async move {
            let check = match program {
                Ok(program) => check(context, program, folder, environment).await,
                Err(failure) => Err(failure.clone()),
            };
            (environment.name.to_string(), check)
        }
    });
    let environments = join_all(checks).await;
    Some(ComposeFacts {
        version: program.map(|program| program.version),
        environments,
    })
}

/// Reads the compose files; contacts no server.
async fn check(
    context: &DoctorContext<'_>,
    program: &ComposeProgram,
    folder: &Path,
    environment: &ComposeEnvironment,
) -> Result<(), CheckFailure> {
    let compose = Compose {
        program,
        engine: compose_program::engine(context.settings),
        folder,
        files: &environment.files,
        project: environment.project.as_deref(),
        profiles: &environment.profiles,
        on_line: &|_| {},
    };
    let what = format!("docker compose for {}", environment.name);
    context.limited(what, compose.config()).await.map(drop)
}
