//! The rules that keep what no root names.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::contents::{BuiltImage, Contents, ImageContent, RepositoryKind, StoredImage};
use super::index::{ImageIndex, Position};
use super::reason::{Reason, Rule};
use super::tags::{References, TagOwner};
use crate::base::plural::count_of;
use crate::model::image::Tag;
use crate::model::source::CommitId;

/// Returns why an image is kept by a root.
pub(super) fn by_root(
    contents: &Contents,
    index: &ImageIndex<'_>,
    position: Position,
) -> Option<Reason> {
    let (repository, image) = (index.repository(position), index.image(position));
    let roots = &contents.roots;
    let mut digests = std::iter::once(&image.digest).chain(&image.aliases);
    if let Some(reason) = digests.find_map(|digest| roots.digests.get(digest)) {
        return Some(reason.clone());
    }
    let mut names = image
        .tags
        .iter()
        .map(|tag| repository.name.tagged(tag.clone()));
    let named = names.find_map(|name| roots.names.get(&name));
    if let Some(reason) = named {
        return Some(reason.clone());
    }
    let ImageContent::Built(built) = &image.content else {
        return None;
    };
    if built.is_local {
        return None;
    }
    let service = built.service.parse().ok()?;
    let references = roots.services.get(&service)?;
    let tagged = image.tags.iter().filter_map(Tag::named_commit);
    let mut commits = std::iter::once(built.commit).chain(tagged);
    let tip = commits.find_map(|commit| references.tips.get(&commit))?;
    Some(Reason::new(Rule::Tip, format!("tip of {tip}")))
}

/// Returns why an image is kept by its tags.
pub(super) fn by_tag(
    contents: &Contents,
    references: &References,
    kind: &RepositoryKind,
    image: &StoredImage,
) -> Option<Reason> {
    if let ImageContent::Foreign(what) = &image.content {
        return Some(Reason::new(Rule::Foreign, what.clone()));
    }
    let owners: Vec<(&Tag, TagOwner)> = image
        .tags
        .iter()
        .map(|tag| (tag, references.owner(contents, kind, image, tag)))
        .collect();
    let first = |owner: TagOwner| owners.iter().find(|(_, it)| *it == owner);
    if let Some((tag, _)) = first(TagOwner::Open) {
        return Some(Reason::new(
            Rule::Tip,
            format!("tagged {tag}, a branch or tag that exists"),
        ));
    }
    let (tag, _) = first(TagOwner::Other)?;
    Some(Reason::new(
        Rule::Foreign,
        format!("tagged {tag}, which is not a tag of xp"),
    ))
}

/// Returns why an image is kept by its age.
pub(super) fn by_age(contents: &Contents, image: &StoredImage) -> Option<Reason> {
    // Parts of an index are kept with it.
    if image.tags.is_empty() || image.subject.is_some() {
        return None;
    }
    let days = contents.keep.days;
    let Some(created) = image.created else {
        return Some(Reason::new(Rule::UnknownAge, "its age is unknown"));
    };
    let limit = contents.now - i64::from(days) * 86_400;
    let text = || format!("younger than {}", count_of(days as usize, "day"));
    (days > 0 && created >= limit).then(|| Reason::new(Rule::Young, text()))
}

/// The last commits of each branch, by repository.
pub(super) struct LastCommits(BTreeMap<(usize, CommitId), String>);

impl LastCommits {
    /// Finds the last commits of each branch that exists, among those that have an image.
    ///
    /// An image may have been built on a topic branch before that was merged, and its label has the name of the topic
    /// branch. So the commits of branches that no longer exist count once more as those of the manifest's branch.
    pub fn of(contents: &Contents, index: &ImageIndex<'_>) -> Self {
        let mut branches: BTreeMap<(usize, &str, bool), BTreeMap<CommitId, i64>> = BTreeMap::new();
        for position in index.positions() {
            let image = index.image(position);
            let ImageContent::Built(built) = &image.content else {
                continue;
            };
            if built.is_local {
                continue;
            }
            let service = built.service.parse().ok();
            let Some(references) = service.and_then(|name| contents.roots.services.get(&name))
            else {
                continue;
            };
            let is_open = references.may_have(&built.reference);
            let main = references.main.as_deref();
            let mut groups = Vec::new();
            if is_open {
                groups.push((built.reference.as_str(), false));
            }
            if let Some(main) = main.filter(|main| !is_open || *main == built.reference) {
                groups.push((main, true));
            }
            for (branch, with_closed) in groups {
                let commits = branches
                    .entry((position.0, branch, with_closed))
                    .or_default();
                let time = commits.entry(built.commit).or_insert(i64::MIN);
                *time = (*time).max(time_of(built, image));
            }
        }
        let mut last = BTreeMap::new();
        for ((repository, branch, _), commits) in branches {
            let mut commits: Vec<(CommitId, i64)> = commits.into_iter().collect();
            // The newest first. Those without a time are kept in addition, because any of them may be the newest.
            commits.sort_by_key(|(commit, time)| (Reverse(*time), *commit));
            let unknown = commits
                .iter()
                .take_while(|(_, time)| *time == i64::MAX)
                .count();
            let count = unknown + contents.keep.commits as usize;
            for (commit, _) in commits.into_iter().take(count) {
                last.entry((repository, commit))
                    .or_insert_with(|| branch.to_owned());
            }
        }
        Self(last)
    }

