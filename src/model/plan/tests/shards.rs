//! Parts of a plan that other runs complete.

use super::*;
use crate::model::shard::{Shard, ShardTimes};

fn part(services: &[&str], shards: &[(&str, &str)]) -> Part {
    let shards = shards.iter();
    Part {
        services: services.iter().map(|service| name(service)).collect(),
        shards: shards
            .map(|(service, shard)| (name(service), shard.parse().unwrap()))
            .collect(),
        wait_limit: Duration::from_secs(3600),
    }
}

const ALL: [&str; 3] = ["back", "front", "other"];

const SHARDS: [(&str, &str); 3] = [("back", "1/2"), ("front", "2/2"), ("other", "2/2")];

fn of_shards(services: &[&str]) -> TestPlatform {
    TestPlatform::new().options(|options| options.part = Some(part(services, &SHARDS)))
}

/// Returns the awaited image, and the tag that it is pushed with by the other run.
fn awaited(own: &Plan, other: &Plan) -> (String, String) {
    let steps = |plan: &Plan| -> Vec<Step> {
        let units = plan
            .units
            .iter()
            .filter(|it| it.unit.to_string() == "front");
        units.flat_map(|unit| unit.steps.clone()).collect()
    };
    let awaited = steps(own).into_iter().find_map(|step| match step {
        Step::Await(step) => Some(step.image.to_string()),
        _ => None,
    });
    let pushed = steps(other).into_iter().find_map(|step| match step {
        Step::Push(step) => step.identity.map(|image| image.to_string()),
        _ => None,
    });
    (awaited.unwrap(), pushed.unwrap())
}

#[test]
fn a_needed_image_of_another_shard_is_awaited() {
    let plan = of_shards(&["back"]).plan(&ALL);
    assert_eq!(
        shown(&plan)[1],
        "front pull: shard 2/2 builds it: new commit [pull pull tag]"
    );
    assert!(shown(&plan)[2].starts_with("back build: new commit"));
    let back = &plan.units[2];
    assert!(back.after.contains(&plan.units[1].unit));
    let text = plan.units[1].steps[0].describe(Path::new("/p"));
    assert!(
        text.starts_with("wait up to 1h until shard 2/2 has pushed"),
        "{text}"
    );
    // Only the engine gets the other names: the other shard sets the tags in the registry.
    let steps = plan.units[1].steps.iter();
    assert!(
        !steps
            .clone()
            .any(|it| matches!(it, Step::RegistryTag { .. }))
    );

    let other = of_shards(&["front", "other"]).plan(&ALL);
    let units: Vec<String> = other.units.iter().map(|it| it.unit.to_string()).collect();
    assert_eq!(units, ["front", "other"]);
    let (awaited_image, pushed) = awaited(&plan, &other);
    assert_eq!(awaited_image, pushed);
}

#[test]
fn an_image_without_tests_is_awaited_by_its_own_name() {
    let untested = |services: &[&str]| {
        let platform = of_shards(services).options(|options| options.test = false);
        platform.plan(&ALL)
    };
    let (image, pushed) = awaited(&untested(&["back"]), &untested(&["front"]));
    assert_eq!(image, pushed);
}

#[test]
fn existing_images_of_other_shards_are_not_tagged() {
    let platform = of_shards(&["back"])
        .registry("front", "", "a")
        .registry("front", "master", "b");
    let plan = platform.plan(&ALL);
    assert_eq!(
        shown(&plan)[1],
        "front pull: in the registry, not in the engine [pull tag]"
    );
    let steps = &plan.units[1].steps;
    assert!(matches!(steps[1], Step::EngineTag { .. }), "{steps:?}");
    // This part does not need the service that is missing.
    let platform = of_shards(&["back"]).complete("back").complete("front");
    let plan = platform.plan(&ALL);
    assert!(plan.is_empty());
}

#[test]
fn an_image_that_cannot_be_awaited_is_an_error() {
    let message = |platform: TestPlatform| {
        let error = platform.try_plan(&ALL).unwrap_err();
        error.to_string()
    };
    let platform = of_shards(&["back"]).options(|options| options.push = false);
    assert_eq!(
        message(platform),
        "back needs the image of front, which shard 2/2 builds, but `--no-push` keeps images on the machine \
         that builds them"
    );
    let platform = of_shards(&["back"]).options(|options| options.force = true);
    assert!(message(platform).contains("with `--force`"));
    let mut platform = TestPlatform::local();
    platform.options.part = Some(part(&["back"], &[]));
    assert_eq!(
        message(platform),
        "back needs the image of front, which another run builds, but it has no registry to get it from"
    );
}

#[test]
fn a_matrix_has_the_parts_with_work() {
    let plan = TestPlatform::new().complete("other").plan(&ALL);
    let mut times = ShardTimes::default();
    times.add(r#"{"back": 90, "other": 10}"#).unwrap();
    let shards: BTreeMap<ServiceName, Shard> = part(&[], &SHARDS).shards;
    assert_eq!(
        Matrix::of(&plan, Some(&shards), &times).github(),
        "{\"include\":[{\"shard\":\"2/2\",\"services\":\"front\"},\
         {\"shard\":\"1/2\",\"services\":\"back\",\"seconds\":90}]}\n"
    );
    // Needed services come first.
    let of_services = Matrix::of(&plan, None, &times);
    assert_eq!(
        of_services.github(),
        "{\"include\":[{\"services\":\"front\"},{\"services\":\"back\",\"seconds\":90}]}\n"
    );
    assert_eq!(
        of_services.gitlab(),
        "\"xp front\":\n  stage: build\n  script:\n    - \"xp build $XP_BUILD_OPTIONS --only front\"\n\
         \"xp back\":\n  stage: build\n  script:\n    - \"xp build $XP_BUILD_OPTIONS --only back\"\n"
    );

    let platform = ALL
        .iter()
        .fold(TestPlatform::new(), |it, service| it.complete(service));
    let empty = Matrix::of(&platform.plan(&ALL), None, &times);
    assert_eq!(empty.github(), "{\"include\":[]}\n");
    assert!(empty.gitlab().contains("echo 'Nothing to do'"));
}
