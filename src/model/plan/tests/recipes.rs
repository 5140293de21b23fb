//! Images that were built from other inputs than the current ones.

use super::*;
use crate::model::recipe::{LABEL_REVISION, Recipe};

fn everywhere() -> TestPlatform {
    TestPlatform::new()
        .complete("back")
        .complete("front")
        .complete("other")
}

/// Returns the recipe in a service's image label.
fn recipe(platform: &TestPlatform, service: &str) -> Recipe {
    let options = Options::default();
    let selected = BTreeSet::from([name(service)]);
    let env = |_: &str| Some("7".to_owned());
    let draft = PlanDraft::new(
        &platform.manifest,
        &selected,
        &platform.sources,
        &options,
        &env,
    )
    .unwrap();
    let folders = platform.folders(&draft);
    let mut recipes = draft.recipes(&selected, &folders).unwrap();
    recipes.remove(&name(service)).unwrap()
}

/// A platform with images that were built with another manifest.
fn built_before(from: &str, to: &str) -> TestPlatform {
    let earlier = recipe(&TestPlatform::of(&MANIFEST.replace(from, to)), "back");
    everywhere().label("back", Some(&earlier.to_string()))
}

#[test]
fn every_input_has_a_name() {
    let recipe = recipe(&TestPlatform::new(), "back");
    let names: Vec<&str> = recipe.inputs().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "docker.args.FRONT",
            "docker.context",
            "docker.file",
            "dockerBuilder.env.N",
            "dockerBuilder.image",
            "dockerBuilder.user",
            "dockerBuilder.workdir",
            "needs.front",
            "scripts.build",
            "scripts.prepare",
            "scripts.test",
        ]
    );
}

/// Existing images have these in their labels: if one changes, every image becomes stale.
#[test]
fn the_digests_are_stable() {
    let recipe = recipe(&TestPlatform::new(), "front");
    assert_eq!(
        recipe.to_string(),
        r#"{"version":1,"inputs":{"docker.context":"3a52ce7809","docker.file":"6651ddff6e"}}"#
    );
}

#[test]
fn a_build_names_the_changed_inputs() {
    for (from, to, why) in [
        ("[make build]", "[make all]", "scripts.build changed"),
        ("builders/go", "golang:1.22", "dockerBuilder.image changed"),
        ("prepare: [make deps], ", "", "scripts.prepare is new"),
        (
            "image: back\n",
            "image: back\n      target: x\n",
            "docker.target is gone",
        ),
    ] {
        let plan = built_before(from, to).plan(&["back"]);
        let back = plan.units.last().unwrap();
        assert_eq!(back.decision, Decision::Build, "{why}");
        assert_eq!(back.reason, why);
        assert_eq!(back.changes.len(), 1, "{why}");
    }
}

#[test]
fn a_builder_with_other_content_is_another_input() {
    let earlier = recipe(&TestPlatform::new(), "back").to_string();
    let mut platform = everywhere().label("back", Some(&earlier));
    platform.dockerfile = "FROM debian";
    let plan = platform.plan(&["back"]);
    assert_eq!(
        plan.units.last().unwrap().reason,
        "dockerBuilder.image changed"
    );
}

#[test]
fn needed_services_are_compared_by_commit_and_recipe() {
    let earlier = recipe(&TestPlatform::new(), "back").to_string();
    let mut moved = everywhere().label("back", Some(&earlier));
    moved.sources.get_mut(&name("front")).unwrap().commit = commit("other");
    let text = MANIFEST.replace("{image: front}", "{image: front, target: x}");
    let other_recipe = TestPlatform::of(&text)
        .complete("back")
        .label("back", Some(&earlier));
    for platform in [moved, other_recipe] {
        let plan = platform.plan(&["back"]);
        let back = plan
            .units
            .iter()
            .find(|unit| unit.image.to_string().contains("/back:"));
        assert_eq!(back.unwrap().reason, "needs.front changed");
    }
}

/// Settings for image locations and for how a build runs are not inputs.
#[test]
fn the_registry_and_the_limits_are_not_inputs() {
    let one = recipe(&TestPlatform::new(), "back");
    for (from, to) in [
        ("r.example.com/x", "elsewhere.example.com"),
        (
            "workdir: /go/src/back",
            "workdir: /go/src/back, memory: 1g, cache: [/c], network: host",
        ),
        ("tags: ['build-${{ env.N }}']", "tags: []"),
    ] {
        let other = recipe(&TestPlatform::of(&MANIFEST.replace(from, to)), "back");
        assert_eq!(one, other, "{to}");
    }
}

