//! Sources of `--local` builds: the checked-out commits of working copies, and the local changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::base::error::{Diagnostic, Exit};
use crate::base::task::joined;
use crate::client::git::{GitError, Head, Opened, WorkingCopy};
use crate::execute::folder_files::folder_files;
use crate::model::manifest::{Manifest, Service, ServiceName};
use crate::model::source::{CommitId, ResolvedReference, ServiceSource, WorkingTree};

/// Working copies that cannot be built in place.
#[derive(Debug, Error)]
pub enum LocalError {
    /// Services given on the command line have no working copy.
    #[error("`--local` builds working copies, but {}", missing(.0))]
    Missing(Vec<(ServiceName, PathBuf)>),
    /// No service has a working copy.
    #[error("`--local` builds working copies, but no service has one")]
    None,
    /// There is something else in place of a working copy.
    #[error("cannot build `{service}` in place: {} is not a git repository", dir.display())]
    OtherFiles {
        service: ServiceName,
        /// The folder, or the file.
        dir: PathBuf,
    },
    /// There is a file in place of the folder of a service whose source comes from a plugin.
    #[error("cannot build `{service}` in place: {} is not a folder", dir.display())]
    NotAFolder { service: ServiceName, dir: PathBuf },
    /// A file of such a service cannot be read.
    #[error("cannot build `{service}` in place")]
    Unreadable {
        service: ServiceName,
        #[source]
        cause: std::io::Error,
    },
    /// The repository has no commit.
    #[error("cannot build `{service}` in place: {} has no commit yet", dir.display())]
    NoCommit { service: ServiceName, dir: PathBuf },
    /// The working copy cannot be read.
    #[error("cannot build `{service}` in place")]
    Git {
        service: ServiceName,
        #[source]
        cause: GitError,
    },
}

fn missing(services: &[(ServiceName, PathBuf)]) -> String {
    let shown = services
        .iter()
        .map(|(service, dir)| format!("`{service}` ({})", dir.display()));
    let shown: Vec<String> = shown.collect();
    let verb = if services.len() == 1 { "has" } else { "have" };
    format!("{} {verb} none", shown.join(", "))
}

impl Diagnostic for LocalError {
    fn exit(&self) -> Exit {
        match self {
            Self::Git { .. } | Self::Unreadable { .. } => Exit::Outside,
            _ => Exit::Usage,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Missing(services) => {
                let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
                vec![format!(
                    "`xp sync {}` clones what is missing",
                    names.join(" ")
                )]
            }
            Self::None => vec!["`xp sync` clones them".to_owned()],
            Self::Unreadable { .. } => Vec::new(),
            Self::OtherFiles { .. } | Self::NotAFolder { .. } => {
                vec!["move it elsewhere, or set another `dir` for the service".to_owned()]
            }
            Self::NoCommit { .. } => {
                vec!["create a commit first: the image's tag is based on the commit".to_owned()]
            }
            Self::Git { cause, .. } => cause.hint().map(str::to_owned).into_iter().collect(),
        }
    }
}

/// Reads the working copies of services concurrently.
///
/// `own` is the `.xp` folder. If the services were named explicitly, each of them must have one; otherwise those without are skipped.
///
/// # Errors
///
/// See [`LocalError`].
pub async fn sources(
    manifest: &Manifest,
    services: &BTreeSet<ServiceName>,
    own: &Path,
    are_named: bool,
) -> Result<BTreeMap<ServiceName, ServiceSource>, LocalError> {
    // Services can share a working copy; its index is read once.
    let mut by_dir: BTreeMap<PathBuf, Vec<Service>> = BTreeMap::new();
    for service in services
        .iter()
        .filter_map(|name| manifest.services.get(name))
    {
        let dir = manifest.folder.join(&service.dir);
        by_dir.entry(dir).or_default().push(service.clone());
    }
    let working_copies = by_dir.into_iter().map(|(dir, services)| {
        let own = own.to_owned();
        spawn_blocking(move || in_one_working_copy(services, &dir, &own))
    });
    let (mut sources, mut missing) = (BTreeMap::new(), Vec::new());
    for found in join_all(working_copies).await {
        for (service, source) in joined(found)? {
            match source {
                Some(source) => _ = sources.insert(service.name, source),
                None => missing.push((service.name, service.dir)),
            }
        }
    }
    missing.sort();
    match (are_named && !missing.is_empty(), sources.is_empty()) {
        (true, _) => Err(LocalError::Missing(missing)),
        (false, true) => Err(LocalError::None),
        (false, false) => Ok(sources),
    }
}

