//! Properties of merging, tested on many small trees.

use super::super::node::{Node, NodeKind};
use super::super::yaml;

/// A deterministic generator of small trees.
struct Trees(u64);

impl Trees {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's constants; only the high bits are random enough.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn text(&mut self, depth: u64) -> String {
        match self.below(if depth == 0 { 2 } else { 5 }) {
            0 => self.below(9).to_string(),
            1 => format!("[{}]", self.below(9)),
            _ => self.mapping(depth - 1),
        }
    }

    fn mapping(&mut self, depth: u64) -> String {
        let mut entries = Vec::new();
        for key in ["a", "b", "c"] {
            if self.below(2) == 0 {
                entries.push(format!("{key}: {}", self.text(depth)));
            }
        }
        format!("{{{}}}", entries.join(", "))
    }
}

fn tree(text: &str) -> Node {
    let mut problems = Vec::new();
    let node = yaml::read(text, "manifest", &mut problems);
    assert!(problems.is_empty(), "{text}");
    node.unwrap()
}

/// Returns a tree as text, with sorted keys and without positions.
fn shown(node: &Node) -> String {
    match &node.kind {
        NodeKind::Null => "~".to_owned(),
        NodeKind::Scalar { text, .. } => text.clone(),
        NodeKind::Sequence(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        ),
        NodeKind::Mapping(entries) => {
            let mut entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("{}: {}", entry.key, shown(&entry.value)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[test]
fn mappings_merge_and_the_rest_is_replaced() {
    let merged = |own: &str, defaults: &str| shown(&tree(own).merged_over(&tree(defaults)));
    assert_eq!(merged("{a: 1}", "{a: 2, b: 3}"), "{a: 1, b: 3}");
    assert_eq!(
        merged("{a: {x: 1}}", "{a: {x: 2, y: 3}}"),
        "{a: {x: 1, y: 3}}"
    );
    assert_eq!(merged("{a: [1]}", "{a: [2, 3]}"), "{a: [1]}");
    assert_eq!(merged("{a: 1}", "{a: {x: 2}}"), "{a: 1}");
    assert_eq!(merged("{a: {x: 2}}", "{a: 1}"), "{a: {x: 2}}");
}

#[test]
fn merging_properties_hold_for_random_trees() {
    let mut trees = Trees(981);
    for _ in 0..2000 {
        let (a, b, c) = (trees.mapping(3), trees.mapping(3), trees.mapping(3));
        let (a, b, c) = (tree(&a), tree(&b), tree(&c));
        assert_eq!(shown(&a.merged_over(&tree("{}"))), shown(&a));
        assert_eq!(shown(&tree("{}").merged_over(&a)), shown(&a));
        assert_eq!(shown(&a.merged_over(&a)), shown(&a));
        assert_eq!(
            shown(&a.merged_over(&b).merged_over(&b)),
            shown(&a.merged_over(&b))
        );
        // Not associative if a scalar hides a mapping, but the service's own values always remain.
        let NodeKind::Mapping(own) = &a.kind else {
            unreachable!()
        };
        let merged = a.merged_over(&b.merged_over(&c));
        let NodeKind::Mapping(entries) = &merged.kind else {
            unreachable!()
        };
        for entry in own {
            let value = &entries
                .iter()
                .find(|other| other.key == entry.key)
                .unwrap()
                .value;
            if !matches!(entry.value.kind, NodeKind::Mapping(_)) {
                assert_eq!(shown(value), shown(&entry.value));
            }
        }
    }
}
