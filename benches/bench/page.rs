//! Shows results: on the terminal, and in the generated part of `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::result::{Case, Table};

const PAGE: &str = "docs/benchmarks.md";

/// Formats a case as Markdown, with the method.
pub fn render(case: &Case, command: &str) -> String {
    let mut text = format!("### {}\n\n{}\n", case.title, case.setup);
    for table in &case.tables {
        _ = write!(text, "\n{}\n\n{}", table.title, rows(table));
    }
    if !case.targets.is_empty() {
        text.push_str("\n| target | found | |\n|---|---|---|\n");
        for target in &case.targets {
            let verdict = if target.is_met { "met" } else { "**missed**" };
            _ = writeln!(text, "| {} | {} | {verdict} |", target.text, target.found);
        }
    }
    _ = write!(text, "\n`{command}`: {}\n", machine());
    text
}

fn rows(table: &Table) -> String {
    let mut text = format!("| {} |\n|", table.head.join(" | "));
    for (index, _) in table.head.iter().enumerate() {
        text.push_str(if index == 0 { "---|" } else { "---:|" });
    }
    text.push('\n');
    for row in &table.rows {
        _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Returns the machine and date of the measurement.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .and_then(|line| line.split_once(':'))
        .map_or("a processor", |it| it.1.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let asked = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = command
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    format!(
        "xp of commit {}, {processors} processors ({model}), Linux {}, {}; load {load} at the end; {}.",
        asked("git", &["rev-parse", "--short=10", "HEAD"]),
        kernel.trim(),
        asked("git", &["--version"]),
        asked("date", &["--utc", "+%Y-%m-%d %H:%M UTC"]),
    )
}

/// Replaces the section of a case in the documentation.
pub fn write(case: &Case, rendered: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    fs::write(&path, replaced(&page, case.name, rendered)).expect("the page can be written");
}

/// Returns the page with the text between a case's markers replaced.
fn replaced(page: &str, name: &str, rendered: &str) -> String {
    let (begin, end) = (
        format!("<!-- bin/bench {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let before = page.find(&begin).map(|at| at + begin.len());
    let after = page.find(&end);
    let (Some(before), Some(after)) = (before, after) else {
        panic!("{PAGE} has no place for {name}: {begin}{end}");
    };
    format!("{}{rendered}{}", &page[..before], &page[after..])
}

/// Checks that each case has a section in the documentation.
pub fn check(names: &[&str]) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE));
    let page = page.unwrap_or_else(|error| panic!("{PAGE}: {error}"));
    for name in names {
        let new = replaced(&page, name, "new\n");
        assert!(new.contains(&format!(
            "<!-- bin/bench {name} -->\nnew\n<!-- end of {name} -->"
        )));
    }
}
