//! An engine that stops or crashes during a build.

use std::fs;

use crate::case::Case;
use crate::context::Context;
use crate::repository::GitRepository;
use crate::wait::wait_until;
use crate::world::{Engine, RegistryKind};

pub const CASES: &[Case] = cases![
    a_crashed_engine_is_named_and_a_rerun_recovers,
    a_stopped_engine_is_named_and_a_rerun_recovers,
];

fn a_crashed_engine_is_named_and_a_rerun_recovers(t: &Context) {
    for hang in ["hang-script", "hang-image"] {
        lose_engine(t, hang, Engine::crash);
    }
}

fn a_stopped_engine_is_named_and_a_rerun_recovers(t: &Context) {
    for hang in ["hang-script", "hang-image"] {
        lose_engine(t, hang, Engine::stop);
    }
}

/// Stops the engine while a build hangs in a script or in its image build, and starts it again.
fn lose_engine(t: &Context, hang: &str, end: impl Fn(&Engine)) {
    let folder = t.engine_folder();
    let engine = t.own_engine_in(&folder);
    if !engine.is_private() {
        // Only root can have an engine that a test can stop.
        return;
    }
    let registry = t.own_registry(RegistryKind::Open);
    let repository = platform(t, hang, engine.busybox(), registry.host());
    let build = || t.xp(["build"]).env("DOCKER_HOST", engine.host());

    repository.commit(&[(hang, "")], "Hang");
    let mut running = build().spawn();
    running.wait_for_output("begun\n");
    end(&engine);
    let output = running.wait();
    assert_eq!(output.status.code(), Some(3), "{output}");
    let output = output
        .stderr_contains("the container engine at ")
        .stderr_contains(engine.host())
        .stderr_contains("run xp again");
    // Without the engine, xp can do nothing, and reports it as briefly.
    let without = build().failure(3);
    without.stderr_contains(engine.host());

    let again = t.own_engine_in(&folder);
    repository.git(&["rm", "--quiet", hang]);
    repository.commit(&[], "Do not hang");
    let built = build().run();
    assert!(built.status.success(), "{output}\nthen {built}");
    // Its push may have been running in the background.
    assert!(!built.row("zbase").contains(" built "), "{built}");
    wait_until("no container is left", || again.containers(&[]).is_empty());
    assert_eq!(again.volumes("dangling=true"), [""; 0]);
    assert_eq!(registry.tags(&t.image("zbackend")).len(), 2);
    let sessions = fs::read_dir(t.dir().join(".xp/sessions"));
    assert_eq!(sessions.into_iter().flatten().count(), 0);
    fs::remove_dir_all(t.dir().join(".xp")).expect("xp's own folder");
    fs::remove_dir_all(t.dir().join("src")).expect("the working copies");
}

/// A service that needs another one, and hangs if its commit contains a file with that name.
fn platform(t: &Context, hang: &str, busybox: &str, registry: &str) -> GitRepository {
    let base = t.git_repo(&format!("zbase-{hang}"));
    base.commit(&[("Dockerfile", &format!("FROM {busybox}\n"))], "Start");
    let repository = t.git_repo(&format!("zbackend-{hang}"));
    let wait = format!(
        "FROM {busybox}\nCOPY . /src\nRUN [ ! -e /src/hang-image ] || {{ echo begun; sleep 1000; }}\n"
    );
    repository.commit(&[("Dockerfile", &wait)], "Start");
    t.manifest(&format!(
        "registry: {registry}/{}\nservices:\n  zbase:\n    dir: src/zbase\n    git: {{remote: '{}'}}\n    \
         docker: {{image: zbase}}\n  zbackend:\n    dir: src/zbackend\n    git: {{remote: '{}'}}\n    \
         needs: [zbase]\n    dockerBuilder: {{image: '{busybox}', network: none, cache: [/workspace/.cache]}}\n    \
         docker: {{image: zbackend}}\n    \
         scripts: {{build: ['[ ! -e hang-script ] || {{ echo begun; sleep 1000; }}']}}\n",
        t.prefix(),
        base.url_file(),
        repository.url_file(),
    ));
    repository
}
