//! Indexes of images for several platforms in everything that is done with images: deployments, trains, shards, signatures,
//! copies and clean-up.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::deploy::running;
use super::deploy_render::{Product, pinned, product};
use super::platforms::{
    AMD, ARM, Image, assert_built_from, based, both, manifest, own_architecture, planned_builds,
    put_foreign_index, repository,
};
use super::sbom::complete_plugin;
use super::shards::{copy, shard_of};
use crate::case::Case;
use crate::compose_project::ComposePlatform;
use crate::context::Context;
use crate::process::succeed;
use crate::repository::GitRepository;
use crate::stored_images::{items, reason};
use crate::supply_platform::{
    Platform, cosign_verify, cosign_verify_provenance, create_keys, statement, verify, xp,
};
use crate::world::{Access, Gateway, Namespace, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    a_cluster_gets_the_digest_of_the_index,
    a_lock_of_indexes_is_deployed,
    compose_starts_the_image_of_the_engines_platform,
    a_train_has_an_index_per_service,
    a_shard_waits_for_the_index_of_another,
    every_platform_is_built_from_the_same_index,
    an_interrupted_push_of_an_index_is_completed,
    no_tag_of_an_index_moves_unless_all_services_succeed,
    an_index_is_signed_and_described,
    an_index_that_does_not_verify_is_built_again,
    an_index_that_does_not_verify_is_not_deployed,
    the_platform_that_is_built_is_named,
    an_index_is_promoted_with_all_platforms,
    superseded_indexes_are_removed_with_their_images,
    an_index_with_attestations_is_used_as_it_is,
];

/// Gives a service of the manifest both platforms, by the name of its image.
fn add_platforms(t: &Context, image: &str) {
    let text = t.read("x-platform.yml");
    let before = format!("{{image: {image}}}");
    assert!(text.contains(&before), "{text}");
    t.manifest(&text.replace(&before, &format!("{{image: {image}{}}}", both())));
}

/// The product with an index as the image of the backend, and its namespace. Nothing is built.
fn cluster_product(t: &Context) -> (Product, Namespace) {
    t.kubeconfig(&[("full", Access::Full)]);
    let namespace = t.namespace("staging");
    let product = product(t, namespace.name());
    add_platforms(t, "zbackend");
    (product, namespace)
}

fn a_cluster_gets_the_digest_of_the_index(t: &Context) {
    let (product, namespace) = cluster_product(t);
    let deploy = || t.xp(["deploy", "staging"]);
    deploy().arg("--build").success();
    let image = Image::of(t, "zbackend", &product.backend);
    assert_eq!(image.index()["manifests"].as_array().map(Vec::len), Some(2));
    let first = pinned(t, "zbackend", &image.commit);
    assert!(first.ends_with(&image.digest()));
    assert_eq!(running(&namespace, "zbackend"), first);
    deploy()
        .success()
        .stdout_contains("staging is up to date (2 services)");
    let status = t.xp(["status"]).success();
    assert!(
        status.row("zbackend").contains("verified  verified"),
        "{status}"
    );
    t.xp(["lock"]).success();
    t.xp(["diff", "staging", "x-platform.lock"])
        .success()
        .stdout_contains("staging and x-platform.lock are identical");
    product.backend.commit(&[("content", "two")], "Two");
    deploy().arg("--build").success();
    assert_ne!(running(&namespace, "zbackend"), first);
    deploy().args(["--lock", "x-platform.lock"]).success();
    assert_eq!(running(&namespace, "zbackend"), first);
    deploy()
        .arg("--locked")
        .success()
        .stdout_contains("staging is up to date");
    // Another platform changes the index, and nothing else.
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace(ARM, "linux/arm64, linux/s390x"));
    deploy().failure(1).stderr_contains(
        "zbackend: the registry's image was built from other inputs: platforms.linux/s390x is missing",
    );
    deploy().arg("--build").success();
    let image = Image::of(t, "zbackend", &product.backend);
    assert_eq!(image.index()["manifests"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &image.commit)
    );
    deploy().arg("--rollback").success();
    assert_eq!(running(&namespace, "zbackend"), first);
}

