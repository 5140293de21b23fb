//! The dependency graph of services.

use std::collections::{BTreeMap, BTreeSet};

use super::Manifest;
use super::name::ServiceName;

impl Manifest {
    /// Returns the services and their direct and indirect dependencies.
    pub fn closure<'n>(
        &self,
        selected: impl IntoIterator<Item = &'n ServiceName>,
    ) -> BTreeSet<ServiceName> {
        let mut closure = BTreeSet::new();
        let mut waiting: Vec<&ServiceName> = selected.into_iter().collect();
        while let Some(name) = waiting.pop() {
            let Some((name, service)) = self.services.get_key_value(name) else {
                continue;
            };
            if closure.insert(name.clone()) {
                waiting.extend(&service.needs);
            }
        }
        closure
    }

    /// Returns the services and their direct and indirect dependents.
    pub fn dependents_closure(&self, selected: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        let mut closure = selected.clone();
        // Dependencies come first.
        for name in self.order() {
            let needs = self.services.get(name).map(|service| &service.needs);
            if needs.is_some_and(|needs| !needs.is_disjoint(&closure)) {
                closure.insert(name.clone());
            }
        }
        closure
    }

    /// Returns all services in dependency order, and otherwise by name.
    pub fn order(&self) -> Vec<&ServiceName> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in self.services.keys() {
            self.visit(name, &mut seen, &mut order);
        }
        order
    }

    fn visit<'m>(
        &'m self,
        name: &'m ServiceName,
        seen: &mut BTreeSet<&'m ServiceName>,
        order: &mut Vec<&'m ServiceName>,
    ) {
        // An explicit stack, because a long chain of services would overflow that of the thread.
        let mut stack = vec![(name, false)];
        while let Some((name, is_done)) = stack.pop() {
            if is_done {
                order.push(name);
            } else if seen.insert(name) {
                stack.push((name, true));
                let needs = self.services.get(name).map(|service| &service.needs);
                stack.extend(needs.into_iter().flatten().rev().map(|need| (need, false)));
            }
        }
    }

    /// Returns the direct dependents of a service.
    pub fn dependents<'m>(&'m self, name: &ServiceName) -> impl Iterator<Item = &'m ServiceName> {
        let is_needed_by = move |needs: &BTreeSet<ServiceName>| needs.contains(name);
        let services = self
            .services
            .iter()
            .filter(move |(_, service)| is_needed_by(&service.needs));
        services
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Returns the cycles of a graph, each starting with its first name in alphabetical order.
///
/// If cycles are connected, only one of them is returned; fixing it reveals the next.
pub(super) fn cycles<'n>(
    needs: &BTreeMap<&'n ServiceName, &'n BTreeSet<ServiceName>>,
) -> Vec<Vec<&'n ServiceName>> {
    let mut cycles = Vec::new();
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    for start in needs.keys() {
        if done.contains(*start) {
            continue;
        }
        // Depth-first search; `path` leads to the current node.
        let mut path: Vec<(&ServiceName, std::collections::btree_set::Iter<ServiceName>)> =
            Vec::new();
        let mut on_path: BTreeSet<&ServiceName> = BTreeSet::new();
        let mut in_a_cycle = false;
        let enter = |name: &'n ServiceName| needs.get(name).map(|needs| (name, needs.iter()));
        path.extend(enter(start));
        on_path.insert(start);
        while let Some((name, rest)) = path.last_mut() {
            let name: &ServiceName = name;
            match rest.next() {
                Some(next) if on_path.contains(next) && !in_a_cycle => {
                    let from = path.iter().position(|(name, _)| *name == next).unwrap_or(0);
                    let mut cycle: Vec<&ServiceName> =
                        path[from..].iter().map(|(name, _)| *name).collect();
                    let least = cycle
                        .iter()
                        .enumerate()
                        .min_by_key(|(_, name)| **name)
                        .map_or(0, |(index, _)| index);
                    cycle.rotate_left(least);
                    cycles.push(cycle);
                    in_a_cycle = true;
                }
                Some(next) if on_path.contains(next) || done.contains(next) => {}
                Some(next) => {
                    if let Some(entered) = enter(next) {
                        on_path.insert(entered.0);
                        path.push(entered);
                    }
                }
                None => {
                    on_path.remove(name);
                    done.insert(name);
                    path.pop();
                }
            }
        }
    }
    cycles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles_of(graph: &[(&str, &[&str])]) -> Vec<String> {
        let name = |text: &&str| text.parse::<ServiceName>().unwrap();
        let graph: BTreeMap<ServiceName, BTreeSet<ServiceName>> = graph
            .iter()
            .map(|(from, to)| (name(from), to.iter().map(name).collect()))
            .collect();
        let shown = |cycle: Vec<&ServiceName>| {
            cycle
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        cycles(&graph.iter().collect())
            .into_iter()
            .map(shown)
            .collect()
    }

    #[test]
    fn cycles_are_found_once() {
        assert!(cycles_of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]).is_empty());
        assert_eq!(cycles_of(&[("a", &["a"])]), ["a"]);
        assert_eq!(
            cycles_of(&[("c", &["a"]), ("a", &["b"]), ("b", &["c"])]),
            ["a b c"]
        );
        assert_eq!(
            cycles_of(&[
                ("a", &["b"]),
                ("b", &["a"]),
                ("c", &["a", "d"]),
                ("d", &["c"])
            ]),
            ["a b", "c d"]
        );
        assert_eq!(cycles_of(&[("a", &["gone"])]), [""; 0]);
    }
}
