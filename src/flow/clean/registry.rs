//! Reads everything that repositories in registries have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::configurations::KnownConfigurations;
use super::images::{self, BuilderTags, PlatformContext};
use super::state::CleanState;
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::registry::{RegistryClient, RegistryError, StoredManifest};
use crate::flow::session::Session;
use crate::model::clean::{
    ImageContent, Repository, RepositoryKind, StoredImage, Untagging, subject_of,
};
use crate::model::event::Event;
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};
use crate::model::step_result::{STEP_ARTIFACT, StepResult};

/// The number of repositories that are read at once.
const REPOSITORIES: usize = 8;

/// The number of manifests of one repository that are requested at once.
const MANIFESTS: usize = 24;

/// The depth of nested indexes.
const DEEPEST: usize = 4;

/// The media types of image configurations: Docker's and OCI's.
const CONFIGURATIONS: [&str; 2] = [
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
];

/// Reads repositories.
pub struct RegistryReader<'r> {
    pub session: &'r Session,
    pub client: &'r RegistryClient,
    pub state: &'r CleanState,
}

impl RegistryReader<'_> {
    /// Returns what the repositories have: those of builders first, because recipes name their tags.
    ///
    /// # Errors
    ///
    /// Any answer is missing.
    pub async fn repositories(
        &self,
        names: &BTreeMap<ImageRepository, RepositoryKind>,
    ) -> Result<Vec<Repository>, Failure> {
        let count = count_of(names.len(), "repository");
        self.session
            .events
            .emit(Event::stage(format!("reading {count}")));
        let read = async {
            let none = BuilderTags::new();
            let mut repositories = self.read(names, RepositoryKind::is_builder, &none).await?;
            let builders = builder_tags(&repositories);
            let is_service = |kind: &RepositoryKind| !kind.is_builder();
            // The tags of builders are known now.
            repositories.extend(self.read(names, is_service, &builders).await?);
            Ok::<_, RegistryError>(repositories)
        };
        let read = read.await;
        self.session.events.emit(Event::StageFinished);
        Ok(read?)
    }

    async fn read(
        &self,
        names: &BTreeMap<ImageRepository, RepositoryKind>,
        is_wanted: impl Fn(&RepositoryKind) -> bool,
        builders: &BuilderTags,
    ) -> Result<Vec<Repository>, RegistryError> {
        let wanted = names.iter().filter(|(_, kind)| is_wanted(kind));
        let requests = wanted.map(|(name, kind)| self.repository(name, kind, builders));
        let requests: Vec<_> = requests.collect();
        let read = futures_util::stream::iter(requests).buffered(REPOSITORIES);
        read.try_collect().await
    }

    async fn repository(
        &self,
        name: &ImageRepository,
        kind: &RepositoryKind,
        builders: &BuilderTags,
    ) -> Result<Repository, RegistryError> {
        let tags = self.client.tags(name).await?;
        let reader = ManifestReader {
            registry: self,
            name,
            kind,
            builders,
            known: Mutex::default(),
            configurations: self.configurations(name),
        };
        let requests = tags.into_iter().map(|tag| reader.tag(tag));
        let read = futures_util::stream::iter(requests).buffer_unordered(MANIFESTS);
        let read: Vec<Vec<StoredImage>> = read.try_collect().await?;
        let mut images = merged(read.into_iter().flatten(), &reader.take_tags());
        let known: BTreeSet<Digest> = images.iter().map(|it| it.digest.clone()).collect();
        for digest in self.state.pending(name) {
            if !known.contains(&digest) {
                images.extend(reader.untagged(&digest).await?);
            }
        }
        reader.configurations.save();
        Ok(Repository {
            name: name.clone(),
            kind: kind.clone(),
            images,
            untagging: name.registry().map_or(Untagging::Rejected, |registry| {
                self.state.untagging(registry)
            }),
        })
    }

    /// Returns a manifest without a tag, with its parts; nothing if the registry does not have it.
    ///
    /// # Errors
    ///
    /// Any answer is missing.
    pub async fn lookup(
        &self,
        repository: &Repository,
        builders: &BuilderTags,
        digest: &Digest,
    ) -> Result<Vec<StoredImage>, RegistryError> {
        let reader = ManifestReader {
            registry: self,
            name: &repository.name,
            kind: &repository.kind,
            builders,
            known: Mutex::default(),
            configurations: self.configurations(&repository.name),
        };
        reader.untagged(digest).await
    }

    fn configurations(&self, repository: &ImageRepository) -> KnownConfigurations {
        KnownConfigurations::open(&self.session.layout, repository)
    }
}

