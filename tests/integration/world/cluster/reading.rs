//! Lists, with pagination, and watches.

use serde_json::{Value, json};

use super::api::Call;
use super::resources::Resource;
use super::selector::Selector;
use super::store::State;
use super::table;

/// The changes that a client is waiting for.
pub struct Watch {
    pub resource: &'static Resource,
    pub namespace: String,
    pub selector: Selector,
    pub as_table: bool,
    pub after: u64,
    /// The existing objects.
    pub first: Vec<Value>,
    /// Whether to send a bookmark after them.
    pub marks_first: bool,
    /// Whether to send further bookmarks from time to time.
    pub wants_bookmarks: bool,
    /// The oldest known revision, if the client wants an earlier one.
    pub too_old: Option<u64>,
    pub seconds: u64,
}

impl Call<'_> {
    /// Returns a page of the requested objects, as a list or a table.
    pub fn list(&self, state: &State) -> Value {
        let objects = self.selected(state);
        let number = |name: &str| self.request.parameter(name).parse::<usize>().ok();
        let first = number("continue").unwrap_or(0).min(objects.len());
        let limit = number("limit")
            .filter(|limit| *limit > 0)
            .unwrap_or(usize::MAX);
        let end = first.saturating_add(limit).min(objects.len());
        let part = &objects[first..end];
        let mut list = match self.wants_table() {
            true => table::table(part, self.resource.plural, state.revision()),
            false => json!({
                "kind": format!("{}List", self.resource.kind),
                "apiVersion": self.resource.api_version(),
                "metadata": { "resourceVersion": state.revision().to_string() },
                "items": part,
            }),
        };
        if end < objects.len() {
            list["metadata"]["continue"] = end.to_string().into();
        }
        list
    }

    /// Returns the requested watch.
    pub fn watch(&self, state: &State) -> Watch {
        let marks_first = self.request.parameter("sendInitialEvents") == "true";
        let from = self.request.parameter("resourceVersion");
        let from_start = marks_first || matches!(from, "" | "0");
        let revision = from.parse().ok().filter(|_| !from_start);
        let oldest = state.oldest_revision;
        Watch {
            resource: self.resource,
            namespace: self.namespace.clone(),
            selector: self.selector(),
            as_table: self.wants_table(),
            after: revision.unwrap_or_else(|| state.revision()),
            wants_bookmarks: self.request.parameter("allowWatchBookmarks") == "true",
            too_old: revision
                .filter(|revision| *revision < oldest)
                .map(|_| oldest),
            first: if from_start {
                self.selected(state)
            } else {
                Vec::new()
            },
            marks_first,
            seconds: self
                .request
                .parameter("timeoutSeconds")
                .parse()
                .unwrap_or(1800),
        }
    }

    fn selected(&self, state: &State) -> Vec<Value> {
        let selector = self.selector();
        let namespace = if self.resource.namespaced {
            &self.namespace
        } else {
            ""
        };
        let listed = state.list(self.resource.plural, namespace).into_iter();
        let objects = listed.map(|(_, object)| object);
        objects
            .filter(|object| selector.selects(object))
            .cloned()
            .collect()
    }

    fn selector(&self) -> Selector {
        let mut selector = Selector {
            labels: self.request.parameter("labelSelector").to_owned(),
            fields: self.request.parameter("fieldSelector").to_owned(),
        };
        if !self.name.is_empty() {
            selector
                .fields
                .push_str(&format!(",metadata.name={}", self.name));
        }
        selector
    }

    /// Returns whether the client requests a table.
    pub fn wants_table(&self) -> bool {
        let accept = self
            .request
            .header("accept")
            .split(',')
            .next()
            .unwrap_or_default();
        accept.contains("as=Table")
    }
}
