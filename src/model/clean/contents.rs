//! The contents of repositories, and what names them from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::reason::Reason;
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};
use crate::model::manifest::{CleanKeep, ServiceName};
use crate::model::source::CommitId;

/// The contents of repositories, and what is known about their use.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    pub repositories: Vec<Repository>,
    pub roots: Roots,
    pub keep: CleanKeep,
    /// The current time, in seconds since 1970.
    pub now: i64,
}

/// A repository that the manifest names, in a registry or in the engine.
#[derive(Debug, Clone)]
pub struct Repository {
    pub name: ImageRepository,
    pub kind: RepositoryKind,
    pub images: Vec<StoredImage>,
    pub untagging: Untagging,
}

/// Whose images a repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryKind {
    Service(ServiceName),
    Builder,
}

impl RepositoryKind {
    /// Returns whether it has the images of a builder.
    pub fn is_builder(&self) -> bool {
        *self == Self::Builder
    }
}

/// Whether a registry can remove a tag and keep its image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Untagging {
    /// It was not tried yet. A registry may remove the image too, so it is tried only with an image that goes anyway.
    #[default]
    Unknown,
    Works,
    Rejected,
}

/// An image, an index of images, or an artifact.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// The digest of its manifest, or its ID in an engine.
    pub digest: Digest,
    /// Other digests that name it: that of its configuration, and those that an engine knows from registries.
    pub aliases: Vec<Digest>,
    pub tags: Vec<Tag>,
    pub content: ImageContent,
    /// The manifests that it lists.
    pub children: Vec<Digest>,
    /// The manifest that it describes, such as a signature.
    pub subject: Option<Digest>,
    /// When it was created, in seconds since 1970; `None` if this is unknown.
    pub created: Option<i64>,
    /// Its blobs, each with the start of its digest and its size.
    pub blobs: Vec<(u64, u64)>,
}

/// What a manifest contains.
#[derive(Debug, Clone)]
pub enum ImageContent {
    /// An image of a service, built by xp.
    Built(Box<BuiltImage>),
    /// An image in the repository of a builder.
    Builder,
    /// The result of a phase.
    StepResult,
    /// A part of an index, or something that refers to an image.
    Part,
    /// Anything else, with a description.
    Foreign(String),
}

/// What the labels of an image that xp built say.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    pub service: String,
    pub commit: CommitId,
    /// The branch or tag that was built.
    pub reference: String,
    /// Whether it was built from a working copy, so no reference leads to it.
    pub is_local: bool,
    /// The time of the commit, in seconds since 1970.
    pub committed: Option<i64>,
    /// The images of needed services that were used: an ID in an engine, by service.
    pub needs: BTreeMap<String, Digest>,
    /// The tags of the results of its phases.
    pub steps: Vec<Tag>,
    /// The tags of builder images that its recipe has.
    pub builders: Vec<Tag>,
    /// The base images that were used.
    pub bases: Vec<Digest>,
    /// The tags that `docker.tags` gives to exactly this image.
    pub own_tags: Vec<Tag>,
}

/// What is named from outside of the repositories.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Digests of manifests or configurations, or IDs in an engine.
    pub digests: BTreeMap<Digest, Reason>,
    /// Those that may be manifests without a tag, with the repository if it is known.
    pub untagged: BTreeSet<(Option<ImageRepository>, Digest)>,
    /// Images that are named by their tag.
    pub names: BTreeMap<ImageReference, Reason>,
    /// The references of each service of the manifest.
    pub services: BTreeMap<ServiceName, OpenReferences>,
}

impl Roots {
    /// Adds a digest, unless it is known.
    pub fn digest(&mut self, digest: Digest, reason: Reason) {
        self.digests.entry(digest).or_insert(reason);
    }

    /// Adds the digest of a manifest, which may have no tag; `repository` is where it is, if that is known.
    pub fn manifest(
        &mut self,
        repository: Option<&ImageRepository>,
        digest: Digest,
        reason: Reason,
    ) {
        self.untagged.insert((repository.cloned(), digest.clone()));
        self.digest(digest, reason);
    }

    /// Adds a name, unless it is known.
    pub fn name(&mut self, name: ImageReference, reason: Reason) {
        self.names.entry(name).or_insert(reason);
    }
}

/// The references of a service's remote.
#[derive(Debug, Clone, Default)]
pub struct OpenReferences {
    /// The commits to build at the end of each reference, with the name of one.
    pub tips: BTreeMap<CommitId, String>,
    /// The short names of branches and tags; `None` if they cannot be listed, so any may exist.
    pub names: Option<BTreeSet<String>>,
    /// The branch of the manifest, which topic branches are merged to.
    pub main: Option<String>,
}

impl OpenReferences {
    /// Returns whether a branch or tag may exist.
    pub fn may_have(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(name))
    }
}
