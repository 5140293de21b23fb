//! The rules on small worlds, and on random ones.

mod random;
mod worlds;

use std::collections::BTreeSet;

use super::*;
use crate::model::image::{Digest, ImageRepository, Tag};
use crate::model::manifest::CleanKeep;
use crate::model::source::CommitId;

pub(super) const DAY: i64 = 86_400;
pub(super) const NOW: i64 = 20_000 * DAY;

pub(super) fn digest(number: usize) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

pub(super) fn commit(number: usize) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

pub(super) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(super) fn repository(name: &str) -> ImageRepository {
    format!("r.example.com/x/{name}").parse().unwrap()
}

/// An image of the service `a`, 100 days old, with the tags of its commit.
pub(super) fn image(number: usize) -> StoredImage {
    let built = BuiltImage {
        service: "a".to_owned(),
        commit: commit(number),
        reference: "master".to_owned(),
        is_local: false,
        committed: Some(NOW - 100 * DAY + number as i64),
        needs: Default::default(),
        steps: Vec::new(),
        builders: Vec::new(),
        bases: Vec::new(),
        own_tags: Vec::new(),
    };
    StoredImage {
        digest: digest(number),
        aliases: vec![digest(1000 + number)],
        tags: vec![
            Tag::from_commit(commit(number)),
            Tag::from_recipe(commit(number), "0123456789ab"),
        ],
        content: ImageContent::Built(Box::new(built)),
        children: Vec::new(),
        subject: None,
        created: Some(NOW - 100 * DAY),
        blobs: vec![(number as u64, 10), (u64::MAX, 1000)],
    }
}

pub(super) fn built(image: &mut StoredImage) -> &mut BuiltImage {
    match &mut image.content {
        ImageContent::Built(built) => built,
        _ => panic!("not an image of a service"),
    }
}

pub(super) fn part(number: usize) -> StoredImage {
    StoredImage {
        content: ImageContent::Part,
        tags: Vec::new(),
        aliases: Vec::new(),
        created: None,
        ..image(number)
    }
}

/// The repository of the service `a`, whose only branch is `master`.
pub(super) fn contents(images: Vec<StoredImage>) -> Contents {
    let references = OpenReferences {
        names: Some(BTreeSet::from(["master".to_owned()])),
        main: Some("master".to_owned()),
        ..OpenReferences::default()
    };
    Contents {
        repositories: vec![Repository {
            name: repository("a"),
            kind: RepositoryKind::Service("a".parse().unwrap()),
            images,
            untagging: Untagging::Rejected,
        }],
        roots: Roots {
            services: [("a".parse().unwrap(), references)].into(),
            ..Roots::default()
        },
        keep: CleanKeep {
            days: 14,
            commits: 0,
            deploys: 1,
        },
        now: NOW,
    }
}

/// Returns the reason of an image, after `keep ` or `remove `.
pub(super) fn fate(contents: &Contents, number: usize) -> String {
    let plan = plan(contents, Place::Registry);
    let name = digest(number).to_string();
    let items = plan
        .items
        .iter()
        .filter(|it| it.name == name && it.action != Action::Untag);
    let fates: Vec<String> = items
        .map(|item| match item.action {
            Action::Keep => format!("keep {}", item.reason),
            _ => format!("remove {}", item.reason),
        })
        .collect();
    fates.join(", ")
}
