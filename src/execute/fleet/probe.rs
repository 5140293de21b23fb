//! A Job that only checks what units need: for `xp doctor`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::follow::open_log;
use super::{PAUSE, REMOVAL_TIMEOUT, problems};
use crate::base::units;
use crate::client::kubectl::{ApiError, ClusterApi, Kind, LineStream};
use crate::execute::step_error::StepError;
use crate::model::doctor::PodFacts;
use crate::model::fleet::{
    LineReader, PodState, PodTemplate, ProbeObject, SecretObject, WorkerMessage,
};
use crate::model::image::ImageReference;

/// When to look for the reason why a Job has no pod.
const POD_TIMEOUT: Duration = Duration::from_secs(3);

/// What a probe runs, and for how long.
pub struct ProbeRequest<'a> {
    pub template: &'a PodTemplate,
    /// The image of xp.
    pub image: &'a ImageReference,
    /// The files of its Secret.
    pub files: &'a BTreeMap<String, Vec<u8>>,
    /// How long its pod may wait until it starts.
    pub wait: Duration,
    /// How long it may run then.
    pub limit: Duration,
}

/// A Job that checks a pod. The caller must call [`ProbeJob::remove`], even if it is interrupted.
pub struct ProbeJob {
    api: ClusterApi,
    name: String,
}

impl ProbeJob {
    /// Returns a Job that does not exist yet.
    pub fn new(api: ClusterApi, nonce: &str) -> Self {
        Self {
            api,
            name: format!("xp-doctor-{nonce}"),
        }
    }

    /// Creates the Job, and returns what its worker found. `show` receives the states of its pod.
    ///
    /// # Errors
    ///
    /// The Job cannot be created, its pod does not start, or its worker reports nothing.
    pub async fn run(
        &self,
        request: &ProbeRequest<'_>,
        show: impl FnMut(&str),
    ) -> Result<PodFacts, StepError> {
        self.create(request).await?;
        let mut follower = ProbeFollower {
            job: self,
            started: None,
            created: Instant::now(),
            state: String::new(),
            reader: LineReader::default(),
            facts: PodFacts {
                own_xp: env!("CARGO_PKG_VERSION"),
                ..PodFacts::default()
            },
            show,
        };
        follower.follow(request).await
    }

    /// Removes the Job with its pod and Secret. Returns why it may still exist.
    pub async fn remove(&self) -> Result<(), String> {
        let deleted = self.api.delete(Kind::Job, &self.name, None);
        let why = match tokio::time::timeout(REMOVAL_TIMEOUT, deleted).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no response".to_owned(),
        };
        let name = &self.name;
        Err(format!(
            "the Job {name} was not removed: {why}; it ends by itself"
        ))
    }

    async fn create(&self, request: &ProbeRequest<'_>) -> Result<(), ApiError> {
        let keys: Vec<String> = request.files.keys().cloned().collect();
        let worker = request.image.to_string();
        let object = ProbeObject {
            name: &self.name,
            template: request.template,
            worker: &worker,
            keys: &keys,
            limit: request.wait + request.limit,
        };
        let job = self.api.create(Kind::Job, &object.to_value()).await?;
        let secret = SecretObject {
            name: &self.name,
            unit: None,
            job: job["metadata"]["uid"].as_str().unwrap_or_default(),
            files: request.files,
        };
        self.api.create(Kind::Secret, &secret.to_value()).await?;
        Ok(())
    }

    async fn pod(&self) -> Result<Option<PodState>, ApiError> {
        let query = format!("labelSelector=job-name%3D{}", self.name);
        let (pods, _) = self.api.list(Kind::Pod, &query).await?;
        Ok(pods.last().map(PodState::of))
    }
}

struct ProbeFollower<'a, F> {
    job: &'a ProbeJob,
    created: Instant,
    /// When the worker was first seen.
    started: Option<Instant>,
    /// The state that was shown last.
    state: String,
    reader: LineReader,
    facts: PodFacts,
    show: F,
}

