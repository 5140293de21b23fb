//! Errors as objects of the kind `Status`, which `kubectl` prints.

use serde_json::{Value, json};

use super::resources::Resource;

/// An error: the status code and the object.
#[derive(Debug)]
pub struct Status {
    pub code: u16,
    pub body: Value,
}

impl Status {
    /// An error without details.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": message.into(), "code": code,
        });
        // An internal error has no reason.
        if !reason.is_empty() {
            body["reason"] = reason.into();
        }
        Self { code, body }
    }

    /// An error about an object.
    fn about(
        code: u16,
        reason: &str,
        message: String,
        resource: &Resource,
        name: &str,
        kind: &str,
    ) -> Self {
        let mut status = Self::new(code, reason, message);
        let mut details = json!({ "name": name, "kind": kind });
        if !resource.group.is_empty() {
            details["group"] = resource.group.into();
        }
        status.body["details"] = details;
        status
    }

    /// The path does not exist.
    pub fn unknown_path() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// The object does not exist.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::about(404, "NotFound", message, resource, name, resource.plural)
    }

    /// The object already exists.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::about(
            409,
            "AlreadyExists",
            message,
            resource,
            name,
            resource.plural,
        )
    }

    /// The object was changed since it was read.
    pub fn conflict(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please \
             apply your changes to the latest version and try again",
            resource.qualified()
        );
        Self::about(409, "Conflict", message, resource, name, resource.plural)
    }

    /// The object is invalid.
    pub fn invalid(resource: &Resource, name: &str, field: &str, problem: &str) -> Self {
        let kind = resource.qualified_kind();
        let message = format!("{kind} {name:?} is invalid: {field}: {problem}");
        let mut status = Self::about(422, "Invalid", message, resource, name, resource.kind);
        status.body["details"]["causes"] =
            json!([{ "reason": "FieldValueInvalid", "message": problem, "field": field }]);
        status
    }

    /// The user lacks permission. The text before the colon is always the same.
    pub fn forbidden(resource: &Resource, name: &str, because: &str) -> Self {
        let qualified = resource.qualified();
        let message = match name {
            "" => format!("{qualified} is forbidden: {because}"),
            name => format!("{qualified} {name:?} is forbidden: {because}"),
        };
        Self::about(403, "Forbidden", message, resource, name, resource.plural)
    }

    /// The login is unknown.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// The request is invalid.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The server failed.
    pub fn internal(message: &str) -> Self {
        let mut status = Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        );
        status.body["details"] = json!({ "causes": [{ "message": message }] });
        status
    }
}
