//! Sidecars and `scripts.verify`.

use super::*;
use crate::model::recipe::Recipe;

const BESIDE: &str = "    sidecars:
      db: {image: 'postgres:16', env: {X: '1'}, command: [serve], ready: pg_isready}
      front: {image: '${{ services.front.image }}', phases: [build, test]}
    scripts: {build: [make build], test: [make test], verify: [./smoke]}
";

fn manifest() -> String {
    let scripts = "    scripts: {prepare: [make deps], build: [make build], test: [make test]}\n";
    let text = MANIFEST.replace(scripts, BESIDE);
    assert_ne!(text, MANIFEST);
    text
}

fn back(plan: &Plan) -> &UnitPlan {
    let mut units = plan.units.iter();
    units.find(|it| it.unit.to_string() == "back").unwrap()
}

/// Returns each step as `phase: description`, with the image's name shortened.
fn steps(plan: &Plan) -> Vec<String> {
    let steps = back(plan).steps.iter();
    let steps = steps.map(|step| format!("{}: {}", step.phase(), step.describe(Path::new("/p"))));
    let front = format!("r.example.com/x/front:{}", commit("front"));
    steps.map(|it| it.replace(&front, "front:1")).collect()
}

fn input_names(recipe: &Recipe) -> Vec<&str> {
    recipe.inputs().map(|(name, _)| name).collect()
}

#[test]
fn sidecars_start_before_the_first_phase_and_the_image_is_named_last() {
    let platform = TestPlatform::of(&manifest());
    let plan = platform.plan(&["back"]);
    let steps = steps(&plan);
    let of_scripts: Vec<&str> = steps
        .iter()
        .map(String::as_str)
        .filter(|step| !step.starts_with("sync") && !step.starts_with("export"))
        .map(|step| step.split(" with the source").next().unwrap())
        .collect();
    let expected = [
        "container: r.example.com/x/builders/go:",
        "sidecars: front (front:1)",
        "build: make build",
        "sidecars: db (postgres:16)",
        "test: make test",
        "image: docker build",
        "container: r.example.com/x/builders/go:",
        "sidecars: db (postgres:16), back (the new image)",
        "verify: ./smoke",
        "tag: ",
        "push: r.example.com/x/back:",
    ];
    for (step, expected) in of_scripts.iter().zip(expected) {
        assert!(step.starts_with(expected), "{expected}: {of_scripts:#?}");
    }
    let image = back(&plan).steps.iter().find_map(|step| match step {
        Step::Image(image) => Some(image),
        _ => None,
    });
    assert!(image.unwrap().is_verified);
    // Nothing may use the image before it has its names.
    let unpushed = TestPlatform::of(&manifest()).options(|options| options.push = false);
    let plan = unpushed.plan(&["back"]);
    let mut all = back(&plan).steps.iter();
    let named = all.position(|it| matches!(it, Step::NameImage { .. }));
    let usable = UsableFrom::Steps(named.unwrap() + 1);
    assert_eq!(back(&plan).usable_from(), usable);
    assert!(back(&plan).tests_needed_images());
}

#[test]
fn without_tests_only_what_the_build_needs_starts() {
    let platform = TestPlatform::of(&manifest()).options(|options| options.test = false);
    let plan = platform.plan(&["back"]);
    let steps = steps(&plan).join("\n");
    assert!(steps.contains("sidecars: front (front:1)"), "{steps}");
    for absent in ["db (", "the new image", "verify:", "test:"] {
        assert!(!steps.contains(absent), "{absent}: {steps}");
    }
    let units: Vec<String> = plan.units.iter().map(|it| it.unit.to_string()).collect();
    assert!(!units.contains(&"postgres:16".to_owned()), "{units:?}");
    let after: Vec<String> = back(&plan).after.iter().map(ToString::to_string).collect();
    assert_eq!(after, ["builders/go", "front"]);
}

#[test]
fn their_images_are_units_of_the_plan() {
    let plan = TestPlatform::of(&manifest()).plan(&["back"]);
    let units: Vec<String> = plan.units.iter().map(|it| it.unit.to_string()).collect();
    assert!(units.contains(&"postgres:16".to_owned()), "{units:?}");
    let after: Vec<String> = back(&plan).after.iter().map(ToString::to_string).collect();
    assert_eq!(after, ["builders/go", "postgres:16", "front"]);
}

#[test]
fn sidecars_are_inputs_and_without_them_recipes_stay() {
    let recipe = |text: &str| {
        let plan = TestPlatform::of(text).plan(&["back"]);
        back(&plan).recipe.clone().unwrap()
    };
    let with = recipe(&manifest());
    let names = input_names(&with);
    for expected in [
        "build.sidecars.front.image",
        "build.sidecars.front.phases",
        "scripts.verify",
        "sidecars.db.command",
        "sidecars.db.env.X",
        "sidecars.db.image",
        "sidecars.db.phases",
    ] {
        assert!(names.contains(&expected), "{names:?}");
    }
    let untested = with.without_tests();
    let names = input_names(&untested);
    assert!(names.contains(&"build.sidecars.front.image"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("sidecars.")));
    // A sidecar that no script reaches does not count, nor does when it is ready.
    let unused = MANIFEST.replace(
        "    scripts: {prepare",
        "    sidecars: {db: {image: x, phases: [verify]}}\n    verify: {ready: x}\n    scripts: {prepare",
    );
    assert_ne!(unused, MANIFEST);
    assert_eq!(recipe(&unused), recipe(MANIFEST));
    let later = manifest().replace("ready: pg_isready", "ready: other, timeout: 5s");
    assert_eq!(recipe(&later), with);
}
