//! Builds without a registry, only with the engine.

use std::fs;
use std::time::Duration;

use crate::app::App;
use crate::case::Case;
use crate::context::Context;
use crate::services::Services;
use crate::wait::wait_until;

pub const CASES: &[Case] = cases![
    build_creates_an_image_once,
    image_has_its_labels_and_tags,
    force_builds_again,
    needs_are_built_first,
    failure_blocks_only_dependents,
    fail_fast_stops_everything,
    the_number_of_concurrent_jobs_is_limited,
    unreachable_engine_is_reported,
    a_folder_with_other_files_is_rejected_as_cache,
];

fn build_creates_an_image_once(t: &Context) {
    let app = App::with_scripts(t, "", &["date > made"]);
    let plan = t.xp(["plan"]).success();
    assert!(plan.stdout.contains("build") && !t.exists("src"), "{plan}");
    let output = app.build().success();
    assert!(output.row("app").contains(" built "), "{output}");
    let id = image_id(t, &app.image_of_head());
    let made = app.read("made");

    // Nothing is touched, not even the working copy, which is not needed.
    fs::remove_dir_all(t.dir().join("src")).expect("the working copy can be removed");
    let output = app.build().success();
    assert!(output.row("app").contains(" skipped "), "{output}");
    assert_eq!(output.stderr, "");
    assert_eq!(app.read("made"), made);
    assert_eq!(image_id(t, &app.image_of_head()), id);
    assert!(!t.exists("src"));

    let second = app.repository.commit(&[("new", "")], "Second");
    app.build().success();
    assert_ne!(image_id(t, &format!("{}:{second}", app.image())), id);
    assert_eq!(
        image_id(t, &format!("{}:master", app.image())),
        image_id(t, &app.image_of_head())
    );
}

fn image_has_its_labels_and_tags(t: &Context) {
    let app = App::new(t, &[], "");
    app.set_keys(&format!(
        "docker:\n  image: {}\n  tags: [ \"build-${{{{ env.BUILD_NUMBER }}}}\" ]",
        app.image()
    ));
    app.repository
        .branch("feature/x y".replace(' ', "_").as_str());
    app.repository.commit(&[], "On a branch");
    let build = || {
        t.xp(["build", "--branch", "feature/x_y"])
            .env("BUILD_NUMBER", "17")
    };
    build().args(["--tag", "extra"]).success();
    let commit = app.repository.head();
    let image = t
        .engine()
        .image(&app.image_of_head())
        .expect("it was built");
    let labels = &image["Config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.revision"], commit);
    assert_eq!(
        labels["org.opencontainers.image.source"],
        app.repository.url_file()
    );
    assert_eq!(labels["org.opencontainers.image.version"], "feature/x_y");
    let format = "--format=%cd";
    let date = ["log", "-1", "--date=format:%Y-%m-%dT%H:%M:%SZ", format];
    assert_eq!(
        labels["org.opencontainers.image.created"],
        app.repository.git(&date)
    );

    let digits = &sha1_of(t, "feature/x_y")[..8];
    let mut expected = vec![
        format!("{}:{commit}", app.image()),
        format!("{}:build-17", app.image()),
        format!("{}:extra", app.image()),
        format!("{}:feature-x_y-{digits}", app.image()),
    ];
    expected.sort();
    assert_eq!(t.engine().images_with_prefix(&app.image()), expected);

    // A missing tag is set without building.
    t.engine()
        .remove_image(&format!("{}:build-17", app.image()));
    let output = build().args(["--tag", "later"]).success();
    assert!(output.row("app").contains(" tagged "), "{output}");
    for tag in ["build-17", "later"] {
        let tagged = t
            .engine()
            .image(&format!("{}:{tag}", app.image()))
            .expect("a tag");
        assert_eq!(tagged["Id"], image["Id"]);
    }
    let output = build().success();
    assert!(output.row("app").contains(" skipped "), "{output}");
    build()
        .env_remove("BUILD_NUMBER")
        .failure(2)
        .stderr_contains("BUILD_NUMBER");
}

