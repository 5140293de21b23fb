//! `xp logs`.

use std::fs;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::services::Services;

pub const CASES: &[Case] = cases![
    logs_of_the_last_run_are_shown,
    the_last_run_with_a_matching_log_is_used,
    a_run_is_followed_until_it_ends,
    runs_are_listed_with_their_results,
    a_missing_log_is_an_error_with_a_hint,
    control_characters_are_not_sent_to_a_terminal,
    a_forged_record_is_harmless,
];

fn logs_of_the_last_run_are_shown(t: &Context) {
    let services = Services::new(t, &["a", "b"]);
    services.manifest(&[
        ("a", services.scripts("printf 'x\\\\033[31my'")),
        ("b", services.scripts("echo of b")),
    ]);
    t.xp(["build", "--jobs", "1"]).success();
    let all = t.xp(["logs"]).success();
    assert_eq!(all.stderr, "");
    for heading in ["==> a build <==", "==> a image <==", "==> b build <=="] {
        assert!(all.stdout.contains(heading), "{all}");
    }
    let one = t.xp(["logs", "a", "--phase", "build"]).success();
    let file = fs::read_to_string(t.dir().join(".xp/logs/1/a/build.log")).expect("a log");
    assert_eq!(one.stdout, file, "as it is, without a heading");
    assert!(one.stdout.contains("x\x1b[31my"), "byte for byte");
    let of_b = t.xp(["logs", "[b]", "b*"]).failure(2);
    of_b.stderr_contains("has a log of `[b]`");
    let of_b = t.xp(["logs", "b*"]).success();
    assert!(of_b.stdout.contains("of b") && !of_b.stdout.contains("==> a"));
    let paths = t.xp(["logs", "b", "--phase", "build", "--path"]).success();
    assert_eq!(
        paths.stdout,
        format!("{}\n", t.dir().join(".xp/logs/1/b/build.log").display())
    );
}

fn the_last_run_with_a_matching_log_is_used(t: &Context) {
    let services = Services::new(t, &["a", "b"]);
    services.manifest(&[
        ("a", services.scripts("echo of a")),
        ("b", services.scripts("echo of b")),
    ]);
    t.xp(["build", "a"]).success();
    t.xp(["build", "b"]).success();
    // Nothing to do: the previous runs are kept.
    t.xp(["build"]).success();
    let of_a = t.xp(["logs", "a"]).success();
    assert!(of_a.stdout.contains("of a"), "{of_a}");
    let last = t.xp(["logs"]).success();
    assert!(
        last.stdout.contains("of b") && !last.stdout.contains("of a"),
        "{last}"
    );
    // The last log of each service, whenever it ran.
    let both = t.xp(["logs", "a", "b", "--phase", "build"]).success();
    assert!(
        both.stdout
            .contains("==> a build (run 1) <==\n$ echo of a\nof a\n\n==> b build (run 2)"),
        "{both}"
    );
    let first = t.xp(["logs", "--run", "1", "--phase", "build"]).success();
    assert!(first.stdout.ends_with("of a\n"), "{first}");
}

fn a_run_is_followed_until_it_ends(t: &Context) {
    let app = App::with_scripts(
        t,
        "",
        &["echo begun; until [ -e go ]; do sleep 0.1; done; printf unfinished"],
    );
    let mut build = app.build().spawn();
    build.wait_for_output("app | begun");
    let mut logs = t.xp(["logs", "app", "-f"]).spawn();
    logs.wait_for_output("app | begun");
    let listed = t.xp(["logs", "--list"]).success();
    assert!(listed.row("1").contains(" running "), "{listed}");
    fs::write(app.export("go"), "").expect("the export can be written");
    let (build, logs) = (build.wait(), logs.wait());
    assert!(
        build.status.success() && logs.status.success(),
        "{build}\n{logs}"
    );
    assert!(logs.stdout.contains("\napp | unfinished\n"), "{logs}");

    // A finished run is shown completely, and following a killed one ends too.
    let over = t.xp(["logs", "-f"]).success();
    assert!(over.stdout.contains("unfinished"), "{over}");
    app.repository.commit(&[("x", "")], "Again");
    let mut build = app.build().spawn();
    build.wait_for_output("app | begun");
    let mut logs = t.xp(["logs", "-f"]).spawn();
    logs.wait_for_output("app | begun");
    build.kill();
    let logs = logs.wait();
    assert!(logs.status.success(), "{logs}");
}

