//! The working copies, of which nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::task::spawn_blocking;

use super::{Platform, Surroundings, grouped};
use crate::client::git::{GitClient, GitError, Opened, WorkingCopy};
use crate::doctor::{Trouble, WorkingCopyFacts};
use crate::inspect;
use crate::manifest::{Service, ServiceName};
use crate::resolve::Request;
use crate::source::GitUrl;
use crate::status::WorkingCopyStatus;
use crate::task::joined;

/// Looks at the working copies, each once however many services it has.
pub(super) async fn working_copies(surroundings: &Surroundings<'_>) -> Vec<WorkingCopyFacts> {
    let Some(platform) = &surroundings.platform else {
        return Vec::new();
    };
    let by_dir = surroundings
        .services()
        .map(|service| (service.dir.clone(), service));
    let groups = grouped(by_dir);
    let look = look(platform, &groups);
    let found = surroundings.limited("the file system of the working copies".to_owned(), async {
        Ok::<_, GitError>(look.await)
    });
    match found.await {
        Ok(found) => found,
        Err(trouble) => {
            let unread = groups.iter().map(|(dir, services)| WorkingCopyFacts {
                problem: Some(trouble.clone()),
                ..unknown(dir, services)
            });
            unread.collect()
        }
    }
}

/// What more there is to know than a status tells.
#[derive(Default)]
struct More {
    other_remotes: Option<Vec<String>>,
    lock: Option<(PathBuf, u64)>,
    is_shallow: bool,
}

async fn look(
    platform: &Platform<'_>,
    groups: &BTreeMap<PathBuf, Vec<&Service>>,
) -> Vec<WorkingCopyFacts> {
    let folder = &platform.manifest.folder;
    let wanted = groups.values().map(|services| {
        // Those in one working copy may follow different branches: what is compared is the first one's.
        let service = services[0];
        let request = Request {
            service: service.name.to_string(),
            url: service.git.remote.clone(),
            reference: service.git.reference.clone(),
            preferred_branch: None,
            normal: None,
        };
        (service.name.clone(), folder.join(&service.dir), request)
    });
    let mut found = inspect::working_copies(&platform.git, wanted).await;
    let mut problems: BTreeMap<ServiceName, Trouble> = BTreeMap::new();
    for (name, found) in &mut found {
        if let Some(problem) = found.problem.take() {
            problems.insert(name.clone(), Trouble::of(&problem));
        }
    }
    let mut statuses = inspect::compared(found, &BTreeMap::new()).await;
    let mut facts = Vec::new();
    for (dir, services) in groups {
        let name = &services[0].name;
        let status = statuses
            .remove(name)
            .unwrap_or(WorkingCopyStatus::Unreadable);
        let (client, path) = (platform.git.clone(), folder.join(dir));
        let url = services[0].git.remote.clone();
        let more = match status {
            WorkingCopyStatus::Present(_) => {
                joined(spawn_blocking(move || more(&client, &path, &url)).await)
            }
            _ => More::default(),
        };
        let lock = more.lock.map(|(path, age)| {
            let path = path.strip_prefix(folder).unwrap_or(&path);
            (path.display().to_string(), age)
        });
        facts.push(WorkingCopyFacts {
            problem: problems.remove(name),
            status,
            other_remotes: more.other_remotes,
            lock,
            is_shallow: more.is_shallow,
            ..unknown(dir, services)
        });
    }
    facts
}

fn unknown(dir: &Path, services: &[&Service]) -> WorkingCopyFacts {
    WorkingCopyFacts {
        dir: dir.display().to_string(),
        services: services
            .iter()
            .map(|service| service.name.to_string())
            .collect(),
        status: WorkingCopyStatus::Unreadable,
        problem: None,
        other_remotes: None,
        remote: services[0].git.remote.to_string(),
        lock: None,
        is_shallow: false,
    }
}

fn more(client: &GitClient, dir: &Path, url: &GitUrl) -> More {
    let Ok(Opened::WorkingCopy(copy)) = WorkingCopy::open(dir) else {
        return More::default();
    };
    let is_clone = copy.remote_of(client, url).is_some();
    More {
        other_remotes: (!is_clone).then(|| copy.remote_urls()),
        lock: age(copy.index_lock()),
        is_shallow: copy.is_shallow(),
    }
}

/// Returns a file that exists, and how many seconds ago it was written.
fn age(path: PathBuf) -> Option<(PathBuf, u64)> {
    let written = fs::metadata(&path).ok()?.modified().ok()?;
    let age = SystemTime::now()
        .duration_since(written)
        .unwrap_or_default();
    Some((path, age.as_secs()))
}