/// The image of the engine's platform is older than the index, whether or not it is the first one in it.
fn a_lock_of_indexes_is_deployed(t: &Context) {
    let (product, namespace) = cluster_product(t);
    let text = t.read("x-platform.yml") + "    needs: [zbackend]\n";
    let own = format!("linux/{}", own_architecture());
    let other = if own == AMD { ARM } else { AMD };
    let set = |platforms: &str| {
        t.manifest(&text.replace(&both(), &format!(", platforms: [{platforms}]")));
    };
    let assert_deployed = |image: &Image<'_>| {
        let deployed = pinned(t, "zbackend", &image.commit);
        assert_eq!(running(&namespace, "zbackend"), deployed);
        let deploy = t.xp(["deploy", "staging", "--locked"]).success();
        deploy.stdout_contains("staging is up to date");
        let build = t.xp(["build", "--locked"]).success();
        build.stdout_contains("Nothing to do");
    };
    for both in [format!("{own}, {other}"), format!("{other}, {own}")] {
        product.backend.commit(&[("content", &both)], &both);
        set(&own);
        t.xp(["build"]).success();
        let first = Image::of(t, "zbackend", &product.backend).part(&own);
        set(&both);
        t.xp(["build"]).success();
        let image = Image::of(t, "zbackend", &product.backend);
        assert_eq!(image.part(&own), first);
        t.xp(["lock"]).success();
        let deploy = ["deploy", "staging", "--lock", "x-platform.lock"];
        t.xp(deploy).success();
        assert_deployed(&image);
        // An index may have more platforms than the manifest names.
        set(&own);
        assert_deployed(&image);
    }
}

fn compose_starts_the_image_of_the_engines_platform(t: &Context) {
    let platform = ComposePlatform::new(t);
    let dockerfile = format!(
        "FROM --platform=$BUILDPLATFORM {} AS base\nFROM scratch\nCOPY --from=base /bin /bin\nARG TARGETARCH\n\
         COPY ${{TARGETARCH}} /content\nSTOPSIGNAL SIGKILL\nCMD [\"sleep\", \"600\"]\n",
        t.engine().busybox()
    );
    platform.backend.commit(
        &[
            ("Dockerfile", dockerfile.as_str()),
            ("amd64", "amd64\n"),
            ("arm64", "arm64\n"),
        ],
        "Platforms",
    );
    platform.use_registry();
    add_platforms(t, "zbackend");
    platform.deploy(["--build"]).success();
    let image = Image::of(t, "zbackend", &platform.backend);
    let pinned = format!("{}/{}@{}", t.registry().host(), image.name, image.digest());
    let assert_runs = || {
        let container = platform.running("zbackend");
        assert_eq!(container["Config"]["Image"], *pinned);
        assert_eq!(platform.content("zbackend"), own_architecture());
    };
    assert_runs();
    platform
        .deploy([])
        .success()
        .stdout_contains("dev is up to date (2 services)");
    // An engine that has nothing pulls its own platform's image.
    succeed(platform.user().args(["down", "--timeout", "0"]));
    let prefix = t.registry_prefix(t.registry());
    for name in t.engine().images_with_prefix(&prefix) {
        t.engine().remove_image(&name);
    }
    if t.engine().image(&pinned).is_some() {
        t.engine().remove_image(&pinned);
    }
    platform.deploy([]).success();
    assert_runs();
    t.xp(["lock"]).success();
    let commit = [("amd64", "two\n"), ("arm64", "two\n")];
    platform.backend.commit(&commit, "Two");
    platform.deploy(["--build"]).success();
    assert_eq!(platform.content("zbackend"), "two");
    platform.deploy(["--lock", "x-platform.lock"]).success();
    assert_runs();
    platform
        .deploy(["--locked"])
        .success()
        .stdout_contains("dev is up to date");
}

