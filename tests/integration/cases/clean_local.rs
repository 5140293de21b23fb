//! `xp clean --engine` and `--cache`: what is removed on this machine.

use serde_json::Value;

use super::needed_images::Platform;
use crate::case::Case;
use crate::compose_project::ComposePlatform;
use crate::context::Context;
use crate::output::Output;
use crate::schema::assert_follows;
use crate::stored_images::{items, reason};

pub const CASES: &[Case] = cases![
    the_engine_is_cleaned,
    the_cache_folder_is_cleaned,
    doctor_reports_sizes,
    compose_environments_keep_what_they_run_and_ran,
    images_of_compose_environments_are_kept_in_the_engine,
];

fn the_engine_is_cleaned(t: &Context) {
    let platform = Platform::new(t, None);
    let keep = || {
        let manifest = t.read("x-platform.yml");
        t.manifest(&format!(
            "clean: {{keep: {{days: 0, commits: 0}}}}\n{manifest}"
        ));
    };
    platform.set_output("old");
    t.xp(["build"]).success();
    let old = platform.image("top");
    platform.top.commit(&[("README", "1")], "One");
    t.xp(["build"]).success();
    let used = platform.image("top");
    let container = t.engine().docker([
        "create",
        "--name",
        &format!("{}-c", t.prefix().replace('/', "-")),
        &used,
        "x",
    ]);
    let container = String::from_utf8_lossy(&container.stdout).trim().to_owned();
    platform.top.commit(&[("README", "2")], "Two");
    t.xp(["build"]).success();
    let named = format!("{}:mine", t.image("top"));
    let foreign = platform.image("top");
    t.engine().tag(&foreign, &named);
    platform.top.commit(&[("README", "3")], "Three");
    t.xp(["build"]).success();
    keep();
    let shown = t.xp(["clean", "--engine"]).success();
    let shown = shown.stdout_contains("nothing names it");
    let shown = shown.stdout_contains("engine: 1 to remove");
    assert!(t.engine().image(&old).is_some(), "{shown}");
    let done = t.xp(["clean", "--engine", "--delete"]).success();
    assert!(t.engine().image(&old).is_none(), "{done}");
    for image in [
        &used,
        &foreign,
        &named,
        &platform.image("top"),
        &platform.image("base"),
    ] {
        assert!(t.engine().image(image).is_some(), "{image}: {done}");
    }
    t.xp(["clean", "--engine", "--delete"])
        .success()
        .stdout_contains("engine: 0 removed");
    let plan = t.xp(["plan"]).success();
    assert!(!plan.stdout.contains(" build "), "{plan}");
    t.engine().docker(["rm", &container]);
}

fn the_cache_folder_is_cleaned(t: &Context) {
    let platform = Platform::new(t, None);
    platform.set_output("x");
    t.xp(["build"]).success();
    t.write(".xp/build/former/file", "x");
    t.write(".xp/cache/former/go-1/file", "x");
    t.write(".xp/clone/z/file", "x");
    t.write(".xp/unknown/file", "x");
    t.write("src/former/file", "mine");
    let shown = t.xp(["clean", "--cache"]).success();
    let shown = shown.stdout_contains("build/former");
    let shown = shown.stdout_contains("of the service former, which is not in the manifest");
    shown.stdout_contains("cache: 3 to remove");
    assert!(t.exists(".xp/build/former/file"));
    let doctor = t.xp(["doctor", "--offline", "-v"]).run();
    assert!(
        doctor.stdout.contains("`xp clean --cache` shows it"),
        "{doctor}"
    );
    t.xp(["clean", "--cache", "--delete"])
        .success()
        .stdout_contains("cache: 3 removed");
    for gone in [".xp/build/former", ".xp/cache/former", ".xp/clone/z"] {
        assert!(!t.exists(gone), "{gone}");
    }
    for kept in [
        ".xp/build/base",
        ".xp/logs/1",
        ".xp/unknown/file",
        "src/former/file",
    ] {
        assert!(t.exists(kept), "{kept}");
    }
    t.xp(["clean", "--cache", "--delete"])
        .success()
        .stdout_contains("cache: 0 removed");
    // By size: nothing may stay, but the last run does.
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!("clean: {{cache: {{size: 0}}}}\n{manifest}"));
    t.xp(["clean", "--cache", "--delete"])
        .success()
        .stdout_contains("the cache is larger than 0 bytes");
    assert!(!t.exists(".xp/build/base") && t.exists(".xp/logs/1"));
    let build = t.xp(["build"]).success();
    assert!(!build.stdout.contains(" built "), "{build}");
}

/// Returns the sizes in a report of `xp doctor`, by part.
fn sizes(report: &Output) -> Vec<Value> {
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    let subjects = report["subjects"].as_array().expect("subjects").iter();
    let findings = subjects.flat_map(|it| it["findings"].as_array().into_iter().flatten());
    let sizes = findings.flat_map(|it| it["storage"].as_array().into_iter().flatten());
    sizes.cloned().collect()
}

