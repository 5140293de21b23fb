//! Plugins: images that perform a step by their own entrypoint.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::builder::{as_unknown_user, assert_owned_by};
use super::remote::{assert_nothing_left, far};
use super::reproduce::{command, repeat};
use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    a_plugin_gets_settings_variables_and_secrets,
    printed_secrets_are_redacted,
    a_plugin_verifies_the_new_image,
    a_plugin_needs_no_shell,
    a_service_with_only_plugins_is_built_and_skipped,
    exit_codes_distinguish_failures_from_outages,
    an_image_without_an_entrypoint_is_reported,
    a_failed_plugin_can_be_reproduced,
    a_plugin_ends_with_its_timeout_an_interrupt_and_a_kill,
    files_of_a_plugin_belong_to_the_caller,
    a_plugin_runs_on_a_working_copy,
    a_plugin_runs_on_a_remote_engine,
    a_missing_secret_is_reported_before_anything_runs,
    the_documented_plugin_works,
    settings_are_validated_by_the_label_of_an_image,
    a_label_that_only_the_image_has_is_checked_before_it_runs,
];

/// Creates a plugin with this shell script as its entrypoint.
fn plugin(t: &Context, name: &str, script: &str) -> String {
    plugin_from(t, t.engine().busybox(), name, script)
}

fn plugin_from(t: &Context, base: &str, name: &str, script: &str) -> String {
    let dockerfile = format!(
        "FROM {base}\nCOPY plugin /plugin\nENTRYPOINT [\"/bin/sh\", \"-eu\", \"/plugin\"]\n"
    );
    t.builder(name, &dockerfile, &[("plugin", script)])
}

fn keys(plugin: &str, settings: &str) -> String {
    format!("scripts:\n  build:\n    - plugin: {plugin}\n{settings}")
}

fn a_plugin_gets_settings_variables_and_secrets(t: &Context) {
    let script = "cp /config/config.json config.json
env | grep -E '^(XP|CI|N|SOURCE)' | sort > env
cat /run/secrets/token /run/secrets/file > secrets
pwd > place; id -u >> place; touch \"$HOME/x\"
echo printed; echo to stderr >&2
";
    let plugin = plugin(t, "plug", script);
    t.write("key", "of a file\n");
    let settings = "      with:\n        url: http://x/?a=$b&c='d'\n        max-size: 1.10\n        list: [a, {b: true}]\n      secrets: { token: { env: TOKEN }, file: { file: key } }\n";
    let builder = "dockerBuilder: { workdir: /go/src/app, network: none, env: { N: \"1\" } }";
    let app = App::new(t, &[], &format!("{builder}\n{}", keys(&plugin, settings)));
    let output = app.build().env("TOKEN", "s3cret\n").success();
    assert_eq!(
        app.read("config.json"),
        r#"{"url":"http://x/?a=$b&c='d'","max-size":1.10,"list":["a",{"b":true}]}"#
    );
    let env = app.read("env");
    for line in [
        "CI=true",
        "N=1",
        "XP_SERVICE=app",
        "XP_WITH_LIST=[\"a\",{\"b\":true}]",
        "XP_WITH_MAX_SIZE=1.10",
        "XP_WITH_URL=http://x/?a=$b&c='d'",
        &format!("XP_COMMIT={}", app.repository.head()),
        &format!("XP_IMAGE={}", app.image_of_head()),
    ] {
        assert!(env.lines().any(|it| it == line), "{line}: {env}");
    }
    assert!(
        env.contains("XP_BRANCH=") && env.contains("SOURCE_DATE_EPOCH="),
        "{env}"
    );
    assert_eq!(app.read("secrets"), "s3cret\nof a file\n");
    assert_eq!(app.read("place"), "/go/src/app\n0\n");
    assert!(output.stderr.contains("app | printed\n"), "{output}");
    assert!(output.stderr.contains("app | to stderr\n"), "{output}");
    let log = String::from_utf8(app.log(1, "build")).expect("text");
    assert!(log.starts_with("$ plugin "), "{log}");
    let names = " (url, max-size, list, secret file, secret token)\n";
    assert!(log.contains(names), "{log}");
    assert!(log.contains("printed\n"), "{log}");
    assert!(t.containers().is_empty());
}

