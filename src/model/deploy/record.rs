//! The deploy record of an environment: what was deployed to it, and by whom.
//!
//! The record is a ConfigMap in the environment's namespace, or a document in the engine of a compose project. It is
//! written before anything is applied and again after
//! the rollout, so that the next deploy can detect a killed one. Writes use optimistic locking: of two concurrent
//! deploys, one fails.

mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::base::error::{Diagnostic, Exit};
use crate::model::lock::Lock;
use crate::model::manifest::{EnvironmentName, ServiceName};
use stored::{StoredDeploy, StoredRecord};

/// The format version of the record.
const VERSION: u64 = 1;

/// The key in the ConfigMap's data.
const KEY: &str = "record.json";

/// The number of deploys to keep, apart from those needed for a rollback.
const MAX_KEPT: usize = 10;

/// The number of successful deploys to keep, however many have failed since.
const MIN_SUCCESSFUL: usize = 2;

/// The maximum length of the record: Kubernetes limits objects to 1 MiB.
const MAX_LENGTH: usize = 900_000;

/// The state of a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeployState {
    /// It is in progress or was killed.
    Deploying,
    /// It was applied and rolled out.
    Deployed,
    /// The cluster rejected it, or the rollout failed.
    Failed,
    /// It was interrupted.
    Interrupted,
}

impl DeployState {
    /// Returns what happened to the deploy, such as `failed`, after "which".
    pub fn ending(self) -> &'static str {
        match self {
            Self::Deploying => "did not finish",
            Self::Deployed => "finished",
            Self::Failed => "failed",
            Self::Interrupted => "was interrupted",
        }
    }
}

impl fmt::Display for DeployState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deploying => "deploying",
            Self::Deployed => "deployed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        })
    }
}

/// One deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The sequence number, starting at 1.
    pub number: u64,
    /// A unique ID, independent of the number.
    pub id: String,
    pub state: DeployState,
    /// When it started, in UTC.
    pub started: OffsetDateTime,
    /// The latest possible end, if it is in progress.
    pub until: OffsetDateTime,
    /// When it ended.
    pub ended: Option<OffsetDateTime>,
    /// Who started it: a user and a host, or the URL of a CI job.
    pub by: String,
    /// The manifest's commit, with `-dirty` if files were changed; `None` outside of git.
    pub manifest: Option<String>,
    /// The commit of the kustomize files, if they have their own repository.
    pub files: Option<String>,
    /// The requested services; empty for all.
    pub services: Vec<String>,
    /// The deploy that it rolled back to.
    pub rollback_to: Option<u64>,
    /// The services of the manifest that the kustomize files did not reference.
    pub unused: BTreeSet<ServiceName>,
    /// What was deployed.
    pub set: Lock,
    /// The engine's IDs of images that are in no registry.
    pub ids: BTreeMap<ServiceName, String>,
}

/// The deploy record of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The deploys, newest first.
    pub deploys: Vec<Deployment>,
}

/// A record that cannot be read.
#[derive(Debug, Error)]
#[error("the record {name} in the cluster cannot be read: {why}")]
pub struct RecordError {
    name: String,
    why: String,
}

impl Diagnostic for RecordError {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        vec![format!(
            "if a newer xp wrote it, use that version; otherwise delete the ConfigMap {}: the next deploy starts a new record, which has nothing to roll back to",
            self.name
        )]
    }
}

/// There is no deploy to roll back to.
#[derive(Debug, Error)]
#[error("{environment} cannot be rolled back: {why}")]
pub struct NothingToRollBackTo {
    environment: String,
    why: String,
    /// Whether the environment is in a cluster.
    in_cluster: bool,
}

impl NothingToRollBackTo {
    /// Turns the error into one about a compose project.
    pub fn of_compose(self) -> Self {
        Self {
            in_cluster: false,
            ..self
        }
    }
}

impl Diagnostic for NothingToRollBackTo {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        let by_cluster = if self.in_cluster {
            ", and `kubectl rollout undo` rolls back a single workload"
        } else {
            ""
        };
        vec![format!(
            "`xp deploy {} --lock FILE` deploys the images of a lock{by_cluster}",
            self.environment
        )]
    }
}

/// Another deploy is in progress.
#[derive(Debug, Error)]
#[error("{by} has been deploying to {environment} since {since}; deploy {number} times out at {until}", since = time_of_day(started), until = time_of_day(until))]
pub struct DeployInProgress {
    environment: String,
    number: u64,
    by: String,
    started: OffsetDateTime,
    until: OffsetDateTime,
}

