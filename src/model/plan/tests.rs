//! The decision table, case by case, and the resulting steps.

mod bases;
mod builders;
mod consistency;
mod display;
mod engine_images;
mod fleet;
mod inventory;
mod items;
mod layers;
mod local;
mod moves;
mod names;
mod parts;
mod phases;
mod platforms;
mod recipes;
mod shards;
mod sidecars;
mod trains;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::model::dockerfile::label;
use crate::model::event::Phase;
use crate::model::image::{Digest, EngineImage, Labels, PublishedImage};
use crate::model::layout::Layout;
use crate::model::manifest::{Manifest, ServiceName, parse};
use crate::model::plugin::LABEL_PLUGIN;
use crate::model::recipe::{ContentHasher, LABEL_NEEDED_IMAGES, LABEL_RECIPE};
use crate::model::source::{ReferenceOrigin, ResolvedReference, ServiceSource};

const MANIFEST: &str = "
registry: r.example.com/x
services:
  back:
    dir: src/back
    git: {remote: 'https://g.example.com/back.git', reference: origin/master}
    dockerBuilder: {image: builders/go, workdir: /go/src/back, env: {N: '${{ env.N }}'}}
    docker:
      image: back
      args: {FRONT: '${{ services.front.image }}'}
      tags: ['build-${{ env.N }}']
    scripts: {prepare: [make deps], build: [make build], test: [make test]}
  front:
    dir: src/front
    git: {remote: 'https://g.example.com/front.git'}
    docker: {image: front}
  other:
    dir: src/other
    git: {remote: 'https://g.example.com/other.git'}
    docker: {image: other}
";

/// A platform with simulated registries and engine.
struct TestPlatform {
    manifest: Manifest,
    sources: BTreeMap<ServiceName, ServiceSource>,
    inventory: Inventory,
    options: Options,
    builder_in_registry: bool,
    dockerfile: &'static str,
    labels: BTreeMap<ServiceName, Option<String>>,
    /// Labels that replace others, by service.
    more_labels: BTreeMap<ServiceName, (String, String)>,
}

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn commit(service: &str) -> CommitId {
    let digit = format!(
        "{:x}",
        service.len() + usize::from(service.as_bytes()[0]) % 7
    );
    digit.repeat(40)[..40].parse().unwrap()
}

fn published(labels: Labels) -> PublishedImage {
    PublishedImage {
        labels,
        config: None,
        ..PublishedImage::default()
    }
}

fn digest(service: &str, content: &str) -> Digest {
    let service = service.bytes().next().unwrap();
    format!("sha256:{service:02x}{}", content.repeat(62))
        .parse()
        .unwrap()
}

impl TestPlatform {
    fn new() -> Self {
        Self::of(MANIFEST)
    }

    fn of(text: &str) -> Self {
        let manifest =
            parse(text, Path::new("/p/x-platform.yml")).unwrap_or_else(|error| panic!("{error}"));
        let source = |service: &ServiceName| {
            let tip = ResolvedReference {
                commit: commit(service.as_str()),
                name: Some("refs/heads/master".to_owned()),
            };
            ServiceSource::of(tip, ReferenceOrigin::Manifest)
        };
        let sources = manifest
            .services
            .keys()
            .map(|name| (name.clone(), source(name)))
            .collect();
        let (inventory, options) = (Inventory::default(), Options::default());
        Self {
            manifest,
            sources,
            inventory,
            options,
            builder_in_registry: false,
            dockerfile: "FROM scratch",
            labels: BTreeMap::new(),
            more_labels: BTreeMap::new(),
        }
    }

    fn local() -> Self {
        Self::of(&MANIFEST.replace("registry: r.example.com/x", ""))
    }

    fn image(&self, service: &str, tag: &str) -> ImageReference {
        let changes = self.sources[&name(service)].changes();
        let tag = if let (true, Some(changes)) = (tag.is_empty(), changes) {
            Tag::from_changes(commit(service), changes.digest)
        } else if tag.is_empty() {
            Tag::from_commit(commit(service))
        } else {
            tag.parse().unwrap()
        };
        self.manifest.services[&name(service)]
            .docker
            .image
            .tagged(tag)
    }

