//! The images to query in the engine.

use super::*;

/// Returns the services with images to query in the engine.
fn queried(platform: &TestPlatform, selected: &[&str]) -> Vec<String> {
    let selected: BTreeSet<_> = selected.iter().map(|service| name(service)).collect();
    let env = |_: &str| Some("7".to_owned());
    let TestPlatform {
        manifest, sources, ..
    } = platform;
    let draft = PlanDraft::new(manifest, &selected, sources, &platform.options, &env).unwrap();
    let folders = platform.folders(&draft);
    let queried = if draft.queries_registries_first() {
        let mut inventory = platform.inventory(&draft, &folders);
        inventory.engine.clear();
        draft
            .engine_images_after_registries(&inventory, &folders)
            .unwrap()
    } else {
        draft.engine_images()
    };
    let services = manifest.services.keys();
    let queried_names: BTreeSet<_> = queried.iter().map(|query| query.name.clone()).collect();
    let services = services.filter(|it| queried_names.contains(&platform.image(it.as_str(), "")));
    let services: Vec<String> = services.map(ToString::to_string).collect();
    assert_eq!(
        services.len(),
        queried.len(),
        "one query per service: {queried:?}"
    );
    services
}

#[test]
fn each_service_and_its_dependencies_are_queried_once() {
    let platform = TestPlatform::new().complete("back").complete("front");
    assert_eq!(queried(&platform, &["back"]), ["back", "front"]);
    assert_eq!(queried(&platform, &["other"]), ["other"]);
}

#[test]
fn without_pulls_the_registrys_response_suffices() {
    let no_pull = |platform: TestPlatform| platform.options(|options| options.pull = false);
    let complete = || no_pull(TestPlatform::new().complete("back").complete("front"));
    let nothing: [&str; 0] = [];
    assert_eq!(queried(&complete(), &["back", "front"]), nothing);
    // An image without a recipe suffices too.
    assert_eq!(queried(&complete().label("back", None), &["back"]), nothing);
    // A missing image may be in the engine, and its build uses the images of its dependencies.
    let missing = no_pull(TestPlatform::new().complete("front").complete("other"));
    let all = ["back", "front", "other"];
    assert_eq!(queried(&missing, &all), ["back", "front"]);
    let stale = complete().label("back", Some(r#"{"version":1,"inputs":{}}"#));
    assert_eq!(queried(&stale, &["back"]), ["back", "front"]);
    let forced = complete().options(|options| options.force = true);
    assert_eq!(queried(&forced, &["front"]), ["front"]);
    // Without a registry, only the engine can be queried.
    assert_eq!(
        queried(&no_pull(TestPlatform::local()), &["front"]),
        ["front"]
    );
}

#[test]
fn images_that_were_not_queried_are_neither_pulled_nor_tagged() {
    let mut platform = TestPlatform::new().complete("front");
    platform.inventory.engine.clear();
    let platform = platform.options(|options| options.pull = false);
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front skip: in the registry []"]
    );
}
