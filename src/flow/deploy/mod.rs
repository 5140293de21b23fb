//! Deploys a set of images: to a Kubernetes cluster, or, in [`compose`], to a compose project.

mod apply;
pub mod compose;
mod files;
mod in_use;
pub(super) mod local_files;
mod record;
mod render;
mod services;
mod set;
mod tools;

use std::collections::{BTreeMap, BTreeSet};

use super::changes;
use super::request::{DeployImages, DeployRequest, EngineUse};
use super::session::Session;
use crate::base::error::Failure;
use crate::base::plural::join_with_and;
use crate::base::redact::SharedRedactor;
use crate::client::kubectl::{Cluster, Kubectl};
use crate::model::deploy::{
    DeployState, Deployment, FormerNames, ImageNames, NamedImages, Record, RenderedObjects,
};
use crate::model::event::Event;
use crate::model::lock::{Lock, LockChanges};
use crate::model::manifest::{
    ClusterEnvironment, Deploy, Environment, EnvironmentName, ServiceName,
};
use crate::store::cache::claim;
use crate::store::claim::{FolderLock, LockError, lock};
use files::EnvironmentFiles;
use set::CurrentImages;
use tools::DeployTools;

pub use apply::FinishedDeploy;
pub use in_use::in_clusters;
pub use record::last_deployed;

/// Runs `work` with the tools and locks of a deploy.
pub async fn with_task<T>(
    session: &Session,
    request: &DeployRequest<'_>,
    work: impl AsyncFnOnce(&DeployTask<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if let DeployImages::Current { local: true, .. } = &request.images {
        return Err(Failure::usage(format!(
            "`--local` cannot be used with {}, a cluster: it pulls images from the registry, and those of working copies are never pushed\n\
             hint: commit, push and `xp build`; an environment with `compose` runs images of working copies",
            request.environment.name
        )));
    }
    let _deploy_lock = environment_lock(session, &request.environment.name).await?;
    let tools = DeployTools::find(session, request.mode.accesses_cluster()).await?;
    let secrets = SharedRedactor::default();
    let task = DeployTask {
        session,
        request,
        names: ImageNames::of(&session.manifest, request.deploy),
        kubectl: tools.kubectl(secrets.clone()),
        secrets,
    };
    let result = work(&task).await;
    drop(task);
    tools.end().await;
    result
}

/// Locks the folder of an environment: concurrent deploys in one folder would write the same files.
async fn environment_lock(
    session: &Session,
    environment: &EnvironmentName,
) -> Result<FolderLock, Failure> {
    let root = session.layout.root();
    let is_own = claim(root).map_err(|source| LockError::File {
        path: root.to_owned(),
        source,
    })?;
    if !is_own {
        return Err(LockError::Foreign(root.to_owned()).into());
    }
    let lock_file = session.layout.environment(environment).join("lock");
    let locked = async { Ok(lock(&lock_file, &session.events).await?) };
    session.unless_interrupted(locked).await
}

/// Returns an environment of the manifest.
pub fn environment<'s>(
    session: &'s Session,
    name: Option<&str>,
) -> Result<(&'s Deploy, &'s Environment), Failure> {
    let Some(deploy) = &session.manifest.deploy else {
        let missing = match name {
            Some(name) => format!("unknown environment `{name}`"),
            None => "no environments".to_owned(),
        };
        let name = name.unwrap_or("staging");
        return Err(Failure::usage(format!(
            "{missing}: the manifest has no `deploy` section\n\
             hint: for a cluster, add `deploy: {{path: k8s, environments: {{{name}: {{overlay: overlays/{name}, context: …, namespace: …}}}}}}`\n\
             hint: for a compose project, add `deploy: {{environments: {{{name}: {{compose: docker-compose.yml}}}}}}`"
        )));
    };
    let Some(name) = name else {
        let environments = deploy.environments.values();
        let names: Vec<String> = environments.map(|it| it.name().to_string()).collect();
        return Err(Failure::usage(format!(
            "no environment given\nhint: write `xp deploy ENV`; the manifest has {}",
            join_with_and(&names)
        )));
    };
    Ok((deploy, deploy.environment(name)?))
}

/// A deploy with its inputs and tools.
pub struct DeployTask<'t> {
    session: &'t Session,
    request: &'t DeployRequest<'t>,
    names: ImageNames,
    kubectl: Kubectl<'t>,
    secrets: SharedRedactor,
}

/// The rendered input of a deploy.
pub struct PreparedDeploy {
    files: EnvironmentFiles,
    set: Lock,
    named: NamedImages,
    text: String,
    rendered: RenderedObjects,
}

impl PreparedDeploy {
    /// Returns the YAML to be applied.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the names of the objects.
    pub fn objects(&self) -> Vec<String> {
        let objects = self.rendered.objects().map(|it| it.to_string());
        objects.collect()
    }

    /// Returns the services that the overlay references.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &ServiceName> {
        self.named.services.keys()
    }
}

fn cluster(environment: &ClusterEnvironment) -> Cluster<'_> {
    Cluster {
        context: &environment.context,
        namespace: &environment.namespace,
    }
}

