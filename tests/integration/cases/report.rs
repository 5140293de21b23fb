//! `xp report`: which runs have one, where it is stored, and JUnit XML.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::Value;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::services::Services;

pub const CASES: &[Case] = cases![
    every_run_has_a_report,
    a_report_can_be_written_to_any_path,
    a_report_can_be_opened_in_the_browser,
    missing_things_are_reported,
    junit_has_every_phase,
    markdown_is_added_to_the_job_summary,
    a_job_summary_that_cannot_be_written_is_a_warning,
    reports_contain_no_secrets,
    a_run_that_fails_before_its_plan_is_recorded,
    past_runs_can_be_read_with_an_invalid_manifest,
];

fn every_run_has_a_report(t: &Context) {
    t.xp(["report"])
        .failure(2)
        .stderr_contains("could not find x-platform.yml");
    let app = App::with_scripts(t, "", &["echo begun; until [ -e go ]; do sleep 0.1; done"]);
    t.xp(["report"])
        .failure(2)
        .stderr_contains("hint: `xp build` records one");
    let page = |state: &str| {
        let page = t.xp(["report", "-o", "-"]).success().stdout;
        let title = format!("<title>{state}: xp build (run ");
        assert!(page.contains(&title), "{title} is not in {page}");
        page
    };
    let mut build = app.build().spawn();
    build.wait_for_output("app | begun");
    let running = page("running");
    assert!(running.contains("data-unit=\"app\" data-result=\"running\""));
    assert!(running.contains("begun\n"), "its log so far");
    build.kill();
    let killed = page("killed");
    assert!(killed.contains("data-result=\"cut off\"") && killed.contains("<h3>Killed</h3>"));
    // With an incomplete last line, as after a kill.
    let record = t.dir().join(".xp/logs/1/run.jsonl");
    let text = fs::read(&record).expect("the record");
    fs::write(&record, &text[..text.len() - 9]).expect("the record can be written");
    page("killed");

    let mut build = app.build().spawn();
    build.wait_for_output("app | begun");
    build.signal(Signal::INT);
    build.wait();
    assert!(page("interrupted").contains("data-result=\"stopped\""));
    app.set_scripts("", &["false"]);
    app.build().failure(1);
    assert!(page("failed").contains("<h3>app: build</h3>"));
    app.set_scripts("", &["true"]);
    app.build().success();
    let done = page("done");
    assert!(done.contains("data-result=\"built\"") && !done.contains("id=\"failures\""));
    app.build().success();
    let idle = page("nothing to do");
    assert!(idle.contains("1 skipped") && idle.contains("in the engine"));
    // A run's report is not a log of a unit: of idle runs, only the last is kept.
    t.xp(["report"]).success();
    app.build().success();
    assert!(t.exists(".xp/logs/5/report.html"));
    app.build().success();
    assert!(!t.exists(".xp/logs/5"));

    t.xp(["sync"]).success();
    let synced = t.xp(["report", "-o", "-"]).success().stdout;
    assert!(synced.contains("<title>done: xp sync (run "), "{synced}");
    assert!(synced.contains("data-unit=\"app\" data-result=\"done\""));
}

