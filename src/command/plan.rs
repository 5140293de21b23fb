//! `xp plan`

use crate::base::error::{Exit, Failure};
use crate::cli::{Format, ShowPlanArgs};
use crate::flow::plan;
use crate::flow::session::Session;
use crate::flow::sources::unpushed;

/// Prints what `xp build` would do.
pub async fn run(session: &Session, args: &ShowPlanArgs) -> Result<(), Failure> {
    let request = super::request::plan(session, &args.plan)?;
    let planned = session
        .unless_interrupted(plan::plan(session, &request, None))
        .await?;
    session.reporter.finish();
    let (plan, folder) = (&planned.plan, &session.manifest.folder);
    match args.format {
        Format::Json => super::print_json(&serde_json::json!(plan.document(folder)))?,
        Format::Text if session.settings.report.quiet => {
            super::print(&format!("{}\n", plan.closing_line()))?;
        }
        Format::Text => {
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
