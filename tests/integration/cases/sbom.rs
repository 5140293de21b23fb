//! Bills of materials, by the plugin in this repository and by broken ones.

use std::fs;
use std::path::Path;

use super::remote::{assert_nothing_left, far};
use crate::case::Case;
use crate::context::Context;
use crate::process;
use crate::supply_platform::{Platform, statement, tool, verify};

pub const CASES: &[Case] = cases![
    a_bill_of_materials_is_attached,
    an_engine_on_another_machine_gets_the_image,
    an_invalid_bill_of_materials_is_an_error,
    an_image_of_a_run_that_failed_before_its_bill_of_materials_is_built_again,
];

/// Creates an image with syft, and the folder of the plugin in this repository, which is built on it.
fn sbom_plugin(t: &Context) -> String {
    let folder = t.dir().join("syft");
    fs::create_dir_all(&folder).expect("a folder");
    fs::copy(tool("syft"), folder.join("syft")).expect("a copy");
    let dockerfile = format!("FROM {}\nCOPY syft /bin/\n", t.engine().busybox());
    t.write("syft/Dockerfile", &dockerfile);
    let base = format!("{}:latest", t.image("syft"));
    let folder = folder.to_str().expect("UTF-8");
    process::succeed(
        t.engine()
            .client()
            .args(["build", "--quiet", "--tag", &base, folder]),
    );
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("builders/sbom");
    let read = |name: &str| fs::read_to_string(plugin.join(name)).expect("a file");
    let dockerfile = read("Dockerfile").replace("debian:bookworm-slim", &base);
    t.builder("sbom", &dockerfile, &[("plugin", &read("plugin"))])
}

fn a_bill_of_materials_is_attached(t: &Context) {
    let registry = t.registry();
    let plugin = sbom_plugin(t);
    let platform = Platform::new(t, registry.host(), "{}");
    platform.repository.commit(
        &[
            ("Dockerfile", "FROM scratch\nCOPY root /\n"),
            (
                "root/var/lib/dpkg/status",
                "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\nMaintainer: x\nDescription: y\n\n",
            ),
            ("root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
            (
                "root/app/node_modules/left-pad/package.json",
                "{\"name\":\"left-pad\",\"version\":\"1.3.0\"}",
            ),
            (
                "root/usr/lib/python3/dist-packages/foo-1.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n",
            ),
        ],
        "Packages",
    );
    let supply = |with: &str| {
        format!(
            "{{provenance: true, sbom: {{plugin: {plugin}{with}}}, sign: {{key: cosign.key, publicKey: cosign.pub}}}}"
        )
    };
    platform.set(&supply(""));
    let plan = platform.xp(["plan", "--all"]).success();
    plan.stdout_contains(&format!("attach a bill of materials of {plugin}"));
    platform.xp(["build"]).success();
    let document = statement(t, &platform.image(registry), "application/spdx+json");
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    let packages = document["packages"].as_array().expect("a list");
    for (name, version) in [("libc6", "2.36-9"), ("left-pad", "1.3.0"), ("foo", "1.0")] {
        let is_found = packages
            .iter()
            .any(|it| it["name"] == name && it["versionInfo"] == version);
        assert!(is_found, "{name}: {document}");
    }
    // The signed provenance names the document.
    let image = platform.image(registry);
    let envelope = statement(t, &image, "application/vnd.dsse.envelope.v1+json");
    let payload = base64(envelope["payload"].as_str().expect("text"));
    assert!(payload.contains("application/spdx+json"), "{payload}");
    verify(t).success();
    assert!(!t.exists(".xp/sbom/a"));
    // The plugin is not an input of the image.
    platform.set(&supply(", with: {format: cyclonedx-json}"));
    let plan = platform.xp(["plan"]).success();
    plan.does_not_contain("bill of materials");
    platform.repository.commit(&[("other", "1")], "Other");
    platform.xp(["build"]).success();
    let document = statement(
        t,
        &platform.image(registry),
        "application/vnd.cyclonedx+json",
    );
    assert_eq!(document["bomFormat"], "CycloneDX");
}

/// Decodes base64.
fn base64(text: &str) -> String {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "printf %s \"$1\" | base64 -d", "sh", text]);
    process::succeed(&mut command)
}

