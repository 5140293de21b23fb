//! What the cluster keeps of an environment: which sets were deployed to it, and by whom.
//!
//! The record is one ConfigMap of the environment's namespace. It is written before anything is applied, and
//! again when the rollout has ended, so that a deploy that was killed is seen by the next one. Whoever
//! writes it does so on top of what was read: of two at once, one is told of the other.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::error::{Diagnostic, Exit};
use crate::lock::{self, Lock, LockedService};
use crate::manifest::{EnvironmentName, ServiceName};
use crate::source::RefName;

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

/// As the record is written.
#[derive(Deserialize)]
struct Stored {
    version: u64,
    #[serde(default)]
    deploys: Vec<StoredDeploy>,
}

#[derive(Serialize, Deserialize)]
struct StoredDeploy {
    number: u64,
    id: String,
    state: State,
    started: String,
    until: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<String>,
    #[serde(
        default,
        rename = "rollbackTo",
        skip_serializing_if = "Option::is_none"
    )]
    rollback_to: Option<u64>,
    set: Value,
}

impl StoredDeploy {
    fn of(deploy: &Deployment) -> Self {
        let text = |time: &OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        Self {
            number: deploy.number,
            id: deploy.id.clone(),
            state: deploy.state,
            started: text(&deploy.started),
            until: text(&deploy.until),
            ended: deploy.ended.as_ref().map(text),
            by: deploy.by.clone(),
            manifest: deploy.manifest.clone(),
            files: deploy.files.clone(),
            asked: deploy.services.clone(),
            rollback_to: deploy.rollback_to,
            set: set(&deploy.set),
        }
    }

    fn deployment(self) -> Result<Deployment, String> {
        let time = |text: &str| {
            OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("`{text}`: {error}"))
        };
        // JSON is YAML, and the keys are those of a lock.
        let set =
            lock::parse(&self.set.to_string(), "the record").map_err(|error| error.to_string())?;
        Ok(Deployment {
            number: self.number,
            id: self.id,
            state: self.state,
            started: time(&self.started)?,
            until: time(&self.until)?,
            ended: self.ended.as_deref().map(time).transpose()?,
            by: self.by,
            manifest: self.manifest,
            files: self.files,
            services: self.asked,
            rollback_to: self.rollback_to,
            set,
        })
    }
}

/// Returns a set with the keys of a lock.
fn set(set: &Lock) -> Value {
    let services: BTreeMap<&ServiceName, Value> = set
        .services
        .iter()
        .map(|(name, locked)| (name, service(locked)))
        .collect();
    json!({"version": 1, "services": services})
}

