//! Permissions, requests that fail on demand, and kubeconfigs.

use std::time::Duration;

use serde_json::{Value, json};

use super::controller::Outcome;
use super::resources::Resource;
use super::status::Status;

/// The user of a kubeconfig context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `deployer`, with full access.
    Full,
    /// `viewer`, with read-only access.
    ReadOnly,
    /// `restricted`, with full access except for writing Deployments.
    NoDeployments,
    /// A token that the server does not know.
    Stranger,
    /// `deployer`, at an address on which no server listens.
    Nowhere,
}

impl Access {
    const KNOWN: [Self; 3] = [Self::Full, Self::ReadOnly, Self::NoDeployments];

    fn user(self) -> &'static str {
        match self {
            Self::Full | Self::Nowhere => "deployer",
            Self::ReadOnly => "viewer",
            Self::NoDeployments => "restricted",
            Self::Stranger => "stranger",
        }
    }

    fn token(self) -> String {
        format!("token-of-{}", self.user())
    }

    /// Returns the user of the token in an `Authorization` header.
    pub fn of(header: &str) -> Option<Self> {
        let token = header.strip_prefix("Bearer ")?;
        Self::KNOWN
            .into_iter()
            .find(|access| access.token() == token)
    }

    /// Returns the name of the user.
    pub fn name(self) -> &'static str {
        self.user()
    }

    /// Returns an error if the user lacks permission.
    pub fn check(
        self,
        verb: &str,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        let reads = matches!(verb, "get" | "list" | "watch");
        let may = match self {
            Self::Full => true,
            Self::ReadOnly => reads,
            _ => reads || resource.plural != "deployments",
        };
        if may {
            return Ok(());
        }
        let place = match namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let because = format!(
            "User {:?} cannot {verb} resource {:?} in API group {:?} {place}",
            self.user(),
            resource.plural,
            resource.group
        );
        Err(Status::forbidden(resource, name, &because))
    }
}

/// How a request fails.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// 403 with this reason, like an admission webhook or a quota.
    Forbidden(String),
    /// 500 with this message.
    InternalError(String),
    /// 503: the server is overloaded.
    Unavailable,
    /// The connection is reset.
    Reset,
    /// The regular response is delayed.
    Late(Duration),
}

/// The behavior of one namespace.
#[derive(Default)]
pub struct Rules {
    /// Requests that fail: method, resource, and how.
    pub refusals: Vec<(String, String, Refusal)>,
    /// How long a rollout takes.
    pub rollout_time: Duration,
    /// Image substrings, and the outcome of rollouts that use them.
    pub outcomes: Vec<(String, Outcome)>,
}

impl Rules {
    /// Returns how a request fails; `None` if it does not.
    pub fn refusal(&self, method: &str, resource: &str) -> Option<Refusal> {
        let is_meant = |(of, on, _): &&(String, String, _)| of == method && on == resource;
        self.refusals
            .iter()
            .find(is_meant)
            .map(|(_, _, refusal)| refusal.clone())
    }
}

/// Returns a kubeconfig; the first context is the current one.
pub fn kubeconfig(
    host: &str,
    nowhere: &str,
    authority: &str,
    contexts: &[(&str, Access)],
) -> Value {
    let cluster = |access: Access| {
        if access == Access::Nowhere {
            "nowhere"
        } else {
            "here"
        }
    };
    let entry = |name: &str, host: &str| {
        json!({
            "name": name,
            "cluster": { "server": format!("https://{host}"), "certificate-authority-data": authority },
        })
    };
    let accesses = [
        Access::Full,
        Access::ReadOnly,
        Access::NoDeployments,
        Access::Stranger,
    ];
    let users = accesses
        .map(|access| json!({ "name": access.user(), "user": { "token": access.token() } }));
    let contexts: Vec<_> = contexts
        .iter()
        .map(|(name, access)| {
            json!({ "name": name, "context": { "cluster": cluster(*access), "user": access.user() } })
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Config",
        "current-context": contexts.first().map(|context| context["name"].clone()),
        "clusters": [entry("here", host), entry("nowhere", nowhere)],
        "users": users,
        "contexts": contexts,
    })
}
