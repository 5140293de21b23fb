//! What the cluster keeps of an environment: which sets were deployed to it, and by whom.
//!
//! The record is one ConfigMap of the environment's namespace. It is written before anything is applied, and
//! again when the rollout has ended, so that a deploy that was killed is seen by the next one. Whoever
//! writes it does so on top of what was read: of two at once, one is told of the other.

mod stored;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::error::{Diagnostic, Exit};
use crate::lock::Lock;
use crate::manifest::EnvironmentName;
use stored::{Stored, StoredDeploy};

/// The version of the record's format.
const VERSION: u64 = 1;

/// The key of the ConfigMap's data.
const KEY: &str = "record.json";

/// How many deploys are kept, beside those that there is a way back to.
const KEPT: usize = 10;

/// How many deploys that came to their end are kept, however many failed since.
const GOOD: usize = 2;

/// How long the record may be: an object of a cluster has one MiB at most.
const MAX_LENGTH: usize = 900_000;

/// How a deploy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is under way, or was killed.
    Deploying,
    /// It is applied, and rolled out.
    Deployed,
    /// It was refused, or did not roll out.
    Failed,
    /// It was interrupted.
    Interrupted,
}

impl fmt::Display for State {
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
    /// From one, in their order.
    pub number: u64,
    /// What tells it from any other, whatever its number.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// When it began, in UTC.
    pub started: OffsetDateTime,
    /// When it is over at the latest, if it still is under way.
    pub until: OffsetDateTime,
    /// When it ended.
    pub ended: Option<OffsetDateTime>,
    /// Who did it: a person and a machine, or the page of a CI job.
    pub by: String,
    /// The commit of the manifest; with `-dirty` where files were changed, none outside of git.
    pub manifest: Option<String>,
    /// The commit of the kustomize files, where they have a repository of their own.
    pub files: Option<String>,
    /// The services that were asked for; none for all.
    pub services: Vec<String>,
    /// The deploy that it went back to.
    pub rollback_to: Option<u64>,
    /// What was deployed.
    pub set: Lock,
}

/// What the cluster keeps of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The last one first.
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
            "use a newer xp where one wrote it; else delete the ConfigMap {}: the next deploy begins a new record, without a set to go back to",
            self.name
        )]
    }
}

/// There is nothing to go back to.
#[derive(Debug, Error)]
#[error("{environment} cannot be rolled back: {why}")]
pub struct NoEarlier {
    environment: String,
    why: String,
}

impl Diagnostic for NoEarlier {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec![format!(
            "`xp deploy {} --lock FILE` deploys a set that was written down, and `kubectl rollout undo` goes back with one workload",
            self.environment
        )]
    }
}

/// Another deploy that is under way.
#[derive(Debug, Error)]
#[error("{by} deploys to {environment} since {since}; deploy {number} has until {until}", since = clock(started), until = clock(until))]
pub struct Unfinished {
    environment: String,
    number: u64,
    by: String,
    started: OffsetDateTime,
    until: OffsetDateTime,
}

impl Diagnostic for Unfinished {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "wait for it; if it is known to be dead, as after the end of its machine, `--take-over` goes on without it"
                .to_owned(),
        ]
    }
}

