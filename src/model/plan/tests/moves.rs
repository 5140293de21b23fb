//! Renamed services, images and registries.

use super::*;
use crate::model::image::EngineImages;
use crate::model::recipe::{LABEL_REVISION, LABEL_SERVICE};

/// Images that the engine has under other names, each with a service and the ID of the `front` that it was built from.
struct OtherNames<'p> {
    platform: &'p TestPlatform,
    found: EngineImages,
    former: BTreeSet<ImageRepository>,
}

impl<'p> OtherNames<'p> {
    fn new(platform: &'p TestPlatform) -> Self {
        Self {
            platform,
            found: EngineImages::new(),
            former: BTreeSet::new(),
        }
    }

    /// Adds an image that was built from the current inputs; `change` changes its labels.
    fn image(mut self, repository: &str, service: &str, change: impl FnOnce(&mut Labels)) -> Self {
        let recipe = self.platform.draft(&[service], |draft| {
            let folders = self.platform.folders(&draft);
            draft.recipes(&draft.services(), &folders).unwrap()[&name(service)].clone()
        });
        let mut labels = Labels::from([
            (LABEL_RECIPE.to_owned(), recipe.to_string()),
            (LABEL_REVISION.to_owned(), commit(service).to_string()),
            (LABEL_SERVICE.to_owned(), service.to_owned()),
        ]);
        if service == "back" {
            let needs = r#"{"front":"id of front"}"#.to_owned();
            labels.insert(LABEL_NEEDED_IMAGES.to_owned(), needs);
        }
        change(&mut labels);
        let id = format!("id of {service}");
        let image = EngineImage { id, labels };
        let listed = format!("{repository}:{}", commit(service));
        self.found.insert(listed, image);
        self
    }

    fn former(mut self, repository: &str) -> Self {
        self.former.insert(repository.parse().unwrap());
        self
    }

    fn plan(&self, selected: &[&str]) -> Vec<String> {
        let platform = self.platform;
        platform.draft(selected, |draft| {
            let folders = platform.folders(&draft);
            let mut inventory = platform.inventory(&draft, &folders);
            let (found, former) = (&self.found, &self.former);
            draft
                .adopt_other_names(found, former, &mut inventory, &folders)
                .unwrap();
            let decided = draft.decide(inventory, folders).unwrap();
            let plan = decided.complete(&BTreeMap::new(), &Layout::new("/p/.xp".into()));
            shown(&plan.unwrap())
        })
    }
}

/// A platform without images, as after a rename.
fn renamed() -> TestPlatform {
    TestPlatform::new().absent(&["back", "front"])
}

impl TestPlatform {
    /// Makes registries respond that they have no images of these services.
    fn absent(mut self, services: &[&str]) -> Self {
        for service in services {
            for tag in ["", "master", "build-7"] {
                let image = self.image(service, tag);
                self.inventory
                    .registry
                    .entry(image)
                    .or_insert(Presence::Absent);
            }
        }
        self
    }
}

#[test]
fn an_image_with_another_name_is_used_instead_of_a_build() {
    let platform = renamed();
    let other = OtherNames::new(&platform).image("r.example.com/x/old", "front", |_| {});
    assert_eq!(
        other.plan(&["front"]),
        [format!(
            "front push: in the engine as r.example.com/x/old:{} [tag push tag tag]",
            commit("front")
        )]
    );
    let unpushed = renamed().options(|options| options.push = false);
    let other = OtherNames::new(&unpushed).image("r.example.com/x/old", "front", |_| {});
    assert_eq!(
        other.plan(&["front"]),
        [format!(
            "front tag: in the engine as r.example.com/x/old:{} [tag tag]",
            commit("front")
        )]
    );
}

