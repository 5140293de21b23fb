//! What a manifest refers to.

use serde::Deserialize;

use crate::model::image::Digest;

/// The manifests and blobs that a manifest refers to.
pub(super) struct Content {
    /// The manifests of an index, including attestations.
    pub manifests: Vec<Part>,
    /// The configuration and the layers of an image.
    pub blobs: Vec<Part>,
}

/// A manifest or a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub digest: Digest,
    pub size: u64,
}

#[derive(Deserialize)]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: u64,
    /// Where a layer is that registries do not store, such as those of Windows.
    #[serde(default)]
    urls: Vec<String>,
}

impl Content {
    /// Parses a manifest or an index.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
        let layers = manifest.layers.iter().filter(|layer| layer.urls.is_empty());
        let mut blobs: Vec<Part> = Vec::new();
        for blob in parts(manifest.config.iter().chain(layers))? {
            // An empty layer may be listed several times.
            if !blobs.contains(&blob) {
                blobs.push(blob);
            }
        }
        Some(Self {
            manifests: parts(&manifest.manifests)?,
            blobs,
        })
    }
}

fn parts<'d>(descriptors: impl IntoIterator<Item = &'d Descriptor>) -> Option<Vec<Part>> {
    let part = |descriptor: &Descriptor| {
        Some(Part {
            digest: descriptor.digest.parse().ok()?,
            size: descriptor.size,
        })
    };
    descriptors.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    fn sizes(parts: &[Part]) -> Vec<u64> {
        parts.iter().map(|part| part.size).collect()
    }

    #[test]
    fn an_image_refers_to_its_blobs() {
        let [config, layer, foreign] = ["a", "b", "c"].map(digest);
        let text = format!(
            r#"{{"config":{{"digest":"{config}","size":1}},"layers":[{{"digest":"{layer}","size":2}},
            {{"digest":"{layer}","size":2}},{{"digest":"{foreign}","size":3,"urls":["https://x.example"]}}]}}"#
        );
        let content = Content::parse(text.as_bytes()).unwrap();
        assert_eq!(sizes(&content.blobs), [1, 2]);
        assert!(content.manifests.is_empty());
    }

    #[test]
    fn an_index_refers_to_all_of_its_manifests() {
        let [image, attestation] = ["a", "b"].map(digest);
        let text = format!(
            r#"{{"manifests":[{{"digest":"{image}","size":1}},{{"digest":"{attestation}","size":2,
            "platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#
        );
        let content = Content::parse(text.as_bytes()).unwrap();
        assert_eq!(sizes(&content.manifests), [1, 2]);
    }

    #[test]
    fn an_invalid_digest_is_rejected() {
        let text = r#"{"config":{"digest":"../../x","size":1}}"#;
        assert!(Content::parse(text.as_bytes()).is_none());
        assert!(Content::parse(b"[]").is_none());
    }
}