/// Reads a working copy for several services; `None` for each if it does not exist.
fn in_one_working_copy(
    services: Vec<Service>,
    dir: &Path,
    own: &Path,
) -> Result<Vec<(Service, Option<ServiceSource>)>, LocalError> {
    let Some(first) = services.first() else {
        return Ok(Vec::new());
    };
    if first.source.git().is_none() {
        let tree = files_as_changes(first, dir, own)?;
        let source = tree.map(|tree| {
            // The commit is unknown: only the digest of the files identifies the image.
            let commit = CommitId::from_bytes([0; 20]);
            ServiceSource::from_working_copy(ResolvedReference { commit, name: None }, tree)
        });
        let found = services
            .into_iter()
            .map(|service| (service, source.clone()));
        return Ok(found.collect());
    }
    let opened = WorkingCopy::open(dir).map_err(|cause| LocalError::Git {
        service: first.name.clone(),
        cause,
    })?;
    let found = services.into_iter().map(|service| {
        let found = source(&service, dir, &opened)?;
        Ok((service, found))
    });
    found.collect()
}

/// Returns the state of a folder whose source comes from a plugin: every file counts as a change, because xp does not
/// know the commit. `None` if it does not exist.
fn files_as_changes(
    service: &Service,
    dir: &Path,
    own: &Path,
) -> Result<Option<WorkingTree>, LocalError> {
    match dir.symlink_metadata() {
        Ok(found) if found.is_dir() => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        _ => {
            return Err(LocalError::NotAFolder {
                service: service.name.clone(),
                dir: dir.to_owned(),
            });
        }
    }
    let changes = folder_files(dir, own).map_err(|cause| LocalError::Unreadable {
        service: service.name.clone(),
        cause,
    })?;
    Ok(Some(WorkingTree {
        changes: Some(changes),
        commit_time: None,
        git: None,
    }))
}

/// Reads the working copy of a service; `None` if it does not exist.
fn source(
    service: &Service,
    dir: &Path,
    opened: &Opened,
) -> Result<Option<ServiceSource>, LocalError> {
    let name = || service.name.clone();
    let failed = |cause| LocalError::Git {
        service: name(),
        cause,
    };
    let working_copy = match opened {
        Opened::WorkingCopy(working_copy) => working_copy,
        Opened::Nothing => return Ok(None),
        Opened::OtherFiles | Opened::NotAFolder => {
            return Err(LocalError::OtherFiles {
                service: name(),
                dir: dir.to_owned(),
            });
        }
    };
    let tip = match working_copy.head().map_err(failed)? {
        Head::Branch { name, commit } => ResolvedReference {
            commit,
            name: Some(format!("refs/heads/{name}")),
        },
        Head::Detached(commit) => ResolvedReference { commit, name: None },
        Head::Unborn => {
            return Err(LocalError::NoCommit {
                service: name(),
                dir: dir.to_owned(),
            });
        }
    };
    let facts = working_copy.commit_facts(tip.commit).map_err(failed)?;
    let tree = WorkingTree {
        changes: working_copy
            .tree_changes(&service.source.selection())
            .map_err(failed)?,
        commit_time: Some(facts.committer_time),
        git: Some(working_copy.git_folders().map_err(failed)?),
    };
    Ok(Some(ServiceSource::from_working_copy(tip, tree)))
}

/// Corrects the commit time of services with `git.path` or `git.exclude`: their commit is the last one that touched
/// their files, which can be older than the checked-out one.
///
/// # Errors
///
/// See [`LocalError`].
pub async fn at_their_commits(
    manifest: &Manifest,
    mut sources: BTreeMap<ServiceName, ServiceSource>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, LocalError> {
    for (name, source) in &mut sources {
        let (commit, Some(service)) = (source.commit, manifest.services.get(name)) else {
            continue;
        };
        let Some(tree) = source
            .local
            .as_mut()
            .filter(|_| commit != source.tip.commit)
        else {
            continue;
        };
        let dir = manifest.folder.join(&service.dir);
        let found = spawn_blocking(move || match WorkingCopy::open(&dir)? {
            Opened::WorkingCopy(working_copy) => working_copy.commit_facts(commit).map(Some),
            _ => Ok(None),
        });
        let found = joined(found.await);
        let failed = |cause| LocalError::Git {
            service: name.clone(),
            cause,
        };
        if let Some(facts) = found.map_err(failed)? {
            tree.commit_time = Some(facts.committer_time);
        }
    }
    Ok(sources)
}
