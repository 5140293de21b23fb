//! The `fleet` section of a manifest: clusters on which units are built.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::name::EnvironmentName;
use crate::base::error::{Diagnostic, Exit};
use crate::base::suggest;
use crate::model::image::ImageReference;

/// The default number of concurrent Jobs.
pub const DEFAULT_FLEET_JOBS: u16 = 20;

/// How long a pod may wait until it starts, by default.
pub const DEFAULT_FLEET_WAIT: Duration = Duration::from_secs(60 * 60);

/// The fleets by name.
pub type Fleets = BTreeMap<EnvironmentName, Fleet>;

/// A namespace of a cluster on which units are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    pub name: EnvironmentName,
    /// The kubeconfig context; no other is ever used.
    pub context: String,
    pub namespace: String,
    /// xp's own image.
    pub image: ImageReference,
    /// The file of the pod template, relative to the manifest's folder.
    pub template: Option<PathBuf>,
    /// The number of concurrent Jobs.
    pub jobs: u16,
    /// How long a pod may wait until it starts.
    pub wait: Duration,
}

/// A fleet that is not in the manifest.
#[derive(Debug, thiserror::Error)]
#[error("{}", message(.name, *.has_fleets))]
pub struct UnknownFleet {
    name: String,
    has_fleets: bool,
    hint: Option<String>,
}

fn message(name: &str, has_fleets: bool) -> String {
    if has_fleets {
        format!("unknown fleet `{name}`")
    } else {
        format!("no fleet `{name}`: the manifest has no `fleet` section")
    }
}

impl Diagnostic for UnknownFleet {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        let example = || {
            "add one: `fleet: {ci: {context: …, namespace: …, image: …}}`; docs/fleet.md describes the setup of the cluster"
                .to_owned()
        };
        vec![self.hint.clone().unwrap_or_else(example)]
    }
}

/// Returns a fleet by its name.
///
/// # Errors
///
/// The fleet does not exist.
pub fn fleet<'f>(fleets: &'f Fleets, name: &str) -> Result<&'f Fleet, UnknownFleet> {
    let found = fleets.values().find(|it| it.name.as_str() == name);
    found.ok_or_else(|| {
        let names = fleets.keys().map(EnvironmentName::as_str);
        UnknownFleet {
            name: name.to_owned(),
            has_fleets: !fleets.is_empty(),
            hint: suggest::hint(name, "known fleets", names),
        }
    })
}
