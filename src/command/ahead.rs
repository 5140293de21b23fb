//! Asks registries for images while the remotes are still asked for commits.
//!
//! What a reference stood for last time it mostly stands for still, and then what the registries have is
//! known as soon as the commits are. Nothing depends on that: an image that was not asked for ahead is asked
//! for when its commit is known.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::session::Session;
use crate::cache::Facts;
use crate::cli::References;
use crate::client::registry::RegistryClient;
use crate::image::ImageReference;
use crate::inspect;
use crate::manifest::ServiceName;
use crate::plan::{Draft, Layout, Options, Presence};
use crate::source::{Origin, ResolvedReference, ServiceSource};
use crate::task::joined;

/// Questions that are under way.
#[derive(Default)]
pub struct Ahead {
    asked: Mutex<Option<AbortOnDropHandle<BTreeMap<ImageReference, Presence>>>>,
}

impl Ahead {
    /// Begins to ask for these images.
    pub fn ask(client: &RegistryClient, images: Vec<ImageReference>) -> Self {
        let client = client.clone();
        let asked = tokio::spawn(async move { inspect::registries(&client, images).await });
        Self {
            asked: Mutex::new(Some(AbortOnDropHandle::new(asked))),
        }
    }

    /// Returns what registries said of these images, where they were asked for them and knew. The answers are
    /// there once.
    pub async fn answers_for(
        &self,
        images: &[ImageReference],
    ) -> BTreeMap<ImageReference, Presence> {
        let Some(asked) = self.asked.lock().await.take() else {
            return BTreeMap::new();
        };
        let mut answers = joined(asked.await);
        let known = images.iter().filter_map(|image| {
            let (image, presence) = answers.remove_entry(image)?;
            (!matches!(presence, Presence::Unknown(_))).then_some((image, presence))
        });
        known.collect()
    }
}

/// What a service's reference stood for last, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The full name of the reference; none for a bare SHA-1.
    name: Option<String>,
    tip: String,
    /// What was built.
    commit: String,
}

/// Returns the images that a plan asks for where the manifest's references stand for what they stood for last.
pub fn images(
    session: &Session,
    selected: &BTreeSet<ServiceName>,
    references: &References,
    options: &Options,
) -> Vec<ImageReference> {
    if references.branch.is_some() {
        return Vec::new();
    }
    let mut sources = last(&session.layout);
    for (service, _) in &references.references {
        sources.remove(service);
    }
    let variable = |name: &str| session.variable(name);
    // A tag that is wrong is told of where it counts.
    Draft::new(&session.manifest, selected, &sources, options, &variable)
        .map(|draft| draft.images())
        .unwrap_or_default()
}

/// Returns what the references of services stood for when it was last kept.
fn last(layout: &Layout) -> BTreeMap<ServiceName, ServiceSource> {
    let kept = kept(layout).into_iter().filter_map(|(service, kept)| {
        let tip = ResolvedReference {
            commit: kept.tip.parse().ok()?,
            name: kept.name,
        };
        let source = ServiceSource {
            commit: kept.commit.parse().ok()?,
            ..ServiceSource::of(tip, Origin::Manifest)
        };
        Some((service.parse().ok()?, source))
    });
    kept.collect()
}

/// Keeps what the references of services stand for, but for one that was asked for in place of the manifest's:
/// it is seldom asked for again.
pub fn keep(layout: &Layout, sources: &BTreeMap<ServiceName, ServiceSource>) {
    let mut all = kept(layout);
    let before = text(&all);
    for (service, source) in sources {
        if source.origin == Origin::Manifest && source.local.is_none() {
            let kept = Kept {
                name: source.tip.name.clone(),
                tip: source.tip.commit.to_string(),
                commit: source.commit.to_string(),
            };
            all.insert(service.to_string(), kept);
        }
    }
    let after = text(&all);
    if after != before {
        Facts::new(layout.root()).write(&layout.last_commits(), &after);
    }
}

fn kept(layout: &Layout) -> BTreeMap<String, Kept> {
    let text = Facts::new(layout.root()).read(&layout.last_commits());
    // A file that was damaged is written anew.
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

fn text(kept: &BTreeMap<String, Kept>) -> String {
    serde_json::to_string(kept).unwrap_or_default()
}
