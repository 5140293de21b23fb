//! Scripts that fail, hang, or print too much.

use crate::app::App;
use crate::case::Case;
use crate::context::Context;

pub const CASES: &[Case] = cases![
    failure_names_what_failed_and_where,
    a_script_of_several_lines_stops_at_the_first_failure,
    exit_codes_are_explained,
    phases_run_in_order_and_tests_can_be_skipped,
    a_lot_of_output_uses_little_memory,
    unusual_output_is_cleaned_and_logged_unchanged,
    script_has_no_input,
    timeout_ends_a_script_and_an_image_build,
];

/// The memory limit of `xp`, however much data passes through it.
const MEMORY_LIMIT: u64 = 100_000_000;

fn failure_names_what_failed_and_where(t: &Context) {
    let keys = format!(
        "dockerBuilder: {{ image: {}, network: none }}\n\
         scripts:\n  prepare:\n    - echo prepared\n  build:\n    - echo fine\n    \
         - 'seq 1000; echo to stderr >&2; exit 3'\n    - echo never",
        t.engine().busybox()
    );
    let app = App::new(t, &[], &keys);
    let output = app.build().failure(1);
    let error = output.stderr.split("\nerror: ").nth(1).expect("an error");
    let lines: Vec<&str> = error.lines().collect();
    let script = "`seq 1000; echo to stderr >&2; exit 3`";
    let manifest = t.read("x-platform.yml");
    let line = 1 + manifest
        .lines()
        .position(|line| line.contains("seq 1000"))
        .expect("a line");
    assert_eq!(
        lines[0],
        format!("app: build: {script} exited with 3 (x-platform.yml:{line})")
    );
    assert_eq!(lines[1], "  last lines of its log:");
    assert!(
        lines.contains(&"    1000") && lines.contains(&"    to stderr"),
        "{error}"
    );
    assert!(!lines.contains(&"    900"), "{error}");
    let log = t.dir().join(".xp/logs/1/app/build.log");
    assert!(
        lines.contains(&format!("  full log: {}", log.display()).as_str()),
        "{error}"
    );

    let log = String::from_utf8(app.log(1, "build")).expect("text");
    assert!(log.starts_with("$ echo fine\nfine\n$ seq 1000;"), "{log}");
    assert!(
        log.contains("\n1\n2\n3\n") && log.contains("\n999\n1000\n"),
        "{log}"
    );
    assert!(!log.contains("never"));
    assert_eq!(app.log(1, "prepare"), b"$ echo prepared\nprepared\n");
    let mut rows = output.stdout.lines();
    let row = rows.find(|row| row.starts_with("app ")).expect("a row");
    assert!(row.contains(" FAILED "), "{row}");
    assert!(!app.is_built());
}

fn a_script_of_several_lines_stops_at_the_first_failure(t: &Context) {
    let script =
        "name=value\nif [ $name = value ]; then\n  echo \"it is ${name}\"\nfi\nfalse\necho never";
    let app = App::with_scripts(t, "", &[script]);
    let output = app.build().failure(1);
    let output =
        output.stderr_contains("app: build: `name=value …` exited with 1 (x-platform.yml:");
    assert!(output.stderr.contains("app | it is value\n"), "{output}");
    assert!(!output.stderr.contains("app | never\n"), "{output}");
}

fn exit_codes_are_explained(t: &Context) {
    let app = App::with_scripts(t, "", &["no-such-command --now"]);
    let output = app.build().failure(1).stderr_contains("exited with 127");
    output.stderr_contains("hint: 127: command not found in the builder image");
    app.set_scripts("", &["./Dockerfile"]);
    app.build()
        .failure(1)
        .stderr_contains("exited with 126")
        .stderr_contains("hint: 126: ");
    // In a line with several commands, the first failing one counts.
    app.set_scripts("", &["false; true"]);
    app.build().failure(1).stderr_contains("exited with 1 ");
    app.set_scripts("", &["kill -9 $$"]);
    app.build()
        .failure(1)
        .stderr_contains("exited with 137")
        .stderr_contains("hint: 137: ");
}

