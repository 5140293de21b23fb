//! What the current folder says: which service is meant, and where in its files.

use std::fs;
use std::path::{Path, PathBuf};

use super::session::Session;
use super::why::one_service;
use crate::error::Failure;
use crate::manifest::Service;

/// Returns the service that was named; else the one in whose folder the current one lies.
pub fn service<'s>(
    session: &'s Session,
    named: Option<&str>,
    command: &str,
) -> Result<&'s Service, Failure> {
    let services = &session.manifest.services;
    if let Some(name) = named {
        let name = one_service(session, name)?;
        let unknown = || Failure::usage(format!("there is no service `{name}`"));
        return services.get(&name).ok_or_else(unknown);
    }
    let here = real(&session.settings.directory);
    let around = services.values().filter_map(|service| {
        let root = root(session, service);
        here.starts_with(&root)
            .then(|| (root.components().count(), service))
    });
    let around: Vec<(usize, &Service)> = around.collect();
    // A service whose folder lies in that of another one is meant, and not the other.
    let deepest = around.iter().map(|(depth, _)| *depth).max();
    let inner = around.iter().filter(|(depth, _)| Some(*depth) == deepest);
    let inner: Vec<&Service> = inner.map(|(_, service)| *service).collect();
    match inner.as_slice() {
        [service] => Ok(service),
        [] => Err(Failure::usage(format!(
            "no service was named, and {} lies in none's folder\n\
             hint: write `{command}`, or go to a folder of the service",
            session.settings.directory.display()
        ))),
        several => {
            let names: Vec<String> = several.iter().map(|it| format!("`{}`", it.name)).collect();
            Err(Failure::usage(format!(
                "no service was named, and {} is the folder of several: {}\n\
                 hint: write `{command}`",
                session.settings.directory.display(),
                names.join(", ")
            )))
        }
    }
}

/// Returns the folder of a container that the current folder is in it, where the working copy is mounted at
/// `workdir`; none where it lies outside of it.
pub fn in_container(session: &Session, service: &Service, workdir: &str) -> Option<String> {
    let dir = real(&session.manifest.folder.join(&service.dir));
    let here = real(&session.settings.directory);
    let below = here.strip_prefix(&dir).ok()?.to_str()?;
    let workdir = workdir.trim_end_matches('/');
    // At the top, which may be the platform's own folder, the scripts' folder is meant.
    (!below.is_empty()).then(|| format!("{workdir}/{below}"))
}

/// Returns the folder with a service's own files.
fn root(session: &Session, service: &Service) -> PathBuf {
    let dir = real(&session.manifest.folder.join(&service.dir));
    match &service.git.path {
        Some(path) => dir.join(path),
        None => dir,
    }
}

/// Returns a path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
