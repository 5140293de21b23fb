//! `xp clean --engine` and `--cache`: what is removed on this machine.

use super::needed_images::Platform;
use crate::case::Case;
use crate::context::Context;

pub const CASES: &[Case] = cases![the_engine_is_cleaned, the_cache_folder_is_cleaned,];

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