fn phases_run_in_order_and_tests_can_be_skipped(t: &Context) {
    let keys = format!(
        "dockerBuilder: {{ image: {}, network: none }}\n\
         scripts:\n  test: [ \"echo test >> order\" ]\n  build: [ \"echo build >> order\" ]\n  \
         prepare: [ \"echo prepare >> order\" ]",
        t.engine().busybox()
    );
    let app = App::new(t, &[], &keys);
    app.build().success();
    assert_eq!(app.read("order"), "prepare\nbuild\ntest\n");
    app.build().args(["--force", "--no-test"]).success();
    assert_eq!(app.read("order"), "prepare\nbuild\n");
    let order = t.engine().run(&app.image_of_head(), ["cat", "/src/order"]);
    assert_eq!(order, "prepare\nbuild");
}

fn a_lot_of_output_uses_little_memory(t: &Context) {
    let lines = [
        "yes | head -c 20000000",
        "yes 0123456789012345678901234567890123456789 | head -c 80000000; echo; echo the end; exit 1",
    ];
    let app = App::with_scripts(t, "", &lines);
    let output = app.build().arg("--quiet").failure(1);
    assert!(
        output.peak_memory < MEMORY_LIMIT,
        "{} bytes",
        output.peak_memory
    );
    let output = output.stderr_contains("    the end\n");
    assert!(
        output.stderr.len() < 100_000,
        "{} bytes",
        output.stderr.len()
    );
    let log = app.log(1, "build");
    assert!(log.len() > 100_000_000, "{} bytes", log.len());
    assert!(log.ends_with(b"the end\n"));
}

fn unusual_output_is_cleaned_and_logged_unchanged(t: &Context) {
    let lines = [
        r"printf 'bad: \377\376 ok\n'",
        r"printf '\033[31mred\033[0m \033]0;title\007 10%%\r100%%\r\n'",
        "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo after",
        "printf 'no line end'",
        "printf 'no line end either'; exit 1",
    ];
    let app = App::with_scripts(t, "", &lines);
    let output = app.build().failure(1);
    for shown in [
        "app | bad: \u{fffd}\u{fffd} ok\n",
        "app | 100%\n",
        "app | after\n",
    ] {
        assert!(output.stderr.contains(shown), "{shown}: {output}");
    }
    assert!(output.stderr.contains("app | no line end\n"), "{output}");
    assert!(
        output.stderr.contains("    no line end either\n"),
        "{output}"
    );
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
    let longest = output.stderr.lines().map(str::len).max();
    assert!(longest < Some(5000), "a line of {longest:?} bytes");
    let log = app.log(1, "build");
    let holds = |bytes: &[u8]| log.windows(bytes.len()).any(|found| found == bytes);
    assert!(holds(b"bad: \xff\xfe ok\n") && holds(b"\x1b[31mred\x1b[0m") && holds(b"no line end"));
    assert!(holds(&[b'x'; 1_000_000]));
}

fn script_has_no_input(t: &Context) {
    let app = App::with_scripts(t, "", &["cat > input; read line || echo nothing to read"]);
    let output = app.build().stdin("typed by the user\n").success();
    output.stderr_contains("app | nothing to read");
    assert_eq!(app.read("input"), "");
}

fn timeout_ends_a_script_and_an_image_build(t: &Context) {
    let busybox = t.engine().busybox();
    let scripts = format!(
        "timeout: 2s\ndockerBuilder: {{ image: {busybox}, network: none }}\n\
         scripts: {{ build: [ \"echo begun; sleep 1000\" ] }}"
    );
    let app = App::new(t, &[], &scripts);
    let output = app.build().failure(1);
    output
        .stderr_contains("error: app: build: timed out after 2s (the service's `timeout`)")
        .stderr_contains("hint: raise `timeout` if it needs more time");
    assert!(t.containers().is_empty());

    let dockerfile = format!("FROM {busybox}\nRUN echo begun; sleep 1001\n");
    app.repository
        .commit(&[("Dockerfile", &dockerfile)], "Hang");
    app.set_keys("timeout: 2s");
    let output = app.build().failure(1);
    output.stderr_contains("error: app: image: timed out after 2s (the service's `timeout`)");
    assert!(!app.is_built());
}