fn a_train_has_an_index_per_service(t: &Context) {
    let [base, top] = based(t);
    t.xp(["build"]).success();
    let of_master = [Image::of(t, "base", &base), Image::of(t, "top", &top)];
    let before = of_master.each_ref().map(Image::digest);
    base.branch("TASK-981");
    base.commit(&[("file", "topic\n")], "Topic");
    base.switch("master");
    let build = || t.xp(["build", "--branch", "TASK-981"]).success();
    build().stdout_contains("On TASK-981: 1 of 2 services.");
    let [of_base, of_top] = of_master.each_ref().map(|it| it.tagged("TASK-981"));
    assert_built_from(&of_top, &of_base);
    for platform in [AMD, ARM] {
        assert_ne!(of_base.layers(platform), of_master[0].layers(platform));
    }
    // The dependent has no commit of its own on the branch.
    let variant = of_top.tagged(&format!("{}-TASK-981", top.head()));
    assert_eq!(variant.digest(), of_top.digest());
    let now = of_master.each_ref().map(Image::digest);
    assert_eq!(now, before, "the regular images");
    assert_built_from(&of_master[1], &of_master[0]);
    for again in [build(), t.xp(["build"]).success()] {
        assert_eq!(again.stdout.matches("  skipped  ").count(), 2, "{again}");
    }
    // The branch moves on, and both platforms with it.
    base.switch("TASK-981");
    base.commit(&[("file", "further\n")], "Further");
    base.switch("master");
    let train = [of_base.digest(), of_top.digest()];
    build().stdout_contains("needs.base");
    assert_built_from(&of_top, &of_base);
    assert_ne!([of_base.digest(), of_top.digest()], train);
    assert_eq!(variant.digest(), of_top.digest());
}

fn a_shard_waits_for_the_index_of_another(t: &Context) {
    let [base, top] = based(t);
    let (of_base, of_top) = (shard_of(t, "base"), shard_of(t, "top"));
    assert_ne!(of_base, of_top);
    let there = t.own_engine();
    let folder = copy(t);
    let mut second = t
        .xp(["build", "--shard", of_top])
        .dir(&folder)
        .env("DOCKER_HOST", there.host())
        .spawn();
    second.wait_for_output(&format!("until shard {of_base} has pushed"));
    let first = t.xp(["build", "--shard", of_base]).success();
    assert!(!first.stdout.contains("top"), "{first}");
    let second = second.wait();
    assert!(second.status.success(), "{second}");
    assert!(second.row("base").contains("pulled"), "{second}");
    assert!(second.row("top").contains("built"), "{second}");
    assert_built_from(&Image::of(t, "top", &top), &Image::of(t, "base", &base));
    let rest = t.xp(["build"]).success();
    assert!(rest.row("base").contains("skipped"), "{rest}");
    assert!(rest.row("top").contains("pulled"), "{rest}");
    there.stop();
}

/// Returns a gateway to the registry, which refuses to set some tags of an image, such as those that it has on another one.
fn refusing(
    t: &Context,
    name: &str,
    refuses: impl Fn(&str, bool) -> bool + Send + Sync + 'static,
) -> Gateway {
    let tags = t.registry().files(&t.image(name)).join("_manifests/tags");
    let manifests = format!("/{name}/manifests/");
    Gateway::before(t.registry().host(), move |incoming| {
        let Some((_, tag)) = incoming.path.split_once(&manifests) else {
            return Reply::Forward;
        };
        let current = fs::read_to_string(tags.join(tag).join("current/link")).ok();
        let digest = Sha256::digest(&incoming.body);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let moves = current.is_some_and(|it| it.trim() != format!("sha256:{digest}"));
        if incoming.method == "PUT" && refuses(tag, moves) {
            return Reply::error(400, "TAG_INVALID", "the tag is immutable");
        }
        Reply::Forward
    })
}

/// Replaces the registry in the manifest by a gateway to it.
fn use_gateway(t: &Context, gateway: &Gateway) {
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace(t.registry().host(), gateway.host()));
}

/// The registry does not let the tag of the commit move, so it is on an outdated index.
fn every_platform_is_built_from_the_same_index(t: &Context) {
    let [base, top] = based(t);
    let commit = base.head();
    let gateway = refusing(t, "base", move |tag, moves| moves && tag == commit);
    use_gateway(t, &gateway);
    t.xp(["build"]).success();
    let first = Image::of(t, "base", &base);
    let [identity] = &t.registry().identity_tags(&first.name)[..] else {
        panic!("one identity");
    };
    let text = t.read("x-platform.yml");
    let platforms = both();
    t.manifest(&text.replacen(&platforms, &format!("{platforms}, args: {{OF: other}}"), 1));
    t.xp(["build"])
        .success()
        .stderr_contains("does not allow moving");
    let mut identities = t.registry().identity_tags(&first.name);
    identities.retain(|it| it != identity);
    let second = first.tagged(&identities[0]);
    assert_ne!(second.digest(), first.digest());
    assert_built_from(&Image::of(t, "top", &top), &second);
    assert!(planned_builds(t).is_empty());
}

