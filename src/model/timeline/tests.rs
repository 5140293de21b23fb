use super::*;
use crate::model::record::{StepRecord, WaitRecord};

/// A unit: its name, start and end, and dependencies.
type TimelineRow<'a> = (&'a str, f64, f64, &'a [&'a str]);

fn run(jobs: usize, rows: &[TimelineRow]) -> RunRecord {
    let units: Vec<_> = rows
        .iter()
        .map(|(name, _, _, after)| {
            serde_json::json!({"name": name, "kind": "service", "image": "x", "decision": "build",
                "reason": "", "changes": [], "after": after, "steps": []})
        })
        .collect();
    let plan = serde_json::json!({"version": 1, "units": units,
        "counts": {"skip": 0, "tag": 0, "pull": 0, "push": 0, "build": 0}});
    RunRecord {
        plan: Some(serde_json::from_value(plan).unwrap()),
        jobs: Some(jobs),
        work_start: Some(1.0),
        units: rows
            .iter()
            .map(|(name, start, end, _)| unit(name, &[("build", *start, *end)]))
            .collect(),
        seconds: rows.iter().fold(0.0, |last, row| row.2.max(last)),
        exit: Some(0),
        ..RunRecord::default()
    }
}

fn unit(name: &str, steps: &[(&str, f64, f64)]) -> UnitRecord {
    let steps: Vec<StepRecord> = steps
        .iter()
        .map(|(phase, start, end)| StepRecord {
            phase: (*phase).to_owned(),
            title: String::new(),
            start: *start,
            end: Some(*end),
            done: true,
        })
        .collect();
    UnitRecord {
        name: name.to_owned(),
        start: steps.first().map_or(0.0, |step| step.start),
        end: steps.last().and_then(|step| step.end),
        outcome: Some(Outcome::Done),
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

fn path(jobs: usize, rows: &[TimelineRow]) -> Vec<(String, StartReason)> {
    let timeline = Timeline::new(&run(jobs, rows), 0.0);
    let links = timeline.path.iter();
    links
        .map(|link| (timeline.spans[link.unit].unit.clone(), link.cause))
        .collect()
}

fn link(unit: &str, cause: StartReason) -> (String, StartReason) {
    (unit.to_owned(), cause)
}

#[test]
fn the_path_follows_dependencies() {
    let rows: &[TimelineRow] = &[
        ("a", 1.0, 5.0, &[]),
        ("b", 1.0, 3.0, &[]),
        ("c", 5.001, 9.0, &["a", "b"]),
        ("d", 3.001, 8.0, &["b"]),
    ];
    let expected = [link("a", StartReason::Start), link("c", StartReason::Needs)];
    assert_eq!(path(8, rows), expected);
    let timeline = Timeline::new(&run(8, rows), 0.0);
    let c = timeline.spans.iter().find(|it| it.unit == "c").unwrap();
    assert_eq!(c.ready, 5.0);
    assert!((timeline.lower_bound() - 8.999).abs() < 1e-9);
    assert!((timeline.parallelism().unwrap() - 14.998 / 8.0).abs() < 1e-3);
}

#[test]
fn a_unit_that_waited_for_a_job_follows_the_one_that_had_it() {
    let rows: &[TimelineRow] = &[
        ("a", 1.0, 3.0, &[]),
        ("b", 1.0, 6.0, &[]),
        ("c", 3.0, 7.0, &[]),
        // It needs `a`, and was ready at 3, but both jobs were in use until 6.
        ("d", 6.0, 9.0, &["a"]),
    ];
    let expected = [link("b", StartReason::Start), link("d", StartReason::Job)];
    assert_eq!(path(2, rows), expected);
    let timeline = Timeline::new(&run(2, rows), 0.0);
    let d = &timeline.spans[3];
    assert_eq!(d.start - d.ready, 3.0);
    // Without a limit, `b` alone would have taken as long as `a` and `d`.
    assert_eq!(timeline.lower_bound(), 6.0);
}

/// A builder that is pushed for long, and a service that runs its scripts meanwhile.
fn run_with_a_long_push() -> RunRecord {
    let units = serde_json::json!([
        {"name": "builders/go", "kind": "builder", "image": "x", "decision": "build", "reason": "", "changes": [],
            "after": [], "steps": [{"phase": "image", "text": ""}, {"phase": "push", "text": ""}]},
        {"name": "a", "kind": "service", "image": "x", "decision": "build", "reason": "", "changes": [],
            "after": ["builders/go"], "steps": [{"phase": "sync", "text": "", "after": ["builders/go"]},
            {"phase": "build", "text": ""}, {"phase": "image", "text": "", "after": ["builders/go"]}]}]);
    let plan = serde_json::json!({"version": 1, "units": units,
        "counts": {"skip": 0, "tag": 0, "pull": 0, "push": 0, "build": 2}});
    let mut a = unit(
        "a",
        &[
            ("sync", 4.0, 5.0),
            ("build", 5.0, 8.0),
            ("image", 20.0, 21.0),
        ],
    );
    let wait = |start, end| WaitRecord {
        needs: vec!["builders/go".to_owned()],
        start,
        end: Some(end),
    };
    a.waits = vec![wait(1.0, 4.0), wait(8.0, 20.0)];
    RunRecord {
        plan: Some(serde_json::from_value(plan).unwrap()),
        jobs: Some(1),
        work_start: Some(1.0),
        units: vec![
            unit("builders/go", &[("image", 1.0, 4.0), ("push", 4.0, 20.0)]),
            a,
        ],
        seconds: 21.0,
        exit: Some(0),
        ..RunRecord::default()
    }
}

#[test]
fn steps_that_wait_for_a_push_are_on_the_path_with_it() {
    let run = run_with_a_long_push();
    let timeline = Timeline::new(&run, 0.0);
    let path: Vec<_> = timeline.path.iter().map(|it| (it.unit, it.cause)).collect();
    assert_eq!(path, [(0, StartReason::Start), (1, StartReason::Needs)]);
    let a = &timeline.spans[1];
    assert_eq!((a.ready, a.start, a.worked), (4.0, 4.0, 5.0));
    // Neither the push nor the sync takes a job.
    assert_eq!(timeline.parallelism(), Some(7.0 / 20.0));
    assert_eq!(timeline.lower_bound(), 21.0);
}

#[test]
fn steps_without_a_wait_do_not_hide_that_scripts_ran_meanwhile() {
    let mut run = run_with_a_long_push();
    // The push ends first: now the scripts are what takes long.
    run.units[0].steps[1].end = Some(6.0);
    run.units[0].end = Some(6.0);
    run.units[1].waits.pop();
    for step in &mut run.units[1].steps {
        (step.start, step.end) = match step.phase.as_str() {
            "build" => (5.0, Some(20.0)),
            _ => (step.start, step.end),
        };
    }
    let timeline = Timeline::new(&run, 0.0);
    let path: Vec<_> = timeline.path.iter().map(|it| (it.unit, it.cause)).collect();
    assert_eq!(path, [(0, StartReason::Start), (1, StartReason::Needs)]);
    assert_eq!(timeline.lower_bound(), 21.0);
    assert_eq!(timeline.spans[1].worked, 17.0);
}

#[test]
fn no_unit_is_blamed_while_a_job_slot_is_free() {
    let rows: &[TimelineRow] = &[
        ("a", 1.0, 3.0, &[]),
        ("b", 1.0, 3.5, &[]),
        // The scheduler started it late, on a busy machine.
        ("c", 4.0, 6.0, &["a"]),
    ];
    let expected = [link("a", StartReason::Start), link("c", StartReason::Needs)];
    assert_eq!(path(8, rows), expected);
}

#[test]
fn with_one_job_the_path_has_all_units() {
    let rows: &[TimelineRow] = &[
        ("a", 1.0, 2.0, &[]),
        ("b", 2.0, 3.0, &[]),
        ("c", 3.0, 4.0, &["b"]),
    ];
    let expected = [
        link("a", StartReason::Start),
        link("b", StartReason::Job),
        // It was ready when the job became free: it only waited for its dependency.
        link("c", StartReason::Needs),
    ];
    assert_eq!(path(1, rows), expected);
}

#[test]
fn a_run_in_progress_ends_now_and_blocked_units_have_no_span() {
    let mut run = run(
        2,
        &[
            ("a", 1.0, 2.0, &[]),
            ("b", 1.0, 1.5, &[]),
            ("c", 2.0, 2.0, &["b"]),
        ],
    );
    run.units[0].end = None;
    run.units[0].outcome = None;
    run.units[2].steps.clear();
    run.units[2].outcome = Some(Outcome::Blocked);
    let timeline = Timeline::new(&run, 10.0);
    assert_eq!((timeline.end, timeline.spans.len()), (10.0, 2));
    assert_eq!(timeline.spans[0].end, 10.0);
    assert_eq!(timeline.path.len(), 1);
}

#[test]
fn a_run_without_work_has_an_empty_timeline() {
    let record = RunRecord {
        seconds: 0.5,
        ..RunRecord::default()
    };
    let timeline = Timeline::new(&record, 0.0);
    assert_eq!((timeline.path.len(), timeline.parallelism()), (0, None));
    assert_eq!((timeline.work_start, timeline.lower_bound()), (0.5, 0.5));
}

#[test]
fn impossible_times_terminate() {
    // Each needs the other and ended before it began.
    let rows: &[TimelineRow] = &[("a", 5.0, 1.0, &["b"]), ("b", 5.0, 1.0, &["a"])];
    assert!(path(1, rows).len() <= 3);
}

#[test]
fn only_successful_units_with_the_same_phases_are_compared() {
    let with = |seconds: f64| RunRecord {
        units: vec![unit(
            "a",
            &[("build", 0.0, seconds), ("image", seconds, seconds + 1.0)],
        )],
        ..RunRecord::default()
    };
    let pulled = RunRecord {
        units: vec![unit("a", &[("pull", 0.0, 1.0)])],
        ..RunRecord::default()
    };
    let mut failed = with(100.0);
    failed.units[0].outcome = Some(Outcome::Failed);
    failed.units[0].steps[0].done = false;
    let now = with(20.0);
    let history = RunHistory::new([&with(8.0), &pulled, &failed, &with(10.0), &with(12.0)]);
    let whole = history.unit(&now.units[0]).unwrap();
    assert_eq!(whole.earlier, [9.0, 11.0, 13.0]);
    assert_eq!((whole.usual, whole.difference), (11.0, 10.0));
    let build = history.phase(&now.units[0], "build").unwrap();
    assert_eq!((build.usual, build.change()), (10.0, Some(1.0)));
    // The build failed, but the image was built.
    let image = history.phase(&now.units[0], "image").unwrap();
    assert_eq!((image.earlier.len(), image.change()), (4, None));
    assert_eq!(history.unit(&failed.units[0]), None);
}

#[test]
fn runs_are_compared_with_those_of_the_same_command() {
    let took = |seconds: f64, command: &str, exit: u8| RunRecord {
        seconds,
        command: command.to_owned(),
        exit: Some(exit),
        ..RunRecord::default()
    };
    let history = RunHistory::new([
        &took(1.0, "xp build", 0),
        &took(9.0, "xp sync", 0),
        &took(5.0, "xp build", 1),
        &took(3.0, "xp build", 0),
    ]);
    let comparison = history.run(&took(2.0, "xp build", 0)).unwrap();
    assert_eq!((comparison.usual, comparison.change()), (2.0, None));
    assert_eq!(history.run(&took(2.0, "xp build", 1)), None);
}
