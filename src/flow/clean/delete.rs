//! Removes images from registries, in the order of the plan.
//!
//! A registry has no transactions, and a build may tag an image while the plan is carried out. So the tags of a repository
//! are listed again before each part of it, and those that may have moved are looked up: an image that got a tag stays.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::state::CleanState;
use crate::base::error::{Diagnostic as _, Failure, chain};
use crate::base::plural::count_of;
use crate::client::registry::{RegistryClient, RegistryError, TagDeletion};
use crate::flow::session::Session;
use crate::model::clean::{Action, CleanItem, Untagging};
use crate::model::event::Event;
use crate::model::image::{Digest, ImageRepository, Tag};
use crate::model::source::CommitId;

/// The number of images that are removed before the tags are listed again.
const PART: usize = 40;

/// The number of tags that are looked up at once.
const LOOKUPS: usize = 24;

/// What a repository had when the plan was made.
#[derive(Debug, Default)]
pub struct PlannedRepository {
    pub tags: BTreeSet<Tag>,
    pub digests: BTreeSet<Digest>,
}

/// Removes images.
pub struct Deletion<'d> {
    pub session: &'d Session,
    pub client: &'d RegistryClient,
    pub state: &'d mut CleanState,
    /// What each repository had when the plan was made.
    pub planned: BTreeMap<String, PlannedRepository>,
    /// The number of items that were removed.
    pub done: usize,
    /// Items that stay although they were to be removed, with the reason.
    pub skipped: Vec<(CleanItem, String)>,
}

