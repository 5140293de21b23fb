//! Gathers facts about the fleets.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{DoctorContext, fleet_pod};
use crate::base::redact::SharedRedactor;
use crate::base::suggest;
use crate::client::kubectl::{Cluster, Kind, Kubectl, KubectlError, ToolLocation};
use crate::flow::fleet::PERMISSIONS;
use crate::flow::fleet_template;
use crate::flow::programs::program;
use crate::model::doctor::{FleetAccess, FleetCheck, FleetFacts, FleetsFacts};
use crate::model::environment::PATH;
use crate::model::manifest::Fleet;

/// Queries the permissions and quotas of each fleet; `None` if the manifest has none.
pub(super) async fn fleets(context: &DoctorContext<'_>) -> Option<FleetsFacts> {
    let platform = context.platform.as_ref()?;
    let manifest = platform.manifest;
    if manifest.fleets.is_empty() {
        return None;
    }
    let path = context.settings.variables.get(PATH.name);
    let found = program("kubectl", path.map_or("", String::as_str));
    let kubectl = Kubectl {
        kubectl: found.as_deref().map(ToolLocation::Host),
        kustomize: None,
        folder: manifest.folder.clone(),
        kubeconfig: context.settings.kubeconfig(),
        // A login prompt is not shown: it ends in a timeout.
        on_line: Arc::new(|_| {}),
        // Nothing that is read has secrets.
        secrets: SharedRedactor::default(),
    };
    let mut contexts = Vec::new();
    let mut kubeconfig = Ok(());
    if found.is_some() {
        match context
            .limited("kubectl".to_owned(), kubectl.contexts())
            .await
        {
            Ok(names) => contexts = names,
            Err(failure) => kubeconfig = Err(failure),
        }
    }
    let can_query = found.is_some() && kubeconfig.is_ok();
    let queries = manifest.fleets.values().map(async |fleet| {
        let check = async {
            if can_query {
                query(context, &kubectl, &contexts, fleet).await
            } else {
                FleetCheck::NotQueried
            }
        };
        let (check, has_image) = tokio::join!(check, image(context, fleet));
        let is_required = context.fleet.as_deref() == Some(fleet.name.as_str());
        let template = fleet_template::read(manifest, fleet);
        let pod = match (&check, &template) {
            (FleetCheck::Queried(Ok(access)), Ok(template))
                if is_required && access.missing.is_empty() =>
            {
                Some(fleet_pod::check(context, platform, fleet, template).await)
            }
            _ => None,
        };
        FleetFacts {
            name: fleet.name.to_string(),
            context: fleet.context.clone(),
            namespace: fleet.namespace.clone(),
            image: fleet.image.to_string(),
            has_image,
            template: template
                .map(|template| template.has_engine())
                .map_err(|problem| problem.into_text().0),
            check,
            is_required,
            pod,
        }
    });
    let fleets = join_all(queries).await;
    Some(FleetsFacts {
        has_kubectl: found.is_some(),
        kubeconfig,
        fleets,
    })
}

async fn query(
    context: &DoctorContext<'_>,
    kubectl: &Kubectl<'_>,
    contexts: &[String],
    fleet: &Fleet,
) -> FleetCheck {
    let cluster = Cluster {
        context: &fleet.context,
        namespace: &fleet.namespace,
    };
    if !contexts.iter().any(|it| it == cluster.context) {
        let names = contexts.iter().map(String::as_str);
        return FleetCheck::NoContext(suggest::hint(cluster.context, "it has", names));
    }
    if context.offline {
        return FleetCheck::NotQueried;
    }
    let what = format!("the fleet {}", fleet.name);
    FleetCheck::Queried(context.limited(what, access(kubectl, cluster)).await)
}

/// Returns the missing permissions, and the quotas.
async fn access(kubectl: &Kubectl<'_>, cluster: Cluster<'_>) -> Result<FleetAccess, KubectlError> {
    let wanted: Vec<(Kind, &str)> = PERMISSIONS
        .iter()
        .flat_map(|(kind, verbs)| verbs.iter().map(|verb| (*kind, *verb)))
        .collect();
    let allowed = kubectl.may(cluster, &wanted).await?;
    let missing = wanted.iter().zip(allowed);
    let missing = missing
        .filter(|(_, allowed)| *allowed == Some(false))
        .map(|((kind, verb), _)| format!("{verb} {}", kind.plural()));
    // Few users may read them.
    let quotas = kubectl.list(cluster, "resourcequotas", "").await;
    let mut amounts = Vec::new();
    for quota in quotas.unwrap_or_default() {
        let name = quota["metadata"]["name"].as_str().unwrap_or_default();
        let hard = quota["status"]["hard"].as_object();
        for (resource, hard) in hard.into_iter().flatten() {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let used = text(&quota["status"]["used"][resource]);
            amounts.push((format!("{resource} of quota {name}"), used, text(hard)));
        }
    }
    Ok(FleetAccess {
        missing: missing.collect(),
        quotas: amounts,
    })
}

/// Returns whether the registry has the image of xp; `None` if it is not queried.
async fn image(
    context: &DoctorContext<'_>,
    fleet: &Fleet,
) -> Option<Result<bool, crate::model::doctor::CheckFailure>> {
    // An image without registry may be on the nodes.
    fleet.image.repository().registry()?;
    if context.offline {
        return None;
    }
    let registry = context.registry().await;
    let what = format!("the image of the fleet {}", fleet.name);
    let found = context.limited(what, registry.digest(&fleet.image)).await;
    Some(found.map(|digest| digest.is_some()))
}