fn an_invalid_bill_of_materials_is_an_error(t: &Context) {
    let registry = t.registry();
    let busybox = t.engine().busybox().to_owned();
    let entrypoint = |line: &str| {
        let dockerfile = format!("FROM {busybox}\nENTRYPOINT [\"sh\", \"-c\", \"{line}\"]\n");
        t.builder("sbom", &dockerfile, &[])
    };
    let platform = Platform::new(t, registry.host(), "{}");
    for (line, code, message) in [
        ("true", 1, "is missing, is not a regular file"),
        (
            "echo '{}' > /out/sbom.json",
            1,
            "is neither SPDX nor CycloneDX in JSON",
        ),
        ("echo broken; exit 1", 1, "`sbom` of "),
        ("exit 3", 3, "exited with 3"),
    ] {
        let plugin = entrypoint(line);
        platform.set(&format!("{{sbom: {{plugin: {plugin}}}}}"));
        platform
            .xp(["build", "--force"])
            .failure(code)
            .stderr_contains(message)
            .stderr_contains("x-platform.yml:2");
    }
    platform.set("{sbom: {plugin: builders/nothing}}");
    platform
        .xp(["build", "--force"])
        .failure(2)
        .stderr_contains("builders/nothing");
    platform.set("{sbom: {}}");
    platform
        .xp(["build"])
        .failure(2)
        .stderr_contains("`supply.sbom` has no `plugin`");
}

fn an_image_of_a_run_that_failed_before_its_bill_of_materials_is_built_again(t: &Context) {
    let registry = t.registry();
    let failing = format!("FROM {}\nENTRYPOINT [\"false\"]\n", t.engine().busybox());
    let plugin = t.builder("sbom", &failing, &[]);
    let platform = Platform::new(t, registry.host(), "{}");
    for supply in ["", "provenance: true, "] {
        t.builder("sbom", &failing, &[]);
        platform.set(&format!("{{{supply}sbom: {{plugin: {plugin}}}}}"));
        platform.repository.commit(&[("file", supply)], "Next");
        platform.xp(["build"]).failure(1);
        let master = registry.manifest_digest(&t.image("a"), "master");
        assert_ne!(master, Some(platform.digest(registry)));
        // The next run does not trust what it did not build.
        complete_plugin(t);
        let missing = if supply.is_empty() {
            "bill of materials"
        } else {
            "provenance"
        };
        platform
            .xp(["plan", "--format", "json"])
            .success()
            .stdout_contains(&format!(
                "the registry's image has no {missing}: the run that pushed it did not finish"
            ));
        platform.xp(["build"]).success();
        let digest = platform.digest(registry);
        let master = registry.manifest_digest(&t.image("a"), "master");
        assert_eq!(master.as_ref(), Some(&digest));
        let document = statement(t, &platform.image(registry), "application/spdx+json");
        assert_eq!(document["name"], digest.as_str());
        platform
            .xp(["build"])
            .success()
            .stdout_contains("Nothing to do");
    }
    verify(t).success();
}

/// Checks that the image is complete, and writes a document with the digest of its manifest.
const COMPLETE: &str = r#"#!/bin/sh
set -eu
[ "$1" = sbom ]
cd /image/blobs/sha256
for file in *; do echo "$file  $file"; done | sha256sum -c >/dev/null
[ "$(ls | wc -l)" -ge 3 ]
manifest=$(sed 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/' /image/index.json)
[ -f "$manifest" ]
echo "{\"spdxVersion\": \"SPDX-2.3\", \"name\": \"sha256:$manifest\"}" >/out/sbom.json
"#;

/// Writes a plugin whose document has the digest of the image's manifest as its name.
pub(super) fn complete_plugin(t: &Context) -> String {
    let dockerfile = format!(
        "FROM {}\nCOPY plugin /\nENTRYPOINT [\"sh\", \"/plugin\"]\n",
        t.engine().busybox()
    );
    t.builder("sbom", &dockerfile, &[("plugin", COMPLETE)])
}

fn an_engine_on_another_machine_gets_the_image(t: &Context) {
    let registry = t.registry();
    let plugin = complete_plugin(t);
    let platform = Platform::new(t, registry.host(), "{}");
    platform.set(&format!("{{sbom: {{plugin: {plugin}}}}}"));
    far(t, platform.xp(["build"])).success();
    let document = statement(t, &platform.image(registry), "application/spdx+json");
    assert_eq!(document["name"], platform.digest(registry).as_str());
    assert_nothing_left(t);
    assert!(!t.exists(".xp/sbom/a"));
}