fn service(locked: &LockedService) -> Value {
    let parts = [
        ("remote", Some(locked.remote.to_string())),
        ("reference", Some(locked.reference.to_string())),
        ("name", locked.name.as_ref().map(RefName::to_string)),
        ("path", locked.path.clone()),
        ("commit", Some(locked.commit.to_string())),
        ("image", Some(locked.image.to_string())),
        ("digest", locked.digest.as_ref().map(ToString::to_string)),
        ("recipe", Some(locked.recipe.as_str().to_owned())),
        ("builder", locked.builder.as_ref().map(ToString::to_string)),
    ];
    let parts = parts.into_iter();
    let parts: Map<String, Value> = parts
        .filter_map(|(key, value)| Some((key.to_owned(), json!(value?))))
        .collect();
    Value::Object(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000 + seconds).unwrap()
    }

    fn deploy(number: u64, state: State, rollback_to: Option<u64>) -> Deployment {
        let digest = format!("sha256:{}", number.to_string().repeat(64));
        let set = format!(
            "version: 1\nservices:\n  a:\n    remote: https://h/a\n    reference: origin/master\n    name: \
             refs/heads/master\n    path: a\n    commit: {0}\n    image: h.example.com/x/a:{0}\n    digest: \
             {digest}\n    recipe: \"0123456789\"\n    builder: h.example.com/x/builders/a:1\n",
            "a".repeat(40)
        );
        Deployment {
            number,
            id: format!("id-{number}"),
            state,
            started: at(0),
            until: at(360),
            ended: None,
            by: "ann@laptop".to_owned(),
            manifest: Some("b".repeat(40)),
            files: None,
            services: vec!["a".to_owned()],
            rollback_to,
            set: lock::parse(&set, "x").unwrap(),
        }
    }

    /// A record of deploys by state, the first one first.
    fn record(deploys: &[(State, Option<u64>)]) -> Record {
        let mut record = Record::default();
        for (state, rollback_to) in deploys {
            let next = deploy(record.next_number(), *state, *rollback_to);
            record.deploys.insert(0, next);
        }
        record
    }

    #[test]
    fn what_is_written_is_read() {
        let environment = "staging".parse().unwrap();
        let written = record(&[(State::Deployed, None), (State::Failed, Some(1))]);
        let object = written.object(&environment, None);
        assert_eq!(Record::read(&object).unwrap(), written);
        assert_eq!(object["metadata"]["name"], "xp-deploy-staging");
        assert!(object["metadata"].get("resourceVersion").is_none());
        let read = json!({"metadata": {"resourceVersion": "7"}});
        let object = written.object(&environment, Some(&read));
        assert_eq!(object["metadata"]["resourceVersion"], "7");
        for wrong in [
            json!({"data": {}}),
            json!({"data": {"record.json": "{"}}),
            json!({"data": {"record.json": "{\"version\": 2}"}}),
        ] {
            assert!(Record::read(&wrong).is_err());
        }
    }

    #[test]
    fn a_rollback_goes_to_what_was_deployed_before() {
        use State::{Deployed, Failed, Interrupted};
        let environment = "staging".parse().unwrap();
        let target = |deploys: &[(State, Option<u64>)]| {
            let record = record(deploys);
            let found = record.to_roll_back_to(&environment);
            found.ok().map(|it| it.number)
        };
        assert_eq!(target(&[]), None);
        assert_eq!(target(&[(Deployed, None)]), None);
        assert_eq!(target(&[(Deployed, None), (Deployed, None)]), Some(1));
        assert_eq!(target(&[(Deployed, None), (Failed, None)]), Some(1));
        assert_eq!(
            target(&[(Deployed, None), (Failed, None), (Interrupted, None)]),
            Some(1)
        );
        // Back, and back again.
        let twice = [(Deployed, None), (Deployed, None), (Deployed, None)];
        assert_eq!(target(&twice), Some(2));
        let back = [&twice[..], &[(Deployed, Some(2))]].concat();
        assert_eq!(target(&back), Some(1));
        // What did not come to its end is tried again: the bad deploy is the one that was gone back from.
        for state in [Failed, Interrupted, State::Deploying] {
            let failed = [&twice[..], &[(state, Some(2))]].concat();
            assert_eq!(target(&failed), Some(2));
            assert_eq!(target(&[&failed[..], &[(Failed, None)]].concat()), Some(2));
        }
        let failed = [&twice[..], &[(Failed, Some(2)), (Failed, Some(2))]].concat();
        assert_eq!(target(&failed), Some(1));
        // Back to a deploy that had gone back itself, and then further: 3 was bad, and 5 as well.
        let mixed = [&back[..], &[(Deployed, None)]].concat();
        assert_eq!(target(&mixed), Some(4));
        let mixed = [&mixed[..], &[(Deployed, Some(4))]].concat();
        assert_eq!(target(&mixed), Some(1));
    }

    #[test]
    fn a_rollback_changes_something() {
        let environment = "staging".parse().unwrap();
        let mut record = record(&[(State::Deployed, None); 3]);
        record.deploys[0].set = record.deploys[1].set.clone();
        let target = |record: &Record| record.to_roll_back_to(&environment).unwrap().number;
        assert_eq!(target(&record), 1);
        // Other kustomize files are a change.
        record.deploys[1].manifest = Some("c".repeat(40));
        assert_eq!(target(&record), 2);
    }

    #[test]
    fn a_way_back_is_kept() {
        let mut record = record(&[(State::Deployed, None); 3]);
        for number in 4..30 {
            record = record.begun(deploy(number % 9 + 1, State::Failed, None));
            record.deploys[0].number = number;
        }
        let numbers =
            |record: &Record| -> Vec<u64> { record.deploys.iter().map(|it| it.number).collect() };
        assert_eq!(numbers(&record)[KEPT..], [3, 2]);
        assert_eq!(
            numbers(&Record::parse(&record.text()).unwrap())[KEPT..],
            [3, 2]
        );
        // Without room for all, it is what failed that goes.
        let entry = record.deploys[0]
            .set
            .services
            .values()
            .next()
            .unwrap()
            .clone();
        for deploy in &mut record.deploys {
            let services = (0..500).map(|n| (format!("s{n}").parse().unwrap(), entry.clone()));
            deploy.set = Lock::new(services.collect());
        }
        let kept = numbers(&Record::parse(&record.text()).unwrap());
        assert!(kept.len() < KEPT, "{kept:?}");
        assert_eq!((kept[0], &kept[kept.len() - 2..]), (29, &[3, 2][..]));
    }

    #[test]
    fn one_at_a_time() {
        let environment = "staging".parse().unwrap();
        let busy = record(&[(State::Deployed, None), (State::Deploying, None)]);
        let error = busy.check_free(&environment, at(10), None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("ann@laptop deploys to staging since ")
        );
        assert!(busy.check_free(&environment, at(400), None).is_ok());
        assert!(busy.check_free(&environment, at(10), Some("id-2")).is_ok());
        assert!(busy.check_free(&environment, at(10), Some("id-1")).is_err());
        let next = busy.begun(deploy(3, State::Deploying, None));
        assert_eq!(next.deploys[1].state, State::Interrupted);
        let ended = next.ended(State::Deployed, at(20));
        assert_eq!(ended.last_deployed().unwrap().number, 3);
        assert!(ended.check_free(&environment, at(21), None).is_ok());
    }

    #[test]
    fn so_many_are_kept() {
        let mut many = Record::default();
        for number in 1..30 {
            many = many.begun(deploy(number % 9 + 1, State::Deployed, None));
            many.deploys[0].number = number;
        }
        assert_eq!(many.deploys.len(), KEPT);
        let digest = many.deploys[0].set.services.values().next().unwrap();
        let mut large = many.clone();
        for deploy in &mut large.deploys {
            let services = (0..2000).map(|n| (format!("s{n}").parse().unwrap(), digest.clone()));
            deploy.set = Lock::new(services.collect());
        }
        let text = large.text();
        let kept = Record::parse(&text).unwrap().deploys.len();
        assert!((1..KEPT).contains(&kept), "{kept}");
    }
}
