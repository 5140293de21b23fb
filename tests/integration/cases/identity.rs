//! The tag that never moves, and sets that stay consistent when several runs build them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::needed_images::Platform;
use crate::case::Case;
use crate::context::Context;
use crate::process::succeed;
use crate::random::Random;
use crate::services::Services;
use crate::world::{Engine, Gateway, Registry, RegistryKind, Reply};

pub const CASES: &[Case] = cases![
    a_locked_image_survives_a_rebuild_of_its_commit,
    a_revert_moves_the_tag_without_building,
    a_registry_with_immutable_commit_tags_is_supported,
    an_inconsistent_image_is_rebuilt,
    no_tag_moves_unless_all_services_succeed,
    two_runners_build_one_consistent_set,
    three_runners_build_one_consistent_set,
];

/// The digest that the registry has for the tag of the last commit of `top`.
fn digest(t: &Context, registry: &Registry, platform: &Platform<'_>) -> String {
    let digest = registry.manifest_digest(&t.image("top"), &platform.top.head());
    digest.expect("the image")
}

fn a_locked_image_survives_a_rebuild_of_its_commit(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, Some(registry.host()));
    platform.set_output("old");
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    let locked = digest(t, registry, &platform);
    platform.set_output("new");
    t.xp(["build"]).success();
    assert_ne!(digest(t, registry, &platform), locked);
    // The locked image still has a tag, so cleaning up untagged images does not remove it.
    let top = t.image("top");
    let tags = registry.identity_tags(&top);
    let digests = tags.iter().map(|tag| registry.manifest_digest(&top, tag));
    let digests: Vec<String> = digests.flatten().collect();
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert!(digests.contains(&locked), "{digests:?}");
    platform.set_output("old");
    t.xp(["build", "--locked"]).success();
    assert_eq!(platform.made("top"), "old");
    assert_eq!(platform.made("base"), "old");
}

fn a_revert_moves_the_tag_without_building(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, Some(registry.host()));
    let mut digests = Vec::new();
    for made in ["old", "new"] {
        platform.set_output(made);
        t.xp(["build"]).success();
        digests.push(digest(t, registry, &platform));
    }
    for (made, digest_then) in [("old", &digests[0]), ("new", &digests[1])] {
        platform.set_output(made);
        let plan = t.xp(["plan"]).success();
        assert!(plan.row("top").contains("in the registry as "), "{plan}");
        let build = t.xp(["build"]).success();
        assert!(!build.stdout.contains(" built "), "{build}");
        assert_eq!(&digest(t, registry, &platform), digest_then);
        assert_eq!(platform.made("top"), made);
        let branch = registry.manifest_digest(&t.image("top"), "master");
        assert_eq!(branch.as_ref(), Some(digest_then));
        let again = t.xp(["build"]).success();
        assert!(again.row("top").contains(" skipped "), "{again}");
    }
}

/// A registry with immutable tags, except those of branches.
fn a_registry_with_immutable_commit_tags_is_supported(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let frozen = Arc::new(AtomicBool::new(false));
    let is_frozen = Arc::clone(&frozen);
    let gateway = Gateway::before(registry.host(), move |incoming| {
        let tag = incoming.path.rsplit('/').next().unwrap_or_default();
        let is_commit = tag.len() == 40 && incoming.is_about_manifest();
        if is_frozen.load(Ordering::SeqCst) && incoming.method == "PUT" && is_commit {
            return Reply::error(
                400,
                "TAG_INVALID",
                "The image tag already exists and cannot be overwritten because the tag is immutable",
            );
        }
        Reply::Forward
    });
    let platform = Platform::new(t, Some(gateway.host()));
    platform.set_output("old");
    t.xp(["build"]).success();
    let old = digest(t, &registry, &platform);
    frozen.store(true, Ordering::SeqCst);
    platform.set_output("new");
    let build = t.xp(["build"]).success();
    assert!(build.row("top").contains(" built "), "{build}");
    build.stderr_contains("does not allow moving ");
    assert_eq!(digest(t, &registry, &platform), old);
    assert_eq!(platform.made("top"), "new");
    let new = registry.manifest_digest(&t.image("top"), "master");
    assert_ne!(new.as_ref(), Some(&old));
    assert_eq!(registry.identity_tags(&t.image("top")).len(), 2);
    // From now on, it is found by its identity tag.
    let again = t.xp(["build"]).success();
    assert!(!again.stdout.contains(" built "), "{again}");
    t.xp(["lock"]).success();
    assert!(t.read("x-platform.lock").contains(&new.unwrap()));
    t.xp(["build", "--locked"]).success();
}

