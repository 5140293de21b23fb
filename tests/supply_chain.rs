//! The dependencies of xp follow the rules of `deny.toml`.
//!
//! The lock file has a checksum for every crate, so exactly the reviewed code is built. Known vulnerabilities
//! are not checked, because their list is not available offline (docs/contributing.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Returns the items of a list in `deny.toml`, one per line: names, with reasons if they have any.
fn rules(key: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    let text = fs::read_to_string(path).expect("deny.toml");
    let start = format!("\n{key} = [\n");
    let (_, list) = text.split_once(&start).expect(key);
    let (list, _) = list.split_once("\n]").expect("the end of the list");
    let items = list.lines().map(|line| {
        let mut quoted = line.split('"').skip(1).step_by(2).map(str::to_owned);
        let name = quoted.next().expect("a name");
        (name, quoted.next().unwrap_or_default())
    });
    items.collect()
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
        ])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let nodes = metadata["resolve"]["nodes"].as_array().expect("a list");
    let used: BTreeSet<&str> = nodes
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().expect("a list").iter();
    let packages =
        packages.filter(|package| used.contains(package["id"].as_str().unwrap_or_default()));
    let packages: Vec<Value> = packages.cloned().collect();
    assert!(packages.len() > 100, "the crates were not found");
    packages
}

fn text<'v>(package: &'v Value, key: &str) -> &'v str {
    package[key].as_str().unwrap_or_default()
}

#[test]
fn crates_follow_the_rules() {
    let (licenses, twice, banned) = (rules("allow"), rules("skip"), rules("deny"));
    let mut broken = Vec::new();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        let (name, license) = (text(&package, "name"), text(&package, "license"));
        if !is_allowed(license, &licenses) {
            broken.push(format!(
                "{name} has the license `{license}`, which is not on the list"
            ));
        }
        let is_own = name == "x-platform";
        if !is_own && text(&package, "source") != CRATES_IO {
            broken.push(format!("{name} comes from {}", package["source"]));
        }
        if let Some((_, why)) = banned.iter().find(|(banned, _)| *banned == name) {
            broken.push(format!("{name} is banned: {why}"));
        }
        let found = versions.entry(name.to_owned()).or_default();
        found.push(text(&package, "version").to_owned());
    }
    for (name, found) in &versions {
        let is_known = twice.iter().any(|(twice, _)| twice == name);
        match (found.len(), is_known) {
            (1, true) => broken.push(format!("{name} is there once: take it off the list")),
            (1, false) | (2, true) => {}
            _ => broken.push(format!("{name} is there as {}", found.join(" and "))),
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Returns whether an SPDX expression such as `(MIT OR X) AND ISC` can be satisfied with licenses on the list.
fn is_allowed(expression: &str, licenses: &[(String, String)]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = any_of(&mut rest, licenses);
    allowed == Some(true) && rest.is_empty()
}

fn any_of(words: &mut &[&str], licenses: &[(String, String)]) -> Option<bool> {
    let mut allowed = all_of(words, licenses)?;
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        allowed |= all_of(words, licenses)?;
    }
    Some(allowed)
}

fn all_of(words: &mut &[&str], licenses: &[(String, String)]) -> Option<bool> {
    let mut allowed = one(words, licenses)?;
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        allowed &= one(words, licenses)?;
    }
    Some(allowed)
}

fn one(words: &mut &[&str], licenses: &[(String, String)]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let allowed = any_of(words, licenses)?;
        let (end, rest) = words.split_first()?;
        *words = rest;
        return (*end == ")").then_some(allowed);
    }
    // An exception only adds permissions.
    if words.first() == Some(&"WITH") {
        *words = words.get(2..)?;
    }
    Some(licenses.iter().any(|(license, _)| license == first))
}

#[test]
fn license_expressions_are_parsed() {
    let licenses = rules("allow");
    for allowed in [
        "MIT",
        "MIT/X",
        "X OR (ISC AND MIT)",
        "Apache-2.0 WITH LLVM-exception OR X",
    ] {
        assert!(is_allowed(allowed, &licenses), "{allowed}");
    }
    for refused in [
        "",
        "X",
        "MIT AND X",
        "(MIT",
        "MIT MIT",
        "X OR (ISC AND Y)",
        "MIT OR",
        "GPL-3.0",
    ] {
        assert!(!is_allowed(refused, &licenses), "{refused}");
    }
}

/// A lint forbids it; code that allows it anyway gives the reason.
#[test]
fn unsafe_code_has_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    assert!(
        manifest.contains("\nunsafe_code = \"deny\"\n"),
        "the lint is gone"
    );
    let mut opened = 0;
    for entry in walkdir::WalkDir::new(root.join("src"))
        .into_iter()
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_none_or(|extension| extension != "rs")
        {
            continue;
        }
        let code = fs::read_to_string(entry.path()).expect("a source");
        for (at, _) in code.match_indices("unsafe_code") {
            // On an item, or for the whole file.
            let of_item = code[..at].rfind("#[");
            let before = of_item.max(code[..at].rfind("#![")).expect("an attribute");
            let after = code[at..].find(']').expect("its end");
            let attribute = &code[before..at + after];
            opened += 1;
            let path = entry.path().display();
            let attribute = attribute.replacen("#![", "#[", 1);
            assert!(attribute.starts_with("#[expect("), "{path}: {attribute}");
            assert!(attribute.contains("reason = \""), "{path}: {attribute}");
        }
    }
    assert_eq!(
        opened, 2,
        "libgit2's transports and filters are registered; nothing else needs it"
    );
}
