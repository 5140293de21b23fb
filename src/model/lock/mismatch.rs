//! Checks a manifest against a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, LockedService};
use crate::base::error::{Diagnostic, Exit};
use crate::model::image::ImageRepository;
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::plan::{ComparisonResults, Pinned};
use crate::model::recipe::{Recipe, RecipeChange, RecipeStatus};
use crate::model::source::{ReferenceOrigin, ServiceSource};

/// A lock that does not match the manifest.
#[derive(Debug, thiserror::Error)]
pub struct LockMismatch {
    file: String,
    problems: Vec<(ServiceName, Mismatch)>,
    /// Whether the lock has services that the manifest does not have, for example under their former names.
    has_others: bool,
}

/// Why the lock and the manifest do not match for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The service is not in the lock.
    NotLocked,
    /// The service is not in the manifest.
    NotInManifest,
    /// The folders of a shared repository differ.
    Path {
        /// The lock's.
        locked: Option<String>,
        /// The manifest's.
        manifest: Option<String>,
    },
    /// The build inputs have changed since the image was locked.
    Recipe {
        /// The changed inputs, if known.
        changed: Vec<RecipeChange>,
    },
    /// Only one of the images is in a registry.
    Image {
        /// The lock's.
        locked: ImageRepository,
        /// The manifest's.
        manifest: ImageRepository,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differ = |f: &mut fmt::Formatter<'_>,
                      what: &str,
                      locked: &dyn fmt::Display,
                      manifest: &dyn fmt::Display| {
            write!(
                f,
                "its {what} is {locked} in the lock, but {manifest} in the manifest"
            )
        };
        let path = |path: &Option<String>| match path {
            Some(path) => format!("`{path}`"),
            None => "none".to_owned(),
        };
        match self {
            Self::NotLocked => f.write_str("not in the lock"),
            Self::NotInManifest => f.write_str("not in the manifest"),
            Self::Path { locked, manifest } => {
                differ(f, "`git.path`", &path(locked), &path(manifest))
            }
            Self::Image { locked, manifest } => differ(f, "image", locked, manifest),
            Self::Recipe { changed } => {
                f.write_str("its build inputs differ from the locked ones")?;
                let changed: Vec<String> = changed.iter().map(ToString::to_string).collect();
                if changed.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {}", changed.join(", "))
                }
            }
        }
    }
}

impl fmt::Display for LockMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not match the manifest", self.file)?;
        for (service, problem) in &self.problems {
            write!(f, "\n  {service}: {problem}")?;
        }
        Ok(())
    }
}

impl Diagnostic for LockMismatch {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        let all_not_locked = self
            .problems
            .iter()
            .all(|(_, problem)| *problem == Mismatch::NotLocked);
        if all_not_locked && !self.has_others {
            let names: Vec<&str> = self
                .problems
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            return vec![format!(
                "`xp lock {}` adds what is missing",
                names.join(" ")
            )];
        }
        vec![
            "use the manifest that belongs to the lock, such as the one in the same commit, or update the lock with `xp lock`"
                .to_owned(),
        ]
    }
}

impl Lock {
    /// Returns the image of each service.
    pub fn pinned(&self) -> BTreeMap<ServiceName, Pinned> {
        let pinned = |(name, locked): (&ServiceName, &LockedService)| {
            let (tag, digest) = (locked.image.tag()?.clone(), locked.digest.clone());
            Some((name.clone(), Pinned { tag, digest }))
        };
        self.services.iter().filter_map(pinned).collect()
    }

    /// Returns the locked source of each service.
    ///
    /// Neither remotes nor image names must match: a commit is the same at any URL, and a digest in any repository.
    ///
    /// If `whole` is set, all services of the manifest are selected, and the lock must not have any others. `file` is
    /// the lock's name in errors.
    ///
    /// # Errors
    ///
    /// Every service for which the manifest and the lock do not match.
    pub fn sources(
        &self,
        file: &str,
        manifest: &Manifest,
        services: &BTreeSet<ServiceName>,
        whole: bool,
    ) -> Result<BTreeMap<ServiceName, ServiceSource>, LockMismatch> {
        let mut problems = Vec::new();
        let mut sources = BTreeMap::new();
        for name in services {
            let Some(service) = manifest.services.get(name) else {
                continue;
            };
            let Some(locked) = self.services.get(name) else {
                problems.push((name.clone(), Mismatch::NotLocked));
                continue;
            };
            if locked.path.as_ref() != service.source.path() {
                let problem = Mismatch::Path {
                    locked: locked.path.clone(),
                    manifest: service.source.path().cloned(),
                };
                problems.push((name.clone(), problem));
            }
            let is_in_registry = |image: &ImageRepository| image.registry().is_some();
            let repository = locked.image.repository();
            if is_in_registry(repository) != is_in_registry(&service.docker.image) {
                let problem = Mismatch::Image {
                    locked: repository.clone(),
                    manifest: service.docker.image.clone(),
                };
                problems.push((name.clone(), problem));
            }
            sources.insert(
                name.clone(),
                ServiceSource::of(locked.resolved(), ReferenceOrigin::Lock),
            );
        }
        if whole {
            let known = |name: &&ServiceName| manifest.services.contains_key(*name);
            let not_in_manifest = self.services.keys().filter(|name| !known(name));
            problems.extend(not_in_manifest.map(|name| (name.clone(), Mismatch::NotInManifest)));
        }
        if problems.is_empty() {
            return Ok(sources);
        }
        problems.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut locked = self.services.keys();
        Err(LockMismatch {
            file: file.to_owned(),
            problems,
            has_others: locked.any(|name| !manifest.services.contains_key(name)),
        })
    }

    /// Compares the current recipes of these services with the locked ones.
    ///
    /// # Errors
    ///
    /// Every service whose build inputs have changed.
    pub fn check_recipes(
        &self,
        file: &str,
        services: &BTreeSet<ServiceName>,
        current: &ComparisonResults,
    ) -> Result<(), LockMismatch> {
        let mut problems = Vec::new();
        for name in services {
            let (Some(locked), Some(recipe)) = (self.services.get(name), current.recipes.get(name))
            else {
                continue;
            };
            // The image may have been locked without its tests.
            let is_locked = |recipe: &Recipe| {
                let recipe = recipe.without_platforms();
                let digest = recipe.without_tests().digest();
                recipe.digest() == locked.recipe || digest == locked.recipe
            };
            let comparison = current.comparisons.get(name);
            let usable = comparison.filter(|it| it.registry.is_usable());
            let former = usable.and_then(|it| it.former_recipe.as_ref());
            if is_locked(recipe) || former.is_some_and(is_locked) {
                continue;
            }
            let recipe_status = comparison.and_then(|comparison| {
                // Only the locked image itself has the inputs from when it was locked.
                let is_locked = comparison.digest == locked.digest;
                is_locked
                    .then(|| comparison.registry.recipe_status())
                    .flatten()
            });
            let changed = match recipe_status {
                Some(RecipeStatus::Stale(changes)) => changes.clone(),
                _ => Vec::new(),
            };
            problems.push((name.clone(), Mismatch::Recipe { changed }));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(LockMismatch {
            file: file.to_owned(),
            problems,
            has_others: false,
        })
    }
}
