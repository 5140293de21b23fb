//! The push request, and the messages of its response.
//!
//! The client library drops the layer's id from messages, and the report that another image is pushed instead.

use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::auth::DockerCredentials;
use bollard::models::{ErrorDetail, ProgressDetail};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;

use crate::base::error::innermost;
use crate::client::engine::{Engine, EngineError};
use crate::model::image::ImageReference;

/// The maximum length of a line of the response.
const MAX_LINE_LENGTH: usize = 1024 * 1024;

/// A message about a push.
#[derive(Debug, Default, Deserialize)]
pub struct PushMessage {
    /// The layer.
    pub id: Option<String>,
    pub status: Option<String>,
    #[serde(rename = "progressDetail")]
    pub progress_detail: Option<ProgressDetail>,
    #[serde(rename = "errorDetail")]
    pub error_detail: Option<ErrorDetail>,
    /// Additional data; its form depends on the message.
    aux: Option<Value>,
}

impl PushMessage {
    /// Returns the digest of the single-platform image that is pushed instead of the multi-platform image.
    pub fn pushed_instead(&self) -> Option<&str> {
        let aux = self.aux.as_ref()?;
        if aux.get("manifestPushedInsteadOfIndex") != Some(&Value::Bool(true)) {
            return None;
        }
        let selected = aux.pointer("/selectedManifest/digest");
        Some(selected.and_then(Value::as_str).unwrap_or("unknown"))
    }
}

impl Engine {
    /// Pushes an image, and returns the messages. Dropping the stream cancels the push.
    pub async fn push_messages(
        &self,
        image: &ImageReference,
        credentials: DockerCredentials,
        action: &str,
    ) -> Result<impl Stream<Item = Result<PushMessage, EngineError>> + use<>, EngineError> {
        let broken = |error: &(dyn std::error::Error + 'static)| EngineError::Broken {
            action: action.to_owned(),
            source: innermost(error).to_string().into(),
        };
        let connection = self.endpoint.dial().await.map_err(|error| broken(&error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
        let connection = AbortOnDrop(tokio::spawn(async move {
            // The message stream reports errors of the connection.
            _ = connection.await;
        }));
        let tag = image.tag().map_or("latest", |tag| tag.as_str());
        let path = format!(
            "/v{}/images/{}/push?tag={tag}",
            self.docker.client_version(),
            image.repository()
        );
        let credentials = serde_json::to_vec(&credentials).unwrap_or_default();
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, "engine")
            .header(header::CONTENT_LENGTH, 0)
            .header("X-Registry-Auth", URL_SAFE.encode(credentials))
            .body(String::new());
        let request = request.map_err(|error| broken(&error))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| broken(&error))?;
        let status = response.status();
        let mut lines = ResponseLines {
            body: response.into_body(),
            buffer: BytesMut::new(),
            action: action.to_owned(),
            _connection: connection,
        };
        if !status.is_success() {
            let body = lines.next().await?.unwrap_or_default();
            let message = String::from_utf8_lossy(&body);
            return Err(EngineError::from_response(
                action,
                status.as_u16(),
                &message,
            ));
        }
        Ok(stream::try_unfold(lines, |mut lines| async move {
            let Some(line) = lines.next().await? else {
                return Ok(None);
            };
            let message = serde_json::from_slice(&line).map_err(|error| lines.broken(&error))?;
            Ok(Some((message, lines)))
        }))
    }
}

/// The lines of a response.
struct ResponseLines {
    body: Incoming,
    buffer: BytesMut,
    action: String,
    _connection: AbortOnDrop,
}

impl ResponseLines {
    /// Returns the next non-empty line, without its line end.
    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1).freeze();
                let line = line.slice(..line.trim_ascii_end().len());
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            let body = &mut self.body;
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(data.chunk());
                    }
                }
                Some(Err(error)) => return Err(self.broken(&error)),
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some(self.buffer.split().freeze())),
            }
            if self.buffer.len() > MAX_LINE_LENGTH {
                return Err(self.broken(&std::io::Error::other(
                    "the response has a line that is too long",
                )));
            }
        }
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> EngineError {
        EngineError::Broken {
            action: self.action.clone(),
            source: innermost(error).to_string().into(),
        }
    }
}

/// The task that drives a connection, which is aborted when the reader is dropped.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> PushMessage {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_different_pushed_image_is_detected() {
        let instead = read(
            r#"{"progressDetail":{},"aux":{"manifestPushedInsteadOfIndex":true,
                "originalIndex":{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:aa","size":1},
                "selectedManifest":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:bb","size":2}}}"#,
        );
        assert_eq!(instead.pushed_instead(), Some("sha256:bb"));
        let regular =
            read(r#"{"progressDetail":{},"aux":{"Tag":"1","Digest":"sha256:cc","Size":528}}"#);
        assert_eq!(regular.pushed_instead(), None);
        let layer = read(r#"{"status":"Pushed","progressDetail":{},"id":"e5ba94cfeb0f"}"#);
        assert_eq!(layer.id.as_deref(), Some("e5ba94cfeb0f"));
    }
}
