//! Plans for a fleet, and units as they are sent to it.

use super::*;
use crate::model::fleet::{PodRemote, refusals};
use crate::model::manifest::SecretSource;
use crate::model::plan::tests::items::ITEMS;

fn on_fleet(text: &str) -> TestPlatform {
    TestPlatform::of(text).options(|options| options.fleet = Some("ci".to_owned()))
}

fn shown(plan: &Plan, service: &str) -> Vec<String> {
    let mut units = plan.units.iter();
    let unit = units.find(|unit| unit.unit.to_string() == service).unwrap();
    let phases = unit.steps.iter().map(|step| step.phase().to_string());
    phases.collect()
}

#[test]
fn units_pull_what_they_use_where_they_run() {
    let plan = on_fleet(MANIFEST).plan(&["back"]);
    // The builder, and the needed service.
    assert_eq!(shown(&plan, "back")[..3], ["pull", "pull", "sync"]);
    assert_eq!(shown(&plan, "front")[..1], ["sync"]);
    let mut units = plan.units.iter();
    let back = units.find(|unit| unit.unit.to_string() == "back").unwrap();
    let remote = back.remote.as_ref().unwrap();
    assert_eq!(remote.fleet, "ci");
    // Tags are set by the run itself.
    assert_eq!(back.steps.len(), remote.steps + 1);
    assert!(matches!(back.steps.last(), Some(Step::RegistryTag { .. })));
    assert_eq!(back.waits(0).len(), back.after.len());
    assert!(back.waits(1).is_empty());
    assert_eq!(back.occupies(0), Occupied::Job);
}

#[test]
fn the_engine_of_this_machine_does_not_matter() {
    let platform = on_fleet(MANIFEST);
    let local = TestPlatform::new();
    let plan = platform.plan(&["other"]);
    assert!(
        plan.units
            .iter()
            .all(|unit| unit.decision != Decision::Pull)
    );
    let names = |plan: &Plan| {
        let mut steps = plan.units.last().unwrap().steps.clone().into_iter();
        let image = steps.find_map(|step| match step {
            Step::Image(step) => Some(step.names.len()),
            _ => None,
        });
        image.unwrap()
    };
    assert_eq!(names(&plan), 1);
    assert!(names(&local.plan(&["other"])) > 1);
}

#[test]
fn a_unit_is_the_same_after_it_was_sent() {
    for text in [ITEMS, MANIFEST] {
        let service = if text == ITEMS { "app" } else { "back" };
        let mut plan = on_fleet(text).plan(&[service]).units.pop().unwrap();
        // Secrets are sent as files.
        plan.for_each_secret(&mut |source| *source = SecretSource::File("/s".to_owned()));
        let sent = serde_json::to_string(&plan).unwrap();
        let received: UnitPlan = serde_json::from_str(&sent).unwrap();
        // Positions in the manifest and everything about decisions stay here.
        let again = serde_json::to_string(&received).unwrap();
        assert_eq!(sent, again);
        assert_eq!(received.steps.len(), plan.steps.len());
        let texts = |plan: &UnitPlan| {
            let texts = plan.steps.iter().map(|step| step.describe(Path::new("/p")));
            texts.collect::<Vec<_>>()
        };
        assert_eq!(texts(&received), texts(&plan));
    }
}

#[test]
fn a_secret_of_the_environment_cannot_be_sent() {
    let plan = on_fleet(ITEMS).plan(&["app"]).units.pop().unwrap();
    let error = serde_json::to_string(&plan).unwrap_err().to_string();
    assert!(error.contains("the secret is in the variable N"), "{error}");
}

#[test]
fn platforms_cannot_be_built_on_a_fleet() {
    let text = MANIFEST.replace("image: other", "image: other, platforms: [linux/arm64]");
    let refused = |text: &str| {
        let plan = on_fleet(text).plan(&["other"]);
        refusals(&plan, &|remote| PodRemote::as_written(remote))
    };
    let found = refused(&text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "docker.platforms");
    assert!(refused(MANIFEST).is_empty());
}
