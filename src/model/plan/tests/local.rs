//! `--local`: builds of working copies, in place.

use super::recipes::labels;
use super::*;
use crate::model::recipe::{LABEL_LOCAL, LABEL_VERSION, Recipe};
use crate::model::source::{GitFolders, TreeChanges, TreeHasher, WorkingTree};

/// Makes a service build in place, with these changed files.
fn in_place(mut platform: TestPlatform, service: &str, changed: &[&str]) -> TestPlatform {
    platform.options.push = false;
    let mut hasher = TreeHasher::default();
    for path in changed {
        hasher.file(path.as_bytes(), false, [1; 20]);
    }
    let changes = TreeChanges {
        excluded: 0,
        digest: hasher.finish(),
        count: changed.len(),
        paths: changed.iter().map(|path| (*path).to_owned()).collect(),
    };
    let dir = Path::new("/p").join(&platform.manifest.services[&name(service)].dir);
    let tree = WorkingTree {
        changes: (!changed.is_empty()).then_some(changes),
        commit_time: Some(1_700_000_000),
        git: Some(GitFolders {
            entry: dir.join(".git"),
            link: None,
            borrowed_objects: Vec::new(),
        }),
    };
    let source = platform.sources.get_mut(&name(service)).unwrap();
    *source = ServiceSource::from_working_copy(source.tip.clone(), tree);
    platform
}

/// Returns the recipe label of an image that a plan builds.
fn recipe_label(plan: &Plan, service: &str) -> String {
    labels(plan, service)[LABEL_RECIPE].clone()
}

fn step<'p, T>(plan: &'p Plan, service: &str, which: impl Fn(&'p Step) -> Option<T>) -> T {
    let unit = Unit::Service(name(service));
    let unit = plan.units.iter().find(|planned| planned.unit == unit);
    unit.unwrap().steps.iter().find_map(which).unwrap()
}

fn image_step<'p>(plan: &'p Plan, service: &str) -> &'p ImageStep {
    step(plan, service, |step| match step {
        Step::Image(image) => Some(&**image),
        _ => None,
    })
}

#[test]
fn a_working_copy_is_built_in_place() {
    let platform = in_place(TestPlatform::new(), "back", &["main.go"]).complete("front");
    let plan = platform.plan(&["back"]);
    assert_eq!(
        shown(&plan)[1..],
        [
            "front skip: in the registry and the engine []",
            "back build: changed: main.go [container prepare build test image]"
        ]
    );
    let back = &plan.units[2];
    let folder = back.in_place.as_ref().unwrap();
    assert_eq!(folder.dir, Path::new("/p/src/back"));
    assert!(folder.changes.is_some() && folder.selection.is_whole());
    let dirty = format!("{}-dirty-", commit("back"));
    assert!(back.image.to_string().contains(&dirty), "{}", back.image);
    let container = step(&plan, "back", |step| match step {
        Step::Container(container) => Some(container),
        _ => None,
    });
    assert_eq!(container.source, Path::new("/p/src/back"));
    assert_eq!(container.git.len(), 1);
    assert_eq!(container.git[0].source, Path::new("/p/src/back/.git"));
    assert_eq!(container.git[0].target, Path::new("/go/src/back/.git"));
    assert_eq!(container.env["XP_IMAGE"], back.image.to_string());
    assert_eq!(container.env["XP_COMMIT"], commit("back").to_string());
    assert_eq!(container.env["SOURCE_DATE_EPOCH"], "1700000000");
    let image = image_step(&plan, "back");
    assert_eq!(image.root, Path::new("/p/src/back"));
    assert_eq!(image.commit_time, Some(1_700_000_000));
    assert_eq!(image.names[0], back.image);
    assert_eq!(image.names[1], platform.image("back", "master"));
    assert_eq!(image.labels[LABEL_LOCAL], "/p/.xp");
    let digest = back
        .image
        .to_string()
        .split("-dirty-")
        .last()
        .unwrap()
        .to_owned();
    assert_eq!(
        image.labels[LABEL_VERSION],
        format!("master-dirty-{digest}")
    );
    let words = plan.display(Path::new("/p"), Detail::FILE, Duration::ZERO);
    assert!(
        words.contains(" with src/back at /go/src/back\n"),
        "{words}"
    );
    assert!(
        words.contains("docker build --build-arg FRONT src/back\n"),
        "{words}"
    );
}