fn printed_secrets_are_redacted(t: &Context) {
    // Neither the secret nor the letter arrives in one piece.
    let script = "printf 'begin s3cr'; sleep 0.5; printf 'et-value end\\n'
printf 'caf\\303'; sleep 0.5; printf '\\251\\n'
cat /run/secrets/file; printf 's3cret-va'; exit 7\n";
    let plugin = plugin(t, "plug", script);
    t.write("key", "first line\nsecond line\n");
    let settings = "      secrets: { token: { env: TOKEN }, file: { file: key } }\n";
    let app = App::new(t, &[], &keys(&plugin, settings));
    let output = app.build().env("TOKEN", "s3cret-value").failure(1);
    output.stderr_contains("app | begin *** end\n");
    let log = String::from_utf8(app.log(1, "build")).expect("text");
    assert!(
        log.contains("begin *** end\ncaf\u{e9}\n***\ns3cret-va"),
        "{log}"
    );
    t.assert_secret_is_nowhere("s3cret-value");
}

fn a_plugin_verifies_the_new_image(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let busybox = t.engine().busybox();
    let plugin = plugin(t, "page", "wget -q -O - \"$XP_WITH_URL\" | grep hello\n");
    let dockerfile = format!(
        "FROM {busybox}\nCOPY . /w\nCMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/w\"]\n"
    );
    let files = [
        ("Dockerfile", dockerfile.as_str()),
        ("index.html", "hello\n"),
    ];
    let verify = |path: &str| {
        format!(
            "scripts:\n  verify:\n    - plugin: {plugin}\n      with: {{ url: \"http://app/{path}\" }}\n\
             verify: {{ ready: \"wget -q -O /dev/null http://localhost/\" }}\n"
        )
    };
    let app = App::new(t, &files, &verify("index.html"));
    app.build().success();
    assert!(app.is_built());
    app.set_keys(&verify("nonesuch"));
    let failed = app.build().failure(1);
    failed.stderr_contains("404 Not Found");
}

fn a_plugin_needs_no_shell(t: &Context) {
    let dockerfile = format!(
        "FROM {} AS base\nFROM scratch\nCOPY --from=base /bin/busybox /bin/busybox\n\
         ENTRYPOINT [\"/bin/busybox\", \"touch\", \"made\"]\n",
        t.engine().busybox()
    );
    let plugin = t.builder("bare", &dockerfile, &[]);
    let app = App::new(t, &[], &keys(&plugin, ""));
    as_unknown_user(t, &app, ["build"]).success();
    assert_eq!(app.read("made"), "");
    assert_owned_by(&app.export(""), 12345);
}

fn a_service_with_only_plugins_is_built_and_skipped(t: &Context) {
    let plugin = plugin(t, "plug", "echo $XP_WITH_TEXT > made\n");
    let settings = |text: &str| keys(&plugin, &format!("      with: {{ text: {text} }}\n"));
    let app = App::new(t, &[], &settings("one"));
    app.build().success();
    assert_eq!(app.read("made"), "one\n");
    assert_eq!(
        t.engine().run(&app.image_of_head(), ["cat", "/src/made"]),
        "one"
    );
    app.build().success().stdout_contains("skip");
    app.set_keys(&settings("two"));
    let why = t.xp(["why", "app"]).success().stdout;
    assert!(
        why.contains("build: scripts.build[0].with.text changed"),
        "{why}"
    );
    app.build().success();
    assert_eq!(app.read("made"), "two\n");
    // Plugin and image are the same for tests that are skipped.
    t.write(&format!("{plugin}/plugin"), "echo other > made\n");
    let why = t.xp(["why", "app"]).success().stdout;
    assert!(
        why.contains("build: scripts.build[0].plugin changed"),
        "{why}"
    );
}

fn exit_codes_distinguish_failures_from_outages(t: &Context) {
    let plugin = plugin(t, "plug", "echo about to end; exit $XP_WITH_CODE\n");
    let settings = |code: u8| keys(&plugin, &format!("      with: {{ code: {code} }}\n"));
    let app = App::new(t, &[], &settings(2));
    let line = 1 + t
        .read("x-platform.yml")
        .lines()
        .position(|line| line.contains("plugin:"))
        .expect("a line");
    let output = app.build().failure(1).stderr_contains(&format!(
        "app: build: the plugin {plugin} exited with 2 (x-platform.yml:{line})"
    ));
    output.stderr_contains("    about to end\n");
    assert!(!app.is_built());
    app.set_keys(&settings(3));
    let output = app.build().failure(3);
    let output = output.stderr_contains(&format!("the plugin {plugin} exited with 3"));
    output.stderr_contains("hint: 3: something outside did not respond or refused");
    let record = t.xp(["report", "--format", "json"]).run();
    assert!(!record.stdout.contains("\"outside\":false"), "{record}");
    app.set_keys(&settings(0));
    app.build().success();
}