    /// Adds a tag of a service to the registry; an empty tag means the commit's.
    fn registry(mut self, service: &str, tag: &str, content: &str) -> Self {
        let image = self.image(service, tag);
        let found = digest(service, content);
        let by_digest = image.repository().with_digest(found.clone());
        for image in [image, by_digest] {
            let presence = Presence::Present(found.clone());
            self.inventory.registry.insert(image, presence);
        }
        self
    }

    /// Sets the recipe label of a service's images; `None` for no label.
    fn label(mut self, service: &str, label: Option<&str>) -> Self {
        self.labels.insert(name(service), label.map(str::to_owned));
        self
    }

    /// Returns the inventory with recipe labels: the current recipes unless set by `label`.
    fn inventory(&self, draft: &PlanDraft<'_>, folders: &Folders) -> Inventory {
        let mut inventory = self.inventory.clone();
        let services: BTreeSet<_> = self.manifest.services.keys().cloned().collect();
        let recipes = draft.recipes(&services, folders).unwrap();
        for (service, recipe) in recipes {
            let label = match self.labels.get(&service) {
                Some(label) => label.clone(),
                None => Some(recipe.to_string()),
            };
            let label = label.map(|label| (LABEL_RECIPE.to_owned(), label));
            let needs = self.needs(&service);
            let more = self.more_labels.get(&service).cloned();
            let labels: Labels = label.into_iter().chain(needs).chain(more).collect();
            let image = self.image(service.as_str(), "");
            if let Some(image) = inventory.engine.get_mut(&image.to_string()) {
                image.labels = labels.clone();
            }
            if let Some(Presence::Present(digest)) = inventory.registry.get(&image) {
                inventory
                    .published
                    .insert(digest.clone(), Ok(published(labels)));
            }
        }
        inventory
    }

    /// Returns the label with the needed images of an image: those in the engine.
    fn needs(&self, service: &ServiceName) -> Option<(String, String)> {
        let needs = self.manifest.services[service].needs.iter();
        let ids = needs.filter_map(|need| {
            let image = self.image(need.as_str(), "").to_string();
            let image = self.inventory.engine.get(&image)?;
            Some((need.to_string(), image.id.clone()))
        });
        let ids: BTreeMap<String, String> = ids.collect();
        (!ids.is_empty()).then(|| {
            (
                LABEL_NEEDED_IMAGES.to_owned(),
                serde_json::to_string(&ids).unwrap(),
            )
        })
    }

    fn engine(mut self, service: &str, tag: &str, content: &str) -> Self {
        let image = self.image(service, tag).to_string();
        self.inventory.engine.insert(
            image,
            EngineImage {
                id: content.to_owned(),
                labels: Labels::new(),
            },
        );
        self
    }

    /// Adds a service with all its tags to the registry and the engine.
    fn complete(mut self, service: &str) -> Self {
        let tags: &[&str] = if service == "back" {
            &["", "master", "build-7"]
        } else {
            &["", "master"]
        };
        for tag in tags {
            self = self.registry(service, tag, "a").engine(service, tag, "a");
        }
        self
    }

    fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    fn plan(&self, selected: &[&str]) -> Plan {
        self.try_plan(selected)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Creates a draft for these services.
    fn draft<T>(&self, selected: &[&str], use_draft: impl FnOnce(PlanDraft<'_>) -> T) -> T {
        let selected: BTreeSet<_> = selected.iter().map(|service| name(service)).collect();
        let env = |variable: &str| (variable == "N").then(|| "7".to_owned());
        let (manifest, sources) = (&self.manifest, &self.sources);
        use_draft(PlanDraft::new(manifest, &selected, sources, &self.options, &env).unwrap())
    }

    fn try_plan(&self, selected: &[&str]) -> Result<Plan, Box<dyn std::error::Error>> {
        let selected: BTreeSet<_> = selected.iter().map(|service| name(service)).collect();
        let env = |variable: &str| (variable == "N").then(|| "7".to_owned());
        let draft = PlanDraft::new(
            &self.manifest,
            &selected,
            &self.sources,
            &self.options,
            &env,
        )?;
        let folders = self.folders(&draft);
        let inventory = self.inventory(&draft, &folders);
        let decided = draft.decide(inventory, folders)?;
        let presence = if self.builder_in_registry {
            Presence::Present(digest("builder", "b"))
        } else {
            Presence::Absent
        };
        let images = decided.builder_images().into_iter();
        let builders = images.map(|image| (image, presence.clone())).collect();
        Ok(decided.complete(&builders, &Layout::new(PathBuf::from("/p/.xp")))?)
    }

    fn folders(&self, draft: &PlanDraft<'_>) -> Folders {
        let names = draft.builder_folders().into_iter();
        let folder = |name: crate::model::manifest::BuilderName| {
            let mut hasher = ContentHasher::new(&BTreeMap::new());
            let dockerfile = &mut self.dockerfile.as_bytes();
            hasher.file("Dockerfile", false, dockerfile).unwrap();
            let content = hasher.finish();
            let repository: ImageRepository = format!("builders/{name}").parse().unwrap();
            let image = repository
                .with_prefix(self.manifest.registry.as_ref())
                .tagged(content.tag().unwrap());
            let builder = FolderBuilder {
                folder: PathBuf::from("/p/builders/go"),
                content,
                image,
                args: BTreeMap::new(),
                plugin: label(self.dockerfile, LABEL_PLUGIN),
            };
            (Unit::Builder(name), builder)
        };
        names.map(folder).collect()
    }
}

/// Returns `unit decision: reason [phases]` for each unit.
fn shown(plan: &Plan) -> Vec<String> {
    plan.units
        .iter()
        .map(|unit| {
            let phases: Vec<_> = unit
                .steps
                .iter()
                .map(|step| step.phase().as_str())
                .collect();
            format!(
                "{} {}: {} [{}]",
                unit.unit,
                unit.decision,
                unit.reason,
                phases.join(" ")
            )
        })
        .collect()
}

#[test]
fn up_to_date_images_are_skipped() {
    let platform = TestPlatform::new()
        .complete("back")
        .complete("front")
        .complete("other");
    let plan = platform.plan(&["back", "front", "other"]);
    assert!(plan.is_empty());
    assert_eq!(
        shown(&plan)[0],
        "front skip: in the registry and the engine []"
    );
    assert_eq!(plan.units.len(), 3);
}

#[test]
fn images_only_in_the_registry_are_pulled_or_skipped() {
    let platform = TestPlatform::new()
        .registry("front", "", "a")
        .registry("front", "master", "a");
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front pull: in the registry, not in the engine [pull tag]"]
    );
    let platform = platform.options(|options| options.pull = false);
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front skip: in the registry []"]
    );
}

#[test]
fn images_only_in_the_engine_are_pushed() {
    let platform = TestPlatform::new()
        .engine("front", "", "a")
        .engine("front", "master", "a");
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front push: in the engine, not in the registry [push tag]"]
    );
    let platform = platform.options(|options| options.push = false);
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front skip: in the engine; --no-push []"]
    );
}

#[test]
fn push_rights_are_checked_only_for_builds() {
    let built_for = |platform: TestPlatform| {
        let plan = platform.plan(&["back"]);
        let repositories = plan.built_for().into_iter();
        repositories.map(|it| it.to_string()).collect::<Vec<_>>()
    };
    let all = [
        "r.example.com/x/back",
        "r.example.com/x/builders/go",
        "r.example.com/x/front",
    ];
    assert_eq!(built_for(TestPlatform::new()), all);
    // Existing images are pushed right away, and images that only get tags are not pushed.
    let platform = TestPlatform::new()
        .engine("front", "", "a")
        .registry("back", "", "b");
    assert_eq!(built_for(platform), [""; 0]);
    let unpushed = TestPlatform::new().options(|options| options.push = false);
    assert_eq!(built_for(unpushed), [""; 0]);
}

#[test]
fn missing_images_are_built_with_their_dependencies() {
    let plan = TestPlatform::new().plan(&["back"]);
    assert_eq!(
        shown(&plan),
        [
            "builders/go build: no image with content 05fe405 [image push tag]"
                .replace("05fe405", &plan.units[0].image.tag().unwrap().as_str()[..8]),
            "front build: new commit [sync export image push tag]".to_owned(),
            "back build: new commit \
             [sync export container prepare build test image push tag]"
                .to_owned(),
        ]
    );
    let back = &plan.units[2];
    assert_eq!(
        back.after,
        [plan.units[0].unit.clone(), plan.units[1].unit.clone()]
    );
}