/// Returns a time of the day, in UTC.
fn clock(time: &OffsetDateTime) -> String {
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
    /// A format that is newer than this xp, or something that is no record.
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

    /// Reads the record's own text.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stored: Stored = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if stored.version != VERSION {
            return Err(format!("its format is version {}", stored.version));
        }
        let deploys = stored.deploys.into_iter().map(StoredDeploy::deployment);
        Ok(Self {
            deploys: deploys.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the record's own text: as many deploys as are kept, the last one first.
    pub fn text(&self) -> String {
        let mut kept: BTreeMap<usize, StoredDeploy> = BTreeMap::new();
        let mut length = 0;
        let deploys: Vec<&Deployment> = self.kept().collect();
        // Where there is no room for all, a way back is worth more than what failed.
        let good = self.good();
        let mut by_worth: Vec<usize> = (0..deploys.len()).collect();
        by_worth.sort_by_key(|place| *place > 0 && !good.contains(&deploys[*place].number));
        for place in by_worth {
            let deploy = StoredDeploy::of(deploys[place]);
            length += serde_json::to_string(&deploy).unwrap_or_default().len();
            if !kept.is_empty() && length > MAX_LENGTH {
                break;
            }
            kept.insert(place, deploy);
        }
        let kept: Vec<StoredDeploy> = kept.into_values().collect();
        let stored = json!({"version": VERSION, "deploys": kept});
        match length < MAX_LENGTH / 3 {
            true => format!("{stored:#}\n"),
            // As short as can be.
            false => format!("{stored}\n"),
        }
    }

    /// Returns the ConfigMap, on top of what was read of it; none where there was none.
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

    /// Returns the last deploy that came to its end.
    pub fn last_deployed(&self) -> Option<&Deployment> {
        let mut deploys = self.deploys.iter();
        deploys.find(|it| it.state == State::Deployed)
    }

    /// Returns the numbers of the last deploys that came to their end.
    fn good(&self) -> Vec<u64> {
        let good = self.deploys.iter();
        let good = good.filter(|it| it.state == State::Deployed);
        good.take(GOOD).map(|it| it.number).collect()
    }

    /// Returns the deploys that are kept.
    fn kept(&self) -> impl Iterator<Item = &Deployment> {
        let good = self.good();
        let deploys = self.deploys.iter().enumerate();
        let kept = deploys.filter(move |(place, it)| *place < KEPT || good.contains(&it.number));
        kept.map(|(_, it)| it)
    }

    /// Returns the number of the deploy whose set a deploy has: where it went back to one that had gone
    /// back itself, that of the first of them.
    fn origin(&self, deploy: &Deployment) -> u64 {
        let mut number = deploy.number;
        let mut back = deploy.rollback_to;
        // A record of others may name any number: only earlier ones are followed.
        while let Some(earlier) = back.filter(|earlier| *earlier < number) {
            number = earlier;
            let found = self.deploys.iter().find(|it| it.number == earlier);
            back = found.and_then(|it| it.rollback_to);
        }
        number
    }

    /// Returns the deploy to go back to: the last one before the current one that came to its end, but none
    /// that was gone back from, and none that is the same as the current one. Who has gone back once goes
    /// back further; who tried to, and did not come to the end, tries again, and after two failures further.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn to_roll_back_to(&self, environment: &EnvironmentName) -> Result<&Deployment, NoEarlier> {
        let none = |why: &str| NoEarlier {
            environment: environment.to_string(),
            why: why.to_owned(),
        };
        let Some(current) = self.deploys.first() else {
            return Err(none("its record is empty"));
        };
        let has_failed =
            |it: &Deployment| it.state == State::Failed && it.rollback_to == current.rollback_to;
        let tried = self.deploys.iter().take_while(|it| has_failed(it)).count();
        let below = match (current.state, current.rollback_to) {
            (_, None) => current.number,
            (State::Deployed, Some(_)) => self.origin(current),
            (State::Failed, Some(_)) if tried > 1 => self.origin(current),
            (_, Some(earlier)) => earlier + 1,
        };
        let was_left = |it: &Deployment| {
            self.deploys.iter().any(|back| {
                back.rollback_to.is_some()
                    && back.number > it.number
                    && self.origin(back) < it.number
                    && back.rollback_to != Some(it.number)
            })
        };
        let is_same = |it: &Deployment| {
            current.state == State::Deployed
                && it.set.services == current.set.services
                && it.manifest == current.manifest
                && it.files == current.files
        };
        let mut deploys = self.deploys.iter();
        let earlier = deploys.find(|it| {
            it.number < below && it.state == State::Deployed && !was_left(it) && !is_same(it)
        });
        earlier.ok_or_else(|| none("its record has no earlier set that was deployed to the end"))
    }

    /// Makes sure that nobody else deploys: a deploy that is under way and has time left. `dead` is one
    /// that is known to have been killed.
    ///
    /// # Errors
    ///
    /// Who deploys.
    pub fn check_free(
        &self,
        environment: &EnvironmentName,
        now: OffsetDateTime,
        dead: Option<&str>,
    ) -> Result<(), Unfinished> {
        match self.deploys.first() {
            Some(last)
                if last.state == State::Deploying
                    && now < last.until
                    && dead != Some(last.id.as_str()) =>
            {
                Err(Unfinished {
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

    /// Returns the record with one deploy more; one that was under way was interrupted.
    pub fn begun(&self, deploy: Deployment) -> Self {
        let mut earlier = self.deploys.clone();
        for deploy in &mut earlier {
            if deploy.state == State::Deploying {
                deploy.state = State::Interrupted;
            }
        }
        earlier.insert(0, deploy);
        let all = Self { deploys: earlier };
        Self {
            deploys: all.kept().cloned().collect(),
        }
    }

    /// Returns the record with the last deploy ended.
    pub fn ended(&self, state: State, at: OffsetDateTime) -> Self {
        let mut record = self.clone();
        if let Some(last) = record.deploys.first_mut() {
            last.state = state;
            last.ended = Some(at);
        }
        record
    }
}

impl Deployment {
    /// Returns until when a deploy that begins now may be under way: another one waits no longer for it.
    pub fn until(now: OffsetDateTime, rollout: std::time::Duration) -> OffsetDateTime {
        // What is applied before the rollout, and what is written after it.
        let rest = Duration::seconds(60);
        now + rest + Duration::try_from(rollout).unwrap_or(Duration::hours(1))
    }

    /// Returns the day and the time of its beginning, as people read it.
    pub fn when(&self) -> String {
        let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
        self.started.format(format).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