    /// Returns why an image is kept.
    pub fn reason(
        &self,
        contents: &Contents,
        position: Position,
        image: &StoredImage,
    ) -> Option<Reason> {
        let ImageContent::Built(built) = &image.content else {
            return None;
        };
        if built.is_local {
            return None;
        }
        let branch = self.0.get(&(position.0, built.commit))?;
        let text = match contents.keep.commits {
            1 => format!("the last commit of {branch} with an image"),
            count => format!("one of the last {count} commits of {branch} with an image"),
        };
        Some(Reason::new(Rule::LastCommits, text))
    }
}

/// Returns the time of an image's commit, or of the image; the largest possible one if both are unknown.
fn time_of(built: &BuiltImage, image: &StoredImage) -> i64 {
    built.committed.or(image.created).unwrap_or(i64::MAX)
}

/// Returns why an image that nothing keeps is removed.
pub(super) fn removed(contents: &Contents, index: &ImageIndex<'_>, position: Position) -> Reason {
    let image = index.image(position);
    if image.subject.is_some() {
        return Reason::new(Rule::RemovedWith, "describes an image that is removed");
    }
    let days = count_of(contents.keep.days as usize, "day");
    match &image.content {
        ImageContent::Built(built) => built_removed(contents, built, &days),
        ImageContent::Builder => {
            Reason::new(Rule::Unused, "builder that no kept image was built with")
        }
        ImageContent::StepResult => {
            Reason::new(Rule::Unused, "result that no kept image was built with")
        }
        ImageContent::Part | ImageContent::Foreign(_) => {
            Reason::new(Rule::RemovedWith, "part of an image that is removed")
        }
    }
}

fn built_removed(contents: &Contents, built: &BuiltImage, days: &str) -> Reason {
    let service = built.service.parse().ok();
    let references = service.and_then(|name| contents.roots.services.get(&name));
    let Some(references) = references else {
        let text = format!(
            "of the service {}, which is not in the manifest",
            built.service
        );
        return Reason::new(Rule::NoService, text);
    };
    let reference = &built.reference;
    // A build of a bare commit has no name.
    if reference.parse::<CommitId>().is_err() && !references.may_have(reference) {
        let text = format!("its branch {reference} no longer exists");
        return Reason::new(Rule::NoBranch, text);
    }
    if built.is_local {
        let text = format!("of a working copy, and older than {days}");
        return Reason::new(Rule::Unused, text);
    }
    let mut text = match contents.keep.days {
        0 => "nothing names it".to_owned(),
        _ => format!("older than {days}"),
    };
    match contents.keep.commits {
        0 => {}
        1 => text.push_str(&format!(", and not the last commit of {reference}")),
        count => text.push_str(&format!(
            ", and not one of the last {count} commits of {reference}"
        )),
    }
    Reason::new(Rule::Unused, text)
}

/// Returns the names of the images that are needed, for reasons.
pub(super) fn shown(index: &ImageIndex<'_>, position: Position) -> String {
    let (repository, image) = (index.repository(position), index.image(position));
    match &image.content {
        ImageContent::Built(built) => format!("{}@{}", built.service, built.commit.short()),
        _ => {
            let digits: BTreeSet<&str> = image.digest.as_str().split(':').skip(1).collect();
            let digits = digits.into_iter().next().unwrap_or_default();
            let name = repository
                .name
                .path()
                .rsplit('/')
                .next()
                .unwrap_or_default();
            format!("{name}@{}", digits.get(..12).unwrap_or(digits))
        }
    }
}
