//! Identity tags, and images built from the current needed images.

use super::*;
use crate::model::image::Tag;

/// Registry contents with descriptions: the recipes and needed images, and the digests of the configurations.
struct FoundImages<'p> {
    platform: &'p TestPlatform,
    inventory: Inventory,
    recipes: BTreeMap<ServiceName, Recipe>,
}

impl<'p> FoundImages<'p> {
    fn new(platform: &'p TestPlatform) -> Self {
        let recipes = platform.draft(&["back"], |draft| {
            let draft = &draft;
            draft
                .recipes(&draft.services(), &platform.folders(draft))
                .unwrap()
        });
        Self {
            platform,
            inventory: Inventory::default(),
            recipes,
        }
    }

    /// Returns the identity tag of the current image.
    fn identity(&self, service: &str) -> Tag {
        Tag::from_recipe(commit(service), self.recipes[&name(service)].identity())
    }

    /// Adds an image to the registry, built from `needs` by a recipe, by default the current one.
    fn registry(mut self, tag: &str, content: &str, needs: &str, recipe: Option<&str>) -> Self {
        let service = "back";
        let labels = self.labels(service, needs, recipe);
        self.put(service, tag, content, labels);
        self
    }

    fn labels(&self, service: &str, needs: &str, recipe: Option<&str>) -> Labels {
        let current = self.recipes[&name(service)].to_string();
        let needs = (
            LABEL_NEEDED_IMAGES.to_owned(),
            format!(r#"{{"front":"{needs}"}}"#),
        );
        let recipe = recipe.map_or(current, str::to_owned);
        [(LABEL_RECIPE.to_owned(), recipe), needs].into()
    }

    fn front(mut self, content: &str, config: &str) -> Self {
        let label = self.recipes[&name("front")].to_string();
        self.put(
            "front",
            "",
            content,
            [(LABEL_RECIPE.to_owned(), label)].into(),
        );
        let digest = digest("front", content);
        let image = self.inventory.published.get_mut(&digest).unwrap();
        image.as_mut().unwrap().config =
            Some(format!("sha256:{}", config.repeat(64)).parse().unwrap());
        self
    }

    fn put(&mut self, service: &str, tag: &str, content: &str, labels: Labels) {
        let image = self.platform.image(service, tag);
        let digest = digest(service, content);
        for tag in ["", "master", "build-7"] {
            let image = self.platform.image(service, tag);
            let absent = || Presence::Absent;
            self.inventory.registry.entry(image).or_insert_with(absent);
        }
        self.inventory
            .registry
            .insert(image, Presence::Present(digest.clone()));
        self.inventory
            .published
            .insert(digest, Ok(published(labels)));
    }

    fn engine(mut self, service: &str, id: &str, needs: &str) -> Self {
        let labels = match service {
            "back" => self.labels(service, needs, None),
            _ => [(
                LABEL_RECIPE.to_owned(),
                self.recipes[&name(service)].to_string(),
            )]
            .into(),
        };
        let image = self.platform.image(service, "").to_string();
        let id = format!("sha256:{}", id.repeat(64));
        self.inventory
            .engine
            .insert(image, EngineImage { id, labels });
        self
    }

    /// Returns the decisions for `back` and, if it is in the plan, `front`.
    fn decided(self) -> Vec<String> {
        let platform = self.platform;
        let inventory = self.inventory;
        platform.draft(&["back"], |draft| {
            let folders = platform.folders(&draft);
            let decided = draft.decide(inventory.clone(), folders).unwrap();
            let verdicts = decided.verdicts.iter();
            verdicts
                .map(|(service, verdict)| {
                    format!("{service} {}: {}", verdict.decision, verdict.reason)
                })
                .collect()
        })
    }
}

fn sha(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

fn platform() -> TestPlatform {
    TestPlatform::new().options(|options| options.pull = false)
}

#[test]
fn images_are_rebuilt_if_needed_images_changed() {
    let platform = platform();
    let found = |needs: &str| {
        let found = FoundImages::new(&platform).front("a", "c");
        found.registry("", "a", needs, None).decided().remove(0)
    };
    // An engine records the digest of the manifest or of the configuration, depending on its image store.
    for same in [digest("front", "a").to_string(), sha("c"), "c".repeat(64)] {
        assert!(
            found(&same).starts_with("back tag: in the registry; tags to update: "),
            "{same}"
        );
    }
    assert_eq!(found(&sha("d")), "back build: needs.front was rebuilt");
    let unsaid = FoundImages::new(&platform)
        .front("a", "c")
        .registry("", "a", "", None);
    let mut unsaid = unsaid;
    let image = unsaid
        .inventory
        .published
        .get_mut(&digest("back", "a"))
        .unwrap();
    image.as_mut().unwrap().labels.remove(LABEL_NEEDED_IMAGES);
    let decided = unsaid.decided().remove(0);
    assert!(
        decided.starts_with("back tag: in the registry, unverified"),
        "{decided}"
    );
}

#[test]
fn an_image_with_an_earlier_recipe_is_reused() {
    let platform = platform();
    let stale = Some(r#"{"version":1,"inputs":{}}"#);
    let found = |identity: &str, needs: &str| {
        let found = FoundImages::new(&platform).front("a", "c");
        let tag = match identity {
            "" => found.identity("back").to_string(),
            other => other.to_owned(),
        };
        let found = found.registry("", "a", &sha("c"), stale);
        (
            tag.clone(),
            found.registry(&tag, "b", needs, None).decided().remove(0),
        )
    };
    let (tag, decided) = found("", &sha("c"));
    assert!(
        decided.starts_with(&format!(
            "back tag: in the registry as {tag}; tags to update: "
        )),
        "{decided}"
    );
    assert!(decided.contains(&commit("back").to_string()), "{decided}");
    // Another tag of the same image is not enough to use it.
    assert!(found("v1", &sha("c")).1.starts_with("back build: "));
    // It was built from a different `front` than the registry's.
    assert!(found("", &sha("d")).1.starts_with("back build: "));
}

#[test]
fn identity_tags_are_queried_only_if_useful() {
    let platform = platform();
    let queried = |found: FoundImages<'_>| {
        platform.draft(&["back"], |draft| {
            draft.identities(&found.inventory, &platform.folders(&draft))
        })
    };
    let good = FoundImages::new(&platform)
        .front("a", "c")
        .registry("", "a", &sha("c"), None);
    assert_eq!(queried(good), []);
    let stale = FoundImages::new(&platform)
        .front("a", "c")
        .registry("", "a", &sha("d"), None);
    let tag = stale.identity("back");
    assert_eq!(queried(stale), [platform.image("back", tag.as_str())]);
    let absent = queried(FoundImages::new(&platform).front("a", "c"));
    assert_eq!(absent, [], "the image was not looked up");
}

#[test]
fn the_registrys_image_takes_precedence() {
    let platform = TestPlatform::new();
    let found = |id: &str| {
        let found = FoundImages::new(&platform)
            .front("a", "c")
            .engine("front", id, "");
        found
            .registry("", "a", &sha("c"), None)
            .engine("back", "e", &sha("c"))
    };
    // The configuration of `back` in the registry is unknown, so the engine's is not rejected.
    let decided = found("d").decided();
    assert!(
        decided[0].starts_with("back tag: in the registry and the engine"),
        "{decided:?}"
    );
    let forced = TestPlatform::new().options(|options| options.force = true);
    let found = |id: &str| {
        let found = FoundImages::new(&forced)
            .front("a", "c")
            .engine("front", id, "");
        found.registry("", "a", &sha("c"), None).decided()
    };
    assert_eq!(
        found("d")[1],
        "front pull: in the registry; the engine's image differs: image was rebuilt"
    );
    assert!(found("c")[1].starts_with("front tag: in the registry and the engine"));
}

#[test]
fn a_build_triggers_builds_of_dependents() {
    let platform = TestPlatform::new();
    let plan = platform.draft(&["back", "front"], |draft| {
        let mut found = FoundImages::new(&platform).registry("", "a", &sha("c"), None);
        found
            .inventory
            .registry
            .insert(platform.image("front", ""), Presence::Absent);
        found
            .inventory
            .registry
            .insert(platform.image("front", "master"), Presence::Absent);
        let folders = platform.folders(&draft);
        let decided = draft.decide(found.inventory, folders).unwrap();
        let verdicts = decided.verdicts.iter();
        verdicts
            .map(|(service, verdict)| format!("{service} {}: {}", verdict.decision, verdict.reason))
            .collect::<Vec<_>>()
    });
    assert_eq!(plan[0], "back build: front is built");
    assert!(plan[1].starts_with("front build: "), "{plan:?}");
}
