//! The graph in each format.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::model::manifest::parse;

fn manifest(needs: &[(&str, &[&str])]) -> Manifest {
    let mut text = "services:\n".to_owned();
    for (name, needs) in needs {
        text.push_str(&format!(
            "  {name}:\n    dir: src/{name}\n    git: {{remote: 'https://g.example.com/{name}.git'}}\n    \
             docker: {{image: {}}}\n    needs: {needs:?}\n",
            name.to_lowercase()
        ));
    }
    parse(&text, Path::new("/p/x-platform.yml")).unwrap_or_else(|error| panic!("{error}"))
}

/// `web` and `jobs` need `lib`; `lib` needs `base`; `alone` has no dependencies.
fn platform() -> Manifest {
    manifest(&[
        ("web", &["lib", "base"]),
        ("jobs", &["lib"]),
        ("lib", &["base"]),
        ("base", &[]),
        ("alone", &[]),
    ])
}

fn all(manifest: &Manifest) -> BTreeSet<ServiceName> {
    manifest.services.keys().cloned().collect()
}

fn graph_of<'a>(
    manifest: &'a Manifest,
    services: &BTreeSet<ServiceName>,
    plan: Option<&'a Plan>,
) -> Graph<'a> {
    Graph::new(manifest, services, GraphDirection::Dependencies, plan)
}

fn plan(manifest: &Manifest) -> Plan {
    let unit = |name: &ServiceName| {
        let is_base = name.as_str() == "base";
        let decision = if is_base {
            Decision::Build
        } else {
            Decision::Skip
        };
        let tag = "1".parse().unwrap();
        UnitPlan {
            unit: Unit::Service(name.clone()),
            commit: Some("a".repeat(40).parse().unwrap()),
            source: None,
            image: manifest.services[name].docker.image.tagged(tag),
            names: Default::default(),
            decision,
            reason: "for a \"reason\"".to_owned(),
            changes: Vec::new(),
            recipe: None,
            after: Vec::new(),
            phases: Vec::new(),
            steps: Vec::new(),
            timeout: None,
            held: 0,
            in_place: None,
            remote: None,
        }
    };
    Plan {
        units: manifest.services.keys().map(unit).collect(),
        ..Plan::default()
    }
}

#[test]
fn a_tree_shows_dependencies_once() {
    let manifest = platform();
    let graph = graph_of(&manifest, &all(&manifest), None);
    assert_eq!(
        graph.tree(),
        "alone\n\
         jobs\n\
         └── lib\n\
         \u{20}   └── base\n\
         web\n\
         ├── base (above)\n\
         └── lib (above)\n"
    );
}

#[test]
fn a_reverse_tree_shows_dependents() {
    let manifest = platform();
    let reverse = |services: &BTreeSet<ServiceName>| {
        Graph::new(&manifest, services, GraphDirection::Dependents, None)
    };
    assert_eq!(
        reverse(&all(&manifest)).tree(),
        "alone\n\
         base\n\
         ├── lib\n\
         │   ├── jobs\n\
         │   └── web\n\
         └── web (above)\n"
    );
    let graph = reverse(&BTreeSet::from(["lib".parse().unwrap()]));
    assert_eq!(graph.tree(), "lib\n├── jobs\n└── web\n");
    assert!(graph.dot().contains("  \"lib\" -> \"web\";\n"));
    let json: Value = serde_json::from_str(&graph.json()).unwrap();
    assert_eq!(
        json["services"][1]["neededBy"],
        serde_json::json!(["jobs", "web"])
    );
}

#[test]
fn a_tree_has_the_states_in_columns() {
    let manifest = platform();
    let plan = plan(&manifest);
    let selected = BTreeSet::from(["jobs".parse().unwrap()]);
    let graph = graph_of(&manifest, &selected, Some(&plan));
    assert_eq!(
        graph.tree(),
        "jobs          skip   for a \"reason\"\n\
         └── lib       skip   for a \"reason\"\n\
         \u{20}   └── base  build  for a \"reason\"\n"
    );
}

#[test]
fn a_long_chain_does_not_overflow_the_stack() {
    let names: Vec<String> = (0..2000).map(|number| format!("s{number:04}")).collect();
    let needs: Vec<Vec<&str>> = (0..names.len())
        .map(|number| {
            names
                .get(number + 1)
                .map(String::as_str)
                .into_iter()
                .collect()
        })
        .collect();
    let services: Vec<(&str, &[&str])> = names
        .iter()
        .zip(&needs)
        .map(|(name, needs)| (name.as_str(), needs.as_slice()))
        .collect();
    let manifest = manifest(&services);
    let tree = graph_of(&manifest, &all(&manifest), None).tree();
    assert_eq!(tree.lines().count(), 2000);
}

#[test]
fn dot_quotes_names() {
    let manifest = platform();
    let plan = plan(&manifest);
    let graph = graph_of(&manifest, &all(&manifest), Some(&plan));
    let text = graph.dot();
    assert!(text.starts_with("digraph services {\n") && text.ends_with("}\n"));
    assert!(
        text.contains(
            "  \"base\" [label=\"base\\nbuild\", tooltip=\"for a \\\"reason\\\"\", fillcolor=\"#fbe0b5\"];\n"
        ),
        "{text}"
    );
    assert_eq!(text.matches(" -> ").count(), 4);
    assert!(text.contains("  \"web\" -> \"lib\";\n"), "{text}");
    let bare = graph_of(&manifest, &all(&manifest), None).dot();
    assert!(bare.contains("  \"alone\";\n"), "{bare}");
    assert_eq!(dot::quoted("a\\\"b\nc"), "\"a\\\\\\\"b\\nc\"");
}

#[test]
fn mermaid_accepts_any_name() {
    // Keywords, and characters that are not allowed in IDs.
    let manifest = manifest(&[
        ("end", &["graph"]),
        ("graph", &["o-x.y_z"]),
        ("o-x.y_z", &[]),
    ]);
    let graph = graph_of(&manifest, &all(&manifest), None);
    assert_eq!(
        graph.mermaid(),
        "flowchart LR\n  s0[\"end\"]\n  s1[\"graph\"]\n  s2[\"o-x.y_z\"]\n  s0 --> s1\n  s1 --> s2\n"
    );
    let manifest = platform();
    let plan = plan(&manifest);
    let text = graph_of(&manifest, &all(&manifest), Some(&plan)).mermaid();
    assert!(text.contains("[\"base<br>build\"]:::build\n"), "{text}");
    assert_eq!(text.matches("classDef ").count(), 2, "{text}");
}

#[test]
fn json_has_needs_and_states() {
    let manifest = platform();
    let plan = plan(&manifest);
    let parsed = |graph: &Graph<'_>| serde_json::from_str::<Value>(&graph.json()).unwrap();
    let bare = parsed(&graph_of(&manifest, &all(&manifest), None));
    assert_eq!(bare["version"], 1);
    assert_eq!(bare["services"][4]["service"], "web");
    assert_eq!(bare["services"][4]["needs"][1], "lib");
    assert_eq!(bare["services"][4].get("decision"), None);
    let full = parsed(&graph_of(&manifest, &all(&manifest), Some(&plan)));
    assert_eq!(full["services"][1]["decision"], "build");
    assert_eq!(full["services"][1]["image"], "base:1");
    assert_eq!(full["services"][1]["commit"], "a".repeat(40));
}
