//! What local builds can do, in the Jobs of a fleet.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::fleet::FleetPlatform;
use super::small;
use crate::case::Case;
use crate::context::Context;
use crate::process::succeed;
use crate::wait::wait_until;
use crate::world::{PASSWORD, USER};

pub const CASES: &[Case] = cases![
    results_of_phases_are_restored_in_jobs,
    sidecars_plugins_and_verifications_run_in_jobs,
    a_timeout_ends_a_unit,
    the_first_failure_removes_the_other_jobs,
    a_train_is_built_in_jobs,
    shards_are_built_in_jobs,
    a_forced_build_gets_its_own_job,
    locked_images_need_no_jobs,
    logins_of_remotes_reach_jobs,
    a_pinned_commit_is_fetched_with_a_login,
    replaced_urls_of_remotes_reach_jobs,
    local_mirrors_are_not_used_by_jobs,
];

/// Returns the service `base` with these lines.
fn base(t: &Context, platform: &FleetPlatform<'_>, more: &str) -> String {
    let builder = format!(
        "    dockerBuilder: {{image: {}}}\n{more}",
        t.engine().busybox()
    );
    small::service(t, "base", &platform.base.url_http(), "", &builder)
}

fn results_of_phases_are_restored_in_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let dockerfile = format!("FROM {}\nCOPY . /src\n", t.engine().busybox());
    platform.base.commit(
        &[
            ("Dockerfile", &dockerfile),
            ("input", "one\n"),
            ("other", "1\n"),
        ],
        "Start",
    );
    let phases = "    scripts:
      build:
        run: ['mkdir out', 'cat input /proc/sys/kernel/random/uuid > out/made']
        inputs: [input]
        outputs: [out]
      test:
        run: ['grep -q one out/made']
        inputs: [input]
";
    // The result of a phase belongs to an image that the registry has.
    let builder = t.builder("sh", &format!("FROM {}\n", t.engine().busybox()), &[]);
    let keys = format!("    dockerBuilder: {{image: {builder}, network: none}}\n{phases}");
    platform.set_services(&small::service(
        t,
        "base",
        &platform.base.url_http(),
        "",
        &keys,
    ));
    let made = || {
        let image = platform.image("base");
        t.engine().run(&image, ["cat", "/src/out/made"])
    };
    t.xp(["build", "--fleet", "ci"]).success();
    let first = made();
    assert!(first.starts_with("one\n"), "{first}");
    // Nothing that the phases read.
    platform.base.commit(&[("other", "2\n")], "Other");
    // A runner without anything that earlier runs left.
    let runner = t.folder().join("runner");
    succeed(Command::new("cp").arg("-a").arg(t.dir()).arg(&runner));
    _ = fs::remove_dir_all(runner.join(".xp"));
    let plan = t.xp(["plan", "--fleet", "ci"]).dir(&runner).success();
    assert!(plan.stdout.contains(" result in the registry"), "{plan}");
    let build = t.xp(["build", "--fleet", "ci"]).dir(&runner).success();
    let build = build.stdout_contains("2 phases restored, which saved ");
    assert!(build.row("base").contains("built"), "{build}");
    assert_eq!(made(), first);
    assert_eq!(platform.jobs().len(), 3);
    t.xp(["build", "--fleet", "ci", "--force", "--no-restore"])
        .dir(&runner)
        .success();
    assert_ne!(made(), first);
}

