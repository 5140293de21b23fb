//! Indexes: one manifest for the images of several platforms.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{RegistryClient, RegistryError, sha256};
use crate::model::image::{Digest, ImageRepository, Platform};

/// The media type of an index.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The media types of Docker for an index and for the images in it.
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl RegistryClient {
    /// Writes the index of images that the repository has, without a tag, and returns its digest. The same images give
    /// the same digest.
    ///
    /// # Errors
    ///
    /// The registry lacks one of the images, or refuses.
    pub async fn put_index(
        &self,
        repository: &ImageRepository,
        images: &[(Platform, Digest)],
    ) -> Result<Digest, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let mut listed = Vec::new();
        for (platform, digest) in images {
            let image = repository.with_digest(digest.clone());
            let manifest = host.manifest(&image).await?;
            listed.push(IndexedManifest {
                media_type: manifest.media_type,
                digest,
                size: manifest.bytes.len(),
                platform,
            });
        }
        let (media_type, document) = index(&listed);
        let bytes = Bytes::from(document.to_string());
        let what = "it stored the index under another digest";
        let digest: Digest = sha256(&bytes).parse().map_err(|_| host.unexpected(what))?;
        let name = repository.with_digest(digest.clone());
        host.put_manifest(&name, media_type, bytes).await?;
        Ok(digest)
    }
}

/// An image of an index.
struct IndexedManifest<'i> {
    media_type: String,
    digest: &'i Digest,
    size: usize,
    platform: &'i Platform,
}

/// Returns an index and its media type: Docker's if all of its images have Docker's, for clients that know no other.
fn index(images: &[IndexedManifest<'_>]) -> (&'static str, Value) {
    let are_docker = images.iter().all(|it| it.media_type == DOCKER_IMAGE);
    let media_type = if are_docker { DOCKER_INDEX } else { INDEX };
    let manifests = images.iter().map(|image| {
        let mut platform = json!({
            "architecture": image.platform.architecture(),
            "os": image.platform.system(),
        });
        if let Some(variant) = image.platform.variant() {
            platform["variant"] = json!(variant);
        }
        json!({
            "mediaType": image.media_type,
            "digest": image.digest,
            "size": image.size,
            "platform": platform,
        })
    });
    let manifests: Vec<Value> = manifests.collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": manifests,
    });
    (media_type, document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_the_type_of_its_images() {
        let digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let platform = "linux/arm/v7".parse().unwrap();
        let of = |media_type: &str| {
            let image = IndexedManifest {
                media_type: media_type.to_owned(),
                digest: &digest,
                size: 7,
                platform: &platform,
            };
            index(&[image])
        };
        let (media_type, document) = of(DOCKER_IMAGE);
        assert_eq!(media_type, DOCKER_INDEX);
        assert_eq!(document["mediaType"], DOCKER_INDEX);
        let expected = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
        assert_eq!(document["manifests"][0]["platform"], expected);
        assert_eq!(document["manifests"][0]["size"], 7);
        let (media_type, _) = of("application/vnd.oci.image.manifest.v1+json");
        assert_eq!(media_type, INDEX);
    }
}
