//! `xp deploy`

mod apply;
mod files;
mod record;
mod set;
mod tools;

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use super::commits;
use super::many;
use super::session::Session;
use crate::cache::claim;
use crate::cli::DeployArgs;
use crate::client::kubectl::{Cluster, Kubectl};
use crate::deploy::{
    Deployment, ForeignNamespaces, ImageNames, Named, NotPinned, Overlay, Record, Rendered,
    Secrets, State, UnnamedServices,
};
use crate::error::Failure;
use crate::event::Event;
use crate::execute::lock::{FolderLock, LockError, lock};
use crate::lock::{Changes, Lock};
use crate::manifest::{Deploy, Environment, ServiceName};
use files::Files;
use tools::Tools;

pub use record::deployed;

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
    // Two in one folder would write the same overlay.
    let alone = session.layout.environment(&environment.name).join("lock");
    let locked = async { Ok(lock(&alone, &session.events).await?) };
    let _alone = session.unless_interrupted(locked).await?;
    let reaches_cluster = !args.render && !args.dry_run;
    let tools = Tools::find(session, reaches_cluster).await?;
    let secrets = Arc::new(Mutex::new(Secrets::default()));
    let hidden = secrets.clone();
    let hide = move |text: &str| {
        let secrets = hidden.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.hidden(text)
    };
    let task = Task {
        session,
        args,
        deploy,
        environment,
        names: ImageNames::of(&session.manifest, deploy),
        kubectl: tools.kubectl(Arc::new(hide)),
        secrets: &secrets,
    };
    let result = match reaches_cluster {
        true => task.deploy().await,
        false => task.show().await,
    };
    drop(task);
    tools.end().await;
    result
}

/// Returns what the manifest says of an environment.
pub(super) fn environment<'s>(
    session: &'s Session,
    name: &str,
) -> Result<(&'s Deploy, &'s Environment), Failure> {
    let Some(deploy) = &session.manifest.deploy else {
        return Err(Failure::usage(format!(
            "the manifest says nothing of deploying, so there is no environment `{name}`\n\
             hint: name the kustomize files: `deploy: {{path: k8s, environments: {{{name}: {{overlay: overlays/{name}, context: …, namespace: …}}}}}}`"
        )));
    };
    Ok((deploy, deploy.environment(name)?))
}

/// A deploy, and all that it takes.
struct Task<'t> {
    session: &'t Session,
    args: &'t DeployArgs,
    deploy: &'t Deploy,
    environment: &'t Environment,
    names: ImageNames,
    kubectl: Kubectl<'t>,
    secrets: &'t Mutex<Secrets>,
}

/// What is to be applied.
struct Prepared {
    files: Files,
    set: Lock,
    named: Named,
    text: String,
    rendered: Rendered,
}