fn a_report_can_be_written_to_any_path(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    app.build().success();
    let beside = t.xp(["report"]).success();
    let file = t.dir().join(".xp/logs/1/report.html");
    assert_eq!(beside.stdout, format!("{}\n", file.display()));
    assert_eq!(beside.stderr, "");
    let page = fs::read_to_string(file).expect("the page");
    assert!(page.starts_with("<!doctype html>"));
    // Relative to the current folder, in a new folder; an existing report is replaced, keeping its
    // permissions.
    let named = t.dir().join("out/of/report.html");
    for _ in 0..2 {
        t.xp(["report", "-o", "out/of/report.html"]).success();
        assert!(
            fs::read_to_string(&named)
                .expect("the page")
                .ends_with("</html>\n")
        );
        fs::set_permissions(&named, fs::Permissions::from_mode(0o640)).expect("rights");
    }
    let mode = fs::metadata(&named).expect("the page").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let entries = fs::read_dir(t.dir().join("out/of")).expect("a folder");
    assert_eq!(entries.count(), 1, "nothing is left beside it");
    let printed = t.xp(["report", "--output", "-"]).success();
    assert!(printed.stdout.starts_with("<!doctype html>"));
    // A file that is not a report belongs to the user.
    let manifest = t.read("x-platform.yml");
    t.xp(["report", "-o", "x-platform.yml"])
        .failure(2)
        .stderr_contains("x-platform.yml already exists and is not a report");
    assert_eq!(t.read("x-platform.yml"), manifest);
    t.xp(["report", "-o", "out"])
        .failure(3)
        .stderr_contains("out: Is a directory");
    fs::remove_file(t.dir().join(".xp/logs/1/report.html")).expect("the page");
    t.write(".xp/logs/1/report.html/x", "");
    t.xp(["report"])
        .failure(3)
        .stderr_contains("hint: `-o FILE` writes it elsewhere");
}

fn a_report_can_be_opened_in_the_browser(t: &Context) {
    let app = App::with_scripts(t, "", &["true"]);
    app.build().success();
    t.xp(["report", "--open"])
        .env("PATH", "/nowhere")
        .failure(3)
        .stderr_contains("`xdg-open`: No such file")
        .stderr_contains("report.html manually");
    t.write("bin/xdg-open", "#!/bin/sh\necho \"$1\" > opened\n");
    let path = format!("{}:/usr/bin:/bin", t.dir().join("bin").display());
    let opened = t.xp(["report", "--open"]).env("PATH", &path).success();
    assert_eq!(t.read("opened"), opened.stdout);
    t.xp(["report", "--open", "-o", "-"])
        .failure(2)
        .stderr_contains("`--open` requires an HTML page in a file");
}

fn missing_things_are_reported(t: &Context) {
    let app = App::with_scripts(t, "", &["echo printed"]);
    app.build().success();
    t.xp(["report", "--run", "7"])
        .failure(2)
        .stderr_contains("run 7 not found")
        .stderr_contains("recorded runs: 1");
    // A log and a record were removed: the rest is shown.
    fs::remove_file(t.dir().join(".xp/logs/1/app/build.log")).expect("the log");
    let page = t.xp(["report", "--run", "1", "-o", "-"]).success();
    assert!(
        page.stdout.contains("id=\"log-1-image\"") && !page.stdout.contains("id=\"log-1-build\"")
    );
    fs::remove_file(t.dir().join(".xp/logs/1/run.jsonl")).expect("the record");
    let page = t.xp(["report", "-o", "-"]).success();
    assert!(page.stdout.contains("ended before its plan was known"));
}

fn junit_has_every_phase(t: &Context) {
    let services = Services::new(t, &["base", "top", "other"]);
    services.manifest(&[
        (
            "base",
            services.scripts("printf 'a <b> & \\\\033[31mc\\\\001\\\\n'; exit 3"),
        ),
        ("top", "needs: [base]".to_owned()),
        ("other", services.scripts("true")),
    ]);
    t.xp(["build", "--jobs", "1"]).failure(1);
    let named = t
        .xp(["report", "--format", "junit", "-o", "junit.xml"])
        .success();
    assert_eq!(
        named.stdout,
        format!("{}\n", t.dir().join("junit.xml").display())
    );
    let printed = t.xp(["report", "--format", "junit"]).success();
    assert_eq!(printed.stdout, t.read("junit.xml"));
    let all = parsed(t);
    let verdict = |suite: &str, case: &str| all[suite][case][0].as_str().map(str::to_owned);
    assert_eq!(verdict("base", "build").as_deref(), Some("failure"));
    let text = all["base"]["build"][1].as_str().expect("a text");
    assert!(text.contains("\na <b> & c"), "{text}");
    assert_eq!(verdict("base", "image").as_deref(), Some("skipped"));
    assert_eq!(verdict("top", "image").as_deref(), Some("skipped"));
    assert_eq!(verdict("other", "build").as_deref(), Some("passed"));
    // Existing images are not rebuilt, and the report shows it.
    t.xp(["build", "other"]).success();
    t.xp(["report", "--format", "junit", "-o", "junit.xml"])
        .success();
    let all = parsed(t);
    assert_eq!(all["other"]["image"][0], "skipped");
    assert_eq!(all["other"]["image"][1], "in the engine");
}

