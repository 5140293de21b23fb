//! Resources of a build, as SLSA describes them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::image::{Digest, ImageReference};
use crate::model::source::{SourceRemote, without_user_info};

/// A resource: a repository at a commit, or an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescriptor {
    /// What it is for, such as `source` or `builder`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Digests by algorithm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ResourceDescriptor {
    /// Describes an image by the digest in its registry.
    pub fn image(name: impl Into<String>, image: &ImageReference, digest: &Digest) -> Self {
        Self {
            name: Some(name.into()),
            uri: Some(image_uri(image, Some(digest))),
            digest: digest_set(digest),
            ..Self::default()
        }
    }

    /// Describes a document that is attached to the image.
    pub fn document(name: &str, media_type: &str, digest: &Digest) -> Self {
        Self {
            name: Some(name.to_owned()),
            media_type: Some(media_type.to_owned()),
            digest: digest_set(digest),
            ..Self::default()
        }
    }

    /// Describes an image that is in no registry, by its ID in the engine.
    pub fn engine_image(name: impl Into<String>, image: &ImageReference, id: &str) -> Self {
        let digest = id.parse::<Digest>().ok();
        Self {
            name: Some(name.into()),
            uri: Some(image_uri(image, None)),
            digest: digest.iter().flat_map(digest_set).collect(),
            annotations: BTreeMap::from([("digestOf".to_owned(), "image ID".to_owned())]),
            ..Self::default()
        }
    }
}

/// Returns a digest as a set with one entry.
pub(super) fn digest_set(digest: &Digest) -> BTreeMap<String, String> {
    let parts = digest.as_str().split_once(':');
    let entry = parts.map(|(algorithm, digits)| (algorithm.to_owned(), digits.to_owned()));
    entry.into_iter().collect()
}

/// Returns the package URL of an image.
pub fn image_uri(image: &ImageReference, digest: Option<&Digest>) -> String {
    let repository = image.repository().to_string();
    let name = repository.rsplit('/').next().unwrap_or(&repository);
    let version = digest.map(|digest| format!("@{}", encoded(digest.as_str())));
    let tag = image
        .tag()
        .map(|tag| format!("&tag={}", encoded(tag.as_str())));
    format!(
        "pkg:oci/{}{}?repository_url={}{}",
        encoded(&name.to_lowercase()),
        version.unwrap_or_default(),
        encoded(&repository),
        tag.unwrap_or_default()
    )
}

/// Encodes a part of a package URL.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Returns the URI of a repository, without credentials, and with the reference if there is one.
pub fn source_uri(remote: &SourceRemote, reference: Option<&str>) -> String {
    let uri = match remote {
        SourceRemote::Git(url) => git_uri(&url.without_credentials()),
        SourceRemote::Plugin(text) => format!("scm:{}", encoded(text)),
    };
    match reference {
        Some(reference) => format!("{uri}@{reference}"),
        None => uri,
    }
}

/// Returns the URI of a git repository: `git+https://…`.
pub(super) fn git_uri(url: &str) -> String {
    let url = without_user_info(url);
    if url.contains("://") {
        return format!("git+{url}");
    }
    match url.split_once(':') {
        // The short form of ssh URLs.
        Some((host, path)) if !url.starts_with('/') => {
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("git+ssh://{host}/{}", path.trim_start_matches('/'))
        }
        _ => format!("git+file://{url}"),
    }
}
