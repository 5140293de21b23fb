//! Topic trains: one preview set across several repositories, and nothing else moves.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::world::Registry;

pub const CASES: &[Case] = cases![
    one_command_builds_a_consistent_preview,
    a_preview_does_not_change_regular_images,
    a_moved_train_is_rebuilt,
    a_reference_of_a_needed_service_creates_variants,
    a_branch_that_is_the_manifests_commit_changes_nothing,
    a_branch_that_no_repository_has_is_an_error,
    a_branch_may_exist_only_in_unselected_services,
    an_unreachable_remote_is_named,
];

/// `back` is built from `front`, `front` from `base`; `other` is independent.
struct Product<'t> {
    t: &'t Context,
    registry: &'t Registry,
    repositories: BTreeMap<&'static str, GitRepository>,
}

const SERVICES: [&str; 4] = ["back", "base", "front", "other"];

impl<'t> Product<'t> {
    fn new(t: &'t Context) -> Self {
        let registry = t.registry();
        let needs = |name: &str| match name {
            "back" => Some("front"),
            "front" => Some("base"),
            _ => None,
        };
        let mut repositories = BTreeMap::new();
        let mut services = String::new();
        for name in SERVICES {
            let repository = t.git_repo(name);
            let (dockerfile, docker) = match needs(name) {
                None => (
                    format!("FROM {}\nCOPY content /{name}\n", t.engine().busybox()),
                    String::new(),
                ),
                Some(need) => (
                    format!("ARG FROM\nFROM ${{FROM}}\nCOPY content /{name}\n"),
                    format!(", args: {{FROM: '${{{{ services.{need}.image }}}}'}}"),
                ),
            };
            repository.commit(&[("Dockerfile", &dockerfile), ("content", name)], "Start");
            services += &small::service(t, name, &repository.url_http(), &docker, "");
            repositories.insert(name, repository);
        }
        small::manifest(t, registry.host(), &services);
        Self {
            t,
            registry,
            repositories,
        }
    }

    /// Commits to the train's branch, and switches back to `master`.
    fn commit_topic(&self, service: &str, content: &str) -> String {
        let repository = &self.repositories[service];
        let exists = repository.git(&["branch", "--list", "TASK-981"]);
        match exists.is_empty() {
            true => repository.branch("TASK-981"),
            false => repository.switch("TASK-981"),
        }
        let commit = repository.commit(&[("content", content)], "Topic");
        repository.switch("master");
        commit
    }

    fn head(&self, service: &str) -> String {
        self.repositories[service].head()
    }

    fn tags(&self, service: &str) -> Vec<String> {
        self.registry.tags(&self.t.image(service))
    }

    fn digest(&self, service: &str, tag: &str) -> String {
        self.registry
            .manifest_digest(&self.t.image(service), tag)
            .unwrap_or_else(|| panic!("the registry has no {service}:{tag}"))
    }

    /// Returns every tag of every service with its target.
    fn all_tags(&self) -> BTreeMap<String, String> {
        let tags = SERVICES.iter().flat_map(|service| {
            let tags = self.tags(service).into_iter();
            tags.map(move |tag| (format!("{service}:{tag}"), self.digest(service, &tag)))
        });
        tags.collect()
    }

    /// Returns a file of an image.
    fn read(&self, service: &str, tag: &str, file: &str) -> String {
        let image = format!("{}/{}:{tag}", self.registry.host(), self.t.image(service));
        self.t.engine().run(&image, ["cat", file])
    }
}

fn sorted<const N: usize>(tags: [String; N]) -> Vec<String> {
    let mut tags = tags.to_vec();
    tags.sort();
    tags
}

