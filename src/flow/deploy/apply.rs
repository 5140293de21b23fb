//! Carries out a deploy: compares, applies, waits, and updates the record.

use super::record::RecordSnapshot;
use super::{DeployTask, PreparedDeploy};
use crate::base::error::{Diagnostic as _, Exit, Failure, chain, hint_lines};
use crate::base::plural::count_of;
use crate::client::kubectl::KubectlErrorKind;
use crate::execute::rollout::{ApplyResult, Rollout};
use crate::flow::request::DeployImages;
use crate::model::deploy::{DeployState, Deployment, Record};
use crate::model::event::{Event, Outcome};
use crate::model::manifest::{EnvironmentName, ServiceName};
use crate::report::failures;

/// A prepared deploy, compared with the cluster.
pub struct DeployComparison {
    read: RecordSnapshot,
    back: Option<u64>,
    /// The rendered input.
    pub prepared: PreparedDeploy,
    /// What would change in the cluster; `None` if nothing would.
    pub differences: Option<String>,
    /// Whether there is nothing to deploy.
    pub is_up_to_date: bool,
}

impl DeployComparison {
    /// Returns the record of the environment.
    pub fn record(&self) -> &Record {
        &self.read.record
    }

    /// Returns the number of the deploy to roll back to.
    pub fn back(&self) -> Option<u64> {
        self.back
    }
}

/// A finished deploy.
pub struct FinishedDeploy {
    /// Its number in the record.
    pub number: u64,
    /// The deployed services.
    pub services: Vec<ServiceName>,
}

