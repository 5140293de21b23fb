//! The mounts of a builder container.

use std::fs;
use std::path::{Path, PathBuf};

use super::{SOCKET, SSH_AGENT};
use crate::client::engine::Bind;
use crate::execute::ExecuteContext;
use crate::execute::path_mapping::PathMapping;
use crate::execute::secrets;
use crate::execute::state::UnitState;
use crate::execute::step_error::{StepError, Stop};
use crate::model::manifest::Mount;
use crate::model::plan::ContainerStep;

/// Returns the engine's socket if it is on this machine.
pub(super) fn engine_socket(context: &ExecuteContext) -> Option<PathBuf> {
    context
        .engine
        .address()
        .strip_prefix("unix://")
        .map(PathBuf::from)
}

/// A file or folder of this machine, and its path in the container.
pub(super) struct MountedPath {
    /// The path here.
    path: PathBuf,
    /// The path in the container.
    target: String,
    read_only: bool,
}

/// Returns the mounts for the engine's API.
pub(super) fn binds(
    path_mapping: &PathMapping,
    files: &[MountedPath],
) -> Result<Vec<Bind>, StepError> {
    let bind = |file: &MountedPath| {
        let (source, only_read_here) = path_mapping.source(&file.path)?;
        Ok(Bind {
            source,
            target: file.target.clone(),
            // Read-only for xp is read-only for the builder, too.
            read_only: file.read_only || only_read_here,
        })
    };
    files.iter().map(bind).collect()
}

/// Returns the file or folder on this machine that a mount refers to.
pub(in crate::execute) fn mount_source(
    context: &ExecuteContext,
    path_mapping: &PathMapping,
    mount: &Mount,
) -> Result<PathBuf, StepError> {
    let source = match (mount.source.strip_prefix('~'), &context.caller.home) {
        (Some(rest), Some(home)) => PathBuf::from(format!("{}{rest}", home.display())),
        _ => context.folder.join(&mount.source),
    };
    if source.exists() {
        return Ok(source);
    }
    // The engine would create an empty folder there, as root.
    let error = StepError::plain(format!(
        "cannot mount {} at {}: it does not exist",
        source.display(),
        mount.target
    ))
    .hint("create it, or correct `dockerBuilder.mounts`");
    Err(match path_mapping {
        PathMapping::Mounted(_) => error.hint(format!(
            "xp runs in a container: if it exists outside, mount it into that container, for `bin/x-platform` with `XBUILDER_MOUNTS={}`",
            source.display()
        )),
        PathMapping::Same | PathMapping::Remote(_) => error,
    })
}

/// Returns the mounts, outer folders first; creates cache folders.
pub(super) fn files(
    context: &ExecuteContext,
    path_mapping: &PathMapping,
    step: &ContainerStep,
    state: &UnitState,
) -> Result<Vec<MountedPath>, Stop> {
    let mounted = |path: &Path, target: String, read_only: bool| MountedPath {
        path: path.to_owned(),
        target,
        read_only,
    };
    let workdir = step.workdir.trim_end_matches('/');
    let mut files = vec![mounted(&step.source, step.workdir.clone(), false)];
    for git in &step.git {
        files.push(mounted(&git.source, git.target.display().to_string(), true));
    }
    let objects = state.objects.as_ref().filter(|_| !step.is_staged);
    if let Some(objects) = objects {
        files.push(mounted(objects, format!("{workdir}/.git/objects"), true));
    }
    let borrowed = state.borrowed_objects.iter();
    for objects in borrowed.filter(|_| !step.is_staged) {
        files.push(mounted(objects, objects.display().to_string(), true));
    }
    for (folder, path) in &step.caches {
        // The engine would create it as root.
        fs::create_dir_all(folder).map_err(|error| {
            StepError::plain(format!(
                "cannot create the cache folder {}: {error}",
                folder.display()
            ))
            .hint("make its parent folder writable, or set `cacheDir` or XP_CACHE_DIR to another folder")
        })?;
        files.push(mounted(folder, path.clone(), false));
    }
    for mount in &step.mounts {
        let source = mount_source(context, path_mapping, mount)?;
        files.push(mounted(&source, mount.target.clone(), mount.read_only));
    }
    if step.ssh {
        let agent = secrets::agent(context, "dockerBuilder.ssh")
            .map_err(|why| StepError::plain(why).hint(secrets::START_AN_AGENT))?;
        files.push(mounted(&agent, SSH_AGENT.to_owned(), false));
    }
    if step.socket {
        let Some(socket) = engine_socket(context) else {
            let address = context.engine.address();
            return Err(StepError::plain(format!(
                "`socket: true` requires an engine with a socket on this machine, but the engine is at {address}"
            ))
            .hint("set DOCKER_HOST to a socket (unix:///path/docker.sock), or remove `dockerBuilder.socket`")
            .into());
        };
        files.push(mounted(&socket, SOCKET.to_owned(), false));
    }
    Ok(files)
}

/// A folder or file to create in the source as a mount point.
pub(super) struct MountPoint {
    pub path: PathBuf,
    is_dir: bool,
}

/// Returns the mount points in the source that do not exist, the outer ones first.
pub(super) fn missing_mount_points(step: &ContainerStep, files: &[MountedPath]) -> Vec<MountPoint> {
    let workdir = step.workdir.trim_end_matches('/');
    let below = files.iter().filter_map(|mounted| {
        let target = mounted.target.strip_prefix(workdir)?.strip_prefix('/')?;
        Some((target, mounted.path.is_dir()))
    });
    let mut missing: Vec<MountPoint> = Vec::new();
    // Mount points below `.git` are in the git directory, which is a mount itself.
    for (target, is_dir) in below.filter(|(target, _)| !target.starts_with(".git/")) {
        let mut path = step.source.clone();
        let mut parts = target.split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                // A symlink may lead anywhere; the engine resolves it in the container.
                Ok(_) => break,
                Err(_) if missing.iter().any(|point| point.path == path) => {}
                Err(_) => missing.push(MountPoint {
                    path: path.clone(),
                    is_dir: is_dir || parts.peek().is_some(),
                }),
            }
        }
    }
    missing
}

/// Creates mount points and returns those created. The engine would create them too, but as root.
pub(super) fn make_mount_points(missing: Vec<MountPoint>) -> Vec<PathBuf> {
    let created = missing.into_iter().filter(|point| {
        if point.is_dir {
            fs::create_dir(&point.path).is_ok()
        } else {
            fs::File::create_new(&point.path).is_ok()
        }
    });
    created.map(|point| point.path).collect()
}

/// Removes mount points, the innermost first, except those that are no longer empty.
pub(in crate::execute) fn remove_mount_points(innermost_first: &[PathBuf]) {
    for path in innermost_first {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => _ = fs::remove_dir(path),
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => _ = fs::remove_file(path),
            _ => {}
        }
    }
}

/// Rejects a writable mount inside a folder that changes owner between the caller and another user: the mounted files
/// would change owner as well.
pub(super) fn reject_foreign_files(
    step: &ContainerStep,
    written: &[String],
) -> Result<(), StepError> {
    let is_below = |target: &str| {
        written
            .iter()
            .any(|folder| Path::new(target).starts_with(folder))
    };
    match step
        .mounts
        .iter()
        .find(|mount| !mount.read_only && is_below(&mount.target))
    {
        None => Ok(()),
        Some(mount) => Err(StepError::plain(format!(
            "the mount at {} is inside a folder that changes owner during the build, and its files would change owner too",
            mount.target
        ))
        .hint("mount it elsewhere, or with `:ro`, or remove `dockerBuilder.user`")),
    }
}
