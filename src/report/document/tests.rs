use super::*;
use crate::model::event::{FailedStep, Outcome, Phase};
use crate::model::record::StepRecord;

fn plan(units: &[(&str, &str, &[&str], &[&str])]) -> crate::model::record::PlanDocument {
    let units: Vec<_> = units
        .iter()
        .map(|(name, decision, after, phases)| {
            let steps: Vec<_> = phases
                .iter()
                .map(|phase| serde_json::json!({"phase": phase, "text": "x"}))
                .collect();
            serde_json::json!({"name": name, "kind": "service", "image": format!("x/{name}:1"),
                "decision": decision, "reason": format!("because of {name}"), "changes": [],
                "after": after, "steps": steps})
        })
        .collect();
    serde_json::from_value(serde_json::json!({"version": 1, "units": units,
        "counts": {"skip": 0, "tag": 0, "pull": 0, "push": 0, "build": 0}}))
    .unwrap()
}

fn step(phase: &str, start: f64, end: Option<f64>, done: bool) -> StepRecord {
    StepRecord {
        phase: phase.to_owned(),
        title: format!("run {phase}"),
        start,
        end,
        done,
    }
}

fn work(name: &str, outcome: Option<Outcome>, steps: Vec<StepRecord>) -> UnitRecord {
    UnitRecord {
        name: name.to_owned(),
        start: steps.first().map_or(1.0, |step| step.start),
        end: outcome.and_then(|_| steps.last().map_or(Some(1.0), |step| step.end)),
        outcome,
        blocked_by: None,
        failure: None,
        image: None,
        steps,
        waits: Vec::new(),
        sidecars: Vec::new(),
        restored: Vec::new(),
        reports: Vec::new(),
    }
}

/// A run with a unit of each status; `evil` is put into every text.
fn record(evil: &str) -> RunRecord {
    let mut failed = work(
        "bad",
        Some(Outcome::Failed),
        vec![
            step("build", 1.0, Some(2.0), true),
            step("test", 2.0, Some(4.0), false),
        ],
    );
    failed.failure = Some(FailedStep {
        sidecar: None,
        phase: Phase::Test,
        message: format!("no {evil}\nsecond line"),
        hints: vec![evil.to_owned()],
        outside: false,
        line: Some(3),
        image: None,
        platform: None,
        dockerfile: None,
        reproduce_command: Some(evil.to_owned()),
        log: Some(evil.to_owned()),
        tail: vec![evil.to_owned()],
    });
    let mut blocked = work("blocked", Some(Outcome::Blocked), Vec::new());
    blocked.blocked_by = Some("bad".to_owned());
    let phases: &[&str] = &["build", "test", "image"];
    RunRecord {
        time: "2026-01-01T23:59:59.500Z".to_owned(),
        xp: evil.to_owned(),
        command: evil.to_owned(),
        manifest: "/x/x-platform.yml".to_owned(),
        plan: Some(plan(&[
            ("bad", "build", &[], phases),
            ("blocked", "build", &["bad"], phases),
            ("skipped", "skip", &[], &[]),
            ("good", "build", &[], &["image"]),
        ])),
        work_start: Some(1.0),
        jobs: Some(2),
        units: vec![
            failed,
            blocked,
            work(
                "good",
                Some(Outcome::Done),
                vec![step("image", 1.0, Some(1.5), true)],
            ),
        ],
        notes: vec![evil.to_owned()],
        seconds: 5.0,
        exit: Some(1),
        ..RunRecord::default()
    }
}

fn run() -> Run {
    Run {
        number: 7,
        folder: "/nowhere/7".into(),
    }
}

#[test]
fn recorded_text_is_escaped() {
    let evil = "</script></style><img src=x onerror='alert(1)'>\"\u{202e}\0";
    let (run, record) = (run(), record(evil));
    let html = RunReport::new(&record, None, &[]).html(&run);
    assert!(!html.contains("<img") && !html.contains('\0') && !html.contains('\u{202e}'));
    assert_eq!(html.matches("</script>").count(), 1);
    assert_eq!(html.matches("</style>").count(), 1);
    let inside = html.matches("&lt;img src=x onerror='alert(1)'&gt;&quot;");
    assert!(inside.count() >= 7, "the escaped text is shown");
}

#[test]
fn a_page_makes_no_requests() {
    let (run, record) = (run(), record("x"));
    let html = RunReport::new(&record, None, &[]).html(&run);
    for word in ["http:", "https:", "src=", "@import", "url(", "<link"] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn a_page_has_failures_first_with_the_units_that_they_block() {
    let (run, record) = (run(), record("x"));
    let html = RunReport::new(&record, None, &[]).html(&run);
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("<h3>bad: test</h3>") < at("id=\"timeline\""));
    assert!(at("<b>not started</b>blocked") < at("id=\"timeline\""));
    assert!(at("id=\"timeline\"") < at("id=\"units\""));
    assert!(html.contains("data-unit=\"bad\" data-result=\"failed\" data-critical"));
    assert!(
        html.contains("1 failed") && html.contains("1 not started") && html.contains("1 built")
    );
    assert!(html.contains("needs bad, which failed"));
    assert!(html.contains("because of skipped"));
}