fn one_command_builds_a_consistent_preview(t: &Context) {
    let product = Product::new(t);
    let topic = product.commit_topic("base", "topic");
    let plan = t.xp(["plan", "--branch", "TASK-981"]).success();
    plan.stdout_contains("\nOn TASK-981: 1 of 4 services.\n");
    let plan = t
        .xp(["plan", "--branch", "TASK-981", "--format", "json"])
        .success();
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let train = serde_json::json!({"branch": "TASK-981", "on_it": 1, "services": 4});
    assert_eq!(plan["train"], train);
    let units = plan["units"].as_array().expect("units").iter();
    let origins: Vec<&str> = units.filter_map(|unit| unit["origin"].as_str()).collect();
    assert_eq!(origins, ["branch", "manifest", "manifest", "manifest"]);
    let build = t.xp(["build", "--branch", "TASK-981"]).success();
    let build = build.stdout_contains("\nOn TASK-981: 1 of 4 services.\n");
    for (service, reference) in [("base", "TASK-981"), ("front", "master")] {
        let row = build.stdout.lines().find(|line| line.starts_with(service));
        let cells: Vec<&str> = row.expect("a row").split_whitespace().collect();
        assert_eq!(cells[1], reference, "{build}");
    }

    let tag = "TASK-981".to_owned();
    assert_eq!(product.tags("base"), sorted([topic, tag.clone()]));
    for service in ["front", "back"] {
        let variant = format!("{}-TASK-981", product.head(service));
        assert_eq!(product.tags(service), sorted([variant, tag.clone()]));
    }
    let other = product.head("other");
    let master = "master".to_owned();
    assert_eq!(product.tags("other"), sorted([other, tag, master]));
    // All images of the set have one name, and are built from each other.
    assert_eq!(product.read("back", "TASK-981", "/base"), "topic");
    assert_eq!(product.read("front", "TASK-981", "/base"), "topic");
    assert_eq!(product.read("other", "TASK-981", "/other"), "other");
    let labels = product.registry.labels(&t.image("back"), "TASK-981");
    assert_eq!(
        labels["org.opencontainers.image.revision"],
        product.head("back")
    );
    assert_eq!(labels["org.opencontainers.image.version"], "master");

    let again = t.xp(["build", "--branch", "TASK-981"]).success();
    assert_eq!(again.stdout.matches("  skipped  ").count(), 4, "{again}");
}

fn a_preview_does_not_change_regular_images(t: &Context) {
    let product = Product::new(t);
    t.xp(["build"]).success();
    let before = product.all_tags();
    assert_eq!(before.len(), 8);
    product.commit_topic("base", "topic");
    t.xp(["build", "--branch", "TASK-981"]).success();
    let after = product.all_tags();
    for (name, digest) in &before {
        assert_eq!(after.get(name), Some(digest), "{name}");
    }
    assert_eq!(product.read("back", "master", "/base"), "base");
    assert_eq!(product.read("back", &product.head("back"), "/base"), "base");
    assert_eq!(product.read("back", "TASK-981", "/base"), "topic");
    // Neither considers the other's images outdated.
    for arguments in [&["build"][..], &["build", "--branch", "TASK-981"]] {
        let build = arguments[1..]
            .iter()
            .fold(t.xp([arguments[0]]), |xp, argument| xp.arg(argument));
        let build = build.success();
        assert_eq!(build.stdout.matches("  skipped  ").count(), 4, "{build}");
    }
    assert_eq!(product.all_tags(), after);
}

fn a_moved_train_is_rebuilt(t: &Context) {
    let product = Product::new(t);
    product.commit_topic("base", "topic");
    t.xp(["build", "--branch", "TASK-981"]).success();
    // A second repository joins.
    let front = product.commit_topic("front", "more");
    let build = t.xp(["build", "--branch", "TASK-981"]).success();
    build.stdout_contains("On TASK-981: 2 of 4 services.");
    let variant = format!("{front}-TASK-981");
    assert!(product.tags("front").contains(&variant));
    assert_eq!(
        product.digest("front", "TASK-981"),
        product.digest("front", &variant)
    );
    assert_eq!(product.read("front", "TASK-981", "/base"), "topic");
    assert_eq!(product.read("front", "TASK-981", "/front"), "more");
    // The first one gets another commit: its dependents follow, under the same names.
    product.commit_topic("base", "further");
    let tags = product.tags("back");
    let build = t.xp(["build", "--branch", "TASK-981"]).success();
    build
        .stdout_contains("needs.base")
        .stdout_contains("needs.front");
    assert_eq!(product.read("front", "TASK-981", "/base"), "further");
    assert_eq!(product.tags("back"), tags);
    assert_eq!(product.read("back", "TASK-981", "/base"), "further");
    // It is merged: now the commit's own image is built with it.
    for service in ["base", "front"] {
        product.repositories[service].git(&["merge", "--quiet", "TASK-981"]);
        product.repositories[service].git(&["push", "--quiet", "origin", "master"]);
    }
    t.xp(["build"]).success();
    let back = product.head("back");
    assert_eq!(product.read("back", &back, "/base"), "further");
    assert_eq!(
        product.digest("back", "master"),
        product.digest("back", &back)
    );
    t.xp(["build", "--branch", "TASK-981"]).success();
    assert_eq!(
        product.digest("back", "TASK-981"),
        product.digest("back", &back)
    );
}

