//! `xp verify`, and what uses only verified images.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::case::Case;
use crate::compose_project::ComposePlatform;
use crate::context::Context;
use crate::output::Output;
use crate::supply_platform::{Platform, SIGNED, cosign_sign, create_keys, verify, with_tools, xp};
use crate::world::{Gateway, Incoming, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    several_signatures_are_supported,
    a_wrong_key_is_recognized,
    a_signature_of_another_image_is_recognized,
    provenance_of_another_commit_is_recognized,
    a_throttled_registry_is_unknown,
    an_index_is_verified_with_its_platforms,
    locks_are_verified,
    an_unsigned_image_is_built_again,
    a_locked_image_must_verify,
    an_unsigned_image_is_not_deployed,
];

const VERIFIED: &str =
    "{provenance: true, verify: true, sign: {key: cosign.key, publicKey: cosign.pub}}";

/// Returns the result of `xp verify` for the service `a`.
fn result(output: &Output) -> String {
    let results: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let result = results["images"][0]["result"].as_str();
    result.expect("a result").to_owned()
}

fn several_signatures_are_supported(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    platform.xp(["build"]).success();
    create_keys(t, "other");
    let image = platform.image(registry);
    // Another key signs it first, then this platform's key, with the real cosign.
    for key in ["other.key", "cosign.key"] {
        cosign_sign(t, key, &image);
    }
    platform.set("{sign: {key: cosign.key, publicKey: cosign.pub}}");
    verify(t).success();
    platform.set("{sign: {key: other.key, publicKey: other.pub}}");
    verify(t).success();
    create_keys(t, "third");
    platform.set("{sign: {key: third.key, publicKey: third.pub}}");
    verify(t)
        .failure(1)
        .stdout_contains("signed with another key");
    // xp keeps the signatures of others.
    platform.xp(["build", "--force"]).success();
    verify(t).success();
}

fn a_wrong_key_is_recognized(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    platform.xp(["build"]).success();
    create_keys(t, "other");
    platform.set("{sign: {key: other.key, publicKey: other.pub}}");
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "wrong-key");
    output.stderr_contains("signed with another key");
    // The signature is right, but not that of the provenance.
    let image = platform.image(registry);
    cosign_sign(t, "other.key", &image);
    verify(t).success();
    platform.set("{provenance: true, sign: {key: other.key, publicKey: other.pub}}");
    verify(t)
        .failure(1)
        .stdout_contains("wrong provenance: not signed with the key");
}

fn a_signature_of_another_image_is_recognized(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    platform.xp(["build"]).success();
    let tag = platform.signature_tag(registry);
    let signature = registry.manifest_digest(&t.image("a"), &tag);
    let signature = signature.expect("a signature");
    platform.repository.commit(&[("file", "2\n")], "Second");
    platform.set("{provenance: false}");
    platform.xp(["build"]).success();
    platform.set(SIGNED);
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "unsigned");
    // Anyone who can push can copy a signature.
    let tag = platform.signature_tag(registry);
    registry.link_tag(&t.image("a"), &tag, &signature);
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "wrong-digest");
    output.stderr_contains("its signature is for another image, sha256:");
}

fn provenance_of_another_commit_is_recognized(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{provenance: true}");
    platform.xp(["build"]).success();
    let first = platform.repository.head();
    let digest = platform.digest(registry);
    platform.repository.commit(&[("file", "2\n")], "Second");
    // The image of the first commit gets the tag of the second one.
    registry.link_tag(&t.image("a"), &platform.repository.head(), &digest);
    verify(t).failure(1).stdout_contains(&format!(
        "wrong provenance: it names the commit {first}, not "
    ));
}

fn is_signature(incoming: &Incoming) -> bool {
    incoming.method == "GET" && incoming.path.ends_with(".sig")
}

fn is_referrers(incoming: &Incoming) -> bool {
    incoming.path.contains("/referrers/")
}

fn a_throttled_registry_is_unknown(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let limited = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
    let limits = Arc::clone(&limited);
    let gateway = Gateway::before(registry.host(), move |incoming| {
        let is_limited = (limits[0].load(Ordering::SeqCst) && is_signature(incoming))
            || (limits[1].load(Ordering::SeqCst) && is_referrers(incoming));
        if is_limited {
            Reply::error(429, "TOOMANYREQUESTS", "slow down")
        } else {
            Reply::Forward
        }
    });
    let platform = Platform::new(t, gateway.host(), SIGNED);
    platform.xp(["build"]).success();
    for which in 0..2 {
        limited[which].store(true, Ordering::SeqCst);
        let output = xp(t, ["verify", "--format", "json"])
            .env("XP_RETRIES", "0")
            .failure(3);
        assert_eq!(result(&output), "unknown");
        output
            .stderr_contains("cannot tell whether 1 image verify")
            .stderr_contains("429");
        platform.set(VERIFIED);
        platform
            .xp(["build"])
            .env("XP_RETRIES", "0")
            .failure(3)
            .stderr_contains("nothing was built");
        platform.set(SIGNED);
        limited[which].store(false, Ordering::SeqCst);
    }
    verify(t).success();
    registry.stop();
    xp(t, ["verify"]).env("XP_RETRIES", "0").failure(3);
}

