//! Images for several platforms.

use super::*;
use crate::model::image::{Platform, PlatformImage};

const BOTH: &str = "image: front, platforms: [linux/amd64, linux/arm64]";

fn platform_of(text: &str) -> Platform {
    text.parse().unwrap()
}

/// Returns the platform with two platforms of `front`.
fn with_platforms() -> TestPlatform {
    TestPlatform::of(
        &MANIFEST
            .replace("image: front", BOTH)
            .replace(
                "image: back\n",
                "image: back\n      platforms: [linux/amd64, linux/arm64]\n",
            )
            .replace("scripts: {", "scripts: {once: true, "),
    )
}

/// Turns the image of a service into an index with these images: `true` for the current recipe. The engine has the first.
fn describe(inventory: &mut Inventory, service: &str, images: &[(&str, bool)]) {
    let Some(Ok(described)) = inventory.published.get_mut(&digest(service, "a")) else {
        return;
    };
    let images = images.iter().zip(["1", "2", "3"]);
    let images = images.map(|((name, is_current), content)| {
        let mut labels = described.labels.clone();
        if !is_current {
            let other = r#"{"version":1,"inputs":{}}"#;
            labels.insert(LABEL_RECIPE.to_owned(), other.to_owned());
        }
        PlatformImage {
            platform: platform_of(name),
            digest: digest(service, content),
            config: None,
            labels,
        }
    });
    described.images = images.collect();
    for (name, image) in &mut inventory.engine {
        if name.contains(&format!("/{service}:")) {
            image.id = digest(service, "1").to_string();
        }
    }
}

/// Plans `selected`, with these images in the index of `front` if it is in the registry: `true` for the current recipe.
fn planned(
    platform: &TestPlatform,
    selected: &[&str],
    images: &[(&str, bool)],
) -> Result<Plan, String> {
    let selected: BTreeSet<_> = selected.iter().map(|service| name(service)).collect();
    let env = |variable: &str| (variable == "N").then(|| "7".to_owned());
    let (manifest, sources) = (&platform.manifest, &platform.sources);
    let draft = PlanDraft::new(manifest, &selected, sources, &platform.options, &env).unwrap();
    let folders = platform.folders(&draft);
    let mut inventory = platform.inventory(&draft, &folders);
    inventory.engine_platform = Some(platform_of("linux/amd64"));
    for (service, images) in [("front", images), ("back", &CURRENT[..])] {
        describe(&mut inventory, service, images);
    }
    let decided = draft.decide(inventory, folders);
    let decided = decided.map_err(|error| error.to_string())?;
    let images = decided.builder_images().into_iter();
    let builders = images.map(|image| (image, Presence::Absent)).collect();
    let plan = decided.complete(&builders, &Layout::new(PathBuf::from("/p/.xp")));
    plan.map_err(|error| error.to_string())
}

/// Returns the steps of a service that build or push.
fn steps(plan: &Plan, service: &str) -> Vec<String> {
    let unit = Unit::Service(name(service));
    let unit = plan.units.iter().find(|it| it.unit == unit).unwrap();
    let steps = unit.steps.iter();
    let steps = steps.filter(|it| matches!(it, Step::Image(_) | Step::Push(_)));
    steps.map(|step| step.describe(Path::new("/p"))).collect()
}

const CURRENT: [(&str, bool); 2] = [("linux/amd64", true), ("linux/arm64", true)];

#[test]
fn a_new_commit_is_built_for_all_platforms() {
    let platform = with_platforms();
    let plan = planned(&platform, &["front"], &[]).unwrap();
    assert_eq!(
        shown(&plan),
        ["front build: new commit [sync export image image push tag]"]
    );
    let commit = commit("front");
    assert_eq!(
        steps(&plan, "front"),
        [
            "docker build --platform linux/amd64 .xp/build/front".to_owned(),
            "docker build --platform linux/arm64 .xp/build/front".to_owned(),
            format!("r.example.com/x/front:{commit} for linux/amd64, linux/arm64"),
        ]
    );
    let unit = &plan.units[0];
    let identity = unit.identity().tag().unwrap().clone();
    for step in &unit.steps {
        if let Step::Image(step) = step {
            let platform = step.platform.as_ref().unwrap();
            let tag = identity.for_platform(platform);
            assert_eq!(step.names, [unit.image.repository().tagged(tag)]);
            assert_eq!(step.labels["x-platform.platform"], platform.to_string());
        }
    }
}

