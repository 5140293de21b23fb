//! `xp deploy`

mod apply;
mod files;
mod record;
mod render;
mod services;
mod set;
mod tools;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::session::Session;
use crate::base::error::Failure;
use crate::base::plural::many;
use crate::cli::DeployArgs;
use crate::client::kubectl::{Cluster, Kubectl};
use crate::model::deploy::{Deployment, ImageNames, Named, Record, Rendered, Secrets};
use crate::model::event::Event;
use crate::model::lock::{Changes, Lock};
use crate::model::manifest::{Deploy, Environment, ServiceName};
use crate::store::cache::claim;
use crate::store::claim::{FolderLock, LockError, lock};
use files::Files;
use tools::Tools;

pub use record::last_deployed;

/// Deploys a set of images, or shows what would be deployed.
pub async fn run(session: &Session, args: &DeployArgs) -> Result<(), Failure> {
    let (deploy, environment) = environment(session, &args.environment)?;
    let root = session.layout.root();
    let is_own = claim(root).map_err(|source| LockError::File {
        path: root.to_owned(),
        source,
    })?;
    if !is_own {
        return Err(LockError::Foreign(root.to_owned()).into());
    }
    // Concurrent deploys in one folder would write the same overlay.
    let lock_file = session.layout.environment(&environment.name).join("lock");
    let locked = async { Ok(lock(&lock_file, &session.events).await?) };
    let _deploy_lock = session.unless_interrupted(locked).await?;
    let reaches_cluster = !args.render && !args.dry_run;
    let tools = Tools::find(session, reaches_cluster).await?;
    let secrets = Arc::new(Mutex::new(Secrets::default()));
    let hidden = secrets.clone();
    let hide = move |text: &str| {
        let secrets = hidden.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.hidden(text)
    };
    let task = DeployTask {
        session,
        args,
        deploy,
        environment,
        names: ImageNames::of(&session.manifest, deploy),
        kubectl: tools.kubectl(Arc::new(hide)),
        secrets: &secrets,
    };
    let result = if reaches_cluster {
        task.deploy().await
    } else {
        task.show().await
    };
    drop(task);
    tools.end().await;
    result
}

/// Returns an environment of the manifest.
pub fn environment<'s>(
    session: &'s Session,
    name: &str,
) -> Result<(&'s Deploy, &'s Environment), Failure> {
    let Some(deploy) = &session.manifest.deploy else {
        return Err(Failure::usage(format!(
            "no environment `{name}`: the manifest has no `deploy` section\n\
             hint: add one: `deploy: {{path: k8s, environments: {{{name}: {{overlay: overlays/{name}, context: …, namespace: …}}}}}}`"
        )));
    };
    Ok((deploy, deploy.environment(name)?))
}

/// A deploy with its inputs and tools.
struct DeployTask<'t> {
    session: &'t Session,
    args: &'t DeployArgs,
    deploy: &'t Deploy,
    environment: &'t Environment,
    names: ImageNames,
    kubectl: Kubectl<'t>,
    secrets: &'t Mutex<Secrets>,
}

/// The rendered input of a deploy.
struct PreparedDeploy {
    files: Files,
    set: Lock,
    named: Named,
    text: String,
    rendered: Rendered,
}

impl DeployTask<'_> {
    fn cluster(&self) -> Cluster<'_> {
        Cluster {
            context: &self.environment.context,
            namespace: &self.environment.namespace,
        }
    }

    /// Shows what would be deployed. It does not contact the cluster, so it uses the local copy of the record.
    async fn show(&self) -> Result<(), Failure> {
        let record = self.copy().unwrap_or_default();
        let prepared = self
            .session
            .unless_interrupted(self.prepare(&record, None))
            .await?;
        self.session.reporter.finish();
        if self.args.render {
            return crate::command::print(&prepared.text);
        }
        self.print_changes(&record, &prepared).await?;
        let objects = prepared.rendered.objects().map(|it| it.to_string());
        let objects: Vec<String> = objects.collect();
        crate::command::print(&format!(
            "{} would be applied: {}\n",
            many(objects.len(), "object"),
            objects.join(", ")
        ))
    }

    /// Renders the images to deploy; `back` is the deploy to roll back to.
    async fn prepare(
        &self,
        record: &Record,
        back: Option<&Deployment>,
    ) -> Result<PreparedDeploy, Failure> {
        let (session, environment) = (self.session, self.environment);
        let folder = lock(&session.layout.lock(), &session.events).await?;
        let mut files = match back {
            None => files::current(session, self.deploy, environment).await?,
            Some(back) => files::of_deploy(session, self.deploy, environment, back).await?,
        };
        self.hide(files.secrets.clone());
        let names = match back {
            None => self.names.clone(),
            Some(back) => self.names.clone().with_set(&back.set),
        };
        let mut plain = self.plain(&files, &names, back).await;
        if let (Err(error), Some(back)) = (&plain, back) {
            // For example because files outside of the folder were part of it. A rollback must still work.
            session.events.emit(Event::warning(format!(
                "cannot use the kustomize files of deploy {}; using the current files with its images: {}",
                back.number,
                files::one_line(error)
            )));
            files = files::current(session, self.deploy, environment).await?;
            self.hide(files.secrets.clone());
            plain = self.plain(&files, &names, Some(back)).await;
        }
        let (plain, named) = plain?;
        let set = match back {
            Some(back) => set::of_deploy(session, back).await?,
            None => {
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

    /// Finds the images. Services that are not selected keep those of the record.
    async fn set(
        &self,
        record: &Record,
        wanted: &BTreeSet<ServiceName>,
        named: &Named,
        folder: &FolderLock,
    ) -> Result<Lock, Failure> {
        let kept = self.kept(record, wanted, named)?;
        let args = self.args;
        if args.build {
            set::build(self.session, args, wanted, folder).await?;
        }
        let file = match (&args.lock, args.locked) {
            (Some(file), _) => Some(self.session.settings.directory.join(file)),
            (None, true) => Some(crate::flow::sources::locked::lock_file(self.session, None)),
            (None, false) => None,
        };
        match file {
            Some(file) => set::of_lock(self.session, &file, wanted, &kept).await,
            None => {
                let name = &self.environment.name;
                set::of_references(self.session, args, name, wanted, &kept, folder).await
            }
        }
    }

    fn hide(&self, more: Secrets) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.merge(more);
    }

    /// Prints the changes of each service.
    async fn print_changes(
        &self,
        record: &Record,
        prepared: &PreparedDeploy,
    ) -> Result<(), Failure> {
        let session = self.session;
        if !session.settings.report.closes_with_table() {
            return Ok(());
        }
        let name = self.environment.name.as_str();
        let empty = Lock::default();
        let before = record.last_deployed().map_or(&empty, |it| &it.set);
        let mut changes = Changes::between((name, before), ("the set", &prepared.set));
        // Commits are listed from the local history only, without fetching.
        crate::command::diff::fill_in(session, &mut changes, false).await?;
        session.reporter.finish();
        let Environment {
            context, namespace, ..
        } = self.environment;
        let head = format!(
            "{name}: {} to namespace {namespace} of {context}\n",
            prepared.files.shown
        );
        crate::command::print(&format!("{head}{}", changes.summary()))
    }
}