/// Pushes an index with the platform's image in place of it, as engines with the containerd image store do.
fn an_index_is_verified_with_its_platforms(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(
        t,
        registry.host(),
        "{sign: {key: cosign.key, publicKey: cosign.pub}}",
    );
    platform.xp(["build"]).success();
    let repository = t.image("a");
    let child = platform.digest(registry);
    let bytes = registry.blob(&child);
    let manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
    if manifest["manifests"].is_array() {
        // The engine pushes indexes itself.
        let output = xp(t, ["verify", "--format", "json"]).success();
        let results: Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert_eq!(results["images"][0]["platforms"][0]["result"], "verified");
        return;
    }
    let media_type = manifest["mediaType"].as_str().expect("a type").to_owned();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": media_type,
            "digest": child,
            "size": bytes.len(),
            "platform": { "os": "linux", "architecture": "amd64" },
        }],
    });
    let head = platform.repository.head();
    registry.put_manifest(&repository, &head, &index);
    for tag in registry.identity_tags(&repository) {
        registry.put_manifest(&repository, &tag, &index);
    }
    let digest = platform.digest(registry);
    assert_ne!(digest, child);
    let output = xp(t, ["verify", "--format", "json"]).failure(1);
    assert_eq!(result(&output), "unsigned");
    let results: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(results["images"][0]["platforms"][0]["result"], "verified");
    cosign_sign(t, "cosign.key", &platform.image(registry));
    verify(t).success().stdout_contains(&format!("  {child}"));
    // The index vouches for its images, unless their own signatures contradict it.
    registry.delete_tag(&repository, &format!("{}.sig", child.replace(':', "-")));
    verify(t).success();
    registry.delete_manifest(&repository, &child);
    xp(t, ["verify"])
        .failure(1)
        .stdout_contains("not in the registry");
}

fn locks_are_verified(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), SIGNED);
    platform.xp(["build"]).success();
    platform.xp(["lock"]).success();
    // What the lock names, whatever is current.
    platform.repository.commit(&[("file", "2\n")], "Second");
    platform.xp(["verify", "x-platform.lock"]).success();
    verify(t).failure(1).stdout_contains("not in the registry");
    let tag = format!("{}.sig", locked_digest(t).replace(':', "-"));
    registry.delete_tag(&t.image("a"), &tag);
    platform
        .xp(["verify", "x-platform.lock"])
        .failure(1)
        .stdout_contains("unsigned");
    platform
        .xp(["verify", "nothing"])
        .failure(2)
        .stderr_contains("nothing");
    platform.set("{}");
    verify(t)
        .failure(2)
        .stderr_contains("sets neither `supply.sign` nor `supply.provenance`");
}

/// Returns the digest in the lock.
fn locked_digest(t: &Context) -> String {
    let lock = t.read("x-platform.lock");
    let (_, rest) = lock.split_once("digest: ").expect("a digest");
    rest.lines().next().expect("a line").trim().to_owned()
}

fn an_unsigned_image_is_built_again(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    // As if another user had pushed it, with the right labels.
    platform.xp(["build"]).success();
    let unsigned = platform.digest(registry);
    let head = platform.repository.head();
    platform.set(VERIFIED);
    let plan = platform.xp(["plan"]).success();
    assert!(plan.row("a").contains(" build "), "{plan}");
    plan.stdout_contains("the registry's image does not verify: unsigned");
    platform.xp(["build"]).success();
    verify(t).success();
    // It may be the same image, if the build is reproducible; it is signed now.
    let signed = platform.digest(registry);
    let build = platform.xp(["build"]).success();
    assert!(build.row("a").contains(" skipped "), "{build}");
    // The same tag on another image, with the right labels, is not used.
    if signed != unsigned {
        registry.link_tag(&t.image("a"), &head, &unsigned);
        for tag in registry.identity_tags(&t.image("a")) {
            if tag.len() == 53 {
                registry.link_tag(&t.image("a"), &tag, &unsigned);
            }
        }
        let plan = platform.xp(["plan"]).success();
        assert!(plan.row("a").contains(" build "), "{plan}");
        platform.xp(["build"]).success();
        verify(t).success();
        assert_ne!(platform.digest(registry), unsigned);
    }
}

fn a_locked_image_must_verify(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, registry.host(), "{}");
    platform.xp(["build"]).success();
    platform.xp(["lock"]).success();
    platform.set(VERIFIED);
    platform
        .xp(["build", "--locked"])
        .failure(1)
        .stderr_contains("1 of 1 image does not verify; nothing was built")
        .stderr_contains("a: unsigned");
}

fn an_unsigned_image_is_not_deployed(t: &Context) {
    let platform = ComposePlatform::new(t);
    create_keys(t, "cosign");
    let manifest = |supply: &str| {
        let registry = t.registry_prefix(t.registry());
        platform.manifest(
            &format!("registry: {registry}\n{supply}"),
            "{dev: {compose: docker-compose.yml, timeout: 60s, verify: true}}",
        );
    };
    let deploy = || with_tools(platform.deploy([]));
    manifest("");
    deploy()
        .failure(1)
        .stderr_contains("the registry has no image of its commit");
    with_tools(platform.xp(["build"])).success();
    deploy()
        .failure(2)
        .stderr_contains("nothing to verify images by");
    manifest("supply: {sign: {key: cosign.key, publicKey: cosign.pub}}\n");
    deploy()
        .failure(1)
        .stderr_contains("2 of 2 images do not verify; nothing was deployed to dev")
        .stderr_contains("zbackend: unsigned");
    assert!(platform.containers("zbackend").is_empty());
    with_tools(platform.xp(["build", "--force"])).success();
    deploy().success();
    platform.running("zbackend");
    with_tools(platform.xp(["verify", "dev"]))
        .success()
        .stdout_contains("2 of 2 images verified.");
}
