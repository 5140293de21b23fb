//! Checks of the Kubernetes clusters of the environments.

use super::{CheckFailure, Finding, Section, Severity, Subject, count_of, list};

/// Facts about the clusters and `kubectl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Where `kubectl` is.
    pub kubectl: KubectlLocation,
    /// Whether the kubeconfig could be read.
    pub kubeconfig: Result<(), CheckFailure>,
    /// The environments of the manifest.
    pub environments: Vec<EnvironmentFacts>,
}

/// Where `kubectl` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubectlLocation {
    /// On `PATH`.
    OnPath,
    /// In a builder of the platform, such as `builders/k8s`.
    Builder(String),
    /// Not found; the Dockerfile of a builder that would provide it.
    Missing(String),
}

/// Facts about an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentFacts {
    pub name: String,
    /// The kubeconfig context.
    pub context: String,
    pub namespace: String,
    /// The result of the check.
    pub check: EnvironmentCheck,
}

/// Result of querying an environment's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentCheck {
    /// It was not queried.
    NotQueried,
    /// The kubeconfig has no such context; a hint with similar ones.
    NoContext(Option<String>),
    /// Whether it has a deploy record, or why that could not be read.
    Queried(Result<bool, CheckFailure>),
}

/// Evaluates the clusters. No finding is an error: builds do not need a cluster.
pub fn clusters(facts: &ClusterFacts) -> Section {
    let mut findings = vec![match &facts.kubectl {
        KubectlLocation::OnPath => Finding::ok("kubectl is on PATH"),
        KubectlLocation::Builder(name) => Finding::note(format!(
            "kubectl is not on PATH; `xp deploy` runs it in {name}. No cluster was queried"
        )),
        KubectlLocation::Missing(dockerfile) => {
            Finding::warning("`kubectl` not found on PATH or in a builder: `xp deploy` cannot work")
                .fix(format!(
                    "install kubectl, or add {dockerfile} for an image with kubectl and kustomize"
                ))
        }
    }];
    if let Err(failure) = &facts.kubeconfig {
        findings.push(warning_of(failure));
    } else {
        findings.extend(facts.environments.iter().filter_map(environment));
    }
    let queried = |it: &&EnvironmentFacts| matches!(it.check, EnvironmentCheck::Queried(Ok(_)));
    let reachable = facts.environments.iter().filter(queried).count();
    let summary = match reachable {
        0 => String::new(),
        count => format!("{count} reachable"),
    };
    Section {
        subject: Subject::Clusters,
        summary: list([count_of(facts.environments.len(), "environment"), summary]),
        findings,
    }
}

fn environment(facts: &EnvironmentFacts) -> Option<Finding> {
    let EnvironmentFacts {
        name,
        context,
        namespace,
        ..
    } = facts;
    let finding = match &facts.check {
        EnvironmentCheck::NotQueried => return None,
        EnvironmentCheck::NoContext(near) => {
            let finding = Finding::warning(format!(
                "the kubeconfig has no context `{context}`, which environment {name} uses"
            ));
            let near = near.clone();
            finding
                .fix(near.unwrap_or_else(|| "set KUBECONFIG to use another kubeconfig".to_owned()))
        }
        EnvironmentCheck::Queried(Ok(has_record)) => Finding::ok(format!(
            "{name}: namespace {namespace} in {context} is reachable{}",
            if *has_record {
                ""
            } else {
                "; nothing deployed yet"
            }
        )),
        EnvironmentCheck::Queried(Err(failure)) => {
            let finding = warning_of(failure);
            let what = format!(
                "{name}: namespace {namespace} in {context}: {}",
                finding.what
            );
            Finding { what, ..finding }
        }
    };
    Some(finding)
}

/// Converts a failure to a warning.
fn warning_of(failure: &CheckFailure) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..Finding::of(failure)
    }
}
