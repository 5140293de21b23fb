//! `xp plan`

use crate::base::error::{Exit, Failure};
use crate::cli::{Format, ShowPlanArgs};
use crate::flow::plan;
use crate::flow::session::Session;
use crate::flow::sources::unpushed;
use crate::report::columns;

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
        Format::Text => {
            let text = plan.display(folder, columns(std::io::stdout()));
            super::print(&text.to_string())?;
            unpushed::report(session, &planned.sources).await;
        }
    }
    if args.exit_code && plan.makes_something() {
        return Err(Failure::silent(Exit::WorkToDo));
    }
    Ok(())
}
