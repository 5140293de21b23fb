//! What a program is run in for a person: the working copy, the image, the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use super::commits::narrow;
use super::failure::manifest_failure;
use super::session::Session;
use super::stages;
use crate::client::engine::{Engine, EngineFacts};
use crate::error::Failure;
use crate::execute::session::remove_leftovers;
use crate::execute::{self, Context, UnitState, lock};
use crate::history::Extent;
use crate::inspect;
use crate::local::{self, LocalError};
use crate::manifest::{Builder, BuilderImage, Service, ServiceName};
use crate::plan::{
    ContainerStep, Draft, Folders, Inventory, Options, UnknownImages, builder_image,
    builder_images, builder_plan,
};
use crate::report::{failures, paint};
use crate::source::ServiceSource;

/// What a program is run in.
pub struct Workbench {
    pub context: Context,
    pub step: ContainerStep,
    pub state: UnitState,
}

/// Returns the builder of a service, which it may lack.
pub fn builder(service: &Service) -> Result<&Builder, Failure> {
    service.builder.as_ref().ok_or_else(|| {
        Failure::usage(format!(
            "`{}` has no `dockerBuilder`, in whose image commands run\n\
             hint: name an image of the tools: `dockerBuilder: {{image: builders/…}}`",
            service.name
        ))
    })
}

/// Makes everything ready to work on the working copy: where all is there, the engine alone is asked.
pub async fn on_working_copy(session: &Session, service: &Service) -> Result<Workbench, Failure> {
    let builder = builder(service)?;
    let folders = folders(session, builder)?;
    let looked_at = async {
        let (sources, engine) = tokio::join!(sources(session, service), session.engine());
        // What is wrong here is said before an engine that does not run.
        Ok((sources?, engine?))
    };
    let (sources, (engine, facts)) = session.unless_interrupted(looked_at).await?;
    let selected = BTreeSet::from([service.name.clone()]);
    let options = Options::default();
    let variable = |name: &str| session.variable(name);
    let (manifest, layout) = (&session.manifest, &session.layout);
    let draft = Draft::without_tags(manifest, &selected, &sources, &options, &variable);
    let step = draft
        .session(&service.name, &folders, layout)
        .map_err(|error| manifest_failure(session, &error))?
        .ok_or_else(|| Failure::usage(format!("`{}` cannot be worked on", service.name)))?;
    let context = with_image(session, &builder.image, &folders, engine, facts).await?;
    let removed = async { Ok(remove_leftovers(&context).await?) };
    session.unless_interrupted(removed).await?;
    Ok(Workbench {
        context,
        step,
        state: UnitState::default(),
    })
}

/// Reads the folder of a builder, where it is one.
pub fn folders(session: &Session, builder: &Builder) -> Result<Folders, Failure> {
    Ok(match &builder.image {
        BuilderImage::Folder(name) => {
            Folders::from([inspect::folder_builder(&session.manifest, name)?])
        }
        BuilderImage::External(_) => Folders::new(),
    })
}

/// Looks at the working copy of a service, and at those of the services that its variables name.
pub async fn sources(
    session: &Session,
    service: &Service,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let env = service.builder.iter().flat_map(|it| it.env.values());
    let mut named: BTreeSet<ServiceName> = env.flat_map(|it| it.services().cloned()).collect();
    named.insert(service.name.clone());
    let found = match local::sources(&session.manifest, &named, false).await {
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
        .all(|it| it.git.path.is_none())
    {
        return Ok(found);
    }
    // A history that is not here is not fetched: then the checked out commit stands for the folder's.
    let narrowed = narrow(session, &session.git()?, found.clone(), Extent::Here).await?;
    let mut sources = local::at_their_commits(&session.manifest, narrowed).await?;
    for (name, source) in found {
        sources.entry(name).or_insert(source);
    }
    Ok(sources)
}

fn no_working_copy(service: &Service, missing: &ServiceName) -> Failure {
    let whose = match *missing == service.name {
        true => String::new(),
        false => format!(", whose commit a variable of `{}` names", service.name),
    };
    Failure::usage(format!(
        "there is no working copy of `{missing}`{whose}\nhint: `xp sync {missing}` clones it"
    ))
}

/// Makes sure that the engine has the image of a builder: it is pulled or built as for a build.
pub async fn with_image(
    session: &Session,
    image: &BuilderImage,
    folders: &Folders,
    engine: Engine,
    facts: EngineFacts,
) -> Result<Context, Failure> {
    let context = |engine, facts| -> Result<Context, Failure> {
        let registry = session.registry(&facts);
        let git = session.git()?;
        Ok(stages::context(
            session, engine, facts, registry, git, None, false,
        ))
    };
    let Some(name) = builder_image(image, folders) else {
        return context(engine, facts);
    };
    let looked_for = async { Ok(engine.image(&name).await?) };
    if session.unless_interrupted(looked_for).await?.is_some() {
        return context(engine, facts);
    }
    let looked_for = async {
        // As a build would do it, and not beside one that does it.
        let lock = lock::lock(&session.layout.lock(), &session.events).await?;
        let is_folder = matches!(image, BuilderImage::Folder(_));
        let asked = (is_folder && name.repository().registry().is_some()).then(|| name.clone());
        let found = inspect::registries(&session.registry(&facts), Vec::from_iter(asked)).await;
        UnknownImages::check(&found)?;
        let inventory = Inventory {
            engine: engine.images(builder_images(image, folders)).await?,
            ..Inventory::default()
        };
        Ok((lock, found, inventory))
    };
    let (_lock, found, inventory) = session.unless_interrupted(looked_for).await?;
    let plan = builder_plan(image, folders, &inventory, &found);
    let context = Arc::new(context(engine, facts)?);
    execute::run(context.clone(), &plan).await;
    let ended = session.reporter.finish();
    let failed = failures(&ended);
    if !failed.is_empty() {
        let failed = paint(&failed, session.settings.report.color);
        _ = writeln!(std::io::stderr().lock(), "{failed}");
    }
    session.verdict(&ended)?;
    Arc::into_inner(context).ok_or_else(|| Failure::outside("the builder image is still worked on"))
}