#[test]
fn an_index_with_all_platforms_is_skipped() {
    let platform = with_platforms().complete("front");
    let plan = planned(&platform, &["front"], &CURRENT).unwrap();
    assert!(plan.is_empty(), "{:?}", shown(&plan));
    let more = [CURRENT[1], ("linux/s390x", false), CURRENT[0]];
    assert!(planned(&platform, &["front"], &more).unwrap().is_empty());
}

#[test]
fn only_platforms_that_are_missing_or_differ_are_built() {
    let platform = with_platforms().complete("front");
    for (images, reason) in [
        (&CURRENT[..1], "platforms.linux/arm64 is missing"),
        (
            &[CURRENT[0], ("linux/arm64", false)],
            "platforms.linux/arm64 changed",
        ),
    ] {
        let plan = planned(&platform, &["front"], images).unwrap();
        assert_eq!(
            shown(&plan),
            [format!(
                "front build: {reason} [sync export image push tag]"
            )]
        );
        let steps = steps(&plan, "front");
        assert!(steps[0].contains("--platform linux/arm64"), "{steps:?}");
        assert!(
            steps[1].ends_with("for linux/amd64 (kept), linux/arm64"),
            "{steps:?}"
        );
    }
    // All of them differ.
    let stale = CURRENT.map(|(name, _)| (name, false));
    let plan = planned(&platform, &["front"], &stale).unwrap();
    assert_eq!(steps(&plan, "front").len(), 3);
    assert!(
        !shown(&plan)[0].contains("platforms."),
        "{:?}",
        shown(&plan)
    );
}

#[test]
fn force_and_needed_images_build_all_platforms() {
    let complete = || with_platforms().complete("front");
    let forced = complete().options(|options| options.force = true);
    let plan = planned(&forced, &["front"], &CURRENT[..1]).unwrap();
    assert_eq!(steps(&plan, "front").len(), 3);
    let platform = with_platforms().complete("back");
    let plan = planned(&platform, &["back"], &[]).unwrap();
    assert!(plan.is_empty());
    let plan = planned(&platform, &["back", "front"], &[]).unwrap();
    assert_eq!(steps(&plan, "back").len(), 3, "{:?}", shown(&plan));
}

#[test]
fn an_engine_has_one_platform() {
    // It cannot be pushed instead of the index.
    let platform = with_platforms().engine("front", "", "a");
    let plan = planned(&platform, &["front"], &[]).unwrap();
    assert_eq!(
        shown(&plan),
        [
            "front build: in the engine for one platform, not in the registry [sync export image image push tag]"
        ]
    );
    let unpushed = platform.options(|options| options.push = false);
    let plan = planned(&unpushed, &["front"], &[]).unwrap();
    assert_eq!(
        shown(&plan)[0],
        "front tag: in the engine; --no-push; tags to update: master [tag]"
    );
    let unpushed = with_platforms().options(|options| options.push = false);
    let plan = planned(&unpushed, &["front"], &[]).unwrap();
    assert_eq!(steps(&plan, "front"), ["docker build .xp/build/front"]);
    // An image for other engines is not pulled.
    let other = MANIFEST.replace("image: front", "image: front, platforms: [linux/s390x]");
    let other = TestPlatform::of(&other)
        .registry("front", "", "a")
        .registry("front", "master", "a");
    let plan = planned(&other, &["front"], &[("linux/s390x", true)]).unwrap();
    assert_eq!(shown(&plan), ["front skip: in the registry []"]);
    let error = planned(&other, &["back"], &[("linux/s390x", true)]).unwrap_err();
    assert!(error.contains("because `back` needs the image"), "{error}");
}

