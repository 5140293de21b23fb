//! The decision table: what is done with each service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::draft::{Candidate, Draft};
use super::{Decision, Inventory, Presence, Refusal};
use crate::error::{Diagnostic, Exit};
use crate::event::Unit;
use crate::image::{EngineImage, ImageReference, Tag};
use crate::manifest::{BuilderImage, BuilderName, ServiceName};
use crate::recipe::LABEL_LOCAL;

/// What is done with one service, and why.
#[derive(Debug)]
pub(super) struct Verdict {
    pub decision: Decision,
    pub reason: String,
    /// The tags that the registry lacks, or has at another image.
    pub registry_tags: Vec<Tag>,
    /// The names that the engine lacks, or has for another image.
    pub engine_names: Vec<ImageReference>,
}

/// A draft in which every service is decided.
pub struct Decided<'a> {
    pub(super) draft: Draft<'a>,
    pub(super) inventory: Inventory,
    /// The services that the plan shows; those that nothing needs are left out.
    pub(super) verdicts: BTreeMap<ServiceName, Verdict>,
}

/// How many images are named for each reason.
const NAMED_IMAGES: usize = 3;

/// Images of which registries could not tell whether they exist, by what kept them from it.
#[derive(Debug, thiserror::Error)]
pub struct UnknownImages(BTreeMap<Refusal, Vec<ImageReference>>);

impl fmt::Display for UnknownImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.0.values().map(Vec::len).sum();
        let images = match count {
            1 => "an image exists".to_owned(),
            _ => format!("{count} images exist"),
        };
        // Only the registry's own not-found means that an image is missing.
        write!(f, "it cannot be told whether {images}, so nothing is built")?;
        // One reason stands for many images of the same registry.
        for (refusal, images) in &self.0 {
            write!(f, "\n  {}", refusal.why)?;
            for image in images.iter().take(NAMED_IMAGES) {
                write!(f, "\n    {image}")?;
            }
            if images.len() > NAMED_IMAGES {
                write!(f, "\n    and {} more", images.len() - NAMED_IMAGES)?;
            }
        }
        Ok(())
    }
}

impl UnknownImages {
    /// Makes an error of the images that are neither present nor absent, where there is one.
    pub(super) fn check(registry: &BTreeMap<ImageReference, Presence>) -> Result<(), Self> {
        let mut unknown: BTreeMap<Refusal, Vec<ImageReference>> = BTreeMap::new();
        for (image, presence) in registry {
            if let Presence::Unknown(refusal) = presence {
                let images = unknown.entry(refusal.clone()).or_default();
                images.push(image.clone());
            }
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Self(unknown))
        }
    }
}

impl Diagnostic for UnknownImages {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let mut hints: Vec<String> = Vec::new();
        for hint in self.0.keys().flat_map(|refusal| &refusal.hints) {
            if !hints.contains(hint) {
                hints.push(hint.clone());
            }
        }
        hints
    }
}