fn a_reference_of_a_needed_service_creates_variants(t: &Context) {
    let product = Product::new(t);
    t.xp(["build"]).success();
    let before = product.all_tags();
    let topic = product.commit_topic("base", "topic");
    let plan = t.xp(["plan", "--reference", "base=TASK-981"]).success();
    plan.stdout_contains("REFERENCE")
        .does_not_contain("On TASK-981");
    t.xp(["build", "--reference", "base=TASK-981"]).success();
    let after = product.all_tags();
    for (name, digest) in &before {
        assert_eq!(after.get(name), Some(digest), "{name}");
    }
    let tags = product.tags("front");
    let commit = format!("{}-base-TASK-981-", product.head("front"));
    let variant = tags.iter().find(|tag| tag.starts_with(&commit));
    let variant = variant.expect("an image of its own");
    assert_eq!(product.read("front", variant, "/base"), "topic");
    // The same name without the commit, instead of the branch's tag.
    let moving = variant.replace(&format!("{}-", product.head("front")), "");
    assert!(tags.contains(&moving), "{tags:?}");
    assert_eq!(
        product.tags("other").len(),
        2,
        "it has nothing to do with it"
    );

    // The commit of the manifest's branch is the same, regardless of the name.
    let master = format!("base={}", product.head("base"));
    for reference in [master.as_str(), "base=master", "base=HEAD"] {
        let build = t.xp(["build", "--reference", reference]).success();
        assert_eq!(build.stdout.matches("  skipped  ").count(), 4, "{build}");
    }
    let by_commit = format!("base={topic}");
    t.xp(["plan", "--reference", &by_commit])
        .success()
        .stdout_contains(&format!("{}-base-{topic}-", product.head("front")));
}

fn a_branch_that_is_the_manifests_commit_changes_nothing(t: &Context) {
    let product = Product::new(t);
    t.xp(["build"]).success();
    let build = t.xp(["build", "--branch", "master"]).success();
    let build = build.stdout_contains("On master: 4 of 4 services.");
    assert_eq!(build.stdout.matches("  skipped  ").count(), 4, "{build}");
    // A branch without its own commits: the same images with an additional tag.
    product.repositories["base"].branch("TASK-981");
    let build = t.xp(["build", "--branch", "TASK-981"]).success();
    assert_eq!(build.stdout.matches("  tagged  ").count(), 4, "{build}");
    let tags = sorted([
        product.head("back"),
        "TASK-981".to_owned(),
        "master".to_owned(),
    ]);
    assert_eq!(product.tags("back"), tags);
}

fn a_branch_that_no_repository_has_is_an_error(t: &Context) {
    let product = Product::new(t);
    product.commit_topic("front", "topic");
    for arguments in [
        ["plan", "--branch", "TASK-918"],
        ["build", "--branch", "TASK-918"],
        ["sync", "--branch", "TASK-918"],
    ] {
        t.xp(arguments)
            .failure(2)
            .stderr_contains(
                "no repository in the manifest has a branch `TASK-918`\nhint: did you mean `TASK-981` instead of `TASK-918`?",
            );
    }
    // A tag is not a branch.
    product.repositories["other"].tag("v1.0");
    t.xp(["build", "--branch", "v1.0"])
        .failure(2)
        .stderr_contains("hint: `--branch` requires the branch in at least one repository");
    assert_eq!(product.all_tags(), BTreeMap::new());
    assert!(!t.exists("src"));
}

fn a_branch_may_exist_only_in_unselected_services(t: &Context) {
    let product = Product::new(t);
    product.commit_topic("front", "topic");
    // Like a CI job that builds one of many services: the others have the branch.
    let build = t.xp(["build", "other", "--branch", "TASK-981"]).success();
    build.stdout_contains("On TASK-981: 0 of 1 services.");
    assert!(product.tags("other").contains(&"TASK-981".to_owned()));
    t.xp(["build", "other", "--branch", "TASK-918"])
        .failure(2)
        .stderr_contains("did you mean `TASK-981`");
}

fn an_unreachable_remote_is_named(t: &Context) {
    let repository = small::repository(t, "zbackend");
    let closed = format!("http://127.0.0.1:{}/x.git", t.closed_port());
    let services = small::service(t, "zbackend", &repository.url_http(), "", "")
        + &small::service(t, "zfrontend", &closed, "", "");
    small::manifest(t, "", &services);
    let plan = t.xp(["plan", "zbackend", "--branch", "TASK-981"]);
    plan.failure(3).stderr_contains(&format!(
        "has a branch `TASK-981`; could not reach {closed}"
    ));
}
