//! The status as JSON.

use serde_json::{Value, json};

use super::{ImageStatus, ServiceStatus, Status, WorkingCopyStatus};

/// The version of the format. Not incremented when keys are added.
const VERSION: u64 = 1;

impl Status {
    /// Returns the status as a JSON document with a trailing newline.
    pub fn json(&self) -> String {
        let services: Vec<Value> = self.services.iter().map(service).collect();
        let document = json!({
            "version": VERSION,
            "services": services,
            "problems": self.problems,
        });
        format!("{document:#}\n")
    }
}

fn service(one: &ServiceStatus) -> Value {
    let source = one.source.as_ref();
    json!({
        "service": one.name.as_str(),
        "reference": source.and_then(|source| source.short_name()),
        "origin": source.map(|source| source.origin.as_str()),
        "commit": source.map(|source| source.commit),
        "image": one.image.as_ref().map(ToString::to_string),
        "engine": kebab_case(one.engine),
        "registry": kebab_case(one.registry),
        "movedBases": one.moved_bases().map(|base| base.image.familiar_name()).collect::<Vec<_>>(),
        "workingCopy": working_copy(one),
    })
}

fn kebab_case(status: ImageStatus) -> String {
    status.as_str().replace(' ', "-")
}

fn working_copy(one: &ServiceStatus) -> Value {
    let dir = one.dir.display().to_string();
    let checkout = match &one.working_copy {
        WorkingCopyStatus::Missing => return json!({ "dir": dir, "state": "missing" }),
        WorkingCopyStatus::Foreign => return json!({ "dir": dir, "state": "foreign" }),
        WorkingCopyStatus::Unmanaged => return json!({ "dir": dir, "state": "unmanaged" }),
        WorkingCopyStatus::Unreadable => return json!({ "dir": dir, "state": "unknown" }),
        WorkingCopyStatus::Present(checkout) => checkout,
    };
    json!({
        "dir": dir,
        "state": "present",
        "branch": checkout.branch,
        "commit": checkout.commit,
        "ahead": checkout.ahead_and_behind.map(|counts| counts.0),
        "behind": checkout.ahead_and_behind.map(|counts| counts.1),
        "fetched": checkout.is_fetched,
        "modified": checkout.modified,
        "untracked": checkout.untracked,
        "underWay": checkout.operation,
    })
}