fn sidecars_plugins_and_verifications_run_in_jobs(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let platform = FleetPlatform::new(t);
    let busybox = t.engine().busybox();
    let dockerfile = format!(
        "FROM {busybox}\nCOPY made /w/index.html\n\
         CMD [\"sh\", \"-c\", \"echo serving for $WHO; exec httpd -f -p 80 -h /w\"]\n"
    );
    platform
        .base
        .commit(&[("Dockerfile", &dockerfile)], "Serve");
    let plugin = t.builder(
        "plug",
        &format!(
            "FROM {busybox}\nCOPY plugin /plugin\nENTRYPOINT [\"/bin/sh\", \"-eu\", \"/plugin\"]\n"
        ),
        &[(
            "plugin",
            "echo \"$XP_WITH_TEXT\" > made; cat /run/secrets/token; wc -c < /run/secrets/token >> made\n",
        )],
    );
    let keys = format!(
        "    scripts:
      build:
        - plugin: {plugin}
          with: {{ text: of the plugin }}
          secrets: {{ token: {{ env: TOKEN }} }}
      test:
        - wget -q -O - http://web:8080/ | grep hello
      verify:
        - wget -q -O - http://base/ | grep 'of the plugin'
    sidecars:
      web:
        image: {busybox}
        command: [sh, -c, 'mkdir /w; echo hello > /w/index.html; echo serving >&2; exec httpd -f -p 8080 -h /w']
        ready: wget -q -O /dev/null http://web:8080/
        phases: [test]
    verify:
      ready: wget -q -O /dev/null http://localhost/
      env: {{ WHO: tests }}
"
    );
    platform.set_services(&base(t, &platform, &keys));
    let canary = "canary-of-the-plugin";
    let build = t
        .xp(["build", "--fleet", "ci"])
        .env("TOKEN", canary)
        .success();
    assert!(build.row("base").contains("built"), "{build}");
    let build = build.does_not_contain(canary);
    let made = t
        .engine()
        .run(&platform.image("base"), ["cat", "/w/index.html"]);
    assert_eq!(made, format!("of the plugin\n{}", canary.len()), "{build}");
    for (phase, text) in [
        ("sidecar-web", "serving\n"),
        ("sidecar-base", "serving for tests\n"),
        ("verify", "of the plugin"),
        ("build", "***"),
    ] {
        let logs = t.xp(["logs", "base", "--phase", phase]).success();
        assert!(logs.stdout.contains(text), "{phase}: {logs}");
    }
    t.assert_secret_is_nowhere(canary);
    // The image of the plugin has a Job of its own.
    assert_eq!(platform.jobs().len(), 2);
}

fn a_timeout_ends_a_unit(t: &Context) {
    let platform = FleetPlatform::new(t);
    let keys = "    timeout: 2s\n    scripts: {build: ['echo begun; sleep 1000']}\n";
    platform.set_services(&base(t, &platform, keys));
    t.xp(["build", "--fleet", "ci"])
        .failure(1)
        .stderr_contains("error: base: build: timed out after 2s (the service's `timeout`)")
        .stderr_contains("hint: raise `timeout` if it needs more time");
    let jobs = platform.jobs();
    // The Job's own deadline only ends a worker that hangs.
    let deadline = jobs[0]["spec"]["activeDeadlineSeconds"].as_u64();
    assert!(deadline.is_some_and(|it| it > 600), "{jobs:?}");
    wait_until("the containers of the unit are removed", || {
        t.containers().is_empty()
    });
}

fn the_first_failure_removes_the_other_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let scripts = |script: &str| {
        format!(
            "    dockerBuilder: {{image: {}, network: none}}\n    scripts: {{build: ['{script}']}}\n",
            t.engine().busybox()
        )
    };
    platform.set_services(&format!(
        "{}{}",
        small::service(
            t,
            "base",
            &platform.base.url_http(),
            "",
            &scripts("sleep 5; exit 5")
        ),
        small::service(
            t,
            "top",
            &platform.top.url_http(),
            "",
            &scripts("echo begun; sleep 1000")
        ),
    ));
    let start = Instant::now();
    let build = t
        .xp(["build", "--fleet", "ci", "--fail-fast", "--verbose"])
        .failure(1);
    assert!(start.elapsed() < Duration::from_secs(60), "{build}");
    assert!(build.row("base").contains(" FAILED "), "{build}");
    assert!(build.row("top").contains(" stopped "), "{build}");
    // The one of the failed unit ends by itself.
    let left = |job: &Value| job["metadata"]["annotations"]["x-platform.run/unit"].clone();
    let left: Vec<Value> = platform.jobs().iter().map(left).collect();
    assert_eq!(left, ["base"]);
    wait_until("the containers of both units are removed", || {
        t.containers().is_empty()
    });
}

fn a_train_is_built_in_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.base.branch("TASK-981");
    let topic = platform.base.commit(&[("more", "topic")], "Topic");
    platform.base.switch("master");
    let build = t
        .xp(["build", "--fleet", "ci", "--branch", "TASK-981"])
        .success();
    let build = build.stdout_contains("On TASK-981: 1 of 2 services.");
    let mut tags = platform.registry.tags(&t.image("base"));
    tags.retain(|tag| !tag.starts_with(&format!("{topic}-")));
    tags.sort();
    assert!(tags.contains(&topic), "{tags:?}: {build}");
    assert!(tags.contains(&"TASK-981".to_owned()), "{tags:?}");
    assert!(!tags.contains(&"master".to_owned()), "{tags:?}");
    let variant = format!("{}-TASK-981", platform.top.head());
    let tags = platform.registry.tags(&t.image("top"));
    assert!(tags.contains(&variant), "{tags:?}");
    let image = format!("{}/{}:{variant}", platform.registry.host(), t.image("top"));
    assert_eq!(t.engine().run(&image, ["cat", "/made"]), "text");
    // Regular images are other ones.
    t.xp(["build", "--fleet", "ci"]).success();
    assert_eq!(platform.jobs().len(), 4);
}

