//! The clusters that environments are deployed to.

use super::{Finding, Section, Severity, Subject, Trouble, list, many};

/// What is known of the clusters, and of what talks to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Where `kubectl` is.
    pub kubectl: KubectlWhere,
    /// The kubeconfig, as far as it was read: what keeps it from being read concerns all environments.
    pub kubeconfig: Result<(), Trouble>,
    /// The environments of the manifest.
    pub environments: Vec<EnvironmentFacts>,
}

/// Where `kubectl` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubectlWhere {
    /// On this machine.
    Here,
    /// In a builder that the platform has, such as `builders/k8s`.
    Builder(String),
    /// Nowhere; the Dockerfile that would make such a builder.
    Nowhere(String),
}

/// What is known of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentFacts {
    /// Its name.
    pub name: String,
    /// The context of the kubeconfig.
    pub context: String,
    /// The namespace.
    pub namespace: String,
    /// What came of asking.
    pub answer: EnvironmentAnswer,
}

/// What came of asking an environment's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentAnswer {
    /// It was not asked.
    NotAsked,
    /// The kubeconfig has no such context; which it may be instead.
    NoContext(Option<String>),
    /// Whether there is a record of deploys, or why that could not be read.
    Asked(Result<bool, Trouble>),
}

/// Tells what is wrong with the clusters. Nothing is an error: images are built without any.
pub fn clusters(facts: &ClusterFacts) -> Section {
    let mut findings = vec![match &facts.kubectl {
        KubectlWhere::Here => Finding::ok("kubectl is on PATH"),
        KubectlWhere::Builder(name) => Finding::note(format!(
            "kubectl is not on PATH; `xp deploy` takes that of {name}, and no cluster was asked"
        )),
        KubectlWhere::Nowhere(dockerfile) => Finding::warning(
            "there is no `kubectl` on this machine, and no builder that has it: nothing can be deployed",
        )
        .fix(format!(
            "install kubectl, or write {dockerfile}: an image with kubectl and kustomize"
        )),
    }];
    if let Err(trouble) = &facts.kubeconfig {
        findings.push(softened(trouble));
    } else {
        findings.extend(facts.environments.iter().filter_map(environment));
    }
    let asked = |it: &&EnvironmentFacts| matches!(it.answer, EnvironmentAnswer::Asked(Ok(_)));
    let answered = facts.environments.iter().filter(asked).count();
    let reached = match answered {
        0 => String::new(),
        count => format!("{count} reached"),
    };
    Section {
        subject: Subject::Clusters,
        summary: list([many(facts.environments.len(), "environment"), reached]),
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
    let finding = match &facts.answer {
        EnvironmentAnswer::NotAsked => return None,
        EnvironmentAnswer::NoContext(near) => {
            let finding = Finding::warning(format!(
                "the kubeconfig has no context `{context}`, which {name} is deployed by"
            ));
            let near = near.clone();
            finding.fix(near.unwrap_or_else(|| "KUBECONFIG names another kubeconfig".to_owned()))
        }
        EnvironmentAnswer::Asked(Ok(has_record)) => Finding::ok(format!(
            "{name}: namespace {namespace} of {context} answers{}",
            if *has_record {
                ""
            } else {
                ", and nothing was deployed there yet"
            }
        )),
        EnvironmentAnswer::Asked(Err(trouble)) => {
            let finding = softened(trouble);
            let what = format!(
                "{name}: namespace {namespace} of {context}: {}",
                finding.what
            );
            Finding { what, ..finding }
        }
    };
    Some(finding)
}

/// Returns a trouble as a warning.
fn softened(trouble: &Trouble) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..Finding::of(trouble)
    }
}
