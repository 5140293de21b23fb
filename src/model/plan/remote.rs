//! The part of a unit that runs on a fleet.

use super::{Occupied, Step, UnitPlan};
use crate::model::event::Phase;
use crate::model::image::ImageReference;

/// The part of a unit that runs in a Job of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePart {
    /// The name of the fleet.
    pub fleet: String,
    /// How many of the first steps run there: those up to the push. Tags are set by the run itself, because runs that
    /// share a Job may set different ones.
    pub steps: usize,
}

impl UnitPlan {
    /// Returns the steps that run on a fleet.
    pub fn remote_steps(&self) -> &[Step] {
        let length = self.remote.as_ref().map_or(0, |remote| remote.steps);
        &self.steps[..length]
    }

    /// Returns the image under the tag that never moves: what the work on the unit is for.
    pub fn identity(&self) -> &ImageReference {
        let mut pushes = self.steps.iter().filter_map(|step| match step {
            Step::Push(step) => step.identity.as_ref(),
            _ => None,
        });
        pushes.next().unwrap_or(&self.image)
    }

    /// Returns whether the image replaces one under the same tag that never moves, so that the work must not be shared
    /// with earlier runs.
    pub fn replaces_identity(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Push(step) => {
                step.force || step.inconsistent.is_some() || !step.rejected.is_empty()
            }
            Step::Image(step) => step.fresh,
            _ => false,
        })
    }

    /// Returns the phase of a step, by its position; that of the Job if it runs the step.
    pub fn phase_of(&self, position: usize) -> Phase {
        if position < self.remote_steps().len() {
            Phase::Job
        } else {
            self.steps[position].phase()
        }
    }

    /// Returns what a step occupies, by its position.
    pub fn occupies(&self, position: usize) -> Occupied {
        if position < self.remote_steps().len() {
            Occupied::Job
        } else {
            self.steps[position].occupies()
        }
    }
}
