//! `xp build`

use std::io::Write as _;
use std::sync::Arc;

use super::session::Session;
use super::stages::{self, Planned};
use crate::cli::BuildArgs;
use crate::error::{Exit, Failure};
use crate::event::{Outcome, Unit};
use crate::execute::lock::lock;
use crate::execute::{self, LABEL_FOLDER};
use crate::plan::Plan;
use crate::report::{Ended, paint, summary};

/// Builds what does not exist yet.
pub async fn run(session: &Session, args: &BuildArgs) -> Result<(), Failure> {
    let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
    let _lock = session.unless_interrupted(locked).await?;
    let planned = session
        .unless_interrupted(stages::plan(session, &args.plan))
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
        facts,
        registry,
        git,
    } = planned;
    if !plan.is_empty() {
        // The lock is held: whatever container of this folder is left belongs to a run that was killed.
        engine
            .remove_leftovers(LABEL_FOLDER, &session.layout.root().display().to_string())
            .await?;
        let context = stages::context(session, engine, facts, registry, git, jobs, fail_fast);
        execute::run(Arc::new(context), &plan).await;
    }
    let ended = session.reporter.finish();
    conclude(session, &plan, &ended)
}

fn conclude(session: &Session, plan: &Plan, ended: &[(Unit, Ended)]) -> Result<(), Failure> {
    let summary = summary(plan, ended);
    if !summary.failures.is_empty() {
        let failures = paint(&summary.failures, session.settings.report.color);
        _ = writeln!(std::io::stderr().lock(), "{failures}");
    }
    if !session.settings.report.quiet {
        super::print(&summary.table);
    }
    let interrupted = session.cancel.is_cancelled()
        && ended
            .iter()
            .any(|(_, ended)| ended.outcome == Outcome::Stopped);
    let mut failures = ended.iter().filter_map(|(_, ended)| match &ended.outcome {
        Outcome::Failed(step) => Some(step.outside),
        _ => None,
    });
    match failures.next() {
        _ if interrupted => Err(Failure::silent(Exit::Interrupted)),
        // A build that failed by itself is said even where something outside failed as well.
        Some(outside) if outside && failures.all(|outside| outside) => {
            Err(Failure::silent(Exit::Outside))
        }
        Some(_) => Err(Failure::silent(Exit::ServiceFailed)),
        None => Ok(()),
    }
}