/// Returns the tags of builder images by what recipes record of them.
pub fn builder_tags(repositories: &[Repository]) -> BuilderTags {
    let builders = repositories.iter().filter(|it| it.kind.is_builder());
    let images = builders.flat_map(|it| &it.images);
    images::builder_tags(images.flat_map(|image| &image.tags).cloned())
}

/// Returns each image once, with all of its tags.
fn merged(
    images: impl Iterator<Item = StoredImage>,
    tags: &HashMap<Digest, Vec<Tag>>,
) -> Vec<StoredImage> {
    let mut merged: BTreeMap<Digest, StoredImage> = BTreeMap::new();
    for mut image in images {
        // A part of an index may have tags of its own, and then says what it is.
        let is_part = matches!(image.content, ImageContent::Part);
        if let Some(known) = merged.get(&image.digest)
            && (is_part || !matches!(known.content, ImageContent::Part))
        {
            continue;
        }
        image.tags = tags.get(&image.digest).cloned().unwrap_or_default();
        image.tags.sort();
        if image.subject.is_none() {
            image.subject = image.tags.iter().find_map(subject_of);
        }
        merged.insert(image.digest.clone(), image);
    }
    merged.into_values().collect()
}

/// A manifest with those that it lists, and the configuration that has its labels.
type Parts = (Vec<StoredImage>, Option<Digest>);

/// Reads the manifests of one repository.
struct ManifestReader<'m> {
    registry: &'m RegistryReader<'m>,
    name: &'m ImageRepository,
    kind: &'m RepositoryKind,
    builders: &'m BuilderTags,
    /// The tags of each manifest.
    known: Mutex<HashMap<Digest, Vec<Tag>>>,
    configurations: KnownConfigurations,
}

