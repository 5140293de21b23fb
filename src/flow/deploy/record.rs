//! The record of an environment: in the cluster, with a copy in the `.xp` folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use super::tools::DeployTools;
use super::{DeployTask, PreparedDeploy, cluster, compose, environment};
use crate::base::error::{Diagnostic as _, Failure, chain, hint_lines};
use crate::base::files;
use crate::base::redact::SharedRedactor;
use crate::base::suggest;
use crate::client::kubectl::{Kubectl, KubectlError, KubectlErrorKind};
use crate::flow::request::DeployRequest;
use crate::flow::session::Session;
use crate::model::deploy::{DeployState, Deployment, Record};
use crate::model::event::Event;
use crate::model::manifest::{ClusterEnvironment, Environment, EnvironmentName, ServiceName};

/// Delays between attempts to record the end of a deploy.
const WRITE_RETRIES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The record, and the cluster object that it was read from.
pub struct RecordSnapshot {
    pub record: Record,
    pub object: Option<Value>,
}

/// Reads the last completed deploy from the cluster or the engine.
pub async fn last_deployed(session: &Session, name: &str) -> Result<Deployment, Failure> {
    let record = match environment(session, Some(name))?.1 {
        Environment::Cluster(environment) => cluster_record(session, environment).await?,
        Environment::Compose(environment) => {
            let record = compose::recorded(session, environment);
            session.unless_interrupted(record).await?
        }
    };
    if let Some(last) = record.deploys.first()
        && last.state != DeployState::Deployed
    {
        session.events.emit(Event::warning(format!(
            "deploy {} of {name} {}; comparing with the last completed one",
            last.number,
            last.state.ending()
        )));
    }
    let last = record.last_deployed().cloned();
    last.ok_or_else(|| {
        Failure::usage(format!(
            "nothing has been deployed to {name} yet\n\
             hint: `xp deploy {name} --dry-run` shows what would be deployed"
        ))
    })
}

async fn cluster_record(
    session: &Session,
    environment: &ClusterEnvironment,
) -> Result<Record, Failure> {
    let tools = DeployTools::find(session, true).await?;
    // The record contains no secrets.
    let kubectl = tools.kubectl(SharedRedactor::default());
    let found = recorded(session, environment, &kubectl);
    let found = session.unless_interrupted(found).await;
    drop(kubectl);
    tools.end().await;
    Ok(found?.record)
}

/// Reads the record from the cluster, using the environment's context.
pub(super) async fn recorded(
    session: &Session,
    environment: &ClusterEnvironment,
    kubectl: &Kubectl<'_>,
) -> Result<RecordSnapshot, Failure> {
    check_context(environment, kubectl).await?;
    let name = Record::name(&environment.name);
    let what = format!("reading the record of {}", environment.name);
    session.events.emit(Event::stage(what));
    let object = kubectl.get(cluster(environment), "configmap", &name).await;
    session.events.emit(Event::StageFinished);
    let object = object?;
    let record = match &object {
        Some(object) => Record::read(object)?,
        None => Record::default(),
    };
    Ok(RecordSnapshot { record, object })
}

async fn check_context(
    environment: &ClusterEnvironment,
    kubectl: &Kubectl<'_>,
) -> Result<(), Failure> {
    let contexts = kubectl.contexts().await?;
    let ClusterEnvironment { name, context, .. } = environment;
    if contexts.contains(context) {
        return Ok(());
    }
    let names = contexts.iter().map(String::as_str);
    let hint = suggest::hint(context, "the contexts", names)
        .unwrap_or_else(|| "set KUBECONFIG to use another kubeconfig".to_owned());
    Err(Failure::outside(format!(
        "your kubeconfig has no context `{context}`, which environment `{name}` requires\n\
         hint: {hint}"
    )))
}