impl Diagnostic for DeployInProgress {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        vec!["wait for it to finish, or use `--take-over` if it was killed".to_owned()]
    }
}

/// Returns the time of day, in UTC.
fn time_of_day(time: &OffsetDateTime) -> String {
    let format = time::macros::format_description!("[hour]:[minute]:[second] UTC");
    time.format(format).unwrap_or_default()
}

impl Record {
    /// Returns the name of the ConfigMap of an environment.
    pub fn name(environment: &EnvironmentName) -> String {
        format!("xp-deploy-{environment}")
    }

    /// Reads the record from its ConfigMap, as JSON.
    ///
    /// # Errors
    ///
    /// The format is newer than this xp supports, or invalid.
    pub fn read(object: &Value) -> Result<Self, RecordError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let failed = |why: String| RecordError {
            name: name.to_owned(),
            why,
        };
        let text = object["data"][KEY].as_str();
        let text = text.ok_or_else(|| failed(format!("it has no `{KEY}`")))?;
        Self::parse(text).map_err(failed)
    }

    /// Parses the record's JSON text.
    ///
    /// # Errors
    ///
    /// Why it is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stored: StoredRecord = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if stored.version != VERSION {
            return Err(format!("unsupported format version {}", stored.version));
        }
        let deploys = stored.deploys.into_iter().map(StoredDeploy::deployment);
        Ok(Self {
            deploys: deploys.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the record's JSON text, with the deploys to keep, newest first.
    pub fn text(&self) -> String {
        let mut kept: BTreeMap<usize, StoredDeploy> = BTreeMap::new();
        let mut length = 0;
        let deploys: Vec<&Deployment> = self.kept().collect();
        // If there is not enough room, drop failed deploys before successful ones.
        let successful = self.successful();
        let mut by_priority: Vec<usize> = (0..deploys.len()).collect();
        by_priority
            .sort_by_key(|index| *index > 0 && !successful.contains(&deploys[*index].number));
        for index in by_priority {
            let deploy = StoredDeploy::of(deploys[index]);
            length += serde_json::to_string(&deploy).unwrap_or_default().len();
            if !kept.is_empty() && length > MAX_LENGTH {
                break;
            }
            kept.insert(index, deploy);
        }
        let kept: Vec<StoredDeploy> = kept.into_values().collect();
        let stored = json!({"version": VERSION, "deploys": kept});
        if length < MAX_LENGTH / 3 {
            format!("{stored:#}\n")
        } else {
            // Without indentation, to save space.
            format!("{stored}\n")
        }
    }

    /// Returns the ConfigMap to write, with the resource version of the one that was read, if any.
    pub fn object(&self, environment: &EnvironmentName, read: Option<&Value>) -> Value {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": Self::name(environment),
                "labels": {
                    "app.kubernetes.io/managed-by": "xp",
                    "x-platform/environment": environment.as_str(),
                },
            },
            "data": {KEY: self.text()},
        });
        if let Some(version) = read.map(|read| &read["metadata"]["resourceVersion"]) {
            object["metadata"]["resourceVersion"] = version.clone();
        }
        object
    }

    /// Returns the number of the next deploy.
    pub fn next_number(&self) -> u64 {
        self.deploys.first().map_or(1, |last| last.number + 1)
    }

    /// Returns the last successful deploy.
    pub fn last_deployed(&self) -> Option<&Deployment> {
        let mut deploys = self.deploys.iter();
        deploys.find(|it| it.state == DeployState::Deployed)
    }

    /// Returns the numbers of the last successful deploys.
    fn successful(&self) -> Vec<u64> {
        let successful = self.deploys.iter();
        let successful = successful.filter(|it| it.state == DeployState::Deployed);
        successful
            .take(MIN_SUCCESSFUL)
            .map(|it| it.number)
            .collect()
    }

    /// Returns the deploys to keep.
    fn kept(&self) -> impl Iterator<Item = &Deployment> {
        let successful = self.successful();
        let deploys = self.deploys.iter().enumerate();
        let kept =
            deploys.filter(move |(index, it)| *index < MAX_KEPT || successful.contains(&it.number));
        kept.map(|(_, it)| it)
    }

    /// Returns the number of the deploy that this one originates from: follows rollbacks to the deploy that first
    /// deployed these images.
    fn origin(&self, deploy: &Deployment) -> u64 {
        let mut number = deploy.number;
        let mut back = deploy.rollback_to;
        // Only earlier numbers are followed, because an edited record may contain a cycle.
        while let Some(earlier) = back.filter(|earlier| *earlier < number) {
            number = earlier;
            let found = self.deploys.iter().find(|it| it.number == earlier);
            back = found.and_then(|it| it.rollback_to);
        }
        number
    }

    /// Returns the deploy to roll back to: the last successful one before the current one that was not itself rolled
    /// back and that differs from the current one. After a successful rollback, the next one goes back further; after a
    /// failed one, it is retried, and after two failures it goes back further.
    ///
    /// # Errors
    ///
    /// No such deploy exists.
    pub fn rollback_target(
        &self,
        environment: &EnvironmentName,
    ) -> Result<&Deployment, NothingToRollBackTo> {
        let no_target = |why: &str| NothingToRollBackTo {
            environment: environment.to_string(),
            why: why.to_owned(),
            in_cluster: true,
        };
        let Some(current) = self.deploys.first() else {
            return Err(no_target("its record is empty"));
        };
        let is_failed_attempt = |it: &Deployment| {
            it.state == DeployState::Failed && it.rollback_to == current.rollback_to
        };
        let failed_attempts = self
            .deploys
            .iter()
            .take_while(|it| is_failed_attempt(it))
            .count();
        let below = match (current.state, current.rollback_to) {
            (_, None) => current.number,
            (DeployState::Deployed, Some(_)) => self.origin(current),
            (DeployState::Failed, Some(_)) if failed_attempts > 1 => self.origin(current),
            (_, Some(earlier)) => earlier + 1,
        };
        let was_rolled_back = |it: &Deployment| {
            self.deploys.iter().any(|back| {
                back.rollback_to.is_some()
                    && back.number > it.number
                    && self.origin(back) < it.number
                    && back.rollback_to != Some(it.number)
            })
        };
        let is_same = |it: &Deployment| {
            current.state == DeployState::Deployed
                && it.set.services == current.set.services
                && it.ids == current.ids
                && it.manifest == current.manifest
                && it.files == current.files
        };
        let mut deploys = self.deploys.iter();
        let earlier = deploys.find(|it| {
            it.number < below
                && it.state == DeployState::Deployed
                && !was_rolled_back(it)
                && !is_same(it)
        });
        earlier.ok_or_else(|| no_target("its record has no earlier successful deploy"))
    }

    /// Checks that no other deploy is in progress, that is, started and not timed out. `dead` is the ID of a deploy
    /// that is known to have been killed.
    ///
    /// # Errors
    ///
    /// The deploy in progress.
    pub fn check_not_in_progress(
        &self,
        environment: &EnvironmentName,
        now: OffsetDateTime,
        dead: Option<&str>,
    ) -> Result<(), DeployInProgress> {
        match self.deploys.first() {
            Some(last)
                if last.state == DeployState::Deploying
                    && now < last.until
                    && dead != Some(last.id.as_str()) =>
            {
                Err(DeployInProgress {
                    environment: environment.to_string(),
                    number: last.number,
                    by: last.by.clone(),
                    started: last.started,
                    until: last.until,
                })
            }
            _ => Ok(()),
        }
    }

    /// Returns the record with a new deploy; one that was in progress becomes interrupted.
    pub fn with_started(&self, deploy: Deployment) -> Self {
        let mut earlier = self.deploys.clone();
        for deploy in &mut earlier {
            if deploy.state == DeployState::Deploying {
                deploy.state = DeployState::Interrupted;
            }
        }
        earlier.insert(0, deploy);
        let all = Self { deploys: earlier };
        Self {
            deploys: all.kept().cloned().collect(),
        }
    }

    /// Returns the record with the last deploy marked as ended.
    pub fn with_ended(&self, state: DeployState, at: OffsetDateTime) -> Self {
        let mut record = self.clone();
        if let Some(last) = record.deploys.first_mut() {
            last.state = state;
            last.ended = Some(at);
        }
        record
    }
}

impl Deployment {
    /// Returns the deadline of a deploy that starts now. After it, other deploys ignore this one.
    pub fn until(now: OffsetDateTime, rollout: std::time::Duration) -> OffsetDateTime {
        // For applying objects before the rollout and writing the record after it.
        let rest = Duration::seconds(60);
        now + rest + Duration::try_from(rollout).unwrap_or(Duration::hours(1))
    }

    /// Returns the start time for display.
    pub fn when(&self) -> String {
        let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
        self.started.format(format).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
