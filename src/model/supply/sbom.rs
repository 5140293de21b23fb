//! Bills of materials.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::model::image::Digest;

const SPDX: &str = "application/spdx+json";
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

/// Returns whether artifacts of a type are bills of materials.
pub fn is_sbom_type(kind: &str) -> bool {
    [SPDX, CYCLONEDX].contains(&kind)
}

/// Returns the media type of a bill of materials, which is the type of its artifact; `None` if it is none.
pub fn sbom_type(document: &[u8]) -> Option<&'static str> {
    let document: Value = serde_json::from_slice(document).ok()?;
    if document["spdxVersion"].is_string() {
        Some(SPDX)
    } else if document["bomFormat"] == "CycloneDX" {
        Some(CYCLONEDX)
    } else {
        None
    }
}

/// Returns the digest of a document.
pub fn sha256_digest(document: &[u8]) -> Option<Digest> {
    let text = format!("sha256:{}", hex::encode(Sha256::digest(document)));
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognized() {
        assert_eq!(
            sbom_type(br#"{"spdxVersion":"SPDX-2.3"}"#),
            Some("application/spdx+json")
        );
        assert_eq!(
            sbom_type(br#"{"bomFormat":"CycloneDX","specVersion":"1.6"}"#),
            Some("application/vnd.cyclonedx+json")
        );
        for other in [
            "{}",
            "[]",
            "",
            r#"{"bomFormat":"x"}"#,
            r#"{"spdxVersion":1}"#,
        ] {
            assert_eq!(sbom_type(other.as_bytes()), None, "{other}");
        }
    }
}
