//! A complete response of a registry.

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};

use super::sha256;
use crate::model::image::Digest;

/// The maximum size of a body. Registries limit manifests to 4 MiB.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A response with its complete body.
pub(super) struct RegistryResponse {
    /// The request, for messages.
    pub request: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The URL after redirects.
    pub url: Url,
    body: Option<Bytes>,
}

impl RegistryResponse {
    /// Reads a response to its end.
    pub async fn read(request: &str, mut response: Response) -> Result<Self, reqwest::Error> {
        let mut reply = Self {
            request: request.to_owned(),
            status: response.status(),
            headers: response.headers().clone(),
            url: response.url().clone(),
            body: None,
        };
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BODY {
                return Ok(reply);
            }
            body.extend_from_slice(&chunk);
        }
        reply.body = Some(body.freeze());
        Ok(reply)
    }

    /// Returns the body, or `None` if it is too large.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        let bytes = self.body.as_deref().unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Returns a text header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns what is wrong with the body of a manifest or blob: it must match the requested digest and the
    /// digest in the response header.
    pub fn corruption(&self, requested: Option<&Digest>) -> Option<&'static str> {
        let bytes = self.body()?;
        let is_other = |digest: &str| digest.starts_with("sha256:") && sha256(bytes) != digest;
        if requested.is_some_and(|requested| is_other(requested.as_str())) {
            return Some("the content does not match the requested digest");
        }
        let stated = self.header("docker-content-digest");
        stated
            .is_some_and(is_other)
            .then_some("the content does not match the digest in its header")
    }
}
