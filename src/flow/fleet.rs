//! Prepares builds on a fleet: checks that it can build a plan, before anything is built.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;

use super::failure::manifest_failure;
use super::fleet_template;
use super::programs::program;
use super::session::Session;
use crate::base::error::{Exit, Failure};
use crate::base::nonce::nonce;
use crate::base::redact::SharedRedactor;
use crate::client::git::GitClient;
use crate::client::kubectl::{Cluster, ClusterApi, Kind, ProxySettings};
use crate::execute::fleet::{Fleet, FleetSettings, pod_remote};
use crate::host::settings::Settings;
use crate::model::engine::EngineProperties;
use crate::model::environment;
use crate::model::event::{Event, Events};
use crate::model::fleet::{Refusal, refusals};
use crate::model::manifest;
use crate::model::manifest::MissingInput;
use crate::model::plan::Plan;
use crate::model::source::GitUrl;

/// The permissions that a fleet needs.
pub(super) const PERMISSIONS: [(Kind, &[&str]); 4] = [
    (
        Kind::Job,
        &["create", "get", "list", "watch", "patch", "delete"],
    ),
    (Kind::Secret, &["create", "get", "delete"]),
    (Kind::Pod, &["list", "watch"]),
    (Kind::PodLog, &["get"]),
];

/// Connects to the cluster of a fleet, and checks that it can build the plan.
pub async fn start(
    session: &Session,
    fleet: &manifest::Fleet,
    plan: &Plan,
    facts: &EngineProperties,
    git: &GitClient,
) -> Result<Fleet, Failure> {
    let template = fleet_template::read(&session.manifest, fleet);
    let template = template.map_err(|problem| {
        let error = session.manifest.rejected(vec![problem]);
        error.map_or_else(
            || Failure::silent(Exit::Usage),
            |error| manifest_failure(session, &error),
        )
    })?;
    let in_pod = |remote: &GitUrl| pod_remote(git, &template, remote);
    refuse(session, fleet, refusals(plan, &in_pod))?;
    let text = format!("connecting to the fleet {}", fleet.name);
    session.events.emit(Event::stage(text));
    let connected = async {
        let folder = session.layout.kubectl();
        let api = connect(&session.settings, fleet, &folder, &session.events).await?;
        check_permissions(&api, fleet).await?;
        Ok::<_, Failure>(api)
    };
    let connected = connected.await;
    session.events.emit(Event::StageFinished);
    let settings = FleetSettings {
        template,
        image: fleet.image.clone(),
        wait: fleet.wait,
        run: nonce(),
        platform: format!("linux/{}", facts.architecture),
        insecure_registries: facts.insecure_registries.clone(),
    };
    Ok(Fleet::new(connected?, settings))
}

/// Fails if there are reasons not to build on a fleet.
fn refuse(
    session: &Session,
    fleet: &manifest::Fleet,
    refusals: Vec<Refusal>,
) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for refusal in refusals {
        let message = format!(
            "cannot be built on the fleet `{}`: {}",
            fleet.name, refusal.message
        );
        let Some(service) = refusal.service else {
            return Err(Failure::usage(format!(
                "a builder image {message}\nhint: {}",
                refusal.help
            )));
        };
        missing.push(MissingInput {
            service,
            key: refusal.key.to_owned(),
            message,
            help: refusal.help,
        });
    }
    if missing.is_empty() {
        return Ok(());
    }
    let error = session.manifest.missing_inputs(missing);
    Err(manifest_failure(session, &error))
}

/// Removes the socket of `kubectl proxy`: a task may still hold the connection when xp exits.
pub fn end(session: &Session) {
    // The next run removes what is left.
    _ = std::fs::remove_dir_all(session.layout.kubectl());
}

/// Starts `kubectl proxy`, with its socket in a folder.
pub(super) async fn connect(
    settings: &Settings,
    fleet: &manifest::Fleet,
    folder: &Path,
    events: &Events,
) -> Result<ClusterApi, Failure> {
    let path = settings.variables.get(environment::PATH.name);
    let Some(kubectl) = program("kubectl", path.map_or("", String::as_str)) else {
        return Err(Failure::outside(
            "kubectl is not on PATH, and `--fleet` reaches the cluster through it\n\
             hint: install kubectl",
        ));
    };
    let kubeconfig = settings.kubeconfig();
    let (lines, retries) = (events.clone(), events.clone());
    let settings = ProxySettings {
        kubectl: &kubectl,
        cluster: Cluster {
            context: &fleet.context,
            namespace: &fleet.namespace,
        },
        kubeconfig: kubeconfig.as_deref(),
        folder,
        on_line: Arc::new(move |line: &str| lines.emit(Event::note(line))),
        secrets: SharedRedactor::default(),
    };
    let on_retry = Arc::new(move |retrying| {
        retries.emit(Event::Retrying {
            unit: None,
            retrying,
        });
    });
    Ok(ClusterApi::start(&settings, on_retry).await?)
}

/// Fails if the user of the context lacks a permission.
async fn check_permissions(api: &ClusterApi, fleet: &manifest::Fleet) -> Result<(), Failure> {
    let all = PERMISSIONS
        .iter()
        .flat_map(|(kind, verbs)| verbs.iter().map(|verb| (*kind, *verb)));
    let checks = all.map(async |(kind, verb)| {
        let allowed = api.may(verb, kind).await?;
        // If the cluster does not say, the first request will.
        Ok::<_, Failure>((allowed == Some(false)).then(|| format!("{verb} {}", kind.plural())))
    });
    let mut missing = Vec::new();
    for check in join_all(checks).await {
        missing.extend(check?);
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::outside(format!(
        "the user of the context {} lacks permissions in the namespace {}: {}\n\
         hint: docs/fleet.md has a Role with the permissions that the fleet `{}` needs",
        fleet.context,
        fleet.namespace,
        missing.join(", "),
        fleet.name
    )))
}
