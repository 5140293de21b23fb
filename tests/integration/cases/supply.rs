//! Provenance and signatures, with the real cosign, oras and skopeo.

use std::fs;

use serde_json::Value;

use crate::case::Case;
use crate::context::Context;
use crate::supply_platform::{
    PASSWORD, Platform, SIGNED, cosign_verify, cosign_verify_provenance, create_keys, path,
    statement, verify, with_referrers_api, xp,
};
use crate::world::{Registry, RegistryKind};

pub const CASES: &[Case] = cases![
    provenance_is_attached_without_a_rebuild,
    provenance_names_what_an_image_was_built_from,
    provenance_contains_no_credentials,
    images_and_provenance_are_signed,
    a_registry_with_the_referrers_api_is_supported,
    unusable_keys_and_programs_are_reported_before_the_build,
];

fn provenance_is_attached_without_a_rebuild(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    platform.xp(["build"]).success();
    let digest = platform.digest(registry);
    platform.set("{provenance: true}");
    // What exists is not built again, and described with the next push.
    platform
        .xp(["plan"])
        .success()
        .does_not_contain("attach provenance");
    platform.xp(["build"]).success();
    assert_eq!(platform.digest(registry), digest);
    verify(t)
        .failure(1)
        .stdout_contains("no provenance")
        .stdout_contains("0 of 1 image verified.")
        .stderr_contains("1 of 1 image does not verify");
    platform.repository.commit(&[("file", "2\n")], "Second");
    let plan = platform.xp(["plan", "--all"]).success();
    plan.stdout_contains("attach provenance");
    let plan = platform.xp(["plan", "--format", "json"]).success();
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let steps = plan["units"][0]["steps"].as_array().expect("steps");
    let phases: Vec<&str> = steps.iter().filter_map(|it| it["phase"].as_str()).collect();
    assert!(
        phases.windows(2).any(|it| it == ["push", "attest"]),
        "{phases:?}"
    );
    platform.xp(["build"]).success();
    verify(t)
        .success()
        .stdout_contains("1 of 1 image verified.");
    // The registry has no referrers API, so the provenance is listed by a tag.
    let tag = platform.digest(registry).replace(':', "-");
    let index = registry.image_manifest(&t.image("a"), &tag);
    assert_eq!(
        index["manifests"][0]["artifactType"],
        "application/vnd.in-toto+json"
    );
    let listed = format!("docker://{}/{}:{tag}", registry.host(), t.image("a"));
    t.program(
        "skopeo",
        ["inspect", "--raw", "--tls-verify=false", &listed],
    )
    .success()
    .stdout_contains("application/vnd.in-toto+json");
    // Forcing a build adds another one, and both are valid.
    platform.xp(["build", "--force"]).success();
    verify(t).success();
}

