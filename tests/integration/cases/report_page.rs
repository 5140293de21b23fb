//! The report page of `xp report`, in a browser.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, pages};
use crate::case::Case;
use crate::context::Context;
use crate::services::Services;

pub const CASES: &[Case] = cases![
    a_report_works_in_a_browser,
    a_report_works_without_javascript,
    a_report_of_thousands_of_units_is_usable,
];

/// Three runs of three services: `top` needs `base`, and `other` fails with malicious output.
fn page(t: &Context) -> PathBuf {
    let services = Services::new(t, &["base", "other", "top"]);
    services.manifest(&[
        ("base", services.scripts("echo of base; sleep 2")),
        (
            "other",
            services.scripts(
                "printf '\\\\033[31mred\\\\033[0m </pre><script>window.evil=1</script>\\\\n\\\\377\\\\000'; exit 1",
            ),
        ),
        (
            "top",
            format!("needs: [base]\n    {}", services.scripts("seq 100; sleep 0.3")),
        ),
    ]);
    for _ in 0..3 {
        t.xp(["build", "--force", "--jobs", "4"]).failure(1);
    }
    t.xp(["report"]).success();
    t.dir().join(".xp/logs/3/report.html")
}

fn a_report_works_in_a_browser(t: &Context) {
    let file = page(t);
    let mut browser = Browser::start(t.folder(), 1280, 800);
    browser.open(&file);
    assert_eq!(
        browser.value("document.title.startsWith('failed: xp build --force')"),
        true
    );

    // The critical path: a service and the one whose image waited for it. Both started with the work.
    let critical = "[...document.querySelectorAll('[data-critical]')].map((it) => it.dataset.unit).sort().join()";
    assert_eq!(browser.value(critical), "base,top");
    assert_eq!(
        browser.value("document.querySelectorAll('[data-unit=top] .bar.critical').length > 2"),
        true
    );
    assert_eq!(
        browser.value("[...document.querySelectorAll('.path .link')].length"),
        3
    );
    // Times compared with the two previous runs.
    assert_eq!(
        browser.value("document.querySelectorAll('tr[data-unit=base] .spark rect').length"),
        3
    );

    // A bar has a description, and a click on it opens its log.
    browser.hover("[data-unit=base] .bar.p-build");
    browser.wait_until("!document.querySelector('#tip').hidden");
    let tip = browser.value("document.querySelector('#tip').textContent");
    let tip = tip.as_str().expect("a text");
    assert!(
        tip.starts_with("base · build\necho of base; sleep 2\n"),
        "{tip}"
    );
    assert_eq!(
        browser.value("document.querySelectorAll('details.log[open]').length"),
        0
    );
    browser.click("[data-unit=base] .bar.p-build");
    browser.wait_until(
        "document.querySelector('details.log[open] pre')?.textContent.includes('of base\\n')",
    );

    // From the failure to its log: colors work, and none of its output is markup.
    browser.click(".failure a");
    let log = "document.querySelector('details.log[data-unit=other][open] pre')";
    browser.wait_until(&format!("{log} !== null"));
    assert_eq!(
        browser.value(&format!("{log}.querySelector('.c1').textContent")),
        "red"
    );
    assert_eq!(
        browser.value(&format!("{log}.textContent.includes('</pre><script>')")),
        true
    );
    assert_eq!(browser.value("window.evil === undefined"), true);
    browser.wait_until(&format!(
        "(() => {{ const box = {log}.getBoundingClientRect(); return box.top < innerHeight && box.bottom > 0; }})()"
    ));

    // The filter: by name, from the keyboard, and by result.
    let rows = "[...document.querySelectorAll('tbody tr')].filter((it) => !it.hidden).map((it) => it.dataset.unit).join()";
    browser.value("document.activeElement.blur()");
    browser.type_text("/");
    browser.type_text("ba");
    browser.wait_until(&format!("{rows} === 'base'"));
    assert_eq!(
        browser.value("document.querySelector('#shown').textContent.startsWith('1 of ')"),
        true
    );
    let bars =
        "[...document.querySelectorAll('.row[data-unit]')].filter((it) => it.offsetHeight).length";
    assert_eq!(browser.value(bars), 1);
    browser.value("const f = document.querySelector('#filter'); f.value = ''; f.dispatchEvent(new Event('input'))");
    browser.value("const r = document.querySelector('#result'); r.value = 'failed'; r.dispatchEvent(new Event('change'))");
    browser.wait_until(&format!("{rows} === 'other'"));
    browser.value("r.value = ''; r.dispatchEvent(new Event('change'))");

    // The zoom.
    let width = "document.querySelector('.plot').offsetWidth";
    let before = browser.value(width).as_f64().expect("a number");
    browser.click("#closer");
    browser.wait_until(&format!("{width} > {before} * 1.9"));
    browser.click("#whole");
    browser.wait_until(&format!("{width} === {before}"));

    // Light and dark: following the system, and with the button.
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(ground);
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.call("Emulation.setEmulatedMedia", dark);
    browser.wait_until(&format!("{ground} !== {light}"));
    browser.click("#theme");
    browser.wait_until(&format!("{ground} === {light}"));
    browser.click("#theme");
    browser.wait_until(&format!("{ground} !== {light}"));

    // Printed pages are always light.
    browser.call("Emulation.setEmulatedMedia", json!({"media": "print"}));
    browser.wait_until(&format!("{ground} === {light}"));
    browser.call("Emulation.setEmulatedMedia", json!({}));
    assert!(pages(&browser.print()) > 0);

    // A narrow screen does not scroll sideways.
    let narrow = json!({"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": false});
    browser.call("Emulation.setDeviceMetricsOverride", narrow);
    browser.wait_until("document.documentElement.scrollWidth <= 400");

    let address = format!("file://{}", file.display());
    let requests = browser.requests();
    assert!(!requests.is_empty());
    let others: Vec<_> = requests
        .iter()
        .filter(|it| !it.starts_with(&address))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(browser.errors(), [""; 0]);
}

