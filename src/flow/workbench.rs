//! Prepares the builder container for `xp run` and `xp shell`: working copy, image and engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::failure::manifest_failure;
use super::session::{Clients, Session};
use crate::base::error::Failure;
use crate::client::engine::Engine;
use crate::execute;
use crate::execute::session::remove_leftovers;
use crate::execute::{ExecuteContext, UnitState};
use crate::flow::plan;
use crate::flow::request::ReferenceOverrides;
use crate::flow::sources::commits::{narrow, resolve};
use crate::flow::sources::history::HistoryExtent;
use crate::flow::sources::local;
use crate::flow::sources::local::LocalError;
use crate::flow::survey;
use crate::model::engine::EngineProperties;
use crate::model::event::Event;
use crate::model::manifest::{BuilderImage, Service, ServiceName};
use crate::model::plan::{
    ContainerStep, Folders, Inventory, Options, PlanDraft, SidecarsStep, UnknownImages,
    builder_image, builder_images, builder_plan,
};
use crate::model::source::ServiceSource;
use crate::report::failures;
use crate::store::claim;
use crate::store::claim::FolderLock;

/// Everything needed to start a builder container.
pub struct Workbench {
    pub context: ExecuteContext,
    pub step: ContainerStep,
    /// The sidecars of the scripts, if there are any.
    pub sidecars: Option<SidecarsStep>,
    pub state: UnitState,
}

/// Returns the builder image of a service, or an error if it has none.
pub fn builder(service: &Service) -> Result<&BuilderImage, Failure> {
    let builder = service.builder.as_ref();
    builder.and_then(|it| it.image.as_ref()).ok_or_else(|| {
        Failure::usage(format!(
            "`{}` has no `dockerBuilder.image` to run commands in\n\
             hint: set it: `dockerBuilder: {{image: builders/…}}`",
            service.name
        ))
    })
}

/// Prepares a container on the working copy. If nothing is missing, only the engine is contacted.
pub async fn on_working_copy(session: &Session, service: &Service) -> Result<Workbench, Failure> {
    let image = builder(service)?;
    let images = images(service, image);
    let folders = folders(session, &images)?;
    let prepared = async {
        let (sources, engine) = tokio::join!(sources(session, service), session.engine());
        // Errors of the working copies take precedence over an engine that does not run.
        Ok((sources?, engine?))
    };
    let (sources, (engine, facts)) = session.unless_interrupted(prepared).await?;
    let selected = BTreeSet::from([service.name.clone()]);
    let options = Options::default();
    let variable = |name: &str| session.variable(name);
    let (manifest, layout) = (&session.manifest, &session.layout);
    let draft = PlanDraft::without_tags(manifest, &selected, &sources, &options, &variable);
    let step = draft
        .session(&service.name, &folders, layout)
        .map_err(|error| manifest_failure(session, &error))?
        .ok_or_else(|| Failure::usage(format!("`{}` has no builder container", service.name)))?;
    let sidecars = draft
        .session_sidecars(&service.name, &folders)
        .map_err(|error| manifest_failure(session, &error))?;
    let context = with_images(
        session,
        &images,
        &folders,
        engine,
        facts,
        ImageNeed::default(),
    )
    .await?;
    let removed = async { Ok(remove_leftovers(&context).await?) };
    session.unless_interrupted(removed).await?;
    Ok(Workbench {
        context,
        step,
        sidecars,
        state: UnitState::default(),
    })
}

/// Returns the images that the containers of a service need, besides those of other services: the one that commands
/// run in, and those of the sidecars.
pub fn images<'s>(service: &'s Service, image: &'s BuilderImage) -> Vec<&'s BuilderImage> {
    let beside = service.sidecar_images().map(|(_, image)| image);
    std::iter::once(image).chain(beside).collect()
}

/// Reads the folders of images that are not external.
pub fn folders(session: &Session, images: &[&BuilderImage]) -> Result<Folders, Failure> {
    let mut folders = Folders::new();
    for image in images {
        if let BuilderImage::Folder(name) = image {
            folders.extend([survey::folder_builder(&session.manifest, name)?]);
        }
    }
    Ok(folders)
}