impl DeployTask<'_> {
    /// Prepares a deploy and compares it with the cluster. Runs all checks before anything is applied.
    pub async fn compare(&self) -> Result<DeployComparison, Failure> {
        let session = self.session;
        let read = session.unless_interrupted(self.recorded()).await?;
        let back = match self.request.images {
            DeployImages::Previous => {
                let environment = &self.request.environment.name;
                Some(read.record.rollback_target(environment)?)
            }
            _ => None,
        };
        let prepared = session
            .unless_interrupted(self.prepare(&read.record, back))
            .await?;
        let differences = session
            .unless_interrupted(self.differences(&prepared))
            .await?;
        session.reporter.finish();
        let back = back.map(|back| back.number);
        // A rollback is recorded even if nothing changes, so that the next one goes further back.
        let is_up_to_date =
            back.is_none() && differences.is_none() && self.is_deployed(&read, &prepared);
        Ok(DeployComparison {
            read,
            back,
            prepared,
            differences,
            is_up_to_date,
        })
    }

    /// Applies the objects, waits for the rollout, and records the result.
    pub async fn apply(&self, comparison: DeployComparison) -> Result<FinishedDeploy, Failure> {
        let DeployComparison {
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
            services: prepared.named.services.into_keys().collect(),
        })
    }

    /// Returns whether the last deploy was successful and had the same images.
    fn is_deployed(&self, read: &RecordSnapshot, prepared: &PreparedDeploy) -> bool {
        let last = read.record.deploys.first();
        last.is_some_and(|last| {
            last.state == DeployState::Deployed && last.set.services == prepared.set.services
        })
    }

    /// Queries what would change in the cluster; `None` if nothing would.
    async fn differences(&self, prepared: &PreparedDeploy) -> Result<Option<String>, Failure> {
        let what = format!("comparing with {}", self.request.environment.name);
        self.session.events.emit(Event::stage(what));
        let (cluster, force) = (self.cluster(), self.request.force_conflicts);
        let compared = self
            .kubectl
            .differences(cluster, &prepared.text, force)
            .await;
        self.session.events.emit(Event::StageFinished);
        let found = compared.map_err(|error| match error.kind() {
            KubectlErrorKind::NoNamespace => Failure::outside(format!(
                "namespace `{}` not found in the cluster of {}\n\
                 hint: `kubectl --context {} create namespace {0}` creates it",
                cluster.namespace, cluster.context, cluster.context
            )),
            _ => error.into(),
        })?;
        let of = |is_new: bool| {
            let found = found.iter().filter(|it| it.is_new == is_new);
            let found: Vec<&str> = found.map(|it| it.object.as_str()).collect();
            found
        };
        let line = |word: &str, objects: Vec<&str>| match objects.len() {
            0 => String::new(),
            count => format!(
                "{} {word}: {}\n",
                count_of(count, "object"),
                objects.join(", ")
            ),
        };
        let text = line("to change", of(false)) + &line("to create", of(true));
        Ok((!text.is_empty()).then_some(text))
    }

    /// Carries out a deploy that was recorded as started, and returns its number.
    async fn carry_out(
        &self,
        started: &RecordSnapshot,
        prepared: &PreparedDeploy,
    ) -> Result<u64, Failure> {
        let session = self.session;
        let rollout = Rollout {
            kubectl: &self.kubectl,
            cluster: self.cluster(),
            events: &session.events,
            cancel: &session.cancel,
            timeout: self.timeout(),
        };
        let count = prepared.rendered.objects().count();
        let what = format!("applying {}", count_of(count, "object"));
        session.events.emit(Event::stage(what));
        let applied = rollout
            .apply(&prepared.text, self.request.force_conflicts)
            .await;
        session.events.emit(Event::StageFinished);
        if applied.stopped {
            return Err(self.interrupted(started, &applied).await);
        }
        if let Some(error) = &applied.error {
            self.end(started, DeployState::Failed).await?;
            session.reporter.finish();
            let hints = hint_lines(&error.hints()) + &self.rollback_hint(started);
            return Err(Failure::rendered(
                Exit::Outside,
                format!(
                    "error: {} rejected part of the deploy\n  cause: {}\n  {}{hints}",
                    self.request.environment.context,
                    chain(error),
                    self.was_applied(&applied)
                ),
            ));
        }
        for (workload, why) in prepared.rendered.manual_rollouts() {
            session
                .events
                .emit(Event::note(format!("not waiting for {workload}: {why}")));
        }
        rollout.wait(&prepared.rendered.workloads()).await;
        if session.cancel.is_cancelled() {
            return Err(self.interrupted(started, &applied).await);
        }
        let ended = session.reporter.finish();
        let failed = ended
            .iter()
            .filter(|(_, ended)| ended.outcome == Outcome::Failed)
            .count();
        let state = match failed {
            0 => DeployState::Deployed,
            _ => DeployState::Failed,
        };
        let record = self.end(started, state).await?;
        if failed > 0 {
            session.reporter.print_failures(&failures(&ended, true));
            return Err(Failure::rendered(
                Exit::ServiceFailed,
                format!(
                    "error: {} of {} did not roll out in {}\n  {}{}",
                    failed,
                    count_of(ended.len(), "workload"),
                    self.request.environment.name,
                    self.was_applied(&applied),
                    self.rollback_hint(started)
                ),
            ));
        }
        Ok(record.deploys.first().map_or(0, |last| last.number))
    }

    async fn interrupted(&self, started: &RecordSnapshot, applied: &ApplyResult) -> Failure {
        self.session.reporter.finish();
        // `end` reports it if the record cannot be written.
        _ = self.end(started, DeployState::Interrupted).await;
        Failure::rendered(
            Exit::Interrupted,
            format!(
                "error: the deploy to {} was interrupted\n  {}{}",
                self.request.environment.name,
                self.was_applied(applied),
                self.rollback_hint(started)
            ),
        )
    }

    fn was_applied(&self, applied: &ApplyResult) -> String {
        match applied.objects.as_slice() {
            [] => "nothing was applied".to_owned(),
            objects => format!("applied: {}", objects.join(", ")),
        }
    }

    /// Returns a hint on how to return to the previous deploy.
    fn rollback_hint(&self, started: &RecordSnapshot) -> String {
        rollback_hint(&self.request.environment.name, &started.record)
    }
}

/// Returns a hint on how to return to the deploy before the one that was started.
pub(super) fn rollback_hint(name: &EnvironmentName, started: &Record) -> String {
    // An interrupted deploy rolls back to the same one as a failed deploy.
    let ended = started.with_ended(DeployState::Failed, time::OffsetDateTime::now_utc());
    let earlier: Option<&Deployment> = ended.rollback_target(name).ok();
    match earlier {
        Some(earlier) => format!(
            "\nhint: `xp deploy {name} --rollback` rolls back to deploy {} of {}",
            earlier.number,
            earlier.when()
        ),
        None => format!(
            "\nhint: no earlier deploy to roll back to: fix the problem and run `xp deploy {name}` again"
        ),
    }
}