#[test]
fn images_built_from_a_renamed_one_are_used_too() {
    let platform = renamed();
    let both = OtherNames::new(&platform)
        .image("r.example.com/x/old/front", "front", |_| {})
        .image("r.example.com/x/old/back", "back", |_| {});
    let plan = both.plan(&["back", "front"]);
    assert!(
        plan.iter()
            .any(|it| it.starts_with("back push: in the engine as ")),
        "{plan:?}"
    );
    assert!(
        plan.iter()
            .any(|it| it.starts_with("front push: in the engine as ")),
        "{plan:?}"
    );
    // It was built from another image.
    let platform = renamed();
    let other = OtherNames::new(&platform)
        .image("r.example.com/x/old/front", "front", |_| {})
        .image("r.example.com/x/old/back", "back", |labels| {
            let needs = r#"{"front":"another id"}"#.to_owned();
            labels.insert(LABEL_NEEDED_IMAGES.to_owned(), needs);
        });
    let plan = other.plan(&["back"]);
    assert!(
        plan.iter().any(|it| it.starts_with("back build: ")),
        "{plan:?}"
    );
    // Nothing is known about the image that it needs.
    let platform = renamed();
    let alone = OtherNames::new(&platform).image("r.example.com/x/old/back", "back", |_| {});
    let plan = alone.plan(&["back"]);
    assert!(
        plan.iter().any(|it| it.starts_with("back build: ")),
        "{plan:?}"
    );
}

/// The engine may have pulled an image from anywhere, with any labels.
#[test]
fn only_names_that_the_platform_controls_are_considered() {
    for (repository, is_used) in [
        ("r.example.com/x/old", true),
        ("r.example.com/x/team/old", true),
        ("r.example.com/y/old", false),
        ("evil.example.com/x/old", false),
        ("evil/old", false),
        ("old", false),
    ] {
        let platform = renamed();
        let other = OtherNames::new(&platform).image(repository, "front", |_| {});
        let plan = other.plan(&["front"]);
        assert_eq!(plan[0].starts_with("front push: "), is_used, "{plan:?}");
        let plan = other.former(repository).plan(&["front"]);
        assert!(plan[0].starts_with("front push: "), "{plan:?}");
    }
    // A whole registry may be public.
    let platform = TestPlatform::of(&MANIFEST.replace("r.example.com/x", "r.example.com"));
    let platform = platform.absent(&["front"]);
    let other = OtherNames::new(&platform);
    let other = other.image("r.example.com/evil/front", "front", |_| {});
    assert!(other.plan(&["front"])[0].starts_with("front build: "));
    let other = OtherNames::new(&platform).image("r.example.com/old", "front", |_| {});
    assert!(other.plan(&["front"])[0].starts_with("front push: "));
}

#[test]
fn labels_must_prove_the_inputs() {
    type Change = fn(&mut Labels);
    let changes: [Change; 4] = [
        |labels| labels.clear(),
        |labels| drop(labels.remove(LABEL_REVISION)),
        |labels| drop(labels.insert(LABEL_REVISION.to_owned(), commit("other").to_string())),
        |labels| {
            let other = r#"{"version":1,"inputs":{"docker.file":"0000000000"}}"#;
            labels.insert(LABEL_RECIPE.to_owned(), other.to_owned());
        },
    ];
    for change in changes {
        let platform = renamed();
        let other = OtherNames::new(&platform).image("r.example.com/x/old", "front", change);
        let plan = other.plan(&["front"]);
        assert!(plan[0].starts_with("front build: "), "{plan:?}");
    }
    for options in [
        (|options| options.force = true) as fn(&mut Options),
        |options| options.trust_commit = true,
    ] {
        let platform = renamed().options(options);
        let other = OtherNames::new(&platform).image("r.example.com/x/old", "front", |_| {});
        let plan = other.plan(&["front"]);
        assert!(plan[0].starts_with("front build: "), "{plan:?}");
    }
}

#[test]
fn the_engine_is_queried_only_if_an_image_is_missing() {
    let patterns = |platform: &TestPlatform| {
        platform.draft(&["back"], |draft| {
            let folders = platform.folders(&draft);
            draft.other_names(&platform.inventory(&draft, &folders))
        })
    };
    let complete = TestPlatform::new().complete("back").complete("front");
    assert!(patterns(&complete).is_empty());
    let one = TestPlatform::new().complete("back").absent(&["front"]);
    let found = patterns(&one);
    assert!(
        found.contains(&format!("*/*:{}", commit("front"))),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .all(|it| it.ends_with(&commit("front").to_string()))
    );
    // An unknown state is an error, and no reason to look elsewhere.
    let mut unknown = TestPlatform::new().complete("back");
    let refusal = QueryFailure {
        why: "no".to_owned(),
        hints: Vec::new(),
    };
    let image = unknown.image("front", "");
    unknown
        .inventory
        .registry
        .insert(image, Presence::Unknown(refusal));
    assert!(patterns(&unknown).is_empty());
}

