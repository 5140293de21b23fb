//! The decision table: what is done with each service.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Compared, Comparison, Sighting};
use super::draft::{Candidate, Draft};
use super::obstacle::{Obstacle, Obstacles, known};
use super::recipe::Folders;
use super::{Decision, Inventory, PlanError, Presence, UnknownImages};
use crate::event::Unit;
use crate::image::{ImageReference, Tag};
use crate::manifest::{BuilderImage, ServiceName};
use crate::recipe::{Change, Recipe, Standing};

/// What is done with one service, and why.
#[derive(Debug)]
pub(super) struct Verdict {
    pub decision: Decision,
    pub reason: String,
    pub changes: Vec<Change>,
    /// The tags that the registry lacks, or has at another image.
    pub registry_tags: Vec<Tag>,
    /// The names that the engine lacks, or has for another image.
    pub engine_names: Vec<ImageReference>,
}

/// A draft in which every service is decided.
pub struct Decided<'a> {
    pub(super) draft: Draft<'a>,
    pub(super) inventory: Inventory,
    pub(super) folders: Folders,
    /// How the image of each service stands to its recipe.
    pub comparisons: BTreeMap<ServiceName, Comparison>,
    /// What services are built from today: of all of them, with `--trust-commit` of the built ones.
    pub recipes: BTreeMap<ServiceName, Recipe>,
    /// The services that the plan shows; those that nothing needs are left out.
    pub(super) verdicts: BTreeMap<ServiceName, Verdict>,
}

/// How many changed inputs a reason names.
const NAMED_CHANGES: usize = 3;

