//! JSON events, one per line, and the record of each run.

use std::fs;

use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::output::Output;
use crate::schema;
use crate::services::Services;

pub const CASES: &[Case] = cases![
    a_build_prints_one_event_per_line,
    a_failure_event_has_line_log_and_blocked_units,
    the_record_has_everything_except_output,
    an_early_exit_has_a_reason,
    syncs_and_builder_updates_emit_events,
    a_closed_pipe_does_not_stop_a_build,
];

fn lines(t: &Context, output: &Output) -> Vec<Value> {
    schema::assert_follows(t, "events", &output.stdout);
    let lines = output.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn named<'v>(lines: &'v [Value], event: &str) -> Vec<&'v Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn a_build_prints_one_event_per_line(t: &Context) {
    let app = App::with_scripts(t, "", &["printf 'one\\ntw'; printf 'o\\033[31m'"]);
    let output = t.xp(["build", "--format", "json", "app"]).success();
    assert_eq!(output.stderr, "", "standard error is for failures");
    let lines = lines(t, &output);
    let events: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["event"].as_str())
        .filter(|event| *event != "progress")
        .collect();
    let first = events.iter().take_while(|event| event.starts_with("sta"));
    assert_eq!(first.count(), 5, "{events:?}");
    assert_eq!(events[5], "planned");
    assert_eq!(events[6], "work-started");
    assert_eq!(events.last(), Some(&"finished"));

    assert_eq!(lines[0]["command"], "xp build --format json app");
    let planned = named(&lines, "planned")[0];
    let units = planned["plan"]["units"].as_array().expect("units");
    let last = units.last().expect("a unit");
    assert_eq!(
        (&last["name"], &last["decision"]),
        (&"app".into(), &"build".into())
    );
    let printed: Vec<&str> = named(&lines, "output")
        .iter()
        .filter(|line| line["phase"] == "build")
        .filter_map(|line| line["line"].as_str())
        .collect();
    assert_eq!(printed, ["one", "two"]);
    let finished = named(&lines, "unit-finished");
    assert_eq!(finished.last().expect("the service")["outcome"], "done");
    assert_eq!(lines[lines.len() - 1]["exit"], 0);
    let times = lines
        .iter()
        .map(|line| line["elapsed"].as_f64().expect("seconds"));
    assert!(times.is_sorted());

    // A run with nothing to do is reported as well.
    let output = app.build().args(["--format", "json"]).success();
    let lines = self::lines(t, &output);
    assert_eq!(named(&lines, "planned")[0]["plan"]["counts"]["build"], 0);
    assert!(named(&lines, "unit-started").is_empty());
}

fn a_failure_event_has_line_log_and_blocked_units(t: &Context) {
    let services = Services::new(t, &["base", "top"]);
    services.manifest(&[
        ("base", services.scripts("echo before; exit 7")),
        ("top", "needs: [base]".to_owned()),
    ]);
    let output = t.xp(["build", "--format", "json"]).failure(1);
    let lines = lines(t, &output);
    let finished = named(&lines, "unit-finished");
    let base = finished
        .iter()
        .find(|line| line["unit"] == "base")
        .expect("it ended");
    let failure = &base["failure"];
    assert_eq!(
        (&base["outcome"], &failure["phase"]),
        (&"failed".into(), &"build".into())
    );
    let manifest = t.read("x-platform.yml");
    let line = 1 + manifest
        .lines()
        .position(|line| line.contains("exit 7"))
        .expect("a line");
    assert_eq!(failure["line"], line);
    assert_eq!(failure["tail"][1], "before");
    let log = fs::read_to_string(failure["log"].as_str().expect("a log")).expect("a file");
    assert!(log.ends_with("before\n"), "{log}");
    let top = finished
        .iter()
        .find(|line| line["unit"] == "top")
        .expect("it ended");
    assert_eq!(
        (&top["outcome"], &top["blocked_by"]),
        (&"blocked".into(), &"base".into())
    );
    assert_eq!(lines[lines.len() - 1]["exit"], 1);
    // For readers of the CI log.
    output.stderr_contains("error: base: build: ");
}

fn the_record_has_everything_except_output(t: &Context) {
    App::with_scripts(t, "", &["echo printed"]);
    let output = t.xp(["build", "--format", "json"]).success();
    let record = t.read(".xp/logs/1/run.jsonl");
    let told = |line: &&str| {
        !line.contains(r#""event":"output""#) && !line.contains(r#""event":"progress""#)
    };
    let printed: Vec<&str> = output.stdout.lines().filter(told).collect();
    assert_eq!(record.lines().collect::<Vec<_>>(), printed);
    let last: Value = serde_json::from_str(printed.last().expect("a line")).expect("JSON");
    assert_eq!(
        last["logs"],
        t.dir().join(".xp/logs/1").display().to_string()
    );
    // The record does not depend on the output format; planning alone leaves no record.
    t.xp(["build", "--force"]).success();
    t.xp(["plan"]).success();
    assert!(t.exists(".xp/logs/2/run.jsonl") && !t.exists(".xp/logs/3"));
    schema::assert_follows(t, "events", &t.read(".xp/logs/2/run.jsonl"));
}

fn an_early_exit_has_a_reason(t: &Context) {
    t.manifest("services: 1\n");
    let output = t
        .xp(["build", "--format", "json", "--color", "always"])
        .failure(2);
    let all = lines(t, &output);
    assert_eq!(all.len(), 1);
    assert_eq!(
        (&all[0]["event"], &all[0]["exit"]),
        (&"finished".into(), &2.into())
    );
    let message = all[0]["message"].as_str().expect("a message");
    assert!(
        message.contains("x-platform.yml:1:11") && !message.contains('\x1b'),
        "{message}"
    );

    App::new(t, &[], "");
    let output = t.xp(["build", "--format", "json", "nothing"]).failure(2);
    let all = lines(t, &output);
    let last = all.last().expect("a line");
    let message = last["message"].as_str().expect("a message");
    assert!(message.contains("unknown service `nothing`"), "{message}");
}

fn syncs_and_builder_updates_emit_events(t: &Context) {
    App::new(t, &[], "");
    t.builder("tools", &format!("FROM {}\n", t.engine().busybox()), &[]);
    for command in [&["sync"][..], &["builder", "update"]] {
        let mut xp = t.xp(["--quiet"]);
        for word in command.iter().chain(&["--format", "json"]) {
            xp = xp.arg(word);
        }
        let output = xp.success();
        let lines = lines(t, &output);
        assert_eq!(named(&lines, "unit-finished").len(), 1, "{output}");
        assert_eq!(lines[lines.len() - 1]["event"], "finished");
    }
}

fn a_closed_pipe_does_not_stop_a_build(t: &Context) {
    let app = App::with_scripts(t, "", &["seq 20000"]);
    let xp = env!("CARGO_BIN_EXE_xp");
    let line = format!("{xp} build --format json | head -1");
    t.program("sh", ["-c", &line]).success();
    // The shell waits for all of them.
    assert!(app.is_built());
}
