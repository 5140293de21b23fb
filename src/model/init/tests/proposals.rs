//! Proposed `inputs` and `outputs` in the manifest.

use super::*;
use crate::model::manifest::{CachedPhase, ScriptPhase};

const FILES: &[(&str, &str)] = &[
    ("web/Dockerfile", "FROM scratch\nCOPY dist /dist\n"),
    (
        "web/package.json",
        r#"{"scripts": {"build": "x", "test": "y"}, "dependencies": {"vue": "3"}}"#,
    ),
    (
        "web/package-lock.json",
        r#"{"packages": {"node_modules/vue": {}}}"#,
    ),
];

/// Generates a manifest; `builder` is the Dockerfile of the service's builder, if it exists.
fn with_builder(builder: Option<&str>) -> (String, Manifest) {
    let mut list = FILES.to_vec();
    list.extend(builder.map(|text| ("builders/web/Dockerfile", text)));
    let names = ["Dockerfile", "package.json", "package-lock.json"];
    generated(vec![repository("web", &names)], &list).unwrap()
}

/// Returns the phases with inputs of the only service.
fn cached(manifest: &Manifest) -> Vec<(ScriptPhase, String)> {
    let service = manifest.services.values().next().unwrap();
    let text = |CachedPhase { inputs, outputs }: &CachedPhase| {
        let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
        let outputs: Vec<String> = outputs.iter().map(ToString::to_string).collect();
        format!("{} -> {}", inputs.join(" "), outputs.join(" "))
    };
    let phases = service.scripts.cached.iter();
    phases.map(|(phase, files)| (*phase, text(files))).collect()
}

fn usual() -> Vec<(ScriptPhase, String)> {
    let files = "package.json package-lock.json -> node_modules";
    vec![(ScriptPhase::Prepare, files.to_owned())]
}

#[test]
fn proposals_are_keys_with_a_comment() {
    let (text, manifest) = with_builder(Some("FROM node:22\n"));
    let expected = "
      # proposed: runs once for the same `inputs`, sees nothing else, and keeps only `outputs`
      prepare:
        run:
          - npm ci
        inputs:
          - package.json
          - package-lock.json
        outputs:
          - node_modules
      build:
        - npm run build
";
    assert!(text.contains(expected), "{text}");
    assert_eq!(cached(&manifest), usual());
}

#[test]
fn proposals_without_a_builder_are_comments() {
    let (text, manifest) = with_builder(None);
    assert!(cached(&manifest).is_empty());
    let mut is_commented = false;
    let lines = text.lines().map(|line| {
        is_commented |= line == "    # dockerBuilder:";
        is_commented &= line.starts_with("    # ");
        if is_commented {
            line.replacen("# ", "", 1)
        } else {
            line.to_owned()
        }
    });
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    let manifest = manifest::parse(&uncommented, Path::new("m")).unwrap();
    assert_eq!(cached(&manifest), usual(), "{uncommented}");
}

#[test]
fn nothing_is_proposed_for_a_builder_that_changes_its_tools() {
    let (text, manifest) = with_builder(Some("FROM node:22\nENV NODE_ENV=production\n"));
    assert!(cached(&manifest).is_empty());
    assert!(!text.contains("proposed"), "{text}");
}