impl<'a> Draft<'a> {
    /// Decides what is done with each service.
    ///
    /// # Errors
    ///
    /// Where a registry could not tell whether it has an image, where it cannot be told what an image
    /// was built from, and a build argument or a variable that cannot be rendered.
    pub fn decide(self, inventory: Inventory, folders: Folders) -> Result<Decided<'a>, PlanError> {
        self.known(&inventory)?;
        let Compared {
            mut comparisons,
            mut recipes,
        } = self.compare(&inventory, &folders)?;
        for candidate in &self.candidates {
            if let Some(comparison) = comparisons.get_mut(&candidate.service.name) {
                self.pin(candidate, comparison, &inventory);
            }
        }
        let mut built = BTreeSet::new();
        let verdicts = loop {
            let (verdicts, now_built) = self.verdicts(&comparisons, &inventory, &built)?;
            // What is built changes what has to be built upon it; each round adds to it.
            if self.options.trust_commit || now_built == built {
                built = now_built;
                break verdicts;
            }
            built = now_built;
        };
        if self.options.trust_commit {
            recipes = self.recipes(&built, &folders)?;
        }
        Ok(Decided {
            draft: self,
            inventory,
            folders,
            comparisons,
            recipes,
            verdicts,
        })
    }

    /// Decides about each service, where it is known that those of `rebuilt` are built; returns those that are built
    /// by these decisions.
    fn verdicts(
        &self,
        comparisons: &BTreeMap<ServiceName, Comparison>,
        inventory: &Inventory,
        rebuilt: &BTreeSet<ServiceName>,
    ) -> Result<(BTreeMap<ServiceName, Verdict>, BTreeSet<ServiceName>), PlanError> {
        let mut verdicts = BTreeMap::new();
        let mut obstacles = Obstacles::default();
        let mut built = BTreeSet::new();
        let mut needed_by_a_build: BTreeSet<&ServiceName> = BTreeSet::new();
        // From those that nothing else needs to those that many need: a service which was not
        // selected is of interest only where one that needs it is built.
        for candidate in self.candidates.iter().rev() {
            let name = &candidate.service.name;
            let is_needed = needed_by_a_build.contains(name);
            if !candidate.selected && !is_needed {
                continue;
            }
            let Some(comparison) = comparisons.get(name) else {
                continue;
            };
            let verdict = match self.options.force && candidate.selected {
                true => Ok(Choice::build("--force".to_owned())),
                false => self.choose(candidate, is_needed, comparison),
            };
            let choice = match verdict {
                Ok(choice) => choice.after_needs(candidate, rebuilt),
                Err(obstacle) => {
                    obstacles.add(&candidate.image, obstacle);
                    continue;
                }
            };
            if choice.decision == Decision::Build {
                needed_by_a_build.extend(&candidate.service.needs);
                built.insert(name.clone());
            }
            let verdict = self.verdict(candidate, choice, comparison, inventory);
            verdicts.insert(name.clone(), verdict);
        }
        obstacles.check()?;
        Ok((verdicts, built))
    }

    /// Lets a pinned image count as it is, and no other one of the same commit.
    fn pin(&self, candidate: &Candidate<'_>, comparison: &mut Comparison, inventory: &Inventory) {
        let pinned = self.options.pinned.get(&candidate.service.name);
        let digest = pinned.and_then(|pinned| pinned.digest.as_ref());
        let Some(digest) = digest.filter(|digest| comparison.digest.as_ref() == Some(*digest))
        else {
            return;
        };
        let by_digest = candidate.image.repository().with_digest(digest.clone());
        let id = |image| inventory.in_engine(image).map(|image| &image.id);
        let pinned_id = id(&by_digest);
        comparison.registry = Sighting::Found(Standing::Verified);
        comparison.engine = match pinned_id.is_some() && pinned_id == id(&candidate.image) {
            true => Sighting::Found(Standing::Verified),
            false => Sighting::Absent,
        };
    }

    /// Tells whether all is known that decides what is pushed.
    ///
    /// A registry that does not answer keeps nobody from building in place: nothing of that gets there.
    fn known(&self, inventory: &Inventory) -> Result<(), UnknownImages> {
        let local = self
            .candidates
            .iter()
            .filter(|candidate| candidate.source.local.is_some());
        let local: BTreeSet<&ImageReference> = local.map(|candidate| &candidate.image).collect();
        let asked = inventory.registry.iter();
        UnknownImages::check(asked.filter(|(image, _)| !local.contains(image)))
    }

    /// Chooses by what exists, and what it was built from.
    ///
    /// What is built in place reaches no registry, so a registry matters only where it has an image of
    /// the commit, and the working copy is that commit.
    fn choose(
        &self,
        candidate: &Candidate<'_>,
        is_needed: bool,
        comparison: &Comparison,
    ) -> Result<Choice, Obstacle> {
        let push = self.options.push && !candidate.is_local;
        // Dependents are built from the engine's image, which must be the registry's.
        let pull = self.options.pull || is_needed;
        let (registry, in_registry) = match &candidate.source.local {
            None => {
                let registry = candidate.image.repository().registry();
                (registry, known(&comparison.registry)?)
            }
            Some(_) => {
                let standing = comparison.registry.standing();
                let registry = candidate.image.repository().registry();
                (registry.filter(|_| standing.is_some()), standing)
            }
        };
        // What the engine has matters less: the registry's image takes its place.
        let in_engine = match (in_registry, known(&comparison.engine)) {
            (Some(Standing::Verified | Standing::Unverified), Err(_)) => None,
            (_, in_engine) => in_engine?,
        };
        let choice = |decision, reason: &str| Choice {
            decision,
            reason: reason.to_owned(),
            changes: Vec::new(),
        };
        let wanted = match &candidate.variant {
            None => "the commit".to_owned(),
            Some(variant) => format!("the commit with {variant}"),
        };
        let there = match &comparison.identity {
            Some(tag) => format!("in the registry as {tag}"),
            None => "in the registry".to_owned(),
        };
        let chosen = match (registry, in_registry, in_engine) {
            (Some(_), Some(Standing::Stale(changes)), Some(Standing::Verified)) => Choice {
                decision: if push { Decision::Push } else { Decision::Skip },
                reason: match push {
                    true => format!("the registry's is another: {}", in_words(changes)),
                    false => self.not_pushed(candidate),
                },
                changes: changes.clone(),
            },
            (Some(_), Some(Standing::Stale(changes)), _)
            | (Some(_) | None, None, Some(Standing::Stale(changes))) => Choice {
                decision: Decision::Build,
                reason: in_words(changes),
                changes: changes.clone(),
            },
            (Some(_), Some(_), Some(Standing::Stale(changes))) if pull => Choice {
                decision: Decision::Pull,
                reason: format!("{there}; the engine's is another: {}", in_words(changes)),
                changes: changes.clone(),
            },
            (Some(_), Some(_), Some(Standing::Stale(_))) => choice(Decision::Skip, &there),
            (Some(_), Some(_), Some(_)) => {
                choice(Decision::Skip, &format!("{there} and the engine"))
            }
            (Some(_), Some(_), None) if pull => {
                choice(Decision::Pull, &format!("{there}, not in the engine"))
            }
            (Some(_), Some(_), None) => choice(Decision::Skip, &there),
            (Some(_), None, Some(_)) if push => {
                choice(Decision::Push, "in the engine, not in the registry")
            }
            (Some(_), None, Some(_)) => choice(Decision::Skip, &self.not_pushed(candidate)),
            (Some(registry), None, None) => {
                Choice::build(format!("neither {registry} nor the engine has {wanted}"))
            }
            (None, _, Some(_)) => choice(Decision::Skip, "in the engine"),
            (None, _, None) => Choice::build(match candidate.source.changes() {
                Some(changes) => format!("changed: {changes}"),
                None => format!("the engine does not have {wanted}"),
            }),
        };
        let chosen = match &comparison.registry {
            Sighting::OfWorkingCopy => chosen.instead_of_pushed(),
            _ => chosen,
        };
        let chosen = match comparison.engine {
            Sighting::OfWorkingCopy => chosen.instead_of_local(),
            _ => chosen,
        };
        let is_unverified = in_registry.or(in_engine) == Some(&Standing::Unverified);
        Ok(if is_unverified {
            chosen.unverified()
        } else {
            chosen
        })
    }

    fn not_pushed(&self, candidate: &Candidate<'_>) -> String {
        match candidate.is_local {
            true => "in the engine".to_owned(),
            false => "in the engine; --no-push".to_owned(),
        }
    }

    fn verdict(
        &self,
        candidate: &Candidate<'_>,
        choice: Choice,
        comparison: &Comparison,
        inventory: &Inventory,
    ) -> Verdict {
        let registry = candidate.image.repository().registry();
        let in_registry = comparison.digest.as_ref();
        let in_engine = match comparison.engine {
            // No name of the commit's image belongs to it.
            Sighting::OfWorkingCopy => None,
            _ => inventory.in_engine(&candidate.image),
        };
        let Choice {
            mut decision,
            mut reason,
            changes,
        } = choice;
        if inventory.incomplete.contains(&candidate.image) {
            reason.push_str("; the registry's image is incomplete");
        }

        let registry_tags: Vec<Tag> = match (registry, decision) {
            (Some(_), _) if !self.options.push || candidate.is_local => Vec::new(),
            (None, _) => Vec::new(),
            // The commit's tag is set by the push itself.
            (Some(_), Decision::Build | Decision::Push) => candidate.tags.clone(),
            (Some(_), _) => {
                let moved =
                    comparison.identity.is_some() && in_registry != comparison.by_commit.as_ref();
                let moved = moved.then(|| candidate.image.clone());
                let differs = |name: &ImageReference| {
                    !matches!(
                        (inventory.registry.get(name), in_registry),
                        (Some(Presence::Present(tagged)), Some(commit)) if tagged == commit
                    )
                };
                moved
                    .into_iter()
                    .chain(candidate.names().filter(differs))
                    .filter_map(|name| name.tag().cloned())
                    .collect()
            }
        };
        let engine_names: Vec<ImageReference> = match (decision, in_engine) {
            (Decision::Build, _) if self.options.all_or_nothing => candidate.names().collect(),
            (Decision::Build, _) => Vec::new(),
            (Decision::Pull, _) => candidate.names().collect(),
            (_, None) => Vec::new(),
            (_, Some(image)) => candidate
                .names()
                .filter(|name| {
                    inventory
                        .in_engine(name)
                        .is_none_or(|named| named.id != image.id)
                })
                .collect(),
        };
        if decision == Decision::Skip && !(registry_tags.is_empty() && engine_names.is_empty()) {
            decision = Decision::Tag;
            let tags: BTreeSet<&str> = registry_tags
                .iter()
                .chain(engine_names.iter().filter_map(|name| name.tag()))
                .map(Tag::as_str)
                .collect();
            reason = format!(
                "{reason}; to set: {}",
                tags.into_iter().collect::<Vec<_>>().join(", ")
            );
        }
        Verdict {
            decision,
            reason,
            changes,
            registry_tags,
            engine_names,
        }
    }
}