fn force_builds_again(t: &Context) {
    let app = App::with_scripts(t, "", &["cat /proc/sys/kernel/random/uuid > made"]);
    app.build().success();
    let id = image_id(t, &app.image_of_head());
    app.build().arg("--force").success();
    assert_ne!(image_id(t, &app.image_of_head()), id);
    assert_eq!(
        image_id(t, &format!("{}:master", app.image())),
        image_id(t, &app.image_of_head())
    );
}

fn needs_are_built_first(t: &Context) {
    let platform = Services::new(t, &["aback", "bfront", "cbase", "other"]);
    let busybox = t.engine().busybox();
    let dockerfile = |text: &str| [("Dockerfile", text.to_owned())];
    platform.commit(
        "cbase",
        &dockerfile(&format!("FROM {busybox}\nRUN echo base > /base\n")),
    );
    // A Dockerfile uses its name, so `needs` must list it.
    let base = t.image("cbase");
    platform.commit(
        "bfront",
        &dockerfile(&format!("FROM {base}:master\nRUN echo front > /front\n")),
    );
    platform.commit(
        "aback",
        &dockerfile("ARG FRONT\nFROM ${FRONT}\nRUN cat /base /front > /back\n"),
    );
    platform.commit("other", &dockerfile(&format!("FROM {busybox}\n")));
    platform.manifest(&[
        ("bfront", "needs: [ cbase ]".to_owned()),
        (
            "aback",
            format!(
                "docker: {{ image: {}, args: {{ FRONT: \"${{{{ services.bfront.image }}}}\" }} }}",
                t.image("aback")
            ),
        ),
    ]);
    let output = t
        .xp(["build", "--services", "aback", "--jobs", "4"])
        .success();
    let image = format!("{}:master", t.image("aback"));
    assert_eq!(t.engine().run(&image, ["cat", "/back"]), "base\nfront");
    assert!(!output.stdout.contains("other"), "{output}");
    assert!(!t.exists("src/other"));

    // A changed needed service is built, and its dependents use the new image.
    platform.commit(
        "bfront",
        &dockerfile(&format!("FROM {base}:master\nRUN echo new > /front\n")),
    );
    let output = t.xp(["build", "--services", "aback", "--force"]).success();
    assert_eq!(t.engine().run(&image, ["cat", "/back"]), "base\nnew");
    assert!(output.row("cbase").contains(" skipped "), "{output}");
}

fn failure_blocks_only_dependents(t: &Context) {
    let platform = Services::new(t, &["a", "b", "c", "d"]);
    platform.manifest(&[
        ("a", platform.scripts("exit 5")),
        ("b", "needs: [ a ]".to_owned()),
        ("c", "needs: [ b ]".to_owned()),
    ]);
    let output = t.xp(["build", "--jobs", "1"]).failure(1);
    assert!(output.row("a").contains(" FAILED "), "{output}");
    assert!(output.row("b").contains(" not started "), "{output}");
    assert!(output.row("b").contains(" needs a "), "{output}");
    assert!(output.row("c").contains(" not started "), "{output}");
    assert!(output.row("d").contains(" built "), "{output}");
    let images = t.engine().images_with_prefix(&format!("{}/", t.prefix()));
    let commit = platform.repository("d").head();
    assert_eq!(
        images,
        [
            format!("{}:{commit}", t.image("d")),
            format!("{}:master", t.image("d"))
        ]
    );

    // The rest is built once the cause is fixed.
    platform.manifest(&[
        ("a", platform.scripts("true")),
        ("b", "needs: [ a ]".to_owned()),
        ("c", "needs: [ b ]".to_owned()),
    ]);
    let output = t.xp(["build"]).success();
    assert!(output.row("c").contains(" built "), "{output}");
    assert!(output.row("d").contains(" skipped "), "{output}");
}

