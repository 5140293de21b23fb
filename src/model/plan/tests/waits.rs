//! What each step waits for.

use super::*;

/// Returns `phase: unit milestone, …` for each step of a unit that waits.
fn waits(plan: &Plan, unit: &str) -> Vec<String> {
    let mut units = plan.units.iter();
    let unit = units.find(|it| it.unit.to_string() == unit).unwrap();
    let steps = unit.steps.iter().enumerate();
    let steps = steps.map(|(position, step)| {
        let waits = unit.waits(position);
        let waits = waits
            .iter()
            .map(|wait| format!("{} {:?}", wait.unit, wait.milestone));
        (step.phase(), waits.collect::<Vec<_>>())
    });
    let steps = steps.filter(|(_, waits)| !waits.is_empty());
    steps
        .map(|(phase, waits)| format!("{phase}: {}", waits.join(", ")))
        .collect()
}

fn usable_from(plan: &Plan, unit: &str) -> UsableFrom {
    let mut units = plan.units.iter();
    let unit = units.find(|it| it.unit.to_string() == unit).unwrap();
    unit.usable_from()
}

#[test]
fn scripts_wait_for_the_builder_and_the_image_for_the_pushes() {
    let plan = TestPlatform::new().plan(&["back"]);
    assert_eq!(
        waits(&plan, "back"),
        [
            "sync: builders/go Usable",
            "image: builders/go Final, front Final"
        ]
    );
    assert_eq!(waits(&plan, "front"), [""; 0]);
    assert_eq!(usable_from(&plan, "builders/go"), UsableFrom::Upload);
}

#[test]
fn an_image_that_nobody_gets_does_not_wait_for_the_push_of_the_builder() {
    let unpushed = TestPlatform::new().options(|options| options.push = false);
    for platform in [TestPlatform::local(), unpushed] {
        let plan = platform.plan(&["back"]);
        assert_eq!(
            waits(&plan, "back"),
            ["sync: builders/go Usable", "image: front Final"]
        );
        assert_eq!(usable_from(&plan, "builders/go"), UsableFrom::Steps(1));
    }
}

#[test]
fn scripts_that_can_use_a_needed_image_wait_for_it() {
    let with = |builder: &str| {
        let text = MANIFEST.replace("workdir: /go/src/back, env: {N: '${{ env.N }}'}", builder);
        assert_ne!(text, MANIFEST);
        waits(&TestPlatform::of(&text).plan(&["back"]), "back")
    };
    let early = ["sync: builders/go Usable"; 1];
    let late = "image: builders/go Final, front Final";
    for builder in [
        "socket: true",
        "env: {BASE: 'r.example.com/x/front:master'}",
    ] {
        assert_eq!(
            with(builder),
            [early[0], "container: front Final", late],
            "{builder}"
        );
    }
    assert_eq!(with("env: {BASE: other}"), [early[0], late]);
}

#[test]
fn without_scripts_the_builder_is_not_waited_for() {
    let text = MANIFEST.replace(
        "scripts: {prepare: [make deps], build: [make build], test: [make test]}",
        "",
    );
    let plan = TestPlatform::of(&text).plan(&["back"]);
    assert_eq!(waits(&plan, "back"), ["image: front Final"]);
}

#[test]
fn an_existing_image_is_pushed_after_those_that_it_was_built_from() {
    let plan = TestPlatform::new().engine("back", "", "a").plan(&["back"]);
    let back = plan.units.last().unwrap();
    assert_eq!(back.decision, Decision::Push);
    for wait in back.waits(0) {
        assert_eq!(wait.milestone, Milestone::Final);
    }
    assert_eq!(back.waits(0).len(), back.after.len());
}

#[test]
fn steps_that_wait_for_a_network_take_no_job() {
    let plan = TestPlatform::new().plan(&["back"]);
    let back = plan.units.last().unwrap();
    for step in &back.steps {
        let takes_job = step.occupies() == Occupied::Job;
        assert_eq!(takes_job, step.phase().takes_job(), "{}", step.phase());
    }
    let kinds: Vec<_> = back.steps.iter().map(Step::occupies).collect();
    assert_eq!(kinds.first(), Some(&Occupied::Fetch));
    assert_eq!(
        kinds[kinds.len() - 2..],
        [Occupied::Transfer, Occupied::Nothing]
    );
}
