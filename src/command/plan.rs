//! `xp plan`

use super::session::Session;
use super::stages;
use crate::cli::PlanArgs;
use crate::error::Failure;

/// Prints what `xp build` would do, and changes nothing.
pub async fn run(session: &Session, args: &PlanArgs) -> Result<(), Failure> {
    let decided = session
        .unless_interrupted(stages::plan(session, args))
        .await?;
    session.reporter.finish();
    super::print(&decided.plan.display(&session.manifest.folder).to_string())
}