impl Deletion<'_> {
    /// Removes the items.
    ///
    /// # Errors
    ///
    /// A registry refuses, or an answer is missing. The rest is not removed.
    pub async fn run(&mut self, items: &[&CleanItem]) -> Result<(), Failure> {
        let mut pending: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for item in items
            .iter()
            .filter(|it| it.action == Action::Remove && it.tags.is_empty())
        {
            pending
                .entry(item.group.clone())
                .or_default()
                .insert(item.name.clone());
        }
        self.state.begin(pending)?;
        let (untagged, removed): (Vec<&CleanItem>, Vec<&CleanItem>) =
            items.iter().partition(|item| item.action == Action::Untag);
        let total = items.len();
        let result = self.remove_all(&removed, !untagged.is_empty(), total).await;
        let result = match result {
            Ok(()) => self.untag_all(&untagged).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => self.state.end(),
            Err(error) => Err(self.failure(&error, total)),
        }
    }

    fn failure(&self, error: &RegistryError, total: usize) -> Failure {
        let why = chain(error);
        let rest = match self.done {
            0 => "nothing was removed".to_owned(),
            done => format!("{done} of {} were removed", count_of(total, "item")),
        };
        let mut message = format!("{why}; {rest}");
        for hint in error.hints() {
            message.push_str(&format!("\nhint: {hint}"));
        }
        if self.done > 0 {
            message.push_str("\nhint: `xp clean --delete` continues; what is kept is complete");
        }
        Failure::outside(message)
    }

    async fn remove_all(
        &mut self,
        items: &[&CleanItem],
        has_tags_to_remove: bool,
        total: usize,
    ) -> Result<(), RegistryError> {
        let repositories = items.chunk_by(|a, b| a.group == b.group);
        for items in repositories {
            let Some(name) = items.first().and_then(|it| it.group.parse().ok()) else {
                continue;
            };
            let (done, group) = (self.done, &items[0].group);
            let what = format!("removing from {group} ({done} of {total} done)");
            self.session.events.emit(Event::stage(what));
            let mut result = Ok(());
            for part in items.chunks(PART) {
                result = self.remove_part(&name, part, has_tags_to_remove).await;
                if result.is_err() {
                    break;
                }
            }
            self.session.events.emit(Event::StageFinished);
            result?;
        }
        Ok(())
    }

    async fn remove_part(
        &mut self,
        name: &ImageRepository,
        items: &[&CleanItem],
        has_tags_to_remove: bool,
    ) -> Result<(), RegistryError> {
        let moved = self.moved_tags(name, items).await?;
        for item in items {
            let Ok(digest) = item.name.parse::<Digest>() else {
                continue;
            };
            if let Some(tag) = moved.get(&digest) {
                self.skip(
                    item,
                    format!("the tag {tag} refers to it since the plan was made"),
                );
                continue;
            }
            if let Some(tag) = self.new_tag(name, item, &digest).await? {
                self.skip(
                    item,
                    format!("the tag {tag} refers to it since the plan was made"),
                );
                continue;
            }
            if has_tags_to_remove && item.tags.len() > 1 {
                self.try_untagging(name, item, &digest).await?;
            }
            self.client.delete_manifest(name, &digest).await?;
            self.done += 1;
        }
        Ok(())
    }

    /// Returns the images that have a tag now that they did not have in the plan, or are parts of such an image.
    async fn moved_tags(
        &self,
        name: &ImageRepository,
        items: &[&CleanItem],
    ) -> Result<BTreeMap<Digest, Tag>, RegistryError> {
        let nothing = PlannedRepository::default();
        let planned = self.planned.get(&name.to_string()).unwrap_or(&nothing);
        let commits: BTreeSet<CommitId> = items.iter().flat_map(|it| commits(it)).collect();
        let tags = self.client.tags(name).await?;
        let may_have_moved = |tag: &Tag| match tag.named_commit() {
            _ if !planned.tags.contains(tag) => true,
            Some(commit) => commits.contains(&commit),
            None => !tag.as_str().starts_with("step-"),
        };
        let tags = tags.into_iter().filter(may_have_moved);
        let lookups = tags.map(|tag| async move {
            let image = name.tagged(tag.clone());
            let digest = self.client.digest(&image).await?;
            let is_new = digest
                .as_ref()
                .is_some_and(|digest| !planned.digests.contains(digest));
            let mut found: Vec<Digest> = digest.into_iter().collect();
            if is_new && let Some(manifest) = self.client.stored(&image).await? {
                found.extend(manifest.children.into_iter().map(|it| it.digest));
                found.extend(manifest.subject);
            }
            Ok::<_, RegistryError>((tag, found))
        });
        let lookups: Vec<_> = lookups.collect();
        let found = futures_util::stream::iter(lookups).buffer_unordered(LOOKUPS);
        let found: Vec<(Tag, Vec<Digest>)> = found.try_collect().await?;
        let mut moved = BTreeMap::new();
        for (tag, digests) in found {
            for digest in digests {
                let is_new = items.iter().any(|item| {
                    item.name == digest.as_str() && !item.tags.iter().any(|it| it == tag.as_str())
                });
                if is_new {
                    moved.insert(digest, tag.clone());
                }
            }
        }
        Ok(moved)
    }

    /// Returns a tag that an image has directly before it is removed, and did not have in the plan: of the tags of its
    /// commit, which a build moves.
    async fn new_tag(
        &self,
        name: &ImageRepository,
        item: &CleanItem,
        digest: &Digest,
    ) -> Result<Option<Tag>, RegistryError> {
        for commit in commits(item) {
            let tag = Tag::from_commit(commit);
            if item.tags.iter().any(|it| it == tag.as_str()) {
                continue;
            }
            let found = self.client.digest(&name.tagged(tag.clone())).await?;
            if found.as_ref() == Some(digest) {
                return Ok(Some(tag));
            }
        }
        Ok(None)
    }

    /// Finds out whether a registry can remove a tag and keep its image, with an image that is removed anyway.
    async fn try_untagging(
        &mut self,
        name: &ImageRepository,
        item: &CleanItem,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let Some(registry) = name.registry() else {
            return Ok(());
        };
        let tag = item.tags.first().and_then(|tag| tag.parse::<Tag>().ok());
        let (Some(tag), Untagging::Unknown) = (tag, self.state.untagging(registry)) else {
            return Ok(());
        };
        let accepted = self.client.delete_tag(name, &tag).await? == TagDeletion::Accepted;
        let works = accepted && {
            let image = self
                .client
                .digest(&name.with_digest(digest.clone()))
                .await?;
            let tag = self.client.digest(&name.tagged(tag)).await?;
            image.is_some() && tag.is_none()
        };
        if let Err(failure) = self.state.set_untagging(registry, works) {
            // It is tried again next time.
            let (why, _) = failure.parts();
            self.session.events.emit(Event::warning(why));
        }
        Ok(())
    }

    async fn untag_all(&mut self, items: &[&CleanItem]) -> Result<(), RegistryError> {
        for item in items {
            let Ok(name) = item.group.parse::<ImageRepository>() else {
                continue;
            };
            let can_untag = name
                .registry()
                .is_some_and(|it| self.state.untagging(it) == Untagging::Works);
            if !can_untag {
                self.skip(item, "the registry cannot remove single tags".to_owned());
                continue;
            }
            for tag in item.tags.iter().filter_map(|tag| tag.parse::<Tag>().ok()) {
                let found = self.client.digest(&name.tagged(tag.clone())).await?;
                if found.is_some_and(|found| found.as_str() == item.name) {
                    self.client.delete_tag(&name, &tag).await?;
                }
            }
            self.done += 1;
        }
        Ok(())
    }

    fn skip(&mut self, item: &CleanItem, why: String) {
        self.skipped.push((item.clone(), why));
    }
}

/// Returns the commits that the tags of an item name.
fn commits(item: &CleanItem) -> BTreeSet<CommitId> {
    let tags = item.tags.iter().filter_map(|tag| tag.parse::<Tag>().ok());
    tags.filter_map(|tag| tag.named_commit()).collect()
}
