//! Follows the pod of a Job: its states until it runs, its log while it runs, and how it ended.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::UnitRun;
use super::claim::Claim;
use super::watch::Observed;
use super::{PAUSE, problems};
use crate::base::units;
use crate::client::kubectl::{ApiError, ClusterApi, Kind, LineStream};
use crate::client::retry::{Policy, random};
use crate::execute::step_error::StepError;
use crate::model::event::{Event, Outcome, Phase, UnitSummary};
use crate::model::fleet::{
    CACHE_FOLDER, CONTAINER, JobEnd, LineReader, PLATFORM_FOLDER, PodState, UnitEnd, WorkerMessage,
};

/// How long an image may not be pulled for a reason that may pass.
const PULL_TIMEOUT: Duration = Duration::from_secs(300);

/// When to look at the events of a Job without pod.
const POD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the pod of a finished Job may not be seen.
const LATE_POD: Duration = Duration::from_secs(5);

/// How long nothing may arrive from the log of a pod that has ended.
const SILENCE: Duration = Duration::from_secs(30);

/// How often the log of a pod that has ended is opened if its node does not respond.
const LOST_ATTEMPTS: u32 = 3;

/// How a Job that was followed ended.
pub(super) enum Followed {
    /// The worker reported the outcome.
    Ended(Box<UnitEnd>),
    Failed(StepError),
    /// The cluster stopped it, so the unit must run again.
    Lost(String),
    /// A finished Job of an earlier run does not have what is needed.
    Unusable(String),
    Cancelled,
}

/// Follows one Job.
pub(super) struct Follower<'a> {
    unit: UnitRun<'a>,
    observed: watch::Receiver<Observed>,
    claim: &'a Claim,
    reader: LineReader,
    log: LogState,
    /// The pod that is followed.
    pod: Option<PodState>,
    /// The state that was shown last.
    shown: String,
    claimed: Instant,
    /// Since when an image cannot be pulled.
    pull_failing: Option<Instant>,
    /// When to look for events of the Job.
    look: Instant,
    /// When the last line of the log arrived, or the pod ended.
    active: Instant,
    /// Whether the worker's first step has started.
    is_working: bool,
}

/// The state of the log.
enum LogState {
    /// It is opened at that time.
    Closed(Instant),
    Open {
        stream: Box<LineStream>,
        /// Whether the pod had ended when it was opened, so that its end is final.
        is_complete: bool,
    },
    /// It was read to its end.
    Read,
}

impl<'a> Follower<'a> {
    pub fn new(unit: UnitRun<'a>, observed: watch::Receiver<Observed>, claim: &'a Claim) -> Self {
        let now = Instant::now();
        Self {
            unit,
            observed,
            claim,
            reader: LineReader::default(),
            log: LogState::Closed(now),
            pod: None,
            shown: String::new(),
            claimed: now,
            pull_failing: None,
            look: now + POD_TIMEOUT,
            active: now,
            is_working: false,
        }
    }

