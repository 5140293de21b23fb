//! Copies images from another registry, without an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::failure::manifest_failure;
use super::plan;
use super::request::CopyRequest;
use super::session::Session;
use super::sources::commits;
use super::sources::history::HistoryExtent;
use super::sources::locked::Locked;
use super::survey;
use crate::base::error::{Diagnostic as _, Failure, chain};
use crate::base::plural::count_of;
use crate::client::registry::{ImageCopier, RegistryClient, RegistryError};
use crate::model::event::{Event, FailedStep, Measure, Outcome, Phase, Unit, UnitSummary};
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::plan::copy::{CopiedImage, CopyState, ImageCopy, copied_from};
use crate::model::plan::{Folders, Inventory, Options, PlanDraft, Presence};
use crate::model::source::ServiceSource;

/// The minimum time between two reports of an image's progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The images of a request, and what is needed to copy them.
pub struct PlannedCopies {
    pub copies: Vec<ImageCopy>,
    registry: RegistryClient,
}

/// Decides what to copy; only queries registries.
pub async fn planned(session: &Session, request: &CopyRequest) -> Result<PlannedCopies, Failure> {
    let manifest = &session.manifest;
    let concerned = manifest.closure(&request.services);
    check_target(manifest, &concerned, request)?;
    let git = session.git()?;
    let locked = match &request.lock {
        Some(file) => Some(Locked::read(session, file)?),
        None => None,
    };
    let sources = match &locked {
        Some(locked) => locked.sources(session, &concerned)?,
        None => {
            let sources =
                commits::resolve(session, &git, &concerned, &request.references, None).await?;
            commits::narrow(session, &git, sources, HistoryExtent::Remotes(None)).await?
        }
    };
    let options = Options {
        moving_tags: false,
        test: request.test,
        // A lock names digests, whatever they were built from.
        trust_commit: locked.is_some(),
        pinned: locked.as_ref().map(Locked::pinned).unwrap_or_default(),
        ..Options::default()
    };
    // The engine is optional: it only provides the list of insecure registries.
    let facts = session.engine().await.map(|(_, facts)| facts);
    let registry = session.registry(&facts.unwrap_or_default());
    let planning = Planning {
        session,
        request,
        sources: &sources,
        options: &options,
        registry: &registry,
    };
    let copies = planning.copies().await?;
    Ok(PlannedCopies { copies, registry })
}

/// Fails if there is no other registry to copy to.
fn check_target(
    manifest: &Manifest,
    services: &BTreeSet<ServiceName>,
    request: &CopyRequest,
) -> Result<(), Failure> {
    if manifest.registry.as_ref() == Some(&request.from) {
        return Err(Failure::usage(format!(
            "{} is the registry of the manifest, which images are copied to\n\
             hint: pass the former registry with `--from`, and set `registry` to the new one",
            request.from
        )));
    }
    let has_registry = |name: &ServiceName| {
        let service = manifest.services.get(name);
        service.is_some_and(|it| it.docker.image.registry().is_some())
    };
    if !services.iter().any(has_registry) {
        return Err(Failure::usage(
            "there is no registry to copy to: no image of the selected services has one\n\
             hint: set `registry` in the manifest to the new registry",
        ));
    }
    Ok(())
}

/// The inputs of the decision.
struct Planning<'p> {
    session: &'p Session,
    request: &'p CopyRequest,
    sources: &'p BTreeMap<ServiceName, ServiceSource>,
    options: &'p Options,
    registry: &'p RegistryClient,
}

impl Planning<'_> {
    async fn copies(&self) -> Result<Vec<ImageCopy>, Failure> {
        let session = self.session;
        let variable = |name: &str| session.variable(name);
        let own = self.draft(&session.manifest, &variable)?;
        let folders = plan::folders(session, &own)?;
        let mut inventory = Inventory::default();
        self.survey(&own, &folders, &mut inventory).await;
        let missing = own.to_copy(&inventory, &folders);
        let missing = missing.map_err(|error| manifest_failure(session, &error))?;
        let copies = self
            .copies_from(&own, &missing, &inventory, &folders, None)
            .await?;
        // The only service that was named may have been renamed: then its whole repository is given.
        let [service] = Vec::from_iter(&self.request.services)[..] else {
            return Ok(copies);
        };
        let is_not_found = |copy: &&ImageCopy| {
            copy.service == *service && matches!(copy.state, CopyState::NotFound(_))
        };
        if !copies.iter().any(|copy| is_not_found(&copy)) || self.request.from.path().is_none() {
            return Ok(copies);
        }
        let of = Some(service);
        let others = self
            .copies_from(&own, &missing, &inventory, &folders, of)
            .await?;
        let is_found = !others.iter().any(|copy| is_not_found(&copy));
        Ok(if is_found { others } else { copies })
    }

    async fn copies_from(
        &self,
        own: &PlanDraft<'_>,
        missing: &[ServiceName],
        inventory: &Inventory,
        folders: &Folders,
        repository_of: Option<&ServiceName>,
    ) -> Result<Vec<ImageCopy>, Failure> {
        let (session, from) = (self.session, &self.request.from);
        let manifest = copied_from(&session.manifest, missing, from, repository_of);
        let variable = |name: &str| session.variable(name);
        let draft = self.draft(&manifest, &variable)?;
        let mut inventory = inventory.clone();
        self.survey(&draft, folders, &mut inventory).await;
        if self.request.lock.is_some() {
            let tags = draft.pinned_tags(own, &inventory);
            let found = survey::registries(self.registry, tags).await;
            inventory.registry.extend(found);
        }
        let copies = draft.copies(own, missing, &inventory, folders);
        copies.map_err(|error| manifest_failure(session, &error))
    }

    fn draft<'a>(
        &'a self,
        manifest: &'a Manifest,
        variable: &'a (dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<PlanDraft<'a>, Failure> {
        let services = &self.request.services;
        PlanDraft::new(manifest, services, self.sources, self.options, variable)
            .map_err(|error| manifest_failure(self.session, &error))
    }

    /// Queries the images of a draft that were not queried yet.
    async fn survey(&self, draft: &PlanDraft<'_>, folders: &Folders, inventory: &mut Inventory) {
        let images = draft.images().into_iter();
        let images: BTreeSet<_> = images
            .filter(|image| !inventory.registry.contains_key(image))
            .collect();
        let (events, layout) = (&self.session.events, &self.session.layout);
        let what = format!("looking for {}", count_of(images.len(), "image"));
        events.emit(Event::stage(what));
        let found = survey::registries(self.registry, images.into_iter().collect()).await;
        let present = found.iter().filter_map(|(image, presence)| match presence {
            Presence::Present(digest) => Some(image.repository().with_digest(digest.clone())),
            _ => None,
        });
        let present: Vec<_> = present.collect();
        inventory.registry.extend(found);
        if self.request.lock.is_some() {
            // Their recipes are the new identity tags.
            survey::describe(self.registry, layout, present, inventory).await;
        }
        survey::complete(self.registry, layout, draft, folders, inventory).await;
        events.emit(Event::StageFinished);
    }
}