impl<F: FnMut(&str)> ProbeFollower<'_, F> {
    async fn follow(&mut self, request: &ProbeRequest<'_>) -> Result<PodFacts, StepError> {
        loop {
            let pod = self.job.pod().await?;
            match pod.as_ref().filter(|pod| pod.is_started) {
                Some(pod) => {
                    let started = *self.started.get_or_insert_with(Instant::now);
                    self.facts.name.clone_from(&pod.name);
                    self.facts.node.clone_from(&pod.node);
                    let rest = request.limit.saturating_sub(started.elapsed());
                    match tokio::time::timeout(rest, self.read(pod)).await {
                        Ok(Ok(true)) => return Ok(std::mem::take(&mut self.facts)),
                        Ok(read) => _ = read?,
                        Err(_) => return Err(silent(pod, request.limit)),
                    }
                }
                None => self.wait(request, pod.as_ref()).await?,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Shows why the pod has not started. Fails if it will not.
    async fn wait(
        &mut self,
        request: &ProbeRequest<'_>,
        pod: Option<&PodState>,
    ) -> Result<(), StepError> {
        let waited = self.created.elapsed();
        if let Some(pod) = pod
            && let Some(reason) = &pod.disrupted
        {
            let text = format!("the pod {} was stopped: {reason}", pod.name);
            return Err(StepError::plain(text).outside());
        }
        let state = match pod {
            Some(pod) => match &pod.waiting {
                Some(waiting) if waiting.is_final => {
                    return Err(problems::cannot_start(pod, waiting));
                }
                Some(waiting) => waiting.text.clone(),
                None => "Pending".to_owned(),
            },
            None if waited < POD_TIMEOUT => "no pod was created".to_owned(),
            None => {
                let problem = problems::of_job(&self.job.api, &self.job.name).await;
                problem.unwrap_or_else(|| "no pod was created".to_owned())
            }
        };
        if state != self.state {
            (self.show)(&state);
            self.state = state;
        }
        if waited > request.wait {
            return Err(problems::not_started(request.wait, &self.state));
        }
        Ok(())
    }

    /// Reads the log of a pod. Returns whether it has the findings.
    async fn read(&mut self, pod: &PodState) -> Result<bool, StepError> {
        let mut stream = match open_log(&self.job.api, &pod.name, &self.reader).await {
            Ok(stream) => stream,
            Err(error) if error.is_transient() && pod.ended.is_none() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        while let Some(message) = self.next(&mut stream).await {
            match message {
                WorkerMessage::Begin { xp, .. } => self.facts.xp = Some(xp),
                WorkerMessage::Findings(findings) => {
                    self.facts.findings = findings;
                    return Ok(true);
                }
                WorkerMessage::End(end) => {
                    // An image with another version of xp may not know probes; its version is a finding.
                    if self.has_other_version() {
                        return Ok(true);
                    }
                    let failure = end.summary.failure;
                    let message = failure.as_ref().map(|it| it.message.as_str());
                    let error = StepError::plain(message.unwrap_or("the worker ended early"));
                    let hints = failure.iter().flat_map(|it| it.hints.clone());
                    return Err({ hints }.fold(error.outside(), StepError::hint));
                }
                WorkerMessage::Event(_)
                | WorkerMessage::Output { .. }
                | WorkerMessage::TestReport { .. } => {}
            }
        }
        match &pod.ended {
            Some(_) if self.has_other_version() => Ok(true),
            Some(end) => Err(problems::crashed(pod, end, &self.reader)),
            None => Ok(false),
        }
    }

    /// Returns the next message; `None` at the end of the stream.
    async fn next(&mut self, stream: &mut LineStream) -> Option<WorkerMessage> {
        loop {
            let line = stream.next().await.ok().flatten()?;
            if let Some(message) = self.reader.push(&line) {
                return Some(message);
            }
        }
    }

    fn has_other_version(&self) -> bool {
        let xp = self.facts.xp.as_deref();
        xp.is_some_and(|xp| xp != self.facts.own_xp)
    }
}

fn silent(pod: &PodState, limit: Duration) -> StepError {
    let limit = units::limit(limit);
    StepError::plain(format!(
        "the worker in the pod {} reported nothing within {limit}",
        pod.name
    ))
    .outside()
}
