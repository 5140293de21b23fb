//! Builds that several machines share: shards, and services that other runs build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::needed_images::Platform;
use super::small;
use crate::case::Case;
use crate::context::Context;
use crate::process::succeed;
use crate::world::RegistryKind;

pub const CASES: &[Case] = cases![
    each_image_is_built_by_its_own_shard,
    a_wait_for_another_shard_has_a_limit,
    the_shards_add_up_to_the_plan,
    a_part_that_cannot_get_an_image_is_refused,
    durations_balance_the_shards,
];

/// Returns the decisions of a plan, by service.
fn decisions<const N: usize>(t: &Context, arguments: [&str; N]) -> BTreeMap<String, String> {
    let plan = t.xp(["plan", "--format", "json"]).args(arguments).success();
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let units = plan["units"].as_array().expect("units").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let services = units.filter(|unit| unit["kind"] == "service");
    services
        .map(|unit| (text(&unit["name"]), text(&unit["decision"])))
        .collect()
}

/// Returns the shard of a service, of two.
pub(super) fn shard_of(t: &Context, service: &str) -> &'static str {
    let builds = |shard: &&&str| {
        let decisions = decisions(t, ["--shard", **shard]);
        decisions.get(service).is_some_and(|it| it == "build")
    };
    ["1/2", "2/2"]
        .iter()
        .find(builds)
        .expect("a shard builds it")
}

/// Creates a folder of the platform on another machine.
pub(super) fn copy(t: &Context) -> PathBuf {
    let copy = t.folder().join("there");
    succeed(Command::new("cp").arg("-a").arg(t.dir()).arg(&copy));
    copy
}

fn each_image_is_built_by_its_own_shard(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let platform = Platform::new(t, Some(registry.host()));
    platform.set_output("made");
    let (of_base, of_top) = (shard_of(t, "base"), shard_of(t, "top"));
    assert_ne!(of_base, of_top);
    let plan = t.xp(["plan", "--shard", of_top]).success();
    let waiting = format!("until shard {of_base} has pushed");
    assert!(plan.stdout.contains(&waiting), "{plan}");

    let there = t.own_engine();
    let folder = copy(t);
    let mut second = t
        .xp(["build", "--shard", of_top])
        .dir(&folder)
        .env("DOCKER_HOST", there.host())
        .spawn();
    second.wait_for_output(&waiting);
    let first = t.xp(["build", "--shard", of_base]).success();
    assert!(first.row("base").contains("built"), "{first}");
    assert!(!first.stdout.contains("top"), "{first}");
    let second = second.wait();
    assert!(second.status.success(), "{second}");
    assert!(second.row("base").contains("pulled"), "{second}");
    assert!(second.row("top").contains("built"), "{second}");

    // Each image has all of its tags, and one build.
    let digest = |name: &str, tag: &str| registry.manifest_digest(&t.image(name), tag);
    let (base, top) = (platform.base.head(), platform.top.head());
    assert_eq!(registry.identity_tags(&t.image("base")).len(), 1);
    for (name, commit) in [("base", &base), ("top", &top)] {
        assert_eq!(digest(name, commit), digest(name, "master"), "{name}");
    }
    // An image that is not consistent with the registry's would be built again.
    let rest = t.xp(["build"]).success();
    assert!(rest.row("base").contains("skipped"), "{rest}");
    assert!(rest.row("top").contains("pulled"), "{rest}");
}

fn a_wait_for_another_shard_has_a_limit(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let platform = Platform::new(t, Some(registry.host()));
    platform.set_output("made");
    let (of_base, of_top) = (shard_of(t, "base"), shard_of(t, "top"));
    let build = ["build", "--shard", of_top, "--shard-wait", "2s"];
    let failed = t.xp(build).failure(3);
    let text = format!(
        "base: pull: shard {of_base} has not pushed {}/",
        registry.host()
    );
    assert!(
        failed.stdout.contains(&text) || failed.stderr.contains(&text),
        "{failed}"
    );
    assert!(failed.row("top").contains("base"), "{failed}");
    assert!(registry.tags(&t.image("top")).is_empty());

    // The same for services that were not given.
    let only = t
        .xp(["build", "--only", "top", "--shard-wait", "1s"])
        .failure(3);
    let text = "base: pull: another run has not pushed";
    assert!(
        only.stdout.contains(text) || only.stderr.contains(text),
        "{only}"
    );

    t.xp(["build", "--shard", of_base]).success();
    let built = t.xp(build).success();
    assert!(built.row("top").contains("built"), "{built}");
}

