//! The resources of a registry, and the access that each needs.

use reqwest::Method;

use crate::model::image::{Digest, ImageReference, ImageRepository};

/// The access that a token grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
    /// For manifests and tags, and for canceling an upload, which some registries treat as deleting.
    Delete,
}

/// The resource that a request addresses.
#[derive(Clone, Copy)]
pub(super) enum Resource<'a> {
    /// The manifest of an image.
    Manifest(&'a ImageReference),
    /// The configuration of an image, a blob that its manifest refers to.
    Configuration(&'a ImageRepository, &'a Digest),
    /// A layer or configuration, to be copied.
    Blob(&'a ImageRepository, &'a Digest),
    /// The uploads to a repository.
    Uploads(&'a ImageRepository),
    /// A blob of another repository of the same registry.
    Mount {
        repository: &'a ImageRepository,
        digest: &'a Digest,
        from: &'a ImageRepository,
    },
}

impl<'a> Resource<'a> {
    /// Returns the repository and the path below it.
    pub fn path(self) -> (&'a ImageRepository, String) {
        match self {
            Self::Manifest(image) => {
                let reference = match (image.digest(), image.tag()) {
                    (Some(digest), _) => digest.as_str(),
                    (None, Some(tag)) => tag.as_str(),
                    (None, None) => "latest",
                };
                (image.repository(), format!("manifests/{reference}"))
            }
            Self::Configuration(repository, digest) | Self::Blob(repository, digest) => {
                (repository, format!("blobs/{digest}"))
            }
            Self::Uploads(repository) => (repository, "blobs/uploads/".to_owned()),
            Self::Mount {
                repository,
                digest,
                from,
            } => {
                let from = from.path();
                let path = format!("blobs/uploads/?mount={digest}&from={from}");
                (repository, path)
            }
        }
    }

    /// Returns a request for messages. A read does not name the image, so that many images can share one error;
    /// the caller names them.
    pub fn request(self, method: &Method) -> String {
        match self {
            Self::Manifest(image) if matches!(*method, Method::PUT | Method::DELETE) => {
                format!("{method} {image}")
            }
            Self::Manifest(_) => method.to_string(),
            Self::Configuration(..) => "GET of an image configuration".to_owned(),
            Self::Blob(..) => format!("{method} of a layer"),
            Self::Mount { repository, .. } => format!("POST of a layer to {repository}"),
            Self::Uploads(repository) => format!("{method} of an upload to {repository}"),
        }
    }

    /// Returns the digest that the response to a GET must have, if it is known.
    pub fn digest(self) -> Option<&'a Digest> {
        match self {
            Self::Manifest(image) => image.digest(),
            Self::Configuration(_, digest) | Self::Blob(_, digest) => Some(digest),
            Self::Uploads(_) | Self::Mount { .. } => None,
        }
    }

    /// Returns a second repository that a request reads from.
    pub fn mounted_from(self) -> Option<&'a ImageRepository> {
        match self {
            Self::Mount { from, .. } => Some(from),
            _ => None,
        }
    }
}
