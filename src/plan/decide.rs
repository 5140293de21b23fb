//! The decision table: what is done with each service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::draft::{Candidate, Draft};
use super::{Decision, Inventory, Presence, Refusal};
use crate::error::{Diagnostic, Exit};
use crate::event::Unit;
use crate::image::{ImageReference, Tag};
use crate::manifest::{BuilderImage, BuilderName, ServiceName};

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
        UnknownImages::check(&inventory.registry)?;
        let mut verdicts = BTreeMap::new();
        let mut needed_by_a_build: BTreeSet<&ServiceName> = BTreeSet::new();
        // From those that nothing else needs to those that many need: a service which was not
        // selected is of interest only where one that needs it is built.
        for candidate in self.candidates.iter().rev() {
            let name = &candidate.service.name;
            if !candidate.selected && !needed_by_a_build.contains(name) {
                continue;
            }
            let verdict = self.verdict(candidate, &inventory);
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

    fn verdict(&self, candidate: &Candidate<'_>, inventory: &Inventory) -> Verdict {
        let registry = candidate.image.repository().registry();
        let in_registry = match inventory.registry.get(&candidate.image) {
            Some(Presence::Present(digest)) => Some(digest),
            _ => None,
        };
        let in_engine = inventory.in_engine(&candidate.image);
        let force = self.options.force && candidate.selected;

        let wanted = match &candidate.variant {
            None => "the commit".to_owned(),
            Some(variant) => format!("the commit with {variant}"),
        };
        let (mut decision, mut reason) = match (registry, in_registry, in_engine) {
            _ if force => (Decision::Build, "--force".to_owned()),
            (Some(_), Some(_), Some(_)) => {
                (Decision::Skip, "in the registry and the engine".to_owned())
            }
            (Some(_), Some(_), None) if self.options.pull => (
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
                format!("neither {registry} nor the engine has {wanted}"),
            ),
            (None, _, Some(_)) => (Decision::Skip, "in the engine".to_owned()),
            (None, _, None) => (
                Decision::Build,
                format!("the engine does not have {wanted}"),
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
        let engine_names: Vec<ImageReference> = match (decision, in_engine) {
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
                "{reason}; {} is elsewhere",
                tags.into_iter().collect::<Vec<_>>().join(", ")
            );
        }
        Verdict {
            decision,
            reason,
            registry_tags,
            engine_names,
        }
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
