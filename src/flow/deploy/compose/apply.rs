//! Carries out a deploy to a compose project: starts the containers, waits, and updates the record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::record::EngineRecord;
use super::{ComposeTask, LaunchComparison, PreparedLaunch};
use crate::base::error::{Exit, Failure, chain};
use crate::base::plural::count_of;
use crate::base::shell::quoted;
use crate::base::units::elapsed;
use crate::client::compose::{ComposeError, ComposeLine, LineHandler};
use crate::flow::deploy::apply::{FinishedDeploy, rollback_hint};
use crate::model::deploy::{
    DeployState, ProjectContainer, ProjectReadiness, Readiness, container_action,
};
use crate::model::event::{Event, FailedStep, Outcome, Phase, Unit, UnitSummary};
use crate::report::failures;

/// How often containers are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The number of lines to show of the log of a container that is not ready.
const LOG_LINES: usize = 20;

/// How long reading a log may take.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

impl ComposeTask<'_> {
    /// Starts the containers, waits until they are ready, and records the result.
    pub async fn apply(&self, comparison: LaunchComparison) -> Result<FinishedDeploy, Failure> {
        let LaunchComparison {
            read,
            back,
            prepared,
            ..
        } = comparison;
        let begun = self.begin(read, &prepared, back);
        let started = self.session.unless_interrupted(begun).await?;
        let number = self.carry_out(&started, &prepared).await?;
        Ok(FinishedDeploy {
            number,
            services: prepared.images.set.services.into_keys().collect(),
        })
    }

    /// Carries out a deploy that was recorded as started, and returns its number.
    async fn carry_out(
        &self,
        started: &EngineRecord,
        prepared: &PreparedLaunch,
    ) -> Result<u64, Failure> {
        let session = self.session;
        let (begin, timeout) = (Instant::now(), self.timeout());
        let units = self.units();
        session.events.emit(Event::WorkStarted {
            units: units.values().cloned().collect(),
            jobs: units.len(),
        });
        for unit in units.values() {
            session
                .events
                .emit(Event::UnitStarted { unit: unit.clone() });
            session.events.emit(Event::StepStarted {
                unit: unit.clone(),
                phase: Phase::Rollout,
                title: format!("{unit} in {}", self.project.config.name),
            });
        }
        let started_services: Mutex<Vec<String>> = Mutex::default();
        let on_line = |line: ComposeLine<'_>| {
            if let ComposeLine::Text(text) = line
                && let Some((container, action)) = container_action(text)
                && let Some(unit) = (self.project.config.service_of(container))
                    .and_then(|service| units.get(service))
            {
                if action == "Started" {
                    let names = started_services.lock();
                    let mut names = names.unwrap_or_else(PoisonError::into_inner);
                    names.push(unit.to_string());
                }
                session.events.emit(Event::Output {
                    unit: unit.clone(),
                    phase: Phase::Rollout,
                    bytes: format!("{}\n", text.trim()).into(),
                });
            }
        };
        let ran = self.start(&prepared.override_file, begin + timeout, &on_line);
        let failed = match ran.await {
            Ok(failed) => failed,
            Err(failure) => {
                self.end_units(&units, begin, |_| UnitSummary::new(Outcome::Stopped));
                if session.cancel.is_cancelled() {
                    let names = started_services.into_inner();
                    let names = names.unwrap_or_else(PoisonError::into_inner);
                    return Err(self.interrupted(started, &names).await);
                }
                session.reporter.finish();
                // `end` reports it if the record cannot be written.
                _ = self.end(started, DeployState::Failed).await;
                return Err(failure);
            }
        };
        let Some((error, containers)) = failed else {
            self.end_units(&units, begin, |_| UnitSummary::new(Outcome::Done));
            session.reporter.finish();
            let record = self.end(started, DeployState::Deployed).await?;
            return Ok(record.deploys.first().map_or(0, |last| last.number));
        };
        let mut steps = self.failed_steps(&units, &containers).await;
        let are_explained = !steps.is_empty();
        self.end_units(&units, begin, |service| match steps.remove(service) {
            Some(step) => UnitSummary::failed(step),
            // Not all containers were started.
            None if !are_explained => UnitSummary::new(Outcome::Stopped),
            None => UnitSummary::new(Outcome::Done),
        });
        let ended = session.reporter.finish();
        self.end(started, DeployState::Failed).await?;
        session.reporter.print_failures(&failures(&ended, true));
        Err(self.failure(started, &error, &ended))
    }

    /// Starts the containers, and waits until they are ready. Returns the error and the containers if some are not.
    async fn start(
        &self,
        override_file: &Path,
        deadline: Instant,
        on_line: LineHandler<'_>,
    ) -> Result<Option<(ComposeError, Vec<ProjectContainer>)>, Failure> {
        let (session, timeout) = (self.session, self.timeout());
        let up = self
            .project
            .up(override_file, timeout, &session.cancel, on_line);
        let error = match up.await {
            // At its time limit, compose sometimes reports success.
            Ok(()) if self.are_waiting().await? => ComposeError::Failed {
                action: format!("start all containers within {}", elapsed(timeout)),
                lines: Vec::new(),
            },
            Ok(()) => return Ok(None),
            Err(error) if session.cancel.is_cancelled() => return Err(error.into()),
            Err(error) => error,
        };
        let awaited = self.await_jobs(override_file, deadline);
        tokio::select! {
            containers = awaited => match containers {
                Ok(containers) => Ok(containers.map(|containers| (error, containers))),
                // Why the containers did not start says more than why they cannot be listed.
                Err(_) => Err(error.into()),
            },
            () = session.cancel.cancelled() => Err(error.into()),
        }
    }

    /// Waits while containers may still become ready, after compose gave up because a job ended. Returns the containers
    /// if some are not ready.
    async fn await_jobs(
        &self,
        override_file: &Path,
        deadline: Instant,
    ) -> Result<Option<Vec<ProjectContainer>>, Failure> {
        let remaining = self.project.changes(override_file).await?;
        if !remaining.created.is_empty() || !remaining.recreated.is_empty() {
            // Containers that are ready may be the old ones.
            return Ok(Some(self.project.containers().await?));
        }
        loop {
            let containers = self.project.containers().await?;
            match ProjectReadiness::of(&self.project.config, &containers) {
                ProjectReadiness::Ready => return Ok(None),
                ProjectReadiness::Waiting if Instant::now() < deadline => {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                ProjectReadiness::Waiting | ProjectReadiness::Failed => {
                    return Ok(Some(containers));
                }
            }
        }
    }

    /// Returns whether containers are not ready, according to the engine.
    async fn are_waiting(&self) -> Result<bool, Failure> {
        let containers = self.project.containers().await?;
        let readiness = ProjectReadiness::of(&self.project.config, &containers);
        Ok(readiness == ProjectReadiness::Waiting)
    }

    /// Returns the unit of each compose service.
    fn units(&self) -> BTreeMap<String, Unit> {
        let names = self.project.config.services.keys();
        names
            .map(|name| (name.clone(), Unit::Workload(format!("compose/{name}"))))
            .collect()
    }

    fn end_units(
        &self,
        units: &BTreeMap<String, Unit>,
        begin: Instant,
        mut summary: impl FnMut(&str) -> UnitSummary,
    ) {
        for (name, unit) in units {
            let ended = summary(name);
            let elapsed = begin.elapsed();
            if ended.outcome == Outcome::Done {
                self.session.events.emit(Event::StepFinished {
                    unit: unit.clone(),
                    phase: Phase::Rollout,
                    elapsed,
                });
            }
            self.session.events.emit(Event::UnitFinished {
                unit: unit.clone(),
                ended: UnitSummary { elapsed, ..ended },
            });
        }
    }

    /// Returns what failed, for each compose service with a container that is not ready. Its last lines become part of
    /// its log.
    async fn failed_steps(
        &self,
        units: &BTreeMap<String, Unit>,
        containers: &[ProjectContainer],
    ) -> BTreeMap<String, FailedStep> {
        let mut steps = BTreeMap::new();
        for container in containers {
            let Some(unit) = units.get(&container.service) else {
                continue;
            };
            let why = match container.readiness() {
                Readiness::Failed(why) => why,
                Readiness::Waiting(why) if container.status != "created" => why,
                Readiness::Ready | Readiness::Waiting(_) => continue,
            };
            let lines = self.project.engine.last_lines(&container.id, LOG_LINES);
            let lines = tokio::time::timeout(LOG_TIMEOUT, lines).await;
            let lines = lines.ok().and_then(Result::ok).unwrap_or_default();
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            self.session.events.emit(Event::Output {
                unit: unit.clone(),
                phase: Phase::Rollout,
                bytes: text.into(),
            });
            let message = format!("container {} is not ready: {why}", container.name);
            steps
                .entry(container.service.clone())
                .or_insert_with(|| FailedStep {
                    reproduce_command: Some(format!("docker logs {}", quoted(&container.name))),
                    ..FailedStep::new(Phase::Rollout, message)
                });
        }
        steps
    }

    fn failure(
        &self,
        started: &EngineRecord,
        error: &ComposeError,
        ended: &[(Unit, UnitSummary)],
    ) -> Failure {
        let environment = &self.request.environment.name;
        let failed = ended
            .iter()
            .filter(|(_, ended)| ended.outcome == Outcome::Failed)
            .count();
        let rollback = rollback_hint(environment, &started.record);
        let message = if failed > 0 {
            format!(
                "{failed} of {} are not ready in {environment}\n  cause: {}",
                count_of(ended.len(), "compose service"),
                chain(error)
            )
        } else {
            chain(error)
        };
        let show = self.project.command_line(&["ps", "--all"]);
        Failure::rendered(
            Exit::ServiceFailed,
            format!(
                "error: {message}\n  the containers are left as they are; `{show}` lists them{rollback}"
            ),
        )
    }

    async fn interrupted(&self, started: &EngineRecord, changed: &[String]) -> Failure {
        self.session.reporter.finish();
        // `end` reports it if the record cannot be written.
        _ = self.end(started, DeployState::Interrupted).await;
        let changed = match changed {
            [] => "no container was started".to_owned(),
            names => format!("started: {}", names.join(", ")),
        };
        let environment = &self.request.environment.name;
        Failure::rendered(
            Exit::Interrupted,
            format!(
                "error: the deploy to {environment} was interrupted\n  {changed}{}",
                rollback_hint(environment, &started.record)
            ),
        )
    }
}
