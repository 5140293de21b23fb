//! Gathers facts about the clusters of the environments.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{CheckedPlatform, DoctorContext};
use crate::base::redact::SharedRedactor;
use crate::base::suggest;
use crate::client::kubectl::{Cluster, Kubectl, ToolLocation};
use crate::flow::programs::program;
use crate::model::deploy::{Record, TOOLS_BUILDER};
use crate::model::doctor::{
    CheckFailure, ClusterFacts, EnvironmentCheck, EnvironmentFacts, KubectlLocation,
};
use crate::model::environment::PATH;
use crate::model::manifest::{ClusterEnvironment, Environment};

/// Reads the deploy record of each environment, like `xp deploy`; `None` if no environment is in a cluster.
pub(super) async fn clusters(context: &DoctorContext<'_>) -> Option<ClusterFacts> {
    let platform = context.platform.as_ref()?;
    let deploy = platform.manifest.deploy.as_ref()?;
    let environments = deploy.environments.values().filter_map(|it| match it {
        Environment::Cluster(environment) => Some(environment),
        Environment::Compose(_) => None,
    });
    environments.clone().next()?;
    let settings = context.settings;
    let path = settings.variables.get(PATH.name);
    let path = path.map_or("", String::as_str);
    let Some(found) = program("kubectl", path) else {
        return Some(ClusterFacts {
            kubectl: kubectl_location(platform),
            kubeconfig: Ok(()),
            environments: environments
                .map(|it| facts(it, EnvironmentCheck::NotQueried))
                .collect(),
        });
    };
    let kubectl = Kubectl {
        kubectl: Some(ToolLocation::Host(&found)),
        kustomize: None,
        folder: platform.manifest.folder.clone(),
        kubeconfig: settings.kubeconfig(),
        // A login prompt is not shown: it ends in a timeout.
        on_line: Arc::new(|_| {}),
        // Only xp's own object is read, which has no secrets.
        secrets: SharedRedactor::default(),
    };
    let contexts = context.limited("kubectl".to_owned(), kubectl.contexts());
    let (contexts, kubeconfig) = match contexts.await {
        Ok(contexts) => (contexts, Ok(())),
        Err(failure) => (Vec::new(), Err(failure)),
    };
    let queries = environments.map(|environment| {
        let (kubectl, contexts, kubeconfig) = (&kubectl, &contexts, &kubeconfig);
        async move {
            let check = match kubeconfig {
                Ok(()) => query(context, kubectl, contexts, environment).await,
                Err(_) => EnvironmentCheck::NotQueried,
            };
            facts(environment, check)
        }
    });
    let environments = join_all(queries).await;
    Some(ClusterFacts {
        kubectl: KubectlLocation::OnPath,
        kubeconfig,
        environments,
    })
}

async fn query(
    context: &DoctorContext<'_>,
    kubectl: &Kubectl<'_>,
    contexts: &[String],
    environment: &ClusterEnvironment,
) -> EnvironmentCheck {
    let cluster = Cluster {
        context: &environment.context,
        namespace: &environment.namespace,
    };
    if !contexts.iter().any(|it| it == cluster.context) {
        let names = contexts.iter().map(String::as_str);
        return EnvironmentCheck::NoContext(suggest::hint(cluster.context, "it has", names));
    }
    if context.offline {
        return EnvironmentCheck::NotQueried;
    }
    let name = Record::name(&environment.name);
    let what = format!("the cluster of {}", environment.name);
    let found = context.limited(what, kubectl.get(cluster, "configmap", &name));
    let found: Result<_, CheckFailure> = found.await;
    EnvironmentCheck::Queried(found.map(|object| object.is_some()))
}

/// Returns where `kubectl` is if it is not on `PATH`.
fn kubectl_location(platform: &CheckedPlatform<'_>) -> KubectlLocation {
    let folder = platform.manifest.builders.dir.join(TOOLS_BUILDER);
    if platform.manifest.folder.join(&folder).is_dir() {
        KubectlLocation::Builder(format!("builders/{TOOLS_BUILDER}"))
    } else {
        KubectlLocation::Missing(folder.join("Dockerfile").display().to_string())
    }
}

fn facts(environment: &ClusterEnvironment, check: EnvironmentCheck) -> EnvironmentFacts {
    EnvironmentFacts {
        name: environment.name.to_string(),
        context: environment.context.clone(),
        namespace: environment.namespace.clone(),
        check,
    }
}
