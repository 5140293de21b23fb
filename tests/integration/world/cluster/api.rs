//! API requests and responses.

use serde_json::{Value, json};

use super::admission::admit;
use super::deletion::Propagation;
use super::http::Incoming;
use super::logs::LogRequest;
use super::reading::Watch;
use super::resources::Resource;
use super::status::Status;
use super::store::{Key, State, key};
use super::users::{Action, User};
use super::{defaults, managers, patch, protobuf, table, validation};

/// The size of an object that can be stored.
const MAX_OBJECT: usize = 1_572_864;

/// A request for objects.
pub struct Call<'a> {
    pub request: &'a Incoming,
    pub resource: &'static Resource,
    pub namespace: String,
    /// Empty for a request about all objects.
    pub name: String,
    /// `log`, `status`, `eviction`, or empty.
    pub part: &'a str,
}

/// The response.
pub enum Response {
    /// A status code and an object.
    Object(u16, Value),
    /// A stream of the changes after a revision.
    Watch(Watch),
    /// The log of a container.
    Log(LogRequest),
}

impl<'a> Call<'a> {
    /// Parses the path of a request.
    pub fn read(request: &'a Incoming) -> Result<Self, Status> {
        let path = request.path.trim_matches('/');
        let words: Vec<&str> = path.split('/').collect();
        let (group, rest) = match words.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, "v1", rest @ ..] => (*group, rest),
            _ => return Err(Status::unknown_path()),
        };
        let (namespace, plural, name, part) = match rest {
            ["namespaces", namespace, plural, name, part] => (*namespace, *plural, *name, *part),
            ["namespaces", namespace, plural, name] => (*namespace, *plural, *name, ""),
            ["namespaces", namespace, plural] => (*namespace, *plural, "", ""),
            [plural, name] => ("", *plural, *name, ""),
            [plural] => ("", *plural, "", ""),
            _ => return Err(Status::unknown_path()),
        };
        let resource = Resource::by_plural(plural).ok_or_else(Status::unknown_path)?;
        if !matches!(
            (plural, part),
            (_, "" | "status") | ("pods", "log" | "eviction")
        ) {
            return Err(Status::unknown_path());
        }
        if resource.group != group
            || (resource.namespaced && namespace.is_empty() && !name.is_empty())
        {
            return Err(Status::unknown_path());
        }
        // A Namespace object is stored in the namespace of the same name.
        let namespace = if resource.namespaced { namespace } else { name };
        Ok(Self {
            request,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            part,
        })
    }

    /// Returns the verb of the request, as in roles.
    pub fn verb(&self) -> &'static str {
        match (self.request.method.as_str(), self.name.is_empty()) {
            ("GET", _) if self.is_watch() => "watch",
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", true) => "deletecollection",
            _ => "delete",
        }
    }

    /// Returns the name of the resource as in roles: `pods/log`.
    pub fn resource_name(&self) -> String {
        match self.part {
            "" => self.resource.plural.to_owned(),
            part => format!("{}/{part}", self.resource.plural),
        }
    }

    /// Executes the request.
    pub fn answer(&self, state: &mut State, user: &User) -> Result<Response, Status> {
        let verb = self.verb();
        let action = Action {
            verb,
            group: self.resource.group,
            resource: &self.resource_name(),
            namespace: &self.namespace,
            name: &self.name,
        };
        user.check(state, self.resource, &action)?;
        match (self.part, verb) {
            ("log", _) => {
                let pod = self.found(state)?;
                let log = LogRequest::read(state, self.request, &self.key_of(&self.name), &pod)?;
                return Ok(Response::Log(log));
            }
            ("eviction", _) => {
                let grace = self.body()?["deleteOptions"]["gracePeriodSeconds"].as_u64();
                self.found(state)?;
                state.evict(&self.namespace, &self.name, grace);
                return Ok(Response::Object(201, success(json!({}))));
            }
            _ => {}
        }
        match verb {
            "watch" => return Ok(Response::Watch(self.watch(state))),
            "list" => return Ok(Response::Object(200, self.list(state))),
            "get" => {
                let object = self.found(state)?;
                let one = std::slice::from_ref(&object);
                let answer = match self.wants_table() {
                    true => table::table(one, self.resource.plural, state.revision()),
                    false => object,
                };
                return Ok(Response::Object(200, answer));
            }
            "create" => return self.create(state),
            "delete" => return self.delete(state),
            "deletecollection" => {
                let listed = self.list(state);
                let (grace, propagation) = self.deletion_options();
                for object in listed["items"].as_array().into_iter().flatten() {
                    let key = self.key_of(text(&object["metadata"]["name"]));
                    state.request_deletion(&key, grace, propagation);
                }
                return Ok(Response::Object(200, listed));
            }
            _ => {}
        }
        let old = state.get(&self.key_of(&self.name)).cloned();
        let media_type = self.request.header("content-type");
        if verb == "patch" && media_type == "application/apply-patch+yaml" {
            return self.apply(state, old.as_ref());
        }
        let old = old.ok_or_else(|| Status::not_found(self.resource, &self.name))?;
        let body = self.body()?;
        let new = match verb {
            "patch" => {
                let mut new = old.clone();
                patch::patch(&mut new, &body, media_type)?;
                new
            }
            _ => body,
        };
        let revision = &new["metadata"]["resourceVersion"];
        if !revision.is_null() && *revision != old["metadata"]["resourceVersion"] {
            return Err(Status::conflict(self.resource, &self.name));
        }
        self.check_fields(&new)?;
        let new = self.store(state, Some(&old), new, |old, new, manager| {
            managers::update(old, new, manager);
        })?;
        Ok(Response::Object(200, new))
    }

    fn create(&self, state: &mut State) -> Result<Response, Status> {
        let mut body = self.body()?;
        let prefix = text(&body["metadata"]["generateName"]).to_owned();
        if body["metadata"]["name"].is_null() && !prefix.is_empty() {
            let suffix = super::jobs::suffix(state.next_number());
            body["metadata"]["name"] = format!("{prefix}{suffix}").into();
        }
        let name = text(&body["metadata"]["name"]).to_owned();
        if name.is_empty() {
            return Err(Status::invalid(
                self.resource,
                "",
                "metadata.name",
                "Required value: name or generateName is required",
            ));
        }
        if state.get(&self.key_of(&name)).is_some() {
            return Err(Status::already_exists(self.resource, &name));
        }
        self.check_fields(&body)?;
        let new = self.store(state, None, body, managers::update)?;
        Ok(Response::Object(201, new))
    }

    fn apply(&self, state: &mut State, old: Option<&Value>) -> Result<Response, Status> {
        let mut config = self.body()?;
        let manager = self.request.parameter("fieldManager");
        if manager.is_empty() {
            let problem = "Required value: is required for apply patch";
            return Err(Status::invalid(self.resource, "", "fieldManager", problem));
        }
        if !config["metadata"]["managedFields"].is_null() {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        if let Some(field) = validation::unknown_fields(self.resource, &config).first() {
            let place = match self.resource.namespaced {
                true => format!("{}/{}", self.namespace, self.name),
                false => format!("/{}", self.name),
            };
            let (version, kind) = (self.resource.api_version(), self.resource.kind);
            let message = format!(
                "failed to create typed patch object ({place}; {version}, Kind={kind}): {field}: \
                 field not declared in schema"
            );
            return Err(Status::new(500, "", message));
        }
        without_nulls(&mut config);
        if let Some(members) = config.as_object_mut() {
            members.shift_remove("status");
        }
        let force = self.request.parameter("force") == "true";
        let applied = managers::apply(old, &config, manager, force)?;
        let new = self.store(state, old, applied, |_, _, _| {})?;
        Ok(Response::Object(if old.is_some() { 200 } else { 201 }, new))
    }

    /// Sets defaults, validates, and stores the object unless this is a dry run.
    fn store(
        &self,
        state: &mut State,
        old: Option<&Value>,
        mut new: Value,
        note_manager: impl Fn(Option<&Value>, &mut Value, &str),
    ) -> Result<Value, Status> {
        let name = match self.name.as_str() {
            "" => text(&new["metadata"]["name"]).to_owned(),
            name => name.to_owned(),
        };
        self.check_place(state, &new, &name)?;
        match old {
            None => state.begin(self.resource, &self.namespace, &name, &mut new),
            Some(old) => {
                for member in ["uid", "creationTimestamp", "namespace", "name"] {
                    if !old["metadata"][member].is_null() {
                        new["metadata"][member] = old["metadata"][member].clone();
                    }
                }
                for member in ["apiVersion", "kind"] {
                    new[member] = old[member].clone();
                }
            }
        }
        self.keep_status(old, &mut new);
        without_nulls(&mut new);
        defaults::fill_in(self.resource, &mut new);
        validation::check(self.resource, old, &new)?;
        if old.is_none() {
            admit(state, self.resource, &self.namespace, &name, &new)?;
        }
        if !new["spec"].is_null() {
            let before = old.map_or(0, |old| old["metadata"]["generation"].as_u64().unwrap_or(0));
            let is_other = old.is_none_or(|old| old["spec"] != new["spec"]);
            new["metadata"]["generation"] = (before + u64::from(is_other)).into();
        }
        let agent = self
            .request
            .header("user-agent")
            .split('/')
            .next()
            .unwrap_or_default();
        let manager = match self.request.parameter("fieldManager") {
            "" => agent,
            manager => manager,
        };
        note_manager(old, &mut new, manager);
        if self.is_dry_run() {
            return Ok(new);
        }
        if new.to_string().len() > MAX_OBJECT {
            return Err(Status::new(500, "", "etcdserver: request is too large"));
        }
        let key = self.key_of(&name);
        let new = state.put(&key, new);
        // The last finalizer may be gone.
        state.finish_deletions();
        Ok(new)
    }

    /// Only the subresource changes the status, and nothing else.
    fn keep_status(&self, old: Option<&Value>, new: &mut Value) {
        let has_status = self.resource.is_workload()
            || matches!(self.resource.plural, "pods" | "resourcequotas");
        if let (true, Some(members)) = (has_status, new.as_object_mut()) {
            let wanted = members.shift_remove("status");
            let old_status = old.and_then(|old| old.get("status")).cloned();
            let status = if self.part == "status" {
                wanted
            } else {
                old_status
            };
            if self.part == "status"
                && let Some(old) = old
            {
                *new = old.clone();
            }
            if let Some(status) = status {
                new["status"] = status;
            }
        }
    }

    fn check_place(&self, state: &State, object: &Value, name: &str) -> Result<(), Status> {
        let metadata = &object["metadata"];
        let said = |member: &str| metadata[member].as_str().filter(|said| !said.is_empty());
        if let Some(other) = said("name").filter(|said| *said != name) {
            return Err(Status::bad_request(format!(
                "the name of the object ({other}) does not match the name on the URL ({name})"
            )));
        }
        if !self.resource.namespaced {
            return Ok(());
        }
        if said("namespace").is_some_and(|said| said != self.namespace) {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let namespaces = Resource::by_plural("namespaces").expect("it is known");
        match state.get(&key(namespaces, "", &self.namespace)) {
            Some(_) => Ok(()),
            None => Err(Status::not_found(namespaces, &self.namespace)),
        }
    }

    fn check_fields(&self, object: &Value) -> Result<(), Status> {
        if self.request.parameter("fieldValidation") != "Strict" {
            return Ok(());
        }
        let unknown = validation::unknown_fields(self.resource, object);
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<_> = unknown
            .iter()
            .map(|field| format!("unknown field {:?}", field.trim_start_matches('.')))
            .collect();
        let kind = self.resource.kind;
        let version = self.resource.version;
        Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            unknown.join(", ")
        )))
    }

    fn delete(&self, state: &mut State) -> Result<Response, Status> {
        let object = self.found(state)?;
        let options = self.body().unwrap_or_default();
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            return Err(Status::conflict(self.resource, &self.name));
        }
        if !self.is_dry_run() && options["dryRun"][0] != "All" {
            let (grace, propagation) = self.deletion_options();
            let key = self.key_of(&self.name);
            if let Some(object) = state.request_deletion(&key, grace, propagation) {
                return Ok(Response::Object(200, object));
            }
        }
        let mut details = json!({
            "name": self.name, "kind": self.resource.plural, "uid": object["metadata"]["uid"],
        });
        if !self.resource.group.is_empty() {
            details["group"] = self.resource.group.into();
        }
        Ok(Response::Object(200, success(details)))
    }

    /// Returns the grace period, and what happens to dependents.
    fn deletion_options(&self) -> (Option<u64>, Propagation) {
        let options = self.body().unwrap_or_default();
        let of_query = self.request.parameter("gracePeriodSeconds").parse().ok();
        let grace = options["gracePeriodSeconds"].as_u64().or(of_query);
        let policy = match self.request.parameter("propagationPolicy") {
            "" => text(&options["propagationPolicy"]).to_owned(),
            policy => policy.to_owned(),
        };
        let propagation = match policy.as_str() {
            "Orphan" => Propagation::Orphan,
            "Foreground" => Propagation::Foreground,
            // For compatibility with old clients; kubectl always chooses.
            "" if self.resource.plural == "jobs" => Propagation::Orphan,
            _ => Propagation::Background,
        };
        (grace, propagation)
    }

    fn found(&self, state: &State) -> Result<Value, Status> {
        let found = state.get(&self.key_of(&self.name)).cloned();
        found.ok_or_else(|| Status::not_found(self.resource, &self.name))
    }

    fn key_of(&self, name: &str) -> Key {
        key(self.resource, &self.namespace, name)
    }

    fn body(&self) -> Result<Value, Status> {
        let media_type = self.request.header("content-type");
        if media_type.contains("protobuf") {
            if let Some(object) = protobuf::decode(&self.request.body) {
                return Ok(object);
            }
            let message = format!(
                "the body of the request was in an unknown format: the API server of the tests \
                 does not read {media_type}; create the object from a file"
            );
            return Err(Status::new(415, "UnsupportedMediaType", message));
        }
        let text = String::from_utf8_lossy(&self.request.body);
        let body: Option<Value> = serde_json::from_str(&text)
            .ok()
            .or_else(|| serde_saphyr::from_str(&text).ok());
        let is_usable = |body: &Value| body.is_object() || body.is_array();
        body.filter(is_usable).ok_or_else(|| {
            Status::bad_request("the object provided is unrecognized: neither JSON nor YAML")
        })
    }

    fn is_watch(&self) -> bool {
        matches!(self.request.parameter("watch"), "true" | "1")
    }

    fn is_dry_run(&self) -> bool {
        self.request.parameter("dryRun") == "All"
    }
}

/// A response without an object.
fn success(details: Value) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Success", "details": details,
    })
}

/// A null member counts as absent.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
