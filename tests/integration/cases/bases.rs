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
    a_moved_base_of_a_tracking_service_is_built,
    a_moved_base_is_reported_without_tracking,
    tracked_bases_are_queried_once,
    an_unreachable_base_registry_builds_nothing,
    a_tracked_builder_causes_a_build,
    locks_record_tracked_bases,
    needed_images_and_digests_are_not_tracked,
    a_base_for_several_platforms_is_its_index,
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

    t.xp(["plan", "--refresh-bases", "-v"])
        .success()
        .stdout_contains(&format!("bases.{} moved", base.name))
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
    t.xp(["why", "app"])
        .success()
        .stdout_contains("nothing is built without `docker.bases: track`")
        .does_not_contain(&moved);
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

/// Writes a manifest with one service that tracks its base images.
fn tracking(t: &Context, registry: &str, repository: &GitRepository, more: &str) {
    let service = small::service(t, "app", &repository.url_file(), ", bases: track", more);
    small::manifest(t, registry, &service);
}

fn a_moved_base_of_a_tracking_service_is_built(t: &Context) {
    let registry = t.registry();
    let base = Base::new(t, registry, "os");
    let first = base.push(registry, "one");
    let app = t.git_repo("app");
    // From a build argument, in one of several stages.
    let dockerfile = "ARG OS\nFROM scratch AS unused\nCOPY --from=nowhere.invalid/x /a /b\n\
        FROM ${OS} AS os\nFROM scratch\nCOPY --from=os / /\n";
    app.commit(&[("Dockerfile", dockerfile)], "Start");
    let args = format!(", bases: track, args: {{OS: '{}'}}", base.name);
    let service = small::service(t, "app", &app.url_file(), &args, "");
    small::manifest(t, registry.host(), &service);
    let image = format!("{}/{}:{}", registry.host(), t.image("app"), app.head());
    t.xp(["build"]).success();
    assert_eq!(version_in(t, &image), "one");
    assert_eq!(bases_of(t, &image), json!({ base.name.clone(): first }));
    t.xp(["build"]).success().does_not_contain("docker build");

    let second = base.push(registry, "two");
    let moved = format!("bases.{} moved", base.name);
    t.xp(["plan", "-v"])
        .success()
        .stdout_contains(&moved)
        .stdout_contains("docker build --pull");
    t.xp(["why", "app"])
        .success()
        .stdout_contains(&format!("* bases.{}", base.name))
        .stdout_contains(&format!("build: {moved}"));
    t.xp(["why"]).success().stdout_contains(&moved);
    t.xp(["build"]).success();
    assert_eq!(version_in(t, &image), "two");
    assert_eq!(bases_of(t, &image), json!({ base.name.clone(): second }));
    t.xp(["build"]).success().does_not_contain("docker build");
    // Another machine finds the registry's image up to date, and so does this one without its own.
    t.engine().remove_image(&image);
    t.xp(["plan", "--no-pull"])
        .success()
        .stdout_contains("Nothing to do");
    // A working copy is built without the base's registry.
    base.push(registry, "three");
    t.xp(["sync"]).success();
    t.xp(["plan", "--local"]).success().does_not_contain(&moved);
}

