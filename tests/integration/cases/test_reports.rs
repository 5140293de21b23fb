//! `scripts.reports`: the scripts' own JUnit XML files are kept and become the test cases of the report.

use std::fs;

use serde_json::Value;

use crate::app::{App, build_keys};
use crate::case::Case;
use crate::cases::remote::far;
use crate::context::Context;

pub const CASES: &[Case] = cases![
    test_cases_replace_phases,
    reports_of_failed_scripts_are_kept,
    reports_are_copied_from_a_remote_engine,
    only_files_written_by_the_scripts_count,
    hostile_reports_are_harmless,
    reports_are_not_a_build_input,
    reports_are_events,
];

/// A report with three cases, as a shell command that writes it to a file.
fn write(file: &str) -> String {
    format!(
        r#"mkdir -p "$(dirname {file})"; cat > {file} <<'END'
<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="suite">
<testcase classname="a.B" name="works" time="0.25"><system-out>said</system-out></testcase>
<testcase classname="a.B" name="fails &amp; ends" time="1.5"><failure type="Assertion" message="1 &lt; 2"><![CDATA[at line <3>]]></failure></testcase>
<testcase classname="a.B" name="later"><skipped message="not yet"/></testcase>
</testsuite></testsuites>
END"#
    )
}

fn keys(t: &Context, patterns: &str, lines: &[&str]) -> String {
    format!("{}\n  reports: [{patterns}]", build_keys(t, "", lines))
}

fn app<'t>(t: &'t Context, patterns: &str, lines: &[&str]) -> App<'t> {
    App::new(t, &[], &keys(t, patterns, lines))
}

/// Checks the three cases of [`write`] in the report of the last run, as another program reads it.
#[track_caller]
fn assert_cases(suite: &Value) {
    let cases = suite["cases"].as_array().expect("cases");
    let of = |name: &str| {
        let mut found = cases.iter().filter(|case| case["name"] == name);
        let case = found.next().unwrap_or_else(|| panic!("{name}: {suite}"));
        assert!(found.next().is_none(), "{name}: {suite}");
        case
    };
    assert_eq!(of("works")["classname"], "a.B");
    assert_eq!(of("works")["time"], "0.250");
    assert_eq!(of("works")["system-out"], "said");
    assert_eq!(of("fails & ends")["failure"], "at line <3>");
    assert_eq!(of("fails & ends")["message"], "1 < 2");
    assert_eq!(of("later")["skipped"], "");
}

/// Reads a suite of the last run's report with an independent XML parser.
pub(super) fn suite_of(t: &Context, name: &str) -> Value {
    const SCRIPT: &str = r#"
import json, sys, xml.etree.ElementTree as E
for suite in E.parse('junit.xml').getroot():
    if suite.get('name') == sys.argv[1]:
        found = dict(suite.attrib, cases=[])
        for case in suite:
            read = dict(case.attrib)
            for result in case:
                read[result.tag] = result.text or ''
                if result.get('message') is not None:
                    read['message'] = result.get('message')
            found['cases'].append(read)
        assert len(found['cases']) == int(found['tests'])
        print(json.dumps(found))
"#;
    t.xp(["report", "--format", "junit", "-o", "junit.xml"])
        .success();
    let read = t.program("python3", ["-c", SCRIPT, name]).success();
    serde_json::from_str(&read.stdout).expect("a suite")
}

pub(super) fn names(suite: &Value) -> Vec<String> {
    let cases = suite["cases"].as_array().expect("cases");
    let names = cases.iter().map(|case| case["name"].as_str());
    names.map(|name| name.expect("a name").to_owned()).collect()
}

