//! Checks of the fleets: clusters on which units are built.

use super::{CheckFailure, Finding, Section, Severity, Subject, count_of, list};

/// Facts about the fleets and `kubectl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetsFacts {
    /// Whether `kubectl` is on `PATH`.
    pub has_kubectl: bool,
    /// Whether the kubeconfig could be read.
    pub kubeconfig: Result<(), CheckFailure>,
    /// The fleets of the manifest.
    pub fleets: Vec<FleetFacts>,
}

/// Facts about a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetFacts {
    pub name: String,
    /// The kubeconfig context.
    pub context: String,
    pub namespace: String,
    /// The image of xp.
    pub image: String,
    /// Whether its registry has it, or why that is unknown; `None` if it was not queried.
    pub has_image: Option<Result<bool, CheckFailure>>,
    /// Whether the pod template provides an engine, or why it cannot be used.
    pub template: Result<bool, String>,
    /// The result of the check.
    pub check: FleetCheck,
    /// Whether it must work: `--fleet` names it.
    pub is_required: bool,
    /// What was found in a pod; `None` if none was started.
    pub pod: Option<Result<PodFacts, CheckFailure>>,
}

/// What a worker found in a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    pub name: String,
    /// The node that it ran on.
    pub node: Option<String>,
    /// The version of xp in its image.
    pub xp: Option<String>,
    /// The version of xp that started it.
    pub own_xp: &'static str,
    pub findings: Vec<Finding>,
}

/// Result of querying a fleet's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetCheck {
    /// It was not queried.
    NotQueried,
    /// The kubeconfig has no such context; a hint with similar ones.
    NoContext(Option<String>),
    Queried(Result<FleetAccess, CheckFailure>),
}

/// What a cluster allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetAccess {
    /// The permissions that are missing, such as `create jobs`.
    pub missing: Vec<String>,
    /// The resources of quotas, such as `pods of quota builds`, with the amounts that are used and allowed.
    pub quotas: Vec<(String, String, String)>,
}

/// Evaluates the fleets. Without `--fleet`, no finding is an error: builds do not need one.
pub fn fleets(facts: &FleetsFacts) -> Section {
    let mut findings = Vec::new();
    let severity = severity(facts.fleets.iter().any(|it| it.is_required));
    if facts.has_kubectl {
        findings.push(Finding::ok("kubectl is on PATH"));
    } else {
        let text = "kubectl is not on PATH: `xp build --fleet` cannot work";
        findings.push(Finding::new(severity, text).fix("install kubectl"));
    }
    if let Err(failure) = &facts.kubeconfig {
        findings.push(failed(severity, "the kubeconfig", failure));
    }
    findings.extend(facts.fleets.iter().flat_map(fleet));
    let is_queried = |it: &&FleetFacts| matches!(it.check, FleetCheck::Queried(Ok(_)));
    let reachable = facts.fleets.iter().filter(is_queried).count();
    let summary = match reachable {
        0 => String::new(),
        count => format!("{count} reachable"),
    };
    Section {
        subject: Subject::Fleets,
        summary: list([count_of(facts.fleets.len(), "fleet"), summary]),
        findings,
    }
}

fn fleet(facts: &FleetFacts) -> Vec<Finding> {
    let FleetFacts {
        name,
        context,
        namespace,
        image,
        ..
    } = facts;
    let mut findings = Vec::new();
    let severity = severity(facts.is_required);
    let problem = |what: String| Finding::new(severity, what);
    let place = format!("{name}: namespace {namespace} in {context}");
    match &facts.check {
        FleetCheck::NotQueried => {}
        FleetCheck::NoContext(near) => {
            let finding = problem(format!(
                "the kubeconfig has no context `{context}`, which fleet {name} uses"
            ));
            let near = near.clone();
            let fix = near.unwrap_or_else(|| "set KUBECONFIG to use another kubeconfig".to_owned());
            findings.push(finding.fix(fix));
        }
        FleetCheck::Queried(Err(failure)) => findings.push(failed(severity, &place, failure)),
        FleetCheck::Queried(Ok(access)) => {
            if access.missing.is_empty() {
                findings.push(Finding::ok(format!(
                    "{place} is reachable, with all permissions"
                )));
            } else {
                let missing = access.missing.join(", ");
                let finding = problem(format!("{place}: missing permissions: {missing}"));
                findings
                    .push(finding.fix("bind the Role in docs/fleet.md to the user of the context"));
            }
            for (resource, used, hard) in &access.quotas {
                let text = format!("{place}: {used} of {hard} {resource}");
                findings.push(if used == hard {
                    Finding::warning(format!("{text}: used up"))
                        .fix("delete Jobs and pods that are not needed, or raise the quota")
                } else {
                    Finding::ok(text)
                });
            }
        }
    }
    match &facts.has_image {
        None => {}
        Some(Ok(true)) => findings.push(Finding::ok(format!("{name}: {image} is in its registry"))),
        Some(Ok(false)) => findings.push(
            problem(format!(
                "{name}: {image}, the image of its workers, is not in its registry"
            ))
            .fix("push xp's image, or correct `image` of the fleet"),
        ),
        Some(Err(failure)) => {
            findings.push(failed(severity, &format!("{name}: {image}"), failure));
        }
    }
    match &facts.template {
        Ok(true) => {}
        // The pod says more.
        Ok(false) if facts.pod.is_some() => {}
        Ok(false) => findings.push(
            problem(format!("{name}: its pods have no container engine"))
                .fix("add one to `template`, and set DOCKER_HOST in its container `xp`; docs/fleet.md has an example"),
        ),
        Err(why) => findings.push(problem(why.clone())),
    }
    match &facts.pod {
        None => {}
        Some(Err(failure)) => findings.push(failed(Severity::Error, name, failure)),
        Some(Ok(pod)) => findings.extend(in_pod(name, image, pod)),
    }
    findings
}