/// Reads `junit.xml` like an independent, strict consumer: result and text of each case by suite and name.
fn parsed(t: &Context) -> Value {
    const SCRIPT: &str = r#"
import json, re, sys, xml.etree.ElementTree as E
root = E.parse(sys.argv[1]).getroot()
assert root.tag == 'testsuites', root.tag
counted = ['tests', 'failures', 'errors', 'skipped']
found, total = {}, dict.fromkeys(counted, 0)
for suite in root:
    assert suite.tag == 'testsuite', suite.tag
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d', suite.get('timestamp')), suite.attrib
    assert float(suite.get('time')) >= 0
    own = dict.fromkeys(counted, 0)
    for case in suite:
        assert case.tag == 'testcase' and len(case) <= 1, (case.tag, list(case))
        assert case.get('classname') == suite.get('name') and float(case.get('time')) >= 0
        kind, text = 'passed', ''
        for result in case:
            kind, text = result.tag, (result.get('message') or '') + (result.text or '')
            assert kind in ('failure', 'error', 'skipped') and result.get('message'), result.attrib
        own['tests'] += 1
        if kind != 'passed':
            own[{'failure': 'failures', 'error': 'errors'}.get(kind, kind)] += 1
        cases = found.setdefault(suite.get('name'), {})
        assert case.get('name') not in cases, case.get('name')
        cases[case.get('name')] = [kind, text]
    for name in counted:
        assert int(suite.get(name)) == own[name], (name, suite.attrib, own)
        total[name] += own[name]
for name in counted:
    assert int(root.get(name)) == total[name], (name, root.attrib, total)
print(json.dumps(found))
"#;
    let read = t.program("python3", ["-c", SCRIPT, "junit.xml"]).success();
    serde_json::from_str(&read.stdout).expect("JSON")
}

fn reports_contain_no_secrets(t: &Context) {
    let app = App::with_scripts(
        t,
        "env: { TOKEN: '${{ env.SECRET }}' }",
        &["test -n \"$TOKEN\""],
    );
    app.build().env("SECRET", "hunter2hunter2").success();
    for format in ["html", "junit"] {
        t.xp(["report", "-o", "-", "--format", format])
            .env("SECRET", "hunter2hunter2")
            .success()
            .does_not_contain("hunter2");
    }
}

fn markdown_is_added_to_the_job_summary(t: &Context) {
    let app = App::with_scripts(
        t,
        "",
        &["printf '```\\n::error::x\\n</details>\\n'; exit 7"],
    );
    let summary = t.dir().join("summary.md");
    let build = || {
        let build = app.build().env("CI", "true").env("GITHUB_ACTIONS", "true");
        build.env("GITHUB_STEP_SUMMARY", &summary)
    };
    build().failure(1);
    let text = t.read("summary.md");
    assert!(
        text.contains("## `xp build`: failed\n\n1 failed in "),
        "{text}"
    );
    assert!(text.contains("\n| app | **failed** | "), "{text}");
    assert!(
        text.contains("### app: build\n\n````text\n`printf"),
        "{text}"
    );
    let log = "exit 7\n```\n::error::x\n</details>\n````\n";
    assert!(text.contains(log), "{text}");
    // The same run as a file.
    t.xp(["report", "--format", "markdown", "-o", "report.md"])
        .success();
    assert_eq!(t.read("report.md"), text);
    t.xp(["report", "--format", "markdown", "-o", "report.md"])
        .success();

    // Each command adds to it, also one that fails before it has a plan.
    app.set_scripts("", &["true"]);
    build().success();
    let both = t.read("summary.md");
    let added = both.strip_prefix(&text).expect("the earlier text is kept");
    assert!(
        added.contains("## `xp build`: done\n\n1 built in "),
        "{added}"
    );
    assert!(added.contains(&app.image_of_head()), "{added}");
    build().success();
    assert!(
        t.read("summary.md")
            .contains("<summary>1 up to date</summary>")
    );
    let unknown = ["--reference", "app=missing"];
    build().args(unknown).failure(2);
    let last = t.read("summary.md");
    let last = last.rsplit("\n## ").next().expect("a section");
    assert!(
        last.contains("missing`: failed") && last.contains("```text\n"),
        "{last}"
    );

    // Other commands and other systems do not.
    let before = t.read("summary.md");
    let plan = t.xp(["plan"]).env("GITHUB_ACTIONS", "true");
    plan.env("GITHUB_STEP_SUMMARY", &summary).success();
    app.build().env("GITHUB_STEP_SUMMARY", &summary).success();
    assert_eq!(t.read("summary.md"), before);
}

