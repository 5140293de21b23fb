//! Changes as JSON.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use super::LockedService;
use super::changes::{CommitHistory, LockChanges, ServiceChange};
use super::text::local_time;
use crate::base::escape::plain;
use crate::model::source::{CommitSummary, RefName};

/// The version of the format. Incremented if a key is removed or changes its meaning, not if one is added.
const VERSION: u64 = 1;

impl LockChanges {
    /// Returns the changes as JSON.
    pub fn json(&self) -> Value {
        let service = |change: &ServiceChange| (change.service.to_string(), service(change));
        json!({
            "version": VERSION,
            "from": self.from,
            "to": self.to,
            "services": self.services.iter().map(service).collect::<Map<_, _>>(),
            "unchanged": self.unchanged,
        })
    }
}

fn service(change: &ServiceChange) -> Value {
    let changed: Vec<&str> = match (&change.from, &change.to) {
        (Some(from), Some(to)) => from
            .changed_fields(to)
            .iter()
            .map(|it| it.as_str())
            .collect(),
        _ => Vec::new(),
    };
    let commits = |commits: &[CommitSummary]| commits.iter().map(commit).collect::<Value>();
    let (added, dropped, problem) = match &change.history {
        CommitHistory::None => (commits(&[]), commits(&[]), None),
        CommitHistory::Known { added, dropped } => (commits(added), commits(dropped), None),
        CommitHistory::Unknown(why) | CommitHistory::Unlisted(why) => {
            (Value::Null, Value::Null, Some(plain(why)))
        }
    };
    json!({
        "change": change.word(),
        "changed": changed,
        "renamed": change.renamed.as_ref().map(ToString::to_string),
        "needed": change.needed,
        "from": change.from.as_ref().map(locked),
        "to": change.to.as_ref().map(locked),
        "commits": added,
        "dropped": dropped,
        "problem": problem,
    })
}

fn locked(locked: &LockedService) -> Value {
    let bases = locked.bases.iter();
    let bases = bases.map(|(base, digest)| (base.to_string(), json!(digest.as_str())));
    json!({
        "remote": locked.remote.to_string(),
        "reference": locked.reference.to_string(),
        "name": locked.name.as_ref().map(RefName::as_str),
        "path": locked.path,
        "commit": locked.commit,
        "image": locked.image.to_string(),
        "digest": locked.digest.as_ref().map(ToString::to_string),
        "recipe": locked.recipe.as_str(),
        "builder": locked.builder.as_ref().map(ToString::to_string),
        "bases": bases.collect::<Map<_, _>>(),
    })
}

fn commit(commit: &CommitSummary) -> Value {
    json!({
        "commit": commit.commit,
        "author": plain(&commit.author),
        "date": local_time(commit).and_then(|time| time.format(&Rfc3339).ok()),
        "subject": plain(&commit.subject),
        "merge": commit.is_merge,
    })
}