fn doctor_reports_sizes(t: &Context) {
    let platform = Platform::new(t, None);
    platform.set_output("old");
    t.xp(["build"]).success();
    let old = platform.image("top");
    platform.top.commit(&[("README", "1")], "One");
    t.xp(["build"]).success();
    let manifest = t.read("x-platform.yml");
    t.manifest(&format!(
        "clean: {{keep: {{days: 0, commits: 1}}}}\n{manifest}"
    ));
    t.write(".xp/build/former/file", &"x".repeat(100_000));
    let doctor = || t.xp(["doctor", "--offline", "--format", "json"]).success();
    let before = doctor();
    assert_follows(t, "doctor", &before.stdout);
    let part = |report: &Output, name: &str| {
        let sizes = sizes(report);
        let found = sizes.iter().find(|it| it["part"] == name);
        found.unwrap_or_else(|| panic!("{name}: {report}")).clone()
    };
    let removable = |report: &Output, name: &str| part(report, name)["removableBytes"].as_u64();
    // As many as `xp clean` says.
    let planned = |place: &str| {
        let place = format!("--{place}");
        let output = t.xp(["clean", &place, "--format", "json"]).success();
        let document: Value = serde_json::from_str(&output.stdout).expect("JSON");
        let freed = document["freedBytes"].as_object().expect("sizes");
        freed.values().next().and_then(Value::as_u64)
    };
    let caches = [
        "exports",
        "caches",
        "logs",
        "results",
        "stores",
        "leftovers",
    ];
    let of_caches = sizes(&before).into_iter();
    let of_caches = of_caches.filter(|it| caches.iter().any(|name| it["part"] == *name));
    let total: u64 = of_caches
        .filter_map(|it| it["removableBytes"].as_u64())
        .sum();
    assert!(total >= 100_000, "{before}");
    assert_eq!(Some(total), planned("cache"));
    assert_eq!(part(&before, "logs")["items"], 2);
    assert_eq!(part(&before, "images")["items"], 3, "{before}");
    assert_eq!(removable(&before, "images"), planned("engine"));
    assert!(removable(&before, "images").is_some_and(|bytes| bytes > 0));
    let shown = t.xp(["doctor", "--offline", "-v"]).success();
    let shown = shown.stdout_contains("note: the engine has 3 images of this platform, ");
    shown
        .stdout_contains("`xp clean --engine` shows them, and `--delete` removes them")
        .stdout_contains("exports ");
    assert!(t.exists(".xp/build/former/file") && t.engine().image(&old).is_some());
    t.xp(["clean", "--engine", "--cache", "--delete"]).success();
    let after = doctor();
    assert_eq!(removable(&after, "images"), Some(0));
    assert_eq!(removable(&after, "exports"), Some(0));
    assert_eq!(part(&after, "images")["items"], 2);
}

const KEEP: &str = "clean: {keep: {days: 0, commits: 0, deploys: 1}}\n";

const DEV: &str = "{dev: {compose: docker-compose.yml, timeout: 60s}}";

/// Deploys two commits of the backend, and builds a third one.
fn deploy_twice(platform: &ComposePlatform<'_>) -> [String; 3] {
    let mut commits = vec![platform.backend.head()];
    platform.deploy(["--build"]).success();
    platform.backend.commit(&[("content", "two\n")], "Two");
    commits.push(platform.backend.head());
    platform.deploy(["--build"]).success();
    platform.backend.commit(&[("content", "three\n")], "Three");
    commits.push(platform.backend.head());
    platform.xp(["build"]).success();
    commits.try_into().expect("three commits")
}

fn compose_environments_keep_what_they_run_and_ran(t: &Context) {
    let platform = ComposePlatform::new(t);
    let registry = t.registry_prefix(t.registry());
    platform.manifest(&format!("registry: {registry}\n{KEEP}"), DEV);
    let commits = deploy_twice(&platform);
    let digest = |commit: &String| t.registry().manifest_digest(&t.image("zbackend"), commit);
    let [first, second, third] = commits.each_ref().map(digest);
    let [first, second, third] = [first, second, third].map(|it| it.expect("an image"));
    let clean = ["clean", "--registry", "--format", "json"];
    let found = items(&platform.xp(clean).success());
    let recorded = format!(
        "keep: deploy 2 of dev (compose project {})",
        platform.project
    );
    let expected = [recorded.clone(), "keep: used by the container ".to_owned()];
    let why = reason(&found, &second);
    assert!(expected.iter().any(|it| why.starts_with(it)), "{why}");
    assert_eq!(reason(&found, &third), "keep: tip of HEAD");
    assert_eq!(reason(&found, &first), "remove: nothing names it");
    // Nothing runs, but it was deployed.
    let containers = platform.containers("zbackend");
    t.engine().remove_containers(&containers);
    let output = platform.xp(clean).args(["--delete"]).success();
    assert_eq!(reason(&items(&output), &second), recorded);
    let [first, second, third] = commits.each_ref().map(digest);
    assert!(first.is_none() && second.is_some() && third.is_some());
}

fn images_of_compose_environments_are_kept_in_the_engine(t: &Context) {
    let platform = ComposePlatform::new(t);
    platform.manifest(KEEP, DEV);
    let commits = deploy_twice(&platform);
    let image = |commit: &String| {
        let name = format!("{}:{commit}", t.image("zbackend"));
        t.engine().image(&name)
    };
    let id = image(&commits[1]).expect("an image")["Id"].clone();
    let containers = platform.containers("zbackend");
    t.engine().remove_containers(&containers);
    let clean = ["clean", "--engine", "--delete", "--format", "json"];
    let found = items(&platform.xp(clean).success());
    let recorded = format!(
        "keep: deploy 2 of dev (compose project {})",
        platform.project
    );
    assert_eq!(reason(&found, id.as_str().expect("an ID")), recorded);
    let [first, second, third] = commits.each_ref().map(image);
    assert!(first.is_none() && second.is_some() && third.is_some());
}