fn fail_fast_stops_everything(t: &Context) {
    let platform = Services::new(t, &["a", "b", "c"]);
    platform.manifest(&[
        (
            "a",
            platform.scripts("until [ -e go ]; do sleep 0.1; done; exit 5"),
        ),
        ("b", platform.scripts("echo begun; sleep 1000")),
        ("c", "needs: [ b ]".to_owned()),
    ]);
    let mut running = t.xp(["build", "--jobs", "2", "--fail-fast"]).spawn();
    running.wait_for_output("b | begun");
    running.wait_for_output("a | build: ");
    fs::write(t.dir().join(".xp/build/a/go"), "").expect("the export can be written");
    let output = running.wait();
    assert_eq!(output.status.code(), Some(1), "{output}");
    assert!(output.row("a").contains(" FAILED "), "{output}");
    assert!(output.row("b").contains(" stopped "), "{output}");
    assert!(output.row("c").contains(" not started "), "{output}");
    assert!(t.containers().is_empty());
    assert!(
        t.engine()
            .images_with_prefix(&format!("{}/", t.prefix()))
            .is_empty()
    );
}

fn the_number_of_concurrent_jobs_is_limited(t: &Context) {
    let platform = Services::new(t, &["a", "b", "c"]);
    let wait = platform.scripts("echo waiting; until [ -e go ]; do sleep 0.1; done");
    platform.manifest(&["a", "b", "c"].map(|name| (name, wait.clone())));
    let mut running = t.xp(["build", "--jobs", "2"]).spawn();
    // Syncs take no job, so any two may be first.
    let is_waiting = |name: &str| running.printed().contains(&format!("{name} | waiting"));
    let waiting = || ["a", "b", "c"].into_iter().filter(|name| is_waiting(name));
    wait_until("two jobs", || waiting().count() == 2);
    // Enough time for a third one to start, if that were allowed.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(t.containers().len(), 2);
    let [first, second] = waiting().collect::<Vec<_>>()[..] else {
        panic!("two are waiting")
    };
    let third = ["a", "b", "c"]
        .into_iter()
        .find(|it| ![first, second].contains(it));
    let third = third.expect("the other one");
    let go =
        |name: &str| fs::write(t.dir().join(format!(".xp/build/{name}/go")), "").expect("it runs");
    go(first);
    running.wait_for_output(&format!("{third} | waiting"));
    go(second);
    go(third);
    let output = running.wait();
    assert!(output.status.success(), "{output}");
    assert!(t.containers().is_empty());
}

fn unreachable_engine_is_reported(t: &Context) {
    let app = App::new(t, &[], "");
    let missing = format!("unix://{}/no.sock", t.folder().display());
    let closed = format!("tcp://127.0.0.1:{}", t.closed_port());
    for (command, address) in [("build", &missing), ("plan", &missing), ("build", &closed)] {
        let output = t.xp([command]).env("DOCKER_HOST", address).failure(3);
        output.stderr_contains(&format!(
            "error: cannot connect to the container engine at {address}"
        ));
    }
    let output = app.build().env("DOCKER_HOST", "nonsense").failure(2);
    output.stderr_contains("invalid container engine address `nonsense`");
    assert!(!t.exists("src"));
}

#[track_caller]
fn image_id(t: &Context, image: &str) -> String {
    let image = t
        .engine()
        .image(image)
        .unwrap_or_else(|| panic!("there is no {image}"));
    image["Id"].as_str().expect("an id").to_owned()
}

fn sha1_of(t: &Context, text: &str) -> String {
    let sum = t.program("sha1sum", []).stdin(text).success();
    sum.stdout
}

fn a_folder_with_other_files_is_rejected_as_cache(t: &Context) {
    let app = App::new(t, &[], "");
    t.write("mine/build/app/thesis.txt", "precious");
    for folder in ["mine", "."] {
        let folder = t.dir().join(folder);
        app.build()
            .env("XP_CACHE_DIR", &folder)
            .failure(2)
            .stderr_contains("contains files that xp did not create");
    }
    assert_eq!(t.read("mine/build/app/thesis.txt"), "precious");
    app.build()
        .env("XP_CACHE_DIR", t.dir().join("new"))
        .success();
}
