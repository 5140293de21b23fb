//! Whether a manifest goes with a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, LockedService};
use crate::error::{Diagnostic, Exit};
use crate::image::ImageRepository;
use crate::manifest::{Manifest, ServiceName};
use crate::plan::{Compared, Pinned, TESTS};
use crate::recipe::{Change, Recipe, Standing};
use crate::source::{GitUrl, Origin, ServiceSource};

/// A lock that the manifest does not go with.
#[derive(Debug, thiserror::Error)]
pub struct UnmetLock {
    file: String,
    problems: Vec<(ServiceName, Unmet)>,
}

/// Why a lock cannot be met for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// The lock does not name it.
    NotLocked,
    /// The manifest does not name it.
    NotInManifest,
    /// The remotes differ.
    Remote {
        /// The lock's.
        locked: GitUrl,
        /// The manifest's.
        manifest: GitUrl,
    },
    /// The folders of a shared repository differ.
    Path {
        /// The lock's.
        locked: Option<String>,
        /// The manifest's.
        manifest: Option<String>,
    },
    /// The build has other inputs than when the image was locked.
    Recipe {
        /// Those that changed, where that is known.
        changed: Vec<Change>,
    },
    /// The images' repositories differ.
    Image {
        /// The lock's.
        locked: ImageRepository,
        /// The manifest's.
        manifest: ImageRepository,
    },
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differ = |f: &mut fmt::Formatter<'_>,
                      what: &str,
                      locked: &dyn fmt::Display,
                      manifest: &dyn fmt::Display| {
            write!(
                f,
                "its {what} is {locked} in the lock, and {manifest} in the manifest"
            )
        };
        let path = |path: &Option<String>| match path {
            Some(path) => format!("`{path}`"),
            None => "none".to_owned(),
        };
        match self {
            Self::NotLocked => f.write_str("the lock does not name it"),
            Self::NotInManifest => f.write_str("the manifest does not name it"),
            Self::Remote { locked, manifest } => differ(f, "remote", locked, manifest),
            Self::Path { locked, manifest } => {
                differ(f, "`git.path`", &path(locked), &path(manifest))
            }
            Self::Image { locked, manifest } => differ(f, "image", locked, manifest),
            Self::Recipe { changed } => {
                f.write_str("its build has other inputs than the locked one")?;
                let changed: Vec<String> = changed.iter().map(ToString::to_string).collect();
                match changed.is_empty() {
                    true => Ok(()),
                    false => write!(f, ": {}", changed.join(", ")),
                }
            }
        }
    }
}

impl fmt::Display for UnmetLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be met", self.file)?;
        for (service, problem) in &self.problems {
            write!(f, "\n  {service}: {problem}")?;
        }
        Ok(())
    }
}

impl Diagnostic for UnmetLock {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        let all_not_locked = self
            .problems
            .iter()
            .all(|(_, problem)| *problem == Unmet::NotLocked);
        if all_not_locked {
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
            "take the manifest that belongs to the lock, such as that of the same commit, or lock anew by `xp lock`"
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

    /// Returns what is built of each service: what the lock says, and nothing else.
    ///
    /// `whole` says that all services of the manifest are meant: then none may be left over in the lock.
    /// `file` is how errors call the lock.
    ///
    /// # Errors
    ///
    /// Every service about which manifest and lock disagree.
    pub fn sources(
        &self,
        file: &str,
        manifest: &Manifest,
        services: &BTreeSet<ServiceName>,
        whole: bool,
    ) -> Result<BTreeMap<ServiceName, ServiceSource>, UnmetLock> {
        let mut problems = Vec::new();
        let mut sources = BTreeMap::new();
        for name in services {
            let Some(service) = manifest.services.get(name) else {
                continue;
            };
            let Some(locked) = self.services.get(name) else {
                problems.push((name.clone(), Unmet::NotLocked));
                continue;
            };
            let remote = service.git.remote.stripped();
            if locked.remote != remote {
                let problem = Unmet::Remote {
                    locked: locked.remote.clone(),
                    manifest: remote,
                };
                problems.push((name.clone(), problem));
            }
            if locked.path != service.git.path {
                let problem = Unmet::Path {
                    locked: locked.path.clone(),
                    manifest: service.git.path.clone(),
                };
                problems.push((name.clone(), problem));
            }
            if *locked.image.repository() != service.docker.image {
                let problem = Unmet::Image {
                    locked: locked.image.repository().clone(),
                    manifest: service.docker.image.clone(),
                };
                problems.push((name.clone(), problem));
            }
            sources.insert(
                name.clone(),
                ServiceSource::of(locked.resolved(), Origin::Lock),
            );
        }
        if whole {
            let known = |name: &&ServiceName| manifest.services.contains_key(*name);
            let left_over = self.services.keys().filter(|name| !known(name));
            problems.extend(left_over.map(|name| (name.clone(), Unmet::NotInManifest)));
        }
        if problems.is_empty() {
            return Ok(sources);
        }
        problems.sort_by(|(one, _), (other, _)| one.cmp(other));
        Err(UnmetLock {
            file: file.to_owned(),
            problems,
        })
    }

    /// Holds what the images of these services would be built from today against what was locked.
    ///
    /// # Errors
    ///
    /// Every service whose build has other inputs now.
    pub fn check_recipes(
        &self,
        file: &str,
        services: &BTreeSet<ServiceName>,
        today: &Compared,
    ) -> Result<(), UnmetLock> {
        let mut problems = Vec::new();
        for name in services {
            let (Some(locked), Some(recipe)) = (self.services.get(name), today.recipes.get(name))
            else {
                continue;
            };
            // An image may have been locked without its tests.
            let is_locked = |recipe: &Recipe| recipe.digest() == locked.recipe;
            if is_locked(recipe) || is_locked(&recipe.without(TESTS)) {
                continue;
            }
            let comparison = today.comparisons.get(name);
            let standing = comparison.and_then(|comparison| {
                // Only the locked image itself can tell what it was locked with.
                let is_locked = comparison.digest == locked.digest;
                is_locked.then(|| comparison.registry.standing()).flatten()
            });
            let changed = match standing {
                Some(Standing::Stale(changes)) => changes.clone(),
                _ => Vec::new(),
            };
            problems.push((name.clone(), Unmet::Recipe { changed }));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(UnmetLock {
            file: file.to_owned(),
            problems,
        })
    }
}