    /// Follows the Job until its outcome is known.
    pub async fn follow(&mut self) -> Followed {
        let mut failed = 0;
        let mut failing_since = Instant::now();
        loop {
            let seen = self.observed.borrow_and_update().clone();
            if let Some(followed) = self.look_at(&seen).await {
                return followed;
            }
            if let (LogState::Closed(at), Some(pod)) = (&self.log, &self.pod)
                && pod.is_started
                && *at <= Instant::now()
            {
                match self.open_log().await {
                    Ok(()) => failed = 0,
                    // Its log is gone with its node.
                    Err(error)
                        if pod_is_over(&self.pod)
                            && (failed >= LOST_ATTEMPTS || !error.is_transient()) =>
                    {
                        self.log = LogState::Read;
                    }
                    Err(error) if error.is_transient() => {
                        if failed == 0 {
                            failing_since = Instant::now();
                        }
                        failed += 1;
                        let spent = failing_since.elapsed();
                        let Some(wait) = Policy::CLUSTER.wait(failed, random(), None, spent) else {
                            return Followed::Failed(error.into());
                        };
                        let api = &self.unit.fleet.api;
                        api.report_retry("read the log", &error, wait, failed);
                        self.log = LogState::Closed(Instant::now() + wait);
                    }
                    Err(error) if error.is_forbidden() => return Followed::Failed(error.into()),
                    Err(_) => self.log = LogState::Closed(Instant::now() + PAUSE),
                }
                continue;
            }
            let next = self.next_time();
            let line = async {
                match &mut self.log {
                    LogState::Open { stream, .. } => stream.next().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.observed.changed() => {
                    if changed.is_err() {
                        return Followed::Cancelled;
                    }
                }
                line = line => {
                    if let Some(end) = self.take_line(line) {
                        return self.ended(end);
                    }
                }
                () = tokio::time::sleep_until(next.into()) => {}
                error = self.unit.fleet.watch.broken() => return Followed::Failed(error.into()),
            }
        }
    }

    /// Returns when to look again at the latest.
    fn next_time(&self) -> Instant {
        let limit = self.claimed + self.unit.fleet.settings.wait;
        let later = Instant::now() + Duration::from_secs(60);
        let mut times = vec![later];
        let is_started = self.pod.as_ref().is_some_and(|it| it.is_started);
        if !is_started {
            times.push(limit);
            times.push(self.look);
            times.extend(self.pull_failing.map(|since| since + PULL_TIMEOUT));
        }
        if let (LogState::Closed(at), true) = (&self.log, is_started) {
            times.push(*at);
        }
        if pod_is_over(&self.pod) {
            times.push(self.active + SILENCE);
        }
        let soonest = times.into_iter().min().unwrap_or(later);
        soonest.max(Instant::now() + Duration::from_millis(20))
    }

    /// Looks at the state of the Job and its pod.
    async fn look_at(&mut self, seen: &Observed) -> Option<Followed> {
        // A Job that was replaced is another one.
        let job = seen.jobs.iter().find(|it| it.uid == self.claim.uid);
        let pods = || seen.pods.iter().filter(|it| it.job == self.claim.uid);
        let current = pods().find(|it| !it.is_deleted).or(pods().next_back());
        match (current, &self.pod) {
            (Some(pod), known) => {
                if pod.is_over() && !pod_is_over(known) {
                    self.active = Instant::now();
                }
                if known.as_ref().is_some_and(|it| it.uid != pod.uid) {
                    self.reader = LineReader::default();
                    self.log = LogState::Closed(Instant::now());
                }
                self.pod = Some(pod.clone());
            }
            // Also before it has started, such as from a node that is drained.
            (None, Some(known))
                if !matches!(job.map(|it| &it.ended), Some(Some(JobEnd::Complete))) =>
            {
                let node = known.node.as_deref().unwrap_or("its node");
                return Some(Followed::Lost(format!("its pod on {node} is gone")));
            }
            (None, _) => self.pod = None,
        }
        let Some(job) = job else {
            return Some(Followed::Lost("its Job was deleted".to_owned()));
        };
        let is_read = matches!(self.log, LogState::Read);
        let Some(pod) = self.pod.clone() else {
            return self.without_pod(job.ended.as_ref()).await;
        };
        if pod.is_over() {
            // The node may be gone, without closing the connection.
            let is_silent = self.active.elapsed() > SILENCE;
            let is_incomplete =
                matches!(self.log, LogState::Open { is_complete, .. } if !is_complete);
            if is_silent && is_incomplete {
                // Or only the connection: the rest may still be there.
                self.active = Instant::now();
                self.log = LogState::Closed(self.active);
                return None;
            }
            if is_read || is_silent || !pod.is_started {
                return Some(self.without_outcome(&pod, job.ended.as_ref()).await);
            }
            return None;
        }
        if pod.is_started {
            self.show_state(format!(
                "running in the pod {} on {}",
                pod.name,
                pod.node.as_deref().unwrap_or("a node")
            ));
            return None;
        }
        if let Some(JobEnd::Failed(reason)) = &job.ended {
            let error = self.failed_job(reason, pod.waiting.as_ref().map(|it| it.text.as_str()));
            return Some(Followed::Failed(error));
        }
        self.show_waiting(&pod)
    }

    /// Shows why a pod does not run yet. Returns a failure if it will not.
    fn show_waiting(&mut self, pod: &PodState) -> Option<Followed> {
        let Some(waiting) = &pod.waiting else {
            return None;
        };
        self.show_state(waiting.text.clone());
        if waiting.is_final {
            return Some(Followed::Failed(problems::cannot_start(pod, waiting)));
        }
        if waiting.is_pull {
            let since = *self.pull_failing.get_or_insert_with(Instant::now);
            if since.elapsed() > PULL_TIMEOUT {
                let limit = units::limit(PULL_TIMEOUT);
                let text = format!(
                    "the pod {} has not started within {limit}: {}",
                    pod.name, waiting.text
                );
                return Some(Followed::Failed(StepError::plain(text).outside()));
            }
        } else {
            self.pull_failing = None;
        }
        self.is_late(&waiting.text)
    }

    /// Returns a failure if nothing has started for too long.
    fn is_late(&self, state: &str) -> Option<Followed> {
        let wait = self.unit.fleet.settings.wait;
        if self.claimed.elapsed() < wait {
            return None;
        }
        Some(Followed::Failed(problems::not_started(wait, state)))
    }

    /// Looks for the reason why a Job has no pod.
    async fn without_pod(&mut self, ended: Option<&JobEnd>) -> Option<Followed> {
        match ended {
            Some(JobEnd::Complete) if self.claim.is_complete => {
                // Its pod was removed, and its log with it.
                return Some(self.adopted().await);
            }
            Some(_) if self.claimed.elapsed() < LATE_POD => {
                self.look = Instant::now() + PAUSE;
                return None;
            }
            Some(JobEnd::Complete) => return Some(self.adopted().await),
            Some(JobEnd::Failed(reason)) => {
                return Some(Followed::Failed(self.failed_job(reason, None)));
            }
            None => {}
        }
        let is_late = self.claimed.elapsed() >= self.unit.fleet.settings.wait;
        if is_late || self.look <= Instant::now() {
            self.look = Instant::now() + POD_TIMEOUT * 3;
            if let Some(text) = problems::of_job(&self.unit.fleet.api, self.unit.name).await {
                self.show_state(text);
            }
        }
        let state = if self.shown.is_empty() {
            "no pod was created".to_owned()
        } else {
            self.shown.clone()
        };
        self.is_late(&state)
    }

    /// Returns the result of a complete Job whose log is gone.
    async fn adopted(&self) -> Followed {
        let plan = self.unit.plan;
        let found = self.unit.context.registry.digest(plan.identity()).await;
        match found {
            Ok(Some(digest)) => Followed::Ended(Box::new(UnitEnd {
                summary: UnitSummary::new(Outcome::Done),
                only_fetched: false,
                digest: Some(digest),
                identity: Some(plan.identity().clone()).filter(|it| *it != plan.image),
                is_commit_tag_refused: false,
            })),
            Ok(None) => Followed::Unusable(
                "its Job is complete, but the image is not in the registry".into(),
            ),
            Err(error) => Followed::Failed(error.into()),
        }
    }

    /// Returns how a unit ended whose worker did not report an outcome.
    async fn without_outcome(&self, pod: &PodState, job: Option<&JobEnd>) -> Followed {
        if let Some(JobEnd::Failed(reason)) = job
            && reason == "DeadlineExceeded"
        {
            return Followed::Failed(self.failed_job(reason, None));
        }
        if let Some(reason) = &pod.disrupted {
            return Followed::Lost(reason.clone());
        }
        let Some(end) = &pod.ended else {
            return Followed::Lost(format!("the pod {} is gone", pod.name));
        };
        if end.code == 0 {
            // The end of the log was lost.
            return self.adopted().await;
        }
        if pod.is_deleted && end.reason != "OOMKilled" {
            return Followed::Lost(format!("the pod {} was deleted", pod.name));
        }
        Followed::Failed(problems::crashed(pod, end, &self.reader))
    }

    /// Returns the error of a Job that failed without a pod's outcome.
    fn failed_job(&self, reason: &str, state: Option<&str>) -> StepError {
        let (name, state) = (self.unit.name, state.unwrap_or_default());
        let state = if state.is_empty() {
            String::new()
        } else {
            format!(": {state}")
        };
        if reason == "DeadlineExceeded" {
            return StepError::plain(format!(
                "the Job {name} reached its deadline (`activeDeadlineSeconds`){state}"
            ))
            .hint("the deadline is the service's `timeout`, or six hours, and an hour, and `wait` of the fleet")
            .outside();
        }
        StepError::plain(format!("the Job {name} failed: {reason}{state}")).outside()
    }

    async fn open_log(&mut self) -> Result<(), ApiError> {
        let Some(pod) = &self.pod else {
            return Ok(());
        };
        let stream = open_log(&self.unit.fleet.api, &pod.name, &self.reader).await?;
        self.log = LogState::Open {
            stream: Box::new(stream),
            is_complete: pod.is_over(),
        };
        Ok(())
    }

    /// Handles a line of the log, or its end. Returns the outcome, if it is there.
    fn take_line(&mut self, line: Result<Option<String>, String>) -> Option<Box<UnitEnd>> {
        let line = match line {
            Ok(Some(line)) => line,
            // The connection was lost, or the server ended it; only if the pod has ended, that is all.
            Ok(None) | Err(_) => {
                let is_complete =
                    matches!(self.log, LogState::Open { is_complete, .. } if is_complete);
                self.log = if is_complete && matches!(line, Ok(None)) {
                    LogState::Read
                } else {
                    LogState::Closed(Instant::now() + PAUSE)
                };
                return None;
            }
        };
        self.active = Instant::now();
        let message = self.reader.push(&line);
        let lost = self.reader.take_lost();
        if lost > 0 {
            self.unit.context.events.emit(Event::warning(format!(
                "{}: {lost} lines of the log of its Job were lost; the cluster keeps only the end of long logs",
                self.unit.plan.unit
            )));
        }
        match message? {
            WorkerMessage::End(end) => return Some(end),
            message => self.emit(message),
        }
        None
    }

    fn emit(&mut self, message: WorkerMessage) {
        let unit = &self.unit.plan.unit;
        let Some(mut event) = message.into_event(unit) else {
            return;
        };
        if let Event::StepStarted { title, .. } = &mut event {
            if !std::mem::replace(&mut self.is_working, true) {
                self.unit.context.events.emit(Event::StepFinished {
                    unit: unit.clone(),
                    phase: Phase::Job,
                    elapsed: self.unit.started.elapsed(),
                });
            }
            *title = self.local_paths(title);
        }
        self.unit.context.events.emit(event);
    }

    /// Replaces the worker's folders by those of this machine.
    fn local_paths(&self, text: &str) -> String {
        let context = self.unit.context;
        let cache = context.layout.root();
        let cache = cache.strip_prefix(&context.folder).unwrap_or(cache);
        text.replace(CACHE_FOLDER, &cache.display().to_string())
            .replace(&format!("{PLATFORM_FOLDER}/"), "")
    }

    /// Returns how the unit ended. A worker that was stopped was stopped by the cluster.
    fn ended(&self, end: Box<UnitEnd>) -> Followed {
        if end.summary.outcome != Outcome::Stopped {
            return Followed::Ended(end);
        }
        let observed = self.observed.borrow();
        let mut pods = observed.pods.iter().filter(|it| it.job == self.claim.uid);
        let disrupted = pods.find_map(|it| it.disrupted.clone());
        Followed::Lost(disrupted.unwrap_or_else(|| "its pod was stopped".to_owned()))
    }

    fn show_state(&mut self, state: String) {
        if self.shown != state {
            self.unit.show(&state);
            self.shown = state;
        }
    }
}

/// Opens the log of a pod's worker, from where it was read last.
pub(super) async fn open_log(
    api: &ClusterApi,
    pod: &str,
    reader: &LineReader,
) -> Result<LineStream, ApiError> {
    let mut query = format!("container={CONTAINER}&follow=true&timestamps=true");
    if let Some(since) = reader.since() {
        query.push_str(&format!("&sinceTime={}", since.replace(':', "%3A")));
    }
    let action = format!("read the log of the pod {pod}");
    api.stream(Kind::PodLog, pod, &query, &action).await
}

fn pod_is_over(pod: &Option<PodState>) -> bool {
    pod.as_ref().is_some_and(PodState::is_over)
}
