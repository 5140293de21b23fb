//! Which images the engine is asked for.

use super::*;

/// Returns the services whose images the engine is asked for.
fn asked(platform: &Platform, selected: &[&str]) -> Vec<String> {
    let selected: BTreeSet<_> = selected.iter().map(|service| name(service)).collect();
    let env = |_: &str| Some("7".to_owned());
    let Platform {
        manifest, sources, ..
    } = platform;
    let draft = Draft::new(manifest, &selected, sources, &platform.options, &env).unwrap();
    let folders = platform.folders(&draft);
    let asked = match draft.asks_registries_first() {
        false => draft.engine_images(),
        true => {
            let mut inventory = platform.inventory(&draft, &folders);
            inventory.engine.clear();
            draft.engine_images_beside(&inventory, &folders).unwrap()
        }
    };
    let services = manifest.services.keys();
    let asked_names: BTreeSet<_> = asked.iter().map(|query| query.name.clone()).collect();
    let services = services.filter(|it| asked_names.contains(&platform.image(it.as_str(), "")));
    let services: Vec<String> = services.map(ToString::to_string).collect();
    assert_eq!(
        services.len(),
        asked.len(),
        "one question a service: {asked:?}"
    );
    services
}

#[test]
fn the_engine_is_asked_once_for_each_service_and_what_it_needs() {
    let platform = Platform::new().complete("back").complete("front");
    assert_eq!(asked(&platform, &["back"]), ["back", "front"]);
    assert_eq!(asked(&platform, &["other"]), ["other"]);
}

#[test]
fn where_nothing_is_pulled_the_registrys_answer_suffices() {
    let no_pull = |platform: Platform| platform.options(|options| options.pull = false);
    let complete = || no_pull(Platform::new().complete("back").complete("front"));
    let nothing: [&str; 0] = [];
    assert_eq!(asked(&complete(), &["back", "front"]), nothing);
    // What has no recipe counts as well.
    assert_eq!(asked(&complete().label("back", None), &["back"]), nothing);
    // What is missing may be in the engine, and a build of it starts from what it needs.
    let missing = no_pull(Platform::new().complete("front").complete("other"));
    let all = ["back", "front", "other"];
    assert_eq!(asked(&missing, &all), ["back", "front"]);
    let stale = complete().label("back", Some(r#"{"version":1,"inputs":{}}"#));
    assert_eq!(asked(&stale, &["back"]), ["back", "front"]);
    let forced = complete().options(|options| options.force = true);
    assert_eq!(asked(&forced, &["front"]), ["front"]);
    // Without a registry there is nobody else to ask.
    assert_eq!(asked(&no_pull(Platform::local()), &["front"]), ["front"]);
}

#[test]
fn what_was_not_asked_for_is_neither_pulled_nor_tagged() {
    let mut platform = Platform::new().complete("front");
    platform.inventory.engine.clear();
    let platform = platform.options(|options| options.pull = false);
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front skip: in the registry []"]
    );
}
