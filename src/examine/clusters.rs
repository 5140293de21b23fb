//! The clusters that environments are deployed to.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Platform, Surroundings, program};
use crate::client::kubectl::{Cluster, Kubectl, Place};
use crate::deploy::{Record, TOOLS_BUILDER};
use crate::doctor::{ClusterFacts, EnvironmentAnswer, EnvironmentFacts, KubectlWhere, Trouble};
use crate::manifest::{Environment, suggest};

/// Asks each environment's cluster for the record of its deploys, as `xp deploy` does first; none where the
/// manifest says nothing of deploying.
pub(super) async fn clusters(surroundings: &Surroundings<'_>) -> Option<ClusterFacts> {
    let platform = surroundings.platform.as_ref()?;
    let deploy = platform.manifest.deploy.as_ref()?;
    let environments = deploy.environments.values();
    let settings = surroundings.settings;
    let path = settings.variables.get("PATH").map_or("", String::as_str);
    let Some(found) = program("kubectl", path) else {
        return Some(ClusterFacts {
            kubectl: elsewhere(platform),
            kubeconfig: Ok(()),
            environments: environments
                .map(|it| facts(it, EnvironmentAnswer::NotAsked))
                .collect(),
        });
    };
    let kubectl = Kubectl {
        kubectl: Some(Place::Host(&found)),
        kustomize: None,
        folder: platform.manifest.folder.clone(),
        kubeconfig: settings.kubeconfig(),
        // Whoever is asked to log in is told by `xp deploy`; here it is an answer that does not come.
        told: Arc::new(|_| {}),
        // No object is read but xp's own, which has no secrets.
        hide: Arc::new(str::to_owned),
    };
    let contexts = surroundings.limited("kubectl".to_owned(), kubectl.contexts());
    let (contexts, kubeconfig) = match contexts.await {
        Ok(contexts) => (contexts, Ok(())),
        Err(trouble) => (Vec::new(), Err(trouble)),
    };
    let asked = environments.map(|environment| {
        let (kubectl, contexts, kubeconfig) = (&kubectl, &contexts, &kubeconfig);
        async move {
            let answer = match kubeconfig {
                Ok(()) => ask(surroundings, kubectl, contexts, environment).await,
                Err(_) => EnvironmentAnswer::NotAsked,
            };
            facts(environment, answer)
        }
    });
    let environments = join_all(asked).await;
    Some(ClusterFacts {
        kubectl: KubectlWhere::Here,
        kubeconfig,
        environments,
    })
}

async fn ask(
    surroundings: &Surroundings<'_>,
    kubectl: &Kubectl<'_>,
    contexts: &[String],
    environment: &Environment,
) -> EnvironmentAnswer {
    let cluster = Cluster {
        context: &environment.context,
        namespace: &environment.namespace,
    };
    if !contexts.iter().any(|it| it == cluster.context) {
        let names = contexts.iter().map(String::as_str);
        return EnvironmentAnswer::NoContext(suggest::hint(cluster.context, "it has", names));
    }
    if surroundings.offline {
        return EnvironmentAnswer::NotAsked;
    }
    let name = Record::name(&environment.name);
    let what = format!("the cluster of {}", environment.name);
    let found = surroundings.limited(what, kubectl.get(cluster, "configmap", &name));
    let found: Result<_, Trouble> = found.await;
    EnvironmentAnswer::Asked(found.map(|object| object.is_some()))
}

/// Returns where `kubectl` is when it is not on this machine.
fn elsewhere(platform: &Platform<'_>) -> KubectlWhere {
    let folder = platform.manifest.builders.dir.join(TOOLS_BUILDER);
    match platform.manifest.folder.join(&folder).is_dir() {
        true => KubectlWhere::Builder(format!("builders/{TOOLS_BUILDER}")),
        false => KubectlWhere::Nowhere(folder.join("Dockerfile").display().to_string()),
    }
}

fn facts(environment: &Environment, answer: EnvironmentAnswer) -> EnvironmentFacts {
    EnvironmentFacts {
        name: environment.name.to_string(),
        context: environment.context.clone(),
        namespace: environment.namespace.clone(),
        answer,
    }
}
