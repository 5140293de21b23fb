//! What each step of a unit waits for: other units, a free job slot, or a connection.
//!
//! A step waits only for what it uses:
//!
//! | step | waits until |
//! |---|---|
//! | the first one | the builder is usable, if the unit has scripts, and so are other images that they run in |
//! | a container or a plugin | the needed images are final, if the scripts can use them |
//! | the image | the needed images are final, and the builder too if the image is pushed |
//! | the push of an existing image | the needed images are final |
//!
//! A builder is *usable* before it is pushed, so scripts run during the push. But another run may push another build of
//! it first, and where there is a registry, its builder is the one that counts. So an image that others will get is not
//! built before the push has ended: if it ended with the other run's builder, the scripts are repeated with that one.
//! Until then nothing in the engine has been built with the other one, so a killed run leaves nothing to push either.
//!
//! On a fleet, a unit's Job waits for everything that it uses before it is created.
//!
//! A unit in a working copy has it to itself, and the units that it needs may be built in the same one. So it waits for
//! everything before it starts.

use super::{ContainerStep, ImageStep, PlannedImage, SidecarsStep, Step, UnitPlan};
use crate::model::event::Unit;

/// A state of a unit that others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Milestone {
    /// Its image is in the engine; if it is pushed, the registry has no other image of that name yet.
    Usable,
    /// Its steps have ended, except those that are held; its image is final.
    Final,
}

/// Something that a step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub unit: Unit,
    pub milestone: Milestone,
}

/// When a unit becomes usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsableFrom {
    /// After this number of steps.
    Steps(usize),
    /// When its push starts to send the image.
    Upload,
}

/// What a step occupies while it runs; the number of each is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupied {
    /// One of `--jobs`: it uses processors or disks of this machine or of the engine.
    Job,
    /// A connection to a git remote.
    Fetch,
    /// A transfer of an image.
    Transfer,
    /// Nothing: it ends at once, or only waits for another run.
    Nothing,
}

impl Step {
    /// Returns what the step occupies.
    pub fn occupies(&self) -> Occupied {
        match self {
            Self::Sync(_) => Occupied::Fetch,
            Self::Pull { .. } | Self::Push(_) => Occupied::Transfer,
            Self::NameImage { .. }
            | Self::EngineTag { .. }
            | Self::RegistryTag { .. }
            | Self::Provenance(_)
            | Self::Sign(_)
            | Self::Await(_) => Occupied::Nothing,
            Self::Export(_)
            | Self::Fetch(_)
            | Self::Toolchain(_)
            | Self::Container(_)
            | Self::Sidecars(_)
            | Self::Script(_)
            | Self::Plugin(_)
            | Self::Stage(_)
            | Self::Keep(_)
            | Self::Restore(_)
            | Self::Place(_)
            | Self::Image(_)
            | Self::Sbom(_) => Occupied::Job,
        }
    }
}

impl UnitPlan {
    /// Returns what a step waits for, by its position.
    pub fn waits(&self, position: usize) -> Vec<Wait> {
        if self.remote.is_some() {
            return self.waits_of_job(position);
        }
        let first = position == 0;
        let (container, image) = (self.container(), self.image_step());
        let is_pushed = self.steps.iter().any(|it| matches!(it, Step::Push(_)));
        let needs_first = match (container, image) {
            // Only steps that push or tag an existing image.
            (_, None) => first,
            (Some(_), Some(_)) if self.in_place.is_some() => first,
            _ => false,
        };
        let (builder, needs) = match &self.steps[position] {
            // In case the phase has to run.
            Step::Restore(step) => {
                let used = image.is_some_and(|image| {
                    let mut steps = step.otherwise.iter();
                    steps.any(|step| match step {
                        Step::Sidecars(step) => starts_needed(step, image),
                        step => step.container().is_some_and(|it| uses_needed(it, image)),
                    })
                });
                (None, used)
            }
            Step::Container(container) => {
                let used = image.is_some_and(|image| uses_needed(container, image));
                (None, used)
            }
            Step::Sidecars(step) => {
                let used = image.is_some_and(|image| starts_needed(step, image));
                (None, used)
            }
            Step::Image(_) => {
                let is_final = container.is_some() && is_pushed;
                (is_final.then_some(Milestone::Final), true)
            }
            Step::Sbom(_) => (Some(Milestone::Final), false),
            step => {
                let used = step.container().zip(image);
                (
                    None,
                    used.is_some_and(|(container, image)| uses_needed(container, image)),
                )
            }
        };
        let usable = (first && container.is_some()).then_some(Milestone::Usable);
        let builder = builder.or(usable);
        let needs = (needs || needs_first).then_some(Milestone::Final);
        let waits = self.after.iter().filter_map(|unit| {
            let milestone = match unit {
                Unit::Builder(_) | Unit::External(_) => builder?,
                Unit::Service(_) | Unit::Workload(_) => needs?,
            };
            Some(Wait {
                unit: unit.clone(),
                milestone,
            })
        });
        waits.collect()
    }

