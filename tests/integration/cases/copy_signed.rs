//! `xp copy` of what describes images: signatures, provenance, and whatever else is attached to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::case::Case;
use crate::context::Context;
use crate::supply_platform::{
    Platform, SIGNED, cosign_sign, cosign_verify, cosign_verify_provenance, create_keys,
    oras_attach, run, statement, verify, with_referrers_api,
};
use crate::world::{Gateway, Registry, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    what_describes_an_image_is_copied_with_it,
    referrers_are_listed_as_the_target_needs_it,
    signatures_of_the_target_are_kept,
    an_interrupted_copy_of_signatures_is_continued,
];

const NOTE: &str = "application/x-note";

const DSSE: &str = "application/vnd.dsse.envelope.v1+json";

/// Builds a signed image into a registry.
fn built<'t>(t: &'t Context, host: &str) -> Platform<'t> {
    let platform = Platform::new(t, host, SIGNED);
    platform.xp(["build"]).success();
    platform
}

/// Changes the registry of the manifest.
fn move_to(platform: &mut Platform<'_>, host: &str) {
    host.clone_into(&mut platform.host);
    platform.set(SIGNED);
}

/// Returns the tags of cosign with their digests.
fn signatures(t: &Context, registry: &Registry) -> BTreeMap<String, Option<String>> {
    let repository = t.image("a");
    let tags = registry.all_tags(&repository).into_iter();
    let tags = tags.filter(|tag| tag.starts_with("sha256-") && tag.contains('.'));
    tags.map(|tag| (tag.clone(), registry.manifest_digest(&repository, &tag)))
        .collect()
}

fn what_describes_an_image_is_copied_with_it(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut platform = built(t, old.host());
    let image = platform.image(old);
    // A note of another tool, which is signed, too.
    let note = oras_attach(t, &image, NOTE);
    let (repository, digest) = image.split_once('@').expect("a digest");
    cosign_sign(t, "cosign.key", &format!("{repository}@{note}"));
    move_to(&mut platform, new.host());
    let copy = platform.xp(["copy", "--from", old.host()]).success();
    copy.stdout_contains("\n1 copied\n");
    assert_eq!(platform.digest(&new), digest);
    verify(t)
        .success()
        .stdout_contains("1 of 1 image verified.");
    let copied = platform.image(&new);
    cosign_verify(t, &copied);
    cosign_verify_provenance(t, &copied);
    assert!(statement(t, &copied, DSSE)["payload"].is_string());
    let discover = ["discover", "--plain-http", &copied];
    let discovered = run(t, "oras", discover).success();
    discovered.stdout_contains(NOTE).stdout_contains(&note);
    let (repository, _) = copied.split_once('@').expect("a digest");
    cosign_verify(t, &format!("{repository}@{note}"));
    assert_eq!(signatures(t, &new), signatures(t, old));
    let again = platform.xp(["copy", "--from", old.host()]).success();
    again.stdout_contains("\n1 present\n");
}

/// By the API of the registry, or by a tag.
fn referrers_are_listed_as_the_target_needs_it(t: &Context) {
    let repository = t.image("a");
    let (old, new) = (
        t.own_registry(RegistryKind::Open),
        t.own_registry(RegistryKind::Open),
    );
    let with_api = with_referrers_api(&new, &repository);
    let mut platform = built(t, old.host());
    let list = platform.digest(&old).replace(':', "-");
    assert!(old.all_tags(&repository).contains(&list));
    move_to(&mut platform, with_api.host());
    platform.xp(["copy", "--from", old.host()]).success();
    verify(t).success();
    assert!(!new.all_tags(&repository).contains(&list));
    let third = t.own_registry(RegistryKind::Open);
    move_to(&mut platform, third.host());
    platform.xp(["copy", "--from", with_api.host()]).success();
    verify(t).success();
    assert!(third.all_tags(&repository).contains(&list));
    let copied = platform.image(&third);
    assert!(statement(t, &copied, DSSE)["payload"].is_string());
}

fn signatures_of_the_target_are_kept(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let repository = t.image("a");
    let mut platform = built(t, old.host());
    create_keys(t, "other");
    move_to(&mut platform, new.host());
    platform.xp(["copy", "--from", old.host()]).success();
    // Only another key has signed what is there, and its tags are missing.
    let image = platform.image(&new);
    new.delete_tag(&repository, &platform.signature_tag(&new));
    cosign_sign(t, "other.key", &image);
    verify(t)
        .failure(1)
        .stdout_contains("signed with another key");
    let head = platform.repository.head();
    for tag in new.identity_tags(&repository).iter().chain([&head]) {
        new.delete_tag(&repository, tag);
    }
    let copy = platform.xp(["copy", "--from", old.host()]).success();
    copy.stdout_contains("\n1 copied\n");
    verify(t).success();
    platform.set("{sign: {key: other.key, publicKey: other.pub}}");
    verify(t).success();
}

fn an_interrupted_copy_of_signatures_is_continued(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let mut platform = built(t, old.host());
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let gateway = Gateway::before(new.host(), move |incoming| {
        let is_signature = incoming.method == "PUT" && incoming.path.ends_with(".sig");
        if is_signature && failing.load(Ordering::SeqCst) {
            Reply::status(503)
        } else {
            Reply::Forward
        }
    });
    move_to(&mut platform, gateway.host());
    let copy = platform.xp(["copy", "--from", old.host()]);
    let copy = copy.env("XP_RETRIES", "0").failure(3);
    assert!(copy.row("a").contains("FAILED"), "{copy}");
    // Nobody finds an image whose signature is missing.
    let head = platform.repository.head();
    assert_eq!(new.manifest_digest(&t.image("a"), &head), None);
    fails.store(false, Ordering::SeqCst);
    let copy = platform.xp(["copy", "--from", old.host()]).success();
    copy.stdout_contains("\n1 copied\n");
    verify(t).success();
}