/// Copies the images, and returns the outcome for each service with an image to copy.
pub async fn run(
    session: &Session,
    planned: &PlannedCopies,
    jobs: usize,
) -> BTreeMap<ServiceName, Outcome> {
    let copies = planned.copies.iter();
    let copies: Vec<(&ImageCopy, &CopiedImage)> = copies
        .filter_map(|copy| match &copy.state {
            CopyState::Copy(image) => Some((copy, image)),
            _ => None,
        })
        .collect();
    let units = copies
        .iter()
        .map(|(copy, _)| Unit::Service(copy.service.clone()));
    session.events.emit(Event::WorkStarted {
        units: units.collect(),
        jobs,
    });
    let copier = Arc::new(ImageCopier::new(planned.registry.clone()));
    let work = copies.into_iter().map(|(copy, image)| {
        let copier = copier.clone();
        async move {
            let outcome = copy_one(session, &planned.registry, &copier, copy, image).await;
            (copy.service.clone(), outcome)
        }
    });
    futures_util::stream::iter(work)
        .buffer_unordered(jobs)
        .collect()
        .await
}

/// Copies one image.
async fn copy_one(
    session: &Session,
    registry: &RegistryClient,
    copier: &ImageCopier,
    copy: &ImageCopy,
    image: &CopiedImage,
) -> Outcome {
    let start = Instant::now();
    let (events, phase) = (&session.events, Phase::Push);
    let unit = Unit::Service(copy.service.clone());
    events.emit(Event::UnitStarted { unit: unit.clone() });
    events.emit(Event::StepStarted {
        unit: unit.clone(),
        phase,
        title: format!("{} to {}", image.from, copy.to),
    });
    let reported = std::sync::Mutex::new(Instant::now());
    let report = |done: u64, total: u64| {
        if let Ok(mut last) = reported.try_lock()
            && last.elapsed() >= REPORT_INTERVAL
        {
            *last = Instant::now();
            events.emit(Event::Progress {
                unit: unit.clone(),
                phase,
                done,
                total: Some(total),
                measure: Measure::Bytes,
                bytes: done,
            });
        }
    };
    let work = async {
        copier.copy(&image.from, &copy.to, &report).await?;
        set_tags(registry, copy, image).await
    };
    let ended = tokio::select! {
        result = work => match result {
            Ok(()) => {
                let (unit, elapsed) = (unit.clone(), start.elapsed());
                events.emit(Event::StepFinished { unit, phase, elapsed });
                UnitSummary::new(Outcome::Done)
            }
            Err(error) => UnitSummary::failed(failed(copy, &error)),
        },
        () = session.cancel.cancelled() => UnitSummary::new(Outcome::Stopped),
    };
    let outcome = ended.outcome;
    let elapsed = start.elapsed();
    events.emit(Event::UnitFinished {
        unit,
        ended: UnitSummary { elapsed, ..ended },
    });
    outcome
}

async fn set_tags(
    registry: &RegistryClient,
    copy: &ImageCopy,
    image: &CopiedImage,
) -> Result<(), RegistryError> {
    if let Some((digest, tag)) = &image.kept {
        let kept = copy.to.with_digest(digest.clone());
        registry.set_tags(&kept, std::slice::from_ref(tag)).await?;
    }
    for (digest, tag) in &image.parts {
        let part = copy.to.with_digest(digest.clone());
        registry.set_tags(&part, std::slice::from_ref(tag)).await?;
    }
    match image.from.digest() {
        Some(digest) => {
            let copied = copy.to.with_digest(digest.clone());
            registry.set_tags(&copied, &image.tags).await
        }
        None => Ok(()),
    }
}

fn failed(copy: &ImageCopy, error: &RegistryError) -> FailedStep {
    let what = chain(error).replace("\n  cause: ", ": ");
    FailedStep {
        hints: error.hints(),
        outside: true,
        ..FailedStep::new(Phase::Push, format!("cannot copy to {}: {what}", copy.to))
    }
}