    /// Returns what a step waits for if a Job runs the first ones: it starts when everything that it uses is final.
    fn waits_of_job(&self, position: usize) -> Vec<Wait> {
        let units = self.after.iter().filter(|_| position == 0);
        let waits = units.map(|unit| Wait {
            unit: unit.clone(),
            milestone: Milestone::Final,
        });
        waits.collect()
    }

    /// Returns when the unit becomes usable.
    pub fn usable_from(&self) -> UsableFrom {
        let steps = self.first_steps();
        if steps.iter().any(|it| matches!(it, Step::Push(_))) {
            return UsableFrom::Upload;
        }
        let provides = |step: &Step| match step {
            Step::Image(_) | Step::NameImage { .. } | Step::Pull { .. } => true,
            // The image had another name before.
            Step::EngineTag { names, .. } => names.contains(&self.image),
            _ => false,
        };
        UsableFrom::Steps(steps.iter().rposition(provides).map_or(0, |last| last + 1))
    }

    /// Returns whether the builder is built, pulled or pushed by this plan from a folder of the platform.
    pub fn has_own_builder(&self) -> bool {
        let mut units = self.after.iter();
        units.any(|unit| matches!(unit, Unit::Builder(_)))
    }

    /// Returns whether scripts run for platforms other than the engine's own, with other results for each one.
    pub fn has_scripts_per_platform(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Toolchain(_)))
    }

    /// Returns whether scripts before the image ran beside an image that it needs.
    pub fn tests_needed_images(&self) -> bool {
        let before = self
            .steps
            .iter()
            .take_while(|it| !matches!(it, Step::Image(_)));
        before
            .filter_map(|step| match step {
                Step::Sidecars(step) => Some(step),
                _ => None,
            })
            .any(|step| {
                self.image_step()
                    .is_some_and(|image| starts_needed(step, image))
            })
    }

    /// Returns the container of the scripts before the image or, without them, of those that verify it.
    pub fn container(&self) -> Option<&ContainerStep> {
        self.steps.iter().find_map(Step::container)
    }

    fn image_step(&self) -> Option<&ImageStep> {
        self.steps.iter().find_map(|step| match step {
            Step::Image(step) => Some(step.as_ref()),
            _ => None,
        })
    }
}

/// Returns whether a sidecar is a needed image.
fn starts_needed(step: &SidecarsStep, image: &ImageStep) -> bool {
    step.containers.iter().any(|container| {
        let mut needs = image.needs.iter();
        needs.any(|need| container.image == PlannedImage::Named(need.image.clone()))
    })
}

/// Returns whether the scripts can use the needed images: they reach the engine, or a variable names one.
fn uses_needed(container: &ContainerStep, image: &ImageStep) -> bool {
    let names = |value: &String| {
        let needs = image.needs.iter();
        let mut names = needs.map(|need| need.image.repository().to_string());
        names.any(|name| value.contains(&name))
    };
    container.socket || container.env.values().any(names)
}
