//! The containers beside the scripts of a service: inputs of its recipe, and steps of its plan.

use std::collections::BTreeMap;

use super::draft::{PlanCandidate, PlanDraft};
use super::recipe::{Folders, Input, InputValue};
use super::session::builder_image;
use super::{PlannedImage, PlannedSidecar, SidecarsStep, Step};
use crate::model::event::Unit;
use crate::model::manifest::{
    BuilderImage, ManifestError, ScriptPhase, Service, ServiceName, Sidecar, SidecarImage,
    SidecarName, SidecarSettings, Template,
};

/// Returns the units whose images the sidecars of some phases of a service need.
pub(super) fn units(service: &Service, runs: &dyn Fn(ScriptPhase) -> bool) -> Vec<Unit> {
    let used = service
        .used_sidecars()
        .filter(|(_, sidecar)| is_reached(service, sidecar, runs));
    let images = used.filter_map(|(_, sidecar)| match &sidecar.image {
        SidecarImage::Image(BuilderImage::Folder(name)) => Some(Unit::Builder(name.clone())),
        SidecarImage::Image(BuilderImage::External(image)) => Some(Unit::External(image.clone())),
        SidecarImage::Service { .. } => None,
    });
    images.collect()
}

/// Returns the templates of the containers beside the scripts, with the names of their inputs.
pub(super) fn templates(service: &Service) -> impl Iterator<Item = (String, &Template)> {
    let of_sidecars = service.used_sidecars().flat_map(|(name, sidecar)| {
        let image = match &sidecar.image {
            SidecarImage::Service { template, .. } => Some(template),
            SidecarImage::Image(_) => None,
        };
        let prefix = prefix(name, sidecar);
        let image = image.map(|template| (format!("{prefix}.image"), template));
        image
            .into_iter()
            .chain(variables(&prefix, &sidecar.settings))
    });
    let verifies = service.scripts.has(ScriptPhase::Verify);
    let own = verifies.then(|| variables("verify", &service.verify));
    of_sidecars.chain(own.into_iter().flatten())
}

fn is_reached(service: &Service, sidecar: &Sidecar, runs: &dyn Fn(ScriptPhase) -> bool) -> bool {
    let mut phases = sidecar.phases.iter();
    phases.any(|phase| service.scripts.has(*phase) && runs(*phase))
}

/// Returns the images of the sidecars that a phase reaches, except those of services.
pub(super) fn images(
    service: &Service,
    phase: ScriptPhase,
) -> impl Iterator<Item = &BuilderImage> + use<'_> {
    let used = service.used_sidecars();
    let used = used.filter(move |(_, sidecar)| sidecar.phases.contains(&phase));
    used.filter_map(|(_, sidecar)| match &sidecar.image {
        SidecarImage::Image(image) => Some(image),
        SidecarImage::Service { .. } => None,
    })
}

/// Returns the start of the names of a sidecar's inputs; see `is_test_input`.
fn prefix(name: &SidecarName, sidecar: &Sidecar) -> String {
    if sidecar.is_for_tests() {
        format!("sidecars.{name}")
    } else {
        format!("build.sidecars.{name}")
    }
}