#[test]
fn local_builds_are_never_pushed() {
    for changed in [&["a"][..], &[]] {
        let mut platform = in_place(TestPlatform::new(), "front", changed);
        platform.options.push = true;
        platform.options.tags = vec!["extra".parse().unwrap()];
        let plan = platform.plan(&["front"]);
        assert!(shown(&plan)[0].ends_with("[image]"), "{:?}", shown(&plan));
        assert_eq!(image_step(&plan, "front").names.len(), 3);
        let label = recipe_label(&plan, "front");
        // Existing images and their tags are not pushed either.
        let platform = platform
            .engine("front", "", "a")
            .label("front", Some(&label));
        let plan = platform.plan(&["front"]);
        assert_eq!(
            shown(&plan),
            ["front tag: in the engine; tags to update: extra, master [tag]"]
        );
        assert!(matches!(plan.units[0].steps[0], Step::EngineTag { .. }));
    }
}

#[test]
fn registries_are_queried_only_for_clean_working_copies() {
    let queried = |platform: &TestPlatform| {
        let selected = BTreeSet::from([name("front")]);
        let (options, env) = (&platform.options, |_: &str| None);
        let draft = PlanDraft::new(
            &platform.manifest,
            &selected,
            &platform.sources,
            options,
            &env,
        );
        draft.unwrap().images()
    };
    assert_eq!(queried(&TestPlatform::new()).len(), 2);
    let clean = in_place(TestPlatform::new(), "front", &[]);
    assert_eq!(queried(&clean), [clean.image("front", "")]);
    let dirty = in_place(TestPlatform::new(), "front", &["a"]);
    assert_eq!(queried(&dirty), []);
}

#[test]
fn a_clean_working_copy_uses_the_image_of_its_commit() {
    let clean = || in_place(TestPlatform::new(), "front", &[]);
    assert_eq!(
        shown(&clean().plan(&["front"])),
        ["front build: new commit [image]"]
    );
    assert_eq!(
        shown(&clean().complete("front").plan(&["front"])),
        ["front skip: in the registry and the engine []"]
    );
    assert_eq!(
        shown(&clean().registry("front", "", "a").plan(&["front"])),
        ["front pull: in the registry, not in the engine [pull tag]"]
    );
    // But one with changes does not.
    let dirty = in_place(TestPlatform::new().complete("front"), "front", &["a"]);
    assert!(shown(&dirty.plan(&["front"]))[0].starts_with("front build: changed: a"));
}

#[test]
fn a_failed_query_does_not_prevent_local_builds() {
    let mut platform = in_place(TestPlatform::new(), "front", &[]);
    let refusal = QueryFailure {
        why: "unreachable".to_owned(),
        hints: Vec::new(),
    };
    let image = platform.image("front", "");
    let unknown = Presence::Unknown(refusal);
    platform.inventory.registry.insert(image, unknown.clone());
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front build: new commit [image]"]
    );
    // For a needed service that is built from its commit, it is still an error.
    let mut platform = in_place(TestPlatform::new(), "back", &["a"]);
    let image = platform.image("front", "");
    platform.inventory.registry.insert(image, unknown);
    let error = platform.try_plan(&["back"]).unwrap_err().to_string();
    assert!(error.contains("unreachable"), "{error}");
}

#[test]
fn an_image_of_a_working_copy_is_not_used_for_its_commit() {
    let local = in_place(TestPlatform::new(), "front", &[]).plan(&["front"]);
    let label = recipe_label(&local, "front");
    assert!(label.parse::<Recipe>().unwrap().is_of_working_copy());
    let why = "the engine's image was built with --local";
    let found = || {
        let platform = TestPlatform::new().engine("front", "", "local");
        platform
            .engine("front", "master", "local")
            .label("front", Some(&label))
    };
    let commit = "new commit";
    assert_eq!(
        shown(&found().plan(&["front"])),
        [format!(
            "front build: {commit}; {why} [sync export image push tag]"
        )]
    );
    // Not even with `--trust-commit`.
    let trusting = found().options(|options| options.trust_commit = true);
    assert!(shown(&trusting.plan(&["front"]))[0].starts_with("front build: "));
    // Or without a registry.
    let mut engine_alone = TestPlatform::local().engine("front", "", "local");
    engine_alone = engine_alone.label("front", Some(&label));
    assert_eq!(
        shown(&engine_alone.plan(&["front"])),
        [format!(
            "front build: new commit; {why} [sync export image]"
        )]
    );
    // The next local build uses it.
    let again = in_place(found(), "front", &[]);
    assert_eq!(
        shown(&again.plan(&["front"])),
        ["front skip: in the engine []"]
    );
}