fn the_shards_add_up_to_the_plan(t: &Context) {
    let names = ["a", "b", "c", "d", "e", "f"];
    let repositories = names.map(|name| small::repository(t, name));
    let services = names.iter().zip(&repositories).map(|(name, repository)| {
        let needs = match *name {
            "a" => String::new(),
            "f" => "    needs: [e]\n".to_owned(),
            _ => "    needs: [a]\n".to_owned(),
        };
        small::service(t, name, &repository.url_file(), "", &needs)
    });
    small::manifest(t, t.registry().host(), &services.collect::<String>());
    for count in [1, 2, 4, 9] {
        let mut built = BTreeSet::new();
        for number in 1..=count {
            let shard = format!("{number}/{count}");
            for (name, decision) in decisions(t, ["--shard", &shard]) {
                if decision == "build" {
                    assert!(built.insert(name.clone()), "{name} is in two of {count}");
                } else {
                    assert_eq!(decision, "pull", "{name} in {shard}");
                }
            }
        }
        assert!(
            built.iter().map(String::as_str).eq(names),
            "{count}: {built:?}"
        );
    }
    // With nine shards, some have no services.
    let empty = (1..=9).map(|number| format!("{number}/9"));
    let empty = empty.filter(|shard| decisions(t, ["--shard", shard]).is_empty());
    let empty: Vec<String> = empty.collect();
    assert!(empty.len() >= 3, "{empty:?}");
    t.xp(["build", "--shard", &empty[0]])
        .success()
        .stdout_contains("Nothing to do");
    // The parts of a selection.
    let of_selection = ["1/2", "2/2"].map(|shard| decisions(t, ["e", "--shard", shard]));
    let builds = of_selection.iter().flatten().filter(|it| it.1 == "build");
    let builds: BTreeSet<&str> = builds.map(|(name, _)| name.as_str()).collect();
    assert!(builds.into_iter().eq(["a", "e"]), "{of_selection:?}");
}

fn a_part_that_cannot_get_an_image_is_refused(t: &Context) {
    let platform = Platform::new(t, Some(t.registry().host()));
    platform.set_output("made");
    let of_base = shard_of(t, "base");
    let of_top = shard_of(t, "top");
    for (option, why) in [
        ("--no-push", "`--no-push` keeps images on the machine"),
        ("--force", "with `--force`, its new image has the same name"),
    ] {
        t.xp(["build", "--shard", of_top, option])
            .failure(2)
            .stderr_contains(&format!(
                "top needs the image of base, which shard {of_base} builds, but {why}"
            ));
    }
    let line = format!("registry: {}\n", t.registry().host());
    t.manifest(&t.read("x-platform.yml").replace(&line, ""));
    t.xp(["build", "--shard", of_top])
        .failure(2)
        .stderr_contains("it has no registry to get it from");
    t.xp(["build", "--only", "top"])
        .failure(2)
        .stderr_contains("which another run builds");
}

fn durations_balance_the_shards(t: &Context) {
    let names = ["a", "b", "c", "d"];
    let repositories = names.map(|name| small::repository(t, name));
    let services: Vec<_> = names.into_iter().zip(&repositories).collect();
    small::platform(t, t.registry().host(), &services);
    t.write(
        "times.json",
        r#"{"a": {"status": "built", "seconds": 90}, "b": 30}"#,
    );
    t.write("more.json", r#"{"c": 30, "d": 30}"#);
    let times = ["--shard-times", "times.json", "--shard-times", "more.json"];
    let parts = ["1/2", "2/2"].map(|shard| {
        let [one, two, three, four] = times;
        let plan = decisions(t, ["--shard", shard, one, two, three, four]);
        plan.into_keys().collect::<Vec<_>>().join(" ")
    });
    assert!(parts.contains(&"a".to_owned()), "{parts:?}");
    assert!(parts.contains(&"b c d".to_owned()), "{parts:?}");

    // A metadata file of a build has them.
    t.xp(["build", "--metadata-file", "images.json"]).success();
    let images: Value = serde_json::from_str(&t.read("images.json")).expect("JSON");
    assert!(images["a"]["seconds"].is_f64(), "{images}");
    t.xp(["build", "--shard-times", "times.json"])
        .failure(2)
        .stderr_contains("`--shard` is missing");
    t.xp(["plan", "--shard", "1/2", "--shard-times", "images.json"])
        .success();
    t.xp(["plan", "--shard", "1/2", "--shard-times", "x-platform.yml"])
        .failure(2)
        .stderr_contains("has no durations of services");
    t.xp(["plan", "--shard", "1/2", "--shard-times", "missing.json"])
        .failure(2)
        .stderr_contains("cannot read the durations in");
}
