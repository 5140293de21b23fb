//! `xp graph`

use crate::base::error::Failure;
use crate::cli::{GraphArgs, GraphFormat, ImageArgs, LockedArgs, PlanArgs, Selection};
use crate::flow::plan;
use crate::flow::session::Session;
use crate::flow::sources::commits;
use crate::model::graph::Graph;

/// Prints the dependency graph, and what `xp build` would do with each service.
pub async fn run(session: &Session, args: &GraphArgs) -> Result<(), Failure> {
    let services = commits::select(session, &args.selection)?;
    let planned = if args.no_state {
        None
    } else {
        // Select dependencies explicitly, so that they have a state even if nothing has to be built.
        let concerned = session.manifest.closure(&services);
        let names = concerned.iter().map(ToString::to_string).collect();
        let plan = PlanArgs {
            selection: Selection {
                names,
                services: Vec::new(),
            },
            references: args.references.clone(),
            locked: LockedArgs::default(),
            images: ImageArgs::default(),
            local: false,
        };
        let planned = plan::plan(session, &plan, None);
        Some(session.unless_interrupted(planned).await?)
    };
    session.reporter.finish();
    let plan = planned.as_ref().map(|planned| &planned.plan);
    let graph = Graph::new(&session.manifest, &services, plan);
    super::print(&match args.format {
        GraphFormat::Text => graph.tree(),
        GraphFormat::Dot => graph.dot(),
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Json => graph.json(),
    })
}
