//! `docker.cache`: layers of images in a registry are reused on other machines.

use std::process::Command;

use crate::case::Case;
use crate::cases::small;
use crate::context::Context;
use crate::process::succeed;
use crate::repository::GitRepository;
use crate::world::{Engine, RegistryKind};

pub const CASES: &[Case] = cases![
    a_fresh_machine_reuses_layers,
    layers_are_not_an_input,
    an_engine_without_buildkit_has_a_note,
];

/// A service with an instruction that gives another result each time it runs. Its base image is in a registry: that of
/// each test engine is another one.
fn random(t: &Context) -> GitRepository {
    let app = t.git_repo("app");
    let (engine, registry) = (t.engine(), t.registry());
    let base = format!("{}/{}:1", registry.host(), t.image("os"));
    engine.tag(engine.busybox(), &base);
    succeed(engine.client().args(["push", &base]));
    let dockerfile =
        format!("FROM {base}\nRUN cat /proc/sys/kernel/random/uuid > /id\nCOPY file /file\n");
    app.commit(&[("Dockerfile", &dockerfile), ("file", "1\n")], "Start");
    app
}

fn manifest(t: &Context, registry: &str, app: &GitRepository, docker: &str) {
    let service = small::service(t, "app", &app.url_file(), docker, "");
    small::manifest(t, registry, &service);
}

fn id_in(engine: &Engine, image: &str) -> String {
    engine.run(image, ["cat", "/id"])
}

fn a_fresh_machine_reuses_layers(t: &Context) {
    if t.engine().product().is_podman() {
        return;
    }
    let registry = t.registry_of(RegistryKind::Auth);
    t.log_in(registry);
    let app = random(t);
    let image = |head: &str| format!("{}/{}:{head}", registry.host(), t.image("app"));
    manifest(t, registry.host(), &app, ", cache: true");
    t.xp(["plan", "-v"])
        .success()
        .stdout_contains(&format!("docker build --cache-from {} ", image("master")));
    // There is no image yet.
    t.xp(["build", "--verbose"])
        .success()
        .stderr_contains("note: no layers from ")
        .does_not_contain("ERROR");
    let first = id_in(t.engine(), &image(&app.head()));

    let build_on = |engine: &Engine, options: &[&str]| {
        let runner = t.folder().join("runner");
        _ = std::fs::remove_dir_all(&runner);
        succeed(Command::new("cp").arg("-a").arg(t.dir()).arg(&runner));
        let build = t.xp(["build", "--verbose"]).dir(&runner);
        let build = options
            .iter()
            .fold(build, |build, option| build.arg(option));
        build.env("DOCKER_HOST", engine.host()).success()
    };
    // A new commit on the branch.
    let fresh = t.own_engine();
    app.commit(&[("file", "2\n")], "Second");
    build_on(&fresh, &[]).does_not_contain("no layers from");
    let second = image(&app.head());
    assert_eq!(id_in(&fresh, &second), first);
    assert_eq!(fresh.run(&second, ["cat", "/file"]), "2");
    fresh.stop();
    // A topic branch whose own image does not exist yet.
    let fresh = t.own_engine();
    app.branch("topic");
    app.commit(&[("file", "3\n")], "Third");
    let output = build_on(&fresh, &["--branch", "topic"]);
    output.stderr_contains("no layers from ");
    let third = image(&app.head());
    assert_eq!(id_in(&fresh, &third), first);
    assert_eq!(fresh.run(&third, ["cat", "/file"]), "3");
    // Its next build on another machine uses the layers of the topic's image.
    app.commit(&[("file", "4\n")], "Fourth");
    fresh.stop();
    let fresh = t.own_engine();
    build_on(&fresh, &["--branch", "topic"]).does_not_contain("no layers from");
    assert_eq!(id_in(&fresh, &image(&app.head())), first);
    // `--no-cache` does not.
    build_on(&fresh, &["--branch", "topic", "--no-cache"]);
    assert_ne!(id_in(&fresh, &image(&app.head())), first);
    fresh.stop();
}

fn layers_are_not_an_input(t: &Context) {
    let registry = t.registry();
    let app = random(t);
    manifest(t, registry.host(), &app, "");
    t.xp(["build"]).success();
    let tags = registry.identity_tags(&t.image("app"));
    manifest(t, registry.host(), &app, ", cache: true");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    t.xp(["build", "--force"]).success();
    assert_eq!(registry.identity_tags(&t.image("app")), tags);
    manifest(t, registry.host(), &app, "");
    t.xp(["plan"]).success().stdout_contains("Nothing to do");
    // Without a registry, and in a working copy, nothing is imported.
    t.xp(["sync"]).success();
    manifest(t, registry.host(), &app, ", cache: true");
    t.xp(["plan", "--local", "--force", "-v"])
        .success()
        .does_not_contain("--cache-from");
    manifest(t, "", &app, ", cache: true");
    t.xp(["plan", "--force", "-v"])
        .success()
        .does_not_contain("--cache-from");
    t.xp(["build"]).success().does_not_contain("no layers from");
}

fn an_engine_without_buildkit_has_a_note(t: &Context) {
    let registry = t.registry();
    let app = random(t);
    manifest(t, registry.host(), &app, ", cache: true");
    let build = t.xp(["build", "--verbose"]);
    build
        .env("DOCKER_BUILDKIT", "0")
        .success()
        .stderr_contains("docker.cache has no effect");
}
