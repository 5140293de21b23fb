//! Which services a deploy is about: those that were asked for, and those that stay as they are.

use std::collections::BTreeSet;

use super::Task;
use super::files::Files;
use crate::command::commits;
use crate::deploy::{Named, Record, Rendered, State, UnnamedServices};
use crate::error::Failure;
use crate::event::Event;
use crate::lock::Lock;
use crate::manifest::ServiceName;

impl Task<'_> {
    /// Returns the services that are asked for, of those that the overlay names.
    pub(super) fn wanted(
        &self,
        files: &Files,
        named: &Named,
        rendered: &Rendered,
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
        let selected = commits::select(self.session, &self.args.selection)?;
        let unregistered = named.services.keys().find(|name| {
            let repository = self.names.repository(name);
            repository.is_some_and(|repository| repository.registry().is_none())
        });
        if let Some(name) = unregistered {
            return Err(Failure::usage(format!(
                "{name} cannot be deployed: its image is in no registry that a cluster could pull it from\n\
                 hint: name one in the manifest: `registry: harbour.example.com/x`"
            )));
        }
        if !self.args.selection.patterns().is_empty() {
            check(selected.clone(), false)?;
            return Ok(selected);
        }
        if named.services.is_empty() {
            check(selected, false)?;
            return Ok(BTreeSet::new());
        }
        let left: Vec<&str> = selected
            .iter()
            .filter(|name| !named.services.contains_key(*name))
            .map(ServiceName::as_str)
            .collect();
        if !left.is_empty() && !self.args.render {
            self.session.events.emit(Event::Note(format!(
                "{} names no image of {}: left out",
                files.shown,
                left.join(", ")
            )));
        }
        Ok(named.services.keys().cloned().collect())
    }

    /// Returns what stays as it is: a part of the platform is deployed beside it.
    pub(super) fn kept(
        &self,
        record: &Record,
        wanted: &BTreeSet<ServiceName>,
        named: &Named,
    ) -> Result<Lock, Failure> {
        let others = named.services.keys().filter(|name| !wanted.contains(*name));
        let others: Vec<&ServiceName> = others.collect();
        if others.is_empty() {
            return Ok(Lock::default());
        }
        let name = &self.environment.name;
        let Some(last) = record.deploys.first() else {
            let where_from = match self.args.render || self.args.dry_run {
                true => {
                    " here: what reaches no cluster takes the copy that the last deploy from this folder left"
                }
                false => " yet",
            };
            return Err(Failure::usage(format!(
                "{name} has no record{where_from}, so it is not known what {} shall stay at\n\
                 hint: `xp deploy {name}` deploys all, and `--lock FILE` all of a lock",
                joined(&others),
            )));
        };
        if last.state != State::Deployed {
            return Err(Failure::usage(format!(
                "deploy {} of {name} is {}, so it is not known what {} run\n\
                 hint: `xp deploy {name}` deploys all, `xp deploy {name} --rollback` goes back",
                last.number,
                last.state,
                joined(&others),
            )));
        }
        if self.args.render || self.args.dry_run {
            self.session.events.emit(Event::Warning(format!(
                "{} stays at what the copy of the record here says, which is of deploy {} of {}: the cluster was not asked for a later one",
                joined(&others),
                last.number,
                last.when()
            )));
        }
        let has = |name: &&&ServiceName| !last.set.services.contains_key(**name);
        let missing: Vec<&ServiceName> = others.iter().filter(has).copied().collect();
        if !missing.is_empty() {
            return Err(Failure::usage(format!(
                "the record of {name} has nothing of {}, which the overlay names\n\
                 hint: deploy it too: `xp deploy {name} {}`",
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
}

/// Returns services with commas.
pub(super) fn joined(services: &[&ServiceName]) -> String {
    let names: Vec<&str> = services.iter().map(|it| it.as_str()).collect();
    names.join(", ")
}

/// Returns services as a command takes them.
fn names<'n>(services: impl Iterator<Item = &'n ServiceName>) -> String {
    let names: Vec<&str> = services.map(ServiceName::as_str).collect();
    names.join(" ")
}