impl DeployTask<'_> {
    /// Reads the record from the cluster.
    pub(super) async fn recorded(&self) -> Result<RecordSnapshot, Failure> {
        recorded(self.session, self.request.environment, &self.kubectl).await
    }

    /// Reads the copy of the record that the last deploy from this folder wrote.
    pub(super) fn copy(&self) -> Option<Record> {
        read_copy(self.session, &self.request.environment.name)
    }

    fn keep_copy(&self, record: &Record) {
        write_copy(self.session, &self.request.environment.name, record);
    }

    /// Records the start of a deploy, unless another one is running.
    pub(super) async fn begin(
        &self,
        read: RecordSnapshot,
        prepared: &PreparedDeploy,
        back: Option<u64>,
    ) -> Result<RecordSnapshot, Failure> {
        let environment = &self.request.environment.name;
        let now = OffsetDateTime::now_utc();
        self.check_not_in_progress(&read.record, now)?;
        let timeout = self.timeout();
        let deployment = Deployment {
            number: read.record.next_number(),
            id: format!("{:x}-{:x}", now.unix_timestamp_nanos(), std::process::id()),
            state: DeployState::Deploying,
            started: now,
            until: Deployment::until(now, timeout),
            ended: None,
            by: who(self.session),
            manifest: prepared.files.manifest.clone(),
            files: prepared.files.commit.map(|commit| commit.to_string()),
            services: self.request.patterns.clone(),
            rollback_to: back,
            unused: self.unused(prepared),
            set: prepared.set.clone(),
            ids: BTreeMap::new(),
        };
        let record = read.record.with_started(deployment);
        let object = record.object(environment, read.object.as_ref());
        // Written before the cluster's record, so that this machine can recognize a killed deploy.
        self.keep_copy(&record);
        let written = self.kubectl.write(self.cluster(), &object).await;
        // Otherwise the cluster may have it after all, and the copy recognizes it.
        let is_refused = |error: &KubectlError| error.kind().is_refusal();
        if written.as_ref().is_err_and(is_refused) {
            self.keep_copy(&read.record);
        }
        match written {
            Ok(object) => Ok(RecordSnapshot {
                record,
                object: Some(object),
            }),
            Err(error) if error.kind() == KubectlErrorKind::Changed => {
                // Another deploy started first; the error names its user.
                let other = self.recorded().await?;
                self.check_not_in_progress(&other.record, now)?;
                Err(Failure::outside(format!(
                    "the record of {environment} was changed by another deploy\n\
                     hint: run the command again to deploy on top of it"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the services of the manifest that the kustomize files do not reference.
    fn unused(&self, prepared: &PreparedDeploy) -> BTreeSet<ServiceName> {
        let services = self.session.manifest.services.keys();
        services
            .filter(|name| !prepared.named.services.contains_key(*name))
            .cloned()
            .collect()
    }

    fn check_not_in_progress(&self, record: &Record, now: OffsetDateTime) -> Result<(), Failure> {
        if self.request.take_over {
            return Ok(());
        }
        // The folder is locked, so a deploy that its copy lists as running was killed.
        let copy = self.copy();
        let dead = copy.as_ref().and_then(|copy| copy.deploys.first());
        let dead = dead.map(|last| last.id.as_str());
        Ok(record.check_not_in_progress(&self.request.environment.name, now, dead)?)
    }

    /// Records the result of the deploy. A failure to write it is an error if the deploy succeeded, else a warning.
    pub(super) async fn end(
        &self,
        started: &RecordSnapshot,
        state: DeployState,
    ) -> Result<Record, Failure> {
        let record = started.record.with_ended(state, OffsetDateTime::now_utc());
        self.keep_copy(&record);
        let Err(error) = self.write_end(started, &record).await else {
            return Ok(record);
        };
        let name = &self.request.environment.name;
        let number = record.deploys.first().map_or(0, |last| last.number);
        let why = chain(&error);
        if state == DeployState::Deployed {
            let hints = hint_lines(&error.hints());
            return Err(Failure::outside(format!(
                "deploy {number} of {name} was rolled out, but its record in the cluster is still marked as running\n  \
                 cause: {why}{hints}\n\
                 hint: `xp deploy {name}` updates the record"
            )));
        }
        let hints: String = error.hints().iter().map(|it| format!("; {it}")).collect();
        self.session.events.emit(Event::warning(format!(
            "cannot update the record of {name}: {why}{hints}"
        )));
        Ok(record)
    }

    /// Writes the final record, with retries.
    async fn write_end(
        &self,
        started: &RecordSnapshot,
        record: &Record,
    ) -> Result<(), KubectlError> {
        let object = record.object(&self.request.environment.name, started.object.as_ref());
        let mut pauses = WRITE_RETRIES.iter();
        loop {
            let Err(error) = self.kubectl.write(self.cluster(), &object).await else {
                return Ok(());
            };
            let is_first = pauses.len() == WRITE_RETRIES.len();
            match error.kind() {
                // An earlier attempt may have succeeded without a response.
                KubectlErrorKind::Changed if !is_first && self.is_written(record).await => {
                    return Ok(());
                }
                KubectlErrorKind::Changed | KubectlErrorKind::Forbidden => return Err(error),
                _ => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(error),
                },
            }
        }
    }

    async fn is_written(&self, record: &Record) -> bool {
        let name = Record::name(&self.request.environment.name);
        let found = self.kubectl.get(self.cluster(), "configmap", &name).await;
        let found = found.ok().flatten();
        let found = found.and_then(|object| Record::read(&object).ok());
        found.is_some_and(|found| {
            let of = |record: &Record| {
                let last = record.deploys.first();
                last.map(|last| (last.id.clone(), last.state))
            };
            of(&found) == of(record)
        })
    }

    /// Returns the time limit of the rollout.
    pub(super) fn timeout(&self) -> Duration {
        let DeployRequest {
            timeout,
            environment,
            ..
        } = self.request;
        timeout.unwrap_or(environment.timeout)
    }
}

/// Returns the file with the copy of an environment's record.
fn copy_file(session: &Session, environment: &EnvironmentName) -> std::path::PathBuf {
    session.layout.environment(environment).join("record.json")
}

/// Reads the copy of a record that the last deploy from this folder wrote.
pub(super) fn read_copy(session: &Session, environment: &EnvironmentName) -> Option<Record> {
    let text = fs::read_to_string(copy_file(session, environment)).ok()?;
    Record::parse(&text).ok()
}

/// Writes the copy of a record; a failure is a warning.
pub(super) fn write_copy(session: &Session, environment: &EnvironmentName, record: &Record) {
    let file = copy_file(session, environment);
    if let Err(error) = files::replace(&file, &record.text()) {
        session.events.emit(Event::warning(format!(
            "cannot write the local copy of the record, {}: {error}",
            file.display()
        )));
    }
}

/// Returns who is deploying: the URL of a CI job, else user and host.
pub(super) fn who(session: &Session) -> String {
    let variable = |name: &str| session.variable(name).filter(|value| !value.is_empty());
    let github = || {
        let (server, repository) = (
            variable("GITHUB_SERVER_URL")?,
            variable("GITHUB_REPOSITORY")?,
        );
        let run = variable("GITHUB_RUN_ID")?;
        Some(format!("{server}/{repository}/actions/runs/{run}"))
    };
    let job = github()
        .or_else(|| variable("CI_JOB_URL"))
        .or_else(|| variable("BUILD_URL"));
    job.unwrap_or_else(|| {
        let user = variable("USER").or_else(|| variable("LOGNAME"));
        let user = user.unwrap_or_else(|| format!("uid {}", session.settings.caller.uid));
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match host.trim() {
            "" => user,
            host => format!("{user}@{host}"),
        }
    })
}
