//! Selects the services of a deploy: those to update, and those to keep.

use std::collections::BTreeSet;

use super::DeployTask;
use super::files::EnvironmentFiles;
use crate::base::error::Failure;
use crate::flow::request::{DeployMode, DeployRequest};
use crate::flow::session::Session;
use crate::model::deploy::{
    DeployState, NamedImages, Record, RenderedObjects, UnnamedServices, homonyms,
};
use crate::model::event::Event;
use crate::model::lock::Lock;
use crate::model::manifest::{EnvironmentName, ServiceName};

impl DeployTask<'_> {
    /// Returns the selected services among those that the overlay references.
    pub(super) fn wanted(
        &self,
        files: &EnvironmentFiles,
        named: &NamedImages,
        rendered: &RenderedObjects,
    ) -> Result<BTreeSet<ServiceName>, Failure> {
        let check = |services: BTreeSet<ServiceName>, are_mapped: bool| {
            UnnamedServices::check(
                &files.shown,
                services,
                are_mapped,
                named,
                &self.names,
                rendered,
                &files.fields,
            )
        };
        check(self.names.all_mapped().cloned().collect(), true)?;
        let DeployRequest {
            services: selected,
            patterns,
            mode,
            ..
        } = self.request;
        let unregistered = named.services.keys().find(|name| {
            let repository = self.names.repository(name);
            repository.is_some_and(|repository| repository.registry().is_none())
        });
        if let Some(name) = unregistered {
            return Err(Failure::usage(format!(
                "cannot deploy {name}: its image is not in a registry\n\
                 hint: set one in the manifest: `registry: harbour.example.com/x`"
            )));
        }
        if !patterns.is_empty() {
            check(selected.clone(), false)?;
            return Ok(selected.clone());
        }
        if named.services.is_empty() {
            check(selected.clone(), false)?;
            return Ok(BTreeSet::new());
        }
        let skipped: Vec<&ServiceName> = selected
            .iter()
            .filter(|name| !named.services.contains_key(*name))
            .collect();
        if !skipped.is_empty() && *mode != DeployMode::Render {
            self.session.events.emit(Event::note(format!(
                "{} references no image of {}: skipped",
                files.shown,
                joined(&skipped)
            )));
        }
        for image in homonyms(&skipped, &self.names, rendered, &files.fields) {
            self.session.events.emit(Event::warning(format!(
                "{} has the image `{image}`, which is not the image of the service `{image}`; if it should be, set `{image}: {image}` in `deploy.images`",
                files.shown
            )));
        }
        Ok(named.services.keys().cloned().collect())
    }

    /// Returns the recorded images of the services that are not selected but referenced by the overlay.
    pub(super) fn kept(
        &self,
        record: &Record,
        wanted: &BTreeSet<ServiceName>,
        named: &NamedImages,
    ) -> Result<Lock, Failure> {
        let others = named.services.keys().filter(|name| !wanted.contains(*name));
        let others: Vec<&ServiceName> = others.collect();
        let is_offline = !self.request.mode.accesses_cluster();
        let environment = &self.request.environment.name;
        kept(
            self.session,
            (environment, is_offline),
            record,
            wanted,
            &others,
        )
    }
}

/// Returns the recorded images of services that are deployed but not selected. `is_offline`: the record is a local copy.
pub(super) fn kept(
    session: &Session,
    (name, is_offline): (&EnvironmentName, bool),
    record: &Record,
    wanted: &BTreeSet<ServiceName>,
    others: &[&ServiceName],
) -> Result<Lock, Failure> {
    if others.is_empty() {
        return Ok(Lock::default());
    }
    let Some(last) = record.deploys.first() else {
        let detail = if is_offline {
            " here (`--render` and `--dry-run` read only the local copy)"
        } else {
            " yet"
        };
        return Err(Failure::usage(format!(
            "{name} has no record{detail}, so the deployed version of {} is unknown\n\
                 hint: `xp deploy {name}` deploys all services, `--lock FILE` all services of a lock",
            joined(others),
        )));
    };
    if last.state != DeployState::Deployed {
        return Err(Failure::usage(format!(
            "deploy {} of {name} {}, so the running version of {} is unknown\n\
                 hint: `xp deploy {name}` deploys all services, `xp deploy {name} --rollback` rolls back",
            last.number,
            last.state.ending(),
            joined(others),
        )));
    }
    if is_offline {
        session.events.emit(Event::warning(format!(
                "using the local copy of the record for {}, from deploy {} of {}: the cluster was not checked for a later one",
                joined(others),
                last.number,
                last.when()
            )));
    }
    let is_missing = |name: &&&ServiceName| !last.set.services.contains_key(**name);
    let missing: Vec<&ServiceName> = others.iter().filter(is_missing).copied().collect();
    if !missing.is_empty() {
        return Err(Failure::usage(format!(
            "the record of {name} does not include {}, which the environment runs\n\
                 hint: deploy it as well: `xp deploy {name} {}`",
            joined(&missing),
            names(wanted.iter().chain(missing.iter().copied())),
        )));
    }
    let kept = last.set.services.iter();
    let kept = kept.filter(|(name, _)| others.contains(name));
    Ok(Lock::new(
        kept.map(|(name, locked)| (name.clone(), locked.clone()))
            .collect(),
    ))
}

/// Joins service names with commas.
pub(super) fn joined(services: &[&ServiceName]) -> String {
    let names: Vec<&str> = services.iter().map(|it| it.as_str()).collect();
    names.join(", ")
}

/// Joins service names for a command line.
fn names<'n>(services: impl Iterator<Item = &'n ServiceName>) -> String {
    let names: Vec<&str> = services.map(ServiceName::as_str).collect();
    names.join(" ")
}