#[test]
fn a_manually_pushed_local_image_is_replaced_and_not_locked() {
    let local = in_place(TestPlatform::new(), "front", &[]).plan(&["front"]);
    let label = recipe_label(&local, "front");
    let platform = TestPlatform::new().registry("front", "", "a");
    let platform = platform.label("front", Some(&label));
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front build: new commit; \
              the registry's image was built with --local [sync export image push tag]"]
    );
    let selected = [name("front")].into();
    let env = |_: &str| None;
    let (sources, options) = (&platform.sources, &platform.options);
    let draft = PlanDraft::new(&platform.manifest, &selected, sources, options, &env).unwrap();
    let folders = platform.folders(&draft);
    let env = |_: &str| Some("7".to_owned());
    let all = platform.manifest.services.keys().cloned().collect();
    let whole = PlanDraft::new(&platform.manifest, &all, sources, options, &env).unwrap();
    let inventory = platform.inventory(&whole, &platform.folders(&whole));
    let compared = draft.compare(&inventory, &folders).unwrap();
    let lookup = &compared.comparisons[&name("front")].registry;
    let problem = crate::model::lock::LockProblem::of(lookup, None, &BTreeSet::new());
    assert_eq!(
        problem,
        Some(crate::model::lock::LockProblem::FromWorkingCopy)
    );
}

#[test]
fn the_registrys_image_replaces_a_local_one() {
    let local = in_place(TestPlatform::new(), "front", &[]).plan(&["front"]);
    let local = recipe_label(&local, "front");
    // The registry has the commit's image, and the engine the working copy's.
    let plan = |selected: &[&str], pull: bool| {
        let platform = TestPlatform::new()
            .registry("front", "", "a")
            .registry("front", "master", "a")
            .engine("front", "", "local")
            .engine("front", "master", "local");
        let options = Options {
            pull,
            ..Options::default()
        };
        let env = |_: &str| Some("7".to_owned());
        let selected = selected.iter().map(|service| name(service)).collect();
        let draft = PlanDraft::new(
            &platform.manifest,
            &selected,
            &platform.sources,
            &options,
            &env,
        );
        let draft = draft.unwrap();
        let folders = platform.folders(&draft);
        let mut inventory = platform.inventory(&draft, &folders);
        let image = platform.image("front", "").to_string();
        let label = (LABEL_RECIPE.to_owned(), local.clone());
        inventory.engine.get_mut(&image).unwrap().labels = [label].into();
        let decided = draft.decide(inventory, folders).unwrap();
        let builders = BTreeMap::new();
        let plan = decided.complete(&builders, &Layout::new(PathBuf::from("/p/.xp")));
        shown(&plan.unwrap())
    };
    let pull = "front pull: in the registry, not in the engine; \
                the engine's image was built with --local [pull tag]";
    assert_eq!(plan(&["front"], true), [pull]);
    // Otherwise a dependent's build would use the engine's image.
    assert_eq!(plan(&["back"], false)[1], pull);
    // It is not the commit's image, so it gets none of the tags.
    assert_eq!(plan(&["front"], false), ["front skip: in the registry []"]);
}

#[test]
fn services_use_each_others_local_images() {
    let platform = in_place(TestPlatform::new(), "front", &["page"]);
    let platform = in_place(platform, "back", &[]);
    let plan = platform.plan(&["back", "front"]);
    let front = platform.image("front", "").to_string();
    assert!(front.contains("-dirty-"));
    assert_eq!(image_step(&plan, "back").args["FRONT"], front);
    let first = recipe_label(&plan, "back");
    // Its own files are those of the commit, but it is a different image.
    let back = plan.units.last().unwrap();
    let tag = format!("{}-local-changes", commit("back"));
    assert_eq!(back.image.tag().unwrap().as_str(), tag);
    // A build of the commit would not use it, despite the commit's tag.
    let commit = TestPlatform::new()
        .engine("back", "", "a")
        .label("back", Some(&first));
    let plan = commit.plan(&["back"]);
    assert!(
        plan.units.last().unwrap().reason.contains("--local"),
        "{:?}",
        shown(&plan)
    );
}

