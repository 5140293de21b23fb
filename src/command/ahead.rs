//! Asks registries and the engine for images while the remotes are still asked for commits.
//!
//! What a reference stood for last time it mostly stands for still, and then what they have is
//! known as soon as the commits are. Nothing depends on that: an image that was not asked for ahead is asked
//! for when its commit is known.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::session::Session;
use crate::cache::Facts;
use crate::cli::References;
use crate::client::engine::{Engine, EngineError};
use crate::client::registry::{RegistryClient, Way};
use crate::image::{EngineImages, ImageQuery, ImageReference};
use crate::inspect;
use crate::manifest::ServiceName;
use crate::plan::{Draft, Layout, Options, Presence};
use crate::source::{Origin, ResolvedReference, ServiceSource};
use crate::task::joined;

/// Questions that are under way.
#[derive(Default)]
pub struct Ahead {
    asked: Mutex<Option<AbortOnDropHandle<BTreeMap<ImageReference, Presence>>>>,
    of_engine: Mutex<Option<OfEngine>>,
}

/// What the engine is asked, and its answer.
struct OfEngine {
    images: BTreeSet<ImageQuery>,
    answer: AbortOnDropHandle<Result<EngineImages, EngineError>>,
}

/// What a plan would ask for.
#[derive(Default)]
struct Questions {
    registries: Vec<ImageReference>,
    engine: BTreeSet<ImageQuery>,
}

impl Ahead {
    /// Begins to ask for what a plan asks for where the manifest's references stand for what they stood for last.
    pub fn ask(
        session: &Session,
        client: &RegistryClient,
        engine: &Engine,
        selected: &BTreeSet<ServiceName>,
        references: &References,
        options: &Options,
    ) -> Self {
        let Kept { services, open } = Kept::read(&session.layout);
        let questions = questions(session, services, selected, references, options);
        let (client, images) = (client.clone(), questions.registries);
        let asked =
            tokio::spawn(
                async move { inspect::registries_by_known_ways(&client, images, &open).await },
            );
        let (engine, images) = (engine.clone(), questions.engine);
        let of_engine = OfEngine {
            images: images.clone(),
            answer: AbortOnDropHandle::new(tokio::spawn(
                async move { engine.images(images).await },
            )),
        };
        Self {
            asked: Mutex::new(Some(AbortOnDropHandle::new(asked))),
            of_engine: Mutex::new(Some(of_engine)),
        }
    }

    /// Returns the images that the engine was asked for, and what it has of them. An engine that did not answer
    /// counts as not asked. The answer is there once.
    pub async fn in_engine(&self) -> (BTreeSet<ImageQuery>, EngineImages) {
        let Some(OfEngine { images, answer }) = self.of_engine.lock().await.take() else {
            return Default::default();
        };
        match joined(answer.await) {
            Ok(found) => (images, found),
            Err(_) => Default::default(),
        }
    }

    /// Returns what registries said of these images, where they were asked for them. The answers are there once.
    pub async fn answers_for(
        &self,
        images: &[ImageReference],
    ) -> BTreeMap<ImageReference, Presence> {
        let Some(asked) = self.asked.lock().await.take() else {
            return BTreeMap::new();
        };
        let mut answers = joined(asked.await);
        let answers = images.iter().map(|image| answers.remove_entry(image));
        answers.flatten().collect()
    }
}

/// Returns what is asked for services whose sources are the same as last.
fn questions(
    session: &Session,
    services: BTreeMap<String, KeptSource>,
    selected: &BTreeSet<ServiceName>,
    references: &References,
    options: &Options,
) -> Questions {
    if references.branch.is_some() {
        return Questions::default();
    }
    let sources = services.into_iter().filter_map(|(service, kept)| {
        let service = service.parse().ok()?;
        let is_other = references.references.iter().any(|(it, _)| *it == service);
        (!is_other).then_some((service, kept.source()?))
    });
    let sources = sources.collect();
    let variable = |name: &str| session.variable(name);
    // A tag that is wrong is told of where it counts.
    let Ok(draft) = Draft::new(&session.manifest, selected, &sources, options, &variable) else {
        return Questions::default();
    };
    Questions {
        registries: draft.images(),
        engine: match draft.asks_registries_first() {
            true => BTreeSet::new(),
            false => draft.engine_images(),
        },
    }
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
/// seldom asked for again. Where xp has no folder yet, only to look makes none.
pub fn keep(
    session: &Session,
    sources: &BTreeMap<ServiceName, ServiceSource>,
    client: &RegistryClient,
) {
    let (layout, manifest) = (&session.layout, &session.manifest);
    if !layout.root().is_dir() {
        return;
    }
    let mut kept = Kept::read(layout);
    let before = kept.text();
    let service = |name: &String| name.parse::<ServiceName>().ok();
    let is_there =
        |name: &String| service(name).is_some_and(|it| manifest.services.contains_key(&it));
    kept.services.retain(|name, _| is_there(name));
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
