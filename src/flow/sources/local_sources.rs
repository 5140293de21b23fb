//! Sources of `--local`, for `xp build` and `xp plan`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::commits::narrow;
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::git::GitClient;
use crate::flow::request::{PlanRequest, PlanSource};
use crate::flow::session::Session;
use crate::flow::sources::history::HistoryExtent;
use crate::flow::sources::local;
use crate::flow::sources::local::LocalError;
use crate::model::event::Event;
use crate::model::manifest::ServiceName;
use crate::model::source::ServiceSource;
use crate::store::claim::FolderLock;

/// Reads the state of the working copies that are built in place. It is an error if there are none.
pub async fn sources(
    session: &Session,
    request: &PlanRequest,
    git: &GitClient,
    lock: Option<&FolderLock>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let found = sources_if_any(session, request, git, lock).await?;
    if found.is_empty() {
        return Err(LocalError::None.into());
    }
    Ok(found)
}

/// Reads the state of the working copies that are built in place, which may be none.
pub async fn sources_if_any(
    session: &Session,
    request: &PlanRequest,
    git: &GitClient,
    lock: Option<&FolderLock>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    const HINT: &str = "hint: check out the commit to build, or omit `--local`; `--reference` is only for \
                        dependencies that are not built in place";
    if let Some(branch) = &request.references.branch {
        return Err(Failure::usage(format!(
            "`--branch {branch}` conflicts with `--local`, which builds what is checked out\n{HINT}"
        )));
    }
    let selected = &request.services;
    let required = request.source == PlanSource::WorkingCopies { required: true };
    session.events.emit(Event::stage(format!(
        "inspecting {}",
        count_of(selected.len(), "service")
    )));
    let found = local::sources(&session.manifest, selected, session.layout.root(), required).await;
    session.events.emit(Event::StageFinished);
    let found = match found {
        Err(LocalError::None) => BTreeMap::new(),
        found => found?,
    };
    for (name, reference) in &request.references.services {
        if found.contains_key(name) {
            return Err(Failure::usage(format!(
                "`--reference {name}={reference}` conflicts with `--local`, which builds what is checked out for `{name}`\n{HINT}"
            )));
        }
    }
    // One working copy at a time: it may have commits that neither another one nor the remote has.
    let mut by_dir: BTreeMap<PathBuf, BTreeMap<ServiceName, ServiceSource>> = BTreeMap::new();
    for (name, source) in found {
        let service = session.manifest.services.get(&name);
        let dir = service.map_or_else(PathBuf::new, |service| service.dir.clone());
        by_dir.entry(dir).or_default().insert(name, source);
    }
    let mut narrowed = BTreeMap::new();
    for found in by_dir.into_values() {
        narrowed.extend(narrow(session, git, found, HistoryExtent::Remotes(lock)).await?);
    }
    Ok(local::at_their_commits(&session.manifest, narrowed).await?)
}