impl DeployTask<'_> {
    fn cluster(&self) -> Cluster<'_> {
        cluster(self.request.environment)
    }

    /// Prepares a deploy without contacting the cluster, so it uses the local copy of the record.
    pub async fn preview(&self) -> Result<(Record, PreparedDeploy), Failure> {
        let record = self.copy().unwrap_or_default();
        let prepared = self.prepare(&record, None);
        let prepared = self.session.unless_interrupted(prepared).await?;
        self.session.reporter.finish();
        Ok((record, prepared))
    }

    /// Renders the images to deploy; `back` is the deploy to roll back to.
    async fn prepare(
        &self,
        record: &Record,
        back: Option<&Deployment>,
    ) -> Result<PreparedDeploy, Failure> {
        let (session, request) = (self.session, self.request);
        let environment = request.environment;
        let folder = lock(&session.layout.lock(), &session.events).await?;
        let mut files = match back {
            None => files::current(session, environment).await?,
            Some(back) => files::of_deploy(session, environment, back).await?,
        };
        self.secrets.merge(files.secrets.clone());
        let mut names = self.names_in(&files, back);
        let mut plain = self.plain(&files, &names, back).await;
        if let (Err(error), Some(back)) = (&plain, back) {
            // For example because files outside of the folder were part of it. A rollback must still work.
            session.events.emit(Event::warning(format!(
                "cannot use the kustomize files of deploy {}; using the current files with its images: {}",
                back.number,
                files::one_line(error)
            )));
            files = files::current(session, environment).await?;
            self.secrets.merge(files.secrets.clone());
            names = self.names_in(&files, Some(back));
            plain = self.plain(&files, &names, Some(back)).await;
        }
        let (plain, named) = plain?;
        let set = match back {
            Some(back) => set::of_deploy(session, back).await?,
            None => {
                let last = record.last_deployed();
                FormerNames::check(&files.shown, last, &named, &names, &plain, &files.fields)?;
                let wanted = self.wanted(&files, &named, &plain)?;
                self.set(record, &wanted, &named, &folder).await?
            }
        };
        let (text, rendered) = self.pinned(&files, &plain, &named, &names, &set).await?;
        Ok(PreparedDeploy {
            files,
            set,
            named,
            text,
            rendered,
        })
    }

    /// Returns the names that the files may use for images; `back` is the deploy to roll back to.
    fn names_in(&self, files: &EnvironmentFiles, back: Option<&Deployment>) -> ImageNames {
        let names = files.names.as_ref().unwrap_or(&self.names).clone();
        match back {
            None => names,
            Some(back) => names.with_set(&back.set),
        }
    }

    /// Finds the images. Services that are not selected keep those of the record.
    async fn set(
        &self,
        record: &Record,
        wanted: &BTreeSet<ServiceName>,
        named: &NamedImages,
        folder: &FolderLock,
    ) -> Result<Lock, Failure> {
        let (session, kept) = (self.session, self.kept(record, wanted, named)?);
        match &self.request.images {
            DeployImages::Lock(file) => set::of_lock(session, file, wanted, &kept).await,
            DeployImages::Current {
                references,
                build,
                trust_commit,
                local: _,
                built: _,
            } => {
                let current = CurrentImages {
                    session,
                    references,
                    trust_commit: *trust_commit,
                    services: wanted,
                    folder,
                    engine: EngineUse::None,
                    built: &BTreeMap::new(),
                };
                if *build {
                    current.build().await?;
                }
                let environment = &self.request.environment.name;
                Ok(current.set(environment, &kept).await?.lock)
            }
            DeployImages::Previous => {
                let earlier = record.rollback_target(&self.request.environment.name)?;
                set::of_deploy(session, earlier).await
            }
        }
    }

    /// Returns the changes of each service since the last deploy of the record, even if that one failed: it was applied.
    /// `back` is the number of the deploy to roll back to.
    pub async fn changes(
        &self,
        record: &Record,
        prepared: &PreparedDeploy,
        back: Option<u64>,
    ) -> Result<String, Failure> {
        let ClusterEnvironment {
            name,
            context,
            namespace,
            ..
        } = self.request.environment;
        let empty = Lock::default();
        let last = record.deploys.first();
        let before = last.map_or(&empty, |it| &it.set);
        let mut changes = LockChanges::between((name.as_str(), before), ("the set", &prepared.set));
        // Commits are listed from the local history only, without fetching.
        changes::fill_in(self.session, &mut changes, false).await?;
        self.session.reporter.finish();
        let mut head = format!(
            "{name}: {} to namespace {namespace} of {context}\n",
            prepared.files.shown
        );
        let target = record.deploys.iter().find(|it| Some(it.number) == back);
        if let Some(target) = target {
            let Deployment { number, by, .. } = target;
            head += &format!(
                "rolls back to deploy {number} of {}, by {by}\n",
                target.when()
            );
        }
        if let Some(last) = last.filter(|last| last.state != DeployState::Deployed) {
            head += &format!(
                "compared with deploy {}, which {}\n",
                last.number,
                last.state.ending()
            );
        }
        Ok(format!("{head}{}", changes.summary()))
    }
}
