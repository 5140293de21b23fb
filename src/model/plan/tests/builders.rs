//! Plans for builder images from folders.

use super::*;

#[test]
fn an_unpushed_builder_is_pushed_with_the_next_build() {
    let mut platform = TestPlatform::new().complete("front");
    let image = platform.plan(&["back"]).units[0].image.to_string();
    let (id, labels) = ("b".to_owned(), Labels::new());
    let (repository, _) = image.rsplit_once(':').unwrap();
    let newest = format!("{repository}:newest");
    let built = EngineImage { id, labels };
    platform.inventory.engine.insert(image, built.clone());
    platform.inventory.engine.insert(newest, built);
    let plan = platform.plan(&["back"]);
    assert_eq!(
        shown(&plan)[0],
        "builders/go push: in the engine, not in the registry [tag push tag]"
    );
    let platform = platform.options(|options| options.push = false);
    assert_eq!(
        shown(&platform.plan(&["back"]))[0],
        "builders/go skip: in the engine []"
    );
    assert!(platform.plan(&["front"]).is_empty(), "no build, no builder");
}

#[test]
fn a_missing_newest_tag_is_set() {
    let mut platform = TestPlatform::new().complete("front");
    platform.builder_in_registry = true;
    let image = platform.plan(&["back"]).units[0].image.to_string();
    let (id, labels) = ("b".to_owned(), Labels::new());
    let built = EngineImage { id, labels };
    let by_digest = by_digest(&image, "b");
    platform.inventory.engine.insert(image, built.clone());
    platform.inventory.engine.insert(by_digest, built);
    assert_eq!(
        shown(&platform.plan(&["back"]))[0],
        "builders/go tag: in the engine; tags to update: newest [tag]"
    );
}

#[test]
fn the_registrys_build_of_a_builder_takes_precedence() {
    let mut platform = TestPlatform::new().complete("front");
    platform.builder_in_registry = true;
    let image = platform.plan(&["back"]).units[0].image.to_string();
    let newest = format!("{}:newest", repository(&image));
    let own = build("own");
    platform.inventory.engine.insert(image.clone(), own.clone());
    platform
        .inventory
        .engine
        .insert(newest.clone(), own.clone());
    let pull =
        "builders/go pull: in the registry; the engine has another build of the same content";
    let first = |platform: &TestPlatform| shown(&platform.plan(&["back"]))[0].clone();
    assert_eq!(first(&platform), format!("{pull} [pull tag]"));
    // A tag on an image with other content is not moved.
    platform.inventory.engine.insert(newest, build("later"));
    assert_eq!(first(&platform), format!("{pull} [pull]"));
    let steps = &platform.plan(&["back"]).units[0].steps;
    let pulled = steps.iter().find_map(|step| match step {
        Step::Pull { digest, .. } => digest.clone(),
        _ => None,
    });
    assert_eq!(pulled, Some(digest("builder", "b")));
    // Even without a push: dependents may be pushed later.
    platform.options.push = false;
    assert_eq!(first(&platform), format!("{pull} [pull]"));
    // Another build in the engine does not matter either.
    platform
        .inventory
        .engine
        .insert(by_digest(&image, "b"), build("other"));
    assert_eq!(first(&platform), format!("{pull} [pull]"));
    platform
        .inventory
        .engine
        .insert(by_digest(&image, "b"), own);
    assert_eq!(first(&platform), "builders/go skip: in the engine []");
}

#[test]
fn an_update_replaces_the_registrys_image() {
    let platform = TestPlatform::new();
    let selected = BTreeSet::from([name("back")]);
    let env = |_: &str| Some("7".to_owned());
    let (manifest, sources) = (&platform.manifest, &platform.sources);
    let draft = PlanDraft::new(manifest, &selected, sources, &platform.options, &env).unwrap();
    let folders = platform.folders(&draft);
    let (unit, folder) = folders.first_key_value().unwrap();
    let replaced = |registries: &[(ImageReference, Presence)]| {
        let registries = registries.iter().cloned().collect();
        let inventory = Inventory::default();
        let mode = BuilderMode {
            force: true,
            push: true,
            ..BuilderMode::default()
        };
        let plan = folder.plan(unit.clone(), &inventory, &registries, mode);
        assert_eq!(plan.decision, Decision::Build);
        let pushes = plan.steps.into_iter().filter_map(|step| match step {
            Step::Push(step) => Some(step.replaces.clone()),
            _ => None,
        });
        pushes.collect::<Vec<_>>()
    };
    let earlier = digest("builder", "b");
    let present = Presence::Present(earlier.clone());
    assert_eq!(
        replaced(&[(folder.image.clone(), present)]),
        [Some(earlier)]
    );
    assert_eq!(
        replaced(&[(folder.image.clone(), Presence::Absent)]),
        [None]
    );
}

fn build(id: &str) -> EngineImage {
    EngineImage {
        id: id.to_owned(),
        labels: Labels::new(),
    }
}

fn repository(image: &str) -> &str {
    image.rsplit_once(':').unwrap().0
}

/// Returns the engine's name for the registry's image.
fn by_digest(image: &str, content: &str) -> String {
    format!("{}@{}", repository(image), digest("builder", content))
}
