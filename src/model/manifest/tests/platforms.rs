//! The keys `docker.platforms`, `scripts.once` and `engines`.

use super::{accepted, refused};

fn manifest(top: &str, a: &str, b: &str) -> String {
    format!(
        "{top}services:\n  a:\n    dir: a\n    git: {{remote: 'h:a'}}\n    {a}\n  b:\n    dir: b\n    git: {{remote: 'h:b'}}\n    {b}\n"
    )
}

const BOTH: &str = "platforms: [linux/amd64, linux/arm64]";

#[test]
fn platforms_and_engines_are_parsed() {
    let manifest = accepted(&manifest(
        "engines: {linux/aarch64: arm-builder}\n",
        &format!("docker: {{image: a, {BOTH}}}"),
        "docker: {image: b, platforms: [linux/arm]}",
    ));
    let platforms = |service: &str| {
        let service = &manifest.services[&service.parse().unwrap()];
        let platforms = service.docker.platforms.iter();
        platforms.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(platforms("a"), ["linux/amd64", "linux/arm64"]);
    assert_eq!(platforms("b"), ["linux/arm/v7"]);
    let arm = "linux/arm64".parse().unwrap();
    assert_eq!(manifest.engines[&arm], "arm-builder");
}

#[test]
fn invalid_platforms_are_reported() {
    let platforms = |platforms: &str| {
        let a = format!("docker: {{image: a, platforms: {platforms}}}");
        refused(&manifest("", &a, "docker: {image: b}"))
    };
    assert_eq!(
        platforms("[]"),
        ["5:24 `docker.platforms` must not be empty"]
    );
    assert_eq!(
        platforms("[arm64]"),
        ["5:36 invalid platform `arm64`: expected `linux/ARCHITECTURE`, such as linux/arm64"]
    );
    assert_eq!(
        platforms("[windows/amd64]"),
        [
            "5:36 invalid platform `windows/amd64`: xp builds images for Linux only, such as linux/arm64"
        ]
    );
    assert_eq!(
        platforms("[linux/arm64, linux/arm64/v8]"),
        ["5:49 `linux/arm64` is listed twice"]
    );
}

#[test]
fn invalid_engines_are_reported() {
    let engines = |engines: &str| {
        let services = ["docker: {image: a}", "docker: {image: b}"];
        refused(&manifest(
            &format!("engines: {engines}\n"),
            services[0],
            services[1],
        ))
    };
    assert_eq!(engines("{}"), ["1:1 `engines` must not be empty"]);
    assert_eq!(
        engines("{linux/arm64: default}"),
        [
            "1:24 `default` is not the context of another engine: remove it, or name one of `docker context ls`"
        ]
    );
    assert_eq!(
        engines("{linux/arm64: a b}"),
        ["1:24 invalid docker context name `a b`"]
    );
    assert_eq!(
        engines("{linux/arm64: a, linux/aarch64: b}"),
        ["1:27 `linux/arm64` has two engines"]
    );
}

#[test]
fn scripts_run_for_each_platform_or_once() {
    let with = |once: &str, build: &str| {
        let a = format!(
            "docker: {{image: a, {BOTH}}}\n    dockerBuilder: {{image: x}}\n    scripts: {{{once}build: {build}}}"
        );
        manifest("", &a, "docker: {image: b}")
    };
    let is_repeated = |once: &str| {
        let manifest = accepted(&with(once, "[make]"));
        manifest.services[&"a".parse().unwrap()].has_scripts_per_platform()
    };
    assert!(is_repeated(""));
    assert!(!is_repeated("once: true, "));
    // Results are not kept for each platform.
    let build = "{run: [make], inputs: [src], outputs: [out]}";
    let problems = refused(&with("", build));
    assert!(
        problems[0].starts_with(
            "5:24 service `a` has `docker.platforms`, and `inputs` of `scripts.build`, but not `scripts.once: true`"
        ),
        "{problems:?}"
    );
    accepted(&with("once: true, ", build));
}

#[test]
fn needed_images_have_the_same_platforms() {
    let a = format!("docker: {{image: a, {BOTH}, args: {{B: '${{{{ services.b.image }}}}'}}}}");
    let problems = refused(&manifest(
        "",
        &a,
        "docker: {image: b, platforms: [linux/amd64]}",
    ));
    assert!(
        problems[0].contains(
            "service `a` is built for linux/arm64, but the image of `b` that it is built from is not (add `platforms: [linux/amd64, linux/arm64]` to `docker` of `b`)"
        ),
        "{problems:?}"
    );
    accepted(&manifest("", &a, &format!("docker: {{image: b, {BOTH}}}")));
    // Its commit does not matter, and neither does an image that is only needed by scripts.
    let a = format!(
        "docker: {{image: a, {BOTH}, args: {{B: '${{{{ services.b.commit }}}}'}}}}\n    needs: [b]"
    );
    accepted(&manifest("", &a, "docker: {image: b}"));
}
