//! Gathers facts about working copies, read-only.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::task::spawn_blocking;

use super::{CheckedPlatform, DoctorContext, grouped};
use crate::base::task::joined;
use crate::client::git::{GitClient, GitError, Opened, WorkingCopy};
use crate::flow::sources::resolve::{RequestedRemote, ResolveRequest};
use crate::flow::sources::working_copies;
use crate::model::doctor::{CheckFailure, WorkingCopyFacts};
use crate::model::manifest::{Service, ServiceName};
use crate::model::source::GitUrl;
use crate::model::status::WorkingCopyStatus;

/// Reads each working copy once, even if several services use it.
pub(super) async fn working_copies(context: &DoctorContext<'_>) -> Vec<WorkingCopyFacts> {
    let Some(platform) = &context.platform else {
        return Vec::new();
    };
    // Only the user's own tools know the state of others.
    let of_git = context
        .services()
        .filter(|service| service.source.git().is_some());
    let by_dir = of_git.map(|service| (service.dir.clone(), service));
    let groups = grouped(by_dir);
    let read = read(platform, &groups);
    let found = context.limited("the file system of the working copies".to_owned(), async {
        Ok::<_, GitError>(read.await)
    });
    match found.await {
        Ok(found) => found,
        Err(failure) => {
            let unread = groups.iter().map(|(dir, services)| WorkingCopyFacts {
                problem: Some(failure.clone()),
                ..unreadable(dir, services)
            });
            unread.collect()
        }
    }
}

/// Details that are not part of a status.
#[derive(Default)]
struct WorkingCopyDetails {
    other_remotes: Option<Vec<String>>,
    lock: Option<(PathBuf, u64)>,
    is_shallow: bool,
}

async fn read(
    platform: &CheckedPlatform<'_>,
    groups: &BTreeMap<PathBuf, Vec<&Service>>,
) -> Vec<WorkingCopyFacts> {
    let folder = &platform.manifest.folder;
    let requests = groups.values().map(|services| {
        // Services in one working copy may follow different branches; compare with the first one's.
        let service = services[0];
        let request = ResolveRequest {
            service: service.name.to_string(),
            remote: RequestedRemote::of(service),
            reference: service.source.reference().clone(),
            preferred_branch: None,
            manifest_reference: None,
        };
        (service.name.clone(), folder.join(&service.dir), request)
    });
    let mut found = working_copies::read(&platform.git, requests).await;
    let mut problems: BTreeMap<ServiceName, CheckFailure> = BTreeMap::new();
    for (name, found) in &mut found {
        if let Some(problem) = found.problem.take() {
            problems.insert(name.clone(), CheckFailure::of(&problem));
        }
    }
    let mut statuses = working_copies::compared(found, &BTreeMap::new()).await;
    let mut facts = Vec::new();
    for (dir, services) in groups {
        let name = &services[0].name;
        let status = statuses
            .remove(name)
            .unwrap_or(WorkingCopyStatus::Unreadable);
        let (client, path) = (platform.git.clone(), folder.join(dir));
        let git = services[0].source.git();
        let details = match (&status, git.map(|git| git.remote.clone())) {
            (WorkingCopyStatus::Present(_), Some(url)) => {
                joined(spawn_blocking(move || details(&client, &path, &url)).await)
            }
            _ => WorkingCopyDetails::default(),
        };
        let lock = details.lock.map(|(path, age)| {
            let path = path.strip_prefix(folder).unwrap_or(&path);
            (path.display().to_string(), age)
        });
        facts.push(WorkingCopyFacts {
            problem: problems.remove(name),
            status,
            other_remotes: details.other_remotes,
            lock,
            is_shallow: details.is_shallow,
            ..unreadable(dir, services)
        });
    }
    facts
}

fn unreadable(dir: &Path, services: &[&Service]) -> WorkingCopyFacts {
    WorkingCopyFacts {
        dir: dir.display().to_string(),
        services: services
            .iter()
            .map(|service| service.name.to_string())
            .collect(),
        status: WorkingCopyStatus::Unreadable,
        problem: None,
        other_remotes: None,
        remote: services[0].source.remote().to_string(),
        lock: None,
        is_shallow: false,
    }
}

fn details(client: &GitClient, dir: &Path, url: &GitUrl) -> WorkingCopyDetails {
    let Ok(Opened::WorkingCopy(copy)) = WorkingCopy::open(dir) else {
        return WorkingCopyDetails::default();
    };
    let is_clone = copy.remote_of(client, url).is_some();
    WorkingCopyDetails {
        other_remotes: (!is_clone).then(|| copy.remote_urls()),
        lock: with_age(copy.index_lock()),
        is_shallow: copy.is_shallow(),
    }
}

/// Returns a file and its age in seconds, if it exists.
fn with_age(path: PathBuf) -> Option<(PathBuf, u64)> {
    let written = fs::metadata(&path).ok()?.modified().ok()?;
    let age = SystemTime::now()
        .duration_since(written)
        .unwrap_or_default();
    Some((path, age.as_secs()))
}
