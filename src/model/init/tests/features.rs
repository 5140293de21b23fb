//! The importer knows every key of the manifest.

use serde_json::Value;

use super::*;

/// What other tools do not have, with the reason.
const NOT_INFERRED: &[(&str, &str)] = &[
    ("dockerBuilder.workdir", "other tools have no scripts"),
    ("dockerBuilder.cache", "other tools have no scripts"),
    ("dockerBuilder.env", "other tools have no scripts"),
    ("dockerBuilder.user", "other tools have no scripts"),
    ("dockerBuilder.network", "other tools have no scripts"),
    ("dockerBuilder.mounts", "other tools have no scripts"),
    ("dockerBuilder.ssh", "other tools have no scripts"),
    ("dockerBuilder.socket", "other tools have no scripts"),
    ("dockerBuilder.memory", "other tools have no scripts"),
    ("dockerBuilder.cpus", "other tools have no scripts"),
    ("git.exclude", "other tools do not say what does not matter"),
    ("docker.bases", "other tools always or never pull"),
    ("scripts.reports", "other tools have no scripts"),
    ("scripts.once", "other tools have no scripts"),
    ("scripts.verify", "other tools have no scripts"),
    ("sidecars", "other tools have no scripts"),
    ("verify.env", "other tools have no scripts"),
    ("verify.command", "other tools have no scripts"),
    ("verify.ready", "other tools have no scripts"),
    ("verify.timeout", "other tools have no scripts"),
    ("scm.plugin", "other tools name git repositories"),
    ("scm.with", "other tools name git repositories"),
    ("scm.reference", "other tools name git repositories"),
    ("scm.secrets", "other tools name git repositories"),
    ("scm.network", "other tools name git repositories"),
    (
        "supply.provenance",
        "other tools do not attach it to images of other repositories",
    ),
    ("supply.sbom", "other tools do not make it of an image"),
    ("timeout", "other tools limit single steps"),
];

/// Returns the keys of a service in the schema, such as `docker.args`.
fn keys() -> Vec<String> {
    let schema = manifest::schema();
    let service = &schema["properties"]["services"]["additionalProperties"]["properties"];
    let mut keys = Vec::new();
    for (key, value) in service.as_object().unwrap() {
        match value["properties"].as_object() {
            Some(inner) => keys.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
            None => keys.push(key.clone()),
        }
    }
    keys
}

#[test]
fn every_key_is_inferred_or_known_not_to_be() {
    let compose = "\
services:
  base: {image: 'r.example.com/x/base:1', build: base}
  api:
    image: r.example.com/x/api
    build:
      context: mono
      dockerfile: services/api/docker/Dockerfile
      target: prod
      args: {BASE: 'r.example.com/x/base:1', MODE: fast}
      secrets: [npm]
      ssh: [default]
      cache_from: ['r.example.com/x/api:latest']
      tags: ['r.example.com/x/api:stable']
      additional_contexts: {base: 'service:base'}
  base-arm: {image: 'r.example.com/x/arm', platform: linux/arm64, build: {context: base, target: arm}}
  child: {build: mono/java/child}
secrets: {npm: {environment: NPM_TOKEN}}
";
    let pom = "<project><parent><artifactId>p</artifactId></parent></project>";
    let (text, _) = generated(
        vec![
            repository("base", &["Dockerfile", ".gitmodules"]),
            repository(
                "mono",
                &[
                    "services/api/docker/Dockerfile",
                    "java/child/Dockerfile",
                    "java/child/pom.xml",
                    "java/child/package.json",
                    "java/pom.xml",
                ],
            ),
        ],
        &[
            ("compose.yaml", compose),
            (
                "mono/services/api/docker/Dockerfile",
                "ARG BASE\nFROM ${BASE} AS prod\n",
            ),
            (
                "mono/java/child/Dockerfile",
                "FROM scratch\nCOPY target/app.jar /\n",
            ),
            ("mono/java/child/pom.xml", pom),
            ("mono/java/pom.xml", "<project/>"),
            ("builders/child/Dockerfile", "FROM scratch\n"),
        ],
    )
    .unwrap();
    let node = "FROM scratch\nCOPY dist /\n";
    let (second, _) = generated(
        vec![repository(
            "node",
            &["ui/Dockerfile", "ui/package.json", "ui/web/x"],
        )],
        &[
            ("node/ui/Dockerfile", node),
            ("builders/node/Dockerfile", "FROM scratch\n"),
            (
                "compose.yaml",
                "services: {node: {build: {context: node/ui/web, dockerfile: ../Dockerfile}}}\n",
            ),
            ("node/ui/package.json", "{\"scripts\": {\"build\": \"x\"}}"),
        ],
    )
    .unwrap();
    let generated: Vec<Value> = [&text, &second]
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .into();
    let services = || {
        let services = generated.iter().map(|text| &text["services"]);
        services.flat_map(|services| services.as_object().unwrap().values())
    };
    for key in keys() {
        let is_exempt = NOT_INFERRED.iter().any(|(known, _)| *known == key);
        let pointer = format!("/{}", key.replace('.', "/"));
        let is_found = services().any(|service| service.pointer(&pointer).is_some());
        assert_ne!(
            is_found, is_exempt,
            "{key} is a key of the manifest: `xp init` must infer it, or NOT_INFERRED must say why it cannot:\n\
             {text}\n{second}"
        );
    }
}
