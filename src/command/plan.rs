//! `xp plan`

use super::session::Session;
use super::stages;
use crate::cli::PlanArgs;
use crate::error::Failure;
use crate::report::columns;

/// Prints what `xp build` would do, and changes nothing.
pub async fn run(session: &Session, args: &PlanArgs) -> Result<(), Failure> {
    let decided = session
        .unless_interrupted(stages::plan(session, args, None))
        .await?;
    session.reporter.finish();
    let columns = columns(std::io::stdout());
    let text = decided.plan.display(&session.manifest.folder, columns);
    super::print(&text.to_string())
}
