//! What the environments of a manifest use.

use std::collections::BTreeSet;

use super::cluster;
use super::record::recorded;
use super::tools::DeployTools;
use crate::base::error::Failure;
use crate::base::redact::SharedRedactor;
use crate::flow::session::Session;
use crate::model::deploy::Record;
use crate::model::event::Event;
use crate::model::manifest::{ClusterEnvironment, EnvironmentName};

/// What an environment in a cluster uses.
pub struct EnvironmentUse {
    pub name: EnvironmentName,
    pub record: Record,
    /// The names of the images of everything in its namespace.
    pub images: BTreeSet<String>,
}

/// Returns what environments in clusters use.
///
/// # Errors
///
/// A cluster does not respond, or refuses any of the requests.
pub async fn in_clusters(
    session: &Session,
    environments: &[&ClusterEnvironment],
) -> Result<Vec<EnvironmentUse>, Failure> {
    if environments.is_empty() {
        return Ok(Vec::new());
    }
    let tools = DeployTools::find(session, true).await?;
    // Records and pods name secrets, but their contents are not read.
    let kubectl = tools.kubectl(SharedRedactor::default());
    let found = async {
        let mut found = Vec::new();
        for environment in environments {
            let record = recorded(session, environment, &kubectl).await?.record;
            let what = format!("listing what runs in {}", environment.name);
            session.events.emit(Event::stage(what));
            let images = kubectl.images(cluster(environment)).await;
            session.events.emit(Event::StageFinished);
            found.push(EnvironmentUse {
                name: environment.name.clone(),
                record,
                images: images?,
            });
        }
        Ok(found)
    };
    let found = session.unless_interrupted(found).await;
    drop(kubectl);
    tools.end().await;
    found
}
