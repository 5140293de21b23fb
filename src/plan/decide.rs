//! The decision table: what is done with each service.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Candidate, Draft};
use super::{Decision, Inventory, Presence};
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

/// Images of which registries could not tell whether they exist.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be told whether {} exist{}", images(.0), if .0.len() == 1 { "s" } else { "" })]
pub struct UnknownImages(Vec<(ImageReference, String)>);

fn images(unknown: &[(ImageReference, String)]) -> String {
    // One cause stands for many images of the same registry.
    let causes: BTreeSet<&str> = unknown.iter().map(|(_, why)| why.as_str()).collect();
    let first = unknown
        .first()
        .map_or(String::new(), |(image, _)| image.to_string());
    let more = match unknown.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let causes: Vec<_> = causes.into_iter().take(5).collect();
    format!("{first}{more} ({})", causes.join("; "))
}

impl UnknownImages {
    /// Makes an error of the images that are neither present nor absent, where there is one.
    pub(super) fn check(registry: &BTreeMap<ImageReference, Presence>) -> Result<(), Self> {
        let unknown: Vec<_> = registry
            .iter()
            .filter_map(|(image, presence)| match presence {
                Presence::Unknown(why) => Some((image.clone(), why.clone())),
                _ => None,
            })
            .collect();
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
        vec![
            "only the registry's own not-found means that an image is missing, so nothing is built on a guess".to_owned(),
        ]
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

    /// Returns what is known of the engine, for a second inspection to add to.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
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
