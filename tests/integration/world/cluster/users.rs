//! Users, and what they may do.

use serde_json::Value;

use super::access::Access;
use super::resources::Resource;
use super::status::Status;
use super::store::State;

/// The user of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A user of a kubeconfig that the server writes.
    Known(Access),
    /// A service account, whose permissions are the Roles that are bound to it.
    Account { namespace: String, name: String },
}

/// An action that needs a permission.
#[derive(Clone, Debug)]
pub struct Action<'a> {
    pub verb: &'a str,
    /// Empty for the core group.
    pub group: &'a str,
    /// With the subresource: `pods/log`.
    pub resource: &'a str,
    /// Empty for the cluster scope.
    pub namespace: &'a str,
    pub name: &'a str,
}

impl User {
    /// Returns the user of the token in an `Authorization` header.
    pub fn of(header: &str) -> Option<Self> {
        if let Some(known) = Access::of(header) {
            return Some(Self::Known(known));
        }
        let account = header.strip_prefix("Bearer token-of-system:serviceaccount:")?;
        let (namespace, name) = account.split_once(':')?;
        Some(Self::Account {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Returns its name.
    pub fn name(&self) -> String {
        match self {
            Self::Known(access) => access.name().to_owned(),
            Self::Account { namespace, name } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
        }
    }

    /// Returns an error if the user lacks permission.
    pub fn check(
        &self,
        state: &State,
        resource: &Resource,
        action: &Action<'_>,
    ) -> Result<(), Status> {
        if self.may(state, action) {
            return Ok(());
        }
        let Action {
            verb,
            group,
            namespace,
            ..
        } = action;
        let place = match *namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let because = format!(
            "User {:?} cannot {verb} resource {:?} in API group {group:?} {place}",
            self.name(),
            action.resource,
        );
        Err(Status::forbidden(resource, action.name, &because))
    }

    /// Returns whether the user has the permission.
    pub fn may(&self, state: &State, action: &Action<'_>) -> bool {
        match self {
            Self::Known(access) => access.may(action.verb, action.resource),
            Self::Account { .. } => {
                let rules = self.rules(state, action.namespace);
                rules.iter().any(|rule| permits(rule, action))
            }
        }
    }

    /// Returns the rules of the Roles that are bound to the user in a namespace.
    pub fn rules(&self, state: &State, namespace: &str) -> Vec<Value> {
        let Self::Account {
            namespace: home,
            name,
        } = self
        else {
            return Vec::new();
        };
        let is_bound = |binding: &Value| {
            let subjects = binding["subjects"].as_array().into_iter().flatten();
            let mut subjects = subjects.filter(|subject| subject["kind"] == "ServiceAccount");
            subjects.any(|subject| {
                let of = subject["namespace"].as_str().unwrap_or(namespace);
                subject["name"] == name.as_str() && of == home
            })
        };
        let bindings = state.list("rolebindings", namespace).into_iter();
        let bound = bindings.filter(|(_, binding)| is_bound(binding));
        let roles = bound.filter_map(|(_, binding)| {
            let resource = Resource::by_plural("roles")?;
            let role = binding["roleRef"]["name"].as_str()?;
            state.get(&super::store::key(resource, namespace, role))
        });
        let rules = roles.flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default());
        rules.collect()
    }
}

fn permits(rule: &Value, action: &Action<'_>) -> bool {
    let contains = |list: &str, wanted: &str| {
        let mut items = rule[list].as_array().into_iter().flatten();
        items.any(|item| item == "*" || item == wanted)
    };
    // A list of names never permits to create, because the name is not known then.
    let names = rule["resourceNames"].as_array();
    let is_named =
        names.is_none_or(|names| names.is_empty() || names.iter().any(|name| name == action.name));
    contains("verbs", action.verb)
        && contains("apiGroups", action.group)
        && contains("resources", action.resource)
        && is_named
}
