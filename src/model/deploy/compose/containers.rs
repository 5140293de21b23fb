//! The containers of a compose project: what would change, and whether they are ready.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::ComposeProject;
use crate::base::plural::count_of;

/// A container of a compose project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectContainer {
    pub id: String,
    pub name: String,
    /// The compose service.
    pub service: String,
    /// Its state, such as `running`.
    pub status: String,
    /// How it ended, if it did.
    pub exit_code: i64,
    /// Why the engine could not start it.
    pub error: Option<String>,
    pub health: ContainerHealth,
}

/// The result of a container's health check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerHealth {
    /// It has no health check.
    #[default]
    None,
    Starting,
    Healthy,
    Unhealthy,
}

/// Whether a container is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It is running and not unhealthy, or ended with success.
    Ready,
    /// It may still become ready; what it is doing.
    Waiting(String),
    /// It is not; why.
    Failed(String),
}

impl ProjectContainer {
    /// Returns whether it is ready.
    pub fn readiness(&self) -> Readiness {
        match (self.status.as_str(), self.health) {
            ("running" | "paused", ContainerHealth::None | ContainerHealth::Healthy) => {
                Readiness::Ready
            }
            ("running" | "paused", ContainerHealth::Starting) => {
                Readiness::Waiting("its health check has not succeeded yet".to_owned())
            }
            ("running" | "paused", ContainerHealth::Unhealthy) => {
                Readiness::Failed("it is unhealthy".to_owned())
            }
            // A job, such as a migration.
            ("exited", _) if self.exit_code == 0 => Readiness::Ready,
            ("exited" | "dead", _) => {
                Readiness::Failed(format!("it exited with code {}", self.exit_code))
            }
            ("restarting", _) => Readiness::Waiting(format!(
                "it is restarting, after it exited with code {}",
                self.exit_code
            )),
            _ => match &self.error {
                Some(error) => Readiness::Failed(format!("it could not be started: {error}")),
                None => Readiness::Waiting("it was not started".to_owned()),
            },
        }
    }

    /// Returns whether it was never started.
    fn is_unstarted(&self) -> bool {
        !matches!(
            self.status.as_str(),
            "running" | "paused" | "exited" | "dead" | "restarting"
        )
    }
}

/// The state of a project after compose failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectReadiness {
    /// Every container is ready: compose counts jobs that ended as failures.
    Ready,
    /// Some containers may become ready.
    Waiting,
    /// Compose did not get as far as starting all containers, or one failed.
    Failed,
}

impl ProjectReadiness {
    /// Returns the state of the containers of a project.
    pub fn of(project: &ComposeProject, containers: &[ProjectContainer]) -> Self {
        let counts = container_counts(containers);
        let is_missing = project.services.iter().any(|(name, service)| {
            counts.get(name.as_str()).copied().unwrap_or(0) < service.replicas
        });
        let own = containers
            .iter()
            .filter(|it| project.services.contains_key(&it.service));
        let mut state = Self::Ready;
        for container in own {
            match container.readiness() {
                Readiness::Failed(_) => return Self::Failed,
                Readiness::Waiting(_) if container.is_unstarted() => return Self::Failed,
                Readiness::Waiting(_) => state = Self::Waiting,
                Readiness::Ready => {}
            }
        }
        if is_missing { Self::Failed } else { state }
    }
}

/// Returns the number of containers of each compose service.
fn container_counts(containers: &[ProjectContainer]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for container in containers {
        *counts.entry(container.service.as_str()).or_default() += 1;
    }
    counts
}

/// What `docker compose up` would do, by compose service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposeChanges {
    pub created: BTreeSet<String>,
    pub recreated: BTreeSet<String>,
    pub started: BTreeSet<String>,
    /// The services with fewer containers than before.
    pub reduced: BTreeSet<String>,
    /// The services of containers that the project no longer has; they are left alone.
    pub orphans: BTreeSet<String>,
}

impl ComposeChanges {
    /// Reads the progress of `docker compose --dry-run create`, given the existing containers.
    pub fn read(
        project: &ComposeProject,
        lines: &[String],
        containers: &[ProjectContainer],
    ) -> Self {
        let mut changes = Self::default();
        for line in lines {
            let Some((container, action)) = container_action(line) else {
                continue;
            };
            let existing = containers.iter().find(|it| it.name == container);
            let service = match existing {
                Some(existing) => existing.service.as_str(),
                None => project.service_of(container).unwrap_or(container),
            };
            let changed = match action {
                "Creating" => &mut changes.created,
                "Recreate" => &mut changes.recreated,
                "Removing" => &mut changes.reduced,
                // It exists, but does not run.
                "Created" if existing.is_some_and(is_stopped) => &mut changes.started,
                _ => continue,
            };
            changed.insert(service.to_owned());
        }
        let orphans = containers
            .iter()
            .filter(|it| !project.services.contains_key(&it.service));
        changes.orphans = orphans.map(|it| it.service.clone()).collect();
        changes
    }