fn an_image_without_an_entrypoint_is_reported(t: &Context) {
    let image = t.engine().busybox();
    let app = App::new(t, &[], &keys(image, ""));
    let output = app.build().failure(1);
    let output = output.stderr_contains(&format!("the image {image} has no entrypoint"));
    output.stderr_contains("hint: add an ENTRYPOINT to its Dockerfile");
    let dockerfile = format!("FROM {image}\nENTRYPOINT [\"/nonesuch\"]\n");
    let plugin = t.builder("broken", &dockerfile, &[]);
    app.set_keys(&keys(&plugin, ""));
    let output = app.build().failure(1);
    output.stderr_contains("/nonesuch");
    assert!(t.containers().is_empty());
}

fn a_failed_plugin_can_be_reproduced(t: &Context) {
    let script = "cat /config/config.json /run/secrets/file; wc -c < /run/secrets/token; echo $XP_WITH_TEXT; ls; exit 7\n";
    let plugin = plugin(t, "plug", script);
    t.write("key", "of a file\n");
    let settings = "      with: { text: \"it's\" }\n      secrets: { token: { env: TOKEN }, file: { file: key } }\n";
    let app = App::new(t, &[], &keys(&plugin, settings));
    let output = app.build().arg("-v").env("TOKEN", "s3cret").failure(1);
    let command = command(&output);
    let again = repeat(t, &command).env("TOKEN", "s3cret").failure(7);
    assert_eq!(
        again.stdout,
        "{\"text\":\"it's\"}of a file\n6\nit's\nDockerfile\n"
    );
    let output = t
        .xp(["shell", "--failed", "app"])
        .env("TOKEN", "s3cret")
        .stdin("cat /config/config.json /run/secrets/*; ls; exit 5\n")
        .failure(5);
    assert_eq!(
        output.stdout,
        "{\"text\":\"it's\"}of a file\ns3cretDockerfile\n"
    );
    output.stderr_contains("to repeat it outside of this shell:\n  ");
    t.assert_secret_is_nowhere("s3cret");
}

