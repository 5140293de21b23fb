//! Runs units as Jobs of a Kubernetes cluster, and feeds their events into this run.
//!
//! | module | contents |
//! |---|---|
//! | `claim` | creates the Job of a unit, or attaches to an existing one |
//! | `contents` | the unit document, and the credentials that the unit needs |
//! | `follow` | the log of a Job's pod, and what happens to the pod |
//! | `probe` | a Job that only checks what units need |
//! | `problems` | what goes wrong with a pod |
//! | `watch` | the state of all Jobs and pods |

mod claim;
mod contents;
mod follow;
mod probe;
mod problems;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ExecuteContext;
use super::state::{Published, UnitState};
use super::step_error::{StepError, Stop};
use super::turn::{Halt, Turn};
use crate::client::kubectl::{ClusterApi, Kind};
use crate::execute::fleet::claim::Claim;
pub use crate::execute::fleet::contents::{docker_config, pod_remote, unpack};
use crate::execute::fleet::follow::{Followed, Follower};
pub use crate::execute::fleet::probe::{ProbeJob, ProbeRequest};
use crate::execute::fleet::watch::ObjectWatch;
use crate::model::event::{Event, Outcome, Phase, UnitSummary};
use crate::model::fleet::{JobIdentity, PodTemplate, UnitEnd, job_name};
use crate::model::image::{Digest, ImageReference};
use crate::model::plan::UnitPlan;

/// How often a unit is done again after its pod was evicted or its node was lost.
const MAX_REPEATS: usize = 2;

/// The pause before something is looked at again.
const PAUSE: Duration = Duration::from_millis(300);

/// How long removing what this run started may take.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(20);

/// The cluster that runs the units, and how.
pub struct Fleet {
    api: Arc<ClusterApi>,
    watch: ObjectWatch,
    settings: FleetSettings,
    /// The digests of the images that this run has built.
    built: Mutex<HashMap<ImageReference, Digest>>,
}

/// How units run.
pub struct FleetSettings {
    pub template: PodTemplate,
    /// The image of xp.
    pub image: ImageReference,
    /// How long a pod may wait until it starts.
    pub wait: Duration,
    /// The id of this run.
    pub run: String,
    /// The platform for which results of phases are looked up.
    pub platform: String,
    /// The registries without TLS.
    pub insecure_registries: Vec<String>,
}

impl Fleet {
    /// Starts to watch the cluster.
    pub fn new(api: ClusterApi, settings: FleetSettings) -> Self {
        let api = Arc::new(api);
        Self {
            watch: ObjectWatch::start(&api),
            api,
            settings,
            built: Mutex::default(),
        }
    }

    fn built(&self, image: &ImageReference) -> Option<Digest> {
        let built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        built.get(image).cloned()
    }

    /// Records the image of a unit that is done, for the units that use it.
    pub(super) fn record(&self, plan: &UnitPlan, state: &UnitState) {
        let pushed = state.published.as_ref().map(|it| &it.digest);
        if let Some(digest) = pushed.or(state.awaited.as_ref()) {
            let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
            built.insert(plan.image.clone(), digest.clone());
        }
    }

    /// Returns the name of a unit's Job.
    fn job_name(&self, plan: &UnitPlan) -> String {
        let run = plan
            .replaces_identity()
            .then_some(self.settings.run.as_str());
        let image = plan.identity();
        job_name(&plan.unit, &JobIdentity { image, run })
    }
}

/// Runs the first steps of a unit in a Job.
pub(super) async fn run(
    context: &ExecuteContext,
    fleet: &Fleet,
    plan: &UnitPlan,
    state: &mut UnitState,
    turn: &mut Turn<'_>,
) -> UnitSummary {
    match turn.enter(0).await {
        Ok(_) => {}
        Err(Halt::Cancelled) => return UnitSummary::new(Outcome::Stopped),
        Err(Halt::Blocked(needed)) => return UnitSummary::blocked(needed),
    }
    let name = fleet.job_name(plan);
    let unit = UnitRun {
        context,
        fleet,
        plan,
        name: &name,
        started: Instant::now(),
    };
    unit.emit_start();
    let ended = unit.run().await;
    fleet.watch.forget(&name);
    match ended {
        Ok(end) => {
            state.is_commit_tag_refused = end.is_commit_tag_refused;
            state.restored.clone_from(&end.summary.restored);
            state.published = end.digest.map(|digest| Published {
                is_adopted: false,
                identity: end.identity,
                digest,
            });
            let mut summary = end.summary;
            summary.only_fetched = end.only_fetched;
            // Its commands have the paths of the worker.
            if let Some(failure) = &mut summary.failure {
                failure.reproduce_command = None;
            }
            summary
        }
        Err(Stop::Cancelled) => UnitSummary::new(Outcome::Stopped),
        Err(Stop::Failed(_)) if context.cancel.is_cancelled() => UnitSummary::new(Outcome::Stopped),
        Err(Stop::Failed(error)) => UnitSummary::failed(error.in_phase(Phase::Job, None)),
    }
}