/// `base` is rebuilt from the same inputs: images built from the previous one no longer belong to the set.
fn an_inconsistent_image_is_rebuilt(t: &Context) {
    let registry = t.registry();
    let platform = Platform::new(t, Some(registry.host()));
    platform.set_output("$RANDOM$(cat /proc/sys/kernel/random/uuid)");
    t.xp(["build"]).success();
    let (first, before) = (platform.made("base"), digest(t, registry, &platform));
    t.xp(["lock"]).success();
    t.xp(["build", "--force", "base"]).success();
    assert_ne!(platform.made("base"), first);
    let plan = t.xp(["plan"]).success();
    assert!(plan.row("top").contains("needs.base was rebuilt"), "{plan}");
    t.xp(["lock"])
        .failure(1)
        .stderr_contains("needs.base was rebuilt");
    t.xp(["why", "top"])
        .success()
        .stdout_contains("* needs.base.image");
    t.xp(["status"]).success().stdout_contains("stale");
    let build = t.xp(["build"]).success();
    assert!(build.row("top").contains(" built "), "{build}");
    assert_eq!(platform.made("top"), platform.made("base"));
    // Images in the lock still have tags, so they are available.
    t.xp(["build", "--locked"]).success();
    assert_eq!(platform.made("top"), first);
    t.xp(["build"]).success();
    assert_eq!(platform.made("top"), platform.made("base"));
    assert_ne!(digest(t, registry, &platform), before);
    t.xp(["lock"]).success();
    // The identity tag was replaced, because its image did not match the set.
    let tags = registry.identity_tags(&t.image("top"));
    let [tag] = tags.as_slice() else {
        panic!("{tags:?}")
    };
    let identity = registry.manifest_digest(&t.image("top"), tag);
    assert_eq!(identity, Some(digest(t, registry, &platform)));
}

fn no_tag_moves_unless_all_services_succeed(t: &Context) {
    let registry = t.registry();
    let services = Services::new(t, &["good", "other"]);
    let manifest = |line: &str| {
        let good = (services.scripts("true"), "good");
        let other = (services.scripts(line), "other");
        services.manifest(&[good, other].map(|(keys, name)| (name, keys)));
        let text = t.read("x-platform.yml");
        t.manifest(&format!("registry: {}\n{text}", registry.host()));
    };
    let tags = |name: &str| registry.tags(&t.image(name));
    let head = |name: &str| services.repository(name).head();
    manifest("false");
    t.xp(["build", "--all-or-nothing", "--tag", "v1"])
        .failure(1)
        .stderr_contains("no tags were moved");
    assert_eq!(tags("good"), [head("good")]);
    assert_eq!(registry.identity_tags(&t.image("good")).len(), 1);
    // A plan shows the moves, which still have to be done.
    let plan = t.xp(["plan", "--all-or-nothing"]).success();
    assert!(plan.row("good").contains(" tag "), "{plan}");

    // Without the option, each service moves its own tags.
    t.xp(["build"])
        .failure(1)
        .stderr_contains("tags moved despite the failure: good:master");
    assert_eq!(tags("good").len(), 2);

    manifest("true");
    services.commit("good", &[("new", "1".to_owned())]);
    t.xp(["build", "--all-or-nothing", "--tag", "v1"]).success();
    for name in ["good", "other"] {
        let digests = [head(name).as_str(), "master", "v1"]
            .map(|tag| registry.manifest_digest(&t.image(name), tag));
        assert!(
            digests[0].is_some() && digests.iter().all(|it| *it == digests[0]),
            "{digests:?}"
        );
        let here = format!("{}/{}:v1", registry.host(), t.image(name));
        assert!(t.engine().image(&here).is_some());
    }
    let again = t.xp(["build", "--all-or-nothing", "--tag", "v1"]).success();
    assert!(again.row("good").contains(" skipped "), "{again}");
}

fn two_runners_build_one_consistent_set(t: &Context) {
    runners_build_one_consistent_set(t, 2);
}

