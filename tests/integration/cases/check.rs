//! `xp check`: all problems of the platform's own files, without any server.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::case::Case;
use crate::context::Context;
use crate::schema::assert_follows;
use crate::xp::Xp;

pub const CASES: &[Case] = cases![
    a_valid_platform_takes_one_line,
    all_problems_of_all_files_are_reported,
    problems_are_json_for_editors,
    a_missing_manifest_is_reported,
];

const MANIFEST: &str = "\
defaults:
  dockerBuilder: {image: builders/go}
services:
  zbackend:
    dir: src/zbackend
    git: {remote: 'https://git.invalid/zbackend.git'}
    docker: {image: zbackend, args: {FRONT: '${{ services.zfrontend.image }}', X: '${{ env.UNSET }}'}}
    scripts: {build: [make]}
  zfrontend:
    dir: src/zfrontend
    git: {remote: 'https://git.invalid/zfrontend.git'}
    dockerBuilder: {image: builders/node}
    docker: {image: zfrontend}
    scripts: {build: [make]}
deploy:
  path: k8s
  environments:
    staging: {overlay: overlays/staging, context: test, namespace: test}
";

const LOCK: &str = "version: 1\nservices: {}\n";

fn platform(t: &Context) {
    t.manifest(MANIFEST);
    t.write("builders/go/Dockerfile", "FROM scratch\n");
    t.write("builders/node/Dockerfile", "FROM scratch\n");
    t.write(
        "k8s/overlays/staging/kustomization.yaml",
        "resources: [../../base]\n",
    );
    t.write("k8s/base/kustomization.yaml", "resources: [a.yaml]\n");
    t.write("k8s/base/a.yaml", "");
    t.write("x-platform.lock", LOCK);
}

/// Runs `xp check` where there is neither an engine nor a network.
fn check<const N: usize>(t: &Context, arguments: [&str; N]) -> Xp {
    let xp = t.xp(["check"]).args(arguments);
    xp.env("DOCKER_HOST", "tcp://192.0.2.1:1")
        .env("HTTPS_PROXY", "http://192.0.2.1:1")
}

fn a_valid_platform_takes_one_line(t: &Context) {
    platform(t);
    let output = check(t, []).success();
    let line =
        "x-platform.yml: 2 services, 2 builders, 1 environment, x-platform.lock, no problems\n";
    assert_eq!(output.stdout, line);
    assert_eq!(output.stderr, "");
    assert_eq!(check(t, ["-q"]).success().stdout, "");
    let subfolder = check(t, []).dir(t.dir().join("k8s"));
    subfolder.success().stdout_contains("2 services");
    fs::remove_file(t.dir().join("x-platform.lock")).expect("the lock");
    check(t, [])
        .success()
        .stdout_contains("1 environment, no problems");
    check(t, ["--lock-file", "x-platform.lock"])
        .failure(2)
        .stderr_contains("lock not found");
    assert!(!t.exists(".xp"));
}

fn all_problems_of_all_files_are_reported(t: &Context) {
    platform(t);
    fs::remove_dir_all(t.dir().join("builders/node")).expect("the folder");
    symlink("/tmp", t.dir().join("src")).expect("a link");
    t.write("k8s/base/kustomization.yaml", "resources: [gone.yaml]\n");
    t.write("x-platform.lock", "version: 1\nservices:\n<<<<<<< HEAD\n");
    let text = t.read("x-platform.yml");
    t.manifest(&text.replace("{image: zfrontend}", "{imgae: zfrontend, image: zfrontend}"));
    let output = check(t, []).failure(2);
    let dir = t.dir().display().to_string();
    let shown = output.stderr.replace(&format!("{dir}/"), "");
    for part in [
        "unknown key `imgae`",
        "--> x-platform.yml:13:14",
        "builder `node` not found",
        "--> x-platform.yml:12:28",
        "`src` is a symbolic link to `/tmp`",
        "--> x-platform.yml:5:10",
        "environment `staging`: base/kustomization.yaml includes `gone.yaml`, which does not exist",
        "--> x-platform.yml:18:24",
        "unresolved merge conflict",
        "--> x-platform.lock:3:1",
    ] {
        assert!(shown.contains(part), "{part:?} is not in {output}");
    }
    // A problem of an inherited value is reported once.
    fs::remove_dir_all(t.dir().join("builders/go")).expect("the folder");
    let output = check(t, []).failure(2);
    assert_eq!(output.stderr.matches("builder `go` not found").count(), 1);
    assert_eq!(output.stdout, "");
    assert!(!t.exists(".xp"));
    // The same in GitHub's log.
    let annotated = check(t, []).env("GITHUB_ACTIONS", "true").failure(2);
    annotated.stderr_contains("line=12,title=xp::builder `node` not found");
}

fn problems_are_json_for_editors(t: &Context) {
    platform(t);
    let output = check(t, ["--format", "json"]).success();
    assert_follows(t, "check", &output.stdout);
    let found: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(found["valid"], json!(true));
    assert_eq!(found["builders"], json!(2));
    assert_eq!(found["lock"], json!("x-platform.lock"));

    fs::remove_dir_all(t.dir().join("builders/node")).expect("the folder");
    t.write("x-platform.lock", "version: 1\nservices: 3\n");
    let output = check(t, ["--format", "json"]).failure(2);
    assert_follows(t, "check", &output.stdout);
    let found: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(found["valid"], json!(false));
    let problems = found["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 2, "{found}");
    assert_eq!(problems[0]["file"], json!("x-platform.yml"));
    assert_eq!(problems[0]["line"], json!(12));
    assert_eq!(problems[0]["column"], json!(28));
    assert!(problems[0]["hints"][0].as_str().is_some(), "{found}");
    assert_eq!(problems[1]["file"], json!("x-platform.lock"));
    assert_eq!(output.stderr, "");
}

fn a_missing_manifest_is_reported(t: &Context) {
    check(t, [])
        .failure(2)
        .stderr_contains("could not find x-platform.yml");
    let output = check(t, ["--format", "json"]).failure(2);
    assert_follows(t, "check", &output.stdout);
    output.stdout_contains("`xp init` generates one");
}