fn a_report_works_without_javascript(t: &Context) {
    let file = page(t);
    let mut browser = Browser::start(t.folder(), 1280, 800);
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    );
    browser.open(&file);
    let shown = "[...document.querySelectorAll('.script')].filter((it) => it.offsetHeight).length";
    assert_eq!(browser.value(shown), 0, "no button that does nothing");
    browser.click("tr[data-unit=top] td.logs a[href$=build]");
    browser.wait_until(
        "document.querySelector('details.log[data-unit=top][open] pre')?.offsetHeight > 0",
    );
    let title = browser.value("document.querySelector('[data-unit=top] .bar.p-build').title");
    assert!(
        title
            .as_str()
            .expect("a title")
            .starts_with("top · build\nseq 100")
    );
    assert_eq!(browser.errors(), [""; 0]);
}

fn a_report_of_thousands_of_units_is_usable(t: &Context) {
    const UNITS: usize = 2000;
    t.manifest(&format!(
        "services:\n  a:\n    dir: a\n    git: {{remote: /nowhere}}\n    docker: {{image: {}}}\n",
        t.image("a")
    ));
    for run in 1..=3 {
        t.write(&format!(".xp/logs/{run}/run.jsonl"), &long_record(UNITS));
    }
    // 40 MB of logs: more than the page includes.
    for unit in 0..80 {
        let log = "a line of a log that somebody may want to read\n".repeat(10_900);
        t.write(&format!(".xp/logs/3/service-{unit}/build.log"), &log);
    }
    let made = t.xp(["report"]).success();
    assert!(made.elapsed < Duration::from_secs(30), "{made}");
    assert!(made.peak_memory < 512 << 20, "{}", made.peak_memory);
    let file = t.dir().join(".xp/logs/3/report.html");
    let size = file.metadata().expect("the page").len();
    println!("{} units: {size} bytes, made in {:?}", UNITS, made.elapsed);
    assert!(size < 16 << 20, "{size}");

    let mut browser = Browser::start(t.folder(), 1280, 800);
    browser.open(&file);
    assert_eq!(
        browser.value("document.querySelectorAll('.row[data-unit]').length"),
        UNITS
    );
    let cut = "document.querySelector('details.log p').textContent";
    let cut = browser.value(cut);
    assert!(
        cut.as_str().expect("a text").contains("are omitted"),
        "{cut}"
    );
    let took = browser.value(
        "(async () => { const start = performance.now(), f = document.querySelector('#filter');
            f.value = 'service-1999'; f.dispatchEvent(new Event('input'));
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            return performance.now() - start; })()",
    );
    println!("a filter takes {took} ms");
    assert!(took.as_f64().expect("a number") < 5000.0, "{took}");
    assert_eq!(
        browser
            .value("[...document.querySelectorAll('tbody tr')].filter((it) => !it.hidden).length"),
        1
    );
    assert_eq!(browser.errors(), [""; 0]);
}

/// The record of a run with this many units, each of which needs the one ten before it.
fn long_record(count: usize) -> String {
    let name = |unit: usize| format!("service-{unit}");
    let planned: Vec<_> = (0..count)
        .map(|unit| {
            json!({"name": name(unit), "kind": "service", "commit": "0".repeat(40),
                "image": format!("registry.example.com/x/{}:{}", name(unit), "0".repeat(40)),
                "decision": "build", "reason": "new commit", "changes": [],
                "after": unit.checked_sub(10).map(name).into_iter().collect::<Vec<_>>(),
                "steps": [{"phase": "build", "text": "make"}, {"phase": "image", "text": "x"}, {"phase": "push", "text": "x"}]})
        })
        .collect();
    let mut text = String::new();
    let mut line = |elapsed: f64, mut event: serde_json::Value| {
        event["version"] = 1.into();
        event["time"] = "2026-01-01T00:00:00.000Z".into();
        event["elapsed"] = elapsed.into();
        _ = writeln!(text, "{event}");
    };
    line(
        0.0,
        json!({"event": "started", "xp": "0.1.0", "command": "xp build", "manifest": "x-platform.yml"}),
    );
    let counts = json!({"skip": 0, "tag": 0, "pull": 0, "push": 0, "build": count});
    line(
        0.5,
        json!({"event": "planned", "plan": {"version": 1, "counts": counts, "units": planned}}),
    );
    line(
        0.5,
        json!({"event": "work-started", "units": [], "jobs": 10}),
    );
    for first in (0..count).step_by(10) {
        let start = 0.5 + first as f64;
        for unit in first..count.min(first + 10) {
            line(start, json!({"event": "unit-started", "unit": name(unit)}));
        }
        for (index, phase) in ["build", "image", "push"].iter().enumerate() {
            let start = start + index as f64 * 3.0;
            for unit in first..count.min(first + 10) {
                line(
                    start,
                    json!({"event": "step-started", "unit": name(unit), "phase": phase, "title": "make"}),
                );
            }
            for unit in first..count.min(first + 10) {
                line(
                    start + 3.0,
                    json!({"event": "step-finished", "unit": name(unit), "phase": phase, "seconds": 3.0}),
                );
            }
        }
        for unit in first..count.min(first + 10) {
            line(
                start + 9.0,
                json!({"event": "unit-finished", "unit": name(unit), "outcome": "done", "seconds": 9.0}),
            );
        }
    }
    line(count as f64 + 1.0, json!({"event": "finished", "exit": 0}));
    text
}
