//! The containers of a compose project.

use std::collections::HashMap;

use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::health::has_command;
use crate::client::engine::{Engine, EngineError};
use crate::model::deploy::{ContainerHealth, ProjectContainer};

/// The label with the name of a container's compose project.
const PROJECT: &str = "com.docker.compose.project";

/// The label with the name of a container's compose service.
const SERVICE: &str = "com.docker.compose.service";

/// The label that marks the containers of `docker compose run`.
const ONE_OFF: &str = "com.docker.compose.oneoff";

impl Engine {
    /// Returns the containers of the services of a compose project, running or not.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn project_containers(
        &self,
        project: &str,
    ) -> Result<Vec<ProjectContainer>, EngineError> {
        let failed = |error| EngineError::new("list its containers", error);
        let label = format!("{PROJECT}={project}");
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.docker.list_containers(Some(options)).await;
        let mut containers = Vec::new();
        for summary in found.map_err(failed)? {
            let Some(id) = summary.id else { continue };
            let labels = summary.labels.unwrap_or_default();
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            if label(ONE_OFF).eq_ignore_ascii_case("true") {
                continue;
            }
            let options = None::<InspectContainerOptions>;
            let inspected = match self.docker.inspect_container(&id, options).await {
                Ok(inspected) => inspected,
                Err(error) => match failed(error) {
                    // It was removed in the meantime.
                    error if error.status() == Some(404) => continue,
                    error => return Err(error),
                },
            };
            let state = inspected.state.unwrap_or_default();
            let health = state.health.and_then(|health| health.status);
            let config = inspected.config.unwrap_or_default();
            containers.push(ProjectContainer {
                name: inspected
                    .name
                    .unwrap_or_default()
                    .trim_start_matches('/')
                    .to_owned(),
                service: label(SERVICE),
                status: state
                    .status
                    .map(|status| status.to_string())
                    .unwrap_or_default(),
                exit_code: state.exit_code.unwrap_or_default(),
                error: state.error.filter(|error| !error.is_empty()),
                health: match health.map(|health| health.to_string()).as_deref() {
                    Some("starting") => ContainerHealth::Starting,
                    Some("healthy") => ContainerHealth::Healthy,
                    Some("unhealthy") => ContainerHealth::Unhealthy,
                    // The engine sets the state a moment after the container has started.
                    _ if config.healthcheck.as_ref().is_some_and(has_command) => {
                        ContainerHealth::Starting
                    }
                    _ => ContainerHealth::None,
                },
                id,
            });
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Returns the last lines that a container printed.
    ///
    /// # Errors
    ///
    /// If the engine does not respond, or the container's log cannot be read.
    pub async fn last_lines(&self, id: &str, count: usize) -> Result<Vec<String>, EngineError> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&count.to_string())
            .build();
        let log = self.docker.logs(id, Some(options));
        let chunks = log.map_ok(bollard::container::LogOutput::into_bytes);
        let chunks: Vec<_> = chunks
            .take(MAX_CHUNKS)
            .try_collect()
            .await
            .map_err(|error| EngineError::new("read the log of a container", error))?;
        let text = chunks.concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        let excess = lines.len().saturating_sub(count);
        Ok(lines.into_iter().skip(excess).collect())
    }
}

/// The maximum number of chunks to read of a log: a line has one or more.
const MAX_CHUNKS: usize = 10_000;
