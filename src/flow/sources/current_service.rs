//! Determines the service and the folder in the container from the current folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::error::Failure;
use crate::flow::session::Session;
use crate::model::manifest::{Service, ServiceName};

/// Returns the named service, else the one in the current folder.
pub fn service<'s>(
    session: &'s Session,
    named: Option<&str>,
    command: &str,
) -> Result<&'s Service, Failure> {
    let services = &session.manifest.services;
    if let Some(name) = named {
        let name = one_service(session, name)?;
        let unknown = || Failure::usage(format!("unknown service `{name}`"));
        return services.get(&name).ok_or_else(unknown);
    }
    let inner = around(session);
    match inner.as_slice() {
        [service] => Ok(service),
        [] => Err(Failure::usage(format!(
            "no service given, and {} is not inside any service's folder\n\
             hint: write `{command}`, or change to the service's folder",
            session.settings.directory.display()
        ))),
        several => {
            let names: Vec<String> = several.iter().map(|it| format!("`{}`", it.name)).collect();
            Err(Failure::usage(format!(
                "no service given, and {} belongs to several services: {}\n\
                 hint: write `{command}`",
                session.settings.directory.display(),
                names.join(", ")
            )))
        }
    }
}

/// Returns the services whose folder contains the current folder; the innermost ones if service folders are nested.
fn around(session: &Session) -> Vec<&Service> {
    let here = real(&session.settings.directory);
    let around = session.manifest.services.values().filter_map(|service| {
        let root = root(session, service);
        here.starts_with(&root)
            .then(|| (root.components().count(), service))
    });
    let around: Vec<(usize, &Service)> = around.collect();
    let deepest = around.iter().map(|(depth, _)| *depth).max();
    let inner = around.iter().filter(|(depth, _)| Some(*depth) == deepest);
    inner.map(|(_, service)| *service).collect()
}

/// Returns the names of the services whose folder contains the current folder; empty in the platform's own folder,
/// even if that is the folder of a service.
pub fn names(session: &Session) -> BTreeSet<ServiceName> {
    if real(&session.settings.directory) == real(&session.manifest.folder) {
        return BTreeSet::new();
    }
    let services = around(session).into_iter();
    services.map(|service| service.name.clone()).collect()
}

/// Returns the service that matches a name or pattern; it is an error if there are several.
pub fn one_service(session: &Session, name: &str) -> Result<ServiceName, Failure> {
    let mut found = session.manifest.select(&[name])?.into_iter();
    match (found.next(), found.next()) {
        (Some(service), None) => Ok(service),
        (first, second) => {
            let all: Vec<String> = first
                .into_iter()
                .chain(second)
                .chain(found)
                .map(|service| format!("`{service}`"))
                .collect();
            Err(Failure::usage(format!(
                "`{name}` matches several services\nhint: specify one of them: {}",
                all.join(", ")
            )))
        }
    }
}

/// Maps the current folder to its path in the container, where the working copy is mounted at `workdir`. Returns
/// `None` if it is outside of the working copy.
pub fn in_container(session: &Session, service: &Service, workdir: &str) -> Option<String> {
    let dir = real(&session.manifest.folder.join(&service.dir));
    let here = real(&session.settings.directory);
    let below = here.strip_prefix(&dir).ok()?.to_str()?;
    let workdir = workdir.trim_end_matches('/');
    // At the root of the working copy, which may also be the platform's folder, use the scripts' folder.
    (!below.is_empty()).then(|| format!("{workdir}/{below}"))
}

/// Returns the folder with a service's own files.
fn root(session: &Session, service: &Service) -> PathBuf {
    let dir = real(&session.manifest.folder.join(&service.dir));
    match service.source.path() {
        Some(path) => dir.join(path),
        None => dir,
    }
}

/// Resolves symbolic links if the path exists.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
