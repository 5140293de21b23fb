//! Creates the Job of a unit, or attaches to an existing one.
//!
//! The name of a Job stands for an image, so runs that need the same image share it. Each run that uses a Job adds an
//! annotation; an interrupted run removes its own, and the Job too if none is left. A run that was killed leaves its
//! annotation: its Jobs end by themselves, and the next run uses their results.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PAUSE, UnitRun};
use crate::client::kubectl::{ApiError, Kind};
use crate::execute::step_error::{StepError, Stop};
use crate::model::fleet::{JobEnd, JobObject, JobState, PodState, SecretObject, by_annotation};

/// How long deleting an earlier Job may take.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the Secret of another run's Job may be missing.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between attempts while a quota is used up.
const QUOTA_PAUSE: Duration = Duration::from_secs(5);

/// How long a request may take that was sent before an interrupt.
const SENT_TIMEOUT: Duration = Duration::from_secs(3);

/// A Job that this run uses.
pub struct Claim {
    /// The unique id of the Job.
    pub uid: String,
    /// Whether this run has created its Secret.
    pub has_secret: bool,
    /// Whether it was complete already.
    pub is_complete: bool,
}

impl UnitRun<'_> {
    /// Creates the Job with its Secret, or attaches to an existing one.
    pub(super) async fn claim(&self) -> Result<Claim, Stop> {
        let mut claimed = std::pin::pin!(self.claimed());
        tokio::select! {
            claimed = &mut claimed => claimed,
            // A request that was sent may still create the Job, which has to be removed then.
            () = self.context.cancel.cancelled() => {
                match tokio::time::timeout(SENT_TIMEOUT, claimed).await {
                    Ok(claimed) => claimed,
                    Err(_) => Err(Stop::Cancelled),
                }
            }
            error = self.fleet.watch.broken() => Err(StepError::from(error).into()),
        }
    }

    async fn claimed(&self) -> Result<Claim, Stop> {
        let settings = &self.fleet.settings;
        let files = self.files().await?;
        let keys: Vec<String> = files.keys().cloned().collect();
        let worker = settings.image.to_string();
        let object = JobObject {
            name: self.name,
            unit: &self.plan.unit,
            image: self.plan.identity(),
            commit: self.plan.commit,
            run: &settings.run,
            template: &settings.template,
            worker: &worker,
            keys: &keys,
            wait: settings.wait,
            timeout: self.plan.timeout,
        };
        let object = object.to_value();
        let start = Instant::now();
        let mut is_quota_shown = false;
        loop {
            let created = self.fleet.api.create(Kind::Job, &object).await;
            let job = match created {
                Ok(job) => job,
                Err(error) if error.is_existing() => {
                    match self.attach(start, &files).await? {
                        Some(claim) => return Ok(claim),
                        // It was deleted meanwhile.
                        None => continue,
                    }
                }
                Err(error) if error.is_conflict() => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) if error.is_quota() && start.elapsed() < settings.wait => {
                    if !is_quota_shown {
                        self.show(&format!("{error}; waiting"));
                        is_quota_shown = true;
                    }
                    tokio::time::sleep(QUOTA_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(StepError::from(error).into()),
            };
            self.fleet.watch.add(Kind::Job, &job);
            let job = JobState::of(&job);
            return Ok(self.with_secret(job, &files).await?);
        }
    }

    /// Creates the Secret of a new Job.
    async fn with_secret(
        &self,
        job: JobState,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Claim, StepError> {
        let secret = SecretObject {
            name: self.name,
            unit: Some(&self.plan.unit),
            job: &job.uid,
            files,
        };
        let start = Instant::now();
        let secret = secret.to_value();
        loop {
            match self.fleet.api.create(Kind::Secret, &secret).await {
                Ok(_) => break,
                // The Secret of an earlier Job, which the cluster is about to delete.
                Err(error) if error.is_conflict() && start.elapsed() < DELETION_TIMEOUT => {
                    let existing = self.fleet.api.get(Kind::Secret, self.name).await?;
                    if existing.as_ref().is_some_and(|it| is_of(it, &job.uid)) {
                        break;
                    }
                    if existing.is_some() {
                        self.fleet.api.delete(Kind::Secret, self.name, None).await?;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    // Without its Secret, the pod would never start.
                    _ = self
                        .fleet
                        .api
                        .delete(Kind::Job, self.name, Some(&job.uid))
                        .await;
                    return Err(error.into());
                }
            }
        }
        self.show("created");
        Ok(Claim {
            uid: job.uid,
            has_secret: true,
            is_complete: false,
        })
    }

    /// Attaches to an existing Job, or deletes one that is of no use. Returns `None` if a Job has to be created.
    async fn attach(
        &self,
        start: Instant,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Option<Claim>, Stop> {
        let api = &self.fleet.api;
        let found = api
            .get(Kind::Job, self.name)
            .await
            .map_err(StepError::from)?;
        let Some(found) = found else {
            return Ok(None);
        };
        let job = JobState::of(&found);
        if job.is_deleted {
            if start.elapsed() > DELETION_TIMEOUT {
                let error =
                    StepError::plain(format!("the cluster does not delete the Job {}", job.name))
                        .hint(format!(
                            "look at its finalizers: `kubectl get job {} -o yaml`",
                            job.name
                        ))
                        .outside();
                return Err(error.into());
            }
            tokio::time::sleep(PAUSE).await;
            return Ok(None);
        }
        // A request without a response may have created it.
        let is_own = job.runs == [self.fleet.settings.run.as_str()];
        match &job.ended {
            Some(JobEnd::Failed(_)) => {
                self.show("removing a failed Job of an earlier run");
                let deleted = api.delete(Kind::Job, self.name, Some(&job.uid)).await;
                deleted.map_err(StepError::from)?;
                return Ok(None);
            }
            Some(JobEnd::Complete) => {
                if !self.has_image().await? {
                    self.show("removing a Job of an earlier run, whose image is gone");
                    let deleted = api.delete(Kind::Job, self.name, Some(&job.uid)).await;
                    deleted.map_err(StepError::from)?;
                    return Ok(None);
                }
                self.show("done by a Job of an earlier run; reading its log");
            }
            None if is_own => {
                self.fleet.watch.add(Kind::Job, &found);
                return Ok(Some(self.with_secret(job, files).await?));
            }
            None => self.show("attached to the Job of another run"),
        }
        if job.ended.is_none() && !self.has_secret(&job).await.map_err(StepError::from)? {
            self.show("removing a Job without Secret");
            let deleted = api.delete(Kind::Job, self.name, Some(&job.uid)).await;
            deleted.map_err(StepError::from)?;
            return Ok(None);
        }
        if job.ended.is_none() {
            let annotation = by_annotation(&self.fleet.settings.run);
            let changes = json!({"metadata": {"annotations": {annotation: ""}}});
            match api.patch(Kind::Job, self.name, &changes).await {
                Ok(changed) if JobState::of(&changed).uid == job.uid => {}
                Ok(_) => return Ok(None),
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(StepError::from(error).into()),
            }
        }
        self.fleet.watch.add(Kind::Job, &found);
        for pod in self.pods(&job).await.map_err(StepError::from)? {
            self.fleet.watch.add(Kind::Pod, &pod);
        }
        Ok(Some(Claim {
            uid: job.uid,
            has_secret: false,
            is_complete: job.ended.is_some(),
        }))
    }

    /// Returns whether the registry has the image.
    async fn has_image(&self) -> Result<bool, Stop> {
        let found = self.context.registry.digest(self.plan.identity()).await;
        Ok(found.map_err(StepError::from)?.is_some())
    }

    /// Returns whether a Job has its Secret, or a pod that has started with it.
    async fn has_secret(&self, job: &JobState) -> Result<bool, ApiError> {
        let start = Instant::now();
        loop {
            let secret = self.fleet.api.get(Kind::Secret, self.name).await?;
            if secret.is_some_and(|it| is_of(&it, &job.uid)) {
                return Ok(true);
            }
            let pods = self.pods(job).await?;
            if pods.iter().any(|it| PodState::of(it).is_started) {
                return Ok(true);
            }
            // The other run creates it right after the Job.
            if start.elapsed() > SECRET_TIMEOUT {
                return Ok(false);
            }
            tokio::time::sleep(PAUSE * 3).await;
        }
    }

    async fn pods(&self, job: &JobState) -> Result<Vec<Value>, ApiError> {
        let query = format!("labelSelector=job-name%3D{}", job.name);
        let (pods, _) = self.fleet.api.list(Kind::Pod, &query).await?;
        let is_own = |pod: &Value| is_of(pod, &job.uid);
        Ok(pods.into_iter().filter(is_own).collect())
    }
}

/// Returns whether an object belongs to a Job.
fn is_of(object: &Value, job: &str) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|it| it["uid"] == job)
}

/// Stops using the Job, and deletes it with its pod and Secret unless another run uses it.
pub(super) async fn withdraw(unit: &UnitRun<'_>) -> Result<(), ApiError> {
    let (api, run) = (&unit.fleet.api, &unit.fleet.settings.run);
    let Some(found) = api.get(Kind::Job, unit.name).await? else {
        return Ok(());
    };
    let job = JobState::of(&found);
    if !job.runs.contains(run) {
        return Ok(());
    }
    if job.is_shared(run) {
        let annotation = by_annotation(run);
        let changes = json!({"metadata": {"annotations": {annotation: null}}});
        return match api.patch(Kind::Job, unit.name, &changes).await {
            Err(error) if error.is_not_found() => Ok(()),
            changed => changed.map(drop),
        };
    }
    api.delete(Kind::Job, unit.name, Some(&job.uid)).await
}