/// The registry never moves a tag, and the first run only pushes the image of one platform.
fn an_interrupted_push_of_an_index_is_completed(t: &Context) {
    let a = repository(t, "a");
    manifest(t, "", &[("a", &a, &both(), "")]);
    let is_interrupted = Arc::new(AtomicBool::new(true));
    let interrupted = Arc::clone(&is_interrupted);
    let gateway = refusing(t, "a", move |tag, moves| {
        let is_other = tag.ends_with("-linux-arm64");
        moves || (is_other && interrupted.load(Ordering::Relaxed))
    });
    use_gateway(t, &gateway);
    // Another machine, where the same build has another digest.
    let other = t.own_engine();
    t.xp(["build"]).env("DOCKER_HOST", other.host()).failure(1);
    other.stop();
    let image = Image::of(t, "a", &a);
    let tags = t.registry().all_tags(&image.name);
    let [tag] = &tags[..] else {
        panic!("one tag: {tags:?}");
    };
    assert!(tag.ends_with("-linux-amd64"), "{tag}");
    is_interrupted.store(false, Ordering::Relaxed);
    t.xp(["build"])
        .success()
        .stderr_contains("from the same inputs; using its image");
    assert_eq!(image.part(AMD), image.tagged(tag).digest());
    assert_eq!(image.configuration(ARM)["architecture"], "arm64");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn no_tag_of_an_index_moves_unless_all_services_succeed(t: &Context) {
    let a = repository(t, "a");
    let broken = t.git_repo("broken");
    // Only the image of one platform can be built.
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY ${TARGETARCH} /arch\n";
    broken.commit(&[("Dockerfile", dockerfile), ("amd64", "1\n")], "First");
    let platforms = both();
    let services = [
        ("a", &a, platforms.as_str(), ""),
        ("broken", &broken, &platforms, ""),
    ];
    manifest(t, "", &services);
    let build = || t.xp(["build", "--all-or-nothing", "--tag", "v1"]);
    let failed = build().failure(1).stderr_contains("no tags were moved");
    assert!(failed.stderr.contains("linux/arm64"), "{failed}");
    let image = Image::of(t, "a", &a);
    let has = |tag: &str| t.registry().manifest_digest(&image.name, tag).is_some();
    assert!(has(&image.commit) && !has("master") && !has("v1"));
    assert!(t.registry().all_tags(&t.image("broken")).is_empty());

    broken.commit(&[("arm64", "1\n")], "Mend");
    build().success();
    for (name, repository) in [("a", &a), ("broken", &broken)] {
        let image = Image::of(t, name, repository);
        for tag in ["master", "v1"] {
            assert_eq!(image.tagged(tag).digest(), image.digest(), "{name}:{tag}");
            let here = format!("{}/{}:{tag}", t.registry().host(), image.name);
            let here = t.engine().image(&here).expect("the engine's image");
            assert_eq!(here["Architecture"], own_architecture(), "{name}:{tag}");
        }
    }
    let again = build().success();
    assert_eq!(again.stdout.matches("  skipped  ").count(), 2, "{again}");
}

/// A platform with the service `a`, whose image is an index.
struct SignedIndex<'t>(Platform<'t>);

impl<'t> SignedIndex<'t> {
    fn new(t: &'t Context) -> Self {
        let platform = Platform::new(t, t.registry().host(), "{}");
        let dockerfile = "FROM scratch\nCOPY file /file\n";
        platform
            .repository
            .commit(&[("Dockerfile", dockerfile)], "Platforms");
        Self(platform)
    }

    /// Writes the manifest with these keys of `supply`.
    fn set(&self, supply: &str) {
        let keys = "sign: {key: cosign.key, publicKey: cosign.pub}";
        self.0.set(&format!("{{{supply}{keys}}}"));
        add_platforms(self.0.t, &self.0.t.image("a"));
    }

