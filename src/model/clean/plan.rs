//! The plan: what happens to each image, and why.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contents::{Contents, ImageContent, Untagging};
use super::index::{ImageIndex, Position};
use super::reason::{Reason, Rule};
use super::rules::LastCommits;
use super::tags::{References, TagOwner};
use super::{order, rules};
use crate::model::image::{Registry, Tag};

/// What is cleaned
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Repositories in registries
    Registry,
    /// Images in the engine of this machine, and in those of `engines`
    Engine,
    /// The cache folder on this machine
    Cache,
}

/// What happens to an item
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It stays
    Keep,
    /// It is removed, with all of its tags
    Remove,
    /// The tags are removed; the image stays
    Untag,
}

/// An image with its fate, or a file of the cache folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanItem {
    pub place: Place,
    /// The docker context of the engine, if it is one of `engines`.
    pub engine: Option<String>,
    /// The repository, or the kind of file.
    pub group: String,
    /// The digest or ID, or the path below the cache folder.
    pub name: String,
    /// The tags that it has, or for [`Action::Untag`] those that go.
    pub tags: Vec<String>,
    pub action: Action,
    pub reason: Reason,
    /// The size in bytes, as far as it is known. Images share parts of it.
    pub bytes: u64,
}

/// What happens to each item. Removals are in the order in which they are safe: an interruption never leaves a kept
/// image incomplete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanPlan {
    pub items: Vec<CleanItem>,
    /// The bytes that are freed, without what kept items share.
    pub freed: BTreeMap<Place, u64>,
    /// Repositories of former services, with their numbers of tags. Nothing is removed from them.
    pub former: BTreeMap<String, usize>,
}

impl CleanPlan {
    /// Returns what is removed, in order.
    pub fn removals(&self) -> impl Iterator<Item = &CleanItem> {
        self.items.iter().filter(|it| it.action != Action::Keep)
    }

    /// Names the engine of all items.
    pub fn in_engine(mut self, context: Option<&str>) -> Self {
        for item in &mut self.items {
            item.engine = context.map(str::to_owned);
        }
        self
    }

    /// Adds the items of another plan.
    pub fn extend(&mut self, other: Self) {
        self.items.extend(other.items);
        self.former.extend(other.former);
        for (place, bytes) in other.freed {
            *self.freed.entry(place).or_default() += bytes;
        }
    }
}

/// Decides what happens to each image.
pub fn plan(contents: &Contents, place: Place) -> CleanPlan {
    let index = ImageIndex::new(contents);
    let references = References::of(contents);
    let kept = Reachable::of(contents, &index, &references).kept;
    let removed: HashSet<Position> = index
        .positions()
        .filter(|position| !kept.contains_key(position))
        .collect();
    let can_untag = untaggable(contents, &index, &removed);
    let mut items = Vec::new();
    for position in order::ordered(&index, &removed) {
        let reason = rules::removed(contents, &index, position);
        items.push(item(&index, position, place, Action::Remove, reason));
    }
    for (position, reason) in &kept {
        let (repository, image) = (index.repository(*position), index.image(*position));
        let closed: Vec<String> = if can_untag.contains(&repository.name.registry()) {
            let tags = image.tags.iter();
            let closed = tags.filter(|tag| {
                let owner = references.owner(contents, &repository.kind, image, tag);
                owner == TagOwner::Closed && !is_named(contents, &index, *position, tag)
            });
            closed.map(Tag::to_string).collect()
        } else {
            Vec::new()
        };
        let mut kept = item(&index, *position, place, Action::Keep, reason.clone());
        if !closed.is_empty() {
            kept.tags.retain(|tag| !closed.contains(tag));
            let text = format!("their branches no longer exist; the image is kept: {reason}");
            let reason = Reason::new(Rule::NoBranch, text);
            let untagged = item(&index, *position, place, Action::Untag, reason);
            items.push(CleanItem {
                tags: closed,
                bytes: 0,
                ..untagged
            });
        }
        items.push(kept);
    }
    CleanPlan {
        freed: BTreeMap::from([(place, freed(&index, &kept, &removed))]),
        items,
        former: BTreeMap::new(),
    }
}

fn item(
    index: &ImageIndex<'_>,
    position: Position,
    place: Place,
    action: Action,
    reason: Reason,
) -> CleanItem {
    let (repository, image) = (index.repository(position), index.image(position));
    CleanItem {
        place,
        engine: None,
        group: repository.name.to_string(),
        name: image.digest.to_string(),
        tags: image.tags.iter().map(Tag::to_string).collect(),
        action,
        reason,
        bytes: image.blobs.iter().map(|(_, size)| size).sum(),
    }
}

fn is_named(contents: &Contents, index: &ImageIndex<'_>, position: Position, tag: &Tag) -> bool {
    let name = index.repository(position).name.tagged(tag.clone());
    contents.roots.names.contains_key(&name)
}