    /// Returns whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        [&self.created, &self.recreated, &self.started, &self.reduced]
            .iter()
            .all(|services| services.is_empty())
    }

    /// Returns the changes for display, one line each.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let lines = [
            ("to create", &self.created),
            ("to recreate", &self.recreated),
            ("to start", &self.started),
            ("to scale down", &self.reduced),
        ];
        for (what, services) in lines {
            if services.is_empty() {
                continue;
            }
            let names: Vec<&str> = services.iter().map(String::as_str).collect();
            let count = count_of(names.len(), "compose service");
            _ = writeln!(text, "{count} {what}: {}", names.join(", "));
        }
        text
    }
}

/// Returns the container and the action of a line of progress, such as ` DRY-RUN MODE -  Container shop-web-1  Recreate`.
pub fn container_action(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("DRY-RUN MODE -").unwrap_or(line);
    let mut words = line.trim().strip_prefix("Container ")?.split_whitespace();
    Some((words.next()?, words.next()?))
}

fn is_stopped(container: &ProjectContainer) -> bool {
    match container.status.as_str() {
        "running" | "paused" | "restarting" => false,
        // A job that is done is not repeated for its own sake.
        "exited" => container.exit_code != 0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(service: &str, status: &str, exit_code: i64) -> ProjectContainer {
        ProjectContainer {
            name: format!("p-{service}-1"),
            service: service.to_owned(),
            status: status.to_owned(),
            exit_code,
            ..ProjectContainer::default()
        }
    }

    fn project(names: &[&str]) -> ComposeProject {
        let services: serde_json::Map<String, serde_json::Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!({"image": "x"})))
            .collect();
        ComposeProject::read(&json!({"name": "p", "services": services})).unwrap()
    }

    #[test]
    fn changes_are_those_of_compose() {
        let project = project(&["new", "same", "changed", "stopped", "job", "scaled"]);
        let containers = [
            container("same", "running", 0),
            container("changed", "running", 0),
            container("stopped", "exited", 137),
            container("job", "exited", 0),
            container("scaled", "running", 0),
            container("old", "running", 0),
        ];
        let lines = [
            " DRY-RUN MODE -  Container p-same-1  Running ",
            " DRY-RUN MODE -  Container p-new-1  Creating ",
            " DRY-RUN MODE -  Container p-changed-1  Recreate ",
            " DRY-RUN MODE -  Container p-stopped-1  Created ",
            " DRY-RUN MODE -  Container p-job-1  Created ",
            " DRY-RUN MODE -  Container p-scaled-1  Removing ",
            " DRY-RUN MODE -  Container p-new-1  Created ",
            " DRY-RUN MODE -  Container p-changed-1  Recreated ",
            " DRY-RUN MODE -  Network p_default  Creating ",
        ];
        let lines = lines.map(str::to_owned);
        let changes = ComposeChanges::read(&project, &lines, &containers);
        assert_eq!(
            changes.text(),
            "1 compose service to create: new\n1 compose service to recreate: changed\n\
             1 compose service to start: stopped\n1 compose service to scale down: scaled\n"
        );
        assert_eq!(changes.orphans, BTreeSet::from(["old".to_owned()]));
        let changes = ComposeChanges::read(&project, &lines[..1], &containers);
        assert!(changes.is_empty());
    }

    #[test]
    fn jobs_that_are_done_are_ready() {
        let project = project(&["web", "job"]);
        let mut containers = vec![
            container("web", "running", 0),
            container("job", "exited", 0),
        ];
        let of = |containers: &[ProjectContainer]| ProjectReadiness::of(&project, containers);
        assert_eq!(of(&containers), ProjectReadiness::Ready);
        assert_eq!(of(&containers[..1]), ProjectReadiness::Failed);
        containers[0].health = ContainerHealth::Starting;
        assert_eq!(of(&containers), ProjectReadiness::Waiting);
        containers[0].health = ContainerHealth::Unhealthy;
        assert_eq!(of(&containers), ProjectReadiness::Failed);
        containers[0] = container("web", "created", 0);
        assert_eq!(of(&containers), ProjectReadiness::Failed);
        containers[0] = container("web", "restarting", 1);
        assert_eq!(of(&containers), ProjectReadiness::Waiting);
        containers[0] = container("web", "exited", 3);
        assert_eq!(of(&containers), ProjectReadiness::Failed);
    }
}
