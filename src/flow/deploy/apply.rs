//! Runs a deploy: compares, applies, waits, and updates the record.

use std::io::Write as _;

use super::record::RecordSnapshot;
use super::services::joined;
use super::{DeployTask, PreparedDeploy, many};
use crate::base::error::{Diagnostic as _, Exit, Failure, chain, hint_lines};
use crate::client::kubectl::Refused;
use crate::execute::rollout::{Applied, Rollout};
use crate::model::deploy::{Deployment, State};
use crate::model::event::{Event, Outcome};
use crate::model::manifest::ServiceName;
use crate::report::{ask, failures, paint};

impl DeployTask<'_> {
    /// Deploys. Everything that can be checked is checked before anything is applied.
    pub async fn deploy(&self) -> Result<(), Failure> {
        let session = self.session;
        let read = session.unless_interrupted(self.recorded()).await?;
        let back = if self.args.rollback {
            Some(read.record.to_roll_back_to(&self.environment.name)?.clone())
        } else {
            None
        };
        let prepared = session
            .unless_interrupted(self.prepare(&read.record, back.as_ref()))
            .await?;
        let differences = session
            .unless_interrupted(self.differences(&prepared))
            .await?;
        session.reporter.finish();
        // A rollback is recorded even if nothing changes, so that the next one goes further back.
        if back.is_none() && differences.is_none() && self.is_deployed(&read, &prepared) {
            return self.print(&format!(
                "{} is up to date ({})\n",
                self.environment.name,
                many(prepared.named.services.len(), "service")
            ));
        }
        self.print_changes(&read.record, &prepared).await?;
        self.print(&differences.unwrap_or_default())?;
        self.confirm().await?;
        let number = back.as_ref().map(|back| back.number);
        let started = session
            .unless_interrupted(self.begin(read, &prepared, number))
            .await?;
        self.carry_out(&started, &prepared).await
    }

    /// Returns whether the last deploy was successful and had the same images.
    fn is_deployed(&self, read: &RecordSnapshot, prepared: &PreparedDeploy) -> bool {
        let last = read.record.deploys.first();
        last.is_some_and(|last| {
            last.state == State::Deployed && last.set.services == prepared.set.services
        })
    }

    /// Asks the cluster what would change; `None` if nothing would.
    async fn differences(&self, prepared: &PreparedDeploy) -> Result<Option<String>, Failure> {
        let what = format!("comparing with {}", self.environment.name);
        self.session.events.emit(Event::stage(what));
        let (cluster, force) = (self.cluster(), self.args.force_conflicts);
        let compared = self
            .kubectl
            .differences(cluster, &prepared.text, force)
            .await;
        self.session.events.emit(Event::StageFinished);
        let found = compared.map_err(|error| match error.kind() {
            Refused::NoNamespace => Failure::outside(format!(
                "there is no namespace {} in the cluster of {}\n\
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
            count => format!("{} {word}: {}\n", many(count, "object"), objects.join(", ")),
        };
        let text = line("to change", of(false)) + &line("to create", of(true));
        Ok((!text.is_empty()).then_some(text))
    }

    async fn confirm(&self) -> Result<(), Failure> {
        let settings = &self.session.settings;
        if self.args.yes || !settings.can_ask {
            return Ok(());
        }
        let question = format!("Deploy this to {}?", self.environment.name);
        let color = settings.report.color;
        let answer = tokio::task::spawn_blocking(move || ask(&question, "no", color));
        let answer = async {
            let answer = answer.await.map(|answer| answer.ok().flatten());
            Ok(answer.ok().flatten().unwrap_or_default())
        };
        let answer = self.session.unless_interrupted(answer).await?;
        match answer.to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::usage(format!(
                "nothing was deployed to {}\nhint: answer `yes` to deploy; `--yes` skips the question",
                self.environment.name
            ))),
        }
    }

    /// Applies the objects, waits for the rollout, and records the result.
    async fn carry_out(
        &self,
        started: &RecordSnapshot,
        prepared: &PreparedDeploy,
    ) -> Result<(), Failure> {
        let session = self.session;
        let rollout = Rollout {
            kubectl: &self.kubectl,
            cluster: self.cluster(),
            events: &session.events,
            cancel: &session.cancel,
            timeout: self.timeout(),
        };
        let count = prepared.rendered.objects().count();
        let what = format!("applying {}", many(count, "object"));
        session.events.emit(Event::stage(what));
        let applied = rollout
            .apply(&prepared.text, self.args.force_conflicts)
            .await;
        session.events.emit(Event::StageFinished);
        if applied.stopped {
            return Err(self.interrupted(started, &applied).await);
        }
        if let Some(error) = &applied.error {
            self.end(started, State::Failed).await?;
            session.reporter.finish();
            let hints = hint_lines(&error.hints()) + &self.rollback_hint(started);
            return Err(Failure::rendered(
                Exit::Outside,
                format!(
                    "error: {} rejected part of the deploy\n  cause: {}\n  {}{hints}",
                    self.environment.context,
                    chain(error),
                    self.was_applied(&applied)
                ),
            ));
        }
        for (workload, why) in prepared.rendered.not_awaited() {
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
            0 => State::Deployed,
            _ => State::Failed,
        };
        let record = self.end(started, state).await?;
        if failed > 0 {
            let text = failures(&ended);
            let text = paint(&text, session.settings.report.color);
            _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
            return Err(Failure::rendered(
                Exit::ServiceFailed,
                format!(
                    "error: {} of {} did not roll out in {}\n  {}{}",
                    failed,
                    many(ended.len(), "workload"),
                    self.environment.name,
                    self.was_applied(&applied),
                    self.rollback_hint(started)
                ),
            ));
        }
        let services: Vec<&ServiceName> = prepared.named.services.keys().collect();
        let number = record.deploys.first().map_or(0, |last| last.number);
        self.print(&format!(
            "deploy {number} of {} finished: {}\n",
            self.environment.name,
            joined(&services)
        ))
    }

    async fn interrupted(&self, started: &RecordSnapshot, applied: &Applied) -> Failure {
        self.session.reporter.finish();
        // `end` reports it if the record cannot be written.
        _ = self.end(started, State::Interrupted).await;
        Failure::rendered(
            Exit::Interrupted,
            format!(
                "error: the deploy to {} was interrupted\n  {}{}",
                self.environment.name,
                self.was_applied(applied),
                self.rollback_hint(started)
            ),
        )
    }

    fn was_applied(&self, applied: &Applied) -> String {
        match applied.objects.as_slice() {
            [] => "nothing was applied".to_owned(),
            objects => format!("applied: {}", objects.join(", ")),
        }
    }

    /// Returns a hint on how to return to the previous deploy.
    fn rollback_hint(&self, started: &RecordSnapshot) -> String {
        let name = &self.environment.name;
        // An interrupted deploy rolls back to the same one as a failed deploy.
        let ended = started
            .record
            .ended(State::Failed, time::OffsetDateTime::now_utc());
        let earlier: Option<&Deployment> = ended.to_roll_back_to(name).ok();
        match earlier {
            Some(earlier) => format!(
                "\nhint: `xp deploy {name} --rollback` rolls back to deploy {} of {}",
                earlier.number,
                earlier.when()
            ),
            None => format!(
                "\nhint: there is no earlier deploy to roll back to: fix the problem and run `xp deploy {name}` again"
            ),
        }
    }

    /// Prints a result, unless the output is quiet or JSON.
    fn print(&self, text: &str) -> Result<(), Failure> {
        if self.session.settings.report.closes_with_table() {
            crate::command::print(text)
        } else {
            Ok(())
        }
    }
}