fn runs_are_listed_with_their_results(t: &Context) {
    let app = App::with_scripts(t, "", &["echo begun; until [ -e go ]; do sleep 0.1; done"]);
    let mut build = app.build().spawn();
    build.wait_for_output("app | begun");
    build.kill();
    app.set_scripts("", &["false"]);
    app.build().failure(1);
    app.set_scripts("", &["true"]);
    app.build().success();
    app.build().success();
    let listed = t.xp(["logs", "--list"]).success();
    for (run, result) in [
        ("1", " killed "),
        ("2", " failed: app "),
        ("3", " done: 1 "),
        ("4", " nothing to do "),
    ] {
        assert!(listed.row(run).contains(result), "{listed}");
        assert!(listed.row(run).ends_with(" xp build"), "{listed}");
    }
}

fn a_missing_log_is_an_error_with_a_hint(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    t.xp(["logs"])
        .failure(2)
        .stderr_contains("no runs found in ")
        .stderr_contains("hint: `xp build` records one");
    app.build().success();
    t.xp(["logs", "ap"])
        .failure(2)
        .stderr_contains("no recorded run has a log of `ap`")
        .stderr_contains("hint: did you mean `app`?");
    t.xp(["logs", "--phase", "tests"])
        .failure(2)
        .stderr_contains("has a log of `tests`")
        .stderr_contains("the phases: `build`, `container`");
    t.xp(["logs", "app", "--phase", "biuld"])
        .failure(2)
        .stderr_contains("has a log of `biuld` of `app`")
        .stderr_contains("did you mean `build`?");
    t.xp(["logs", "--run", "7"])
        .failure(2)
        .stderr_contains("run 7 not found")
        .stderr_contains("recorded runs: 1");
}

fn control_characters_are_not_sent_to_a_terminal(t: &Context) {
    App::with_scripts(t, "", &["printf 'red \\033[31m\\033]0;title\\007 end\\n'"]);
    t.xp(["build"]).success();
    let terminal = t
        .xp(["logs", "app", "--phase", "build"])
        .in_terminal(100, 20);
    let (status, written) = terminal.wait();
    assert!(status.success());
    assert!(written.contains("red  end"), "{written:?}");
    assert!(!written.contains('\x1b'), "{written:?}");
}

fn a_forged_record_is_harmless(t: &Context) {
    App::with_scripts(t, "", &["true"]).build().success();
    let line = |elapsed: &str, event: &str| {
        format!(r#"{{"version":1,"time":"2026\u001b[2J","elapsed":{elapsed},"event":{event}}}"#)
            + "\n"
    };
    let step = |unit: &str, phase: &str| {
        let event =
            format!(r#""step-started","unit":"{unit}","phase":"{phase}","title":"x\u001b[2J""#);
        line("1", &event)
    };
    let command = r#""started","xp":"0","command":"xp build 'one\u001b[2J\ntwo'","manifest":"x""#;
    let note = r#""note","text":"\u001b[2J""#;
    let record = [
        line("0", command),
        step("..", "secret"),
        step("a", "../../../secret"),
        step("a", "/etc/hostname"),
        step("a\\u001b[2J", "build"),
        line("1e300", note),
        line("-7", note),
        "\u{1}\u{fffd} no JSON\n".to_owned(),
    ];
    t.write(".xp/logs/2/run.jsonl", &record.concat());
    t.write(".xp/logs/2/a\u{1b}[2J/build.log", "of a\n");
    for secret in ["secret.log", "logs/secret.log", "logs/2/secret.log"] {
        t.write(&format!(".xp/{secret}"), "secret\n");
    }
    // The largest number has no successor.
    t.write(".xp/logs/18446744073709551615/run.jsonl", "");
    let listed = t.xp(["logs", "--list"]).success();
    assert_eq!(listed.stdout.lines().count(), 3, "{listed}");
    let row = listed.row("2");
    assert!(
        row.contains(" killed ") && row.ends_with("  xp build 'one …"),
        "{row}"
    );
    assert_eq!(t.xp(["logs"]).success().stdout, "of a\n");
    let unknown = t.xp(["logs", "b"]).failure(2);
    for output in [&listed, &unknown] {
        assert!(!output.to_string().contains('\x1b'), "{output}");
    }
    t.xp(["report"]).success();
    t.xp(["build"]).success();
    assert!(t.exists(".xp/logs/3/run.jsonl"));
}