fn shards_are_built_in_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let there = t.folder().join("there");
    succeed(Command::new("cp").arg("-a").arg(t.dir()).arg(&there));
    let first = t.xp(["build", "--fleet", "ci", "--shard", "1/2"]).spawn();
    let second = t
        .xp(["build", "--fleet", "ci", "--shard", "2/2"])
        .dir(&there)
        .success();
    let first = first.wait();
    assert!(first.status.success(), "{first}");
    let rows = |service: &str| {
        let all = first.stdout.lines().chain(second.stdout.lines());
        let of_service = all.filter(|line| line.starts_with(service) && line.contains(" built "));
        of_service.count()
    };
    assert_eq!(rows("base"), 1, "{first}{second}");
    assert_eq!(rows("top"), 1, "{first}{second}");
    assert_eq!(platform.jobs().len(), 2);
    t.xp(["plan", "--fleet", "ci"])
        .success()
        .stdout_contains("Nothing to do");
}

fn a_forced_build_gets_its_own_job(t: &Context) {
    let platform = FleetPlatform::new(t);
    platform.set_script("cat /proc/sys/kernel/random/uuid > made");
    let made = || t.engine().run(&platform.image("base"), ["cat", "/made"]);
    t.xp(["build", "base", "--fleet", "ci"]).success();
    let first = made();
    let forced = t
        .xp(["build", "base", "--fleet", "ci", "--force"])
        .success();
    assert!(forced.row("base").contains("built"), "{forced}");
    assert_ne!(made(), first);
    assert_eq!(platform.jobs().len(), 2);
}

fn locked_images_need_no_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    t.xp(["build", "--fleet", "ci"]).success();
    t.xp(["lock"]).success();
    let digest = |tag: &str| {
        let digest = platform.registry.manifest_digest(&t.image("base"), tag);
        digest.unwrap_or_else(|| panic!("the registry has no {tag}"))
    };
    let locked = platform.base.head();
    platform.base.commit(&[("more", "new")], "Later");
    let tagged = ["--locked", "--tag", "release-1"];
    t.xp(["build", "--fleet", "ci"])
        .args(tagged)
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .success();
    assert_eq!(digest("release-1"), digest(&locked));
    assert_eq!(platform.jobs().len(), 2);
    t.xp(["build", "--fleet", "ci", "--tag", "release-2"])
        .success();
    assert_ne!(digest("release-2"), digest(&locked));
    assert_eq!(platform.jobs().len(), 4);
}

fn logins_of_remotes_reach_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let more = format!(
        "    dockerBuilder: {{image: {}, network: none}}\n    scripts: {{build: ['echo text > made; sleep 2']}}\n",
        t.engine().busybox()
    );
    let url = platform.base.url_http_auth();
    platform.set_services(&small::service(t, "base", &url, "", &more));
    let netrc = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
    fs::write(t.home().join(".netrc"), netrc).expect("a file of the home folder");
    let mut running = t.xp(["build", "--fleet", "ci", "--verbose"]).spawn();
    running.wait_for_output("running in the pod");
    let secrets = platform.namespace.objects("secrets");
    assert_eq!(secrets.len(), 1);
    let logins = &secrets[0]["data"]["git-credentials"];
    assert!(logins.is_string(), "{secrets:?}");
    let build = running.wait();
    assert!(build.status.success(), "{build}");
    let build = build.does_not_contain(PASSWORD);
    assert!(build.row("base").contains("built"), "{build}");
    assert!(platform.namespace.objects("secrets").is_empty());
    // The password alone is a common word.
    let login = format!("{USER}:{PASSWORD}");
    let encoded = BASE64_STANDARD.encode(&login);
    for kind in ["jobs", "pods", "events"] {
        for object in platform.namespace.objects(kind) {
            let text = object.to_string();
            assert!(!text.contains(&login) && !text.contains(&encoded), "{text}");
        }
    }
    t.assert_secret_is_nowhere(PASSWORD);
    // Without the login, the worker says what is missing.
    platform.base.commit(&[("more", "new")], "Later");
    platform.write_template("      env: [{name: GIT_CONFIG_COUNT, value: '0'}]\n");
    t.xp(["build", "--fleet", "ci"])
        .failure(3)
        .stderr_contains("the server requires a user and a password for http://127.0.0.1:");
}

