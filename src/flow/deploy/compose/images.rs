//! The images of a deploy to a compose project: by digest, or by the engine's ID if they are in no registry.

use std::collections::{BTreeMap, BTreeSet};

use super::ComposeTask;
use crate::base::error::{Exit, Failure};
use crate::flow::deploy::set::{self, CurrentImages, LockedImages};
use crate::flow::request::{DeployImages, EngineUse};
use crate::flow::sources::locked::Locked;
use crate::model::deploy::{Deployment, LaunchImage, Record};
use crate::model::image::{ImageQuery, ImageReference};
use crate::model::lock::{Lock, LockedService};
use crate::model::manifest::ServiceName;
use crate::model::plan::Inventory;
use crate::model::recipe::{LABEL_RECIPE, Recipe};
use crate::store::claim::FolderLock;

/// A set of images, and how the engine finds them.
pub(super) struct LaunchSet {
    pub set: Lock,
    /// The engine's IDs of images that have no digest in a registry.
    pub ids: BTreeMap<ServiceName, String>,
}

impl LaunchSet {
    /// Returns the references to the images.
    pub(super) fn references(&self) -> BTreeMap<ServiceName, LaunchImage> {
        let services = self.set.services.iter().filter_map(|(name, locked)| {
            let image = match (self.ids.get(name), &locked.digest) {
                (Some(id), _) => LaunchImage::Id(id.clone()),
                (None, Some(digest)) => {
                    let pinned = locked.image.repository().with_digest(digest.clone());
                    LaunchImage::Digest(pinned.to_string())
                }
                (None, None) => return None,
            };
            Some((name.clone(), image))
        });
        services.collect()
    }
}

impl ComposeTask<'_> {
    /// Returns the images to deploy; services that are not selected keep those of `kept`.
    pub(super) async fn images(
        &self,
        record: &Record,
        wanted: &BTreeSet<ServiceName>,
        kept: &Lock,
        folder: &FolderLock,
    ) -> Result<LaunchSet, Failure> {
        let session = self.session;
        let last = record.deploys.first();
        let kept_ids = last.into_iter().flat_map(|last| &last.ids);
        let kept_ids: BTreeMap<ServiceName, String> = kept_ids
            .filter(|(name, _)| kept.services.contains_key(*name))
            .map(|(name, id)| (name.clone(), id.clone()))
            .collect();
        match &self.request.images {
            DeployImages::Lock(file) => {
                let found = Locked::read(session, file)?;
                let set = found.set(session, wanted, kept)?;
                let locked = LockedImages {
                    services: wanted,
                    copies: found.copy_commands(session, wanted),
                };
                self.checked(set, kept_ids, Some(&locked)).await
            }
            DeployImages::Current {
                references,
                build,
                trust_commit,
                local,
                built,
            } => {
                let current = CurrentImages {
                    session,
                    references,
                    trust_commit: *trust_commit,
                    services: wanted,
                    folder,
                    engine: if *local {
                        EngineUse::WorkingCopies
                    } else {
                        EngineUse::Unregistered
                    },
                    built,
                };
                if *build {
                    current.build().await?;
                }
                let found = current.set(&self.request.environment.name, kept).await?;
                let kept = self.checked(kept.clone(), kept_ids, None).await?;
                let mut ids = found.ids;
                ids.extend(kept.ids);
                Ok(LaunchSet {
                    set: found.lock,
                    ids,
                })
            }
            DeployImages::Previous => self.of_deploy(self.rollback_target(record)?).await,
        }
    }

    /// Returns the images of an earlier deploy.
    pub(super) async fn of_deploy(&self, earlier: &Deployment) -> Result<LaunchSet, Failure> {
        let (set, ids) = (earlier.set.clone(), earlier.ids.clone());
        self.checked(set, ids, None).await
    }

    /// Checks that the images exist: those with a digest in the engine or their registry, others in the engine. Those of
    /// `locked` must have the recorded recipes.
    async fn checked(
        &self,
        set: Lock,
        mut ids: BTreeMap<ServiceName, String>,
        locked: Option<&LockedImages<'_>>,
    ) -> Result<LaunchSet, Failure> {
        let engine = &self.project.engine;
        let by_name = |name: &ServiceName, locked: &LockedService| {
            let repository = locked.image.repository();
            match &locked.digest {
                _ if ids.contains_key(name) => None,
                Some(digest) => Some(repository.with_digest(digest.clone())),
                None => Some(locked.image.clone()),
            }
        };
        let names: BTreeMap<ServiceName, ImageReference> = set
            .services
            .iter()
            .filter_map(|(name, locked)| Some((name.clone(), by_name(name, locked)?)))
            .collect();
        let found = engine
            .images(names.values().cloned().map(ImageQuery::from))
            .await?;
        let found = Inventory {
            engine: found,
            ..Inventory::default()
        };
        let mut problems = Vec::new();
        let mut in_registry = BTreeMap::new();
        for (name, entry) in &set.services {
            if let Some(id) = ids.get(name) {
                if engine.content_of_id(id).await?.is_none() {
                    problems.push(format!(
                        "\n  {name}: the engine no longer has {} ({})",
                        entry.image,
                        shortened(id)
                    ));
                }
                continue;
            }
            let Some(image) = names.get(name) else {
                continue;
            };
            let Some(image_in_engine) = found.in_engine(image) else {
                match entry.digest {
                    Some(_) => _ = in_registry.insert(name.clone(), entry.clone()),
                    None => problems.push(format!("\n  {name}: the engine has no {image}")),
                }
                continue;
            };
            let recipe = image_in_engine.labels.get(LABEL_RECIPE);
            let recipe = recipe.and_then(|label| label.parse::<Recipe>().ok());
            let is_locked = locked.is_some_and(|locked| locked.services.contains(name));
            if is_locked && recipe.is_some_and(|recipe| set::is_other(recipe, entry)) {
                problems.push(format!(
                    "\n  {name}: {image} was built from different inputs than recorded"
                ));
            }
            if entry.digest.is_none() {
                ids.insert(name.clone(), image_in_engine.id.clone());
            }
        }
        if !problems.is_empty() {
            return Err(Failure::rendered(
                Exit::Outside,
                format!(
                    "error: some images of this release are not in the engine{}\n\
                     hint: they are in no registry, so they exist only in the engine that built them; `xp deploy {} --build` builds and deploys the current ones",
                    problems.concat(),
                    self.request.environment.name
                ),
            ));
        }
        if !in_registry.is_empty() {
            set::check_images(self.session, &in_registry, locked).await?;
        }
        Ok(LaunchSet { set, ids })
    }
}

/// Returns the first digits of an ID.
fn shortened(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}
