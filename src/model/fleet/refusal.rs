//! What cannot be built on a fleet, found before anything is built.

use super::PodRemote;
use crate::model::event::Unit;
use crate::model::manifest::ServiceName;
use crate::model::plan::{ContainerStep, Plan, Step, UnitPlan};
use crate::model::source::{GitScheme, GitUrl};

/// Why a unit cannot be built on a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The service; `None` for a builder image.
    pub service: Option<ServiceName>,
    /// The manifest key that causes it.
    pub key: &'static str,
    pub message: String,
    pub help: String,
}

/// Returns why units of a plan cannot be built on a fleet. `in_pod` returns how a pod reaches a remote.
pub fn refusals(plan: &Plan, in_pod: &impl Fn(&GitUrl) -> PodRemote) -> Vec<Refusal> {
    let remote = plan.units.iter().filter(|unit| unit.remote.is_some());
    remote.flat_map(|unit| of_unit(unit, in_pod)).collect()
}

fn of_unit(plan: &UnitPlan, in_pod: &impl Fn(&GitUrl) -> PodRemote) -> Vec<Refusal> {
    let service = match &plan.unit {
        Unit::Service(name) => Some(name.clone()),
        _ => None,
    };
    let mut refusals = Vec::new();
    let mut refuse = |key: &'static str, message: String, help: &str| {
        if refusals.iter().all(|it: &Refusal| it.key != key) {
            refusals.push(Refusal {
                service: service.clone(),
                key,
                message,
                help: help.to_owned(),
            });
        }
    };
    if !plan.steps.iter().any(|it| matches!(it, Step::Push(_))) {
        let message = format!(
            "{} has no registry, through which the machines of a fleet share images",
            plan.image.repository()
        );
        refuse("docker.image", message, "set `registry` in the manifest");
    }
    for step in plan.remote_steps() {
        if let Step::Sync(sync) = step
            && in_pod(&sync.remote).url.scheme() == GitScheme::File
        {
            let message = format!(
                "the repository {} is on this machine, not on the fleet's",
                sync.remote
            );
            let help = "set a remote that the fleet's pods can reach, such as an https URL";
            refuse("git.remote", message, help);
        }
        for container in containers(step) {
            if container.ssh {
                refuse_agent(&mut refuse, "dockerBuilder.ssh");
            }
            if let Some(mount) = container.mounts.first() {
                let message = format!("`{}` would be mounted from this machine", mount.source);
                let help = "remove `dockerBuilder.mounts`, or build this service without `--fleet`; secrets belong in `docker.secrets`";
                refuse("dockerBuilder.mounts", message, help);
            }
        }
        if matches!(step, Step::Image(image) if image.platform.is_some()) {
            let message = "a worker of a fleet builds for its own platform only".to_owned();
            let help = "build this service without `--fleet`, or remove `docker.platforms`";
            refuse("docker.platforms", message, help);
        }
        if matches!(step, Step::Image(image) if image.ssh) {
            refuse_agent(&mut refuse, "docker.ssh");
        }
    }
    refusals
}

fn refuse_agent(refuse: &mut impl FnMut(&'static str, String, &str), key: &'static str) {
    let message =
        format!("`{key}` uses the ssh agent of this machine, which a fleet does not have");
    let help = "use a secret with a key or token instead, or build this service without `--fleet`";
    refuse(key, message, help);
}

/// Returns the containers of a step, and of the steps that run if a result cannot be restored.
fn containers(step: &Step) -> Vec<&ContainerStep> {
    match step {
        Step::Restore(step) => step.otherwise.iter().flat_map(containers).collect(),
        step => step.container().into_iter().collect(),
    }
}