#[test]
fn needed_services_matter_only_for_builds() {
    let platform = TestPlatform::new().complete("back");
    assert_eq!(
        platform.plan(&["back"]).units.len(),
        1,
        "front exists nowhere, but nobody needs it now"
    );
    let platform = TestPlatform::new().complete("front");
    let plan = platform.plan(&["back"]);
    assert_eq!(
        shown(&plan)[1],
        "front skip: in the registry and the engine []"
    );
    assert_eq!(
        plan.units[2].after,
        [plan.units[0].unit.clone()],
        "what is in place is not waited for"
    );
}

#[test]
fn force_applies_to_selected_services() {
    let platform = TestPlatform::new()
        .complete("back")
        .complete("front")
        .options(|options| options.force = true);
    let plan = platform.plan(&["back"]);
    assert_eq!(
        shown(&plan)[1],
        "front skip: in the registry and the engine []"
    );
    assert!(shown(&plan)[2].starts_with("back build: --force ["));
}

#[test]
fn a_tag_on_another_image_is_moved() {
    let platform = TestPlatform::new()
        .registry("front", "", "a")
        .engine("front", "", "a")
        .registry("front", "master", "b")
        .engine("front", "master", "a");
    let plan = platform.plan(&["front"]);
    assert_eq!(
        shown(&plan),
        ["front tag: in the registry and the engine; tags to update: master [tag]"]
    );
    assert!(
        matches!(&plan.units[0].steps[0], Step::RegistryTag { tags, .. } if tags[0].as_str() == "master")
    );
    assert!(
        platform
            .options(|options| options.push = false)
            .plan(&["front"])
            .is_empty()
    );
}

#[test]
fn command_line_tags_are_set_too() {
    let platform = TestPlatform::new()
        .complete("front")
        .options(|options| options.tags.push("v1".parse().unwrap()));
    let plan = platform.plan(&["front"]);
    assert_eq!(
        shown(&plan),
        ["front tag: in the registry and the engine; tags to update: v1 [tag tag]"]
    );
}

#[test]
fn without_a_registry_only_the_engine_matters() {
    let platform = TestPlatform::local();
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front build: new commit [sync export image]"]
    );
    let platform = platform
        .engine("front", "", "a")
        .engine("front", "master", "old");
    assert_eq!(
        shown(&platform.plan(&["front"])),
        ["front tag: in the engine; tags to update: master [tag]"]
    );
    let platform = platform.engine("front", "master", "a");
    assert!(platform.plan(&["front"]).is_empty());
}

#[test]
fn a_failed_query_is_an_error() {
    let mut platform = TestPlatform::new();
    let image = platform.image("front", "");
    platform.inventory.registry.insert(
        image,
        Presence::Unknown(QueryFailure {
            why: "it answers 503".to_owned(),
            hints: vec!["wait".to_owned()],
        }),
    );
    let error = platform.try_plan(&["front"]).unwrap_err();
    assert!(error.to_string().contains("it answers 503"), "{error}");
}

#[test]
fn a_builder_in_the_registry_is_pulled() {
    let mut platform = TestPlatform::new().complete("front");
    platform.builder_in_registry = true;
    let plan = platform.plan(&["back"]);
    assert_eq!(
        shown(&plan)[0],
        "builders/go pull: in the registry, not in the engine [pull tag]"
    );
}

#[test]
fn a_builder_is_built_only_if_scripts_run() {
    let only_tests = MANIFEST.replace("prepare: [make deps], build: [make build], ", "");
    let platform = || TestPlatform::of(&only_tests).complete("front");
    assert!(shown(&platform().plan(&["back"]))[0].starts_with("builders/go build: "));
    let untested = platform().options(|options| options.test = false);
    let plan = shown(&untested.plan(&["back"]));
    assert!(plan.iter().any(|it| it.starts_with("back build: ")));
    assert!(
        !plan.iter().any(|it| it.starts_with("builders/")),
        "{plan:?}"
    );
}

