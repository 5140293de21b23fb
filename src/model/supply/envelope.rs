//! Signed documents: DSSE envelopes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// The media type of an envelope.
pub const DSSE_TYPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A document with its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The media type of the document.
    pub payload_type: String,
    /// The document in base64.
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EnvelopeSignature {
    #[serde(default)]
    keyid: String,
    /// In base64.
    sig: String,
}

impl Envelope {
    /// Returns a document with one signature, in base64, of its [`signed_bytes`].
    pub fn new(payload_type: &str, document: &[u8], signature: &str) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload: BASE64_STANDARD.encode(document),
            signatures: vec![EnvelopeSignature {
                keyid: String::new(),
                sig: signature.to_owned(),
            }],
        }
    }

    /// Returns the JSON text.
    pub fn text(&self) -> String {
        // Only maps with other keys than text cannot be serialized.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the document; `None` if it is not base64.
    pub fn document(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.payload).ok()
    }

    /// Returns the signatures in base64.
    pub fn signatures(&self) -> impl Iterator<Item = &str> {
        self.signatures
            .iter()
            .map(|signature| signature.sig.as_str())
    }
}

/// Returns the bytes that the signature of a document signs, which include its type.
pub fn signed_bytes(payload_type: &str, document: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        document.len()
    );
    [head.as_bytes(), document].concat()
}
