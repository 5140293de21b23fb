//! Carries out a plan.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::attest;
use super::diagnose;
use super::failure::manifest_failure;
use super::fleet;
use super::metadata_file::MetadataFile;
use super::plan;
use super::plan::Planned;
use super::platform_engines;
use super::session::{Clients, Execution, Session};
use super::sources::unpushed;
use super::step_results;
use super::survey;
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::registry::RegistryClient;
use crate::execute::secrets;
use crate::execute::session::remove_leftovers;
use crate::execute::{self, ExecuteContext, LABEL_FOLDER};
use crate::model::event::Event;
use crate::model::image::ImageRepository;
use crate::model::manifest;
use crate::model::metadata::RunMetadata;
use crate::model::plan::{Detail, Plan};
use crate::report::summary;
use crate::store::run_marker::RunMarker;

/// Time limit for canceling the uploads that were opened to check push permissions.
const CANCELLATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How a plan is carried out.
#[derive(Clone, Copy)]
pub struct BuildOptions<'a> {
    /// The maximum number of concurrent units; `None` for the default.
    pub jobs: Option<u16>,
    /// Whether the first failure stops all units.
    pub fail_fast: bool,
    /// How much the summary shows.
    pub detail: Detail,
    /// The file for the images of the run.
    pub metadata_file: Option<&'a MetadataFile>,
    /// The fleet that builds.
    pub fleet: Option<&'a manifest::Fleet>,
}

impl BuildOptions<'_> {
    /// Returns the default options.
    pub fn new(detail: Detail) -> Self {
        Self {
            jobs: None,
            fail_fast: false,
            detail,
            metadata_file: None,
            fleet: None,
        }
    }
}

/// Executes a plan, prints the summary, and returns an error if anything failed.
pub async fn carry_out(
    session: &Session,
    planned: Planned,
    options: BuildOptions<'_>,
) -> Result<(), Failure> {
    let Planned {
        plan,
        clients,
        sources,
    } = planned;
    let document = plan.document(&session.manifest.folder);
    session.events.emit(Event::Planned {
        plan: Box::new(document),
    });
    let marker = RunMarker::new(&session.layout);
    // An interrupt waits for it, so that the summary is printed.
    let execution = if !plan.is_empty() {
        Some(execute_plan(session, &plan, clients, options, &marker).await?)
    } else {
        if marker.is_left() && options.fleet.is_none() {
            clean_up(session, clients, &marker).await;
        }
        None
    };
    let store = step_results::store(session);
    execute::remove_leftover_files(&session.layout, store, &plan).await;
    let ended = session.reporter.finish();
    let metadata = RunMetadata::of(&plan, &ended);
    let written = options
        .metadata_file
        .map_or(Ok(()), |file| file.write(&metadata));
    let took = session.reporter.elapsed();
    let summary = summary(&plan, &ended, options.detail, took);
    // With many services the table alone fills the screen, so failures are printed below it.
    let printed = session.reporter.print(&summary.table);
    if !session.cancel.is_cancelled() {
        unpushed::report(session, &sources).await;
    }
    session.reporter.print_failures(&summary.failures);
    let space = if summary.table.is_empty() { "" } else { "\n" };
    let closing_line = format!("{space}{}", summary.closing_line);
    printed.and_then(|()| session.reporter.print(&closing_line))?;
    drop(execution);
    match (session.verdict(&ended), written) {
        (Err(failed), Err(unwritten)) => {
            let text = unwritten.message().unwrap_or_default();
            session.events.emit(Event::warning(text));
            Err(failed)
        }
        (verdict, written) => verdict.and(written),
    }
}

/// Executes the steps of a plan.
async fn execute_plan<'s>(
    session: &'s Session,
    plan: &Plan,
    clients: Clients,
    options: BuildOptions<'_>,
    marker: &RunMarker,
) -> Result<Execution<'s>, Failure> {
    let facts = session.unless_interrupted(async { Ok(clients.engine.facts().await?) });
    let facts = facts.await?;
    // Base images may come from any registry.
    clients.registry.allow_insecure(&facts.insecure_registries);
    let jobs = options.jobs.or(options.fleet.map(|fleet| fleet.jobs));
    let git = clients.git.clone();
    let mut context = plan::context(session, clients, facts.clone(), jobs, options.fail_fast);
    if options.fleet.is_some() {
        attest::refuse_on_fleet(plan)?;
    }
    context.attest = attest::tools(session, plan).await?;
    let missing = secrets::missing(&context, plan);
    if !missing.is_empty() {
        let error = session.manifest.missing_inputs(missing);
        return Err(manifest_failure(session, &error));
    }
    warn_if_nearly_full(session);
    if let Some(fleet) = options.fleet
        && plan.work().any(|unit| unit.remote.is_some())
    {
        let started = fleet::start(session, fleet, plan, &facts, &git);
        context.fleet = Some(Arc::new(session.unless_interrupted(started).await?));
    }
    context.engines = platform_engines::connect(session, plan, &context).await?;
    let may_push = may_push(session, &context.registry, plan.built_for());
    let removed = async {
        // The engine of this machine, if there is one, is not used.
        if options.fleet.is_none() {
            remove_containers(session, &context).await?;
        }
        Ok(())
    };
    let ready = async { tokio::try_join!(may_push, removed) };
    let ready = session.unless_interrupted(ready).await;
    // Cancel the uploads of the permission check even after an interrupt.
    context.registry.close_uploads(CANCELLATION_TIMEOUT).await;
    ready?;
    let execution = session.begin_execution();
    let is_on_fleet = options.fleet.is_some();
    if !is_on_fleet {
        marker.set();
    }
    execute::run(Arc::new(context), plan).await;
    if is_on_fleet {
        fleet::end(session);
    } else {
        marker.remove();
    }
    Ok(execution)
}

fn warn_if_nearly_full(session: &Session) {
    let folder = session.layout.root();
    let space = diagnose::free_space(folder);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let what = format!("the file system of {name}");
    if let Some(warning) = space.and_then(|space| space.nearly_full(&what)) {
        session.events.emit(Event::warning(warning));
    }
}

/// Removes what a killed run left in the engine when there is nothing to do. An engine that does not respond is not needed
/// now, and cleaned up later.
async fn clean_up(session: &Session, clients: Clients, marker: &RunMarker) {
    let removed = async {
        let facts = clients.engine.facts().await?;
        let context = plan::context(session, clients, facts, None, false);
        remove_containers(session, &context).await
    };
    if session.unless_interrupted(removed).await.is_ok() {
        marker.remove();
    }
}

/// Removes containers of this folder: the lock is held, so they belong to runs that were killed.
async fn remove_containers(session: &Session, context: &ExecuteContext) -> Result<(), Failure> {
    for context in context.engines.values().map(Arc::as_ref).chain([context]) {
        let folder = context.path_mapping().await?.shown(session.layout.root());
        context
            .engine
            .remove_leftovers(LABEL_FOLDER, &folder)
            .await?;
    }
    Ok(remove_leftovers(context).await?)
}

/// Checks the permission to push before anything is built.
async fn may_push(
    session: &Session,
    registry: &RegistryClient,
    repositories: BTreeSet<ImageRepository>,
) -> Result<(), Failure> {
    if repositories.is_empty() {
        return Ok(());
    }
    session.events.emit(Event::stage(format!(
        "checking push permissions for {}",
        count_of(repositories.len(), "repository")
    )));
    let response = survey::check_push_permission(registry, repositories).await;
    session.events.emit(Event::StageFinished);
    for unknown in response? {
        session.events.emit(Event::warning(unknown));
    }
    Ok(())
}
