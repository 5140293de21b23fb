//! How much of a plan is shown.

use super::*;

const TERMINAL: Detail = Detail {
    columns: Some(80),
    all: false,
    steps: false,
    repeats: false,
};

fn shown(plan: &Plan, detail: Detail) -> String {
    plan.display(Path::new("/p"), detail, Duration::from_millis(340))
}

/// Returns a plan of which only `back` has work.
fn plan() -> Plan {
    let platform = TestPlatform::new()
        .registry("front", "", "a")
        .registry("front", "master", "a")
        .registry("other", "", "b")
        .registry("other", "master", "b");
    let platform = platform.options(|options| options.pull = false);
    platform.plan(&["back", "front", "other"])
}

#[test]
fn a_file_gets_everything() {
    let text = shown(&plan(), Detail::FILE);
    assert!(text.contains("\nother ") && text.contains("\n  build      make build\n"));
    let image = format!(" r.example.com/x/other:{}\n", commit("other"));
    assert!(text.contains(&image), "{text}");
    let counts = "2 to build, 1 to pull, 1 up to date\n";
    assert!(text.ends_with(&format!("\n\n{counts}")), "{text}");
}

#[test]
fn a_terminal_gets_units_with_work() {
    let text = shown(&plan(), TERMINAL);
    assert!(
        !text.contains("other") && !text.contains("make build"),
        "{text}"
    );
    assert!(text.contains("new commit") && !text.contains(&commit("back").to_string()));
    let all = Detail {
        all: true,
        ..TERMINAL
    };
    assert!(shown(&plan(), all).contains("\nother "));
    assert!(text.ends_with(" up to date (planned in 0.3s)\n"), "{text}");
    let steps = Detail {
        steps: true,
        ..TERMINAL
    };
    assert!(shown(&plan(), steps).contains("\n  build      make build\n"));
}

#[test]
fn a_plan_without_work_is_one_line_on_a_terminal() {
    let mut plan = plan();
    plan.units.retain(|unit| unit.steps.is_empty());
    let line = "Nothing to do: 1 service up to date\n";
    assert_eq!(shown(&plan, TERMINAL), line);
    let text = shown(&plan, Detail::FILE);
    assert!(
        text.starts_with("SERVICE ") && text.ends_with(&format!("\n\n{line}")),
        "{text}"
    );
    plan.units.clear();
    assert_eq!(shown(&plan, TERMINAL), "Nothing to do\n");
}
