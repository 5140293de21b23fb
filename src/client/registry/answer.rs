//! A whole answer of a registry.

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};

use super::sha256;
use crate::image::Digest;

/// What is longer than this is no answer of a registry: none takes a manifest of more than 4 MiB.
const LONGEST: usize = 8 * 1024 * 1024;

/// An answer, its body included: what breaks off on the way is no answer.
pub(super) struct Answer {
    /// What was asked, in words.
    pub request: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Where it came from, after redirections.
    pub url: Url,
    body: Option<Bytes>,
}

impl Answer {
    /// Reads an answer to its end.
    pub async fn read(request: &str, mut response: Response) -> Result<Self, reqwest::Error> {
        let mut answer = Self {
            request: request.to_owned(),
            status: response.status(),
            headers: response.headers().clone(),
            url: response.url().clone(),
            body: None,
        };
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LONGEST {
                return Ok(answer);
            }
            body.extend_from_slice(&chunk);
        }
        answer.body = Some(body.freeze());
        Ok(answer)
    }

    /// Returns the body; none where it is longer than any that a registry sends.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Returns the body as text, as far as it is one.
    pub fn text(&self) -> String {
        let bytes = self.body.as_deref().unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Returns a header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Tells what is wrong with the bytes of an image's file: what was changed on the way must not be kept as a
    /// fact. They are to have the digest that was asked for, and the one that the answer tells.
    pub fn corruption(&self, asked: Option<&Digest>) -> Option<&'static str> {
        let bytes = self.body()?;
        let is_other = |digest: &str| digest.starts_with("sha256:") && sha256(bytes) != digest;
        if asked.is_some_and(|asked| is_other(asked.as_str())) {
            return Some("what it sends has not the digest that was asked for");
        }
        let told = self.header("docker-content-digest");
        told.is_some_and(is_other)
            .then_some("what it sends has not the digest that it tells")
    }
}
