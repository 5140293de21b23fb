//! The record of an environment: in the cluster, and a copy of it in xp's own folder.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use super::tools::Tools;
use super::{Prepared, Task, environment};
use crate::client::kubectl::{Cluster, KubectlError, Refused};
use crate::command::session::Session;
use crate::deploy::{Deployment, Record, State};
use crate::error::{Diagnostic as _, Failure, chain, hint_lines};
use crate::event::Event;
use crate::files;
use crate::manifest::suggest;

/// How long is waited before the end of a deploy is written down once more.
const WRITE_AGAIN: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The record as it was read, and the object that it was read from.
pub struct Recorded {
    pub record: Record,
    pub object: Option<Value>,
}

/// Returns what was deployed last, as the cluster has it.
pub async fn deployed(session: &Session, name: &str) -> Result<Deployment, Failure> {
    let (deploy, environment) = environment(session, name)?;
    let tools = Tools::find(session, true).await?;
    let task = Task {
        session,
        args: &crate::cli::DeployArgs::of(name),
        deploy,
        environment,
        names: crate::deploy::ImageNames::default(),
        // An object of xp's own has no secrets.
        kubectl: tools.kubectl(Arc::new(str::to_owned)),
        secrets: &std::sync::Mutex::default(),
    };
    let found = session.unless_interrupted(task.recorded()).await;
    drop(task);
    tools.end().await;
    let found = found?;
    if let Some(last) = found.record.deploys.first()
        && last.state != State::Deployed
    {
        session.events.emit(Event::Warning(format!(
            "deploy {} of {name} is {}: what is compared is the last one that came to its end",
            last.number, last.state
        )));
    }
    let last = found.record.last_deployed().cloned();
    last.ok_or_else(|| {
        Failure::usage(format!(
            "nothing was deployed to {name} yet, so there is nothing to compare\n\
             hint: `xp deploy {name} --dry-run` shows what would be deployed"
        ))
    })
}

