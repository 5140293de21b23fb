//! `xp copy`: images from another registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::moved::{Moving, nothing_is_built};
use crate::case::Case;
use crate::context::Context;
use crate::world::{Fault, Gateway, Registry, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    images_are_copied_with_their_digests,
    images_are_copied_between_registries_with_logins,
    a_renamed_image_is_copied_from_its_repository,
    images_of_one_registry_are_mounted,
    an_index_is_copied_with_all_its_manifests,
    outdated_images_are_not_copied,
    the_images_of_a_lock_are_copied_by_digest,
    an_interrupted_copy_is_retried,
    a_corrupt_layer_is_not_copied,
    a_source_that_does_not_respond_is_an_error,
    a_missing_layer_is_an_error,
    a_push_that_is_not_allowed_is_an_error,
];

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Builds both services into a registry, and removes their images from the engine.
fn built<'t>(t: &'t Context, from: &Registry) -> Moving<'t> {
    let moving = Moving::new(t, Some(from.host().to_owned()));
    moving.build();
    forget(t, from);
    moving
}

/// Removes what this machine knows about the images.
fn forget(t: &Context, from: &Registry) {
    let prefix = format!("{}/{}", from.host(), t.prefix());
    for image in t.engine().images_with_prefix(&prefix) {
        // Images without a tag are not found by name.
        if !image.ends_with(":<none>") {
            t.engine().remove_image(&image);
        }
    }
    std::fs::remove_dir_all(t.dir().join(".xp")).expect("the cache folder");
}

/// Writes the manifest with another registry.
fn move_to(moving: &mut Moving<'_>, host: &str) {
    moving.registry = Some(host.to_owned());
    moving.write();
}

fn digests(t: &Context, moving: &Moving<'_>, registry: &Registry) -> [Option<String>; 2] {
    let of = |image: &str, commit: &str| registry.manifest_digest(&t.image(image), commit);
    [
        of("base", &moving.base.head()),
        of("top", &moving.top.head()),
    ]
}

fn images_are_copied_with_their_digests(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    let before = digests(t, &moving, old);
    move_to(&mut moving, new.host());
    let plan = t.xp(["plan"]).success();
    assert!(plan.row("base").contains(" build "), "{plan}");
    let preview = t.xp(["copy", "--from", old.host(), "--dry-run"]).success();
    assert!(preview.row("base").contains("to copy"), "{preview}");
    preview.stdout_contains("\n2 to copy\n");
    assert_eq!(digests(t, &moving, &new), [None, None]);
    let copy = t.xp(["copy", "--from", old.host()]).success();
    assert!(copy.row("base").contains("copied"), "{copy}");
    copy.stdout_contains("\n2 copied\n");
    assert_eq!(digests(t, &moving, &new), before);
    for image in ["base", "top"] {
        let image = t.image(image);
        assert_eq!(new.identity_tags(&image), old.identity_tags(&image));
        // Branch tags are left to `xp build`.
        assert_eq!(new.manifest_digest(&image, "master"), None);
    }
    // The builder's container is the only thing that would have to be started.
    let plan = t.xp(["plan", "--no-pull"]).success();
    assert!(plan.row("base").contains(" tag "), "{plan}");
    nothing_is_built(t);
    let again = t.xp(["copy", "--from", old.host()]).success();
    again.stdout_contains("\n2 present\n");
    let json = t
        .xp(["copy", "--from", old.host(), "--format", "json"])
        .success();
    json.stdout_contains("base: present sha256:");
}

fn images_are_copied_between_registries_with_logins(t: &Context) {
    let (old, new) = (
        t.registry_of(RegistryKind::Auth),
        t.registry_of(RegistryKind::TlsAuth),
    );
    for registry in [old, new] {
        t.log_in(registry);
    }
    let mut moving = built(t, old);
    let before = digests(t, &moving, old);
    move_to(&mut moving, new.host());
    let copy = t.xp(["copy", "--from", old.host()]);
    let copy = copy.env("SSL_CERT_FILE", t.ca_certificate()).success();
    copy.stdout_contains("\n2 copied\n");
    assert_eq!(digests(t, &moving, new), before);
}

