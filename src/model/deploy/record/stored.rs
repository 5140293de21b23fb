//! The JSON format of the record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{DeployState, Deployment};
use crate::model::lock;
use crate::model::lock::{Lock, LockedService};
use crate::model::manifest::ServiceName;
use crate::model::source::RefName;

/// The record's JSON document.
#[derive(Deserialize)]
pub(super) struct StoredRecord {
    pub(super) version: u64,
    #[serde(default)]
    pub(super) deploys: Vec<StoredDeploy>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredDeploy {
    number: u64,
    id: String,
    state: DeployState,
    started: String,
    until: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<String>,
    #[serde(
        default,
        rename = "rollbackTo",
        skip_serializing_if = "Option::is_none"
    )]
    rollback_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unused: Vec<String>,
    set: Value,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ids: BTreeMap<String, String>,
}

impl StoredDeploy {
    pub(super) fn of(deploy: &Deployment) -> Self {
        let text = |time: &OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        Self {
            number: deploy.number,
            id: deploy.id.clone(),
            state: deploy.state,
            started: text(&deploy.started),
            until: text(&deploy.until),
            ended: deploy.ended.as_ref().map(text),
            by: deploy.by.clone(),
            manifest: deploy.manifest.clone(),
            files: deploy.files.clone(),
            asked: deploy.services.clone(),
            rollback_to: deploy.rollback_to,
            unused: deploy.unused.iter().map(ToString::to_string).collect(),
            set: set(&deploy.set),
            ids: deploy
                .ids
                .iter()
                .map(|(name, id)| (name.to_string(), id.clone()))
                .collect(),
        }
    }

    pub(super) fn deployment(self) -> Result<Deployment, String> {
        let time = |text: &str| {
            OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("`{text}`: {error}"))
        };
        // JSON is valid YAML, and the keys are the same as in a lock.
        let set = lock::parse_deployed(&self.set.to_string(), "the record")
            .map_err(|error| error.to_string())?;
        Ok(Deployment {
            number: self.number,
            id: self.id,
            state: self.state,
            started: time(&self.started)?,
            until: time(&self.until)?,
            ended: self.ended.as_deref().map(time).transpose()?,
            by: self.by,
            manifest: self.manifest,
            files: self.files,
            services: self.asked,
            rollback_to: self.rollback_to,
            unused: self
                .unused
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            set,
            ids: self
                .ids
                .into_iter()
                .filter_map(|(name, id)| Some((name.parse().ok()?, id)))
                .collect(),
        })
    }
}

/// Returns a lock as JSON, with the keys of the lock file.
fn set(set: &Lock) -> Value {
    let services: BTreeMap<&ServiceName, Value> = set
        .services
        .iter()
        .map(|(name, locked)| (name, service(locked)))
        .collect();
    json!({"version": 1, "services": services})
}

fn service(locked: &LockedService) -> Value {
    let parts = [
        (locked.remote.key(), Some(locked.remote.to_string())),
        ("reference", Some(locked.reference.to_string())),
        ("name", locked.name.as_ref().map(RefName::to_string)),
        ("path", locked.path.clone()),
        ("commit", Some(locked.commit.to_string())),
        ("image", Some(locked.image.to_string())),
        ("digest", locked.digest.as_ref().map(ToString::to_string)),
        ("recipe", Some(locked.recipe.as_str().to_owned())),
        ("builder", locked.builder.as_ref().map(ToString::to_string)),
    ];
    let parts = parts.into_iter();
    let mut parts: Map<String, Value> = parts
        .filter_map(|(key, value)| Some((key.to_owned(), json!(value?))))
        .collect();
    if !locked.bases.is_empty() {
        let bases = locked.bases.iter();
        let bases = bases.map(|(base, digest)| (base.to_string(), json!(digest.as_str())));
        parts.insert("bases".to_owned(), Value::Object(bases.collect()));
    }
    Value::Object(parts)
}
