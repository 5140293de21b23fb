//! The users of kubeconfigs, and their permissions.

use serde_json::{Value, json};

/// The user of a kubeconfig context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `deployer`, with full access.
    Full,
    /// `viewer`, with read-only access.
    ReadOnly,
    /// `restricted`, with full access except for writing Deployments.
    NoDeployments,
    /// `planner`, with full access except for creating Jobs.
    NoJobs,
    /// A token that the server does not know.
    Stranger,
    /// `deployer`, at an address on which no server listens.
    Nowhere,
}

impl Access {
    const KNOWN: [Self; 4] = [
        Self::Full,
        Self::ReadOnly,
        Self::NoDeployments,
        Self::NoJobs,
    ];

    fn user(self) -> &'static str {
        match self {
            Self::Full | Self::Nowhere => "deployer",
            Self::ReadOnly => "viewer",
            Self::NoDeployments => "restricted",
            Self::NoJobs => "planner",
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

    /// Returns whether the user has a permission.
    pub fn may(self, verb: &str, resource: &str) -> bool {
        let reads = matches!(verb, "get" | "list" | "watch");
        match self {
            Self::Full | Self::Nowhere => true,
            Self::ReadOnly => reads,
            Self::NoDeployments => reads || resource != "deployments",
            Self::NoJobs => resource != "jobs" || verb != "create",
            Self::Stranger => false,
        }
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
        Access::NoJobs,
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

/// Returns a kubeconfig with one context, whose user is a service account of a namespace.
pub fn account_kubeconfig(
    host: &str,
    authority: &str,
    context: &str,
    namespace: &str,
    account: &str,
) -> Value {
    let token = format!("token-of-system:serviceaccount:{namespace}:{account}");
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": context,
        "clusters": [{
            "name": "here",
            "cluster": { "server": format!("https://{host}"), "certificate-authority-data": authority },
        }],
        "users": [{ "name": account, "user": { "token": token } }],
        "contexts": [{
            "name": context,
            "context": { "cluster": "here", "user": account, "namespace": namespace },
        }],
    })
}
