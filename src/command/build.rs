//! `xp build`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::failure::manifest_failure;
use super::many;
use super::session::Session;
use super::stages::{self, Planned};
use super::unbuilt;
use crate::cli::BuildArgs;
use crate::client::registry::RegistryClient;
use crate::error::Failure;
use crate::event::Event;
use crate::execute::lock;
use crate::execute::secrets;
use crate::execute::session::remove_leftovers;
use crate::execute::{self, LABEL_FOLDER};
use crate::image::ImageRepository;
use crate::inspect;
use crate::report::{paint, summary};

/// How long to wait until uploads are cancelled that were opened to ask for the right to push.
const LONGEST_CANCELLATION: Duration = Duration::from_secs(5);

/// Builds what does not exist yet.
pub async fn run(session: &Session, args: &BuildArgs) -> Result<(), Failure> {
    let locked = async { Ok(lock::lock(&session.layout.lock(), &session.events).await?) };
    let lock = session.unless_interrupted(locked).await?;
    let planned = session
        .unless_interrupted(stages::plan(session, &args.plan, Some(&lock)))
        .await?;
    carry_out(session, planned, args.jobs.jobs, args.fail_fast).await
}

/// Carries out a plan, says how it went, and returns an error where anything failed.
pub async fn carry_out(
    session: &Session,
    planned: Planned,
    jobs: Option<u16>,
    fail_fast: bool,
) -> Result<(), Failure> {
    let Planned {
        plan,
        engine,
        registry,
        git,
        sources,
    } = planned;
    let document = plan.document(&session.manifest.folder);
    session.events.emit(Event::Planned(Arc::new(document)));
    if !plan.is_empty() {
        let facts = session.unless_interrupted(async { Ok(engine.facts().await?) });
        let facts = facts.await?;
        // A base image may be anywhere.
        registry.allow_insecure(&facts.insecure_registries);
        // The lock is held: whatever container of this folder is left belongs to a run that was killed.
        let context = stages::context(session, engine, facts, registry, git, jobs, fail_fast);
        let missing = secrets::missing(&context, &plan);
        if !missing.is_empty() {
            let error = session.manifest.missing_inputs(missing);
            return Err(manifest_failure(session, &error));
        }
        let may_push = may_push(session, &context.registry, plan.built_for());
        let removed = async {
            let folder = context.reach().await?.shown(session.layout.root());
            let engine = &context.engine;
            engine.remove_leftovers(LABEL_FOLDER, &folder).await?;
            Ok(remove_leftovers(&context).await?)
        };
        let ready = async { tokio::try_join!(may_push, removed) };
        let ready = session.unless_interrupted(ready).await;
        // Uploads that were opened to ask are cancelled even where nobody waits for the answer any more.
        context.registry.close_uploads(LONGEST_CANCELLATION).await;
        ready?;
        execute::run(Arc::new(context), &plan).await;
    }
    let ended = session.reporter.finish();
    let summary = summary(&plan, &ended);
    // Of a platform of many services the table alone may fill the screen: what failed stands below it.
    let printed = match session.settings.report.closes_with_table() {
        true => super::print(&summary.table),
        false => Ok(()),
    };
    if !session.cancel.is_cancelled() {
        unbuilt::tell(session, &sources).await;
    }
    if !summary.failures.is_empty() {
        let failures = paint(&summary.failures, session.settings.report.color);
        _ = write!(std::io::stderr().lock(), "{failures}");
    }
    printed?;
    session.verdict(&ended)
}

/// Asks for the right to push what is built, before it is built.
async fn may_push(
    session: &Session,
    registry: &RegistryClient,
    repositories: BTreeSet<ImageRepository>,
) -> Result<(), Failure> {
    if repositories.is_empty() {
        return Ok(());
    }
    session.events.emit(Event::StageStarted(format!(
        "asking for the right to push to {}",
        many(repositories.len(), "repository")
    )));
    let answer = inspect::push_rights(registry, repositories).await;
    session.events.emit(Event::StageFinished);
    for unknown in answer? {
        session.events.emit(Event::Warning(unknown));
    }
    Ok(())
}
