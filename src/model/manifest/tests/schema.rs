//! Consistency of the schema, the decoder, the example and the committed file.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::super::decode::context::DecodeContext;
use super::super::{decode, load, schema, yaml};
use super::{accepted, read};

fn in_repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the schemas of all keys by path; paths in a service are relative to the service.
fn keys<'s>(schema: &'s Value, path: &str, found: &mut Vec<(String, &'s Value)>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (key, property) in properties {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match path.as_str() {
            "defaults" => keys(property, "", found),
            "services" => {}
            _ => keys(property, &path, found),
        }
        found.push((path, property));
    }
}

#[test]
fn schema_and_decoder_know_the_same_keys() {
    let text = "\
version: 1
builders: {}
deploy: {git: {}}
clean: {keep: {}, cache: {}}
supply: {sign: {}, sbom: {}}
services: {a: {git: {}, scm: {}, docker: {}, dockerBuilder: {}, scripts: {prepare: {}, build: {}, test: {}, verify: {}}, verify: {}, supply: {sbom: {}}}}
";
    let node = yaml::read(text, "manifest", &mut Vec::new()).unwrap();
    let mut context = DecodeContext::new(text, Vec::new());
    decode::root(&mut context, &node);
    let schema = schema();
    let mut found = Vec::new();
    keys(&schema, "", &mut found);
    let described: BTreeSet<String> = found.into_iter().map(|(path, _)| path).collect();
    assert_eq!(described, context.known);
    assert!(described.len() > 35, "{described:?}");
}

#[test]
fn every_key_is_described_and_defaults_are_those_of_services() {
    let schema = schema();
    assert_eq!(
        schema["properties"]["defaults"]["properties"],
        schema["properties"]["services"]["additionalProperties"]["properties"]
    );
    let mut found = Vec::new();
    keys(&schema, "", &mut found);
    for (path, property) in found {
        assert!(property["description"].is_string(), "{path}");
        assert!(!property.to_string().contains("null"), "{path}");
    }
}

#[test]
fn examples_and_defaults_of_the_schema_are_accepted() {
    let schema = schema();
    let mut found = Vec::new();
    keys(&schema, "", &mut found);
    let mut tried = 0;
    for (path, property) in found {
        let examples = property["examples"].as_array().into_iter().flatten();
        for value in examples.chain(property.get("default")) {
            let mut manifest = json!({ "services": {
                "NAME": { "dir": "n", "git": { "remote": "https://h/n" }, "docker": { "image": "n" } },
                "a": {
                    "dir": "a", "git": { "remote": "https://h/a", "path": "p" }, "docker": { "image": "a" },
                    "dockerBuilder": { "image": "x" },
                },
            } });
            if path.starts_with("scm") {
                let service = manifest["services"]["a"].as_object_mut().unwrap();
                service.remove("git");
                service.insert("scm".to_owned(), json!({ "plugin": "x" }));
            }
            if path.starts_with("deploy") {
                let environments = json!({
                    "e": { "overlay": "o", "context": "c", "namespace": "n" },
                });
                let git = json!({ "remote": "https://h/k" });
                let is_of_git = path.starts_with("deploy.git");
                manifest["deploy"] = if is_of_git {
                    json!({ "git": git, "environments": environments })
                } else {
                    json!({ "path": "k", "environments": environments })
                };
            }
            let is_of_root = [
                "version", "registry", "cacheDir", "builders", "deploy", "clean", "engines",
                "fleet", "supply",
            ]
            .iter()
            .any(|key| path.starts_with(key));
            let mut slot = if is_of_root {
                &mut manifest
            } else {
                &mut manifest["services"]["a"]
            };
            for key in path.split('.') {
                slot = &mut slot[key];
            }
            *slot = value.clone();
            if path == "supply.sign.publicKey" {
                manifest["supply"]["sign"]["key"] = json!("cosign.key");
            }
            if path == "supply.sbom.with" {
                manifest["supply"]["sbom"]["plugin"] = json!("builders/sbom");
            }
            if path.ends_with(".outputs") || path.ends_with(".inputs") {
                let phase = path.split('.').nth(1).unwrap();
                let phase = &mut manifest["services"]["a"]["scripts"][phase];
                phase["run"] = json!(["make"]);
                if phase["inputs"].is_null() {
                    phase["inputs"] = json!(["src"]);
                }
            }
            if let Err(error) = read(&manifest.to_string()) {
                panic!("{path}: {value}\n{error}");
            }
            tried += 1;
        }
    }
    assert!(tried > 35, "{tried}");
}