fn a_job_summary_that_cannot_be_written_is_a_warning(t: &Context) {
    let app = App::new(t, &[], "");
    let build = app.build().env("GITHUB_ACTIONS", "true");
    let build = build.env(
        "GITHUB_STEP_SUMMARY",
        t.dir().join("x-platform.yml/summary"),
    );
    build
        .success()
        .stderr_contains("warning: cannot write the job summary ");
    t.write("full.md", &"x".repeat((1 << 20) - 50));
    let build = app.build().env("GITHUB_ACTIONS", "true");
    let build = build.env("GITHUB_STEP_SUMMARY", t.dir().join("full.md"));
    build
        .success()
        .stderr_contains("full.md: it has reached the limit of 1 MiB");
}

fn a_run_that_fails_before_its_plan_is_recorded(t: &Context) {
    let app = App::new(t, &[], "");
    app.build().success();
    let nowhere = "unix:///nonexistent/docker.sock";
    let failed = app.build().env("DOCKER_HOST", nowhere);
    let failed = failed.env("GITHUB_ACTIONS", "true").failure(3);
    failed.stderr_contains("::error title=xp::");
    // The latest run counts, not the last one that had work.
    let junit = t.xp(["report", "--format", "junit"]).success();
    junit.stdout_contains("errors=\"1\"");
    let markdown = t.xp(["report", "--format", "markdown"]).success();
    markdown.stdout_contains("/nonexistent/docker.sock");
    let list = t.xp(["logs", "--list"]).success();
    list.stdout_contains("failed with 3");
    let team_city = app.build().env("DOCKER_HOST", nowhere);
    let team_city = team_city.env("TEAMCITY_VERSION", "1").failure(3);
    team_city
        .stderr_contains("##teamcity[buildProblem ")
        .does_not_contain("nothing was done");
    // A preview is no run.
    let runs = t.xp(["logs", "--list"]).success().stdout;
    t.xp(["plan"]).env("DOCKER_HOST", nowhere).failure(3);
    assert_eq!(t.xp(["logs", "--list"]).success().stdout, runs);
}

fn past_runs_can_be_read_with_an_invalid_manifest(t: &Context) {
    let app = App::with_scripts(t, "", &["echo begun", "false"]);
    app.build().failure(1);
    let valid = t.read("x-platform.yml");
    for invalid in [
        format!("cacheDir: .xp\nunknown: 1\n{valid}"),
        "a: [".to_owned(),
    ] {
        t.write("x-platform.yml", &invalid);
        app.build().failure(2);
        let warning = "x-platform.yml is invalid; `xp check` shows its problems";
        let junit = t.xp(["report", "--format", "junit"]).success();
        junit
            .stdout_contains("failures=\"1\"")
            .stderr_contains(warning);
        let log = t.xp(["logs", "app"]).success();
        log.stdout_contains("begun").stderr_contains(warning);
    }
    t.xp(["report", "-f", "nonesuch.yml"]).failure(2);
}
