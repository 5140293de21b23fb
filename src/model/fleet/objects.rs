//! The objects of a unit in the cluster: its Job, and the Secret with its document.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::PodTemplate;
use crate::model::event::Unit;
use crate::model::image::ImageReference;
use crate::model::source::CommitId;

/// The label of all objects of xp, by which they are watched.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "xp");

/// The label with the service.
const SERVICE: &str = "x-platform.run/service";

/// The start of the annotations with the runs that use a Job.
pub(super) const BY: &str = "x-platform.run/by-";

/// How long a finished Job is kept, for its log and for other runs.
const KEPT: Duration = Duration::from_secs(600);

/// How long a unit without `timeout` may take.
const DEFAULT_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// The time for everything that `timeout` does not include: fetching, pulling, pushing, and clean-up.
const EXTRA: Duration = Duration::from_secs(60 * 60);

/// The Job of a unit.
#[derive(Debug)]
pub struct JobObject<'a> {
    pub name: &'a str,
    pub unit: &'a Unit,
    /// The image under its identity tag.
    pub image: &'a ImageReference,
    pub commit: Option<CommitId>,
    /// The run that creates it.
    pub run: &'a str,
    pub template: &'a PodTemplate,
    /// The image of xp.
    pub worker: &'a str,
    /// The keys of its Secret.
    pub keys: &'a [String],
    /// How long its pod may wait until it starts.
    pub wait: Duration,
    /// The timeout of the unit.
    pub timeout: Option<Duration>,
}

/// The Job of a probe.
#[derive(Debug)]
pub struct ProbeObject<'a> {
    pub name: &'a str,
    pub template: &'a PodTemplate,
    /// The image of xp.
    pub worker: &'a str,
    /// The keys of its Secret.
    pub keys: &'a [String],
    /// How long it may take at most.
    pub limit: Duration,
}

/// The Secret of a unit or probe.
#[derive(Debug)]
pub struct SecretObject<'a> {
    pub name: &'a str,
    /// `None` for a probe.
    pub unit: Option<&'a Unit>,
    /// The unique id of the Job, with which the Secret is deleted.
    pub job: &'a str,
    pub files: &'a BTreeMap<String, Vec<u8>>,
}

/// Returns the annotation of a Job that a run uses.
pub fn by_annotation(run: &str) -> String {
    format!("{BY}{run}")
}

impl JobObject<'_> {
    /// Returns the object.
    pub fn to_value(&self) -> Value {
        let labels = labels(Some(self.unit));
        let limit = self.timeout.map_or(DEFAULT_LIMIT, |it| it + EXTRA) + self.wait;
        let mut annotations = Map::from_iter([
            ("x-platform.run/unit".to_owned(), json!(self.unit)),
            ("x-platform.run/image".to_owned(), json!(self.image)),
            (
                "x-platform.run/version".to_owned(),
                json!(env!("CARGO_PKG_VERSION")),
            ),
        ]);
        if let Some(commit) = self.commit {
            annotations.insert("x-platform.run/commit".to_owned(), json!(commit));
        }
        let metadata = (&labels, &json!(annotations));
        let worker = self
            .template
            .of_job(self.worker, self.name, self.keys, metadata);
        annotations.insert(by_annotation(self.run), json!(""));
        let metadata = json!({"name": self.name, "labels": labels, "annotations": annotations});
        job(&metadata, limit, &worker)
    }
}

impl ProbeObject<'_> {
    /// Returns the object.
    pub fn to_value(&self) -> Value {
        let labels = labels(None);
        let metadata = (&labels, &json!({}));
        let worker = self
            .template
            .of_job(self.worker, self.name, self.keys, metadata);
        let metadata = json!({"name": self.name, "labels": labels});
        job(&metadata, self.limit, &worker)
    }
}

fn job(metadata: &Value, limit: Duration, template: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": limit.as_secs(),
            "ttlSecondsAfterFinished": KEPT.as_secs(),
            "template": template,
        },
    })
}

impl SecretObject<'_> {
    /// Returns the object.
    pub fn to_value(&self) -> Value {
        let data = self.files.iter();
        let data: Map<String, Value> = data
            .map(|(name, bytes)| (name.clone(), json!(STANDARD.encode(bytes))))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.name,
                "labels": labels(self.unit),
                "ownerReferences": [{
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": self.name,
                    "uid": self.job,
                }],
            },
            "type": "Opaque",
            "immutable": true,
            "data": data,
        })
    }
}

/// Returns the labels of all objects of a unit or probe.
fn labels(unit: Option<&Unit>) -> Value {
    let mut labels = json!({MANAGED_BY.0: MANAGED_BY.1});
    // The name of a service may end with characters that a label must not end with.
    if let Some(Unit::Service(service)) = unit
        && service
            .as_str()
            .ends_with(|c: char| c.is_ascii_alphanumeric())
    {
        labels[SERVICE] = json!(service);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_no_credentials_and_ends() {
        let unit = Unit::Service("zbackend".parse().unwrap());
        let image = "r.example.com/zbackend:1".parse().unwrap();
        let job = JobObject {
            name: "xp-zbackend-1",
            unit: &unit,
            image: &image,
            commit: None,
            run: "abc",
            template: &PodTemplate::default(),
            worker: "r.example.com/xp:1",
            keys: &["unit.json".to_owned()],
            wait: Duration::from_secs(60),
            timeout: Some(Duration::from_secs(30)),
        };
        let job = job.to_value();
        assert_eq!(job["metadata"]["labels"][SERVICE], "zbackend");
        assert_eq!(job["metadata"]["annotations"]["x-platform.run/by-abc"], "");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 3690);
        assert_eq!(job["spec"]["backoffLimit"], 0);
        let files = BTreeMap::from([("unit.json".to_owned(), b"{}".to_vec())]);
        let secret = SecretObject {
            name: "xp-zbackend-1",
            unit: Some(&unit),
            job: "uid",
            files: &files,
        };
        let secret = secret.to_value();
        assert_eq!(secret["data"]["unit.json"], "e30=");
        assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "uid");
    }

    #[test]
    fn labels_are_valid() {
        let unit = Unit::Service("a_".parse().unwrap());
        assert!(labels(Some(&unit)).get(SERVICE).is_none());
    }
}