#[test]
fn steps_have_all_parameters() {
    let plan = TestPlatform::new()
        .options(|options| options.test = false)
        .plan(&["back"]);
    let back = plan.units.last().unwrap();
    let phases: Vec<_> = back.steps.iter().map(Step::phase).collect();
    assert!(!phases.contains(&Phase::Test));
    let container = back.steps.iter().find_map(|step| match step {
        Step::Container(container) => Some(container),
        _ => None,
    });
    let container = container.unwrap();
    assert_eq!(container.env["N"], "7");
    assert_eq!(container.env["XP_BRANCH"], "master");
    assert_eq!(container.env["XP_IMAGE"], back.image.to_string());
    assert_eq!(container.source, Path::new("/p/.xp/build/back"));
    let image = back.steps.iter().find_map(|step| match step {
        Step::Image(image) => Some(image),
        _ => None,
    });
    let image = image.unwrap();
    assert_eq!(
        image.args["FRONT"],
        format!("r.example.com/x/front:{}", commit("front"))
    );
    assert_eq!(
        image.labels["org.opencontainers.image.revision"],
        commit("back").to_string()
    );
    let names: Vec<_> = image.names.iter().map(ToString::to_string).collect();
    let commit_name = format!("r.example.com/x/back:{}", commit("back"));
    assert_eq!(
        names,
        [
            commit_name.as_str(),
            "r.example.com/x/back:master",
            "r.example.com/x/back:build-7"
        ]
    );
}

#[test]
fn a_commit_without_a_branch_has_no_branch_tag() {
    let mut platform = TestPlatform::new();
    platform.sources.get_mut(&name("front")).unwrap().tip.name = None;
    let plan = platform.plan(&["front"]);
    assert!(
        shown(&plan)[0].ends_with("[sync export image push]"),
        "{:?}",
        shown(&plan)
    );
}

#[test]
fn only_the_pinned_image_is_accepted() {
    let pinned = |content: &str| {
        let digest = Some(digest("front", content));
        let tag = Tag::from_commit(commit("front"));
        move |options: &mut Options| {
            options.moving_tags = false;
            options.pinned.insert(name("front"), Pinned { tag, digest });
        }
    };
    let others = r#"{"version":1,"inputs":{}}"#;
    let platform = || {
        TestPlatform::new()
            .complete("front")
            .label("front", Some(others))
    };
    assert!(shown(&platform().plan(&["front"]))[0].starts_with("front build: "));
    // The engine may have another build of the same commit.
    let locked = platform().options(pinned("a"));
    assert_eq!(
        shown(&locked.plan(&["front"])),
        ["front pull: in the registry, not in the engine [pull]"]
    );
    let mut here = platform().options(pinned("a"));
    let by_digest = here
        .image("front", "")
        .repository()
        .with_digest(digest("front", "a"));
    let id = here.image("front", "").to_string();
    let image = here.inventory.engine[&id].clone();
    here.inventory.engine.insert(by_digest.to_string(), image);
    assert_eq!(
        shown(&here.plan(&["front"])),
        ["front skip: in the registry and the engine []"]
    );
    // A different digest is a different image.
    let other = platform().options(pinned("b"));
    assert!(shown(&other.plan(&["front"]))[0].starts_with("front build: "));
}

#[test]
fn a_locked_commit_moves_no_tags() {
    let mut platform = TestPlatform::new().options(|options| options.moving_tags = false);
    platform.sources.get_mut(&name("back")).unwrap().origin = ReferenceOrigin::Lock;
    let plan = platform.plan(&["back"]);
    let back = &plan.units[plan.units.len() - 1];
    let phases: Vec<_> = back.steps.iter().map(|step| step.phase()).collect();
    assert!(!phases.contains(&Phase::Tag), "{phases:?}");
    for step in &back.steps {
        match step {
            Step::Sync(step) => assert_eq!(step.resolved.name, None),
            // The build gets the same values as when it was locked.
            Step::Export(step) => assert_eq!(step.branch.as_deref(), Some("master")),
            Step::Container(step) => assert_eq!(step.env["XP_BRANCH"], "master"),
            Step::Image(step) => assert_eq!(step.names.len(), 1),
            _ => {}
        }
    }
}

#[test]
fn the_plan_shows_steps_without_values() {
    let text =
        TestPlatform::new()
            .plan(&["back"])
            .display(Path::new("/p"), Detail::FILE, Duration::ZERO);
    for part in [
        "SERVICE",
        "back",
        "make build",
        "--build-arg FRONT",
        "master, build-7 in the registry",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("FRONT="), "{text}");
}