fn a_plugin_ends_with_its_timeout_an_interrupt_and_a_kill(t: &Context) {
    let plugin = plugin(t, "plug", "echo begun; sleep 1000\n");
    let app = App::new(t, &[], &format!("timeout: 2s\n{}", keys(&plugin, "")));
    app.build()
        .failure(1)
        .stderr_contains("timed out after 2s (the service's `timeout`)");
    assert!(t.containers().is_empty());
    app.set_keys(&keys(&plugin, ""));
    let mut running = app.build().spawn();
    running.wait_for_output("app | begun");
    running.kill();
    // Podman does not remove a container that shares the namespace of another one; the next run does.
    let remains = t.engine().product().is_podman();
    wait_until("the plugin ended with xp", || {
        let containers = t.containers();
        let is_running = |it: &serde_json::Value| it["State"] == "running";
        containers.is_empty() || (remains && !containers.iter().any(is_running))
    });
    let started = Instant::now();
    let mut running = app.build().spawn();
    running.wait_for_output("app | begun");
    running.signal(Signal::INT);
    assert_eq!(running.wait().status.code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(t.containers().is_empty());
}

fn files_of_a_plugin_belong_to_the_caller(t: &Context) {
    let plugin = plugin(t, "plug", "mkdir -p a/b; id -u > a/b/user\n");
    let keys = |user: &str| {
        let image = t.engine().busybox();
        format!(
            "dockerBuilder: {{ image: {image}, user: {user} }}\n{}",
            keys(&plugin, "")
        )
    };
    let app = App::new(t, &[], &keys("root"));
    for (user, id) in [("root", "0\n"), ("\"4321:4321\"", "4321\n")] {
        app.set_keys(&keys(user));
        as_unknown_user(t, &app, ["build", "--force"]).success();
        assert_eq!(app.read("a/b/user"), id);
        assert_owned_by(&app.export(""), 12345);
    }
}

fn a_plugin_runs_on_a_working_copy(t: &Context) {
    let plugin = plugin(
        t,
        "plug",
        "echo by the plugin > made; ls .git > git; echo x > web/cache/x\n",
    );
    let builder = "dockerBuilder: { cache: [ /workspace/web/cache ] }";
    let app = App::new(t, &[], &format!("{builder}\n{}", keys(&plugin, "")));
    t.xp(["sync"]).success();
    app.build().arg("--local").success();
    assert_eq!(t.read("src/app/made"), "by the plugin\n");
    assert!(t.read("src/app/git").contains("HEAD"));
    assert!(!t.exists("src/app/web"), "a mount point is left");
}

fn a_plugin_runs_on_a_remote_engine(t: &Context) {
    let base = t.remote_engine().0.busybox().to_owned();
    let script =
        "{ cat /config/config.json; wc -c < /run/secrets/token; cat /etc/extra .git/HEAD; } > made
echo $(($(cat /cache/count 2> /dev/null || echo 0) + 1)) > /cache/count
cat /cache/count >> made; mkdir -p out; echo '<testsuite/>' > out/junit.xml
";
    let plugin = plugin_from(t, &base, "plug", script);
    t.write("extra", "mounted\n");
    let settings = "      with: { a: 1 }\n      secrets: { token: { env: TOKEN } }\n";
    let builder = |image: &str| {
        format!(
            "dockerBuilder: {{ {image} network: none, cache: [ /cache ], mounts: [ \"{}:/etc/extra:ro\" ] }}",
            t.dir().join("extra").display()
        )
    };
    let plugin_keys = format!("{}  reports: [ out/junit.xml ]\n", keys(&plugin, settings));
    let app = App::new(t, &[], &format!("{}\n{plugin_keys}", builder("")));
    let made = |count: usize| {
        let head = app.repository.head();
        format!("{{\"a\":1}}7\nmounted\n{head}\n{count}\n")
    };
    let build = || far(t, app.build()).env("TOKEN", "s3cret\n").arg("--force");
    build().success();
    assert_eq!(app.read("made"), made(1));
    assert!(
        t.exists(".xp/logs/1/app/reports/out/junit.xml") || t.dir().join(".xp/logs/1").exists()
    );
    assert_nothing_left(t);
    // After lines in a builder, it has their files.
    let with_lines = plugin_keys.replace("build:\n", "build:\n    - echo line > line\n");
    let with_lines = with_lines.replace("  reports", "    - cat line >> made\n  reports");
    app.set_keys(&format!(
        "{}\n{with_lines}",
        builder(&format!("image: {base},"))
    ));
    build().success();
    assert_eq!(app.read("made"), made(2) + "line\n");
    assert_nothing_left(t);
    t.assert_secret_is_nowhere("s3cret");
}

fn a_missing_secret_is_reported_before_anything_runs(t: &Context) {
    let plugin = plugin(t, "plug", "true\n");
    let settings = "      secrets: { token: { env: NO_TOKEN }, key: { file: nonesuch } }\n";
    let app = App::new(t, &[], &keys(&plugin, settings));
    let output = app.build().failure(2);
    let output = output.stderr_contains("NO_TOKEN");
    output.stderr_contains("x-platform.yml:");
    let output = app.build().env("NO_TOKEN", "x").failure(2);
    let output =
        output.stderr_contains("the secret `key` of `scripts.build[0].secrets`: cannot read");
    let output = output.stderr_contains("x-platform.yml:8:53\n");
    output.stderr_contains("hint: create the file, or correct `scripts.build[0].secrets`");
    assert!(!t.exists(".xp/build/app"));
}

/// Returns the code blocks of the page about plugins with this language.
fn documented(language: &str) -> Vec<String> {
    let page = include_str!("../../../docs/plugins.md");
    let start = format!("\n```{language}\n");
    let blocks = page.split(&start).skip(1);
    let code = blocks.filter_map(|rest| Some(rest.split_once("\n```\n")?.0.to_owned() + "\n"));
    code.collect()
}

fn the_documented_plugin_works(t: &Context) {
    let [program] = &documented("sh")[..] else {
        panic!("one program is documented")
    };
    assert!(program.lines().count() <= 10, "{program}");
    let [dockerfile] = &documented("dockerfile")[..] else {
        panic!("one Dockerfile is documented")
    };
    let plugin = t.builder("version-file", dockerfile, &[("version-file", program)]);
    let base = format!(
        "builders: {{ args: {{ BASE: {} }} }}\n",
        t.engine().busybox()
    );
    let app = App::new(t, &[], "");
    let with = |settings: &str| {
        app.set_keys(&keys(&plugin, &format!("      with: {settings}\n")));
        t.write(
            "x-platform.yml",
            &(base.clone() + &t.read("x-platform.yml")),
        );
    };
    with("{ file: out/version.json, format: json }");
    app.build()
        .success()
        .stderr_contains("app | wrote out/version.json\n");
    let version: serde_json::Value =
        serde_json::from_str(&app.read("out/version.json")).expect("JSON");
    assert_eq!(version["commit"], app.repository.head().as_str());
    with("{ file: version }");
    app.build().success();
    assert!(app.read("version").starts_with(&app.repository.head()));
    // The page shows this error.
    with("{ file: version.json, format: jsno }");
    for command in ["plan", "check", "build", "why"] {
        let output = t.xp([command]).failure(2);
        let output = output.stderr_contains(
            "error: `scripts.build[0].with.format` must be one of `text`, `json`\n",
        );
        output.stderr_contains("= hint: did you mean `json`?");
    }
}

fn label(schema: &str) -> String {
    format!(r#"{{"version":1,"kind":"step","with":{schema}}}"#)
}

const SCHEMA: &str = r#"{"properties":{"depth":{"type":"integer"}},"additionalProperties":false}"#;

fn settings_are_validated_by_the_label_of_an_image(t: &Context) {
    let image = t.image("plugin") + ":1";
    let registry = t.registry();
    let pushed = format!("{}/plugin:1", t.registry_prefix(registry));
    let dockerfile = format!(
        "FROM {}\nENTRYPOINT [\"/bin/sh\", \"-c\", \"echo $XP_WITH_DEPTH > made\"]\nLABEL x-platform.plugin='{}'\n",
        t.engine().busybox(),
        label(SCHEMA)
    );
    t.write("plugin/Dockerfile", &dockerfile);
    let folder = t.dir().join("plugin").display().to_string();
    for name in [&image, &pushed] {
        let built = t.engine().docker(["build", "-t", name, &folder]);
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
    }
    let app = App::new(t, &[], &keys(&image, "      with: { dept: 2 }\n"));
    let unknown = "error: `scripts.build[0].with.dept` is not a setting of this plugin\n";
    let output = t.xp(["plan"]).failure(2).stderr_contains(unknown);
    output.stderr_contains("= hint: did you mean `depth`?");
    // In a registry only: the label is read from there.
    assert!(t.engine().docker(["push", &pushed]).status.success());
    t.engine().remove_image(&pushed);
    app.set_keys(&keys(&pushed, "      with: { depth: deep }\n"));
    let output = t.xp(["plan"]).failure(2);
    output
        .stderr_contains("error: `scripts.build[0].with.depth` must be an integer, not a string\n");
    assert!(t.engine().image(&pushed).is_none(), "a plan pulls nothing");
    app.set_keys(&keys(&pushed, "      with: { depth: 2 }\n"));
    app.build().success();
    assert_eq!(app.read("made"), "2\n");
    // Nothing to do: nothing is asked.
    app.build().success().stdout_contains("skip");
}

fn a_label_that_only_the_image_has_is_checked_before_it_runs(t: &Context) {
    let base = t.builder(
        "base",
        &format!(
            "FROM {}\nENTRYPOINT [\"/bin/touch\", \"ran\"]\nLABEL x-platform.plugin='{}'\n",
            t.engine().busybox(),
            label(SCHEMA)
        ),
        &[],
    );
    let folder = t.dir().join(&base).display().to_string();
    let image = t.image("base") + ":1";
    assert!(
        t.engine()
            .docker(["build", "-t", &image, &folder])
            .status
            .success()
    );
    let plugin = t.builder("derived", &format!("FROM {image}\n"), &[]);
    let app = App::new(t, &[], &keys(&plugin, "      with: { dept: 2 }\n"));
    t.xp(["plan"]).success();
    let output = app.build().failure(1);
    let output = output.stderr_contains("app: build: `scripts.build[0].with.dept` is not a setting of this plugin (x-platform.yml:7)");
    output.stderr_contains("hint: did you mean `depth`?");
    assert!(!t.exists(".xp/build/app/ran"));
    app.set_keys(&keys(&plugin, "      with: { depth: 2 }\n"));
    app.build().success();
    assert_eq!(app.read("ran"), "");
}
