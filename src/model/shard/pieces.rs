//! Groups of services that stay on one shard.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::manifest::ServiceName;

/// The services and what each of them needs.
pub type Needs<'a> = BTreeMap<&'a ServiceName, &'a BTreeSet<ServiceName>>;

/// Services that stay on one shard.
pub struct Piece<'a> {
    /// In alphabetical order.
    pub services: Vec<&'a ServiceName>,
    pub weight: u64,
}

/// Returns the connected components of the services. A component above the limit is split into its levels, and a level
/// above the limit into its services.
pub fn pieces<'a>(
    needs: &Needs<'a>,
    weights: &BTreeMap<&'a ServiceName, u64>,
    limit: u64,
) -> Vec<Piece<'a>> {
    let piece = |services: Vec<&'a ServiceName>| {
        let weight = services.iter().filter_map(|name| weights.get(name)).sum();
        Piece { services, weight }
    };
    let levels = levels(needs);
    let mut pieces = Vec::new();
    for component in components(needs) {
        let whole = piece(component);
        if whole.weight <= limit {
            pieces.push(whole);
            continue;
        }
        let mut by_level: BTreeMap<usize, Vec<&ServiceName>> = BTreeMap::new();
        for name in whole.services {
            by_level.entry(levels[name]).or_default().push(name);
        }
        for level in by_level.into_values() {
            let level = piece(level);
            if level.weight <= limit {
                pieces.push(level);
            } else {
                pieces.extend(level.services.into_iter().map(|name| piece(vec![name])));
            }
        }
    }
    pieces
}

/// Returns the services that are connected by `needs`, in alphabetical order.
fn components<'a>(needs: &Needs<'a>) -> Vec<Vec<&'a ServiceName>> {
    let mut neighbors: BTreeMap<&ServiceName, Vec<&'a ServiceName>> = BTreeMap::new();
    for (name, needed) in needs {
        for need in needed.iter() {
            // Needed services outside of the split connect nothing.
            if let Some((need, _)) = needs.get_key_value(need) {
                neighbors.entry(name).or_default().push(need);
                neighbors.entry(need).or_default().push(name);
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut components = Vec::new();
    for name in needs.keys() {
        let mut component = BTreeSet::new();
        let mut waiting = vec![*name];
        while let Some(name) = waiting.pop() {
            if seen.insert(name) {
                component.insert(name);
                waiting.extend(neighbors.get(name).into_iter().flatten());
            }
        }
        if !component.is_empty() {
            components.push(component.into_iter().collect());
        }
    }
    components
}

/// Returns the level of each service: 0 if it needs nothing, otherwise one more than the highest that it needs.
fn levels<'a>(needs: &Needs<'a>) -> BTreeMap<&'a ServiceName, usize> {
    let mut levels: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    let mut waiting: Vec<&ServiceName> = needs.keys().rev().copied().collect();
    while let Some(name) = waiting.last().copied() {
        let needed = needs[name].iter();
        let needed: Vec<&ServiceName> = needed
            .filter_map(|need| needs.get_key_value(need))
            .map(|(need, _)| *need)
            .collect();
        let unknown = needed.iter().filter(|need| !levels.contains_key(*need));
        let before = waiting.len();
        // The manifest has no cycles; it is rejected otherwise.
        let unknown: Vec<&ServiceName> = unknown.copied().collect();
        waiting.extend(unknown);
        if waiting.len() == before {
            let highest = needed.iter().map(|need| levels[need] + 1).max();
            levels.insert(name, highest.unwrap_or(0));
            waiting.pop();
        }
    }
    levels
}
