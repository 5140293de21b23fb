//! Finds where the last build of a service failed, from the records of the runs.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::spawn_blocking;

use super::failure::manifest_failure;
use super::session::Session;
use super::workbench::{ImageNeed, Workbench};
use crate::base::error::Failure;
use crate::base::shell::quoted;
use crate::base::task::joined;
use crate::client::git::{GitError, Opened, WorkingCopy};
use crate::execute::UnitState;
use crate::flow::runs;
use crate::flow::sources::current_service;
use crate::flow::workbench;
use crate::model::event::{Event, FailedStep, Outcome, Phase};
use crate::model::image::ImageReference;
use crate::model::manifest::{ScriptItem, Service, ServiceName};
use crate::model::plan::{ContainerStep, Folders, Options, Pinned, PlanDraft, SidecarsStep};
use crate::model::record::{StepRecord, UnitDocument, UnitRecord};
use crate::model::source::{CommitId, ReferenceOrigin, ResolvedReference, ServiceSource};
use crate::store::runs::Run;

/// The phases that read or change a service's files.
const FILE_PHASES: &[&str] = &[
    "export",
    "container",
    "sidecars",
    "prepare",
    "build",
    "test",
    "image",
    "verify",
];

/// The phases that run in the builder container.
const SCRIPT_PHASES: &[&str] = &["prepare", "build", "test", "verify"];

/// The failure of a service's last build.
pub struct FailedBuild {
    run: u64,
    unit: UnitRecord,
    failure: FailedStep,
    /// The plan of the run, for all services.
    planned: Vec<UnitDocument>,
}

/// Returns the default service: the one in the current folder, else the only one that failed in the last run that did
/// any work.
pub fn service(session: &Session) -> Result<&Service, Failure> {
    let elsewhere = match current_service::service(session, None, "xp shell --failed SERVICE") {
        Ok(service) => return Ok(service),
        Err(elsewhere) => elsewhere,
    };
    let runs = runs::all(session)?.into_iter().rev();
    let last = runs.map(|run| (run.number, run.record()));
    let Some((number, record)) = last
        .into_iter()
        .find(|(_, record)| !record.units.is_empty())
    else {
        return Err(elsewhere);
    };
    let services = &session.manifest.services;
    let failed = record
        .failed()
        .filter_map(|unit| services.values().find(|it| it.name.as_str() == unit.name));
    match failed.collect::<Vec<_>>().as_slice() {
        [service] => Ok(service),
        [] => Err(Failure::usage(format!(
            "no service failed in the last run ({number})\n\
             hint: `xp shell SERVICE` opens a shell on a working copy; `xp logs --list` shows all runs"
        ))),
        several => {
            let names: Vec<String> = several.iter().map(|it| format!("`{}`", it.name)).collect();
            Err(Failure::usage(format!(
                "several services failed in run {number}: {}\nhint: specify one of them: `xp shell --failed {}`",
                names.join(", "),
                several[0].name
            )))
        }
    }
}

/// Finds the last run that used a service's files. It must have failed in a script or after one.
pub fn last(session: &Session, service: &Service) -> Result<FailedBuild, Failure> {
    let name = service.name.as_str();
    let runs = runs::all(session)?;
    let works_on_files = |unit: &UnitRecord| {
        unit.steps
            .iter()
            .any(|step| FILE_PHASES.contains(&step.phase.as_str()))
    };
    let found = runs.into_iter().rev().find_map(|run| {
        let record = run.record();
        let unit = record
            .unit(name)
            .filter(|unit| works_on_files(unit))?
            .clone();
        Some((run, record, unit))
    });
    let Some((run, record, unit)) = found else {
        return Err(Failure::usage(format!(
            "`{name}` has not been built\nhint: `xp build {name}` builds it; `xp shell {name}` opens a shell on the working copy"
        )));
    };
    let failure = failure(name, &run, &unit)?;
    let planned = record.plan.map(|plan| plan.units).unwrap_or_default();
    Ok(FailedBuild {
        run: run.number,
        unit,
        failure,
        planned,
    })
}

/// Returns the failure of a run, or an error if a shell cannot show it.
fn failure(name: &str, run: &Run, unit: &UnitRecord) -> Result<FailedStep, Failure> {
    let number = run.number;
    let message = match (unit.outcome, &unit.failure) {
        (None, _) if run.is_running() => {
            format!("run {number} is still building `{name}`\nhint: `xp logs -f` follows it")
        }
        (Some(Outcome::Failed), Some(failure)) => {
            let is_script = SCRIPT_PHASES.contains(&failure.phase.as_str());
            if let Some(platform) = failure.platform.as_ref().filter(|_| is_script) {
                let phase = &failure.phase;
                return Err(Failure::usage(format!(
                    "`{name}` failed in run {number} in a container for {platform}, and `xp shell` opens those of the engine's own platform\n\
                     hint: `xp logs {name} --phase {phase}` shows its output, and a command that repeats it if the engine can access the files of this machine\n\
                     hint: `xp shell {name}` opens a shell on the working copy"
                )));
            }
            if failure.phase == Phase::Image || is_script {
                return Ok(failure.clone());
            }
            format!(
                "`{name}` failed in run {number}, but not in its builder container: {}: {}\n\
                 hint: `xp shell {name}` opens a shell on the working copy",
                failure.phase, failure.message
            )
        }
        (Some(Outcome::Done), _) => format!(
            "the last build of `{name}` (run {number}) did not fail\n\
             hint: `xp shell {name}` opens a shell on the working copy"
        ),
        _ => format!(
            "the last build of `{name}` (run {number}) was interrupted\n\
             hint: `xp build {name}` builds it again"
        ),
    };
    Err(Failure::usage(message))
}