/// A unit while it runs in a Job.
#[derive(Clone, Copy)]
struct UnitRun<'a> {
    context: &'a ExecuteContext,
    fleet: &'a Fleet,
    plan: &'a UnitPlan,
    /// The name of the Job.
    name: &'a str,
    started: Instant,
}

impl UnitRun<'_> {
    fn emit_start(&self) {
        self.context.events.emit(Event::StepStarted {
            unit: self.plan.unit.clone(),
            phase: Phase::Job,
            title: format!("Job {} in {}", self.name, self.fleet.api.namespace()),
        });
    }

    /// Shows a state of the Job.
    fn show(&self, text: &str) {
        self.context.events.emit(Event::Output {
            unit: self.plan.unit.clone(),
            phase: Phase::Job,
            bytes: format!("{text}\n").into(),
        });
    }

    async fn run(&self) -> Result<UnitEnd, Stop> {
        let mut repeats = 0;
        loop {
            let observed = self.fleet.watch.follow(self.name);
            let claim = match self.claim().await {
                Ok(claim) => claim,
                // The Job may exist already.
                Err(Stop::Cancelled) => {
                    self.withdraw().await;
                    return Err(Stop::Cancelled);
                }
                Err(stop) => return Err(stop),
            };
            let mut follower = Follower::new(*self, observed, &claim);
            let followed = tokio::select! {
                followed = follower.follow() => followed,
                () = self.context.cancel.cancelled() => Followed::Cancelled,
            };
            let reason = match followed {
                Followed::Ended(end) => {
                    self.remove_secret(&claim).await;
                    return Ok(*end);
                }
                Followed::Failed(error) => {
                    self.withdraw().await;
                    return Err(error.into());
                }
                Followed::Cancelled => {
                    self.withdraw().await;
                    return Err(Stop::Cancelled);
                }
                Followed::Lost(reason) => reason,
                Followed::Unusable(reason) => {
                    self.show(&format!("{reason}; replacing the Job"));
                    self.replace(&claim).await?;
                    continue;
                }
            };
            if repeats == MAX_REPEATS {
                self.withdraw().await;
                let error = StepError::plain(format!("{reason}, {} times in a row", repeats + 1))
                    .hint("look at the nodes of the cluster, and run xp again")
                    .outside();
                return Err(error.into());
            }
            repeats += 1;
            self.show(&format!(
                "{reason}; starting again ({repeats} of {MAX_REPEATS})"
            ));
            self.context.events.emit(Event::note(format!(
                "{}: {reason}; building it again in a new pod",
                self.plan.unit
            )));
            self.replace(&claim).await?;
        }
    }

    /// Deletes the Job so that it can be created again.
    async fn replace(&self, claim: &Claim) -> Result<(), Stop> {
        let deleted = self
            .fleet
            .api
            .delete(Kind::Job, self.name, Some(&claim.uid));
        tokio::select! {
            deleted = deleted => Ok(deleted.map_err(StepError::from)?),
            () = self.context.cancel.cancelled() => {
                self.withdraw().await;
                Err(Stop::Cancelled)
            }
        }
    }

    /// Removes the credentials, which are not needed any more.
    async fn remove_secret(&self, claim: &Claim) {
        if !claim.has_secret {
            return;
        }
        let deleted = self.fleet.api.delete(Kind::Secret, self.name, None);
        if let Ok(Err(error)) = tokio::time::timeout(REMOVAL_TIMEOUT, deleted).await {
            // It is deleted with the Job.
            self.show(&error.to_string());
        }
    }

    /// Removes the Job, unless another run uses it.
    async fn withdraw(&self) {
        let removed = tokio::time::timeout(REMOVAL_TIMEOUT, claim::withdraw(self)).await;
        let why = match removed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no response".to_owned(),
        };
        let text = format!(
            "{}: the Job {} was not removed: {why}; it ends by itself",
            self.plan.unit, self.name
        );
        self.context.events.emit(Event::warning(text));
    }
}
