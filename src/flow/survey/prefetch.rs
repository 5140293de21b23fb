//! Queries registries and the engine for images while the git remotes are still being queried for commits.
//!
//! References mostly still point to the commits of the last run; if so, the images are known as soon as the commits
//! are. This is only an optimization: an image that was not prefetched is queried when its commit is known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::base::task::joined;
use crate::client::engine::{Engine, EngineError};
use crate::client::registry::{RegistryClient, RegistryScheme};
use crate::flow::request::ReferenceOverrides;
use crate::flow::session::Session;
use crate::flow::survey;
use crate::model::image::{EngineImages, ImageQuery, ImageReference, ImageRepository};
use crate::model::layout::Layout;
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::plan::{Options, PlanDraft, Presence};
use crate::model::source::{ReferenceOrigin, ResolvedReference, ServiceSource};
use crate::store::cache::FactCache;

/// The number of repositories and folders that are remembered; with more, all are forgotten.
const MAX_FORMER: usize = 10_000;

/// Queries in flight.
#[derive(Default)]
pub struct RegistryPrefetch {
    registries: Mutex<Option<AbortOnDropHandle<BTreeMap<ImageReference, Presence>>>>,
    in_engine: Mutex<Option<EnginePrefetch>>,
}

/// A query of the engine, and its result.
struct EnginePrefetch {
    images: BTreeSet<ImageQuery>,
    response: AbortOnDropHandle<Result<EngineImages, EngineError>>,
}

/// The images that a plan would query.
#[derive(Default)]
struct PrefetchQueries {
    registries: Vec<ImageReference>,
    engine: BTreeSet<ImageQuery>,
}

impl RegistryPrefetch {
    /// Starts the queries of a plan, assuming that the manifest's references have not moved since the last run.
    pub fn start(
        session: &Session,
        client: &RegistryClient,
        engine: &Engine,
        selected: &BTreeSet<ServiceName>,
        references: &ReferenceOverrides,
        options: &Options,
    ) -> Self {
        let PrefetchState { services, open, .. } = PrefetchState::read(&session.layout);
        let queries = prefetch_queries(session, services, selected, references, options);
        let (client, images) = (client.clone(), queries.registries);
        let registries = tokio::spawn(async move {
            survey::registries_with_known_schemes(&client, images, &open).await
        });
        let (engine, images) = (engine.clone(), queries.engine);
        let in_engine = EnginePrefetch {
            images: images.clone(),
            response: AbortOnDropHandle::new(tokio::spawn(
                async move { engine.images(images).await },
            )),
        };
        Self {
            registries: Mutex::new(Some(AbortOnDropHandle::new(registries))),
            in_engine: Mutex::new(Some(in_engine)),
        }
    }

    /// Returns the images that were queried from the engine, and those it has. Both are empty if the engine did not
    /// respond. The result can be taken once.
    pub async fn engine_images(&self) -> (BTreeSet<ImageQuery>, EngineImages) {
        let Some(EnginePrefetch { images, response }) = self.in_engine.lock().await.take() else {
            return Default::default();
        };
        match joined(response.await) {
            Ok(found) => (images, found),
            Err(_) => Default::default(),
        }
    }

    /// Takes the registries' results for the given images, omitting images that were not queried. Later calls return
    /// nothing.
    pub async fn responses_for(
        &self,
        images: &[ImageReference],
    ) -> BTreeMap<ImageReference, Presence> {
        let Some(registries) = self.registries.lock().await.take() else {
            return BTreeMap::new();
        };
        let mut responses = joined(registries.await);
        let responses = images.iter().map(|image| responses.remove_entry(image));
        responses.flatten().collect()
    }
}

/// Returns the queries, given the sources of the last run.
fn prefetch_queries(
    session: &Session,
    services: BTreeMap<String, SavedSource>,
    selected: &BTreeSet<ServiceName>,
    references: &ReferenceOverrides,
    options: &Options,
) -> PrefetchQueries {
    if references.branch.is_some() {
        return PrefetchQueries::default();
    }
    let sources = services.into_iter().filter_map(|(service, kept)| {
        let service = service.parse().ok()?;
        let is_overridden = references.of(&service).is_some();
        (!is_overridden).then_some((service, kept.source()?))
    });
    let sources = sources.collect();
    let variable = |name: &str| session.variable(name);
    // The plan itself reports invalid tags.
    let Ok(draft) = PlanDraft::new(&session.manifest, selected, &sources, options, &variable)
    else {
        return PrefetchQueries::default();
    };
    PrefetchQueries {
        registries: draft.images(),
        engine: if draft.queries_registries_first() {
            BTreeSet::new()
        } else {
            draft.engine_images()
        },
    }
}