/// What the container of a failed step is planned with.
struct DraftInputs {
    folders: Folders,
    sources: BTreeMap<ServiceName, ServiceSource>,
    options: Options,
}

impl FailedBuild {
    /// Prepares the same container, with the files as the build left them.
    pub async fn workbench(
        &self,
        session: &Session,
        service: &Service,
    ) -> Result<Workbench, Failure> {
        let item = self.item(service)?;
        let image = match item.and_then(ScriptItem::image) {
            Some(image) => image,
            None => workbench::builder(service)?,
        };
        let images = workbench::images(service, image);
        let folders = workbench::folders(session, &images)?;
        let prepared = async {
            let (found, engine) = tokio::join!(self.found(session, service), session.engine());
            Ok((found?, engine?))
        };
        let (found, (engine, facts)) = session.unless_interrupted(prepared).await?;
        let (sources, options, mut state) = found;
        let draft = DraftInputs {
            folders,
            sources,
            options,
        };
        let (step, sidecars) = self.step(session, service, item, &draft)?;
        state.built = self.new_image(service);
        if !step.source.is_dir() {
            return Err(Failure::usage(format!(
                "the files of the build were removed: {} does not exist\nhint: `xp build {}` builds it again",
                step.source.display(),
                service.name
            )));
        }
        let folders = &draft.folders;
        let context = workbench::with_images(
            session,
            &images,
            folders,
            engine,
            facts,
            ImageNeed::default(),
        )
        .await?;
        Ok(Workbench {
            context,
            step,
            sidecars,
            state,
        })
    }

