//! What the environments of the manifest run and ran.

use crate::base::error::Failure;
use crate::client::engine::Engine;
use crate::flow::deploy;
use crate::flow::session::Session;
use crate::model::clean::{Reason, Roots, Rule};
use crate::model::deploy::Record;
use crate::model::event::Event;
use crate::model::image::ImageReference;
use crate::model::manifest::{ClusterEnvironment, ComposeEnvironment, Environment, Manifest};

use super::images::id_digest;

/// The start of the names of records in an engine.
const RECORD: &str = "xp-deploy-";

/// The environments of the manifest.
#[derive(Default)]
pub struct Environments<'m> {
    clusters: Vec<&'m ClusterEnvironment>,
    compose: Vec<&'m ComposeEnvironment>,
}

impl<'m> Environments<'m> {
    /// Returns the environments of a manifest.
    pub fn of(manifest: &'m Manifest) -> Self {
        let mut found = Self::default();
        let deploy = manifest.deploy.iter();
        for environment in deploy.flat_map(|deploy| deploy.environments.values()) {
            match environment {
                Environment::Cluster(cluster) => found.clusters.push(cluster),
                Environment::Compose(compose) => found.compose.push(compose),
            }
        }
        found
    }

    /// Adds what clusters and the engine run, and what was deployed to them.
    ///
    /// # Errors
    ///
    /// A cluster or the engine does not respond, or a record cannot be read.
    pub async fn add(&self, session: &Session, roots: &mut Roots) -> Result<(), Failure> {
        for found in deploy::in_clusters(session, &self.clusters).await? {
            for image in &found.images {
                let reason = Reason::new(Rule::Running, format!("running in {}", found.name));
                add_image(image, &reason, roots);
            }
            let (record, name) = (&found.record, found.name.as_str());
            add_record(&session.manifest, record, name, roots);
            if record.deploys.is_empty() {
                let text = format!("nothing was deployed to {name} by xp");
                session.events.emit(Event::note(text));
            }
        }
        if let Some(first) = self.compose.first() {
            let engine = session.unless_interrupted(async { Ok(session.connect().await?) });
            let engine = engine.await.map_err(|failure| {
                let hint = format!(
                    "the environment `{}` runs in the engine; remove it from the manifest if it is not used",
                    first.name
                );
                failure.map_message(|message| format!("{message}\nhint: {hint}"))
            })?;
            session
                .unless_interrupted(in_engine(&session.manifest, &engine, roots))
                .await?;
        }
        Ok(())
    }
}

/// Adds what the containers of an engine run, and what its records name, of any project.
///
/// # Errors
///
/// The engine does not respond, or a record of the manifest's environments cannot be read.
pub async fn in_engine(
    manifest: &Manifest,
    engine: &Engine,
    roots: &mut Roots,
) -> Result<(), Failure> {
    for (id, container) in engine.images_of_containers().await? {
        if let Some(digest) = id_digest(&id) {
            let text = format!("used by the container {container}");
            roots.digest(digest, Reason::new(Rule::Running, text));
        }
    }
    let own = Environments::of(manifest).compose;
    for (name, text) in engine.documents(RECORD).await? {
        let name = name.strip_prefix(RECORD).unwrap_or(&name);
        // Other platforms have records, too.
        let own = own.iter().find_map(|it| {
            let project = name.strip_suffix(it.name.as_str())?.strip_suffix('-')?;
            Some(format!("{} (compose project {project})", it.name))
        });
        let shown = own.as_deref().unwrap_or(name);
        match Record::parse(&text) {
            Ok(record) => add_record(manifest, &record, shown, roots),
            Err(why) if own.is_some() => {
                return Err(Failure::outside(format!(
                    "the deploy record of {shown} in the engine cannot be read: {why}\n\
                     hint: if a newer xp wrote it, use that version"
                )));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Adds the images of the last deploys, and in any case those of the last successful one.
fn add_record(manifest: &Manifest, record: &Record, environment: &str, roots: &mut Roots) {
    let count = manifest.clean.keep.deploys as usize;
    let last = record.deploys.iter().take(count);
    for deploy in last.chain(record.last_deployed()) {
        let text = format!("deploy {} of {environment}", deploy.number);
        let reason = Reason::new(Rule::Deployed, text);
        for locked in deploy.set.services.values() {
            match &locked.digest {
                Some(digest) => {
                    let repository = locked.image.repository();
                    roots.manifest(Some(repository), digest.clone(), reason.clone());
                }
                None => roots.name(locked.image.clone(), reason.clone()),
            }
            if let Some(builder) = &locked.builder {
                roots.name(builder.clone(), reason.clone());
            }
        }
        for id in deploy.ids.values().filter_map(|id| id_digest(id)) {
            roots.digest(id, reason.clone());
        }
    }
}

/// Adds an image as Kubernetes names it.
fn add_image(text: &str, reason: &Reason, roots: &mut Roots) {
    let name = match text.split_once("://") {
        Some((_, name)) => name,
        None => text,
    };
    if let Ok(digest) = name.parse() {
        roots.digest(digest, reason.clone());
        return;
    }
    let Ok(image) = name.parse::<ImageReference>() else {
        return;
    };
    match image.digest() {
        Some(digest) => {
            roots.manifest(Some(image.repository()), digest.clone(), reason.clone());
        }
        None => roots.name(image.with_defaults(), reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_pods_are_roots() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let mut roots = Roots::default();
        let reason = Reason::new(Rule::Running, "running in staging");
        for image in [
            "r.example.com/x/a:1",
            &format!("docker-pullable://r.example.com/x/a@{digest}"),
            &format!("r.example.com/x/a:1@{digest}"),
            &digest,
            "Not An Image",
        ] {
            add_image(image, &reason, &mut roots);
        }
        let names: Vec<String> = roots.names.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["r.example.com/x/a:1"]);
        let digests: Vec<&str> = roots.digests.keys().map(|it| it.as_str()).collect();
        assert_eq!(digests, [&digest]);
    }
}
