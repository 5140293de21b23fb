//! `xp plan`

use std::collections::BTreeSet;

use crate::base::error::{Exit, Failure};
use crate::cli::{PlanFormat, ShowPlanArgs};
use crate::flow::plan;
use crate::flow::request::PartRequest;
use crate::flow::session::Session;
use crate::flow::shards;
use crate::flow::sources::unpushed;
use crate::model::manifest::ServiceName;
use crate::model::plan::{Matrix, Plan};

/// Prints what `xp build` would do.
pub async fn run(session: &Session, args: &ShowPlanArgs) -> Result<(), Failure> {
    let is_matrix = matches!(args.format, PlanFormat::Github | PlanFormat::Gitlab);
    if args.shards.is_some() && !is_matrix {
        return Err(Failure::usage(
            "`--shards` splits a matrix, and the output format is not one\n\
             hint: add `--format github` or `--format gitlab`; `--shard K/N` shows the plan of one part",
        ));
    }
    let request = super::request::plan(session, &args.plan)?;
    let planned = session
        .unless_interrupted(plan::plan(session, &request, None))
        .await?;
    session.reporter.finish();
    let (plan, folder) = (&planned.plan, &session.manifest.folder);
    match args.format {
        PlanFormat::Github => {
            super::print(&matrix(session, args, plan, &request.services)?.github())?
        }
        PlanFormat::Gitlab => {
            super::print(&matrix(session, args, plan, &request.services)?.gitlab())?
        }
        PlanFormat::Json => super::print_json(&serde_json::json!(plan.document(folder)))?,
        PlanFormat::Text if session.settings.report.quiet => {
            super::print(&format!("{}\n", plan.closing_line()))?;
        }
        PlanFormat::Text => {
            let detail = super::request::detail(session, &args.plan);
            super::print(&plan.display(folder, detail, session.reporter.elapsed()))?;
            unpushed::report(session, &planned.sources).await;
        }
    }
    if args.exit_code && plan.makes_something() {
        return Err(Failure::silent(Exit::WorkToDo));
    }
    Ok(())
}

/// Returns the jobs of a CI system that share the work of the plan.
fn matrix(
    session: &Session,
    args: &ShowPlanArgs,
    plan: &Plan,
    selected: &BTreeSet<ServiceName>,
) -> Result<Matrix, Failure> {
    let times = shards::times(session, &PartRequest::from(&args.plan.part))?;
    let shards = args.shards;
    let shards = shards.map(|count| shards::shards(session, &times, selected, count));
    Ok(Matrix::of(plan, shards.as_ref(), &times))
}