    fn image(&self) -> Image<'t> {
        Image::of(self.0.t, "a", &self.0.repository)
    }

    /// Returns the digests of the index and of its images.
    fn digests(&self) -> [String; 3] {
        let image = self.image();
        [image.digest(), image.part(AMD), image.part(ARM)]
    }

    fn by_digest(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.0.host, self.image().name)
    }

    fn remove_signature(&self, digest: &str) {
        let tag = format!("{}.sig", digest.replace(':', "-"));
        self.0.t.registry().delete_tag(&self.image().name, &tag);
    }
}

fn an_index_is_signed_and_described(t: &Context) {
    let platform = SignedIndex::new(t);
    let plugin = complete_plugin(t);
    platform.set(&format!(
        "provenance: true, verify: true, sbom: {{plugin: {plugin}}}, "
    ));
    platform.0.xp(["build"]).success();
    let digests = platform.digests();
    for digest in &digests {
        cosign_verify(t, &platform.by_digest(digest));
    }
    let index = platform.by_digest(&digests[0]);
    cosign_verify_provenance(t, &index);
    let envelope = statement(t, &index, "application/vnd.dsse.envelope.v1+json");
    let payload = BASE64_STANDARD.decode(envelope["payload"].as_str().expect("text"));
    let provenance: Value = serde_json::from_slice(&payload.expect("base64")).expect("JSON");
    let subjects = provenance["subject"].as_array().expect("subjects").iter();
    let subjects: Vec<String> = subjects
        .map(|it| {
            format!(
                "sha256:{}",
                it["digest"]["sha256"].as_str().expect("a digest")
            )
        })
        .collect();
    assert_eq!(subjects, digests);
    for digest in &digests[1..] {
        let document = statement(t, &platform.by_digest(digest), "application/spdx+json");
        assert_eq!(document["name"], *digest);
    }
    verify(t)
        .success()
        .stdout_contains(&digests[1])
        .stdout_contains(&digests[2])
        .stdout_contains("1 of 1 image verified.");
    let build = platform.0.xp(["build"]).success();
    assert!(build.row("a").contains(" skipped "), "{build}");
}

fn an_index_that_does_not_verify_is_built_again(t: &Context) {
    let platform = SignedIndex::new(t);
    platform.set("provenance: true, verify: true, ");
    platform.0.xp(["build"]).success();
    let [index, _, arm] = platform.digests();
    // The signed index names its images.
    platform.remove_signature(&arm);
    let build = platform.0.xp(["build"]).success();
    assert!(build.row("a").contains(" skipped "), "{build}");
    // The images do not vouch for the index.
    platform.remove_signature(&index);
    let plan = platform.0.xp(["plan"]).success();
    plan.stdout_contains("the registry's image does not verify: unsigned");
    platform.0.xp(["build"]).success();
    verify(t).success();
    for digest in platform.digests() {
        cosign_verify(t, &platform.by_digest(&digest));
    }
}

fn an_index_that_does_not_verify_is_not_deployed(t: &Context) {
    let (product, namespace) = cluster_product(t);
    create_keys(t, "cosign");
    let text = t.read("x-platform.yml");
    let supply = "supply: {provenance: true, sign: {key: cosign.key, publicKey: cosign.pub}}\n";
    let verified = text.replace("timeout: 30s}", "timeout: 30s, verify: true}");
    t.manifest(&format!("{supply}{verified}"));
    xp(t, ["build"]).success();
    let image = Image::of(t, "zbackend", &product.backend);
    let digest = image.digest();
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let signature = t.registry().manifest_digest(&image.name, &tag);
    t.registry().delete_tag(&image.name, &tag);
    let deploy = || xp(t, ["deploy", "staging"]);
    deploy()
        .failure(1)
        .stderr_contains("1 of 2 images do not verify; nothing was deployed to staging")
        .stderr_contains("zbackend: unsigned");
    assert!(namespace.objects("deployments").is_empty());
    t.registry()
        .link_tag(&image.name, &tag, &signature.expect("a signature"));
    deploy().success();
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &image.commit)
    );
    xp(t, ["verify", "staging"])
        .success()
        .stdout_contains("2 of 2 images verified.");
}