/// A service that is built from its commit, but with a local dependency, is not the commit's image either.
#[test]
fn dependents_of_a_working_copy_are_marked() {
    let needs = "dir: src/other\n    needs: [back]";
    let text = MANIFEST.replace("dir: src/other", needs);
    let platform = in_place(TestPlatform::of(&text), "front", &["page"]);
    let platform = in_place(platform, "other", &["a"]);
    let mut platform = platform;
    platform.options.push = true;
    let plan = platform.plan(&["front", "other"]);
    let back = plan
        .units
        .iter()
        .find(|unit| unit.unit == Unit::Service(name("back")));
    let phases: Vec<_> = back.unwrap().steps.iter().map(Step::phase).collect();
    assert_eq!(
        phases[..2],
        [Phase::Sync, Phase::Export],
        "its own files are the commit's"
    );
    assert!(!phases.contains(&Phase::Push) && !phases.contains(&Phase::Tag));
    assert!(
        recipe_label(&plan, "back")
            .parse::<Recipe>()
            .unwrap()
            .is_of_working_copy()
    );
    assert!(labels(&plan, "back").contains_key(LABEL_LOCAL));
    assert!(back.unwrap().in_place.is_none());
    // Its name differs from that of the commit's image, which may exist.
    let image = back.unwrap().image.to_string();
    assert!(image.ends_with("-local-changes"), "{image}");
    let other = image_step(&plan, "other").names[0].to_string();
    assert!(!other.contains("local-changes") && other.contains("-dirty-"));
    // With an unchanged working copy, it has the same name as the commit's image.
    let clean = in_place(
        in_place(TestPlatform::of(&text), "front", &[]),
        "other",
        &["a"],
    );
    let plan = clean.plan(&["front", "other"]);
    assert_eq!(image_step(&plan, "back").names[0], clean.image("back", ""));
    assert!(recipe_label(&plan, "back").contains("\"source\""));
}

#[test]
fn a_working_copy_that_is_built_in_place_is_not_moved() {
    let text = MANIFEST.replace("dir: src/front", "dir: src/back").replace(
        "https://g.example.com/front.git",
        "https://g.example.com/back.git",
    );
    let moves = |platform: &TestPlatform| {
        let plan = platform.plan(&["back"]);
        step(&plan, "front", |step| match step {
            Step::Sync(sync) => Some(sync.moves),
            _ => None,
        })
    };
    assert!(moves(&TestPlatform::of(&text)));
    assert!(!moves(&in_place(TestPlatform::of(&text), "back", &["a"])));
}

#[test]
fn xps_own_files_are_excluded_from_the_build_context() {
    let text = "services:\n  all:\n    dir: .\n    git: {remote: 'https://g.example.com/all.git'}\n    \
                docker: {image: all}\n";
    let plan = in_place(TestPlatform::of(text), "all", &["a"]).plan(&["all"]);
    let image = image_step(&plan, "all");
    assert_eq!(image.context, Path::new("/p"));
    assert_eq!(image.excluded.as_deref(), Some(Path::new("/p/.xp")));
    let plan = in_place(TestPlatform::new(), "front", &["a"]).plan(&["front"]);
    assert_eq!(image_step(&plan, "front").excluded, None);
}

#[test]
fn a_local_build_needs_the_builder_only_in_the_engine() {
    let wanted = |is_local: bool| {
        let mut platform = TestPlatform::new();
        if is_local {
            platform = in_place(platform, "back", &["a"]);
        }
        platform.options.push = false;
        let (selected, env) = (BTreeSet::from([name("back")]), |_: &str| {
            Some("7".to_owned())
        });
        let options = &platform.options;
        let draft = PlanDraft::new(
            &platform.manifest,
            &selected,
            &platform.sources,
            options,
            &env,
        );
        let draft = draft.unwrap();
        let folders = platform.folders(&draft);
        let mut inventory = platform.inventory(&draft, &folders);
        let builder = folders.values().next().unwrap().image.to_string();
        let found = EngineImage {
            id: "b".to_owned(),
            labels: Labels::new(),
        };
        inventory.engine.insert(builder, found);
        draft
            .decide(inventory, folders)
            .unwrap()
            .builder_images()
            .len()
    };
    // An image built from a commit may be pushed later.
    assert_eq!((wanted(true), wanted(false)), (0, 1));
}
