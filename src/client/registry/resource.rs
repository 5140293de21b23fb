//! What is asked of a registry, and what for.

use reqwest::Method;

use crate::image::{Digest, ImageReference, ImageRepository};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    Push,
    /// To cancel an upload, which some registries count as deleting.
    Delete,
}

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) enum Resource<'a> {
    /// The manifest of an image.
    Manifest(&'a ImageReference),
    /// The configuration of an image, a file that its manifest names.
    Configuration(&'a ImageRepository, &'a Digest),
    /// The uploads to a repository.
    Uploads(&'a ImageRepository),
}

impl<'a> Resource<'a> {
    /// Returns the repository, and the path below it.
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
            Self::Configuration(repository, digest) => (repository, format!("blobs/{digest}")),
            Self::Uploads(repository) => (repository, "blobs/uploads/".to_owned()),
        }
    }

    /// Returns a request for it in words. Where many images are only asked for, one reason may stand for
    /// all of them, so the image is named by who asks.
    pub fn request(self, method: &Method) -> String {
        match self {
            Self::Manifest(image) if *method == Method::PUT => format!("PUT {image}"),
            Self::Manifest(_) => method.to_string(),
            Self::Configuration(..) => "GET of an image's configuration".to_owned(),
            Self::Uploads(repository) => format!("{method} of an upload to {repository}"),
        }
    }

    /// Returns the digest that the answer to a GET is to have, where that is known before.
    pub fn digest(self) -> Option<&'a Digest> {
        match self {
            Self::Manifest(image) => image.digest(),
            Self::Configuration(_, digest) => Some(digest),
            Self::Uploads(_) => None,
        }
    }
}