fn a_pinned_commit_is_fetched_with_a_login(t: &Context) {
    let platform = FleetPlatform::new(t);
    let url = platform.base.url_http_auth();
    platform.set_services(&small::service(t, "base", &url, "", ""));
    let files = [("Dockerfile", small::DOCKERFILE), ("content", "x")];
    platform.base.commit(&files, "Without scripts");
    // The remote is not contacted for the plan.
    let manifest = t.read("x-platform.yml");
    t.manifest(&manifest.replace("origin/master", &platform.base.head()));
    let netrc = format!("machine 127.0.0.1 login {USER} password {PASSWORD}\n");
    fs::write(t.home().join(".netrc"), netrc).expect("a file of the home folder");
    let build = t.xp(["build", "--fleet", "ci"]).success();
    assert!(build.row("base").contains("built"), "{build}");
    build.does_not_contain(PASSWORD);
}

fn replaced_urls_of_remotes_reach_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let url = platform.base.url_http_auth();
    let (folder, name) = url.rsplit_once('/').expect("a path");
    let manifest_url = format!("git@git.example.com:team/{name}");
    let more = format!(
        "    dockerBuilder: {{image: {}, network: none}}\n    scripts: {{build: ['grep url .git/config > made; sleep 2']}}\n",
        t.engine().busybox()
    );
    platform.set_services(&small::service(t, "base", &manifest_url, "", &more));
    // As in CI: a login for all remotes of a server, in the environment.
    let with_login = folder.replace("://", &format!("://{USER}:{PASSWORD}@"));
    let xp = |arguments: &[&str]| {
        let key = format!("url.{with_login}/.insteadOf");
        let command = t
            .xp(["build", "--fleet", "ci"])
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", key)
            .env("GIT_CONFIG_VALUE_0", "git@git.example.com:team/");
        arguments
            .iter()
            .fold(command, |command, it| command.arg(*it))
    };
    let mut running = xp(&["--verbose"]).spawn();
    running.wait_for_output("running in the pod");
    let others = [platform.jobs(), platform.namespace.objects("pods")].concat();
    let build = running.wait();
    assert!(build.status.success(), "{build}");
    let build = build.does_not_contain(PASSWORD);
    assert!(build.row("base").contains("built"), "{build}");
    // What the builder and the image see is the URL of the manifest.
    let made = t.engine().run(&platform.image("base"), ["cat", "/made"]);
    assert!(made.contains(&manifest_url), "{made}");
    let login = format!("{USER}:{PASSWORD}");
    let events = platform.namespace.objects("events");
    for object in others.iter().chain(&events) {
        assert!(!object.to_string().contains(&login), "{object}");
    }
    assert!(platform.namespace.objects("secrets").is_empty());
    t.assert_secret_is_nowhere(PASSWORD);
    xp(&[]).success().stdout_contains("Nothing to do");
    // Without the rule, the recipe is the same.
    let services = small::service(t, "base", &manifest_url, "", &more);
    platform.set_services(&services.replace("origin/master", &platform.base.head()));
    t.xp(["plan", "--fleet", "ci"])
        .success()
        .stdout_contains("Nothing to do");
}

fn local_mirrors_are_not_used_by_jobs(t: &Context) {
    let platform = FleetPlatform::new(t);
    let url = platform.base.url_http();
    let mirror = platform.base.url_file();
    let key = format!("url.{mirror}.insteadOf");
    t.git("", &["config", "--global", &key, &url]);
    platform.set_services(&small::service(t, "base", &url, "", ""));
    platform.base.commit(
        &[("Dockerfile", small::DOCKERFILE), ("content", "x")],
        "Mirrored",
    );
    t.xp(["build", "--fleet", "ci"]).success();
    // Another machine has no such folder, and a rule can replace it.
    t.git("", &["config", "--global", "--unset", &key]);
    let key = format!("url.{url}.insteadOf");
    t.git("", &["config", "--global", &key, &mirror]);
    platform.set_services(&small::service(t, "base", &mirror, "", ""));
    platform.base.commit(&[("content", "y")], "Later");
    t.xp(["build", "--fleet", "ci"]).success();
}
