//! Who may do what, what is refused on demand, and the kubeconfig of a client.

use std::time::Duration;

use serde_json::{Value, json};

use super::controller::Outcome;
use super::resources::Resource;
use super::status::Status;

/// Whom a kubeconfig's context logs in as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `deployer`, who may do everything.
    Full,
    /// `viewer`, who may read.
    ReadOnly,
    /// `restricted`, who may do everything but write Deployments.
    NoDeployments,
    /// A token that the server does not know.
    Stranger,
    /// `deployer`, at an address where no server listens.
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

    /// Returns whose token an `Authorization` header has.
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

    /// Refuses what the user may not do.
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

/// What becomes of a request that a test wants to fail.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// 403, as an admission webhook or a quota would, with this reason.
    Forbidden(String),
    /// 500 with this message.
    InternalError(String),
    /// 503: the server has no time.
    Unavailable,
    /// The connection is reset.
    Reset,
    /// The answer comes late, as it is.
    Late(Duration),
}

/// What holds in one namespace.
#[derive(Default)]
pub struct Rules {
    /// A method, a resource, and what becomes of such requests.
    pub refusals: Vec<(String, String, Refusal)>,
    /// How long a rollout takes.
    pub rollout_time: Duration,
    /// Parts of images, and what becomes of rollouts with them.
    pub outcomes: Vec<(String, Outcome)>,
}

impl Rules {
    /// Returns what becomes of a request, where it is refused.
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
