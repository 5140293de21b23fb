//! The kinds of objects that a fleet uses, and permissions for them.

use serde_json::{Value, json};

/// The kinds of objects that a fleet uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Job,
    Pod,
    PodLog,
    Secret,
    Event,
}

impl Kind {
    /// Returns the API group, the resource and the subresource.
    pub(super) fn resource(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Job => ("batch", "jobs", ""),
            Self::Pod => ("", "pods", ""),
            Self::PodLog => ("", "pods", "log"),
            Self::Secret => ("", "secrets", ""),
            Self::Event => ("", "events", ""),
        }
    }

    /// Returns whether a rule allows something for all objects of the kind.
    pub(super) fn is_allowed_by(self, rule: &Value, verb: &str) -> bool {
        let (group, resource, subresource) = self.resource();
        let has = |key: &str, wanted: &[&str]| {
            let values = rule[key].as_array().into_iter().flatten();
            values
                .filter_map(Value::as_str)
                .any(|it| it == "*" || wanted.contains(&it))
        };
        let any_subresource = format!("*/{subresource}");
        let resources = [self.plural(), any_subresource.as_str()];
        let resources = if subresource.is_empty() {
            &[resource][..]
        } else {
            &resources[..]
        };
        let names = rule["resourceNames"].as_array();
        has("verbs", &[verb])
            && has("apiGroups", &[group])
            && has("resources", resources)
            && names.is_none_or(Vec::is_empty)
    }

    /// Returns the question whether the user may do something.
    pub(super) fn access_review(self, namespace: &str, verb: &str) -> Value {
        let (group, resource, subresource) = self.resource();
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": namespace,
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
            }},
        })
    }

    /// Returns the resource as in a Role.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Job => "jobs",
            Self::Pod => "pods",
            Self::PodLog => "pods/log",
            Self::Secret => "secrets",
            Self::Event => "events",
        }
    }

    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod | Self::PodLog => "pod",
            Self::Secret => "Secret",
            Self::Event => "event",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_allow_verbs_on_resources() {
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]});
        assert!(Kind::Pod.is_allowed_by(&rule, "get"));
        assert!(Kind::PodLog.is_allowed_by(&rule, "get"));
        assert!(!Kind::Pod.is_allowed_by(&rule, "list"));
        assert!(!Kind::Job.is_allowed_by(&rule, "get"));
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        assert!(Kind::Job.is_allowed_by(&all, "create"));
        let some = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]});
        assert!(!Kind::Secret.is_allowed_by(&some, "get"));
    }
}