#[test]
fn platforms_are_an_input_of_the_index_only() {
    let recipes = |platform: &TestPlatform| {
        platform.draft(&["back"], |draft| {
            let folders = platform.folders(&draft);
            draft.recipes(&draft.services(), &folders).unwrap()
        })
    };
    let (before, now) = (recipes(&TestPlatform::new()), recipes(&with_platforms()));
    let (front, back) = (name("front"), name("back"));
    assert_ne!(before[&front].identity(), now[&front].identity());
    assert_eq!(*now[&front].without_platforms(), before[&front]);
    // The image of a dependent is the same, except that its scripts run once.
    let now = now[&back].without_platforms();
    assert_eq!(now.without("scripts.once"), before[&back]);
}

#[test]
fn another_engine_builds_its_platform() {
    let text = MANIFEST.replace("image: front", BOTH);
    let platform = TestPlatform::of(&format!("engines: {{linux/arm64: arm}}\n{text}"));
    let plan = planned(&platform, &["front"], &[]).unwrap();
    assert_eq!(
        steps(&plan, "front")[..2],
        [
            "docker build --platform linux/amd64 .xp/build/front",
            "docker --context arm build --platform linux/arm64 .xp/build/front",
        ]
    );
}

#[test]
fn scripts_run_for_each_platform() {
    let platforms = "[linux/arm64, linux/amd64, linux/386]";
    let of_back = format!("image: back\n      platforms: {platforms}\n");
    let platform = TestPlatform::of(
        &MANIFEST
            .replace("image: front", BOTH)
            .replace("image: back\n", &of_back)
            .replace("workdir: /go", "cache: [/root/.cache], workdir: /go")
            .replace("[linux/amd64, linux/arm64]", platforms)
            .replace("registry: r", "engines: {linux/386: other}\nregistry: r"),
    );
    let plan = planned(&platform, &["back"], &CURRENT).unwrap();
    let unit = Unit::Service(name("back"));
    let unit = plan.units.iter().find(|it| it.unit == unit).unwrap();
    let shown = |step: &Step| {
        let is_shown = matches!(
            step,
            Step::Export(_) | Step::Toolchain(_) | Step::Container(_) | Step::Image(_)
        );
        is_shown.then(|| step.describe(Path::new("/p")))
    };
    let texts: Vec<String> = unit.steps.iter().filter_map(shown).collect();
    let builder = "r.example.com/x/builders/go:d54a54e79d3c42f76e5414dd86ee30d1fc05c488";
    let export = "44444444 into .xp/build/back".to_owned();
    let at = "with the source at /go/src/back";
    // The engine's own platform comes last: its files are those that a verification sees.
    assert_eq!(
        texts,
        [
            export.clone(),
            format!("{builder}-linux-arm64 for linux/arm64, pulled or built if it is missing"),
            format!("{builder}-linux-arm64 {at} for linux/arm64"),
            "docker build --platform linux/arm64 --build-arg FRONT .xp/build/back".to_owned(),
            export.clone(),
            format!("{builder}-linux-386 for linux/386, pulled or built if it is missing"),
            format!("{builder}-linux-386 {at} for linux/386"),
            "docker --context other build --platform linux/386 --build-arg FRONT .xp/build/back"
                .to_owned(),
            export,
            format!("{builder} {at}"),
            "docker build --platform linux/amd64 --build-arg FRONT .xp/build/back".to_owned(),
        ]
    );
    let containers = unit.steps.iter().filter_map(Step::container);
    let facts: Vec<_> = containers
        .map(|it| {
            let cache = it.caches[0].0.file_name().unwrap().to_str().unwrap();
            let end = cache.split_once("-linux-").map(|(_, end)| end);
            (it.env["XP_PLATFORM"].as_str(), end)
        })
        .collect();
    assert_eq!(
        facts,
        [
            ("linux/arm64", Some("arm64")),
            ("linux/386", Some("386")),
            ("linux/amd64", None)
        ]
    );
}
