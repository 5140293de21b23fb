//! The cluster's API, through `kubectl proxy`.
//!
//! A run has one proxy, so hundreds of Jobs need neither a process per request nor one per log. Requests are repeated
//! while the cluster does not respond, for a minute and a half.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use thiserror::Error;

use super::KubectlError;
use super::proxy::{KubectlProxy, ProxySettings};
use crate::base::error::{Diagnostic, Exit, Retrying, innermost};
use crate::client::retry::{Policy, is_transient_status, random};

/// The time limit of a request that is answered at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a stream may be silent. A connection that is lost without notice is opened again.
const SILENCE: Duration = Duration::from_secs(300);

/// The maximum length of a line of a stream; the rest of a longer one is dropped.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

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

/// A request failed.
#[derive(Debug, Clone, Error)]
pub enum ApiError {
    /// The cluster refused it.
    #[error("cannot {action}: {}", shown(.reason, .message))]
    Refused {
        action: String,
        /// The HTTP status.
        code: u16,
        /// The reason, such as `Forbidden`.
        reason: String,
        /// The message.
        message: String,
    },
    /// The cluster does not respond.
    #[error("cannot {action}: the cluster of the context {context} does not respond: {cause}")]
    Unreachable {
        action: String,
        /// The context of the kubeconfig.
        context: String,
        cause: String,
    },
    /// `kubectl proxy` no longer runs.
    #[error("cannot {action}: {cause}")]
    NoProxy { action: String, cause: String },
}

fn shown(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

impl ApiError {
    /// Returns whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Returns whether the object exists.
    pub fn is_existing(&self) -> bool {
        matches!(self, Self::Refused { code: 409, reason, .. } if reason == "AlreadyExists")
    }

    /// Returns whether the object is being changed or deleted, so that the request may succeed later.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Returns whether a quota of the namespace is used up.
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::Refused { code: 403, message, .. } if message.contains("exceeded quota"))
    }

    /// Returns whether the user lacks a permission.
    pub fn is_forbidden(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 401 | 403,
                ..
            }
        ) && !self.is_quota()
    }

    /// Returns whether a watch has to start over.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code: 410, .. })
    }

    /// Returns whether the cluster may respond later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => is_transient_status(*code),
            Self::NoProxy { .. } => false,
        }
    }
}

impl Diagnostic for ApiError {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreachable { context, .. } => {
                format!("run `kubectl --context {context} cluster-info` for details")
            }
            Self::Refused { code: 401, .. } => {
                "check the credentials of the context with `kubectl auth whoami`".to_owned()
            }
            Self::Refused { code: 404, message, .. } if message.contains("namespaces \"") => {
                "create it with `kubectl create namespace`".to_owned()
            }
            Self::NoProxy { .. } => {
                "run xp again; it reuses the Jobs of this run that succeeded".to_owned()
            }
            _ if self.is_forbidden() => {
                "the Role in docs/fleet.md has the permissions that a fleet needs; `kubectl auth can-i --list` lists yours"
                    .to_owned()
            }
            _ => return Vec::new(),
        };
        vec![hint]
    }
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
        Ok(LineStream {
            response,
            buffer: BytesMut::new(),
            is_dropping: false,
        })
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

/// The kinds of objects that a fleet uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Job,
    Pod,
    PodLog,
    Secret,
    Event,
}

impl Kind {
    /// Returns the API group, the resource and the subresource.
    fn resource(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Job => ("batch", "jobs", ""),
            Self::Pod => ("", "pods", ""),
            Self::PodLog => ("", "pods", "log"),
            Self::Secret => ("", "secrets", ""),
            Self::Event => ("", "events", ""),
        }
    }

    /// Returns whether a rule allows something for all objects of the kind.
    pub(super) fn is_allowed_by(self, rule: &Value, verb: &str) -> bool {
        let (group, resource, subresource) = self.resource();
        let has = |key: &str, wanted: &[&str]| {
            let values = rule[key].as_array().into_iter().flatten();
            values
                .filter_map(Value::as_str)
                .any(|it| it == "*" || wanted.contains(&it))
        };
        let any_subresource = format!("*/{subresource}");
        let resources = [self.plural(), any_subresource.as_str()];
        let resources = if subresource.is_empty() {
            &[resource][..]
        } else {
            &resources[..]
        };
        let names = rule["resourceNames"].as_array();
        has("verbs", &[verb])
            && has("apiGroups", &[group])
            && has("resources", resources)
            && names.is_none_or(Vec::is_empty)
    }

    /// Returns the question whether the user may do something.
    fn access_review(self, namespace: &str, verb: &str) -> Value {
        let (group, resource, subresource) = self.resource();
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": namespace,
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
            }},
        })
    }

    /// Returns the resource as in a Role.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Job => "jobs",
            Self::Pod => "pods",
            Self::PodLog => "pods/log",
            Self::Secret => "secrets",
            Self::Event => "events",
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod | Self::PodLog => "pod",
            Self::Secret => "Secret",
            Self::Event => "event",
        }
    }
}

/// A stream of lines.
pub struct LineStream {
    response: Response,
    buffer: BytesMut,
    /// Whether the rest of a line that is too long is dropped.
    is_dropping: bool,
}

impl LineStream {
    /// Returns the next line without its end; `None` at the end of the stream. Can be canceled without losing bytes.
    ///
    /// # Errors
    ///
    /// The connection was lost, or has been silent for minutes.
    pub async fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.advance(end + 1);
                if std::mem::take(&mut self.is_dropping) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.buffer.len() > LONGEST_LINE {
                self.buffer.clear();
                self.is_dropping = true;
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            match chunk {
                Err(_) => return Err("silent for too long".to_owned()),
                Ok(Err(error)) => return Err(innermost(&error).to_string()),
                Ok(Ok(Some(chunk))) => self.buffer.extend_from_slice(&chunk),
                Ok(Ok(None)) if self.buffer.is_empty() || self.is_dropping => return Ok(None),
                Ok(Ok(None)) => {
                    let rest = self.buffer.split();
                    return Ok(Some(String::from_utf8_lossy(&rest).into_owned()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_allow_verbs_on_resources() {
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]});
        assert!(Kind::Pod.is_allowed_by(&rule, "get"));
        assert!(Kind::PodLog.is_allowed_by(&rule, "get"));
        assert!(!Kind::Pod.is_allowed_by(&rule, "list"));
        assert!(!Kind::Job.is_allowed_by(&rule, "get"));
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        assert!(Kind::Job.is_allowed_by(&all, "create"));
        let some = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]});
        assert!(!Kind::Secret.is_allowed_by(&some, "get"));
    }
}