fn the_platform_that_is_built_is_named(t: &Context) {
    let a = repository(t, "a");
    manifest(t, "", &[("a", &a, &format!(", platforms: [{AMD}]"), "")]);
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    manifest(t, "", &[("a", &a, &both(), "")]);
    let why = t.xp(["why", "a"]).success();
    why.stdout_contains("registry  stale: platforms.linux/arm64 is missing\n")
        .stdout_contains("build: platforms.linux/arm64 is missing");
    let status = t.xp(["status"]).success();
    assert!(status.row("a").contains("verified  stale"), "{status}");
    let build = t.xp(["build"]).success();
    build.stdout_contains("platforms.linux/arm64 is missing");
    let log = t.xp(["logs", "a"]).success();
    log.stdout_contains("docker build --platform linux/arm64 .xp/build/a");
    let page = t.xp(["report", "-o", "-"]).success();
    page.stdout_contains("docker build --platform linux/arm64");
    // The same commit, and another image.
    t.write("old.lock", &t.read("x-platform.lock"));
    t.xp(["lock"]).success();
    t.xp(["diff", "old.lock", "x-platform.lock"])
        .success()
        .stdout_contains("a");
    // The registry lost the image of one platform.
    let image = Image::of(t, "a", &a);
    let arm = image.part(ARM);
    t.registry().delete_manifest(&image.name, &arm);
    let plan = t.xp(["plan", "--all"]).success();
    plan.stdout_contains("the registry's image is incomplete");
    t.xp(["build"]).success();
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn an_index_is_promoted_with_all_platforms(t: &Context) {
    let (old, new) = (t.registry(), t.own_registry(RegistryKind::Open));
    let [base, top] = based(t);
    // The image of one platform is older than the index.
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace(&both(), &format!(", platforms: [{AMD}]")));
    t.xp(["build"]).success();
    t.manifest(&text);
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    t.manifest(&text.replace(old.host(), new.host()));
    let copy = ["copy", "--from", old.host()];
    t.xp(copy).success().stdout_contains("\n2 copied\n");
    for (name, repository) in [("base", &base), ("top", &top)] {
        let image = Image::of(t, name, repository);
        let copied = Image {
            registry: &new,
            ..image.tagged(&image.commit)
        };
        assert_eq!(copied.digest(), image.digest(), "{name}");
        let manifests = new.manifests(&image.name);
        for platform in [AMD, ARM] {
            assert!(manifests.contains(&image.part(platform)), "{name}");
            assert_eq!(copied.layers(platform), image.layers(platform), "{name}");
        }
        // The current index has the identity that a build would give it.
        let identities = old.identity_tags(&image.name);
        let of_index = identities
            .iter()
            .filter(|tag| image.tagged(tag).digest() == image.digest());
        assert_eq!(
            new.identity_tags(&image.name),
            of_index.cloned().collect::<Vec<_>>(),
            "{name}"
        );
    }
    t.xp(copy).success().stdout_contains("\n2 present\n");
    assert!(planned_builds(t).is_empty());
    t.xp(["build"]).success();
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // A lock names the same indexes, wherever they are.
    let third = t.own_registry(RegistryKind::Open);
    t.manifest(&text.replace(old.host(), third.host()));
    let copy = ["copy", "--from", new.host(), "--locked"];
    t.xp(copy).success().stdout_contains("\n2 copied\n");
    t.xp(["build", "--locked"]).success();
    assert!(planned_builds(t).is_empty());
}

/// Returns whether a repository has all manifests of an index.
fn is_complete(image: &Image<'_>, [index, amd, arm]: &[String; 3]) -> [bool; 3] {
    let manifests = image.registry.manifests(&image.name);
    [index, amd, arm].map(|it| manifests.contains(it))
}