/// What is done with a service's image, and why.
struct Choice {
    decision: Decision,
    reason: String,
    changes: Vec<Change>,
}

impl Choice {
    /// Builds what would stay as it is but needs an image that is built again.
    fn after_needs(self, candidate: &Candidate<'_>, rebuilt: &BTreeSet<ServiceName>) -> Self {
        let mut needs = candidate.service.needs.iter();
        match needs.find(|need| rebuilt.contains(*need)) {
            Some(need) if self.decision != Decision::Build && candidate.pinned.is_none() => {
                let changes = vec![Change::of_needed_image(need.as_str())];
                Self {
                    decision: Decision::Build,
                    reason: format!("{need} is built"),
                    changes,
                }
            }
            _ => self,
        }
    }

    fn build(reason: String) -> Self {
        Self {
            decision: Decision::Build,
            reason,
            changes: Vec::new(),
        }
    }

    /// Says why what the registry has does not count: somebody pushed it by hand.
    fn instead_of_pushed(mut self) -> Self {
        if matches!(self.decision, Decision::Build | Decision::Push) {
            let why = "; the registry's image was built by --local";
            self.reason.push_str(why);
        }
        self
    }

    /// Says why what the engine has does not count.
    fn instead_of_local(mut self) -> Self {
        if matches!(self.decision, Decision::Build | Decision::Pull) {
            let why = "; the engine's image was built by --local";
            self.reason.push_str(why);
        }
        self
    }

