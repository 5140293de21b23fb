//! Images that cannot be locked.

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
}

impl Unlockable {
    /// Returns why an image cannot be locked, by what was found of it in its registry.
    pub fn of(sighting: &Sighting) -> Option<Self> {
        match sighting {
            Sighting::Absent => Some(Self::Missing),
            Sighting::Found(Standing::Stale(changes)) => Some(Self::Stale(changes.clone())),
            // What could not be told was an error before.
            _ => None,
        }
    }
}

/// The images that are to be built before there can be a lock.
#[derive(Debug, thiserror::Error)]
pub struct Unlocked(Vec<(ServiceName, Unlockable)>);

impl Unlocked {
    /// Makes the error of these services.
    pub fn new(services: Vec<(ServiceName, Unlockable)>) -> Self {
        Self(services)
    }
}

impl fmt::Display for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = match self.0.len() {
            1 => "an image is".to_owned(),
            count => format!("{count} images are"),
        };
        write!(f, "{images} not built yet, so nothing is locked")?;
        for (service, problem) in &self.0 {
            match problem {
                Unlockable::Missing => {
                    write!(f, "\n  {service}: the registry has none of its commit")?
                }
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
        let only_tests = self.0.iter().all(|(_, problem)| match problem {
            Unlockable::Missing => false,
            Unlockable::Stale(changes) => changes
                .iter()
                .all(|change| change.name() == crate::plan::TESTS),
        });
        let mut hints = vec!["`xp build` builds and pushes them".to_owned()];
        hints.extend(
            only_tests.then(|| "`--no-test` locks what was built without tests".to_owned()),
        );
        hints
    }
}