fn provenance_names_what_an_image_was_built_from(t: &Context) {
    let registry = t.registry();
    let base = t.built_repo("base");
    let repository = t.git_repo("a");
    let dockerfile = format!("FROM {}\nCOPY made /\n", t.engine().busybox());
    repository.commit(&[("Dockerfile", &dockerfile)], "First");
    let builder = t.builder("tools", &format!("FROM {}\n", t.engine().busybox()), &[]);
    t.manifest(&format!(
        "registry: {}\nsupply: {{provenance: true, builder: 'https://ci.example.com/x'}}\nservices:\n  base:\n    \
         dir: src/base\n    git: {{remote: '{}'}}\n    docker: {{image: {}}}\n    supply: {{provenance: false}}\n  \
         a:\n    dir: src/a\n    git: {{remote: '{}', reference: origin/master}}\n    docker: {{image: {}}}\n    \
         dockerBuilder: {{image: {builder}}}\n    scripts: {{build: [touch made]}}\n    needs: [base]\n",
        registry.host(),
        base.url_http(),
        t.image("base"),
        repository.url_http(),
        t.image("a"),
    ));
    t.git(".", &["init", "--quiet"]);
    t.git(
        ".",
        &[
            "remote",
            "add",
            "origin",
            "https://bob:s3cret@git.example.com/platform.git",
        ],
    );
    t.git(".", &["add", "x-platform.yml"]);
    t.git(".", &["commit", "--quiet", "--message", "Start"]);
    let commit = t.git(".", &["rev-parse", "HEAD"]).trim().to_owned();
    xp(t, ["build"]).success();
    let digest = registry.manifest_digest(&t.image("a"), &repository.head());
    let digest = digest.expect("an image");
    let image = format!("{}/{}@{digest}", registry.host(), t.image("a"));
    let statement = statement(t, &image, "application/vnd.in-toto+json");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(
        format!(
            "sha256:{}",
            statement["subject"][0]["digest"]["sha256"]
                .as_str()
                .unwrap()
        ),
        digest
    );
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["service"], "a");
    assert_eq!(
        definition["externalParameters"]["reference"],
        "refs/heads/master"
    );
    assert!(
        definition["internalParameters"]["recipe"]
            .as_object()
            .is_some_and(|recipe| recipe.contains_key("scripts.build")),
        "{definition}"
    );
    let dependency = |name: &str| {
        let dependencies = definition["resolvedDependencies"].as_array();
        let mut found = dependencies.expect("a list").iter();
        let found = found.find(|it| it["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name}: {definition}"))
            .clone()
    };
    let source = dependency("source");
    assert_eq!(
        source["uri"],
        format!("git+{}@refs/heads/master", repository.url_http())
    );
    assert_eq!(source["digest"]["gitCommit"], repository.head());
    let manifest = dependency("manifest");
    assert_eq!(manifest["uri"], "git+https://git.example.com/platform.git");
    assert_eq!(manifest["digest"]["gitCommit"], commit);
    assert!(dependency("builder")["digest"]["sha256"].is_string());
    let needed = registry.manifest_digest(&t.image("base"), &base.head());
    assert_eq!(
        format!(
            "sha256:{}",
            dependency("image of base")["digest"]["sha256"]
                .as_str()
                .unwrap()
        ),
        needed.expect("an image")
    );
    let details = &statement["predicate"]["runDetails"];
    assert_eq!(details["builder"]["id"], "https://ci.example.com/x");
    assert!(details["metadata"]["startedOn"].is_string());
    assert!(!statement.to_string().contains("s3cret"));
    verify(t)
        .success()
        .stdout_contains("nothing is required")
        .stdout_contains("1 of 2 images verified.");
}

fn provenance_contains_no_credentials(t: &Context) {
    let registry = t.registry_of(RegistryKind::Auth);
    t.log_in(registry);
    let repository = t.built_repo("a");
    t.manifest(&format!(
        "registry: {}\nsupply: {{provenance: true}}\nservices:\n  a:\n    dir: src/a\n    git: {{remote: '{}'}}\n    \
         docker: {{image: {}, args: {{TOKEN: '${{{{ env.TOKEN }}}}'}}}}\n",
        registry.host(),
        repository.url_http_login(),
        t.image("a"),
    ));
    xp(t, ["build"]).env("TOKEN", "t0ken").success();
    xp(t, ["verify"]).env("TOKEN", "t0ken").success();
    let login = repository.url_http_login();
    let (_, rest) = login.split_once("://").expect("a URL");
    let (login, _) = rest.rsplit_once('@').expect("a login");
    let (_, password) = login.split_once(':').expect("a password");
    let attached = registry.manifests(&t.image("a"));
    assert!(attached.len() >= 3, "{attached:?}");
    for digest in attached {
        let manifest = registry.blob(&digest);
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        for layer in manifest["layers"].as_array().into_iter().flatten() {
            if layer["mediaType"] == "application/vnd.in-toto+json" {
                let bytes = registry.blob(layer["digest"].as_str().expect("a digest"));
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(
                    !text.contains(password) && !text.contains("t0ken"),
                    "{text}"
                );
            }
        }
    }
}

