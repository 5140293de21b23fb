//! `--no-cache` and `--refresh-bases`: images that are built again without the layer cache, or from newer bases.

use serde_json::{Value, json};

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::process::succeed;
use crate::repository::GitRepository;
use crate::world::{Registry, RegistryKind};

pub const CASES: &[Case] = cases![
    only_selected_images_are_built_without_cache,
    moved_base_images_are_used,
    moved_external_builders_are_used,
    builders_are_updated_from_moved_bases,
    an_unreachable_base_registry_stops_the_plan,
    an_image_that_is_only_in_the_engine_is_used_from_there,
];

/// An image in a registry that another program pushes, under a tag that moves.
struct Base<'t> {
    t: &'t Context,
    /// The image, with its registry.
    name: String,
    repository: String,
}

impl<'t> Base<'t> {
    fn new(t: &'t Context, registry: &Registry, name: &str) -> Self {
        let repository = t.image(name);
        let name = format!("{}/{repository}:1", registry.host());
        Self {
            t,
            name,
            repository,
        }
    }

    /// Pushes a version, and returns its digest. The engine keeps the version that it had under that name.
    fn push(&self, registry: &Registry, version: &str) -> String {
        let (t, engine) = (self.t, self.t.engine());
        let old = format!("{}-old", self.name);
        let is_known = engine.image(&self.name).is_some();
        if is_known {
            engine.tag(&self.name, &old);
        }
        let folder = t.folder().join(format!("base-{version}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let dockerfile = format!("FROM {}\nCOPY version /version\n", engine.busybox());
        std::fs::write(folder.join("Dockerfile"), dockerfile).expect("the Dockerfile");
        std::fs::write(folder.join("version"), version).expect("the version");
        let mut build = engine.client();
        build.args(["build", "--quiet", "--tag", &self.name]);
        succeed(build.arg(&folder));
        succeed(engine.client().args(["push", &self.name]));
        if is_known {
            engine.tag(&old, &self.name);
        }
        let digest = registry.manifest_digest(&self.repository, "1");
        digest.expect("the base image")
    }
}

fn version_in(t: &Context, image: &str) -> String {
    t.engine().run(image, ["cat", "/version"])
}

fn bases_of(t: &Context, image: &str) -> Value {
    let image = t.engine().image(image).expect("the image");
    let label = image["Config"]["Labels"]["x-platform.bases"].as_str();
    serde_json::from_str(label.expect("the label")).expect("JSON")
}

/// Creates a service whose image has a new file in each build without cache.
fn random_repository(t: &Context, name: &str, from: &str) -> GitRepository {
    let repository = t.git_repo(name);
    let dockerfile =
        format!("ARG BASE={from}\nFROM $BASE\nRUN cat /proc/sys/kernel/random/uuid > /id-{name}\n");
    repository.commit(&[("Dockerfile", dockerfile.as_str())], "Start");
    repository
}

fn only_selected_images_are_built_without_cache(t: &Context) {
    let busybox = t.engine().busybox();
    let base = random_repository(t, "base", busybox);
    let top = random_repository(t, "top", busybox);
    let args = ", args: {BASE: '${{ services.base.image }}'}";
    let services = [
        small::service(t, "base", &base.url_file(), "", ""),
        small::service(t, "top", &top.url_file(), args, ""),
    ];
    small::manifest(t, "", &services.concat());
    t.xp(["build"]).success();
    let id = |name: &str, head: &str| {
        let image = format!("{}:{head}", t.image(name));
        t.engine().run(&image, ["cat", &format!("/id-{name}")])
    };
    let before = (id("base", &base.head()), id("top", &top.head()));
    let cached = t.xp(["build", "--force", "top"]).success();
    cached.does_not_contain("--no-cache");
    if !t.engine().product().is_podman() {
        assert_eq!(id("top", &top.head()), before.1, "from the cache");
    }
    t.xp(["plan", "--no-cache", "top", "-v"])
        .success()
        .stdout_contains("--no-cache")
        .stdout_contains("docker build --no-cache");
    t.xp(["build", "--no-cache", "top"]).success();
    assert_ne!(id("top", &top.head()), before.1);
    assert_eq!(id("base", &base.head()), before.0, "needed, not selected");
    t.xp(["build", "--no-cache"]).success();
    assert_ne!(id("base", &base.head()), before.0);
    t.xp(["build"]).success().does_not_contain("docker build");
}

fn moved_base_images_are_used(t: &Context) {
    let registry = t.registry();
    let base = Base::new(t, registry, "os");
    base.push(registry, "one");
    let app = t.git_repo("app");
    let dockerfile = format!("FROM {}\nCOPY Dockerfile /\n", base.name);
    app.commit(&[("Dockerfile", dockerfile.as_str())], "Start");
    let top = t.git_repo("top");
    let dockerfile = "ARG APP\nFROM $APP\nCOPY Dockerfile /top\n";
    top.commit(&[("Dockerfile", dockerfile)], "Start");
    let args = ", args: {APP: '${{ services.app.image }}'}";
    let services = [
        small::service(t, "app", &app.url_file(), "", ""),
        small::service(t, "top", &top.url_file(), args, ""),
    ];
    small::manifest(t, registry.host(), &services.concat());
    let image = |name: &str, head: &str| format!("{}/{}:{head}", registry.host(), t.image(name));
    let (app_image, top_image) = (image("app", &app.head()), image("top", &top.head()));
    t.xp(["build"]).success();
    let second = base.push(registry, "two");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    assert_eq!(version_in(t, &app_image), "one");

    // An image that was built without the option does not record its bases.
    t.xp(["plan", "--refresh-bases", "-v"])
        .success()
        .stdout_contains("bases are not recorded")
        .stdout_contains("docker build --pull");
    t.xp(["build", "--refresh-bases"]).success();
    assert_eq!(version_in(t, &app_image), "two");
    assert_eq!(
        bases_of(t, &app_image),
        json!({ base.name.clone(): second })
    );
    // The needed image is the one that was just built, and is not a base.
    assert_eq!(version_in(t, &top_image), "two");
    assert_eq!(bases_of(t, &top_image), json!({}));
    t.xp(["build", "--refresh-bases"])
        .success()
        .does_not_contain("docker build");

    let third = base.push(registry, "three");
    let moved = format!("bases.{} moved", base.name);
    t.xp(["why", "app"]).success().does_not_contain(&moved);
    t.xp(["why", "app", "--refresh-bases"])
        .success()
        .stdout_contains(&moved);
    let planned = t.xp(["plan", "--refresh-bases", "--format", "json"]);
    let planned = planned.success().stdout;
    let planned: Value = serde_json::from_str(&planned).expect("JSON");
    let change = &planned["units"][0]["changes"][0];
    assert_eq!(change["change"], json!("moved"), "{planned}");
    t.xp(["build", "--refresh-bases", "--no-pull"]).success();
    assert_eq!(version_in(t, &app_image), "three");
    assert_eq!(version_in(t, &top_image), "three");
    // The registry has it under all names, and other machines find it up to date.
    let labels = registry.labels(&t.image("app"), &app.head());
    assert!(labels["x-platform.bases"].contains(&third), "{labels:?}");
    let identity = registry.identity_tags(&t.image("app")).into_iter();
    let current = registry.manifest_digest(&t.image("app"), &app.head());
    let with_digest =
        identity.filter(|tag| registry.manifest_digest(&t.image("app"), tag) == current);
    assert!(with_digest.count() >= 1);
    for name in [&app_image, &top_image] {
        t.engine().remove_image(name);
    }
    t.xp(["plan", "--refresh-bases", "--no-pull"])
        .success()
        .stdout_contains("Nothing to do");
}

fn moved_external_builders_are_used(t: &Context) {
    let registry = t.registry();
    let tools = Base::new(t, registry, "tools");
    tools.push(registry, "one");
    let base = Base::new(t, registry, "os");
    base.push(registry, "none");
    let app = t.git_repo("app");
    let dockerfile = format!("FROM {}\nCOPY made /version\n", base.name);
    app.commit(&[("Dockerfile", dockerfile.as_str())], "Start");
    let more = format!(
        "    dockerBuilder: {{image: {}}}\n    scripts: {{build: [cp /version made]}}\n",
        tools.name
    );
    let service = small::service(t, "app", &app.url_file(), "", &more);
    small::manifest(t, "", &service);
    let image = format!("{}:{}", t.image("app"), app.head());
    t.xp(["build", "--refresh-bases"]).success();
    assert_eq!(version_in(t, &image), "one");
    let second = tools.push(registry, "two");
    t.xp(["plan", "--refresh-bases"])
        .success()
        .stdout_contains("moved in its registry");
    t.xp(["build", "--refresh-bases"]).success();
    assert_eq!(version_in(t, &image), "two");
    assert_eq!(bases_of(t, &image)[&tools.name], json!(second));
    t.xp(["build", "--refresh-bases"])
        .success()
        .does_not_contain("docker build");
}

fn builders_are_updated_from_moved_bases(t: &Context) {
    let registry = t.registry();
    let base = Base::new(t, registry, "os");
    base.push(registry, "one");
    let builder = t.builder("go", &format!("FROM {}\n", base.name), &[]);
    let name = builder.strip_prefix("builders/").expect("a builder");
    t.manifest(
        "services: {a: {dir: a, git: {remote: 'https://git.invalid/a.git'}, docker: {image: a}}}\n",
    );
    t.xp(["builder", "update", name]).success();
    base.push(registry, "two");
    let image = format!("{builder}:newest");
    t.xp(["builder", "update", name]).success();
    assert_eq!(version_in(t, &image), "one");
    t.xp(["builder", "update", name, "--refresh-bases"])
        .success();
    assert_eq!(version_in(t, &image), "two");
}

fn an_unreachable_base_registry_stops_the_plan(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let base = Base::new(t, &registry, "os");
    base.push(&registry, "one");
    let app = t.git_repo("app");
    app.commit(&[("Dockerfile", &format!("FROM {}\n", base.name))], "Start");
    let service = small::service(t, "app", &app.url_file(), "", "");
    small::manifest(t, "", &service);
    t.xp(["build", "--refresh-bases"]).success();
    registry.kill();
    t.xp(["build", "--refresh-bases"])
        .failure(3)
        .stderr_contains(&base.name)
        .stderr_contains("refused");
    t.xp(["build"]).success();
}

fn an_image_that_is_only_in_the_engine_is_used_from_there(t: &Context) {
    let registry = t.registry();
    let base = format!("{}/{}:local", registry.host(), t.image("os"));
    t.engine().tag(t.engine().busybox(), &base);
    let app = t.git_repo("app");
    app.commit(&[("Dockerfile", &format!("FROM {base}\n"))], "Start");
    let service = small::service(t, "app", &app.url_file(), "", "");
    small::manifest(t, "", &service);
    t.xp(["build", "--refresh-bases"])
        .success()
        .stderr_contains("is only in the engine, so it was not refreshed");
    let image = format!("{}:{}", t.image("app"), app.head());
    assert_eq!(bases_of(t, &image), json!({}));
}