#[test]
fn every_key_has_a_default_or_an_example() {
    let schema = schema();
    let mut found = Vec::new();
    keys(&schema, "", &mut found);
    for (path, property) in found {
        let has_keys = property["properties"].is_object() || path == "services";
        let shows = !property["examples"].is_null() || !property["default"].is_null();
        assert!(
            has_keys || shows,
            "{path} has neither a default nor an example"
        );
    }
}

/// Editors must underline exactly the values that xp rejects.
#[test]
fn patterns_and_decoder_accept_the_same_values() {
    let schema = schema();
    let mut found = Vec::new();
    keys(&schema, "", &mut found);
    for (path, values) in [
        (
            "timeout",
            &[
                "30m", "1h30m", "1h 30m", "2d", "90s", "30m1h", "30", "m", "1.5h", "", "1 h",
            ][..],
        ),
        (
            "dockerBuilder.memory",
            &[
                "512m",
                "2g",
                "1.5GiB",
                "2 Gb",
                "104857600",
                "2x",
                "m",
                "-1g",
                "2gi",
            ],
        ),
        (
            "dockerBuilder.cpus",
            &["2", "0.5", ".5", "2.", "two", "-1", "1e3"],
        ),
        (
            "dockerBuilder.user",
            &["caller", "root", "1:2", "me", "1", "a:b"],
        ),
        ("dockerBuilder.workdir", &["/a", "a"]),
    ] {
        let (_, property) = found.iter().find(|(known, _)| known == path).unwrap();
        let pattern = regex::Regex::new(property["pattern"].as_str().unwrap()).unwrap();
        let least = property["minLength"].as_u64().unwrap_or(0) as usize;
        for value in values {
            let mut service = json!({
                "dir": "a", "git": { "remote": "https://h/a" }, "docker": { "image": "a" },
                "dockerBuilder": { "image": "x" },
            });
            match path.split_once('.') {
                Some((outer, inner)) => service[outer][inner] = json!(value),
                None => service[path] = json!(value),
            }
            let text = json!({ "services": { "a": service } }).to_string();
            let in_editor = value.len() >= least && pattern.is_match(value);
            assert_eq!(in_editor, read(&text).is_ok(), "{path}: {value}");
        }
    }
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let committed =
        std::fs::read_to_string(in_repository("schema/x-platform.schema.json")).unwrap();
    let committed: Value = serde_json::from_str(&committed).unwrap();
    assert!(
        committed == schema(),
        "run `cargo run -- schema manifest > schema/x-platform.schema.json`"
    );
}

#[test]
fn the_example_is_valid_and_shows_every_key() {
    let file = in_repository("x-platform.yml.example");
    let manifest = load(&file).unwrap_or_else(|error| panic!("{error}"));
    assert!(manifest.services.len() >= 2);
    let text = std::fs::read_to_string(&file).unwrap();
    let schema_file = text
        .lines()
        .next()
        .unwrap()
        .strip_prefix("# yaml-language-server: $schema=")
        .unwrap();
    assert!(in_repository(schema_file).is_file());
    let schema = schema();
    let mut found = Vec::new();
    keys(&schema, "", &mut found);
    for (path, _) in found {
        let key = format!("{}:", path.rsplit('.').next().unwrap());
        assert!(text.contains(&key), "{path}");
    }
}

/// The commented keys of the example must be valid too, because users uncomment them.
#[test]
fn the_example_is_valid_when_uncommented() {
    let text = std::fs::read_to_string(in_repository("x-platform.yml.example")).unwrap();
    let uncommented: Vec<String> = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("#| ") {
            Some(_) => line.replacen("#| ", "", 1),
            None => line.to_owned(),
        })
        .collect();
    accepted(&uncommented.join("\n"));
}