/// State that is saved from run to run.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PrefetchState {
    /// The sources that the services' references resolved to.
    services: BTreeMap<String, SavedSource>,
    /// The registries that required no authentication. Authentication challenges are never saved, because they
    /// decide where passwords are sent.
    open: BTreeMap<String, RegistryScheme>,
    /// The repositories that the services' images have or had.
    #[serde(default)]
    repositories: BTreeSet<String>,
    /// The folders that the services' working copies have or had.
    #[serde(default)]
    dirs: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedSource {
    /// The full name of the reference; `None` for a bare SHA-1.
    name: Option<String>,
    tip: String,
    /// The commit that was built.
    commit: String,
}

impl SavedSource {
    fn source(self) -> Option<ServiceSource> {
        let tip = ResolvedReference {
            commit: self.tip.parse().ok()?,
            name: self.name,
        };
        Some(ServiceSource {
            commit: self.commit.parse().ok()?,
            ..ServiceSource::of(tip, ReferenceOrigin::Manifest)
        })
    }
}

impl PrefetchState {
    fn read(layout: &Layout) -> Self {
        let text = FactCache::new(layout.root()).read(&layout.prefetch_state());
        // A damaged file is replaced.
        text.and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What services had in earlier runs, and no service has now.
pub struct FormerServices {
    /// The repositories of their images.
    pub repositories: BTreeSet<ImageRepository>,
    /// The folders of their working copies.
    pub dirs: BTreeSet<PathBuf>,
}

/// Returns what former services of a platform had.
pub fn former(layout: &Layout, manifest: &Manifest) -> FormerServices {
    let state = PrefetchState::read(layout);
    let repositories = state.repositories.iter().filter_map(|it| it.parse().ok());
    let mut former = FormerServices {
        repositories: repositories.collect(),
        dirs: state.dirs.iter().map(PathBuf::from).collect(),
    };
    for service in manifest.services.values() {
        former.repositories.remove(&service.docker.image);
        former.dirs.remove(&service.dir);
    }
    former
}

/// Saves the commits that the references of services resolved to, except those given on the command line, which are
/// rarely reused. Does not create the `.xp` folder, because read-only commands call this too.
pub fn save(
    session: &Session,
    sources: &BTreeMap<ServiceName, ServiceSource>,
    client: &RegistryClient,
) {
    let (layout, manifest) = (&session.layout, &session.manifest);
    if !layout.root().is_dir() {
        return;
    }
    let mut state = PrefetchState::read(layout);
    let before = state.text();
    let service = |name: &String| name.parse::<ServiceName>().ok();
    let exists =
        |name: &String| service(name).is_some_and(|it| manifest.services.contains_key(&it));
    state.services.retain(|name, _| exists(name));
    for (service, source) in sources {
        if source.origin == ReferenceOrigin::Manifest && source.local.is_none() {
            let source = SavedSource {
                name: source.tip.name.clone(),
                tip: source.tip.commit.to_string(),
                commit: source.commit.to_string(),
            };
            state.services.insert(service.to_string(), source);
        }
    }
    for (registry, open) in client.known_schemes() {
        match open {
            Some(way) => drop(state.open.insert(registry.to_string(), way)),
            None => drop(state.open.remove(registry.as_str())),
        }
    }
    if state.repositories.len().max(state.dirs.len()) > MAX_FORMER {
        state.repositories.clear();
        state.dirs.clear();
    }
    for service in manifest.services.values() {
        state.repositories.insert(service.docker.image.to_string());
        state.dirs.extend(service.dir.to_str().map(str::to_owned));
    }
    let after = state.text();
    if after != before {
        FactCache::new(layout.root()).write(&layout.prefetch_state(), &after);
    }
}
