//! `xp clean` with what describes images, written by xp and by the real cosign and oras.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::case::Case;
use crate::context::Context;
use crate::supply_platform::{
    Platform, SIGNED, cosign_sign, cosign_verify, create_keys, oras_attach, verify,
    with_referrers_api,
};
use crate::world::{Registry, RegistryKind};

pub const CASES: &[Case] = cases![
    what_describes_an_image_shares_its_fate,
    what_the_referrers_api_lists_shares_the_fate_of_its_image,
];

fn what_describes_an_image_shares_its_fate(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    clean_signed_images(t, &registry, registry.host());
}

fn what_the_referrers_api_lists_shares_the_fate_of_its_image(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let gateway = with_referrers_api(&registry, &t.image("a"));
    clean_signed_images(t, &registry, gateway.host());
}

/// Builds two signed images, lets other tools describe both, and removes the first one.
fn clean_signed_images(t: &Context, registry: &Registry, host: &str) {
    let platform = Platform::new(t, host, SIGNED);
    create_keys(t, "other");
    let manifests = || -> BTreeSet<String> {
        let manifests = registry.manifests(&t.image("a"));
        manifests.into_iter().collect()
    };
    let build = || {
        platform.xp(["build"]).success();
        let image = platform.image(registry);
        cosign_sign(t, "other.key", &image);
        let note = oras_attach(t, &image, "application/x-note");
        let (repository, _) = image.split_once('@').expect("a digest");
        cosign_sign(t, "other.key", &format!("{repository}@{note}"));
        (image, note, manifests())
    };
    let (first, note, of_first) = build();
    platform.repository.commit(&[("file", "2\n")], "Second");
    let (second, _, all) = build();
    // The image, signatures, provenance as xp and as cosign stores it, the note, and its signature.
    assert!(of_first.len() >= 5, "{of_first:?}");
    let of_second: BTreeSet<String> = all.difference(&of_first).cloned().collect();
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!(
        "clean: {{keep: {{days: 0, commits: 0}}}}\n{manifest}"
    ));
    let clean = || platform.xp(["clean", "--registry", "--delete"]).success();
    let output = clean();
    let left = manifests();
    assert!(of_second.is_subset(&left), "{output}");
    let (_, digest) = first.split_once('@').expect("a digest");
    for removed in [digest, &note] {
        assert!(!left.contains(removed), "{removed}: {output}");
        // Lists and signatures that were replaced have no tag, so no client can find them.
        for manifest in &left {
            let manifest: Value = serde_json::from_slice(&registry.blob(manifest)).expect("JSON");
            assert_ne!(manifest["subject"]["digest"], removed, "{output}");
        }
        let tags = registry.all_tags(&t.image("a")).into_iter();
        let of_removed = tags.filter(|tag| tag.starts_with(&removed.replace(':', "-")));
        let mut left =
            of_removed.filter(|tag| registry.manifest_digest(&t.image("a"), tag).is_some());
        assert_eq!(left.next(), None, "{output}");
    }
    clean().stdout_contains("registry: 0 removed");
    verify(t).success();
    cosign_verify(t, &second);
}
