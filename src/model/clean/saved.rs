//! A plan that was saved, to be carried out later.

use std::collections::BTreeMap;

use thiserror::Error;

use super::document::{CleanDocument, ItemDocument, VERSION};
use super::plan::{Action, CleanItem, CleanPlan, Place};
use crate::base::error::{Diagnostic, Exit};
use crate::base::plural::count_of;

/// The number of changes that an error shows.
const SHOWN: usize = 5;

/// The removals of a plan that was saved.
#[derive(Debug, Clone)]
pub struct SavedPlan {
    places: Vec<Place>,
    removals: Vec<ItemDocument>,
}

/// What was saved no longer applies.
#[derive(Debug, Error)]
#[error("the plan no longer applies, so nothing was removed:{}", lines(.changes))]
pub struct ChangedPlan {
    changes: Vec<String>,
}

fn lines(changes: &[String]) -> String {
    let shown = changes
        .iter()
        .take(SHOWN)
        .map(|change| format!("\n  {change}"));
    let mut text: String = shown.collect();
    if changes.len() > SHOWN {
        text.push_str(&format!("\n  and {} more", changes.len() - SHOWN));
    }
    text
}

impl Diagnostic for ChangedPlan {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["`xp clean --save FILE` writes a new plan".to_owned()]
    }
}

impl SavedPlan {
    /// Parses a plan.
    ///
    /// # Errors
    ///
    /// Why it is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: CleanDocument =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        if document.version != VERSION {
            return Err(format!("unsupported format version {}", document.version));
        }
        let mut removals = document.items;
        removals.retain(|item| item.action != Action::Keep);
        Ok(Self {
            places: document.places,
            removals,
        })
    }

    /// Returns what is cleaned.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Returns the removals of a current plan that were saved. Those that are gone were removed since, as by a run that
    /// was interrupted.
    ///
    /// # Errors
    ///
    /// An item is kept now, or has other tags.
    pub fn applied_to(&self, mut current: CleanPlan) -> Result<CleanPlan, ChangedPlan> {
        type Key = (Place, Option<String>, String, String, bool);
        let key = |place, engine: &Option<String>, group: &str, name: &str, action| -> Key {
            (
                place,
                engine.clone(),
                group.to_owned(),
                name.to_owned(),
                action == Action::Untag,
            )
        };
        let of_item = |item: &CleanItem| {
            let (group, name) = (&item.group, &item.name);
            key(item.place, &item.engine, group, name, item.action)
        };
        let items: BTreeMap<Key, &CleanItem> = current
            .items
            .iter()
            .map(|item| (of_item(item), item))
            .collect();
        let mut changes = Vec::new();
        let mut kept: BTreeMap<Key, ()> = BTreeMap::new();
        for saved in &self.removals {
            let (group, name) = (&saved.group, &saved.name);
            let key = key(saved.place, &saved.engine, group, name, saved.action);
            let name = format!("{} {}", saved.group, shown(saved));
            match items.get(&key) {
                // It was removed, or lost these tags.
                None => {}
                Some(item) if item.action == Action::Keep => {
                    changes.push(format!("{name} is kept: {}", item.reason));
                }
                Some(item) if !is_subset(&item.tags, &saved.tags) => {
                    let new = item.tags.iter().filter(|tag| !saved.tags.contains(tag));
                    let new: Vec<&str> = new.map(String::as_str).collect();
                    changes.push(format!("{name} has new tags: {}", new.join(", ")));
                }
                Some(_) => _ = kept.insert(key, ()),
            }
        }
        if !changes.is_empty() {
            return Err(ChangedPlan { changes });
        }
        current
            .items
            .retain(|item| item.action == Action::Keep || kept.contains_key(&of_item(item)));
        Ok(current)
    }
}

fn is_subset(tags: &[String], of: &[String]) -> bool {
    tags.iter().all(|tag| of.contains(tag))
}

fn shown(item: &ItemDocument) -> String {
    match item.tags.as_slice() {
        [] => item.name.clone(),
        [first] => format!("{} ({first})", item.name),
        [first, rest @ ..] => {
            let more = count_of(rest.len(), "more tag");
            format!("{} ({first} and {more})", item.name)
        }
    }
}