/// Evaluates what a worker found in a pod.
fn in_pod(name: &str, image: &str, pod: &PodFacts) -> Vec<Finding> {
    let node = pod.node.as_deref().unwrap_or("a node");
    let mut findings = vec![Finding::ok(format!(
        "{name}: the pod {} has started on {node}",
        pod.name
    ))];
    if let Some(xp) = pod.xp.as_deref().filter(|xp| *xp != pod.own_xp) {
        let own = pod.own_xp;
        let finding = Finding::error(format!("{name}: {image} has xp {xp}, and this is xp {own}"));
        let fix = format!("set `image` of the fleet to the image of xp {own}");
        findings.push(finding.fix(fix));
    }
    findings.extend(pod.findings.iter().cloned().map(|finding| {
        let what = finding.what.strip_prefix("the pod has ");
        let what = what.unwrap_or(&finding.what);
        Finding {
            what: format!("{name}: in the pod: {what}"),
            ..finding
        }
    }));
    findings
}

/// Returns the severity of a problem.
fn severity(is_required: bool) -> Severity {
    if is_required {
        Severity::Error
    } else {
        Severity::Warning
    }
}

/// Converts a failure to a finding.
fn failed(severity: Severity, place: &str, failure: &CheckFailure) -> Finding {
    let finding = Finding::of(failure);
    Finding {
        severity,
        what: format!("{place}: {}", finding.what),
        ..finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(access: FleetAccess) -> FleetsFacts {
        FleetsFacts {
            has_kubectl: true,
            kubeconfig: Ok(()),
            fleets: vec![FleetFacts {
                name: "ci".to_owned(),
                context: "c".to_owned(),
                namespace: "builds".to_owned(),
                image: "r.example.com/xp:1".to_owned(),
                has_image: Some(Ok(true)),
                template: Ok(true),
                check: FleetCheck::Queried(Ok(access)),
                is_required: false,
                pod: None,
            }],
        }
    }

    #[test]
    fn missing_permissions_and_quotas_are_reported() {
        let section = fleets(&facts(FleetAccess::default()));
        assert_eq!(section.severity(), Severity::Ok);
        assert_eq!(section.summary, "1 fleet, 1 reachable");
        let section = fleets(&facts(FleetAccess {
            missing: vec!["create jobs".to_owned()],
            quotas: vec![("pods of quota q".to_owned(), "4".to_owned(), "4".to_owned())],
        }));
        let warnings = section
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Warning);
        let warnings: Vec<&str> = warnings.map(|it| it.what.as_str()).collect();
        assert_eq!(
            warnings,
            [
                "ci: namespace builds in c: missing permissions: create jobs",
                "ci: namespace builds in c: 4 of 4 pods of quota q: used up"
            ]
        );
    }

    #[test]
    fn a_fleet_without_engine_or_image_is_reported() {
        let mut facts = facts(FleetAccess::default());
        facts.fleets[0].template = Ok(false);
        facts.fleets[0].has_image = Some(Ok(false));
        facts.fleets[0].check = FleetCheck::NoContext(None);
        facts.has_kubectl = false;
        let section = fleets(&facts);
        let count = section
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Warning)
            .count();
        assert_eq!(count, 4);
        facts.fleets[0].is_required = true;
        let section = fleets(&facts);
        let errors = section
            .findings
            .iter()
            .filter(|it| it.severity == Severity::Error);
        assert_eq!(errors.count(), 4);
    }

    #[test]
    fn what_a_pod_found_is_reported() {
        let mut facts = facts(FleetAccess::default());
        facts.fleets[0].pod = Some(Ok(PodFacts {
            name: "p".to_owned(),
            node: Some("n".to_owned()),
            xp: Some("0.1".to_owned()),
            own_xp: "0.2",
            findings: vec![Finding::error("no engine")],
        }));
        let found = fleets(&facts).findings;
        let found: Vec<_> = { found.iter() }
            .map(|it| (it.severity, it.what.as_str()))
            .skip(3)
            .collect();
        assert_eq!(
            found,
            [
                (Severity::Ok, "ci: the pod p has started on n"),
                (
                    Severity::Error,
                    "ci: r.example.com/xp:1 has xp 0.1, and this is xp 0.2"
                ),
                (Severity::Error, "ci: in the pod: no engine"),
            ]
        );
    }
}