#[test]
fn junit_has_a_case_for_each_phase() {
    let record = record("x");
    let xml = RunReport::new(&record, None, &[]).junit(&run());
    let all = "<testsuites name=\"x\" tests=\"8\" failures=\"1\" errors=\"0\" skipped=\"5\" time=\"5.000\">";
    assert!(xml.contains(all), "{xml}");
    for part in [
        "<testcase classname=\"bad\" name=\"build\" time=\"1.000\"/>",
        "<testcase classname=\"bad\" name=\"test\" time=\"2.000\"><failure type=\"test\" message=\"no x\">no x\nsecond line",
        "<testcase classname=\"bad\" name=\"image\" time=\"0.000\"><skipped message=\"not started: test failed\"/>",
        "<testcase classname=\"blocked\" name=\"build\" time=\"0.000\"><skipped message=\"not started: needs bad, which failed\"/>",
        "<testcase classname=\"skipped\" name=\"image\" time=\"0.000\"><skipped message=\"because of skipped\"/>",
        // Past midnight: the timestamp is that of the suite, in UTC.
        "<testsuite name=\"good\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\" time=\"0.500\" timestamp=\"2026-01-02T00:00:00\">",
    ] {
        assert!(xml.contains(part), "{part}\n{xml}");
    }
}

#[test]
fn outside_failures_and_killed_runs_are_errors() {
    let mut record = record("x");
    record.units[0].failure.as_mut().unwrap().outside = true;
    (record.units[2].outcome, record.units[2].end) = (None, None);
    record.units[2].steps[0] = step("image", 1.0, None, false);
    record.exit = None;
    let xml = RunReport::new(&record, None, &[]).junit(&run());
    assert!(
        xml.contains("<error type=\"test\" message=\"no x\">"),
        "{xml}"
    );
    assert!(
        xml.contains("message=\"xp ended before this step finished\""),
        "{xml}"
    );
    assert!(xml.contains("failures=\"0\" errors=\"2\""), "{xml}");
    // Still running, so not failed.
    let xml = RunReport::new(&record, Some(9.0), &[]).junit(&run());
    assert!(
        xml.contains("time=\"8.000\"><skipped message=\"still running\"/>"),
        "{xml}"
    );
}

#[test]
fn incomplete_and_invalid_records_have_a_page() {
    let run = run();
    let nothing = RunRecord::default();
    let strange = RunRecord {
        time: "yesterday".to_owned(),
        seconds: f64::MAX,
        units: vec![work(
            "a",
            Some(Outcome::Done),
            vec![step("", 1e300, Some(-1e300), true)],
        )],
        ..RunRecord::default()
    };
    for record in [nothing, strange] {
        for now in [None, Some(1.0), Some(-1.0)] {
            let report = RunReport::new(&record, now, std::slice::from_ref(&record));
            assert!(report.html(&run).ends_with("</html>\n"));
            assert!(report.junit(&run).ends_with("</testsuites>\n"));
        }
    }
}

#[test]
fn markdown_has_the_work_and_the_failures() {
    let mut record = record("x");
    record.command = "xp build".to_owned();
    record.units[0].failure.as_mut().unwrap().hints = vec!["`xp logs bad` shows it".to_owned()];
    let text = RunReport::new(&record, None, &[]).markdown(usize::MAX);
    for part in [
        "<!-- Made by `xp report` -->\n\n## `xp build`: failed\n\n1 built, 1 failed, 1 not started, 1 up to date in 5.0s\n",
        "| bad | **failed** | 3.0s | test failed; built because: because of bad |  |\n",
        "| blocked | not started |  | needs bad, which failed |  |\n",
        "### bad: test\n\n```text\nno x\nsecond line\n```\n\n- x-platform.yml:3\n- hint: `xp logs bad` shows it\n\n\
         The end of its log:\n\n```text\nx\n```\n",
        "<details><summary>1 up to date</summary>\n\nskipped\n\n</details>\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("| skipped |"), "{text}");
}

#[test]
fn markdown_escapes_recorded_text() {
    let evil = "```\n````\n::error::x\n##teamcity[x]\n</details><img src=x>|@all\x1b[2J\u{202e}";
    let mut record = record(evil);
    record.command = "xp build".to_owned();
    let text = RunReport::new(&record, None, &[]).markdown(usize::MAX);
    let fence = "`````";
    let mut outside = String::new();
    for (number, part) in text.split(fence).enumerate() {
        if number % 2 == 0 {
            outside.push_str(part);
        }
    }
    assert_eq!(text.matches(fence).count(), 4, "{text}");
    assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    assert!(
        !outside.contains("\n::error") && !outside.contains("<img"),
        "{outside}"
    );
}

#[test]
fn markdown_keeps_its_limit() {
    let mut record = record("x");
    let log: Vec<String> = (0..20)
        .map(|line| format!("{line} {}", "y".repeat(400)))
        .collect();
    record.units[0].failure.as_mut().unwrap().tail = log;
    let report = RunReport::new(&record, None, &[]);
    let whole = report.markdown(usize::MAX);
    assert!(whole.contains("19 yyy"), "{whole}");
    for limit in 0..whole.len() + 1000 {
        let text = report.markdown(limit);
        assert!(text.len() <= limit, "{limit}: {text}");
    }
    let short = report.markdown(2000);
    assert!(
        short.contains("### bad: test") && !short.contains("yyy"),
        "{short}"
    );
    let is_counted = |limit| {
        report
            .markdown(limit)
            .contains("more failures are not shown")
    };
    assert!((300..700).any(is_counted));
}