fn images_and_provenance_are_signed(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    let plan = platform.xp(["plan", "--all"]).success();
    plan.stdout_contains("sign with cosign.key");
    platform.xp(["build"]).success().does_not_contain(PASSWORD);
    verify(t)
        .success()
        .stdout_contains("verified")
        .stdout_contains("1 of 1 image verified.");
    // Only the public key is needed.
    fs::remove_file(t.dir().join("cosign.key")).expect("the key");
    verify(t).env_remove("COSIGN_PASSWORD").success();
    let image = platform.image(registry);
    let verified = cosign_verify(t, &image);
    assert!(
        verified.stdout.contains(&platform.digest(registry)),
        "{verified}"
    );
    let attestation = cosign_verify_provenance(t, &image);
    let envelope: Value = serde_json::from_str(attestation.stdout.trim()).expect("JSON");
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    // The same envelope is a referrer.
    let attached = statement(t, &image, "application/vnd.dsse.envelope.v1+json");
    assert_eq!(attached["payload"], envelope["payload"]);
    // Nothing to do, so nothing is signed again.
    let before = registry.all_tags(&t.image("a"));
    let tag = platform.signature_tag(registry);
    let layers = |registry: &Registry| {
        let manifest = registry.image_manifest(&t.image("a"), &tag);
        manifest["layers"].as_array().map_or(0, Vec::len)
    };
    platform.xp(["build"]).success();
    assert_eq!(registry.all_tags(&t.image("a")), before);
    assert_eq!(layers(registry), 1);
}

fn a_registry_with_the_referrers_api_is_supported(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let gateway = with_referrers_api(&registry, &t.image("a"));
    let platform = Platform::new(t, gateway.host(), SIGNED);
    platform.xp(["build"]).success();
    verify(t).success();
    // No index is written where the registry itself lists them.
    let tag = platform.digest(&registry).replace(':', "-");
    let tags = registry.all_tags(&t.image("a"));
    assert!(!tags.contains(&tag), "{tags:?}");
    let image = platform.image(&registry);
    let attached = statement(t, &image, "application/vnd.dsse.envelope.v1+json");
    assert!(attached["payload"].is_string());
}

fn unusable_keys_and_programs_are_reported_before_the_build(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    let nothing_is_built = || {
        assert_eq!(registry.all_tags(&t.image("a")), Vec::<String>::new());
    };
    platform
        .xp(["build"])
        .env("COSIGN_PASSWORD", "wrong")
        .failure(2)
        .stderr_contains("cannot use the key cosign.key")
        .stderr_contains("hint: set COSIGN_PASSWORD to the password of the private key");
    platform
        .xp(["build"])
        .env_remove("COSIGN_PASSWORD")
        .failure(2)
        .stderr_contains("COSIGN_PASSWORD");
    t.xp(["build"])
        .env("COSIGN_PASSWORD", PASSWORD)
        .failure(3)
        .stderr_contains("`cosign` is not on PATH")
        .stderr_contains("hint: install version 2.2 or later");
    platform.set("{sign: {key: missing.key}}");
    platform
        .xp(["build"])
        .failure(2)
        .stderr_contains("cannot use the key missing.key");
    create_keys(t, "other");
    platform.set("{sign: {key: cosign.key, publicKey: other.pub}}");
    platform
        .xp(["build"])
        .failure(2)
        .stderr_contains("other.pub is not the public key of cosign.key");
    nothing_is_built();
    // An old version lacks options.
    t.write("old/cosign", "#!/bin/sh\necho 'cosign 1.4'\n");
    platform.set(SIGNED);
    let old = format!("{}:{}", t.dir().join("old").display(), path());
    platform
        .xp(["build"])
        .env("PATH", old)
        .failure(3)
        .stderr_contains("is too old: version 2.2 or later is required");
    nothing_is_built();
    // A key in a variable.
    let key = t.read("cosign.key");
    platform.set("{sign: {key: 'env://SIGNING_KEY'}}");
    platform.xp(["build"]).env("SIGNING_KEY", &key).success();
    platform.xp(["verify"]).env("SIGNING_KEY", &key).success();
}
