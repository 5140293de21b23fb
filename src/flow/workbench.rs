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
use crate::flow::sources::commits::narrow;
use crate::flow::sources::history::HistoryExtent;
use crate::flow::sources::local;
use crate::flow::sources::local::LocalError;
use crate::flow::survey;
use crate::model::engine::EngineProperties;
use crate::model::event::Event;
use crate::model::manifest::{Builder, BuilderImage, Service, ServiceName};
use crate::model::plan::{
    ContainerStep, Folders, Inventory, Options, PlanDraft, UnknownImages, builder_image,
    builder_images, builder_plan,
};
use crate::model::source::ServiceSource;
use crate::report::failures;
use crate::store::claim;
use crate::store::claim::FolderLock;

/// Everything needed to start a builder container.
pub struct Workbench {
    pub context: ExecuteContext,
    pub step: ContainerStep,
    pub state: UnitState,
}

/// Returns the builder of a service, or an error if it has none.
pub fn builder(service: &Service) -> Result<&Builder, Failure> {
    service.builder.as_ref().ok_or_else(|| {
        Failure::usage(format!(
            "`{}` has no `dockerBuilder.image` to run commands in\n\
             hint: set it: `dockerBuilder: {{image: builders/…}}`",
            service.name
        ))
    })
}

/// Prepares a container on the working copy. If nothing is missing, only the engine is contacted.
pub async fn on_working_copy(session: &Session, service: &Service) -> Result<Workbench, Failure> {
    let builder = builder(service)?;
    let folders = folders(session, builder)?;
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
    let context = with_image(session, &builder.image, &folders, engine, facts, None, None).await?;
    let removed = async { Ok(remove_leftovers(&context).await?) };
    session.unless_interrupted(removed).await?;
    Ok(Workbench {
        context,
        step,
        state: UnitState::default(),
    })
}

/// Reads the builder's folder, unless its image is external.
pub fn folders(session: &Session, builder: &Builder) -> Result<Folders, Failure> {
    Ok(match &builder.image {
        BuilderImage::Folder(name) => {
            Folders::from([survey::folder_builder(&session.manifest, name)?])
        }
        BuilderImage::External(_) => Folders::new(),
    })
}

/// Reads the working copies of a service and of the services that its variables refer to.
pub async fn sources(
    session: &Session,
    service: &Service,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let env = service.builder.iter().flat_map(|it| it.env.values());
    let mut named: BTreeSet<ServiceName> = env.flat_map(|it| it.services().cloned()).collect();
    named.insert(service.name.clone());
    let found = match local::sources(&session.manifest, &named, session.layout.root(), false).await
    {
        Err(LocalError::None) => BTreeMap::new(),
        found => found?,
    };
    if let Some(missing) = named.iter().find(|name| !found.contains_key(*name)) {
        return Err(no_working_copy(service, missing));
    }
    if session
        .manifest
        .services
        .values()
        .all(|it| it.source.path().is_none())
    {
        return Ok(found);
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
    for (name, source) in found {
        sources.entry(name).or_insert(source);
    }
    Ok(sources)
}

fn no_working_copy(service: &Service, missing: &ServiceName) -> Failure {
    let origin = if *missing == service.name {
        String::new()
    } else {
        format!(
            ", but a variable of `{}` refers to its commit",
            service.name
        )
    };
    Failure::usage(format!(
        "`{missing}` has no working copy{origin}\nhint: `xp sync {missing}` clones it"
    ))
}

/// Makes sure that the engine has the builder image, pulling or building it like `xp build`.
///
/// `lock` is the lock of `cacheDir` if the caller holds it. With a `reason` why the image is needed, a note says what is
/// done.
pub async fn with_image(
    session: &Session,
    image: &BuilderImage,
    folders: &Folders,
    engine: Engine,
    facts: EngineProperties,
    lock: Option<&FolderLock>,
    reason: Option<&str>,
) -> Result<ExecuteContext, Failure> {
    let context = |engine, facts| -> Result<ExecuteContext, Failure> {
        let clients = Clients {
            registry: session.registry(&facts),
            git: session.git()?,
            engine,
        };
        Ok(plan::context(session, clients, facts, None, false))
    };
    let Some(name) = builder_image(image, folders) else {
        return context(engine, facts);
    };
    let in_engine = async { Ok(engine.image(&name).await?) };
    if session.unless_interrupted(in_engine).await?.is_some() {
        return context(engine, facts);
    }
    let prepared = async {
        // Not concurrently with a build, which may do the same.
        let lock = match lock {
            Some(_) => None,
            None => Some(claim::lock(&session.layout.lock(), &session.events).await?),
        };
        let is_folder = matches!(image, BuilderImage::Folder(_));
        let queried = (is_folder && name.repository().registry().is_some()).then(|| name.clone());
        let found = survey::registries(&session.registry(&facts), Vec::from_iter(queried)).await;
        UnknownImages::check(&found)?;
        let inventory = Inventory {
            engine: engine.images(builder_images(image, folders)).await?,
            ..Inventory::default()
        };
        Ok((lock, found, inventory))
    };
    let (_lock, found, inventory) = session.unless_interrupted(prepared).await?;
    let plan = builder_plan(image, folders, &inventory, &found);
    if let Some(reason) = reason {
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
