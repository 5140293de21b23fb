//! Docker's contexts, which xp does not use, but whoever uses them expects it to.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::doctor::Context;

/// Returns the context in use, where it is not the default one; `named` is `DOCKER_CONTEXT`.
pub(super) fn current(folder: Option<&Path>, named: Option<&str>) -> Option<Context> {
    let folder = folder?;
    let configured = || {
        let configuration = json(&folder.join("config.json"))?;
        Some(configuration.get("currentContext")?.as_str()?.to_owned())
    };
    let name = named.map(str::to_owned).or_else(configured)?;
    if matches!(name.as_str(), "" | "default") {
        return None;
    }
    // Docker names the folder of a context by the digest of its name.
    let id: String = Sha256::digest(&name)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let address = json(&folder.join("contexts/meta").join(id).join("meta.json")).and_then(|meta| {
        let host = meta
            .get("Endpoints")?
            .get("docker")?
            .get("Host")?
            .as_str()?;
        (!host.is_empty()).then(|| host.to_owned())
    });
    Some(Context { name, address })
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