#[test]
fn many_changes_are_counted() {
    let all = r#"{"version":1,"inputs":{}}"#;
    let plan = everywhere().label("back", Some(all)).plan(&["back"]);
    assert_eq!(
        plan.units.last().unwrap().reason,
        "docker.args.FRONT is new, docker.context is new, docker.file is new and 8 more"
    );
}

#[test]
fn an_image_without_a_recipe_is_used() {
    let plan = everywhere().label("front", None).plan(&["front"]);
    assert_eq!(
        shown(&plan),
        ["front skip: in the registry and the engine, unverified []"]
    );
}

#[test]
fn trust_commit_compares_only_the_commit() {
    let platform = everywhere()
        .label("front", Some("garbage"))
        .options(|options| options.trust_commit = true);
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front skip: in the registry and the engine []"]
    );
    // New images still get their recipe.
    let plan = TestPlatform::new()
        .options(|options| options.trust_commit = true)
        .plan(&["back"]);
    assert!(labels(&plan, "back").contains_key(LABEL_RECIPE));
}

#[test]
fn a_current_image_in_the_engine_prevents_a_build() {
    let platform = TestPlatform::new()
        .engine("front", "", "a")
        .registry("front", "", "b");
    let (mut inventory, stale) = (platform.inventory.clone(), r#"{"version":1,"inputs":{}}"#);
    let labels: Labels = [(LABEL_RECIPE.to_owned(), stale.to_owned())].into();
    inventory
        .published
        .insert(digest("front", "b"), Ok(published(labels)));
    let decided = |options: &Options, in_engine: &str| {
        let selected = BTreeSet::from([name("front")]);
        let env = |_: &str| None;
        let draft = PlanDraft::new(
            &platform.manifest,
            &selected,
            &platform.sources,
            options,
            &env,
        );
        let mut inventory = inventory.clone();
        let image = platform.image("front", "").to_string();
        let label = (LABEL_RECIPE.to_owned(), in_engine.to_owned());
        inventory.engine.get_mut(&image).unwrap().labels = [label].into();
        let decided = draft.unwrap().decide(inventory, Folders::new()).unwrap();
        let layout = Layout::new(PathBuf::from("/p/.xp"));
        shown(&decided.complete(&BTreeMap::new(), &layout).unwrap())
    };
    let current = recipe(&platform, "front").to_string();
    let options = Options::default();
    assert_eq!(
        decided(&options, &current),
        [
            "front push: the registry's image differs: docker.context is new, docker.file is new \
             [push tag tag]"
        ]
    );
    assert!(decided(&options, stale)[0].starts_with("front build: docker.context is new"));
    let no_push = Options {
        push: false,
        ..options
    };
    assert!(decided(&no_push, &current)[0].starts_with("front tag: in the engine; --no-push"));
}

#[test]
fn a_stale_image_in_the_engine_is_replaced_by_the_registrys() {
    let mut platform = TestPlatform::new()
        .registry("front", "", "a")
        .registry("front", "master", "a")
        .label("front", None);
    platform = platform.engine("front", "", "b");
    let options = Options::default();
    let (selected, env) = (BTreeSet::from([name("front")]), |_: &str| None);
    let draft = PlanDraft::new(
        &platform.manifest,
        &selected,
        &platform.sources,
        &options,
        &env,
    );
    let draft = draft.unwrap();
    let mut inventory = platform.inventory(&draft, &Folders::new());
    let image = platform.image("front", "").to_string();
    let label = (
        LABEL_RECIPE.to_owned(),
        r#"{"version":1,"inputs":{}}"#.to_owned(),
    );
    inventory.engine.get_mut(&image).unwrap().labels = [label].into();
    let decided = draft.decide(inventory, Folders::new()).unwrap();
    let plan = decided.complete(&BTreeMap::new(), &Layout::new(PathBuf::from("/p/.xp")));
    let shown = shown(&plan.unwrap());
    assert!(
        shown[0]
            .starts_with("front pull: in the registry; the engine's image differs: docker.context"),
        "{shown:?}"
    );
}

#[test]
fn an_unreadable_label_is_an_error_with_hints() {
    use crate::base::error::Diagnostic as _;

    let platform = everywhere().label("front", Some("garbage"));
    let error = platform.try_plan(&["front"]).unwrap_err();
    let PlanError::Recipe(error) = *error.downcast::<PlanError>().unwrap() else {
        panic!("another error")
    };
    assert!(
        error.to_string().contains("`x-platform.recipe`: not JSON"),
        "{error}"
    );
    assert_eq!(error.hints().len(), 2);
    // For images that are built anyway, it does not matter.
    let plan = platform
        .options(|options| options.force = true)
        .plan(&["front"]);
    assert_eq!(plan.units[0].decision, Decision::Build);
}

#[test]
fn a_failed_query_for_labels_is_an_error() {
    let platform = TestPlatform::new().registry("front", "", "a");
    let options = Options::default();
    let (selected, env) = (BTreeSet::from([name("front")]), |_: &str| None);
    let draft = PlanDraft::new(
        &platform.manifest,
        &selected,
        &platform.sources,
        &options,
        &env,
    );
    let mut inventory = platform.inventory.clone();
    let refusal = QueryFailure {
        why: "the registry answers GET with 503".to_owned(),
        hints: Vec::new(),
    };
    inventory
        .published
        .insert(digest("front", "a"), Err(refusal));
    let error = draft.unwrap().decide(inventory, Folders::new()).err();
    let error = error.unwrap().to_string();
    assert!(error.contains("GET with 503"), "{error}");
}

/// A run with tests must not use an image that never passed them.
#[test]
fn an_image_built_without_tests_is_stale_with_tests() {
    let untested = TestPlatform::new()
        .options(|options| options.test = false)
        .plan(&["back"]);
    let label = labels(&untested, "back")[LABEL_RECIPE].clone();
    let platform = everywhere().label("back", Some(&label));
    assert_eq!(
        platform.plan(&["back"]).units.last().unwrap().reason,
        "scripts.test is new"
    );
    let platform = platform.options(|options| options.test = false);
    assert!(platform.plan(&["back"]).is_empty());
    // Without tests, one that passed them is fine.
    let platform = everywhere().options(|options| options.test = false);
    assert!(platform.plan(&["back"]).is_empty());
}

pub(super) fn labels(plan: &Plan, service: &str) -> BTreeMap<String, String> {
    let unit = Unit::Service(name(service));
    let planned = plan.units.iter().find(|planned| planned.unit == unit);
    let steps = planned.unwrap().steps.iter();
    let image = steps.filter_map(|step| match step {
        Step::Image(image) => Some(image.labels.clone()),
        _ => None,
    });
    { image }.next_back().unwrap()
}

/// Anyone who can push can move a tag, so the image's label is checked too.
#[test]
fn an_image_of_another_commit_is_stale() {
    let platform = everywhere();
    let current = recipe(&platform, "front").to_string();
    let selected = BTreeSet::from([name("front")]);
    let (options, env) = (Options::default(), |_: &str| None);
    let decided = |revision: CommitId| {
        let draft = PlanDraft::new(
            &platform.manifest,
            &selected,
            &platform.sources,
            &options,
            &env,
        )
        .unwrap();
        let labels: Labels = [
            (LABEL_RECIPE.to_owned(), current.clone()),
            (LABEL_REVISION.to_owned(), revision.to_string()),
        ]
        .into();
        let mut inventory = platform.inventory(&draft, &Folders::new());
        inventory
            .published
            .insert(digest("front", "a"), Ok(published(labels.clone())));
        let image = platform.image("front", "").to_string();
        inventory.engine.get_mut(&image).unwrap().labels = labels;
        let decided = draft.decide(inventory, Folders::new()).unwrap();
        let layout = Layout::new(PathBuf::from("/p/.xp"));
        shown(&decided.complete(&BTreeMap::new(), &layout).unwrap()).remove(0)
    };
    assert!(decided(commit("front")).starts_with("front skip: "));
    let other = decided(commit("back"));
    assert!(other.starts_with("front build: commit changed"), "{other}");
}

#[test]
fn all_unset_variables_are_reported_at_once() {
    let mut text = MANIFEST.replace("env: {N: '${{ env.N }}'}", "env: {N: '${{ env.UNSET_1 }}'}");
    text = text.replace(
        "docker: {image: other}",
        "docker: {image: other, args: {A: '${{ env.UNSET_2 }}', B: '${{ env.UNSET_3 }}'}}",
    );
    let platform = TestPlatform::of(&text);
    let error = platform.draft(&["back", "other"], |draft| {
        let folders = platform.folders(&draft);
        draft.recipes(&draft.services(), &folders).unwrap_err()
    });
    let messages: Vec<String> = error.problems().map(|it| it.message().to_owned()).collect();
    let messages = messages.join("\n");
    for name in ["UNSET_1", "UNSET_2", "UNSET_3"] {
        assert!(messages.contains(name), "{messages}");
    }
}