fn a_renamed_image_is_copied_from_its_repository(t: &Context) {
    let registry = t.registry();
    let mut moving = built(t, registry);
    moving.image = "core";
    moving.write();
    let [before, _] = digests(t, &moving, registry);
    let from = format!("{}/{}", registry.host(), t.image("base"));
    let copy = t.xp(["copy", "--from", &from, "base"]).success();
    assert!(copy.row("base").contains("copied"), "{copy}");
    let now = registry.manifest_digest(&t.image("core"), &moving.base.head());
    assert_eq!(now, before);
    let plan = t.xp(["plan", "--no-pull"]).success();
    assert!(!plan.stdout.contains(" build "), "{plan}");
}

fn images_of_one_registry_are_mounted(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let mut moving = built(t, &registry);
    move_to(&mut moving, &format!("{}/moved", registry.host()));
    let mark = registry.mark();
    let copy = t.xp(["copy", "--from", registry.host()]).success();
    copy.stdout_contains("\n2 copied\n");
    let requests = registry.requests_since(mark);
    let count = |method: &str, part: &str| {
        let requests = requests.iter();
        let matching = requests.filter(|it| it.method == method && it.path.contains(part));
        matching.count()
    };
    assert!(count("POST", "mount=") > 0);
    assert_eq!(count("PUT", "/blobs/uploads/"), 0);
    let image = format!("moved/{}", t.image("top"));
    let now = registry.manifest_digest(&image, &moving.top.head());
    assert_eq!(now, digests(t, &moving, &registry)[1]);
}

/// As BuildKit pushes images with provenance.
fn an_index_is_copied_with_all_its_manifests(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    let (image, commit) = (t.image("base"), moving.base.head());
    let manifest = old.image_manifest(&image, &commit);
    let listed = old.put_manifest(&image, "one", &manifest);
    let mut attestation = manifest.clone();
    attestation["annotations"] = json!({"is": "an attestation"});
    let mut attestation = old.put_manifest(&image, "two", &attestation);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let index =
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed, attestation]});
    let put = old.put_manifest(&image, &commit, &index);
    move_to(&mut moving, new.host());
    let copy = t.xp(["copy", "--from", old.host(), "base"]).success();
    assert!(copy.row("base").contains("copied"), "{copy}");
    assert_eq!(
        new.manifest_digest(&image, &commit).as_deref(),
        put["digest"].as_str()
    );
    // Pulls need each part.
    for part in [&listed, &attestation] {
        let digest = part["digest"].as_str().expect("a digest");
        let hex = digest.trim_start_matches("sha256:");
        assert!(!new.blob(&format!("sha256:{hex}")).is_empty());
    }
    let plan = t.xp(["plan", "base", "--no-pull"]).success();
    assert!(!plan.stdout.contains(" build "), "{plan}");
}

fn outdated_images_are_not_copied(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    moving.script = "echo changed > made";
    move_to(&mut moving, new.host());
    let copy = t.xp(["copy", "--from", old.host()]).success();
    assert!(
        copy.row("base")
            .contains("out of date: scripts.build changed"),
        "{copy}"
    );
    assert!(
        copy.row("top").contains("out of date: needs.base changed"),
        "{copy}"
    );
    moving.base.commit(&[("new", "1\n")], "More");
    let copy = t.xp(["copy", "--from", old.host()]).success();
    assert!(copy.row("base").contains("not found: "), "{copy}");
    assert_eq!(digests(t, &moving, &new), [None, None]);
}

fn the_images_of_a_lock_are_copied_by_digest(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = Moving::new(t, Some(old.host().to_owned()));
    moving.build();
    t.xp(["lock"]).success();
    let before = digests(t, &moving, old);
    // The tag of the commit moves to another image.
    moving.script = "echo changed > made";
    moving.write();
    t.xp(["build"]).success();
    assert_ne!(digests(t, &moving, old)[0], before[0]);
    forget(t, old);
    move_to(&mut moving, new.host());
    moving.script = "echo old > made";
    moving.write();
    t.xp(["build", "--locked"])
        .failure(3)
        .stderr_contains("2 images are not in the registry")
        .stderr_contains(&format!(
            "hint: `xp copy --from {} --locked` copies",
            old.host()
        ));
    let copy = t.xp(["copy", "--from", old.host(), "--locked"]).success();
    copy.stdout_contains("\n2 copied\n");
    assert_eq!(digests(t, &moving, &new), before);
    // The lock still has the former names.
    t.xp(["build", "--locked"]).success();
    moving.script = "echo changed > made";
    moving.write();
    assert_eq!(new.identity_tags(&t.image("base")).len(), 1);
    // The locked tags stay where they are; the current image gets its own identity tag.
    let copy = t.xp(["copy", "--from", old.host()]).success();
    copy.stdout_contains("\n2 copied\n");
    assert_eq!(digests(t, &moving, &new), digests(t, &moving, old));
    let copy = t.xp(["copy", "--from", old.host(), "--locked"]).success();
    copy.stdout_contains("\n2 present\n");
    assert_eq!(new.identity_tags(&t.image("base")).len(), 2);
}