    /// Returns the item of the manifest that failed, if it names its own image.
    fn item<'s>(&self, service: &'s Service) -> Result<Option<&'s ScriptItem>, Failure> {
        if self.failure.image.is_none() {
            return Ok(None);
        }
        let phases = service.scripts.phases().into_iter();
        let items = phases
            .filter(|(phase, _)| phase.as_str() == self.failure.phase.as_str())
            .flat_map(|(_, items)| items);
        let mut items = items.filter(|item| item.image().is_some());
        let is_failed = |item: &&ScriptItem| self.failure.line.is_some_and(|it| item.has_line(it));
        let item = items.find(is_failed).ok_or_else(|| {
            Failure::usage(format!(
                "the manifest has changed since run {}: there is no item with an image of its own at the line that failed\n\
                 hint: `xp build {}` builds it again",
                self.run, service.name
            ))
        })?;
        Ok(Some(item))
    }

    /// Prints what failed, how to repeat it, and whether changes to the files are kept.
    pub fn explain(&self, session: &Session, service: &Service, step: &ContainerStep) {
        let FailedStep { phase, message, .. } = &self.failure;
        let mut lines = vec![format!(
            "run {}: {}: {phase}: {message}",
            self.run, service.name
        )];
        let source = step.source.strip_prefix(&session.manifest.folder);
        let source = source.unwrap_or(&step.source).display();
        lines.push(if step.in_place {
            format!("using the files of your working copy, {source}, in their current state")
        } else {
            format!(
                "using the files that the build left in {source}; the next build replaces them, \
                 and changes there will be lost"
            )
        });
        if !self.ran_in(step) {
            lines.push("the manifest or the builder has changed since".to_owned());
        }
        let script = self.unit.steps.last();
        // A plugin is not a command, and neither is saving outputs.
        let is_script = |it: &&StepRecord| {
            let is_save = self.failure.line.is_none() && it.title.starts_with("save ");
            SCRIPT_PHASES.contains(&it.phase.as_str()) && step.config.is_none() && !is_save
        };
        let script = script.filter(is_script);
        match (script, &self.failure.reproduce_command) {
            (Some(script), _) => lines.push(format!(
                "to repeat it in this shell:\n  sh -ec {}",
                quoted(&script.title)
            )),
            (None, Some(reproduce_command)) => {
                lines.push(format!(
                    "to repeat it outside of this shell:\n  {reproduce_command}"
                ));
            }
            (None, None) => {}
        }
        session.events.emit(Event::note(lines.join("\n")));
    }

    /// Returns whether the build ran in this image; `true` if the record does not say.
    fn ran_in(&self, step: &ContainerStep) -> bool {
        if let Some(image) = &self.failure.image {
            return *image == step.image.to_string();
        }
        let mut started = self.unit.steps.iter().filter(|it| it.phase == "container");
        let image = format!("{} with ", step.image);
        // The service's own builder is started first.
        started.next().is_none_or(|it| it.title.starts_with(&image))
    }

    /// Returns the ID of the image that was verified.
    fn new_image(&self, service: &Service) -> Option<String> {
        let mut sidecars = self.unit.sidecars.iter().rev();
        let own = sidecars.find(|it| it.name == service.name.as_str());
        own.map(|own| own.image.clone())
    }

    /// Returns the plan of a service.
    fn planned(&self, name: &ServiceName) -> Option<&UnitDocument> {
        self.planned.iter().find(|unit| unit.name == name.as_str())
    }

    /// Returns whether the working copy was built in place.
    fn was_in_place(&self, service: &Service) -> bool {
        let planned = self.planned(&service.name);
        planned.and_then(|unit| unit.origin.as_deref())
            == Some(ReferenceOrigin::WorkingCopy.as_str())
    }

    /// Returns the sources of the services, the tags of their images, and the commit's facts that later steps need.
    async fn found(
        &self,
        session: &Session,
        service: &Service,
    ) -> Result<(BTreeMap<ServiceName, ServiceSource>, Options, UnitState), Failure> {
        let (mut sources, mut options) = (BTreeMap::new(), Options::default());
        for name in session.manifest.services.keys() {
            let Some((source, tag)) = self.planned(name).and_then(source) else {
                continue;
            };
            sources.insert(name.clone(), source);
            options.pinned.extend(tag.map(|tag| (name.clone(), tag)));
        }
        if self.was_in_place(service) {
            sources.extend(workbench::sources(session, service).await?);
            return Ok((sources, options, UnitState::default()));
        }
        let state = match sources.get(&service.name) {
            Some(source) if service.source.git().is_some() => {
                let (dir, commit) = (session.manifest.folder.join(&service.dir), source.commit);
                let state = spawn_blocking(move || commit_state(&dir, commit)).await;
                joined(state)?
            }
            _ => UnitState::default(),
        };
        Ok((sources, options, state))
    }

    fn step(
        &self,
        session: &Session,
        service: &Service,
        item: Option<&ScriptItem>,
        inputs: &DraftInputs,
    ) -> Result<(ContainerStep, Option<SidecarsStep>), Failure> {
        let DraftInputs {
            folders,
            sources,
            options,
        } = inputs;
        let variable = |name: &str| session.variable(name);
        let selected = BTreeSet::from([service.name.clone()]);
        let draft =
            PlanDraft::without_tags(&session.manifest, &selected, sources, options, &variable);
        let step = draft.script_container(
            &service.name,
            item,
            self.failure.phase.of_scripts(),
            folders,
            &session.layout,
        );
        let step = step.map_err(|error| manifest_failure(session, &error))?;
        let step = step.ok_or_else(|| {
            Failure::usage(format!(
                "run {} does not say which commit of `{}` it built\nhint: `xp build {}` builds it again",
                self.run, service.name, service.name
            ))
        })?;
        let sidecars = if self.failure.phase == Phase::Verify {
            draft.session_verification(&service.name, folders)
        } else {
            draft.session_sidecars(&service.name, folders)
        };
        let sidecars = sidecars.map_err(|error| manifest_failure(session, &error))?;
        Ok((step, sidecars))
    }
}

/// Returns the source of a service, and the tag of its image.
fn source(unit: &UnitDocument) -> Option<(ServiceSource, Option<Pinned>)> {
    let commit: CommitId = unit.commit.as_deref()?.parse().ok()?;
    let reference = unit.reference.as_deref().filter(|name| *name != "-");
    let tip = ResolvedReference {
        commit,
        name: reference.map(|name| format!("refs/heads/{name}")),
    };
    let image: Option<ImageReference> = unit.image.parse().ok();
    let tag = image.and_then(|image| image.tag().cloned());
    let pinned = tag.map(|tag| Pinned { tag, digest: None });
    Some((ServiceSource::of(tip, ReferenceOrigin::Lock), pinned))
}

/// Reads the facts of a commit that the build's sync step had provided.
fn commit_state(dir: &std::path::Path, commit: CommitId) -> Result<UnitState, GitError> {
    let Opened::WorkingCopy(working_copy) = WorkingCopy::open(dir)? else {
        return Ok(UnitState::default());
    };
    let mut folders = working_copy.object_folders().into_iter();
    Ok(UnitState {
        commit_time: Some(working_copy.commit_facts(commit)?.committer_time),
        objects: folders.next(),
        borrowed_objects: folders.collect(),
        ..UnitState::default()
    })
}