fn superseded_indexes_are_removed_with_their_images(t: &Context) {
    let (product, _namespace) = cluster_product(t);
    let text = t.read("x-platform.yml");
    let keep = "clean: {keep: {days: 0, commits: 0, deploys: 1}}\n";
    t.manifest(&format!("{keep}{text}"));
    let build = |repository: &GitRepository, content: &str| {
        repository.commit(&[("content", content)], content);
        t.xp(["build"]).success();
        let image = Image::of(t, "zbackend", repository);
        let digests = [image.digest(), image.part(AMD), image.part(ARM)];
        (image, digests)
    };
    let (_, deployed) = build(&product.backend, "deployed");
    t.xp(["deploy", "staging"]).success();
    let (_, locked) = build(&product.backend, "locked");
    t.xp(["lock"]).success();
    let (image, unused) = build(&product.backend, "unused");
    let (tip, current) = build(&product.backend, "current");
    let clean = |option: &str| t.xp(["clean", "--registry", option]).success();
    let shown = t.xp(["clean", "--registry", "--format", "json"]).success();
    let found = items(&shown);
    for digest in &unused {
        assert!(reason(&found, digest).starts_with("remove: "), "{shown}");
    }
    assert_eq!(reason(&found, &locked[0]), "keep: lock x-platform.lock");
    let part = reason(&found, &locked[2]);
    assert!(part.starts_with("keep: part of zbackend@"), "{part}");
    let output = clean("--delete");
    for kept in [&deployed, &locked, &current] {
        assert_eq!(is_complete(&image, kept), [true; 3], "{kept:?}: {output}");
    }
    assert_eq!(is_complete(&image, &unused), [false; 3], "{output}");
    let tags = t.registry().all_tags(&image.name).into_iter();
    let mut left = tags
        .filter(|tag| tag.starts_with(&image.commit))
        .filter(|tag| t.registry().manifest_digest(&image.name, tag).is_some());
    assert_eq!(left.next(), None, "{output}");
    clean("--delete").stdout_contains("registry: 0 removed");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // An index without tags is kept with its images if a lock names it.
    t.xp(["lock"]).success();
    t.xp(["build", "--force"]).success();
    let again = [tip.digest(), tip.part(AMD), tip.part(ARM)];
    clean("--delete");
    for kept in [&deployed, &current, &again] {
        assert_eq!(is_complete(&tip, kept), [true; 3], "{kept:?}");
    }
    assert_eq!(is_complete(&tip, &locked), [false; 3]);
    t.xp(["build", "--locked"]).success();
}

/// An index of another tool, whose attestations are listed as images for an unknown platform.
fn an_index_with_attestations_is_used_as_it_is(t: &Context) {
    let (product, namespace) = cluster_product(t);
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace(&both(), ""));
    t.xp(["build"]).success();
    let image = Image::of(t, "zbackend", &product.backend);
    put_foreign_index(&image, true);
    t.manifest(&text);
    let plan = t.xp(["plan"]).success();
    assert!(plan.row("zbackend").contains("unverified"), "{plan}");
    assert!(planned_builds(t).is_empty());
    t.xp(["build"]).success();
    let status = t.xp(["status"]).success();
    assert!(status.row("zbackend").contains("unverified"), "{status}");
    t.xp(["why", "zbackend"])
        .success()
        .stdout_contains("registry  unverified");
    t.xp(["lock"]).success();
    assert!(t.read("x-platform.lock").contains(&image.digest()));
    t.xp(["deploy", "staging"]).success();
    assert_eq!(
        running(&namespace, "zbackend"),
        pinned(t, "zbackend", &image.commit)
    );
    let (digest, arm) = (image.digest(), image.part(ARM));
    // Attestations are copied, and kept with their index.
    let new = t.own_registry(RegistryKind::Open);
    t.manifest(&text.replace(t.registry().host(), new.host()));
    let prefix = t.registry_prefix(t.registry());
    t.xp(["copy", "--from", &prefix])
        .success()
        .stdout_contains("\n2 copied\n");
    let listed = image.index()["manifests"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(listed.len(), 4);
    let copied = new.manifests(&image.name);
    for part in &listed {
        let digest = part["digest"].as_str().expect("a digest");
        assert!(copied.iter().any(|it| it == digest), "{digest}");
    }
    t.manifest(&format!("clean: {{keep: {{days: 0, commits: 0}}}}\n{text}"));
    t.xp(["clean", "--registry", "--delete"]).success();
    let kept = t.registry().manifests(&image.name);
    assert!(kept.contains(&digest) && kept.contains(&arm), "{kept:?}");
    t.manifest(&text);
    // It is replaced if a build is requested.
    t.xp(["build", "--force", "zbackend"]).success();
    assert_eq!(image.index()["manifests"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        image.configuration(ARM)["config"]["Labels"]["x-platform.platform"],
        ARM
    );
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}