/// Is the request for a layer of an image?
fn is_layer(path: &str) -> bool {
    path.contains("/blobs/sha256:")
}

fn an_interrupted_copy_is_retried(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    let before = digests(t, &moving, old);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let source = Gateway::before(old.host(), move |incoming| {
        // The first one reads the labels.
        let is_layer = incoming.method == "GET" && is_layer(&incoming.path);
        match is_layer.then(|| counted.fetch_add(1, Ordering::SeqCst)) {
            Some(3 | 4) => Reply::Broken(Fault::Truncated),
            _ => Reply::Forward,
        }
    });
    let puts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&puts);
    let target = Gateway::before(new.host(), move |incoming| {
        let is_upload = incoming.method == "PUT" && incoming.path.contains("/blobs/uploads/");
        match is_upload.then(|| counted.fetch_add(1, Ordering::SeqCst)) {
            Some(1) => Reply::Broken(Fault::Reset),
            Some(2) => Reply::status(503),
            _ => Reply::Forward,
        }
    });
    move_to(&mut moving, target.host());
    let copy = t.xp(["copy", "--from", source.host()]).success();
    copy.stdout_contains("\n2 copied\n");
    assert_eq!(digests(t, &moving, &new), before);
    assert!(count.load(Ordering::SeqCst) > 4 && puts.load(Ordering::SeqCst) > 2);
    // The registry may still write to an upload that is canceled.
    assert!(new.open_uploads(&t.image("base")) <= 1);
}

/// Returns the digest of the first layer of `base`.
fn layer(t: &Context, moving: &Moving<'_>, registry: &Registry) -> String {
    let manifest = registry.image_manifest(&t.image("base"), &moving.base.head());
    let layer = manifest["layers"][0]["digest"].as_str();
    layer.expect("a digest").to_owned()
}

fn a_corrupt_layer_is_not_copied(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    let layer = layer(t, &moving, old);
    let source = Gateway::before(old.host(), move |incoming| {
        match incoming.method == "GET" && incoming.path.ends_with(&layer) {
            true => Reply::Broken(Fault::Changed),
            false => Reply::Forward,
        }
    });
    move_to(&mut moving, new.host());
    let copy = t.xp(["copy", "--from", source.host()]).failure(3);
    assert!(copy.row("base").contains("FAILED"), "{copy}");
    copy.stderr_contains("does not match its digest");
    assert_eq!(digests(t, &moving, &new), [None, None]);
}

fn a_source_that_does_not_respond_is_an_error(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    move_to(&mut moving, new.host());
    let gone = format!("127.0.0.1:{}", t.closed_port());
    let copy = t.xp(["copy", "--from", &gone]).failure(3);
    let copy = copy.stderr_contains("cannot tell which images to copy from ");
    copy.stderr_contains("did not respond to ");
    assert_eq!(digests(t, &moving, &new), [None, None]);
}

fn a_missing_layer_is_an_error(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    let layer = layer(t, &moving, old);
    let shown = layer.clone();
    let source = Gateway::before(old.host(), move |incoming| {
        match incoming.method == "GET" && incoming.path.ends_with(&layer) {
            true => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            false => Reply::Forward,
        }
    });
    move_to(&mut moving, new.host());
    let copy = t.xp(["copy", "--from", source.host(), "base"]).failure(3);
    copy.stderr_contains(&format!("does not have {shown}, which an image in "));
    assert_eq!(new.open_uploads(&t.image("base")), 0);
}

fn a_push_that_is_not_allowed_is_an_error(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut moving = built(t, old);
    let target = Gateway::before(new.host(), |incoming| match incoming.method == "POST" {
        true => Reply::error(403, "DENIED", "requested access to the resource is denied"),
        false => Reply::Forward,
    });
    move_to(&mut moving, target.host());
    let copy = t.xp(["copy", "--from", old.host()]).failure(3);
    let copy = copy.stderr_contains("does not allow anonymous users to push to ");
    copy.stderr_contains("hint: request access to the repository");
    assert_eq!(digests(t, &moving, &new), [None, None]);
}