impl Task<'_> {
    fn cluster(&self) -> Cluster<'_> {
        Cluster {
            context: &self.environment.context,
            namespace: &self.environment.namespace,
        }
    }

    /// Shows what would be deployed; no cluster is reached, so the copy of the record has to do.
    async fn show(&self) -> Result<(), Failure> {
        let record = self.copy().unwrap_or_default();
        let prepared = self
            .session
            .unless_interrupted(self.prepare(&record, None))
            .await?;
        self.session.reporter.finish();
        if self.args.render {
            return super::print(&prepared.text);
        }
        self.tell(&record, &prepared).await?;
        let objects = prepared.rendered.objects().map(|it| it.to_string());
        let objects: Vec<String> = objects.collect();
        super::print(&format!(
            "{} would be applied: {}\n",
            many(objects.len(), "object"),
            objects.join(", ")
        ))
    }

    /// Renders the set; `back` is the deploy that is gone back to.
    async fn prepare(
        &self,
        record: &Record,
        back: Option<&Deployment>,
    ) -> Result<Prepared, Failure> {
        let (session, environment) = (self.session, self.environment);
        let folder = lock(&session.layout.lock(), &session.events).await?;
        let mut files = match back {
            None => files::today(session, self.deploy, environment).await?,
            Some(back) => files::of_deploy(session, self.deploy, environment, back).await?,
        };
        self.hide(files.secrets.clone());
        let names = match back {
            None => self.names.clone(),
            Some(back) => self.names.clone().with_set(&back.set),
        };
        let mut plain = self.plain(&files, &names, back).await;
        if let (Err(error), Some(back)) = (&plain, back) {
            // Files outside of the folder were part of it, say. A way back there must be.
            session.events.emit(Event::Warning(format!(
                "the kustomize files of deploy {} cannot be used, so those of today are taken, with its images: {}",
                back.number,
                files::in_a_line(error)
            )));
            files = files::today(session, self.deploy, environment).await?;
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
        Ok(Prepared {
            files,
            set,
            named,
            text,
            rendered,
        })
    }

    /// Renders the user's overlay as it is, and finds the services that it names: all of those that `back`
    /// deployed, or one would run by whatever tag is written there.
    async fn plain(
        &self,
        files: &Files,
        names: &ImageNames,
        back: Option<&Deployment>,
    ) -> Result<(Rendered, Named), Failure> {
        let (_, plain) = self.render(&files.overlay, &files.shown).await?;
        let named = names.named(&plain, &files.fields);
        if let Some(back) = back {
            let unnamed = back.set.services.keys();
            let unnamed = unnamed.filter(|name| !named.services.contains_key(*name));
            let unnamed: Vec<&ServiceName> = unnamed.collect();
            if !unnamed.is_empty() {
                return Err(Failure::usage(format!(
                    "{} names no image of {}, which deploy {} has\n\
                     hint: the files may call it otherwise than the manifest does now: `deploy.images` says how",
                    files.shown,
                    joined(&unnamed),
                    back.number
                )));
            }
        }
        Ok((plain, named))
    }

    /// Returns the services that are asked for, of those that the overlay names.
    fn wanted(
        &self,
        files: &Files,
        named: &Named,
        rendered: &Rendered,
    ) -> Result<BTreeSet<ServiceName>, Failure> {
        let check = |services: BTreeSet<ServiceName>, are_mapped: bool| {
            UnnamedServices::check(
                &files.shown,
                services,
                are_mapped,
                named,
                &self.names,
                rendered,
                &files.fields,
            )
        };
        check(self.names.all_mapped().cloned().collect(), true)?;
        let selected = commits::select(self.session, &self.args.selection)?;
        let unregistered = named.services.keys().find(|name| {
            let repository = self.names.repository(name);
            repository.is_some_and(|repository| repository.registry().is_none())
        });
        if let Some(name) = unregistered {
            return Err(Failure::usage(format!(
                "{name} cannot be deployed: its image is in no registry that a cluster could pull it from\n\
                 hint: name one in the manifest: `registry: harbour.example.com/x`"
            )));
        }
        if !self.args.selection.patterns().is_empty() {
            check(selected.clone(), false)?;
            return Ok(selected);
        }
        if named.services.is_empty() {
            check(selected, false)?;
            return Ok(BTreeSet::new());
        }
        let left: Vec<&str> = selected
            .iter()
            .filter(|name| !named.services.contains_key(*name))
            .map(ServiceName::as_str)
            .collect();
        if !left.is_empty() && !self.args.render {
            self.session.events.emit(Event::Note(format!(
                "{} names no image of {}: left out",
                files.shown,
                left.join(", ")
            )));
        }
        Ok(named.services.keys().cloned().collect())
    }

    /// Finds the images; services that were not asked for stay as the record has them.
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
            (None, true) => Some(super::locked::lock_file(self.session, None)),
            (None, false) => None,
        };
        match file {
            Some(file) => set::of_lock(self.session, &file, wanted, &kept).await,
            None => {
                let name = &self.environment.name;
                set::of_today(self.session, args, name, wanted, &kept, folder).await
            }
        }
    }

    /// Returns what stays as it is: a part of the platform is deployed beside it.
    fn kept(
        &self,
        record: &Record,
        wanted: &BTreeSet<ServiceName>,
        named: &Named,
    ) -> Result<Lock, Failure> {
        let others = named.services.keys().filter(|name| !wanted.contains(*name));
        let others: Vec<&ServiceName> = others.collect();
        if others.is_empty() {
            return Ok(Lock::default());
        }
        let name = &self.environment.name;
        let Some(last) = record.deploys.first() else {
            let where_from = match self.args.render || self.args.dry_run {
                true => {
                    " here: what reaches no cluster takes the copy that the last deploy from this folder left"
                }
                false => " yet",
            };
            return Err(Failure::usage(format!(
                "{name} has no record{where_from}, so it is not known what {} shall stay at\n\
                 hint: `xp deploy {name}` deploys all, and `--lock FILE` all of a lock",
                joined(&others),
            )));
        };
        if last.state != State::Deployed {
            return Err(Failure::usage(format!(
                "deploy {} of {name} is {}, so it is not known what {} run\n\
                 hint: `xp deploy {name}` deploys all, `xp deploy {name} --rollback` goes back",
                last.number,
                last.state,
                joined(&others),
            )));
        }
        if self.args.render || self.args.dry_run {
            self.session.events.emit(Event::Warning(format!(
                "{} stays at what the copy of the record here says, which is of deploy {} of {}: the cluster was not asked for a later one",
                joined(&others),
                last.number,
                last.when()
            )));
        }
        let has = |name: &&&ServiceName| !last.set.services.contains_key(**name);
        let missing: Vec<&ServiceName> = others.iter().filter(has).copied().collect();
        if !missing.is_empty() {
            return Err(Failure::usage(format!(
                "the record of {name} has nothing of {}, which the overlay names\n\
                 hint: deploy it too: `xp deploy {name} {}`",
                joined(&missing),
                names(wanted.iter().chain(missing.iter().copied())),
            )));
        }
        let kept = last.set.services.iter();
        let kept = kept.filter(|(name, _)| others.contains(name));
        Ok(Lock::new(
            kept.map(|(name, locked)| (name.clone(), locked.clone()))
                .collect(),
        ))
    }

    /// Renders the overlay around the user's, and makes sure that it is what was meant.
    async fn pinned(
        &self,
        files: &Files,
        plain: &Rendered,
        named: &Named,
        names: &ImageNames,
        set: &Lock,
    ) -> Result<(String, Rendered), Failure> {
        let missing = named.services.keys();
        let missing = missing.filter(|name| !set.services.contains_key(*name));
        let missing: Vec<&ServiceName> = missing.collect();
        if !missing.is_empty() {
            let name = &self.environment.name;
            return Err(Failure::usage(format!(
                "{} names {}, of which the set has no image\n\
                 hint: `xp deploy {name}` deploys today's images, of all services",
                files.shown,
                joined(&missing)
            )));
        }
        let folder = self.session.layout.environment(&self.environment.name);
        let folder = folder.join("overlay");
        let written = |error: std::io::Error| {
            Failure::outside(format!("{} cannot be written: {error}", folder.display()))
        };
        fs::create_dir_all(&folder).map_err(written)?;
        let real = folder.canonicalize().map_err(written)?;
        let overlay = Overlay::around(
            &files.overlay,
            &real,
            named,
            set,
            &files.fields,
            &files.options,
        );
        fs::write(real.join("kustomization.yaml"), overlay.kustomization).map_err(written)?;
        fs::write(real.join(Overlay::FIELDS), overlay.fields).map_err(written)?;
        let (text, rendered) = self.render(&real, &files.shown).await?;
        ForeignNamespaces::check(&files.shown, &self.environment.namespace, &rendered)?;
        NotPinned::check(&files.shown, plain, &rendered, &files.fields, names, set)?;
        Ok((text, rendered))
    }

    async fn render(
        &self,
        folder: &std::path::Path,
        shown: &str,
    ) -> Result<(String, Rendered), Failure> {
        let text = self.kubectl.render(folder).await.map_err(|error| {
            let cause = crate::error::chain(&error);
            Failure::usage(format!("{shown} cannot be rendered\n  cause: {cause}"))
        })?;
        let rendered = Rendered::read(&text).ok_or_else(|| {
            Failure::outside(format!("what kustomize renders of {shown} is no YAML"))
        })?;
        let mut secrets = Secrets::default();
        secrets.add_rendered(&rendered);
        self.hide(secrets);
        Ok((text, rendered))
    }

    fn hide(&self, more: Secrets) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.merge(more);
    }

    /// Tells what changes for each service.
    async fn tell(&self, record: &Record, prepared: &Prepared) -> Result<(), Failure> {
        let session = self.session;
        if !session.settings.report.closes_with_table() {
            return Ok(());
        }
        let name = self.environment.name.as_str();
        let empty = Lock::default();
        let before = record.last_deployed().map_or(&empty, |it| &it.set);
        let mut changes = Changes::between((name, before), ("the set", &prepared.set));
        // What the working copies know will do: nothing is fetched to say how far it is.
        super::diff::fill_in(session, &mut changes, false).await?;
        session.reporter.finish();
        let Environment {
            context, namespace, ..
        } = self.environment;
        let head = format!(
            "{name}: {} to namespace {namespace} of {context}\n",
            prepared.files.shown
        );
        super::print(&format!("{head}{}", changes.summary()))
    }
}

/// Returns services with commas.
fn joined(services: &[&ServiceName]) -> String {
    let names: Vec<&str> = services.iter().map(|it| it.as_str()).collect();
    names.join(", ")
}

/// Returns services as a command takes them.
fn names<'n>(services: impl Iterator<Item = &'n ServiceName>) -> String {
    let names: Vec<&str> = services.map(ServiceName::as_str).collect();
    names.join(" ")
}