fn a_moved_base_is_reported_without_tracking(t: &Context) {
    let registry = t.registry();
    let base = Base::new(t, registry, "os");
    base.push(registry, "one");
    let app = t.git_repo("app");
    app.commit(&[("Dockerfile", &format!("FROM {}\n", base.name))], "Start");
    let service = small::service(t, "app", &app.url_file(), "", "");
    small::manifest(t, registry.host(), &service);
    t.xp(["build"]).success();
    let moved = format!("the base image {} of app moved in its registry", base.name);
    t.xp(["status"]).success().does_not_contain(&moved);
    base.push(registry, "two");
    t.xp(["status"]).success().stdout_contains(&moved);
    t.xp(["status", "--offline"])
        .success()
        .does_not_contain(&moved);
    let status = t.xp(["status", "--format", "json"]).success().stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let moved_bases = &status["services"][0]["movedBases"];
    assert_eq!(*moved_bases, json!([base.name]), "{status}");
    t.xp(["why", "app"])
        .success()
        .stdout_contains(&format!("* bases.{}", base.name))
        .stdout_contains("nothing is built without `docker.bases: track`");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn tracked_bases_are_queried_once(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let base = Base::new(t, &registry, "os");
    base.push(&registry, "one");
    let names = ["a", "b", "c"];
    let repositories: Vec<GitRepository> = names.iter().map(|name| t.git_repo(name)).collect();
    for repository in &repositories {
        let dockerfile = format!("FROM {}\nCOPY Dockerfile /\n", base.name);
        repository.commit(&[("Dockerfile", &dockerfile)], "Start");
    }
    let services = names.iter().zip(&repositories);
    let services =
        services.map(|(name, it)| small::service(t, name, &it.url_file(), ", bases: track", ""));
    small::manifest(t, "", &services.collect::<String>());
    t.xp(["build"]).success();
    let mark = registry.mark();
    t.xp(["build"]).success().does_not_contain("docker build");
    let requests = registry.requests_since(mark);
    let heads = requests.iter().filter(|it| it.path.contains("/manifests/"));
    assert_eq!(heads.count(), 1, "{requests:?}");
}

fn an_unreachable_base_registry_builds_nothing(t: &Context) {
    let registry = t.own_registry(RegistryKind::Open);
    let base = Base::new(t, &registry, "os");
    base.push(&registry, "one");
    let app = t.git_repo("app");
    let dockerfile = format!("FROM {}\nCOPY Dockerfile /\n", base.name);
    app.commit(&[("Dockerfile", &dockerfile)], "Start");
    tracking(t, "", &app, "");
    t.xp(["build"]).success();
    base.push(&registry, "two");
    registry.kill();
    let unknown = format!(
        "cannot tell whether the base image {} of app moved",
        base.name
    );
    t.xp(["build"])
        .success()
        .stderr_contains(&unknown)
        .does_not_contain("docker build");
    t.xp(["why", "app"])
        .success()
        .stdout_contains("its registry did not respond");
    t.xp(["status"]).success();
    // A new commit is built from the engine's image, and records it.
    let head = app.commit(&[("more", "1")], "More");
    t.xp(["build"])
        .success()
        .stderr_contains("which may not be the newest");
    let image = format!("{}:{head}", t.image("app"));
    assert_eq!(version_in(t, &image), "one");
    assert_eq!(bases_of(t, &image).as_object().expect("bases").len(), 1);
}

fn a_tracked_builder_causes_a_build(t: &Context) {
    let registry = t.registry();
    let tools = Base::new(t, registry, "tools");
    tools.push(registry, "one");
    let app = t.git_repo("app");
    app.commit(
        &[("Dockerfile", "FROM scratch\nCOPY made /version\n")],
        "Start",
    );
    let more = format!(
        "    dockerBuilder: {{image: {}}}\n    scripts: {{build: [cp /version made]}}\n",
        tools.name
    );
    tracking(t, registry.host(), &app, &more);
    t.xp(["build"]).success();
    let second = tools.push(registry, "two");
    let moved = format!("bases.{} moved", tools.name);
    t.xp(["plan"])
        .success()
        .stdout_contains(&moved)
        .stdout_contains("moved in its registry");
    t.xp(["build"]).success();
    let labels = registry.labels(&t.image("app"), &app.head());
    assert!(labels["x-platform.bases"].contains(&second), "{labels:?}");
    t.xp(["build"]).success().does_not_contain("docker build");
}

fn locks_record_tracked_bases(t: &Context) {
    let registry = t.registry();
    let base = Base::new(t, registry, "os");
    let first = base.push(registry, "one");
    let app = t.git_repo("app");
    app.commit(&[("Dockerfile", &format!("FROM {}\n", base.name))], "Start");
    tracking(t, registry.host(), &app, "");
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    let one = t.read("x-platform.lock");
    assert!(
        one.contains("    bases:\n") && one.contains(&first),
        "{one}"
    );
    // A lock is what was built: a moved base neither changes nor invalidates it.
    let second = base.push(registry, "two");
    t.xp(["lock"]).success();
    assert_eq!(t.read("x-platform.lock"), one);
    t.xp(["build", "--locked"])
        .success()
        .does_not_contain("docker build");
    t.write("one.lock", &one);
    t.xp(["build"]).success();
    t.xp(["lock"]).success();
    assert!(t.read("x-platform.lock").contains(&second));
    t.xp(["diff", "one.lock", "x-platform.lock"])
        .success()
        .stdout_contains("bases");
}

fn needed_images_and_digests_are_not_tracked(t: &Context) {
    let registry = t.registry();
    let base = Base::new(t, registry, "os");
    let digest = base.push(registry, "one");
    let (repository, _) = base.name.rsplit_once(':').expect("a tag");
    let app = t.git_repo("app");
    app.commit(
        &[("Dockerfile", &format!("FROM {repository}@{digest}\n"))],
        "Start",
    );
    let top = t.git_repo("top");
    top.commit(&[("Dockerfile", "ARG APP\nFROM $APP\n")], "Start");
    let docker = ", bases: track, args: {APP: '${{ services.app.image }}'}";
    let services = [
        small::service(t, "app", &app.url_file(), ", bases: track", ""),
        small::service(t, "top", &top.url_file(), docker, ""),
    ];
    small::manifest(t, registry.host(), &services.concat());
    t.xp(["build"]).success();
    for (name, head) in [("app", app.head()), ("top", top.head())] {
        let image = format!("{}/{}:{head}", registry.host(), t.image(name));
        assert_eq!(bases_of(t, &image), json!({}), "{name}");
    }
    base.push(registry, "two");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
}

fn a_base_for_several_platforms_is_its_index(t: &Context) {
    let registry = t.registry();
    let base = Base::new(t, registry, "os");
    base.push(registry, "one");
    let manifest = registry.image_manifest(&base.repository, "1");
    let listed = registry.put_manifest(&base.repository, "child", &manifest);
    let index = |note: &str| {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [listed],
            "annotations": {"note": note},
        });
        registry.put_manifest(&base.repository, "1", &index);
        let digest = registry.manifest_digest(&base.repository, "1");
        digest.expect("the index")
    };
    let first = index("one");
    let app = t.git_repo("app");
    app.commit(&[("Dockerfile", &format!("FROM {}\n", base.name))], "Start");
    tracking(t, registry.host(), &app, "");
    let image = format!("{}/{}:{}", registry.host(), t.image("app"), app.head());
    t.xp(["build"]).success();
    assert_eq!(bases_of(t, &image), json!({ base.name.clone(): first }));
    t.xp(["build"]).success().does_not_contain("docker build");
    // Another platform changed.
    let second = index("two");
    t.xp(["build"]).success();
    assert_eq!(bases_of(t, &image), json!({ base.name.clone(): second }));
    t.xp(["build"]).success().does_not_contain("docker build");
}