/// The images of a platform in which `front` had another name, and `back` was built from it.
fn before_the_rename(former: &str) -> TestPlatform {
    let text = MANIFEST
        .replace("  front:", &format!("  {former}:"))
        .replace("services.front.", &format!("services.{former}."));
    let before = TestPlatform::of(&text);
    let label = before.draft(&["back"], |draft| {
        let folders = before.folders(&draft);
        // The commits of the tests depend on the names.
        let mut sources = before.sources.clone();
        sources.get_mut(&name(former)).unwrap().commit = commit("front");
        let (options, env) = (Options::default(), |_: &str| Some("7".to_owned()));
        let selected = BTreeSet::from([name("back")]);
        let draft = PlanDraft::new(&before.manifest, &selected, &sources, &options, &env).unwrap();
        draft.recipes(&draft.services(), &folders).unwrap()[&name("back")].clone()
    });
    in_engine(TestPlatform::local()).label("back", Some(&label.to_string()))
}

fn in_engine(mut platform: TestPlatform) -> TestPlatform {
    for (service, tag) in [
        ("front", ""),
        ("front", "master"),
        ("back", ""),
        ("back", "master"),
        ("back", "build-7"),
    ] {
        platform = platform.engine(service, tag, "a");
    }
    platform
}

#[test]
fn renaming_a_needed_service_builds_nothing() {
    let mut platform = before_the_rename("ui");
    let needs = (LABEL_NEEDED_IMAGES.to_owned(), r#"{"ui":"a"}"#.to_owned());
    platform.more_labels.insert(name("back"), needs);
    let plan = shown(&platform.plan(&["back"]));
    assert!(plan.iter().all(|it| it.contains(" skip: ")), "{plan:?}");
    // Its image was rebuilt since.
    let needs = (LABEL_NEEDED_IMAGES.to_owned(), r#"{"ui":"b"}"#.to_owned());
    platform.more_labels.insert(name("back"), needs);
    let plan = shown(&platform.plan(&["back"]));
    assert!(
        plan.iter()
            .any(|it| it.contains("back build: needs.front was rebuilt")),
        "{plan:?}"
    );
}

/// `needs.other` means the service that still has that name.
#[test]
fn a_name_that_the_manifest_still_has_is_no_former_name() {
    let plan = shown(&before_the_rename("other2").plan(&["back"]));
    assert!(
        plan.iter().all(|it| !it.contains("back build: ")),
        "{plan:?}"
    );
    let text = MANIFEST.replace("services.front.", "services.other.");
    let label = TestPlatform::of(&text).draft(&["back"], |draft| {
        let folders = TestPlatform::new().folders(&draft);
        draft.recipes(&draft.services(), &folders).unwrap()[&name("back")].clone()
    });
    let mut platform = TestPlatform::local();
    let same = platform.sources[&name("other")].clone();
    platform.sources.insert(name("front"), same);
    let platform = in_engine(platform).label("back", Some(&label.to_string()));
    let plan = shown(&platform.plan(&["back"]));
    assert!(
        plan.iter().any(|it| it.contains("back build: ")),
        "{plan:?}"
    );
}

#[test]
fn a_changed_input_is_found_despite_a_rename() {
    let text = MANIFEST.replace("[make build]", "[make all]");
    let before = before_the_rename("ui");
    let mut platform = in_engine(TestPlatform::of(
        &text.replace("registry: r.example.com/x", ""),
    ));
    platform.labels = before.labels;
    let plan = shown(&platform.plan(&["back"]));
    assert!(
        plan.iter().any(|it| it.contains("back build: ")),
        "{plan:?}"
    );
}

#[test]
fn the_image_of_another_service_is_not_used() {
    let platform = renamed();
    let others = OtherNames::new(&platform).image("r.example.com/x/other", "front", |_| {});
    assert!(others.plan(&["front"])[0].contains("front build: new commit"));
}

#[test]
fn scripts_may_have_used_the_name_of_the_service() {
    let renamed_service = |labels: &mut Labels| {
        labels.insert(LABEL_SERVICE.to_owned(), "former".to_owned());
    };
    let platform = renamed();
    let names = OtherNames::new(&platform)
        .image("r.example.com/x/a", "front", renamed_service)
        .image("r.example.com/x/b", "back", renamed_service);
    let plan = names.plan(&["back"]).join("\n");
    // Only `back` has scripts.
    assert!(plan.contains("front push: in the engine as"), "{plan}");
    assert!(plan.contains("back build: new commit"), "{plan}");
}
