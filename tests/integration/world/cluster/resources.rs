//! The kinds of objects that the server knows.

/// A kind, and its name in paths.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    /// Its name in paths; unique across all groups.
    pub plural: &'static str,
    pub kind: &'static str,
    pub short_names: &'static [&'static str],
    pub namespaced: bool,
}

impl Resource {
    /// Finds a resource by its name in paths.
    pub fn by_plural(plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.plural == plural)
    }

    /// Returns `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Returns its name with the group, as in messages: `deployments.apps`.
    pub fn qualified(&self) -> String {
        qualify(self.plural, self.group)
    }

    /// Returns its kind with the group: `Deployment.apps`.
    pub fn qualified_kind(&self) -> String {
        qualify(self.kind, self.group)
    }

    /// Returns whether it has rollouts.
    pub fn is_workload(&self) -> bool {
        matches!(
            self.plural,
            "deployments" | "statefulsets" | "daemonsets" | "jobs"
        )
    }
}

fn qualify(name: &str, group: &str) -> String {
    match group {
        "" => name.to_owned(),
        group => format!("{name}.{group}"),
    }
}

const fn core(
    plural: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
) -> Resource {
    grouped("", plural, kind, short_names)
}

const fn grouped(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
) -> Resource {
    Resource {
        group,
        version: "v1",
        plural,
        kind,
        short_names,
        namespaced: true,
    }
}

/// All resources, by group.
pub const RESOURCES: &[Resource] = &[
    Resource {
        namespaced: false,
        ..core("namespaces", "Namespace", &["ns"])
    },
    core("configmaps", "ConfigMap", &["cm"]),
    core("secrets", "Secret", &[]),
    core("services", "Service", &["svc"]),
    core("serviceaccounts", "ServiceAccount", &["sa"]),
    core("persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"]),
    core("pods", "Pod", &["po"]),
    core("events", "Event", &["ev"]),
    core("resourcequotas", "ResourceQuota", &["quota"]),
    grouped("apps", "deployments", "Deployment", &["deploy"]),
    grouped("apps", "statefulsets", "StatefulSet", &["sts"]),
    grouped("apps", "daemonsets", "DaemonSet", &["ds"]),
    grouped("apps", "replicasets", "ReplicaSet", &["rs"]),
    grouped("apps", "controllerrevisions", "ControllerRevision", &[]),
    grouped("batch", "jobs", "Job", &[]),
    grouped("batch", "cronjobs", "CronJob", &["cj"]),
    grouped("networking.k8s.io", "ingresses", "Ingress", &["ing"]),
    grouped(
        "networking.k8s.io",
        "networkpolicies",
        "NetworkPolicy",
        &["netpol"],
    ),
    grouped(
        "policy",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        &["pdb"],
    ),
    grouped("coordination.k8s.io", "leases", "Lease", &[]),
    grouped("rbac.authorization.k8s.io", "roles", "Role", &[]),
    grouped(
        "rbac.authorization.k8s.io",
        "rolebindings",
        "RoleBinding",
        &[],
    ),
];

/// Returns the groups other than core, without duplicates.
pub fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = RESOURCES.iter().map(|resource| resource.group).collect();
    groups.dedup();
    groups.retain(|group| !group.is_empty());
    groups
}