impl<'a> Draft<'a> {
    /// Decides what is done with each service.
    ///
    /// # Errors
    ///
    /// Where a registry could not tell whether it has an image.
    pub fn decide(self, inventory: Inventory) -> Result<Decided<'a>, UnknownImages> {
        self.known(&inventory)?;
        let mut verdicts = BTreeMap::new();
        let mut needed_by_a_build: BTreeSet<&ServiceName> = BTreeSet::new();
        // From those that nothing else needs to those that many need: a service which was not
        // selected is of interest only where one that needs it is built.
        for candidate in self.candidates.iter().rev() {
            let name = &candidate.service.name;
            let is_needed = needed_by_a_build.contains(name);
            if !candidate.selected && !is_needed {
                continue;
            }
            let verdict = match candidate.source.local {
                Some(_) => self.local_verdict(candidate, &inventory),
                None => self.verdict(candidate, is_needed, &inventory),
            };
            if verdict.decision == Decision::Build {
                needed_by_a_build.extend(&candidate.service.needs);
            }
            verdicts.insert(name.clone(), verdict);
        }
        Ok(Decided {
            draft: self,
            inventory,
            verdicts,
        })
    }

    /// Tells whether all is known that decides what is pushed.
    ///
    /// A registry that does not answer keeps nobody from building in place: nothing of that gets there.
    fn known(&self, inventory: &Inventory) -> Result<(), UnknownImages> {
        let mut asked = inventory.registry.clone();
        for candidate in &self.candidates {
            if candidate.source.local.is_some() {
                asked.remove(&candidate.image);
            }
        }
        UnknownImages::check(&asked)
    }

    /// Decides about a service that is built in place: nothing of it reaches a registry, and where the
    /// working copy is clean, an image of the commit is as good as its own.
    fn local_verdict(&self, candidate: &Candidate<'_>, inventory: &Inventory) -> Verdict {
        let in_registry = matches!(
            inventory.registry.get(&candidate.image),
            Some(Presence::Present(_))
        );
        let in_engine = inventory.in_engine(&candidate.image);
        let (decision, reason) = match (in_engine, candidate.source.changes()) {
            _ if self.options.force => (Decision::Build, "--force".to_owned()),
            (Some(_), _) => (Decision::Skip, "in the engine".to_owned()),
            (None, Some(changes)) => (Decision::Build, format!("changed: {changes}")),
            (None, None) if in_registry && self.options.pull => (
                Decision::Pull,
                "in the registry, not in the engine".to_owned(),
            ),
            (None, None) => (
                Decision::Build,
                "the engine does not have the commit".to_owned(),
            ),
        };
        let engine_names = engine_names(candidate, decision, in_engine, inventory);
        Verdict::new(decision, reason, Vec::new(), engine_names)
    }

    fn verdict(
        &self,
        candidate: &Candidate<'_>,
        is_needed: bool,
        inventory: &Inventory,
    ) -> Verdict {
        let registry = candidate.image.repository().registry();
        let in_registry = match inventory.registry.get(&candidate.image) {
            Some(Presence::Present(digest)) => Some(digest),
            _ => None,
        };
        let (in_engine, local) = match inventory.in_engine(&candidate.image) {
            // It may hold more than the commit, and is no image of it.
            Some(image) if image.labels.contains_key(LABEL_LOCAL) => (None, true),
            found => (found, false),
        };
        let force = self.options.force && candidate.selected;
        // What is built upon it would take what the engine has, whatever the registry has.
        let pull = self.options.pull || local && is_needed;

        let (decision, reason) = match (registry, in_registry, in_engine) {
            _ if force => (Decision::Build, "--force".to_owned()),
            (Some(_), Some(_), Some(_)) => {
                (Decision::Skip, "in the registry and the engine".to_owned())
            }
            (Some(_), Some(_), None) if pull => (
                Decision::Pull,
                "in the registry, not in the engine".to_owned(),
            ),
            (Some(_), Some(_), None) => (Decision::Skip, "in the registry".to_owned()),
            (Some(_), None, Some(_)) if self.options.push => (
                Decision::Push,
                "in the engine, not in the registry".to_owned(),
            ),
            (Some(_), None, Some(_)) => (Decision::Skip, "in the engine; --no-push".to_owned()),
            (Some(registry), None, None) => (
                Decision::Build,
                format!("neither {registry} nor the engine has the commit"),
            ),
            (None, _, Some(_)) => (Decision::Skip, "in the engine".to_owned()),
            (None, _, None) => (
                Decision::Build,
                "the engine does not have the commit".to_owned(),
            ),
        };

        let registry_tags: Vec<Tag> = match (registry, decision) {
            (Some(_), _) if !self.options.push => Vec::new(),
            (None, _) => Vec::new(),
            (Some(_), Decision::Build | Decision::Push) => candidate.tags.clone(),
            (Some(_), _) => {
                let differs = |name: &ImageReference| {
                    !matches!(
                        (inventory.registry.get(name), in_registry),
                        (Some(Presence::Present(tagged)), Some(commit)) if tagged == commit
                    )
                };
                candidate
                    .names()
                    .filter(differs)
                    .filter_map(|name| name.tag().cloned())
                    .collect()
            }
        };
        let engine_names = engine_names(candidate, decision, in_engine, inventory);
        let reason = match local && matches!(decision, Decision::Build | Decision::Pull) && !force {
            true => format!("{reason}; the engine's image was built by --local"),
            false => reason,
        };
        Verdict::new(decision, reason, registry_tags, engine_names)
    }
}

impl Verdict {
    /// Returns what is done, where tags that are elsewhere are something to be done.
    fn new(
        decision: Decision,
        reason: String,
        registry_tags: Vec<Tag>,
        engine_names: Vec<ImageReference>,
    ) -> Self {
        let mut verdict = Self {
            decision,
            reason,
            registry_tags,
            engine_names,
        };
        let in_engine = verdict.engine_names.iter().filter_map(|name| name.tag());
        let tags: BTreeSet<&str> = verdict
            .registry_tags
            .iter()
            .chain(in_engine)
            .map(Tag::as_str)
            .collect();
        if decision == Decision::Skip && !tags.is_empty() {
            let tags: Vec<&str> = tags.into_iter().collect();
            verdict.reason = format!("{}; {} is elsewhere", verdict.reason, tags.join(", "));
            verdict.decision = Decision::Tag;
        }
        verdict
    }
}

/// Returns the names that the engine lacks after the decision was carried out, or has for another image.
fn engine_names(
    candidate: &Candidate<'_>,
    decision: Decision,
    in_engine: Option<&EngineImage>,
    inventory: &Inventory,
) -> Vec<ImageReference> {
    let is_elsewhere = |image: &EngineImage, name: &ImageReference| {
        let named = inventory.in_engine(name);
        named.is_none_or(|named| named.id != image.id)
    };
    match (decision, in_engine) {
        (Decision::Build, _) => Vec::new(),
        (Decision::Pull, _) => candidate.names().collect(),
        (_, None) => Vec::new(),
        (_, Some(image)) => candidate
            .names()
            .filter(|name| is_elsewhere(image, name))
            .collect(),
    }
}

impl Decided<'_> {
    /// Returns the builder images that the builds' scripts run in, each once.
    pub fn builders(&self) -> BTreeSet<Unit> {
        self.builds().filter_map(builder_unit).collect()
    }

    /// Returns the builder folders among them.
    pub fn builder_folders(&self) -> BTreeSet<BuilderName> {
        let folder = |unit| match unit {
            Unit::Builder(name) => Some(name),
            _ => None,
        };
        self.builders().into_iter().filter_map(folder).collect()
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