/// Reads the working copies of a service and of the services that its variables and sidecars refer to.
pub async fn sources(
    session: &Session,
    service: &Service,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let env = service.builder.iter().flat_map(|it| it.env.values());
    let beside = service.sidecar_templates();
    let templates = env.chain(beside);
    let mut named: BTreeSet<ServiceName> =
        templates.flat_map(|it| it.services().cloned()).collect();
    named.insert(service.name.clone());
    let found = match local::sources(&session.manifest, &named, session.layout.root(), false).await
    {
        Err(LocalError::None) => BTreeMap::new(),
        found => found?,
    };
    named.retain(|name| !found.contains_key(name));
    let resolved = of_plugins(session, service, &named).await?;
    if let Some(missing) = named.iter().find(|name| !resolved.contains_key(*name)) {
        return Err(no_working_copy(session, service, missing));
    }
    if session
        .manifest
        .services
        .values()
        .all(|it| it.source.selection().is_whole())
    {
        return Ok(found.into_iter().chain(resolved).collect());
    }
    // Missing history is not fetched: the checked-out commit is used instead.
    let narrowed = narrow(
        session,
        &session.git()?,
        found.clone(),
        HistoryExtent::Local,
    )
    .await?;
    let mut sources = local::at_their_commits(&session.manifest, narrowed).await?;
    for (name, source) in found.into_iter().chain(resolved) {
        sources.entry(name).or_insert(source);
    }
    Ok(sources)
}

/// Returns the commits of other services whose sources come from plugins: `xp sync` does not check them out.
async fn of_plugins(
    session: &Session,
    service: &Service,
    missing: &BTreeSet<ServiceName>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let services = &session.manifest.services;
    let is_of_plugin = |name: &ServiceName| {
        let source = services.get(name).map(|it| &it.source);
        *name != service.name && source.is_some_and(|it| it.git().is_none())
    };
    let wanted = missing.iter().filter(|name| is_of_plugin(name)).cloned();
    let wanted: BTreeSet<ServiceName> = wanted.collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let references = ReferenceOverrides::default();
    resolve(session, &session.git()?, &wanted, &references, None).await
}

fn no_working_copy(session: &Session, service: &Service, missing: &ServiceName) -> Failure {
    let origin = if *missing == service.name {
        String::new()
    } else {
        format!(
            ", but a variable of `{}` refers to its commit",
            service.name
        )
    };
    let hint = match session.manifest.services.get(missing) {
        Some(missing) if missing.source.git().is_none() => format!(
            "check it out in {}; `xp sync` clones only git repositories",
            missing.dir.display()
        ),
        _ => format!("`xp sync {missing}` clones it"),
    };
    Failure::usage(format!(
        "`{missing}` has no working copy{origin}\nhint: {hint}"
    ))
}

/// The caller of [`with_images`].
#[derive(Default)]
pub struct ImageNeed<'n> {
    /// The lock of `cacheDir`, if the caller holds it.
    pub lock: Option<&'n FolderLock>,
    /// A reason for a note that says what is done.
    pub reason: Option<&'n str>,
}

/// Makes sure that the engine has these builder images, pulling or building them like `xp build`.
pub async fn with_images(
    session: &Session,
    images: &[&BuilderImage],
    folders: &Folders,
    engine: Engine,
    facts: EngineProperties,
    need: ImageNeed<'_>,
) -> Result<ExecuteContext, Failure> {
    let context = |engine, facts| -> Result<ExecuteContext, Failure> {
        let clients = Clients {
            registry: session.registry(&facts),
            git: session.git()?,
            engine,
        };
        Ok(plan::context(session, clients, facts, None, false))
    };
    let in_engine = async {
        for image in images {
            if let Some(name) = builder_image(image, folders)
                && engine.image(&name).await?.is_none()
            {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if session.unless_interrupted(in_engine).await? {
        return context(engine, facts);
    }
    let prepared = async {
        // Not concurrently with a build, which may do the same.
        let lock = match need.lock {
            Some(_) => None,
            None => Some(claim::lock(&session.layout.lock(), &session.events).await?),
        };
        let of_folders = images
            .iter()
            .filter(|it| matches!(it, BuilderImage::Folder(_)));
        let names = of_folders.filter_map(|image| builder_image(image, folders));
        let queried = names.filter(|name| name.repository().registry().is_some());
        let found = survey::registries(&session.registry(&facts), queried.collect()).await;
        UnknownImages::check(&found)?;
        let inventory = Inventory {
            engine: engine.images(builder_images(images, folders)).await?,
            ..Inventory::default()
        };
        Ok((lock, found, inventory))
    };
    let (_lock, found, inventory) = session.unless_interrupted(prepared).await?;
    let plan = builder_plan(images, folders, &inventory, &found);
    if let Some(reason) = need.reason {
        for unit in plan.work() {
            session.events.emit(Event::note(format!(
                "{} is needed first, because {reason}: {}, {}",
                unit.unit, unit.decision, unit.reason
            )));
        }
    }
    let context = Arc::new(context(engine, facts)?);
    execute::run(context.clone(), &plan).await;
    let ended = session.reporter.finish();
    session.reporter.print_failures(&failures(&ended, true));
    session.verdict(&ended)?;
    Arc::into_inner(context).ok_or_else(|| Failure::outside("the builder image is still in use"))
}