impl ManifestReader<'_> {
    fn take_tags(&self) -> HashMap<Digest, Vec<Tag>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut known)
    }

    /// Reads the manifest of a tag, unless another tag has it.
    async fn tag(&self, tag: Tag) -> Result<Vec<StoredImage>, RegistryError> {
        let name = self.name.tagged(tag.clone());
        // It may have been removed since it was listed.
        let Some(manifest) = self.registry.client.stored(&name).await? else {
            return Ok(Vec::new());
        };
        let is_known = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let tags = known.entry(manifest.digest.clone()).or_default();
            tags.push(tag);
            tags.len() > 1
        };
        if is_known {
            return Ok(Vec::new());
        }
        self.described(&name, manifest).await
    }

    /// Reads a manifest without a tag.
    async fn untagged(&self, digest: &Digest) -> Result<Vec<StoredImage>, RegistryError> {
        let name = self.name.with_digest(digest.clone());
        match self.registry.client.stored(&name).await? {
            Some(manifest) => self.described(&name, manifest).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns what a manifest is, with its parts.
    async fn described(
        &self,
        name: &ImageReference,
        manifest: StoredManifest,
    ) -> Result<Vec<StoredImage>, RegistryError> {
        let client = self.registry.client;
        let is_index = !manifest.children.is_empty();
        let (digest, own_config) = (manifest.digest.clone(), manifest.config.clone());
        let is_result = is_step_result(&manifest);
        let (mut images, config) = self.parts(manifest, 0).await?;
        let Some(image) = images.iter_mut().find(|it| it.digest == digest) else {
            return Ok(images);
        };
        if is_result {
            image.content = ImageContent::StepResult;
            let document = own_config.and_then(|it| it.content());
            image.created = self.saved_at(name, document).await?;
            return Ok(images);
        }
        let found = match &config {
            Some(config) => self.configurations.get(client, self.name, config).await?,
            None => None,
        };
        let describes = image.subject.is_some() || name.tag().and_then(subject_of).is_some();
        image.content = match found {
            Some(found) => {
                image.created = found.created.as_deref().and_then(images::seconds);
                match self.kind {
                    RepositoryKind::Builder => ImageContent::Builder,
                    RepositoryKind::Service(_) => {
                        let platform = PlatformContext::of(self.registry.session);
                        images::content(platform, &found.labels, self.builders)
                    }
                }
            }
            // Other tools describe images with artifacts, which belong to their images.
            None if is_index || describes => ImageContent::Part,
            None if config.is_some() => {
                ImageContent::Foreign("its configuration is missing".to_owned())
            }
            None => ImageContent::Foreign("not an image".to_owned()),
        };
        if describes && matches!(image.content, ImageContent::Foreign(_)) {
            image.content = ImageContent::Part;
        }
        Ok(images)
    }

    /// Returns when a phase's result was saved.
    async fn saved_at(
        &self,
        name: &ImageReference,
        inline: Option<Vec<u8>>,
    ) -> Result<Option<i64>, RegistryError> {
        let document = match (inline, name.tag()) {
            (Some(document), _) => Some(document),
            (None, Some(tag)) => {
                let found = self
                    .registry
                    .client
                    .artifact(self.name, tag, STEP_ARTIFACT)
                    .await?;
                found.map(|found| found.document)
            }
            (None, None) => None,
        };
        let result = document.and_then(|document| StepResult::from_json(&document));
        Ok(result.and_then(|result| i64::try_from(result.saved_at).ok()))
    }

    /// Returns a manifest with those that it lists, and the configuration that has the labels: its own, or that of the
    /// first image that it lists.
    fn parts(
        &self,
        manifest: StoredManifest,
        depth: usize,
    ) -> BoxFuture<'_, Result<Parts, RegistryError>> {
        async move {
            let config = manifest.config.as_ref().filter(|config| {
                let is_image = config.media_type.is_empty()
                    || CONFIGURATIONS.contains(&config.media_type.as_str());
                is_image && manifest.artifact_type.is_none()
            });
            let mut labeled = config.map(|config| config.digest.clone());
            let blobs = manifest.config.iter().chain(&manifest.layers);
            let image = StoredImage {
                digest: manifest.digest.clone(),
                aliases: manifest.config.iter().map(|it| it.digest.clone()).collect(),
                tags: Vec::new(),
                content: ImageContent::Part,
                children: manifest
                    .children
                    .iter()
                    .map(|it| it.digest.clone())
                    .collect(),
                subject: manifest.subject.clone(),
                created: None,
                blobs: blobs
                    .map(|blob| (start_of(&blob.digest), blob.size))
                    .collect(),
            };
            let mut images = vec![image];
            if depth >= DEEPEST {
                return Ok((images, labeled));
            }
            for listed in &manifest.children {
                let name = self.name.with_digest(listed.digest.clone());
                // An index may be incomplete.
                let Some(part) = self.registry.client.stored(&name).await? else {
                    continue;
                };
                let (parts, config) = self.parts(part, depth + 1).await?;
                if listed.is_image && labeled.is_none() {
                    labeled = config;
                }
                images.extend(parts);
            }
            Ok((images, labeled))
        }
        .boxed()
    }
}

fn is_step_result(manifest: &StoredManifest) -> bool {
    let kind = manifest.artifact_type.as_deref();
    let document = manifest
        .config
        .as_ref()
        .map(|config| config.media_type.as_str());
    kind == Some(STEP_ARTIFACT)
        || document.is_some_and(|it| it.strip_suffix("+json") == Some(STEP_ARTIFACT))
}

/// Returns the first digits of a digest as a number.
fn start_of(digest: &Digest) -> u64 {
    let digits = digest.as_str().rsplit(':').next().unwrap_or_default();
    digits
        .get(..16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_default()
}
