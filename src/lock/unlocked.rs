//! Images that cannot be locked.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::{Diagnostic, Exit};
use crate::manifest::ServiceName;
use crate::plan::Sighting;
use crate::recipe::{Change, Standing};

/// Why an image cannot be locked: a lock that cannot be deployed is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlockable {
    /// The registry does not have it.
    Missing,
    /// The registry's was built from other inputs than today's.
    Stale(Vec<Change>),
    /// The registry's was built from a working copy, and may hold what the commit does not.
    OfWorkingCopy,
}

impl Unlockable {
    /// Returns why an image cannot be locked, by what was found of it in its registry.
    pub fn of(sighting: &Sighting) -> Option<Self> {
        match sighting {
            Sighting::Absent => Some(Self::Missing),
            Sighting::Found(Standing::Stale(changes)) => Some(Self::Stale(changes.clone())),
            Sighting::OfWorkingCopy => Some(Self::OfWorkingCopy),
            Sighting::NotAsked | Sighting::Found(_) => None,
            // What could not be told was an error before.
            Sighting::Unknown(_) | Sighting::Damaged(_) => None,
        }
    }
}

/// The images that are to be built before there can be a lock.
#[derive(Debug, thiserror::Error)]
pub struct Unlocked {
    services: Vec<(ServiceName, Unlockable)>,
    kept: BTreeSet<ServiceName>,
}

impl Unlocked {
    /// Makes the error of these services; none where there are none. `kept` are the services that are
    /// taken as the lock has them.
    ///
    /// # Errors
    ///
    /// Where there are services.
    pub fn check(
        services: Vec<(ServiceName, Unlockable)>,
        kept: BTreeSet<ServiceName>,
    ) -> Result<(), Self> {
        match services.is_empty() {
            true => Ok(()),
            false => Err(Self { services, kept }),
        }
    }

    /// Returns the services whose images were built with another version of a kept service than the
    /// lock's, and those kept services: no build helps, as it takes what is there today.
    fn apart(&self) -> BTreeSet<&ServiceName> {
        let mut apart = BTreeSet::new();
        for (service, problem) in &self.services {
            let Unlockable::Stale(changes) = problem else {
                continue;
            };
            let needs = changes
                .iter()
                .filter_map(|change| change.name().strip_prefix("needs."));
            let kept = needs.filter_map(|need| self.kept.iter().find(|kept| kept.as_str() == need));
            for need in kept {
                apart.extend([service, need]);
            }
        }
        apart
    }
}

impl fmt::Display for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = match self.services.len() {
            1 => "an image is".to_owned(),
            count => format!("{count} images are"),
        };
        write!(f, "{images} not built yet, so nothing is locked")?;
        for (service, problem) in &self.services {
            match problem {
                Unlockable::Missing => {
                    write!(f, "\n  {service}: the registry has none of its commit")?
                }
                Unlockable::OfWorkingCopy => write!(
                    f,
                    "\n  {service}: the registry's was built from a working copy by --local"
                )?,
                Unlockable::Stale(changes) => {
                    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                    let changes = changes.join(", ");
                    write!(
                        f,
                        "\n  {service}: the registry's was built before {changes}"
                    )?;
                }
            }
        }
        Ok(())
    }
}

impl Diagnostic for Unlocked {
    fn exit(&self) -> Exit {
        Exit::ServiceFailed
    }

    fn hints(&self) -> Vec<String> {
        let only_tests = self.services.iter().all(|(_, problem)| match problem {
            Unlockable::Missing | Unlockable::OfWorkingCopy => false,
            Unlockable::Stale(changes) => changes
                .iter()
                .all(|change| change.name() == crate::plan::TESTS),
        });
        let mut hints = vec!["`xp build` builds and pushes them".to_owned()];
        let apart: Vec<&str> = self.apart().into_iter().map(ServiceName::as_str).collect();
        hints.extend((!apart.is_empty()).then(|| {
            format!(
                "a service that is needed and not selected stays as the lock has it: \
                 `xp lock {}` locks together what was built together",
                apart.join(" ")
            )
        }));
        hints.extend(
            only_tests.then(|| "`--no-test` locks what was built without tests".to_owned()),
        );
        hints
    }
}