/// Returns the registries in which a tag can be removed without its image, or in which this can be tried with an image
/// that is removed anyway. An engine always can.
fn untaggable<'c>(
    contents: &'c Contents,
    index: &ImageIndex<'c>,
    removed: &HashSet<Position>,
) -> BTreeSet<Option<&'c Registry>> {
    let mut untaggable = BTreeSet::new();
    for repository in &contents.repositories {
        if repository.untagging == Untagging::Works {
            untaggable.insert(repository.name.registry());
        }
    }
    for position in removed {
        let repository = index.repository(*position);
        let is_unknown = repository.untagging == Untagging::Unknown;
        if is_unknown && index.image(*position).tags.len() > 1 {
            untaggable.insert(repository.name.registry());
        }
    }
    untaggable
}

/// Returns the size of the blobs that only removed images have.
fn freed(
    index: &ImageIndex<'_>,
    kept: &BTreeMap<Position, Reason>,
    removed: &HashSet<Position>,
) -> u64 {
    let blobs = |position: &Position| index.image(*position).blobs.iter().copied();
    let mut seen: HashSet<u64> = kept.keys().flat_map(blobs).map(|(blob, _)| blob).collect();
    let gone = removed.iter().flat_map(blobs);
    gone.filter(|(blob, _)| seen.insert(*blob))
        .map(|(_, size)| size)
        .sum()
}

/// The images that are kept, with the first reason that was found.
struct Reachable<'r, 'c> {
    index: &'r ImageIndex<'c>,
    kept: BTreeMap<Position, Reason>,
    /// Images whose own needs are not yet kept.
    open: VecDeque<Position>,
}

impl<'r, 'c> Reachable<'r, 'c> {
    fn of(contents: &'c Contents, index: &'r ImageIndex<'c>, references: &References) -> Self {
        let mut reachable = Self {
            index,
            kept: BTreeMap::new(),
            open: VecDeque::new(),
        };
        reachable.mark(|position| rules::by_root(contents, index, position));
        reachable.mark(|position| {
            let kind = &index.repository(position).kind;
            rules::by_tag(contents, references, kind, index.image(position))
        });
        let last = LastCommits::of(contents, index);
        reachable.mark(|position| last.reason(contents, position, index.image(position)));
        reachable.mark(|position| rules::by_age(contents, index.image(position)));
        // What describes an image that is not listed may describe one that is in use.
        reachable.mark(|position| {
            let subject = index.image(position).subject.as_ref()?;
            let mut found = index.with_digest(subject).iter();
            let is_listed = found.any(|(repository, _)| *repository == position.0);
            let text = format!("describes {subject}, which is not listed");
            (!is_listed).then(|| Reason::new(Rule::Foreign, text))
        });
        while let Some(position) = reachable.open.pop_front() {
            reachable.keep_needs(position);
        }
        reachable
    }

    fn mark(&mut self, reason: impl Fn(Position) -> Option<Reason>) {
        for position in self.index.positions() {
            if !self.kept.contains_key(&position)
                && let Some(reason) = reason(position)
            {
                self.keep(position, reason);
            }
        }
    }

    fn keep(&mut self, position: Position, reason: Reason) {
        if let Entry::Vacant(vacant) = self.kept.entry(position) {
            vacant.insert(reason);
            self.open.push_back(position);
        }
    }

    /// Keeps what a kept image cannot do without, and what belongs to it.
    fn keep_needs(&mut self, position: Position) {
        let index = self.index;
        let shown = rules::shown(index, position);
        let needed = |what: &str| Reason::new(Rule::Needed, format!("{what} {shown}"));
        for child in index.children(position) {
            self.keep(child, needed("part of"));
        }
        for subject in index.subjects(position) {
            self.keep(subject, needed("described by"));
        }
        for referrer in index.referrers(position) {
            self.keep(referrer, needed("describes"));
        }
        let ImageContent::Built(built) = &index.image(position).content else {
            return;
        };
        for need in built.needs.values() {
            for found in index.with_digest(need) {
                self.keep(*found, needed("needed by"));
                // An engine has only the image of its own platform.
                for whole in index.parents(*found) {
                    self.keep(whole, needed("needed by"));
                }
            }
        }
        for base in &built.bases {
            for found in index.with_digest(base) {
                self.keep(*found, needed("base of"));
            }
        }
        for step in &built.steps {
            if let Some(found) = index.tagged(position.0, step) {
                self.keep(found, needed("result of a phase of"));
            }
        }
        for repository in index.builders() {
            let tags = built.builders.iter();
            let found = tags.filter_map(|tag| index.tagged(repository, tag));
            for found in found {
                self.keep(found, needed("builder of"));
            }
        }
    }
}
