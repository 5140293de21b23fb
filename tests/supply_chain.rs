//! Checks the dependencies: their source, their licenses, and what must never be among them.
//!
//! The lock file has a checksum for every crate, so exactly the reviewed code is built. Known vulnerabilities
//! are not checked, because their list is not available offline (docs/contributing.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licenses that require no more than a notice.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that are used in two versions, and why.
const TWICE: &[(&str, &str)] = &[
    ("base64", "xp and bollard are a version apart"),
    ("getrandom", "ring has an older one than tempfile"),
    (
        "syn",
        "macros of two generations; nothing of it is in the program",
    ),
];

/// Forbidden crates, and why.
const BANNED: &[(&str, &str)] = &[
    (
        "openssl-sys",
        "TLS is rustls, which needs no library of the system",
    ),
    ("native-tls", "as openssl-sys"),
    ("aws-lc-sys", "ring is rustls' provider here: one is enough"),
    ("libssh2-sys", "ssh is the system's own"),
    ("serde_yaml", "it is archived"),
];

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
fn crates_are_what_they_may_be() {
    let mut broken = Vec::new();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        let (name, licence) = (text(&package, "name"), text(&package, "license"));
        if !is_allowed(licence) {
            broken.push(format!(
                "{name} has the licence `{licence}`, which is not on the list"
            ));
        }
        let is_own = name == "x-platform";
        if !is_own && text(&package, "source") != CRATES_IO {
            broken.push(format!("{name} comes from {}", package["source"]));
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            broken.push(format!("{name} is banned: {why}"));
        }
        let found = versions.entry(name.to_owned()).or_default();
        found.push(text(&package, "version").to_owned());
    }
    for (name, found) in &versions {
        let is_known = TWICE.iter().any(|(twice, _)| twice == name);
        match (found.len(), is_known) {
            (1, true) => broken.push(format!("{name} is there once: take it off the list")),
            (1, false) | (2, true) => {}
            _ => broken.push(format!("{name} is there as {}", found.join(" and "))),
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Returns whether an expression such as `(MIT OR X) AND ISC` can be satisfied by allowed licenses.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = any_of(&mut rest);
    allowed == Some(true) && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = all_of(words)?;
    while words.first() == Some(&"OR") {
        *words = &words[1..];
        allowed |= all_of(words)?;
    }
    Some(allowed)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(words)?;
    while words.first() == Some(&"AND") {
        *words = &words[1..];
        allowed &= one(words)?;
    }
    Some(allowed)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    if *first == "(" {
        let allowed = any_of(words)?;
        let (end, rest) = words.split_first()?;
        *words = rest;
        return (*end == ")").then_some(allowed);
    }
    // An exception only adds permissions.
    if words.first() == Some(&"WITH") {
        *words = words.get(2..)?;
    }
    Some(LICENCES.contains(first))
}

#[test]
fn expressions_of_licences_are_read() {
    for allowed in [
        "MIT",
        "MIT/X",
        "X OR (ISC AND MIT)",
        "Apache-2.0 WITH LLVM-exception OR X",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
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
        assert!(!is_allowed(refused), "{refused}");
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