    fn unverified(mut self) -> Self {
        self.reason.push_str(", unverified");
        self
    }
}

/// Says which inputs changed.
fn in_words(changes: &[Change]) -> String {
    let named = changes.iter().take(NAMED_CHANGES).map(ToString::to_string);
    let mut words = named.collect::<Vec<_>>().join(", ");
    if changes.len() > NAMED_CHANGES {
        words.push_str(&format!(" and {} more", changes.len() - NAMED_CHANGES));
    }
    words
}

impl Decided<'_> {
    /// Returns the builder images that the builds' scripts run in, each once.
    pub fn builders(&self) -> BTreeSet<Unit> {
        self.builders_of(|_| true)
    }

    fn builders_of(&self, is_meant: impl Fn(&Candidate<'_>) -> bool) -> BTreeSet<Unit> {
        // With `--no-test`, those of services that have nothing but tests run none.
        let builds = self.builds().filter(|it| is_meant(it));
        let builds = builds.filter(|it| !self.scripts(it).is_empty());
        builds.filter_map(builder_unit).collect()
    }

    /// Returns the images of those that are made from folders and have to be looked for in a registry: for
    /// working copies, whose images stay here, only what the engine lacks.
    pub fn builder_images(&self) -> Vec<ImageReference> {
        let for_commits = self.builders_of(|candidate| !candidate.is_local);
        let units = self.builders();
        let folders = units
            .iter()
            .filter_map(|unit| Some((unit, self.folders.get(unit)?)));
        let wanted = folders.filter(|(unit, folder)| {
            let is_there = self.inventory.in_engine(&folder.image).is_some();
            folder.image.repository().registry().is_some()
                && (for_commits.contains(unit) || !is_there)
        });
        let wanted = wanted.map(|(_, folder)| folder);
        wanted
            .flat_map(|folder| {
                let newest = folder.newest().filter(|_| self.draft.options.push);
                std::iter::once(folder.image.clone()).chain(newest)
            })
            .collect()
    }

    fn builds(&self) -> impl Iterator<Item = &Candidate<'_>> {
        self.draft.candidates.iter().filter(|candidate| {
            self.verdicts
                .get(&candidate.service.name)
                .is_some_and(|verdict| verdict.decision == Decision::Build)
        })
    }
}

/// Returns the builder image of a service that has scripts.
pub(super) fn builder_unit(candidate: &Candidate<'_>) -> Option<Unit> {
    let service = candidate.service;
    if service.scripts.is_empty() {
        return None;
    }
    Some(match &service.builder.as_ref()?.image {
        BuilderImage::Folder(name) => Unit::Builder(name.clone()),
        BuilderImage::External(image) => Unit::External(image.clone()),
    })
}