fn test_cases_replace_phases(t: &Context) {
    let app = app(
        t,
        "out/*.xml, 'deep/**/*.xml'",
        &[
            &write("out/a.xml"),
            "mkdir -p deep/er; echo '<testsuite name=\"d\"><testcase name=\"c\"/></testsuite>' > deep/er/x.xml",
        ],
    );
    app.build().success();
    let suite = suite_of(t, "app");
    assert_cases(&suite);
    assert_eq!(names(&suite).len(), 4, "{suite}");
    assert_eq!(suite["failures"], "1");
    assert_eq!(suite["skipped"], "1");
    t.xp(["report"]).success();
    let page = t.read(".xp/logs/1/report.html");
    for shown in [
        "4 test cases",
        "1 failed",
        "1 skipped",
        "a.B: fails &amp; ends",
        "<p class=\"message\">1 &lt; 2</p>",
        "at line &lt;3&gt;",
        "not yet",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(t.exists(".xp/logs/1/app/reports/1.xml"));
    // An up-to-date service runs no tests.
    app.build().success();
    assert_eq!(names(&suite_of(t, "app")), ["image"]);
    // Without files there is a note, and the phases.
    app.set_keys(&keys(t, "nothing/*.xml", &["true"]));
    app.build()
        .success()
        .stderr_contains("app: the scripts wrote no file that matches `scripts.reports`");
    assert!(names(&suite_of(t, "app")).contains(&"build".to_owned()));
    app.set_keys(&keys(t, "/tmp/*.xml", &["true"]));
    app.build()
        .failure(2)
        .stderr_contains("invalid pattern `/tmp/*.xml`: must be relative to the service's folder");
}

fn reports_of_failed_scripts_are_kept(t: &Context) {
    let user = "user: root";
    let lines = [write("out/a.xml"), "chmod 600 out/a.xml; exit 3".to_owned()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let reports = "\n  reports: [out/*.xml]";
    let app = App::new(t, &[], &format!("{}{reports}", build_keys(t, user, &lines)));
    app.build().failure(1);
    let suite = suite_of(t, "app");
    assert_cases(&suite);
    // The failed test explains why the script failed.
    assert_eq!(names(&suite).len(), 3, "{suite}");
    // A failure that no test explains is shown.
    let passed = "echo '<testsuite><testcase name=\"fine\"/></testsuite>' > a.xml; exit 4";
    app.set_keys(&keys(t, "a.xml", &[passed]));
    app.build().failure(1);
    let suite = suite_of(t, "app");
    assert_eq!(names(&suite), ["fine", "build"]);
    assert_eq!(suite["failures"], "1");
    // So is a file that a crash cut off.
    app.set_keys(&keys(
        t,
        "a.xml",
        &["echo '<testsuite><testcase' > a.xml; exit 5"],
    ));
    app.build().failure(1);
    let suite = suite_of(t, "app");
    assert_eq!(names(&suite), ["a.xml"]);
    assert_eq!(suite["errors"], "1");
}

fn reports_are_copied_from_a_remote_engine(t: &Context) {
    // The test world has no remote Podman.
    if t.engine().product().is_podman() {
        return;
    }
    let app = App::new(
        t,
        &[("out/old.xml", "<testsuite/>")],
        &keys(t, "out/*.xml", &[&write("out/a.xml")]),
    );
    far(t, app.build()).success();
    assert_cases(&suite_of(t, "app"));
    assert!(!t.exists(".xp/logs/1/app/reports/2.xml"), "committed files");
    app.set_keys(&keys(t, "out/b.xml", &[&write("out/b.xml"), "false"]));
    far(t, app.build()).failure(1);
    assert_cases(&suite_of(t, "app"));
    app.set_keys(&keys(t, "nowhere/*.xml", &["true"]));
    far(t, app.build())
        .success()
        .stderr_contains("wrote no file that matches");
}

fn only_files_written_by_the_scripts_count(t: &Context) {
    let fixture = "<testsuite><testcase name=\"fixture\"/></testsuite>";
    let app = App::new(
        t,
        &[("testdata/junit.xml", fixture), (".gitignore", "out\n")],
        &keys(t, "'**/*.xml'", &[&write("out/a.xml")]),
    );
    app.build().success();
    assert_eq!(names(&suite_of(t, "app")).len(), 3);
    // In the working copy, results of the last build are not reported again.
    t.xp(["sync"]).success();
    let once = format!("[ -e out ] || {{ {}\n}}", write("out/a.xml"));
    app.set_keys(&keys(t, "'**/*.xml'", &[&once]));
    t.xp(["build", "--local", "app"]).success();
    assert_cases(&suite_of(t, "app"));
    t.write("src/app/changed", "yes");
    t.xp(["build", "--local", "app"])
        .success()
        .stderr_contains("wrote no file that matches");
}

fn hostile_reports_are_harmless(t: &Context) {
    let secret = t.folder().join("secret.xml");
    fs::write(
        &secret,
        "<testsuite><testcase name=\"secret\"/></testsuite>",
    )
    .expect("a file");
    let entity = "echo '<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><testsuite><testcase name=\"&e;\"/></testsuite>' > out/entity.xml";
    let bomb = "echo '<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><testsuite><testcase name=\"&b;\"/></testsuite>' > out/bomb.xml";
    let link = format!("ln -s {} out/link.xml; ln -s /etc linked", secret.display());
    let special = "mkfifo out/pipe.xml; mkdir out/folder.xml";
    let name = "echo '<testsuite><testcase name=\"control\"/></testsuite>' > \"$(printf 'out/\\033[31m.xml')\"";
    let large = "dd if=/dev/zero of=out/large.xml bs=1M count=17 2> /dev/null";
    let markup = "echo '<testsuite><testcase name=\"&lt;/testsuites&gt;&#x202e;\"/></testsuite>' > out/markup.xml";
    let app = app(
        t,
        "out/*.xml, linked/passwd",
        &[
            "mkdir out",
            entity,
            bomb,
            &link,
            special,
            name,
            large,
            markup,
        ],
    );
    let output = app.build().success();
    output
        .stderr_contains("app: some files of `scripts.reports` were not kept: ")
        .stderr_contains("larger than 16 MB");
    let suite = suite_of(t, "app");
    let names = names(&suite);
    assert!(!names.iter().any(|name| name == "secret"), "{suite}");
    assert!(!suite.to_string().contains("root:"), "{suite}");
    assert_eq!(suite["errors"], "2", "{suite}");
    assert_eq!(names.len(), 4, "{suite}");
    assert!(names.iter().any(|name| name.starts_with("</testsuites>")));
}

fn reports_are_not_a_build_input(t: &Context) {
    let line = write("out/a.xml");
    let app = app(t, "out/*.xml", &[&line]);
    app.build().success();
    app.set_keys(&keys(t, "out/*.xml, more.xml", &[&line]));
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn reports_are_events(t: &Context) {
    let app = app(t, "out/*.xml", &[&write("out/a.xml")]);
    let output = app.build().args(["--format", "json"]).success();
    crate::schema::assert_follows(t, "events", &output.stdout);
    let lines = output.stdout.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let reports: Vec<Value> = lines
        .filter(|line| line["event"] == "test-report")
        .collect();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0]["file"], "out/a.xml");
    let copy = reports[0]["copy"].as_str().expect("a path");
    assert!(fs::read_to_string(copy).expect("the copy").contains("a.B"));
    assert!(reports[0].get("bytes").is_none());
}
