//! `xp graph`

use crate::base::error::Failure;
use crate::cli::{GraphArgs, GraphFormat};
use crate::flow::plan;
use crate::flow::request::PlanRequest;
use crate::flow::session::Session;
use crate::model::graph::{Graph, GraphDirection};

/// Prints the dependency graph, and what `xp build` would do with each service.
pub async fn run(session: &Session, args: &GraphArgs) -> Result<(), Failure> {
    let services = super::request::select(session, &args.selection)?;
    let direction = if args.reverse {
        GraphDirection::Dependents
    } else {
        GraphDirection::Dependencies
    };
    let planned = if args.no_state {
        None
    } else {
        // Select all of them explicitly, so that they have a state even if nothing has to be built.
        let concerned = direction.included(&session.manifest, &services);
        let request = PlanRequest::of_remotes(concerned, (&args.references).into());
        let planned = plan::plan(session, &request, None);
        Some(session.unless_interrupted(planned).await?)
    };
    session.reporter.finish();
    let plan = planned.as_ref().map(|planned| &planned.plan);
    let graph = Graph::new(&session.manifest, &services, direction, plan);
    super::print(&match args.format {
        GraphFormat::Text => graph.tree(),
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Json => graph.json(),
    })
}
