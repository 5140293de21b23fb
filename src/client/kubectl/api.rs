//! The cluster's API, through `kubectl proxy`.
//!
//! A run has one proxy, so hundreds of Jobs need neither a process per request nor one per log. Requests are repeated
//! while the cluster does not respond, for a minute and a half.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::KubectlError;
use super::api_error::{ApiError, shown};
use super::kind::Kind;
use super::line_stream::LineStream;
use super::proxy::{KubectlProxy, ProxySettings};
use crate::base::error::{Retrying, innermost};
use crate::client::retry::{Policy, random};

/// The time limit of a request that is answered at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum length of an error in a response.
const LONGEST_ERROR: usize = 1000;

/// A connection to the API of a namespace.
pub struct ClusterApi {
    client: Client,
    proxy: KubectlProxy,
    context: String,
    namespace: String,
    on_retry: Arc<dyn Fn(Retrying) + Send + Sync>,
}

impl ClusterApi {
    /// Starts `kubectl proxy`.
    ///
    /// # Errors
    ///
    /// kubectl is missing or does not know the context.
    pub async fn start(
        settings: &ProxySettings<'_>,
        on_retry: Arc<dyn Fn(Retrying) + Send + Sync>,
    ) -> Result<Self, KubectlError> {
        let proxy = KubectlProxy::start(settings).await?;
        let client = Client::builder()
            .unix_socket(proxy.socket.as_path())
            .tls_certs_only([])
            .build()
            .map_err(|error| KubectlError::Failed {
                action: "use `kubectl proxy`".to_owned(),
                lines: vec![innermost(&error).to_string()],
            })?;
        Ok(Self {
            client,
            proxy,
            context: settings.cluster.context.to_owned(),
            namespace: settings.cluster.namespace.to_owned(),
            on_retry,
        })
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns an object; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The cluster refuses the request, or does not respond.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>, ApiError> {
        let path = self.path(kind, name);
        let action = format!("read the {} {name}", kind.shown());
        match self.request(Method::GET, &path, None, &action).await {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Returns the objects of a kind that match, and the version of the list.
    ///
    /// # Errors
    ///
    /// The cluster refuses the request, or does not respond.
    pub async fn list(&self, kind: Kind, query: &str) -> Result<(Vec<Value>, String), ApiError> {
        let path = format!("{}?{query}", self.path(kind, ""));
        let action = format!("list the {}s", kind.shown());
        let mut list = self.request(Method::GET, &path, None, &action).await?;
        let version = list["metadata"]["resourceVersion"].as_str();
        let version = version.unwrap_or_default().to_owned();
        let items = match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        Ok((items, version))
    }

    /// Creates an object, and returns it.
    ///
    /// # Errors
    ///
    /// It exists, the cluster refuses the request, or does not respond.
    pub async fn create(&self, kind: Kind, object: &Value) -> Result<Value, ApiError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let action = format!("create the {} {name}", kind.shown());
        let path = format!("{}?fieldManager=xp", self.path(kind, ""));
        self.request(Method::POST, &path, Some(object), &action)
            .await
    }

    /// Merges changes into an object, and returns it.
    ///
    /// # Errors
    ///
    /// The cluster refuses the request, or does not respond.
    pub async fn patch(&self, kind: Kind, name: &str, changes: &Value) -> Result<Value, ApiError> {
        let action = format!("change the {} {name}", kind.shown());
        let path = format!("{}?fieldManager=xp", self.path(kind, name));
        self.request(Method::PATCH, &path, Some(changes), &action)
            .await
    }

    /// Deletes an object with its dependents, if it exists and has that id.
    ///
    /// # Errors
    ///
    /// The cluster refuses the request, or does not respond.
    pub async fn delete(&self, kind: Kind, name: &str, uid: Option<&str>) -> Result<(), ApiError> {
        let action = format!("delete the {} {name}", kind.shown());
        let mut options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        if let Some(uid) = uid {
            options["preconditions"] = json!({"uid": uid});
        }
        let path = self.path(kind, name);
        match self
            .request(Method::DELETE, &path, Some(&options), &action)
            .await
        {
            // Another one has its name by now.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Returns whether the user may do something; `None` if the cluster does not say.
    ///
    /// # Errors
    ///
    /// The cluster does not respond.
    pub async fn may(&self, verb: &str, kind: Kind) -> Result<Option<bool>, ApiError> {
        let review = kind.access_review(&self.namespace, verb);
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let action = "check the permissions";
        match self
            .request(Method::POST, path, Some(&review), action)
            .await
        {
            Ok(answer) => Ok(answer["status"]["allowed"].as_bool()),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Opens a stream of lines, such as a watch; `query` has its parameters.
    ///
    /// # Errors
    ///
    /// The cluster refuses the request, or does not respond.
    pub async fn stream(
        &self,
        kind: Kind,
        name: &str,
        query: &str,
        action: &str,
    ) -> Result<LineStream, ApiError> {
        let path = format!("{}?{query}", self.path(kind, name));
        let request = self.client.get(format!("http://localhost{path}"));
        let sent = tokio::time::timeout(REQUEST_TIMEOUT, request.send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unreachable(action, &innermost(&error).to_string())),
            Err(_) => return Err(self.unreachable(action, "no response")),
        };
        if !response.status().is_success() {
            return Err(self.refusal(response, action).await);
        }
        Ok(LineStream::new(response))
    }

    fn path(&self, kind: Kind, name: &str) -> String {
        let (group, resource, subresource) = kind.resource();
        let root = if group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{group}/v1")
        };
        let mut path = format!("{root}/namespaces/{}/{resource}", self.namespace);
        for part in [name, subresource] {
            if !part.is_empty() {
                path.push('/');
                path.push_str(part);
            }
        }
        path
    }

    /// Sends a request, again while the cluster does not respond.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        action: &str,
    ) -> Result<Value, ApiError> {
        let start = Instant::now();
        let mut failed = 0;
        loop {
            let error = match self.send(method.clone(), path, body, action).await {
                Err(error) if error.is_transient() => error,
                response => return response,
            };
            failed += 1;
            let wait = Policy::CLUSTER.wait(failed, random(), None, start.elapsed());
            let Some(wait) = wait else {
                return Err(error);
            };
            self.report_retry(action, &error, wait, failed);
            tokio::time::sleep(wait).await;
        }
    }

    /// Reports that a request will be repeated.
    pub fn report_retry(&self, action: &str, error: &ApiError, wait: Duration, failed: u32) {
        let why = match error {
            ApiError::Unreachable { cause, .. } | ApiError::NoProxy { cause, .. } => cause.clone(),
            ApiError::Refused {
                reason, message, ..
            } => shown(reason, message),
        };
        (self.on_retry)(Retrying {
            host: format!("the cluster of {}", self.context),
            request: action.to_owned(),
            why,
            wait,
            attempt: failed + 1,
            attempts: Policy::CLUSTER.attempts,
        });
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        action: &str,
    ) -> Result<Value, ApiError> {
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request = self
            .client
            .request(method, format!("http://localhost{path}"))
            .timeout(REQUEST_TIMEOUT)
            .header("accept", "application/json");
        if let Some(body) = body {
            request = request
                .header("content-type", content)
                .body(body.to_string());
        }
        let unreachable =
            |error: reqwest::Error| self.unreachable(action, &innermost(&error).to_string());
        let response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(self.refusal(response, action).await);
        }
        let bytes = response.bytes().await.map_err(unreachable)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| self.unreachable(action, &format!("invalid response: {error}")))
    }

    /// Returns the error of a response.
    async fn refusal(&self, response: Response, action: &str) -> ApiError {
        let code = response.status().as_u16();
        let text = response.bytes().await.unwrap_or_default();
        let status: Option<Value> = serde_json::from_slice(&text).ok();
        let status = status.filter(|it| it["kind"] == "Status");
        let Some(status) = status else {
            let mut text = String::from_utf8_lossy(&text).trim().to_owned();
            text.truncate(text.floor_char_boundary(LONGEST_ERROR));
            // Without a status, it is the proxy that answers.
            if code >= 500 {
                return self.unreachable(action, &text);
            }
            return ApiError::Refused {
                action: action.to_owned(),
                code,
                reason: String::new(),
                message: if text.is_empty() {
                    format!("HTTP status {code}")
                } else {
                    text
                },
            };
        };
        let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
        ApiError::Refused {
            action: action.to_owned(),
            code,
            reason: text("reason"),
            message: text("message"),
        }
    }

    fn unreachable(&self, action: &str, cause: &str) -> ApiError {
        if let Some(cause) = self.proxy.ended() {
            return ApiError::NoProxy {
                action: action.to_owned(),
                cause,
            };
        }
        ApiError::Unreachable {
            action: action.to_owned(),
            context: self.context.clone(),
            cause: cause.to_owned(),
        }
    }
}