fn three_runners_build_one_consistent_set(t: &Context) {
    runners_build_one_consistent_set(t, 3);
}

/// Fresh runners with separate engines build the same new commits concurrently. Requests are delayed at
/// random, so runs overtake each other at different points in each round.
fn runners_build_one_consistent_set(t: &Context, count: usize) {
    const ROUNDS: usize = 2;
    let registry = t.own_registry(RegistryKind::Open);
    let seed = Random::any_seed();
    let random = Mutex::new(Random::new(seed));
    let gateway = Gateway::before(registry.host(), move |incoming| {
        if incoming.is_about_manifest() {
            let mut random = random.lock().expect("not poisoned");
            let pause = match random.below(3) {
                0 => random.within(Duration::from_millis(900)),
                _ => Duration::ZERO,
            };
            drop(random);
            thread::sleep(pause);
        }
        Reply::Forward
    });
    let platform = Platform::new(t, Some(gateway.host()));
    platform.set_output("$(cat /proc/sys/kernel/random/uuid)");
    let engines: Vec<Engine> = (1..count).map(|_| t.own_engine()).collect();
    let hosts = engines.iter().map(Engine::host).chain([t.engine().host()]);
    for engine in &engines {
        assert_eq!(engine.busybox(), t.engine().busybox());
    }
    let folders: Vec<PathBuf> = (0..count)
        .map(|number| {
            let copy = t.folder().join(format!("runner-{number}"));
            succeed(Command::new("cp").arg("-a").arg(t.dir()).arg(&copy));
            copy
        })
        .collect();
    let runners: Vec<(&PathBuf, &str)> = folders.iter().zip(hosts).collect();
    let build =
        |(folder, host): &(&PathBuf, &str)| t.xp(["build"]).dir(folder).env("DOCKER_HOST", host);
    for round in 0..ROUNDS {
        platform
            .base
            .commit(&[("round", &round.to_string())], "Next");
        platform
            .top
            .commit(&[("round", &round.to_string())], "Next");
        let running: Vec<_> = runners.iter().map(|runner| build(runner).spawn()).collect();
        for running in running {
            let output = running.wait();
            assert!(output.status.success(), "seed {seed}: {output}");
        }
        assert_consistent(t, &registry, &platform, seed);
        // Each run's table was right: the next runs find nothing to build.
        for runner in &runners {
            let again = build(runner).success();
            assert!(!again.stdout.contains(" built "), "seed {seed}: {again}");
        }
        assert_consistent(t, &registry, &platform, seed);
    }
    for engine in &engines {
        engine.stop();
    }
}

/// Checks that the image of `top` was built from the registry's image of `base`, by all of their tags.
#[track_caller]
fn assert_consistent(t: &Context, registry: &Registry, platform: &Platform<'_>, seed: u64) {
    let of = |name: &str, head: &str| {
        let repository = t.image(name);
        let identity = registry.identity_tags(&repository);
        let identity = identity.iter().find(|tag| tag.starts_with(head));
        let identity = identity.expect("an identity tag");
        let tags = [identity.as_str(), head, "master"];
        let digests = tags.map(|tag| registry.manifest_digest(&repository, tag).expect("a tag"));
        assert_eq!(digests[0], digests[1], "seed {seed}: {name} by its commit");
        assert_eq!(digests[0], digests[2], "seed {seed}: {name} by its branch");
        let manifest = registry.image_manifest(&repository, identity);
        let configuration = registry.image_configuration(&repository, identity);
        (digests[0].clone(), manifest, configuration)
    };
    let (digest, manifest, base) = of("base", &platform.base.head());
    let (_, _, top) = of("top", &platform.top.head());
    let label = top["config"]["Labels"]["x-platform.needs"].as_str();
    let needs: Value = serde_json::from_str(label.expect("a label")).expect("JSON");
    let known = [
        digest.as_str(),
        manifest["config"]["digest"].as_str().unwrap(),
    ];
    let id = needs["base"].as_str().expect("an id");
    assert!(
        known.contains(&id),
        "seed {seed}: {id} is none of {known:?}"
    );
    let layers = |image: &Value| image["rootfs"]["diff_ids"].as_array().cloned().unwrap();
    assert!(layers(&top).starts_with(&layers(&base)), "seed {seed}");
}
