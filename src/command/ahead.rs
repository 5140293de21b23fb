//! Asks registries for images while the remotes are still asked for commits.
//!
//! What a reference stood for last time it mostly stands for still, and then what the registries have is
//! known as soon as the commits are. Nothing depends on that: an image that was not asked for ahead is asked
//! for when its commit is known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::session::Session;
use crate::cache::Facts;
use crate::cli::References;
use crate::client::registry::{RegistryClient, Way};
use crate::image::ImageReference;
use crate::inspect;
use crate::manifest::ServiceName;
use crate::plan::{Draft, Layout, Options, Presence};
use crate::source::{Origin, ResolvedReference, ServiceSource};
use crate::task::joined;

/// How long an answer without a greeting is waited for; whoever is slower is asked as usual.
const UNGREETED: Duration = Duration::from_secs(2);

/// Questions that are under way.
#[derive(Default)]
pub struct Ahead {
    asked: Mutex<Option<AbortOnDropHandle<BTreeMap<ImageReference, Presence>>>>,
}

impl Ahead {
    /// Begins to ask for what a plan asks for where the manifest's references stand for what they stood for last.
    pub fn ask(
        session: &Session,
        client: &RegistryClient,
        selected: &BTreeSet<ServiceName>,
        references: &References,
        options: &Options,
    ) -> Self {
        let Kept { services, open } = Kept::read(&session.layout);
        let images = images(session, services, selected, references, options);
        let client = client.clone();
        let asked = tokio::spawn(async move { answers(&client, images, open).await });
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

/// Returns the images of services whose sources are the same as last.
fn images(
    session: &Session,
    services: BTreeMap<String, KeptSource>,
    selected: &BTreeSet<ServiceName>,
    references: &References,
    options: &Options,
) -> Vec<ImageReference> {
    if references.branch.is_some() {
        return Vec::new();
    }
    let sources = services.into_iter().filter_map(|(service, kept)| {
        let service = service.parse().ok()?;
        let is_other = references.references.iter().any(|(it, _)| *it == service);
        (!is_other).then_some((service, kept.source()?))
    });
    let sources = sources.collect();
    let variable = |name: &str| session.variable(name);
    // A tag that is wrong is told of where it counts.
    Draft::new(&session.manifest, selected, &sources, options, &variable)
        .map(|draft| draft.images())
        .unwrap_or_default()
}

/// Asks the registries that asked for nothing last time without a greeting, which spares one way there and back.
async fn answers(
    client: &RegistryClient,
    mut images: Vec<ImageReference>,
    open: BTreeMap<String, Way>,
) -> BTreeMap<ImageReference, Presence> {
    let mut by_registry: BTreeMap<_, Vec<ImageReference>> = BTreeMap::new();
    for image in &images {
        if let Some(registry) = image.repository().registry()
            && let Some(way) = open.get(registry.as_str())
        {
            let of_it = by_registry.entry((registry.clone(), *way)).or_default();
            of_it.push(image.clone());
        }
    }
    let asked = by_registry
        .into_iter()
        .map(|((registry, way), images)| async move {
            let asked = client.digests_of_open(&registry, way, images);
            let answered = tokio::time::timeout(UNGREETED, asked).await;
            answered.unwrap_or_default()
        });
    let answered = join_all(asked).await.into_iter().flatten();
    let mut answers: BTreeMap<_, _> = answered
        .map(|(image, digest)| (image, Presence::Present(digest)))
        .collect();
    images.retain(|image| !answers.contains_key(image));
    answers.extend(inspect::registries(client, images).await);
    answers
}

/// What is kept from run to run.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// What the services' references stood for.
    services: BTreeMap<String, KeptSource>,
    /// The ways to the registries that asked for nothing. What they ask for otherwise is not kept: it says
    /// where passwords are sent.
    open: BTreeMap<String, Way>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptSource {
    /// The full name of the reference; none for a bare SHA-1.
    name: Option<String>,
    tip: String,
    /// What was built.
    commit: String,
}

impl KeptSource {
    fn source(self) -> Option<ServiceSource> {
        let tip = ResolvedReference {
            commit: self.tip.parse().ok()?,
            name: self.name,
        };
        Some(ServiceSource {
            commit: self.commit.parse().ok()?,
            ..ServiceSource::of(tip, Origin::Manifest)
        })
    }
}

impl Kept {
    fn read(layout: &Layout) -> Self {
        let text = Facts::new(layout.root()).read(&layout.last_asked());
        // A file that was damaged is written anew.
        text.and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Keeps what the references of services stand for, but for one that was asked for in place of the manifest's: it is
/// seldom asked for again.
pub fn keep(
    layout: &Layout,
    sources: &BTreeMap<ServiceName, ServiceSource>,
    client: &RegistryClient,
) {
    let mut kept = Kept::read(layout);
    let before = kept.text();
    for (service, source) in sources {
        if source.origin == Origin::Manifest && source.local.is_none() {
            let source = KeptSource {
                name: source.tip.name.clone(),
                tip: source.tip.commit.to_string(),
                commit: source.commit.to_string(),
            };
            kept.services.insert(service.to_string(), source);
        }
    }
    for (registry, open) in client.reached() {
        match open {
            Some(way) => drop(kept.open.insert(registry.to_string(), way)),
            None => drop(kept.open.remove(registry.as_str())),
        }
    }
    let after = kept.text();
    if after != before {
        Facts::new(layout.root()).write(&layout.last_asked(), &after);
    }
}