fn variables<'s>(
    prefix: &str,
    settings: &'s SidecarSettings,
) -> impl Iterator<Item = (String, &'s Template)> + use<'s> {
    let prefix = prefix.to_owned();
    let env = settings.env.iter();
    env.map(move |(name, template)| (format!("{prefix}.env.{name}"), template))
}

impl PlanDraft<'_> {
    /// Adds the inputs of the containers beside the scripts. When they are ready, and how long that may take, does not
    /// matter to the image.
    pub(super) fn sidecar_inputs<'b>(
        &'b self,
        candidate: &'b PlanCandidate<'_>,
        folders: &Folders,
        inputs: &mut Vec<Input<'b>>,
    ) -> Result<(), ManifestError> {
        let service = candidate.service;
        for (name, sidecar) in service.used_sidecars() {
            let prefix = prefix(name, sidecar);
            let image = format!("{prefix}.image");
            match &sidecar.image {
                SidecarImage::Image(BuilderImage::Folder(builder)) => {
                    let folder = folders.get(&Unit::Builder(builder.clone()));
                    inputs.extend(folder.map(|folder| Input {
                        name: image.into(),
                        value: InputValue::Content(builder, folder.content.clone()),
                    }));
                }
                SidecarImage::Image(BuilderImage::External(external)) => {
                    inputs.push(Input::text(image, external.to_string()));
                }
                SidecarImage::Service { template, .. } => {
                    inputs.push(self.template_input(image, candidate, template)?);
                }
            }
            let phases = sidecar.phases.iter().map(|phase| phase.as_str());
            inputs.push(Input {
                name: format!("{prefix}.phases").into(),
                value: InputValue::List(phases.collect()),
            });
            self.settings_inputs(&prefix, candidate, &sidecar.settings, inputs)?;
        }
        if service.scripts.has(ScriptPhase::Verify) {
            self.settings_inputs("verify", candidate, &service.verify, inputs)?;
        }
        Ok(())
    }

    fn settings_inputs<'b>(
        &'b self,
        prefix: &str,
        candidate: &'b PlanCandidate<'_>,
        settings: &'b SidecarSettings,
        inputs: &mut Vec<Input<'b>>,
    ) -> Result<(), ManifestError> {
        if let Some(command) = &settings.command {
            inputs.push(Input {
                name: format!("{prefix}.command").into(),
                value: InputValue::List(command.iter().map(String::as_str).collect()),
            });
        }
        for (name, template) in variables(prefix, settings) {
            inputs.push(self.template_input(name, candidate, template)?);
        }
        Ok(())
    }

    /// Adds the steps that start sidecars to those of the scripts: before the first script of each phase, those that
    /// the phase is the first to reach.
    pub(super) fn with_sidecars(
        &self,
        candidate: &PlanCandidate<'_>,
        folders: &Folders,
        mut scripts: Vec<Step>,
    ) -> Result<Vec<Step>, ManifestError> {
        if candidate.service.used_sidecars().next().is_none() {
            return Ok(scripts);
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut started = Vec::new();
        for script in scripts.drain(..) {
            let phase = script.phase().of_scripts();
            let mut containers = Vec::new();
            for (name, sidecar) in &candidate.service.sidecars {
                let is_wanted = phase.is_some_and(|phase| sidecar.phases.contains(&phase));
                if is_wanted && !started.contains(&name) {
                    started.push(name);
                    containers.extend(self.sidecar(candidate, folders, name, sidecar)?);
                }
            }
            if !containers.is_empty() {
                let platform = None;
                steps.push(Step::Sidecars(Box::new(SidecarsStep {
                    platform,
                    containers,
                })));
            }
            steps.push(script);
        }
        if !started.is_empty() {
            mark_containers(&mut steps);
        }
        Ok(steps)
    }

    /// Adds the step that starts the service's own container and the sidecars to those of `scripts.verify`.
    pub(super) fn with_verification(
        &self,
        candidate: &PlanCandidate<'_>,
        folders: &Folders,
        mut scripts: Vec<Step>,
    ) -> Result<Vec<Step>, ManifestError> {
        let sidecars = self.verification(candidate, folders)?;
        mark_containers(&mut scripts);
        let containers = scripts
            .iter()
            .take_while(|it| matches!(it, Step::Container(_)));
        scripts.insert(containers.count(), Step::Sidecars(Box::new(sidecars)));
        Ok(scripts)
    }

    /// Returns the step that starts the service's own container and the sidecars for `scripts.verify`.
    fn verification(
        &self,
        candidate: &PlanCandidate<'_>,
        folders: &Folders,
    ) -> Result<SidecarsStep, ManifestError> {
        let service = candidate.service;
        let mut containers = Vec::new();
        for (name, sidecar) in &service.sidecars {
            if sidecar.phases.contains(&ScriptPhase::Verify) {
                containers.extend(self.sidecar(candidate, folders, name, sidecar)?);
            }
        }
        let name = service.name.to_string();
        let settings = &service.verify;
        containers.push(self.beside(candidate, name, PlannedImage::Built, settings)?);
        let platform = None;
        Ok(SidecarsStep {
            platform,
            containers,
        })
    }

    /// Returns the step that starts the sidecars of all scripts before the image, for an interactive container; `None`
    /// if there are none.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub fn session_sidecars(
        &self,
        service: &ServiceName,
        folders: &Folders,
    ) -> Result<Option<SidecarsStep>, ManifestError> {
        let Some(candidate) = self.candidate(service) else {
            return Ok(None);
        };
        let mut containers = Vec::new();
        for (name, sidecar) in candidate.service.used_sidecars() {
            let mut phases = sidecar.phases.iter();
            if phases.any(|phase| *phase != ScriptPhase::Verify) {
                containers.extend(self.sidecar(candidate, folders, name, sidecar)?);
            }
        }
        let platform = None;
        Ok((!containers.is_empty()).then_some(SidecarsStep {
            platform,
            containers,
        }))
    }

    /// Returns the step that verifies an image again, for an interactive container; `None` if the service is unknown.
    ///
    /// # Errors
    ///
    /// A variable cannot be rendered.
    pub fn session_verification(
        &self,
        service: &ServiceName,
        folders: &Folders,
    ) -> Result<Option<SidecarsStep>, ManifestError> {
        let candidate = self.candidate(service);
        let step = candidate.map(|candidate| self.verification(candidate, folders));
        step.transpose()
    }

    /// Returns the container of a sidecar; `None` if its image is unknown, which was reported.
    fn sidecar(
        &self,
        candidate: &PlanCandidate<'_>,
        folders: &Folders,
        name: &SidecarName,
        sidecar: &Sidecar,
    ) -> Result<Option<PlannedSidecar>, ManifestError> {
        let image = match &sidecar.image {
            SidecarImage::Image(image) => builder_image(image, folders),
            SidecarImage::Service { service, .. } => {
                self.image(service).map(|named| named.image.clone())
            }
        };
        let Some(image) = image else {
            return Ok(None);
        };
        let image = PlannedImage::Named(image);
        self.beside(candidate, name.to_string(), image, &sidecar.settings)
            .map(Some)
    }

    fn beside(
        &self,
        candidate: &PlanCandidate<'_>,
        name: String,
        image: PlannedImage,
        settings: &SidecarSettings,
    ) -> Result<PlannedSidecar, ManifestError> {
        let mut env = BTreeMap::new();
        for (name, template) in &settings.env {
            let value = self.render(template, candidate.service, candidate.source)?;
            env.insert(name.clone(), value);
        }
        Ok(PlannedSidecar {
            name,
            image,
            env,
            command: settings.command.clone(),
            ready: settings.ready.as_ref().map(|ready| ready.to_arguments()),
            timeout: settings.timeout,
        })
    }
}

/// Notes that the scripts in these containers reach sidecars.
fn mark_containers(steps: &mut [Step]) {
    for container in steps.iter_mut().filter_map(Step::container_mut) {
        container.has_sidecars = true;
    }
}