impl Task<'_> {
    /// Reads the record from the cluster, through the environment's own context.
    pub async fn recorded(&self) -> Result<Recorded, Failure> {
        let cluster = self.cluster();
        self.check_context(cluster).await?;
        let name = Record::name(&self.environment.name);
        let what = format!("reading the record of {}", self.environment.name);
        self.session.events.emit(Event::StageStarted(what));
        let object = self.kubectl.get(cluster, "configmap", &name).await;
        self.session.events.emit(Event::StageFinished);
        let object = object?;
        let record = match &object {
            Some(object) => Record::read(object)?,
            None => Record::default(),
        };
        Ok(Recorded { record, object })
    }

    async fn check_context(&self, cluster: Cluster<'_>) -> Result<(), Failure> {
        let contexts = self.kubectl.contexts().await?;
        if contexts.iter().any(|it| it == cluster.context) {
            return Ok(());
        }
        let names = contexts.iter().map(String::as_str);
        let hint = suggest::hint(cluster.context, "it has", names)
            .unwrap_or_else(|| "KUBECONFIG names another kubeconfig".to_owned());
        Err(Failure::outside(format!(
            "your kubeconfig has no context `{}`, which environment `{}` is deployed by; no other is used\n\
             hint: {hint}",
            cluster.context, self.environment.name
        )))
    }

    /// Returns the copy that the last deploy from this folder left.
    pub fn copy(&self) -> Option<Record> {
        let text = fs::read_to_string(self.copy_file()).ok()?;
        Record::parse(&text).ok()
    }

    fn copy_file(&self) -> std::path::PathBuf {
        let folder = self.session.layout.environment(&self.environment.name);
        folder.join("record.json")
    }

    fn keep_copy(&self, record: &Record) {
        if let Err(error) = files::replace(&self.copy_file(), &record.text()) {
            let file = self.copy_file();
            self.session.events.emit(Event::Warning(format!(
                "the copy of the record, {}, cannot be written: {error}",
                file.display()
            )));
        }
    }

    /// Writes down that a deploy begins, unless somebody else deploys.
    pub async fn begin(
        &self,
        read: Recorded,
        prepared: &Prepared,
        back: Option<u64>,
    ) -> Result<Recorded, Failure> {
        let environment = &self.environment.name;
        let now = OffsetDateTime::now_utc();
        self.check_free(&read.record, now)?;
        let timeout = self.timeout();
        let deployment = Deployment {
            number: read.record.next_number(),
            id: format!("{:x}-{:x}", now.unix_timestamp_nanos(), std::process::id()),
            state: State::Deploying,
            started: now,
            until: Deployment::until(now, timeout),
            ended: None,
            by: who(self.session),
            manifest: prepared.files.manifest.clone(),
            files: prepared.files.commit.map(|commit| commit.to_string()),
            services: self
                .args
                .selection
                .patterns()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            rollback_to: back,
            set: prepared.set.clone(),
        };
        let record = read.record.begun(deployment);
        let object = record.object(environment, read.object.as_ref());
        // Before the cluster has it: whoever is killed now is known to be dead here.
        self.keep_copy(&record);
        let written = self.kubectl.write(self.cluster(), &object).await;
        if written.is_err() {
            self.keep_copy(&read.record);
        }
        match written {
            Ok(object) => Ok(Recorded {
                record,
                object: Some(object),
            }),
            Err(error) if error.kind() == Refused::Changed => {
                // Somebody was faster; who, the record says.
                let other = self.recorded().await?;
                self.check_free(&other.record, now)?;
                Err(Failure::outside(format!(
                    "the record of {environment} was written by somebody else meanwhile\n\
                     hint: run it again, on top of what was deployed"
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check_free(&self, record: &Record, now: OffsetDateTime) -> Result<(), Failure> {
        if self.args.take_over {
            return Ok(());
        }
        // Nobody else deploys from this folder now: what its copy calls under way was killed.
        let copy = self.copy();
        let dead = copy.as_ref().and_then(|copy| copy.deploys.first());
        let dead = dead.map(|last| last.id.as_str());
        Ok(record.check_free(&self.environment.name, now, dead)?)
    }

    /// Writes down how the deploy ended. What the cluster cannot be told is told as a warning, and is an error
    /// of a deploy that went well.
    pub async fn end(&self, begun: &Recorded, state: State) -> Result<Record, Failure> {
        let record = begun.record.ended(state, OffsetDateTime::now_utc());
        self.keep_copy(&record);
        let Err(error) = self.write_end(begun, &record).await else {
            return Ok(record);
        };
        let name = &self.environment.name;
        let number = record.deploys.first().map_or(0, |last| last.number);
        let why = chain(&error);
        if state == State::Deployed {
            let hints = hint_lines(&error.hints());
            return Err(Failure::outside(format!(
                "deploy {number} of {name} is rolled out, and its record in the cluster says that it is under way\n  \
                 cause: {why}{hints}\n\
                 hint: `xp deploy {name}` writes it down anew"
            )));
        }
        let hints: String = error.hints().iter().map(|it| format!("; {it}")).collect();
        self.session.events.emit(Event::Warning(format!(
            "the record of {name} cannot be brought up to date: {why}{hints}"
        )));
        Ok(record)
    }

    /// Writes the record at the end, some times where it may work the next time.
    async fn write_end(&self, begun: &Recorded, record: &Record) -> Result<(), KubectlError> {
        let object = record.object(&self.environment.name, begun.object.as_ref());
        let mut pauses = WRITE_AGAIN.iter();
        loop {
            let Err(error) = self.kubectl.write(self.cluster(), &object).await else {
                return Ok(());
            };
            let is_first = pauses.len() == WRITE_AGAIN.len();
            match error.kind() {
                // It may be written, though no answer came.
                Refused::Changed if !is_first && self.is_written(record).await => return Ok(()),
                Refused::Changed | Refused::Forbidden => return Err(error),
                _ => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(error),
                },
            }
        }
    }

    async fn is_written(&self, record: &Record) -> bool {
        let name = Record::name(&self.environment.name);
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

    /// Returns how long the rollout may take.
    pub fn timeout(&self) -> Duration {
        self.args.timeout.unwrap_or(self.environment.timeout)
    }
}

/// Returns who deploys: the page of a CI job, else a person and a machine.
fn who(session: &Session) -> String {
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
