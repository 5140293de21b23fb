//! The references of the services: their last commits, and the branches and tags that exist.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;

use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::git::{GitClient, GitError, RemoteRefs};
use crate::flow::request::ReferenceOverrides;
use crate::flow::session::Session;
use crate::flow::sources::commits;
use crate::flow::sources::history::{self, HistoryExtent, HistorySearch, PartialService};
use crate::model::clean::{OpenReferences, Roots};
use crate::model::event::Event;
use crate::model::manifest::ServiceName;
use crate::model::source::{GitUrl, ResolvedReference};

/// The number of remotes that are listed at once; the git client limits the connections to each host.
const REMOTES: usize = 16;

/// The prefix of branches.
const BRANCHES: &str = "refs/heads/";

/// The prefix of tags.
const TAGS: &str = "refs/tags/";

/// Adds the references of all services.
///
/// # Errors
///
/// A remote does not respond, or a history that is needed is missing.
pub async fn add(session: &Session, git: &GitClient, roots: &mut Roots) -> Result<(), Failure> {
    let manifest = &session.manifest;
    let services: BTreeSet<ServiceName> = manifest.services.keys().cloned().collect();
    let references = ReferenceOverrides::default();
    let sources = commits::resolve(session, git, &services, &references, None).await?;
    let sources = commits::narrow(session, git, sources, HistoryExtent::Remotes(None)).await?;
    let remotes = remotes(session, git).await?;
    let mut parts = Vec::new();
    for (name, service) in &manifest.services {
        let mut open = OpenReferences::default();
        if let Some(source) = sources.get(name) {
            open.tips
                .insert(source.commit, service.source.reference().to_string());
            open.main = source.short_name().map(str::to_owned);
        }
        if let Some(git) = service.source.git()
            && let Some(refs) = remotes.get(&git.remote)
        {
            let short = |name: &str| {
                let name = name.strip_prefix(BRANCHES).or(name.strip_prefix(TAGS));
                name.map(str::to_owned)
            };
            open.names = Some(refs.names().filter_map(short).collect());
            for tip in branches(refs) {
                if git.selection().is_whole() {
                    let branch = tip.short_name().unwrap_or_default().to_owned();
                    open.tips.entry(tip.commit).or_insert(branch);
                } else {
                    parts.push(PartialService {
                        service: name.clone(),
                        remote: git.remote.clone(),
                        dir: manifest.folder.join(&service.dir),
                        tip,
                        selection: git.selection(),
                        submodules: git.submodules,
                        // The service may be newer than the branch.
                        may_be_missing: true,
                    });
                }
            }
        }
        roots.services.insert(name.clone(), open);
    }
    narrowed(session, git, parts, roots).await
}

/// Adds the last commits that touched the files of a service, on each branch.
async fn narrowed(
    session: &Session,
    git: &GitClient,
    parts: Vec<PartialService>,
    roots: &mut Roots,
) -> Result<(), Failure> {
    let tips: Vec<_> = parts
        .iter()
        .map(|it| (it.service.clone(), it.tip.clone()))
        .collect();
    let search = HistorySearch {
        client: git,
        layout: &session.layout,
        events: &session.events,
        cancel: &session.cancel,
        extent: HistoryExtent::Remotes(None),
    };
    let found = history::last_touched(&search, parts).await?;
    for (service, tip) in tips {
        let commit = found.commits.get(&(service.clone(), tip.commit));
        if let (Some(commit), Some(open)) = (commit, roots.services.get_mut(&service)) {
            let branch = tip.short_name().unwrap_or_default().to_owned();
            open.tips.entry(*commit).or_insert(branch);
        }
    }
    Ok(())
}

fn branches(refs: &RemoteRefs) -> impl Iterator<Item = ResolvedReference> {
    let names = refs.names().filter(|name| name.starts_with(BRANCHES));
    names.filter_map(|name| {
        Some(ResolvedReference {
            commit: refs.commit(name)?,
            name: Some(name.to_owned()),
        })
    })
}

/// Lists the branches and tags of each remote.
async fn remotes(
    session: &Session,
    git: &GitClient,
) -> Result<BTreeMap<GitUrl, RemoteRefs>, Failure> {
    let services = session.manifest.services.values();
    let urls = services.filter_map(|service| Some(service.source.git()?.remote.clone()));
    let urls: BTreeSet<GitUrl> = urls.collect();
    let what = format!("listing the branches of {}", count_of(urls.len(), "remote"));
    session.events.emit(Event::stage(what));
    let requests = urls.into_iter().map(|url| async move {
        let refs = git.list_branches_and_tags(&url).await?;
        Ok::<_, GitError>((url, refs))
    });
    let found = futures_util::stream::iter(requests).buffer_unordered(REMOTES);
    let found: Vec<Result<_, GitError>> = found.collect().await;
    session.events.emit(Event::StageFinished);
    let found: Result<BTreeMap<_, _>, GitError> = found.into_iter().collect();
    Ok(found?)
}
